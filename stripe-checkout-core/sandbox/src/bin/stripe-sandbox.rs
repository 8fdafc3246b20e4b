//! The sandbox as a program: a Stripe on this machine, for any language.
//!
//! `cargo run -p stripe-checkout-sandbox -- --help`

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use stripe_checkout_sandbox::{Sandbox, SandboxError};

/// The default port to listen on.
const PORT: u16 = 12111;
/// The variable that names another port, as many hosts and compose files set it.
const PORT_VARIABLE: &str = "PORT";

const HELP: &str = "\
A small Stripe on this machine, to build and test against: no account, no real key, no network, no real money.

Usage: stripe-sandbox [--port N] [--webhook URL]... [--own-keys-only]

  --port N         the port on 127.0.0.1; 0 is any free port [default: the variable PORT, or 12111]
  --webhook URL    sends events to this URL, like http://127.0.0.1:3000/webhook; may be repeated
  --own-keys-only  accepts only the two keys that it prints; without this, any test key works
  --help           prints this text
  --version        prints the version

It prints its address, its keys and the address of its page, and runs until Ctrl-C or SIGTERM. It forgets everything when it ends.
";

/// The action that the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Run {
        port: u16,
        webhooks: Vec<String>,
        own_keys_only: bool,
    },
    Help,
    Version,
}

/// Parses the arguments. `environment` is the value of `PORT`, which `--port` overrides. An empty
/// value counts as absent.
fn parse(
    mut arguments: impl Iterator<Item = String>,
    environment: Option<String>,
) -> Result<Asked, String> {
    let (mut port, mut webhooks, mut own_keys_only) = (None, Vec::new(), false);
    while let Some(argument) = arguments.next() {
        let (name, mut value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        match (name, value.is_some()) {
            ("--help" | "-h", false) => return Ok(Asked::Help),
            ("--version" | "-V", false) => return Ok(Asked::Version),
            ("--own-keys-only", false) => own_keys_only = true,
            ("--port" | "--webhook", _) => {
                let value = value
                    .take()
                    .or_else(|| arguments.next())
                    .ok_or_else(|| format!("{name} needs a value"))?;
                if name == "--webhook" {
                    webhooks.push(value);
                } else if port.is_some() {
                    return Err("--port was given twice".to_owned());
                } else {
                    port = Some(port_number("--port", &value)?);
                }
            }
            _ => return Err(format!("unknown argument {argument:?}")),
        }
    }
    Ok(Asked::Run {
        port: match (port, environment.filter(|value| !value.is_empty())) {
            (Some(port), _) => port,
            (None, Some(value)) => port_number(PORT_VARIABLE, &value)?,
            (None, None) => PORT,
        },
        webhooks,
        own_keys_only,
    })
}

fn port_number(name: &str, value: &str) -> Result<u16, String> {
    let number = value.parse::<u16>();
    number.map_err(|_| format!("{name} takes a number from 0 to 65535, not {value:?}"))
}

/// Returns the error and its cause in one line.
fn explained(error: &SandboxError, port: u16) -> String {
    match error {
        SandboxError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            format!(
                "port {port} is in use: another program, or another sandbox, listens there. --port N takes another, --port 0 any that is free"
            )
        }
        SandboxError::Listen { address, source } => format!("cannot listen on {address}: {source}"),
        error => error.to_string(),
    }
}

async fn run(port: u16, webhooks: Vec<String>, own_keys_only: bool) -> Result<(), String> {
    // Before the address is printed: a program that has read it may send a signal at once.
    let mut told = Told::listen().map_err(|error| format!("cannot listen to signals: {error}"))?;
    let mut builder = Sandbox::builder().address(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    if !own_keys_only {
        builder = builder.accept_any_test_key();
    }
    let sandbox = builder
        .start()
        .await
        .map_err(|error| explained(&error, port))?;
    let mut secrets = Vec::new();
    for url in &webhooks {
        let secret = sandbox.webhook_endpoint(url);
        secrets.push((url, secret.map_err(|error| explained(&error, port))?));
    }

    let mut text = sandbox.how_to_use();
    // The text already contains the first secret.
    for (url, secret) in secrets.iter().skip(1) {
        let _ = writeln!(
            text,
            "\nEvents for {url} are signed with {}",
            secret.expose()
        );
    }
    say(&format!("{text}\nCtrl-C ends it.\n"));
    told.wait().await;
    say("\nThe sandbox has ended.\n");
    Ok(())
}

/// Prints a text. The sandbox keeps running even if the reader has closed its end of the pipe.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Ctrl-C and, on Unix, SIGTERM.
struct Told {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Told {
    #[cfg(unix)]
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    #[cfg(unix)]
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn wait(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

fn main() -> ExitCode {
    let arguments = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned());
    let environment = std::env::var_os(PORT_VARIABLE);
    let environment = environment.map(|value| value.to_string_lossy().into_owned());
    let (port, webhooks, own_keys_only) = match parse(arguments, environment) {
        Ok(Asked::Run {
            port,
            webhooks,
            own_keys_only,
        }) => (port, webhooks, own_keys_only),
        Ok(Asked::Help) => {
            say(HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Version) => {
            say(concat!("stripe-sandbox ", env!("CARGO_PKG_VERSION"), "\n"));
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("stripe-sandbox: {why}\nstripe-sandbox --help tells what it takes.");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(port, webhooks, own_keys_only)),
        Err(error) => Err(format!("cannot start: {error}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("stripe-sandbox: {why}");
            ExitCode::FAILURE
        }
    }
}
