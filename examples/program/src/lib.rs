//! Runs the examples' programs as their users do: starts them, sends them HTTP requests, and stops
//! them.
//!
//! It is small, and has no dependency that a webhook-only application does not have. So the
//! programs under test are built as they are for their users.

mod http;
mod webhook;

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

pub use self::{
    http::{Answer, Connection, ask},
    webhook::custom_webhook,
};

/// Longer than anything takes on a busy machine, so that a test fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running program. If a test ends without stopping it, it is killed.
#[derive(Debug)]
pub struct Program {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    host: String,
}

impl Program {
    /// Returns the command of the program at this path, without this machine's own settings.
    ///
    /// It uses neither the environment nor a `.env` file of a parent folder.
    pub fn command(path: impl AsRef<OsStr>, folder: &std::path::Path) -> Command {
        let mut command = Command::new(path);
        command.env_clear().current_dir(folder);
        command
    }

    /// Starts the program on any free port, and waits until it prints its address.
    ///
    /// # Panics
    /// If it prints none.
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            // Rocket reads its own variable.
            .envs([("PORT", "0"), ("ROCKET_PORT", "0"), ("NO_COLOR", "1")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = Arc::default();
        keep(child.stdout.take(), &lines);
        keep(child.stderr.take(), &lines);
        let mut program = Self {
            child,
            lines,
            host: String::new(),
        };
        let line = program.wait_for_line("http://127.0.0.1:");
        let host = line.split("http://").nth(1).unwrap_or_default();
        program.host = host
            .trim_end_matches(|c: char| !c.is_ascii_digit())
            .to_owned();
        program
    }

    /// Returns its address, as in `127.0.0.1:3000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends one request on its own connection.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        ask(&self.host, method, path, headers, body.as_bytes())
    }

    /// Returns the lines that it has printed so far.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }

    /// Waits until it has printed a line that contains this part, and returns that line.
    ///
    /// # Panics
    /// If it prints no such line in time, or ends before.
    pub fn wait_for_line(&mut self, part: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let ended = self.child.try_wait().expect("a status");
            if let Some(line) = self.lines().into_iter().find(|line| line.contains(part)) {
                return line;
            }
            assert!(
                ended.is_none() && Instant::now() < end,
                "{part:?} was not printed: {:#?}",
                self.lines()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends it a signal, like `TERM` or `INT`.
    #[cfg(unix)]
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args(["-s", signal, &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill").success(), "the program ended before");
    }

    /// Waits until it has ended. Returns its status and how long the wait took.
    pub fn wait(&mut self) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return (status, begin.elapsed());
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks it to stop, as systemd and Docker do, and waits until it has ended.
    #[cfg(unix)]
    pub fn stop(mut self) {
        self.signal("TERM");
        let (status, _) = self.wait();
        assert!(status.success(), "{status}: {:#?}", self.lines());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the stream to its end, so that the program never blocks on its output.
fn keep(stream: Option<impl Read + Send + 'static>, lines: &Arc<Mutex<Vec<String>>>) {
    let (stream, lines) = (
        BufReader::new(stream.expect("it is piped")),
        Arc::clone(lines),
    );
    thread::spawn(move || {
        for line in stream.lines().map_while(Result::ok) {
            lock(&lines).push(line);
        }
    });
}

fn lock(lines: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}
