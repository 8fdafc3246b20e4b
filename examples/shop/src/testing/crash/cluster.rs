//! A PostgreSQL server for one test, which the test can stop and start again.
//!
//! Its data and its socket are in a temporary folder.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::sleep,
};

use super::{Run, millis};

/// A PostgreSQL server. It stops and its folder is deleted when this process ends, however that
/// happens.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    shell: Child,
    tell: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Runs commands line by line, and cleans up when its input closes. It ignores the signals of a
/// terminal that interrupts the test, because the test may still write to it then.
const SHELL: &str = r#"
    trap '' INT TERM HUP
    cd "$1" || exit 1
    while read -r command; do
        case $command in
            start) "$0" -D data -l log -w -s start >>said 2>&1 </dev/null ;;
            stop) "$0" -D data -m immediate -s stop >>said 2>&1 </dev/null ;;
        esac
        echo $?
    done
    "$0" -D data -m immediate -s stop >/dev/null 2>&1 </dev/null
    cd / && rm -rf "$1"
"#;

/// PostgreSQL settings that make nothing durable unless a commit asks for it.
///
/// The server hands each write to the operating system at once, but waits for no disk: stopping a
/// server is not a power cut. A commit waits for nothing, unless it asks to. So an event that the
/// shop acknowledges without a durable commit is lost.
pub(super) const NOTHING_IS_DURABLE: &str = "
listen_addresses = ''
max_connections = 200
fsync = off
full_page_writes = off
synchronous_commit = off
";

impl Cluster {
    /// Starts a new one with these lines in its configuration.
    ///
    /// # Errors
    /// Returns why it cannot start: most likely PostgreSQL is not installed.
    pub async fn start(settings: &str) -> Result<Self, String> {
        let initdb = find("initdb").ok_or("initdb is not installed")?;
        let pg_ctl = initdb.with_file_name("pg_ctl");
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Relaxed);
        let name = format!("shop-pg-{}-{count}", std::process::id());
        let folder = env::temp_dir().join(name);
        let io = |error: std::io::Error| error.to_string();
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).map_err(io)?;
        let as_whom = as_whom(&folder).await?;
        let data = folder.join("data");
        let made = command(&as_whom, &initdb)
            .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8"])
            .args(["--locale=C", "-D"])
            .arg(&data)
            .current_dir(&folder)
            .output()
            .await
            .map_err(io)?;
        if !made.status.success() {
            let why = String::from_utf8_lossy(&made.stderr);
            return Err(format!("initdb failed: {why}"));
        }
        let conf = data.join("postgresql.conf");
        let mut conf = fs::OpenOptions::new().append(true).open(conf).map_err(io)?;
        let socket = format!("unix_socket_directories = '{}'\n", folder.display());
        conf.write_all([settings, &socket].concat().as_bytes())
            .map_err(io)?;
        let mut shell = command(&as_whom, Path::new("sh"))
            .arg("-c")
            .arg(SHELL)
            .arg(pg_ctl)
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(io)?;
        let mut cluster = Self {
            tell: shell.stdin.take().ok_or("no input")?,
            answers: BufReader::new(shell.stdout.take().ok_or("no output")?),
            folder,
            shell,
        };
        cluster.told("start").await?;
        Ok(cluster)
    }

    /// Returns its `DATABASE_URL`.
    pub fn url(&self) -> String {
        let folder = self.folder.display();
        format!("postgres://postgres@localhost/postgres?host={folder}")
    }

    /// Stops the server as if it had crashed and starts it again, as often as planned.
    pub(super) async fn stop_and_start(mut self, run: Arc<Run>, mut rng: Rng) -> Self {
        while !run.is_calm() {
            sleep(millis(&mut rng, run.plan.life)).await;
            if !run.is_due(&run.tally.stops, run.plan.stops) {
                continue;
            }
            run.outages.fetch_add(1, Relaxed);
            let stopped = self.told("stop").await;
            sleep(millis(&mut rng, Duration::from_secs(1))).await;
            if let Err(why) = stopped.and(self.told("start").await) {
                run.wrong().push(why);
            }
            run.outages.fetch_add(1, Relaxed);
            run.tally.stops.fetch_add(1, Relaxed);
        }
        self
    }

    async fn told(&mut self, what: &str) -> Result<(), String> {
        let io = |error: std::io::Error| error.to_string();
        let line = format!("{what}\n");
        self.tell.write_all(line.as_bytes()).await.map_err(io)?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).await.map_err(io)?;
        if answer.trim() == "0" {
            return Ok(());
        }
        let said = fs::read_to_string(self.folder.join("said")).unwrap_or_default();
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        Err(format!("postgres does not {what}: {said}\n{log}"))
    }

    /// Stops the server and deletes its folder.
    pub async fn end(self) {
        let Self {
            mut shell, tell, ..
        } = self;
        drop(tell);
        let _ = shell.wait().await;
    }
}

/// Returns the prefix of a command that runs as a user who may run PostgreSQL, and gives that user
/// the folder.
///
/// The prefix is empty unless this process runs as root, who may not run PostgreSQL.
async fn as_whom(folder: &Path) -> Result<Vec<String>, String> {
    if output("id", &["-u"]).await.as_deref() != Some("0") {
        return Ok(Vec::new());
    }
    for user in ["postgres", "nobody"] {
        let Some(uid) = output("id", &["-u", user]).await else {
            continue;
        };
        let gid = output("id", &["-g", user]).await.unwrap_or_default();
        let (uid, gid) = (format!("--reuid={uid}"), format!("--regid={gid}"));
        let setpriv = ["setpriv", &uid, &gid, "--clear-groups", "--"];
        let runuser = ["runuser", "-u", user, "--"];
        for way in [&setpriv[..], &runuser[..]] {
            let way: Vec<String> = way.iter().map(|&word| word.to_owned()).collect();
            let ran = command(&way, Path::new("true")).output().await;
            if ran.is_ok_and(|ran| ran.status.success()) {
                let chown = Command::new("chown").arg(user).arg(folder).status().await;
                return match chown {
                    Ok(status) if status.success() => Ok(way),
                    _ => Err(format!("the folder cannot be given to {user}")),
                };
            }
        }
    }
    Err("root may not run PostgreSQL, and there is no way to be somebody else".to_owned())
}

fn command(as_whom: &[String], program: &Path) -> Command {
    match as_whom {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

async fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let ran = Command::new(program).args(arguments).output().await.ok()?;
    let text = String::from_utf8(ran.stdout).ok()?;
    ran.status.success().then(|| text.trim().to_owned())
}

/// Finds a program in `PATH`, or in Debian's folder of the last PostgreSQL version that has it.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut versions: Vec<PathBuf> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    folders
        .into_iter()
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
