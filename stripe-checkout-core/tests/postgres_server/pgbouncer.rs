//! A PgBouncer in transaction mode, before the PostgreSQL of this process.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use sqlx::postgres::PgConnectOptions;

use super::postgres_server::programs::{command, find, other_user, output};

/// How many connections of the server all clients share. It is small, so that a client gets
/// another one for each transaction.
const POOL_SIZE: u32 = 6;

/// The way through the pooler. Nothing if there is none; but in continuous integration there has to
/// be one.
pub(crate) fn start(server: &PgConnectOptions) -> Option<PgConnectOptions> {
    static POOLER: OnceLock<Result<PgConnectOptions, String>> = OnceLock::new();
    match POOLER.get_or_init(|| try_start(server)) {
        Ok(options) => Some(options.clone()),
        Err(why) if env::var_os("CI").is_some() => panic!("no PgBouncer: {why}"),
        Err(why) => {
            let line = format!("skipped, all that needs PgBouncer: {why}\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            None
        }
    }
}

fn try_start(server: &PgConnectOptions) -> Result<PgConnectOptions, String> {
    let pgbouncer = find("pgbouncer").ok_or("pgbouncer is not installed")?;
    // Its folder is that of the server, which goes with this process.
    let folder = server.get_socket().ok_or("DATABASE_URL names no socket")?;
    let settings = format!(
        "[databases]\n\
         * = host={folder} port={port} user={user} pool_size={POOL_SIZE}\n\
         [pgbouncer]\n\
         pool_mode = transaction\n\
         listen_port = 6432\n\
         unix_socket_dir = {folder}\n\
         auth_type = any\n\
         max_client_conn = 2000\n\
         ignore_startup_parameters = extra_float_digits\n",
        folder = folder.display(),
        port = server.get_port(),
        user = server.get_username(),
    );
    fs::write(folder.join("pgbouncer.ini"), settings).map_err(|error| error.to_string())?;
    let child = serve(&pgbouncer, folder).map_err(|error| error.to_string())?;
    // Never dropped: its standard input closes when this process ends.
    static CHILD: OnceLock<Child> = OnceLock::new();
    let _ = CHILD.set(child);
    let give_up = Instant::now() + Duration::from_secs(60);
    while UnixStream::connect(folder.join(".s.PGSQL.6432")).is_err() {
        if Instant::now() > give_up {
            let log = fs::read_to_string(folder.join("pgbouncer.log")).unwrap_or_default();
            return Err(format!("pgbouncer does not start: {log}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(server.clone().port(6432))
}

/// The shell waits for the end of its standard input, which is the end of this process.
fn serve(pgbouncer: &Path, folder: &Path) -> std::io::Result<Child> {
    let script = r#"
        cd "$1" && "$0" -q pgbouncer.ini >pgbouncer.log 2>&1 </dev/null &
        pooler=$!
        cat >/dev/null
        kill -TERM $pooler
        wait $pooler
    "#;
    // PgBouncer refuses to run as root, as PostgreSQL does.
    let as_whom = match output("id", &["-u"]).as_deref() {
        Some("0") => other_user().map_err(std::io::Error::other)?.1,
        _ => Vec::new(),
    };
    let mut shell: Command = command(&as_whom, Path::new("sh"));
    shell
        .arg("-c")
        .arg(script)
        .arg(pgbouncer)
        .arg(folder)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
