//! A PostgreSQL server that a test kills, starts again and copies.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::programs::{command, find, other_user, output};

/// The file by which a client reaches the server of a folder.
const SOCKET: &str = ".s.PGSQL.5432";

/// Obeys line by line. It ends the server and deletes the folder when the test's process ends,
/// however that happens.
const SHELL: &str = r#"
    trap '' INT TERM HUP
    cd "$1" || exit 1
    while read -r command; do
        case $command in
            start)
                # The processes of a killed server need a moment to notice.
                for attempt in 1 2 3 4 5 6 7 8 9 10; do
                    "$0" -D data -l log -w -s start && break
                    sleep 0.2
                done
                "$0" -D data status ;;
            kill) kill -KILL "$(head -n 1 data/postmaster.pid)" ;;
            promote) "$0" -D data -w -s promote ;;
        esac >>said 2>&1 </dev/null
        echo $?
    done
    "$0" -D data -m immediate -s stop >/dev/null 2>&1 </dev/null
    cd / && rm -rf "$1"
"#;

/// A commit reaches the operating system, which a killed server does not take with it.
const SETTINGS: &str = "
listen_addresses = ''
fsync = off
";

pub(crate) struct Cluster {
    folder: PathBuf,
    as_whom: Vec<String>,
    shell: Child,
    tell: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Cluster {
    /// Starts a new server. Returns `None` where no PostgreSQL is installed, except in continuous
    /// integration, which must have one.
    pub(crate) fn start() -> Option<Self> {
        let Some(initdb) = find("initdb") else {
            assert!(env::var_os("CI").is_none(), "initdb is not installed");
            eprintln!("skipped: initdb is not installed");
            return None;
        };
        let mut cluster = Self::prepare();
        cluster.run(
            &initdb,
            &["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8"],
        );
        let conf = cluster.folder.join("data/postgresql.conf");
        let mut conf = fs::OpenOptions::new().append(true).open(conf).unwrap();
        conf.write_all(SETTINGS.as_bytes()).unwrap();
        cluster.set_socket_folder();
        cluster.tell("start");
        Some(cluster)
    }

    /// Starts a copy that follows this server.
    pub(crate) fn replica(&self) -> Self {
        let mut replica = Self::prepare();
        let host = self.folder.to_str().unwrap();
        replica.run(
            &find("pg_basebackup").unwrap(),
            &[
                "-h", host, "-U", "postgres", "-R", "-X", "stream", "-c", "fast",
            ],
        );
        replica.set_socket_folder();
        replica.tell("start");
        replica
    }

    /// An empty folder, and a shell that waits there.
    fn prepare() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("faults-pg-{}-{count}", std::process::id());
        let folder = env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        let is_root = output("id", &["-u"]).as_deref() == Some("0");
        let as_whom = match is_root {
            // PostgreSQL refuses to run as root.
            true => {
                let (user, as_whom) = other_user().unwrap();
                let chown = command(&["chown".into(), user.into()], &folder).status();
                assert!(chown.unwrap().success(), "chown");
                as_whom
            }
            false => Vec::new(),
        };
        let mut shell = command(&as_whom, Path::new("sh"))
            .arg("-c")
            .arg(SHELL)
            .arg(find("pg_ctl").unwrap())
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            folder,
            as_whom,
            tell: shell.stdin.take(),
            answers: BufReader::new(shell.stdout.take().unwrap()),
            shell,
        }
    }

    /// Runs a program that makes the data folder.
    fn run(&self, program: &Path, arguments: &[&str]) {
        let ran = command(&self.as_whom, program)
            .args(arguments)
            .arg("-D")
            .arg(self.folder.join("data"))
            .current_dir(&self.folder)
            .output()
            .unwrap();
        let why = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{}: {why}", program.display());
    }

    fn set_socket_folder(&self) {
        let conf = self.folder.join("data/postgresql.conf");
        let mut conf = fs::OpenOptions::new().append(true).open(conf).unwrap();
        let line = format!("unix_socket_directories = '{}'\n", self.folder.display());
        conf.write_all(line.as_bytes()).unwrap();
    }

    fn tell(&mut self, what: &str) {
        let shell = self.tell.as_mut().unwrap();
        shell.write_all(format!("{what}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        if answer.trim() != "0" {
            let read = |file| fs::read_to_string(self.folder.join(file)).unwrap_or_default();
            panic!(
                "postgres does not {what}: {}\n{}",
                read("said"),
                read("log")
            );
        }
    }

    /// Kills the server, as a machine that loses power does. Clients are refused from here on.
    pub(crate) fn kill(&mut self) {
        self.tell("kill");
    }

    /// Starts the killed server again.
    pub(crate) fn restart(&mut self) {
        self.tell("start");
    }

    /// Makes the copy a server of its own.
    pub(crate) fn promote(&mut self) {
        self.tell("promote");
    }

    /// The file by which a client reaches the server.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join(SOCKET)
    }

    /// A pool of ten connections, otherwise as a merchant makes one.
    pub(crate) async fn pool(&self) -> PgPool {
        pool_at(&self.folder, ten_connections()).await
    }

    /// A pool that does not wait for long for a server that is gone.
    pub(crate) async fn hasty_pool(&self) -> PgPool {
        pool_at(&self.folder, hasty()).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.tell.take());
        let _ = self.shell.wait();
    }
}

fn ten_connections() -> PgPoolOptions {
    PgPoolOptions::new().max_connections(10)
}

fn hasty() -> PgPoolOptions {
    ten_connections().acquire_timeout(Duration::from_secs(1))
}

/// A pool of the server whose socket is in this folder.
async fn pool_at(folder: &Path, pool: PgPoolOptions) -> PgPool {
    let options = PgConnectOptions::new_without_pgpass()
        .socket(folder)
        .port(5432)
        .username("postgres")
        .database("postgres");
    pool.connect_with(options).await.unwrap()
}

/// One address for a server and the copy that takes over.
pub(crate) struct Address(tempfile::TempDir);

impl Address {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let address = Self(tempfile::tempdir().unwrap());
        address.move_to(cluster);
        address
    }

    pub(crate) fn move_to(&self, cluster: &Cluster) {
        let socket = self.0.path().join(SOCKET);
        let _ = fs::remove_file(&socket);
        std::os::unix::fs::symlink(cluster.socket(), socket).unwrap();
    }

    pub(crate) async fn hasty_pool(&self) -> PgPool {
        pool_at(self.0.path(), hasty()).await
    }
}
