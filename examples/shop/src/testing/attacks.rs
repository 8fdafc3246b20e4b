//! Strangers against the program itself: what they send must not take the shop down, lock its
//! owner out, or show what is not theirs.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
    time::{Duration, Instant},
};

use program::{Answer, Program};
use tempfile::TempDir;

/// One test for each attack, against the program at this path.
///
/// ```text
/// shop::attack_tests!(env!("CARGO_BIN_EXE_shop-axum"));
/// ```
#[macro_export]
macro_rules! attack_tests {
    ($program:expr) => {
        $crate::attack_tests! { $program;
            log_ins_that_hang_up_leave_no_memory_behind
            a_stranger_locks_nobody_out
            sign_ups_are_limited_like_log_ins
            orders_have_a_limit_per_address
            a_proxys_header_that_cannot_be_read_is_told
            a_dotenv_file_of_a_parent_folder_is_not_read
            a_live_key_goes_to_stripe_only
            the_database_is_for_its_owner_only
            with_live_keys_browsers_come_by_https_only
            a_slow_body_is_answered_408
            a_broken_chunk_is_answered_400
        }
        #[test]
        #[ignore = "takes two minutes: 1,000 log-ins one after another, and 30 s of rest"]
        fn many_log_ins_leave_no_memory_behind() {
            $crate::testing::attacks::many_log_ins_leave_no_memory_behind($program);
        }
    };
    ($program:expr; $($test:ident)*) => {
        $(
            #[test]
            fn $test() {
                $crate::testing::attacks::$test($program);
            }
        )*
    };
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");
const PASSWORD: &str = "a crab under the pier";
const ADMIN_PASSWORD: &str = "correct horse battery";

/// The longest time that an honest request may take while strangers attack.
const SOON: Duration = Duration::from_secs(1);
/// How often this is measured. Other programs may have the machine for a moment; strangers who keep
/// buyers out do so each time.
const ROUNDS: usize = 3;
/// How many connections strangers hold at once.
const STRANGERS: usize = 1_000;
/// How much more memory log-ins may leave behind, in KiB.
const MEMORY: u64 = 100 * 1024;

/// A test that measures time has the machine for itself: the other tests of its program wait.
static MACHINE: RwLock<()> = RwLock::new(());

fn beside_others() -> RwLockReadGuard<'static, ()> {
    // The lock guards nothing that a test that failed could have spoilt.
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// An open shop behind a proxy that writes `X-Forwarded-For`. A test opens one at most.
struct BehindProxy {
    program: Program,
    _folder: TempDir,
    _machine: RwLockReadGuard<'static, ()>,
}

impl BehindProxy {
    fn open(path: &str, more: &[(&str, &str)]) -> Self {
        let machine = beside_others();
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Program::command(path, folder.path());
        command
            .envs([
                ("STRIPE_SANDBOX", "1"),
                ("ADMIN_PASSWORD", ADMIN_PASSWORD),
                ("PROXY_HEADER", "X-Forwarded-For"),
            ])
            .envs(more.iter().copied());
        Self {
            program: Program::start(command),
            _folder: folder,
            _machine: machine,
        }
    }

    /// Posts a form that needs the token of this cookie, as a visitor from there.
    fn post(&self, path: &str, token: &str, from: &str, fields: &str) -> Answer {
        let page = self.program.ask("GET", path, &[], "");
        let value = page.cookie(token).expect("a token");
        let cookie = format!("{token}={value}");
        let headers = [FORM, ("cookie", cookie.as_str()), ("x-forwarded-for", from)];
        let body = format!("csrf={value}&{fields}");
        self.program.ask("POST", path, &headers, &body)
    }

    fn sign_up(&self, email: &str, password: &str, from: &str) -> u16 {
        let fields = format!("email={email}&password={}", password.replace(' ', "+"));
        self.post("/account/new", "entry", from, &fields).status
    }

    fn log_in(&self, email: &str, password: &str, from: &str) -> u16 {
        let fields = format!("email={email}&password={}", password.replace(' ', "+"));
        self.post("/account/login", "entry", from, &fields).status
    }

    fn log_admin_in(&self, password: &str, from: &str) -> u16 {
        let fields = format!("password={}", password.replace(' ', "+"));
        self.post("/admin/login", "login", from, &fields).status
    }
}

/// Tries until the limit says no, which it does soon.
fn until_refused(mut attempt: impl FnMut(usize) -> u16) -> usize {
    let attempts = (0..100).take_while(|n| attempt(*n) != 429);
    let attempts = attempts.count();
    assert!(attempts < 100, "there is no limit");
    attempts
}

/// A value of the kernel's about a process, in KiB.
#[cfg(target_os = "linux")]
fn memory(program: &Program, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id()));
    let status = status.expect("a running program");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.trim_matches([':', '\t', ' ']).split(' ').next());
    value
        .and_then(|value| value.parse().ok())
        .expect("a number")
}

