//! The lines of the README for nginx, with nginx.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use rocket::Config;
use rocket::fairing::AdHoc;
use stripe_checkout_core::testing::conformance::still_open;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

#[tokio::test(flavor = "multi_thread")]
async fn nginx_with_the_lines_of_the_readme_closes_what_waits() {
    let rocket = start_rocket().await;
    let folder = tempfile::tempdir().unwrap();
    let Some(nginx) = Nginx::start(folder.path(), rocket).await else {
        return;
    };
    assert!(answer(nginx.address, b"hello").await.ends_with("hello"));
    let (open, silent) = tokio::join!(still_open(nginx.address), answer(nginx.address, b""));
    assert_eq!(open, [""; 0]);
    // Rocket never saw it.
    assert_eq!(silent, "");
    assert!(answer(nginx.address, b"hello").await.ends_with("hello"));
}

async fn start_rocket() -> SocketAddr {
    let config = Config {
        port: 0,
        log_level: rocket::config::LogLevel::Off,
        ..Config::release_default()
    };
    let (started, address) = oneshot::channel();
    let liftoff = AdHoc::on_liftoff("address", |rocket| {
        let address = SocketAddr::new(rocket.config().address, rocket.config().port);
        Box::pin(async move { started.send(address).unwrap() })
    });
    let rocket = rocket::custom(config).attach(liftoff);
    tokio::spawn(rocket.mount("/", rocket::routes![echo]).launch());
    address.await.unwrap()
}

#[rocket::post("/echo", data = "<text>")]
fn echo(text: String) -> String {
    text
}

/// Announces five bytes, sends these, and reads to the end.
async fn answer(address: SocketAddr, body: &[u8]) -> String {
    let head = b"POST /echo HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\nContent-Length: 5\r\n\r\n";
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[head, body].concat()).await.unwrap();
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    let end = tokio::time::timeout(Duration::from_secs(60), reading).await;
    let _ = end.expect("the connection is closed");
    String::from_utf8(bytes).unwrap()
}

struct Nginx {
    process: Child,
    address: SocketAddr,
}

impl Nginx {
    /// Returns `None` where nginx cannot be started, except in continuous integration, which must
    /// have it.
    async fn start(folder: &Path, rocket: SocketAddr) -> Option<Self> {
        let readme = include_str!("../README.md");
        let (_, rest) = readme.split_once("```nginx\n").unwrap();
        let (lines, _) = rest.split_once("```").unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let lines = lines
            .replace("listen 8080;", &format!("listen {address};"))
            .replace("127.0.0.1:8000", &rocket.to_string());
        // Only where its files are, because the test is no service of the machine.
        let place = folder.display();
        let files = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let files = files.map(|name| format!("{name}_temp_path {place}/{name};\n"));
        let config = format!(
            "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log {place}/errors;\n\
             events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\n{}{lines}}}\n",
            files.concat()
        );
        let path = folder.join("nginx.conf");
        fs::write(&path, config).unwrap();
        // Debian's folder of daemons is not in the PATH of every user.
        let debian = Path::new("/usr/sbin/nginx");
        let program = if debian.exists() {
            debian
        } else {
            Path::new("nginx")
        };
        let mut command = Command::new(program);
        command.arg("-e").arg(folder.join("errors"));
        let process = match command.arg("-c").arg(path).stdin(Stdio::null()).spawn() {
            Ok(process) => process,
            Err(why) => {
                let message =
                    format!("nginx does not start (Debian: apt-get install nginx): {why}");
                assert!(env::var_os("CI").is_none(), "{message}");
                eprintln!("skipped: {message}");
                return None;
            }
        };
        let mut nginx = Self { process, address };
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = nginx.process.try_wait().unwrap() {
                panic!(
                    "{status}: {}",
                    fs::read_to_string(folder.join("errors")).unwrap()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
