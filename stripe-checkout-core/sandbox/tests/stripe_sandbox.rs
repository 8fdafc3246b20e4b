//! The program `stripe-sandbox`, as a user runs it in a terminal.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use stripe_checkout_core::{Config, webhook::Verifier};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stripe-sandbox"));
    command.stdin(Stdio::null()).env_remove("PORT");
    command
}

/// Runs the program with arguments that make it exit. Returns its exit code, output and errors.
fn said(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = program().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// The running program. It ends with the test, however the test ends.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    /// The text that it printed until it was ready.
    text: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        Self::from(program().args(arguments))
    }

    fn from(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        while !text.contains("Ctrl-C ends it.") {
            assert_ne!(out.read_line(&mut text).unwrap(), 0, "{text}");
        }
        Self { child, out, text }
    }

    /// Returns the text after a word at the beginning of a line.
    fn printed(&self, name: &str) -> &str {
        let mut lines = self.text.lines().map(str::trim);
        lines
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_else(|| panic!("no {name} in {}", self.text))
            .trim()
    }

    /// Returns the line below a headline.
    fn line_for(&self, whom: &str) -> &str {
        let mut lines = self.text.lines();
        lines.find(|line| *line == format!("# {whom}")).unwrap();
        lines.next().unwrap()
    }

    fn authority(&self) -> &str {
        self.printed("address").strip_prefix("http://").unwrap()
    }

    /// Returns a complete answer.
    fn get(&self, path: &str) -> String {
        self.get_as("", path)
    }

    /// Returns the complete answer to a request with this key.
    fn get_as(&self, key: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(self.authority()).unwrap();
        let host = self.authority();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// Waits for one webhook and returns its head and body.
fn webhook(listener: &TcpListener) -> (String, Vec<u8>) {
    let mut stream = BufReader::new(listener.accept().unwrap().0);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).unwrap(), 0);
    }
    let header = |name: &str| {
        let mut lines = head.lines();
        let found = lines.find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix(name)
                .map(str::to_owned)
        });
        found.unwrap()
    };
    let mut body = vec![0; header("content-length: ").parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.get_mut().write_all(answer.as_bytes()).unwrap();
    (header("stripe-signature: "), body)
}

fn shell(line: &str) -> Output {
    Command::new("sh").args(["-c", line]).output().unwrap()
}