/// Sends 600 log-ins from 20 networks, each hung up after 20 ms, then `sequential` log-ins.
/// Gives the resident memory before all of them.
#[cfg(target_os = "linux")]
fn log_in_often(shop: &BehindProxy, sequential: usize) -> u64 {
    assert_eq!(
        shop.sign_up("ada@example.com", PASSWORD, "198.51.100.1"),
        303
    );
    let before = memory(&shop.program, "VmRSS");
    let page = shop.program.ask("GET", "/account/login", &[], "");
    let token = page.cookie("entry").expect("a token");
    thread::scope(|scope| {
        for network in 0..20 {
            scope.spawn(move || {
                for n in 0..30 {
                    let body = format!("csrf={token}&email={network}-{n}@example.com&password=guess");
                    let head = format!(
                        "POST /account/login HTTP/1.1\r\nhost: shop\r\ncookie: entry={token}\r\nx-forwarded-for: 10.0.{network}.1\r\n\
                         content-type: {}\r\ncontent-length: {}\r\n\r\n",
                        FORM.1,
                        body.len()
                    );
                    let mut stream = TcpStream::connect(shop.program.host()).expect("it listens");
                    stream.write_all((head + &body).as_bytes()).expect("it is sent");
                    // The attack, not a wait: the stranger hangs up while the hash is made.
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    for n in 0..sequential {
        let from = format!("172.16.{}.{}", n / 250, n % 250);
        let log_in = || shop.log_in(&format!("{n}@example.org"), "guess", &from);
        // The strangers before may still fill the queue: they get 503, and so does this one.
        let end = Instant::now() + program::PATIENCE;
        while log_in() == 503 {
            assert!(Instant::now() < end, "the queue stays full");
        }
    }
    assert_eq!(
        shop.log_in("ada@example.com", PASSWORD, "198.51.100.1"),
        303
    );
    before
}

/// The memory of a hash belongs to the work, not to the request.
pub fn log_ins_that_hang_up_leave_no_memory_behind(path: &str) {
    #[cfg(target_os = "linux")]
    {
        let shop = BehindProxy::open(path, &[]);
        let before = log_in_often(&shop, 20);
        // Not even at the worst moment.
        let peak = memory(&shop.program, "VmHWM");
        assert!(
            peak < before + MEMORY,
            "{before} KiB before, {peak} KiB at most"
        );
    }
    #[cfg(not(target_os = "linux"))]
    let _ = path;
}

/// The same with 1,000 sequential log-ins and 30 s of rest; prints what it measures.
pub fn many_log_ins_leave_no_memory_behind(path: &str) {
    #[cfg(target_os = "linux")]
    {
        let shop = BehindProxy::open(path, &[]);
        let before = log_in_often(&shop, 1_000);
        thread::sleep(Duration::from_secs(30));
        let (after, peak) = (
            memory(&shop.program, "VmRSS"),
            memory(&shop.program, "VmHWM"),
        );
        println!(
            "resident memory: {} MB before, {} MB after 30 s, {} MB at most",
            before / 1024,
            after / 1024,
            peak / 1024
        );
        assert!(after < before + MEMORY && peak < before + MEMORY);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = path;
}

/// Guesses cost the guesser's address, not the account and not the back room.
pub fn a_stranger_locks_nobody_out(path: &str) {
    let shop = BehindProxy::open(path, &[]);
    const ADA: &str = "ada@example.com";
    assert_eq!(shop.sign_up(ADA, PASSWORD, "198.51.100.1"), 303);
    // The proxy writes a port, too: another port is no other stranger.
    let guesses =
        until_refused(|n| shop.log_in(ADA, "guess", &format!("203.0.113.7:{}", 1024 + n)));
    assert!((5..15).contains(&guesses), "{guesses}");
    // Nor is another network of the same site.
    let guesses = until_refused(|n| shop.log_in(ADA, "guess", &format!("[2001:db8:1:{n}::1]:443")));
    assert!((5..15).contains(&guesses), "{guesses}");
    // Only the address that the proxy adds counts, not one that the stranger sends.
    let guesses = until_refused(|_| shop.log_in(ADA, "guess", "198.51.100.9, 203.0.113.7"));
    assert!(guesses < 4, "{guesses}");
    assert_eq!(shop.log_in(ADA, PASSWORD, "198.51.100.1"), 303);
    assert_eq!(shop.log_in(ADA, PASSWORD, "192.0.2.99"), 303);

    let guesses = until_refused(|_| shop.log_admin_in("guess", "203.0.113.7"));
    assert!((5..15).contains(&guesses), "{guesses}");
    assert_eq!(shop.log_admin_in(ADMIN_PASSWORD, "203.0.113.7"), 429);
    assert_eq!(shop.log_admin_in(ADMIN_PASSWORD, "198.51.100.1"), 303);
}

/// Signing up tells whether an address has an account, and hashes a password.
pub fn sign_ups_are_limited_like_log_ins(path: &str) {
    let shop = BehindProxy::open(path, &[]);
    let one = until_refused(|_| shop.sign_up("ada@example.com", "short", "203.0.113.7"));
    assert!((5..15).contains(&one), "{one}");
    let from = "203.0.113.8";
    let many = until_refused(|n| shop.sign_up(&format!("{n}@example.com"), "short", from));
    assert!((30..60).contains(&many), "{many}");
    // One try comes back every two seconds. Another address would have five.
    let log_ins = until_refused(|_| shop.log_in("a@example.com", "guess", from));
    assert!(log_ins < 4, "{log_ins}");
    assert_eq!(
        shop.sign_up("bob@example.com", PASSWORD, "203.0.113.9"),
        303
    );
}

/// Each order is a row that stays.
pub fn orders_have_a_limit_per_address(path: &str) {
    let shop = BehindProxy::open(path, &[("PAYMENTS_PER_MINUTE", "3")]);
    let place = |from: &str| {
        let headers = [FORM, ("x-forwarded-for", from)];
        shop.program.ask("POST", "/orders", &headers, "mug=1")
    };
    let by_api = |from: &str| {
        let headers = [JSON, ("x-forwarded-for", from)];
        let items = r#"{"items":[{"sku":"mug","quantity":1}]}"#;
        shop.program.ask("POST", "/api/orders", &headers, items)
    };
    let placed = until_refused(|n| place(&format!("203.0.113.7:{n}")).status);
    assert!((3..8).contains(&placed), "{placed}");
    let refused = by_api("203.0.113.7");
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.json()["code"], "too_many_attempts");
    assert!(refused.header("retry-after").is_some());
    // Nothing that is refused before costs anything: neither an empty cart nor a malformed order.
    for _ in 0..5 {
        let headers = [FORM, ("x-forwarded-for", "203.0.113.8")];
        let empty = shop.program.ask("POST", "/orders", &headers, "");
        assert_eq!(empty.status, 303);
    }
    assert_eq!(place("203.0.113.8").status, 303);
    assert_eq!(by_api("203.0.113.8").status, 201);
}

/// All visitors would share one limit, and the merchant would not know why.
pub fn a_proxys_header_that_cannot_be_read_is_told(path: &str) {
    let mut shop = BehindProxy::open(path, &[]);
    let headers = [FORM, ("x-forwarded-for", "hidden=\"_s3cr3t\"")];
    for _ in 0..5 {
        let answer = shop.program.ask("POST", "/cart", &headers, "add=mug");
        assert_eq!(answer.status, 303);
    }
    shop.program.wait_for_line("PROXY_HEADER");
    // Once, and without the header itself.
    let told = |line: &&String| line.contains("PROXY_HEADER") || line.contains("s3cr3t");
    let lines = shop.program.lines();
    assert_eq!(lines.iter().filter(told).count(), 1, "{lines:?}");
}

/// Runs a program that cannot start, and gives what it says.
fn refused_start(path: &str, folder: &Path, vars: &[(&str, &str)]) -> String {
    let _machine = beside_others();
    let mut command = Program::command(path, folder);
    command
        .env("PORT", "0")
        .env("NO_COLOR", "1")
        .envs(vars.iter().copied());
    let output = command.output().expect("it runs");
    let (told, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(1), "{told} {error}");
    assert!(!error.contains("panicked"), "{error}");
    format!("{told}\n{error}")
}

/// On a machine with other users, a folder above may be anybody's.
pub fn a_dotenv_file_of_a_parent_folder_is_not_read(path: &str) {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("shop");
    std::fs::create_dir(&folder).expect("a folder");
    let theirs = "STRIPE_SECRET_KEY=sk_live_1\nSTRIPE_API_BASE=https://evil.example\nPORT=theirs\n";
    std::fs::write(parent.path().join(".env"), theirs).expect("a file");
    let told = refused_start(path, &folder, &[("STRIPE_SANDBOX", "0")]);
    assert!(told.contains("STRIPE_SECRET_KEY is not set"), "{told}");
    assert!(!told.contains(".env"), "{told}");

    let file = folder.join(".env");
    std::fs::write(
        &file,
        "STRIPE_SANDBOX=1\nADMIN_PASSWORD=s3cr3t\nDATABASE_URL=nowhere://s3cr3t\n",
    )
    .expect("a file");
    let told = refused_start(path, &folder, &[]);
    assert!(told.contains("DATABASE_URL"), "{told}");
    let name = file.canonicalize().expect("a file");
    assert!(told.contains(&name.display().to_string()), "{told}");
    assert!(!told.contains("s3cr3t"), "{told}");
}

const LIVE: [(&str, &str); 3] = [
    ("STRIPE_SECRET_KEY", "sk_live_1"),
    ("STRIPE_PUBLISHABLE_KEY", "pk_live_1"),
    ("STRIPE_WEBHOOK_SECRET", "whsec_1"),
];
const PROXY: [(&str, &str); 2] = [("BEHIND_PROXY", "1"), ("PROXY_HEADER", "X-Real-IP")];

/// Where a variable leads elsewhere, the operator has to say that it is meant.
pub fn a_live_key_goes_to_stripe_only(path: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let elsewhere = [("STRIPE_API_BASE", "https://evil.example")];
    let vars = [&LIVE[..], &PROXY, &elsewhere].concat();
    let told = refused_start(path, folder.path(), &vars);
    assert!(
        told.contains("STRIPE_API_BASE leads to another host"),
        "{told}"
    );
    let script = [("STRIPE_JS_URL", "https://evil.example/stripe.js")];
    let vars = [&LIVE[..], &PROXY, &script].concat();
    let told = refused_start(path, folder.path(), &vars);
    assert!(
        told.contains("STRIPE_JS_URL leads to another host"),
        "{told}"
    );
    // Allowed: the next thing that is wrong is another one.
    let allowed = [
        ("STRIPE_ALLOW_OTHER_HOSTS", "1"),
        ("DATABASE_URL", "nowhere://"),
    ];
    let vars = [&LIVE[..], &PROXY, &elsewhere, &allowed].concat();
    let told = refused_start(path, folder.path(), &vars);
    assert!(told.contains("DATABASE_URL"), "{told}");
}

/// For a framework that leaves connections unbounded.
pub fn live_keys_without_a_proxy_do_not_start(path: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let told = refused_start(path, folder.path(), &LIVE);
    assert!(told.contains("BEHIND_PROXY=1"), "{told}");
    let vars = [&LIVE[..], &PROXY[..1]].concat();
    let told = refused_start(path, folder.path(), &vars);
    assert!(told.contains("BEHIND_PROXY=1 needs PROXY_HEADER"), "{told}");
}

/// The rights that files get by default, or had before, do not matter.
pub fn the_database_is_for_its_owner_only(path: &str) {
    #[cfg(unix)]
    for existing in [false, true] {
        use std::os::unix::fs::PermissionsExt as _;
        let _machine = beside_others();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("shop.db");
        if existing {
            std::fs::write(&file, "").expect("a file");
            let open = std::fs::Permissions::from_mode(0o666);
            std::fs::set_permissions(&file, open).expect("its owner may");
        }
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "umask 0000; exec \"$0\"", path])
            .env_clear()
            .current_dir(folder.path())
            .env("STRIPE_SANDBOX", "1");
        let shop = Program::start(command);
        let placed = shop.ask("POST", "/orders", &[FORM], "mug=1");
        assert_eq!(placed.status, 303);
        for name in ["shop.db", "shop.db-wal", "shop.db-shm"] {
            let known = std::fs::metadata(folder.path().join(name)).expect("a file");
            let mode = known.permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}: {mode:o}");
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// A cookie must not travel in the clear, not even once.
pub fn with_live_keys_browsers_come_by_https_only(path: &str) {
    const HEADER: &str = "strict-transport-security";
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Program::command(path, folder.path());
    command.envs(LIVE).envs(PROXY).envs([
        ("STRIPE_API_BASE", "http://127.0.0.1:9"),
        ("STRIPE_ALLOW_OTHER_HOSTS", "1"),
        ("RECONCILE", "0"),
    ]);
    let shop = Program::start(command);
    for (page, status) in [("/", 200), ("/account/login", 200), ("/nowhere", 404)] {
        let page = shop.ask("GET", page, &[("x-real-ip", "203.0.113.7")], "");
        assert_eq!(page.status, status, "{page:?}");
        assert_eq!(page.header(HEADER), Some("max-age=31536000"));
    }
    let added = shop.ask(
        "POST",
        "/cart",
        &[FORM, ("x-real-ip", "203.0.113.7")],
        "add=mug",
    );
    let cookie = added.header("set-cookie").unwrap_or_default();
    assert!(cookie.ends_with("; Secure"), "{cookie}");
    let sandbox = BehindProxy::open(path, &[]);
    let page = sandbox.program.ask("GET", "/", &[], "");
    assert_eq!(page.header(HEADER), None);
}

/// A body that never ends is not waited for.
pub fn a_slow_body_is_answered_408(path: &str) {
    let shop = BehindProxy::open(path, &[]);
    let mut slow = program::Connection::open(shop.program.host());
    // Rocket itself waits for the first 14 bytes of a body, without end: there a proxy has to.
    slow.send(
        b"POST /cart HTTP/1.1\r\nhost: shop\r\ncontent-length: 70\r\n\r\nadd=mug&something=more",
    );
    let begun = Instant::now();
    let answer = slow.answer(false);
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(answer.body.contains("took too long"), "{answer:?}");
    assert!(begun.elapsed() < 3 * crate::Visit::BODY_DEADLINE);
}

/// Such a body is not too large: it is malformed.
pub fn a_broken_chunk_is_answered_400(path: &str) {
    let shop = BehindProxy::open(path, &[]);
    for whole in ["", "7\r\nadd=mug\r\n", "14\r\nadd=mug&x=0123456789\r\n"] {
        let mut broken = program::Connection::open(shop.program.host());
        let head = "POST /cart HTTP/1.1\r\nhost: shop\r\ncontent-type: application/x-www-form-urlencoded\r\ntransfer-encoding: chunked\r\n\r\n";
        broken.send(format!("{head}{whole}no length\r\n").as_bytes());
        let answer = broken.answer(false);
        assert_eq!(answer.status, 400, "{whole:?}: {answer:?}");
        assert!(answer.cookie("cart").is_none(), "{whole:?}: {answer:?}");
    }
    let answer = shop.program.ask("POST", "/cart", &[FORM], "add=mug");
    assert_eq!(answer.status, 303, "{answer:?}");
}

/// A stranger sends this much on a connection, and then nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stranger {
    Silent,
    HalfHead,
    Idle,
    HalfBody,
}

impl Stranger {
    const ALL: [Self; 4] = [Self::Silent, Self::HalfHead, Self::Idle, Self::HalfBody];

    const fn sends(self) -> &'static [u8] {
        match self {
            Self::Silent => b"",
            Self::HalfHead => b"GET / HTTP/1.1\r\nhost: sh",
            Self::Idle => b"GET /favicon.ico HTTP/1.1\r\nhost: shop\r\n\r\n",
            Self::HalfBody => {
                b"POST /cart HTTP/1.1\r\nhost: shop\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 7\r\n\r\nadd"
            }
        }
    }

    /// Connects from another address than honest visitors, and keeps the connection.
    async fn connect(self, to: SocketAddr, number: usize) -> Option<tokio::net::TcpStream> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        let from = Ipv4Addr::new(127, 0, 1, 1 + (number % 20) as u8);
        socket
            .bind((from, 0).into())
            .expect("an address of this machine");
        let mut stream = socket.connect(to).await.ok()?;
        stream.write_all(self.sends()).await.ok()?;
        if self == Self::Idle {
            // So it was answered, and is idle from now on.
            stream.read_exact(&mut [0; 64]).await.ok()?;
        }
        Some(stream)
    }
}

/// The program with 1,024 descriptors, as many systems have it.
#[cfg(unix)]
fn with_few_descriptors(path: &str, folder: &Path, vars: &[(&str, &str)]) -> Program {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "ulimit -n 1024; exec \"$0\"", path])
        .env_clear()
        .current_dir(folder)
        .env("STRIPE_SANDBOX", "1")
        .envs(vars.iter().copied());
    Program::start(command)
}

/// Lets this process hold the strangers' ends of the connections.
#[cfg(unix)]
fn allow_many_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let enough = 2 * STRANGERS as u64;
    assert!(
        limit.maximum.is_none_or(|most| most >= enough),
        "this test needs {enough} descriptors: ulimit -Hn"
    );
    let raised = Rlimit {
        current: limit.current.map(|now| now.max(enough)),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("it may be raised");
}

/// While 1,000 strangers of each kind hold connections, honest visitors are answered soon. Visitors
/// who came before the strangers keep their connections.
#[cfg(unix)]
fn honest_visitors_are_answered(host: &str) {
    allow_many_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let to: SocketAddr = host.parse().expect("an address");
    for stranger in Stranger::ALL {
        let in_time = (0..ROUNDS).any(|_| slowest_answer(&runtime, to, stranger) < SOON);
        assert!(
            in_time,
            "{stranger:?} kept honest visitors waiting each time, or did not connect"
        );
    }
}

/// Holds 1,000 connections of this kind, and measures how long honest visitors wait.
#[cfg(unix)]
fn slowest_answer(
    runtime: &tokio::runtime::Runtime,
    to: SocketAddr,
    stranger: Stranger,
) -> Duration {
    let host = to.to_string();
    let mut before = program::Connection::open(&host);
    let idle = b"GET /favicon.ico HTTP/1.1\r\nhost: shop\r\n\r\n";
    before.send(idle);
    assert_eq!(before.answer(false).status, 200);
    let since = Instant::now();
    let held = runtime.block_on(async {
        let connecting: Vec<_> = (0..STRANGERS)
            .map(|number| {
                let connecting = stranger.connect(to, number);
                tokio::spawn(tokio::time::timeout(Duration::from_secs(10), connecting))
            })
            .collect();
        let mut held = Vec::new();
        for connected in connecting {
            let connected = connected.await.expect("no panic");
            held.extend(connected.ok().flatten());
        }
        held
    });
    // A shop at its bound closes some of them before they are answered. With few of them left the
    // round proves nothing.
    let count = held.len();
    if 2 * count < STRANGERS {
        println!("{stranger:?}: {count} connections");
        return Duration::MAX;
    }
    // The first one stands behind the burst itself: the strangers before it are taken in then.
    let begun = Instant::now();
    let first = program::ask(&host, "GET", "/", &[], "");
    assert_eq!(first.status, 200, "{stranger:?}: {first:?}");
    let first = begun.elapsed();
    // After that it may have been idle for too long.
    if since.elapsed() < crate::WAIT / 2 {
        before.send(idle);
        assert_eq!(before.answer(false).status, 200, "{stranger:?}");
    }
    let mut slowest = Duration::ZERO;
    for n in 0..20 {
        let begun = Instant::now();
        let (status, answer) = match n % 2 {
            0 => (200, program::ask(&host, "GET", "/", &[], "")),
            _ => (
                303,
                program::ask(&host, "POST", "/cart", &[FORM], "add=mug"),
            ),
        };
        slowest = slowest.max(begun.elapsed());
        assert_eq!(answer.status, status, "{stranger:?}: {answer:?}");
    }
    println!(
        "{count} strangers, {stranger:?}: honest visitors took {first:?} behind the burst, then {slowest:?} at most"
    );
    drop(held);
    slowest
}

/// 1,000 connections at 1,024 descriptors: for a framework whose shop bounds them itself.
pub fn strangers_who_hold_connections_keep_nobody_out(path: &str) {
    #[cfg(unix)]
    {
        let _machine = alone();
        let folder = tempfile::tempdir().expect("a folder");
        let shop = with_few_descriptors(path, folder.path(), &[]);
        honest_visitors_are_answered(shop.host());
        for line in shop.lines() {
            assert!(!line.contains("Too many open files"), "{line}");
        }
        shop.stop();
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// Nothing that a stranger leaves open stays open.
pub fn connections_that_say_nothing_are_closed(path: &str) {
    let shop = BehindProxy::open(path, &[]);
    let connections: Vec<_> = Stranger::ALL
        .into_iter()
        .map(|stranger| {
            let mut stream = TcpStream::connect(shop.program.host()).expect("it listens");
            stream.write_all(stranger.sends()).expect("it is sent");
            (stranger, stream)
        })
        .collect();
    let begun = Instant::now();
    for (stranger, mut stream) in connections {
        stream
            .set_read_timeout(Some(program::PATIENCE))
            .expect("a time-out");
        // A last answer may come first.
        let mut last = Vec::new();
        let ended = stream.read_to_end(&mut last);
        let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(
            ended.as_ref().is_ok() || ended.as_ref().is_err_and(reset),
            "{stranger:?} is still open: {ended:?}"
        );
    }
    assert!(begun.elapsed() < program::PATIENCE);
}

/// nginx in front of a shop, with the lines of its README.
struct Nginx {
    child: Child,
    host: String,
    _folder: TempDir,
}

impl Nginx {
    /// Returns `None` if there is no nginx. With `CI` there must be one.
    fn start(lines: &str, shop: &str) -> Option<Self> {
        let Some(nginx) = super::on_path("nginx").or_else(|| {
            let debian = Path::new("/usr/sbin/nginx").to_owned();
            debian.is_file().then_some(debian)
        }) else {
            let message = "skipped: there is no nginx (Debian: apt-get install nginx)";
            assert!(std::env::var_os("CI").is_none(), "{message}");
            // Past the test runner, which would keep what a passing test prints.
            let _ = writeln!(std::io::stderr(), "{message}");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let host = free.expect("a port").to_string();
        for line in ["listen 8080;", "http://127.0.0.1:3000", "http {"] {
            assert!(lines.contains(line), "{line:?} is not in {lines}");
        }
        let here = folder.path().display();
        let mut file = lines
            .replace("listen 8080;", &format!("listen {host};"))
            .replace("http://127.0.0.1:3000", &format!("http://{shop}"));
        let own: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
            .concat();
        file = file.replace("http {", &format!("http {{\naccess_log off;\n{own}"));
        let config = folder.path().join("nginx.conf");
        std::fs::write(&config, file).expect("a file");
        let errors = std::fs::File::create(folder.path().join("errors")).expect("a file");
        let mut command = Command::new(nginx);
        // Under root the workers would be another user, who may not write here.
        let globals = format!("daemon off; pid {here}/pid; error_log stderr; user root;");
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&config)
            .args(["-g", &globals])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors);
        let child = command.spawn().expect("nginx starts");
        let nginx = Self {
            child,
            host,
            _folder: folder,
        };
        let end = Instant::now() + program::PATIENCE;
        while TcpStream::connect(&nginx.host).is_err() {
            let errors = std::fs::read_to_string(nginx._folder.path().join("errors"));
            assert!(Instant::now() < end, "nginx does not listen: {errors:?}");
            thread::sleep(super::STEP);
        }
        Some(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it when they are told to, and not when it is killed.
        let mut tell = Command::new("kill");
        let _ = tell
            .args(["-s", "TERM", &self.child.id().to_string()])
            .status();
        let _ = self.child.wait();
    }
}

/// The same behind nginx, with these lines: for a framework that bounds nothing itself.
pub fn behind_nginx_strangers_keep_nobody_out(path: &str, lines: &str, readme: &str) {
    assert!(readme.contains(lines), "the README has other lines");
    #[cfg(unix)]
    {
        let _machine = alone();
        let folder = tempfile::tempdir().expect("a folder");
        let shop = with_few_descriptors(path, folder.path(), &PROXY);
        let Some(nginx) = Nginx::start(lines, shop.host()) else {
            return;
        };
        honest_visitors_are_answered(&nginx.host);
        for line in shop.lines() {
            // The shop sees its visitors' addresses.
            assert!(!line.contains("PROXY_HEADER"), "{line}");
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// With these lines nginx counts a network of IPv6 as one visitor, and the networks of a site
/// together. `adapters_readme` has the same lines.
pub fn behind_nginx_a_network_is_one_visitor(path: &str, lines: &str, adapters_readme: &str) {
    let (_, http) = lines.split_once("http {\n").expect("a block");
    let (http, _) = http.rsplit_once('}').expect("its end");
    let theirs = http
        .replace("\n    ", "\n")
        .replace("127.0.0.1:3000", "127.0.0.1:8000");
    assert!(adapters_readme.contains(theirs.trim()), "{theirs}");

    let _machine = beside_others();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Program::command(path, folder.path());
    command.env("STRIPE_SANDBOX", "1").envs(PROXY);
    let shop = Program::start(command);
    // The visitors of this test say where they are.
    let told = "http {\nset_real_ip_from 127.0.0.1;\nreal_ip_header X-Test-Address;";
    let lines = lines.replace("http {", told);
    let Some(nginx) = Nginx::start(&lines, shop.host()) else {
        return;
    };
    // Half a body, of which nginx has read the head.
    let hold = |from: &str| {
        let mut half = program::Connection::open(&nginx.host);
        let head = format!(
            "POST /cart HTTP/1.1\r\nhost: shop\r\nx-test-address: {from}\r\nexpect: 100-continue\r\ncontent-length: 7\r\n\r\n"
        );
        half.send(head.as_bytes());
        assert_eq!(half.answer(false).status, 100, "{from}");
        half
    };
    let status = |from: &str| {
        let headers = [("x-test-address", from), ("connection", "close")];
        let mut visitor = program::Connection::open(&nginx.host);
        let head: String = headers
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .concat();
        visitor.send(format!("GET / HTTP/1.1\r\nhost: shop\r\n{head}\r\n").as_bytes());
        visitor.answer(false).status
    };
    let one_network: Vec<_> = (1..=50)
        .map(|n| hold(&format!("2001:db8:1:1::{n}")))
        .collect();
    assert_eq!(status("2001:db8:1:1:ffff::1"), 503);
    assert_eq!(status("2001:db8:1:2::1"), 200);
    // A line feed is a byte of an address like any other: 0x0a.
    let one_site: Vec<_> = (51..=200)
        .map(|n| hold(&format!("2001:db8:1:{n}::a0a")))
        .collect();
    assert_eq!(status("2001:db8:1:a0a::1"), 503);
    assert_eq!(status("2001:db8:2:1::1"), 200);
    let one_address: Vec<_> = (1..=50).map(|_| hold("203.0.113.7")).collect();
    assert_eq!(status("203.0.113.7"), 503);
    assert_eq!(status("203.0.113.8"), 200);
    drop((one_network, one_site, one_address));
}