#[test]
fn it_prints_all_that_is_needed_and_what_it_prints_is_true() {
    let shop = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/webhook", shop.local_addr().unwrap());
    let second = "http://127.0.0.1:9/webhook";
    let sandbox = Running::start(&[
        "--port",
        "0",
        "--webhook",
        &url,
        &format!("--webhook={second}"),
    ]);

    let page = sandbox.printed("page").to_owned();
    assert_eq!(page, format!("http://{}/sandbox", sandbox.authority()));
    assert!(sandbox.get("/sandbox").starts_with("HTTP/1.1 200 "));
    let state = sandbox.get("/sandbox/state");
    for name in ["address", "secret key", "publishable key", "webhook secret"] {
        assert!(state.contains(sandbox.printed(name)), "{name}");
    }
    let of_second = format!("Events for {second} are signed with ");
    assert!(state.contains(sandbox.printed(&of_second)));
    assert_ne!(
        sandbox.printed(&of_second),
        sandbox.printed("webhook secret")
    );

    // The line for this library sets the variables of a configuration.
    let pasted = shell(&format!("{}; env", sandbox.line_for("stripe-checkout")));
    let pasted = String::from_utf8(pasted.stdout).unwrap();
    let variables: Vec<(&str, &str)> = pasted
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let config = Config::from_vars(|name| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| OsString::from(value))
    })
    .unwrap();
    assert_eq!(config.api_base(), sandbox.printed("address"));
    assert_eq!(
        config.secret_key().unwrap().expose(),
        sandbox.printed("secret key")
    );
    assert_eq!(
        config.publishable_key().unwrap().expose(),
        sandbox.printed("publishable key")
    );
    let script = config
        .stripe_js_url()
        .strip_prefix(config.api_base())
        .unwrap();
    assert!(sandbox.get(script).starts_with("HTTP/1.1 200 "));

    // The line for curl pays, and the shop receives the event, signed with that secret.
    let paid = shell(sandbox.line_for("curl"));
    if paid.status.code() == Some(127) {
        assert!(std::env::var("CI").is_err(), "there is no curl");
        println!("skipped: there is no curl to ask with");
        return;
    }
    let paid = String::from_utf8(paid.stdout).unwrap();
    assert!(paid.contains(r#""status": "succeeded""#), "{paid}");
    let (signature, body) = webhook(&shop);
    Verifier::new(config.webhook_secrets())
        .verify(&body, signature.as_bytes())
        .unwrap();
}

#[test]
fn the_line_for_python() {
    let Some(python) = std::env::var_os("STRIPE_SDK_PYTHON") else {
        assert!(std::env::var("CI").is_err(), "STRIPE_SDK_PYTHON is not set");
        println!(
            "skipped: STRIPE_SDK_PYTHON is not set, so there is no SDK to ask (tests/sdk/README.md)"
        );
        return;
    };
    let sandbox = Running::start(&["--port=0"]);
    let script = format!(
        "{}\nprint(stripe.PaymentIntent.create(amount=1999, currency='eur').status)",
        sandbox.line_for("Stripe's SDK for Python")
    );
    let output = Command::new(python).args(["-c", &script]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "requires_payment_method\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[cfg(unix)]
#[test]
fn told_to_end_it_ends_at_once_and_cleanly() {
    for signal in ["INT", "TERM"] {
        let mut sandbox = Running::start(&["--port", "0"]);
        let authority = sandbox.authority().to_owned();
        // An open page does not delay the end.
        let mut page = TcpStream::connect(&authority).unwrap();
        write!(
            page,
            "GET /sandbox/state HTTP/1.1\r\nHost: {authority}\r\n\r\n"
        )
        .unwrap();
        let mut byte = [0];
        page.read_exact(&mut byte).unwrap();

        let killed = shell(&format!("kill -{signal} {}", sandbox.child.id()));
        assert!(killed.status.success());
        let mut last = String::new();
        sandbox.out.read_to_string(&mut last).unwrap();
        assert_eq!(last, "\nThe sandbox has ended.\n", "{signal}");
        assert_eq!(sandbox.child.wait().unwrap().code(), Some(0), "{signal}");
        assert!(TcpStream::connect(&authority).is_err());
        // The port is free again at once.
        let port = authority.rsplit_once(':').unwrap().1;
        Running::start(&["--port", port]);
    }
}

#[test]
fn whoever_started_it_need_not_listen() {
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    // The program answers although its output goes nowhere.
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let mut deaf = program()
        .args(["--port", &port.to_string()])
        .stdout(write)
        .spawn()
        .unwrap();
    let answered = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let running = deaf.try_wait().unwrap().is_none();
    let _ = deaf.kill();
    let _ = deaf.wait();
    assert!(answered && running);
}

#[test]
fn any_test_key_works_unless_only_its_own_do() {
    let list = "/v1/payment_intents";
    let any = Running::start(&["--port=0"]);
    let own = Running::start(&["--port=0", "--own-keys-only"]);
    let status = |sandbox: &Running, key: &str| {
        let answer = sandbox.get_as(key, list);
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    for (key, of_any, of_own) in [
        ("sk_test_sandbox", "200", "200"),
        ("sk_test_51Hxyz", "200", "401"),
        ("rk_test_51Hxyz", "200", "401"),
        // Well-formed keys without permission to list payments.
        ("pk_test_sandbox", "403", "403"),
        ("pk_test_51Hxyz", "403", "401"),
        ("sk_live_51Hxyz", "401", "401"),
        ("sk_test_...", "401", "401"),
    ] {
        assert_eq!(status(&any, key), of_any, "{key}");
        assert_eq!(status(&own, key), of_own, "{key}");
    }
}

#[test]
fn the_variable_port_names_the_port_and_the_flag_overrides_it() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let by_variable = Running::from(program().env("PORT", &port));
    assert_eq!(by_variable.authority(), format!("127.0.0.1:{port}"));
    // The port is in use, so a sandbox starts only if the flag overrides the variable.
    Running::from(program().env("PORT", &port).arg("--port=0"));
    Running::from(program().env("PORT", "not a port").arg("--port=0"));
    let output = program().env("PORT", "http").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    let why = "PORT takes a number from 0 to 65535, not \"http\"";
    assert!(error.contains(why), "{error}");
    let help = program().env("PORT", "").arg("--help").output().unwrap();
    assert_eq!(help.status.code(), Some(0));
}

#[test]
fn a_port_that_is_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (code, out, error) = said(&["--port", &port.to_string()]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        error.starts_with(&format!("stripe-sandbox: port {port} is in use: "))
            && error.contains("--port N"),
        "{error}"
    );
}

#[test]
fn arguments_that_it_does_not_take() {
    for (arguments, code, why) in [
        (&["--prot", "1"][..], 2, r#"unknown argument "--prot""#),
        (&["12111"], 2, r#"unknown argument "12111""#),
        (&["--port"], 2, "--port needs a value"),
        (&["--webhook"], 2, "--webhook needs a value"),
        (
            &["--port", "65536"],
            2,
            "--port takes a number from 0 to 65535, not \"65536\"",
        ),
        (&["--port=-1"], 2, "not \"-1\""),
        (&["--port", ""], 2, "not \"\""),
        (&["--port", "0", "--port", "0"], 2, "--port was given twice"),
        (&["--help=me"], 2, r#"unknown argument "--help=me""#),
        (
            &["--port=0", "--webhook", "https://127.0.0.1/webhook"],
            1,
            "only to this machine by plain http",
        ),
        (
            &["--port=0", "--webhook", "http://shop.example/webhook"],
            1,
            "http://shop.example/webhook",
        ),
        (&["--port=0", "--webhook="], 1, "only to this machine"),
    ] {
        let (found, out, error) = said(arguments);
        assert_eq!(
            (found, out.as_str()),
            (Some(code), ""),
            "{arguments:?}: {error}"
        );
        assert!(
            error.starts_with("stripe-sandbox: ") && error.contains(why),
            "{arguments:?}: {error}"
        );
        assert_eq!(error.contains("--help tells"), code == 2, "{error}");
    }
}

#[test]
fn help_and_version() {
    for flag in ["--help", "-h"] {
        let (code, out, error) = said(&["--port", "0", flag]);
        assert_eq!((code, error.as_str()), (Some(0), ""));
        for word in [
            "Usage:",
            "--port N",
            "--webhook URL",
            "--own-keys-only",
            "12111",
            "--version",
        ] {
            assert!(out.contains(word), "{word}");
        }
    }
    for flag in ["--version", "-V"] {
        let version = format!("stripe-sandbox {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(said(&[flag]), (Some(0), version, String::new()));
    }
}

/// Returns the first code block after a sentence of a README.
fn block<'a>(readme: &'a str, behind: &str) -> &'a str {
    let (_, rest) = readme
        .split_once(behind)
        .unwrap_or_else(|| panic!("no {behind:?}"));
    let (_, rest) = rest.split_once("```text\n").unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_readme_says_what_it_prints() {
    let readme = include_str!("../README.md");
    let sandbox = Running::start(&["--port=0"]);
    let port = sandbox.authority().rsplit_once(':').unwrap().1;
    let printed = sandbox
        .text
        .replace(&format!(":{port}"), ":12111")
        .replace(sandbox.printed("webhook secret"), "whsec_…");
    assert_eq!(
        block(readme, "prints what is needed to use it").trim(),
        printed.trim()
    );
    let command = "cargo run -p stripe-checkout-sandbox";
    assert!(readme.contains(command));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    if let Ok(root) = std::fs::read_to_string(root) {
        assert!(root.contains(command));
    }
}
