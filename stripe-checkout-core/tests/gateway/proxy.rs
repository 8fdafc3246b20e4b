//! The way to Stripe through a proxy, and with root certificates of the network's own.

use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use stripe_checkout_core::fulfillment::{MemoryInbox, on_paid};
use stripe_checkout_core::requests::PaymentRequest;
use stripe_checkout_core::stripe::{Gateway, PooledTransport};
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{BoxError, BuildError, Checkout, Pricing, PricingError, Visitor};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{Act, SECRET_KEY, Server, config};
use crate::tls::serve;

/// No name server knows it: only the proxy does.
const HOST: &str = "api.stripe.example";

/// A proxy that leads every tunnel to one server, and writes down what it is asked.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    async fn start(behind: u16, answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let shared = asked.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        if client.read_buf(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let head = String::from_utf8(head).unwrap();
                    shared.lock().unwrap().push(head);
                    client.write_all(answer.as_bytes()).await.unwrap();
                    if answer.contains(" 200 ") {
                        let mut server = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self {
            address,
            asked,
            task,
        }
    }

    fn url(&self) -> String {
        format!("http://shop:pass%20word@{}", self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const OPEN: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

fn pem(der: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "# The company's own root.").unwrap();
    write!(file, "{}", as_pem(der)).unwrap();
    file
}

/// Base64 between the two lines of a certificate.
fn as_pem(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in der.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

fn transport(variables: &[(&str, &str)]) -> PooledTransport {
    try_transport(variables).unwrap()
}

fn try_transport(
    variables: &[(&str, &str)],
) -> Result<PooledTransport, stripe_checkout_core::BuildError> {
    PooledTransport::from_vars(|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    })
}

fn gateway(base: &str, variables: &[(&str, &str)]) -> Gateway {
    Gateway::new(&config(base))
        .unwrap()
        .max_tries(1)
        .transport(transport(variables))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_through_the_proxys_tunnel_to_a_server_that_the_file_vouches_for() {
    let (port, root, counts) = serve(&[HOST]).await;
    let proxy = Proxy::start(port, OPEN).await;
    let file = pem(&root);
    let variables = [
        ("HTTPS_PROXY", &*proxy.url()),
        ("NO_PROXY", "intranet.example"),
        ("SSL_CERT_FILE", file.path().to_str().unwrap()),
    ];
    let stripe = gateway(&format!("https://{HOST}"), &variables);
    for _ in 0..3 {
        assert_eq!(stripe.get("/events", None).await.unwrap(), "{}");
    }
    assert_eq!(counts.requests.load(Ordering::SeqCst), 3);
    // One tunnel for all three, and the proxy sees where to and who asks, but no key.
    let asked = proxy.asked();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with(&format!("CONNECT {HOST}:443 HTTP/1.1\r\n")));
    assert!(asked[0].contains("Proxy-Authorization: Basic c2hvcDpwYXNzIHdvcmQ=\r\n"));
    assert!(!asked[0].contains(SECRET_KEY), "{}", asked[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_is_no_excuse_for_a_certificate_that_nobody_vouches_for() {
    let (port, _, counts) = serve(&[HOST]).await;
    let proxy = Proxy::start(port, OPEN).await;
    let stripe = gateway(&format!("https://{HOST}"), &[("https_proxy", &proxy.url())]);
    assert!(stripe.get("/events", None).await.is_err());
    assert_eq!(counts.requests.load(Ordering::SeqCst), 0);
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test]
async fn a_sandbox_on_this_machine_is_reached_whatever_the_proxy() {
    let server = Server::start([Act::Answer(200, "", "{}".into())]).await;
    let proxy = Proxy::start(0, OPEN).await;
    let everywhere = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "http_proxy"];
    let url = proxy.url();
    let variables = everywhere.map(|name| (name, &*url));
    let stripe = gateway(&server.url(), &variables);
    assert_eq!(stripe.get("/events", None).await.unwrap(), "{}");
    assert_eq!(server.seen().len(), 1);
    assert_eq!(proxy.asked().len(), 0);
}

#[tokio::test]
async fn a_file_that_holds_no_certificate_is_found_at_start() {
    let mut empty = tempfile::NamedTempFile::new().unwrap();
    writeln!(empty, "nothing here").unwrap();
    for file in [empty.path().to_str().unwrap(), "/no/such/file.pem"] {
        let error = try_transport(&[("SSL_CERT_FILE", file)]).unwrap_err();
        assert!(format!("{error:?}").contains("SSL_CERT_FILE"), "{error:?}");
    }
    assert!(try_transport(&[("SSL_CERT_FILE", ""), ("HTTPS_PROXY", "")]).is_ok());
}

#[tokio::test]
async fn a_file_of_certificates_may_hold_an_unusable_one_but_no_malformed_one() {
    let (_, root, _) = serve(&[HOST]).await;
    let load = |more: &str| {
        let mut file = pem(&root);
        write!(file, "{more}").unwrap();
        try_transport(&[("SSL_CERT_FILE", file.path().to_str().unwrap())])
    };
    assert!(load("").is_ok());
    assert!(load(&as_pem(b"no certificate")).is_ok());
    let malformed = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
    let error = load(malformed).unwrap_err();
    assert!(format!("{error:?}").contains("SSL_CERT_FILE"), "{error:?}");
}

/// Set in the process that has an environment of its own.
const CHILD: &str = "STRIPE_CHECKOUT_TEST_CHILD";

#[test]
fn a_transport_of_ones_own_needs_no_sound_environment() {
    if std::env::var_os(CHILD).is_some() {
        return build_with_and_without_a_transport();
    }
    for (name, value) in [
        ("SSL_CERT_FILE", "/no/such/file.pem"),
        ("ALL_PROXY", "socks5://proxy.example:1080"),
    ] {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("proxy::a_transport_of_ones_own_needs_no_sound_environment")
            .env_remove("HTTPS_PROXY")
            .env_remove("https_proxy")
            .env(CHILD, "1")
            .env(name, value)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{name}: {child:?}");
        assert!(said.contains("1 passed"), "{name}: {said}");
    }
}

fn build_with_and_without_a_transport() {
    let config = config("https://api.stripe.example");
    let unsound = |error: BuildError| matches!(error, BuildError::Transport(_));
    assert!(unsound(Gateway::new(&config).unwrap_err()));
    assert!(Gateway::with_transport(&config, transport(&[])).is_ok());

    let builder = || {
        let ship = async |_: Payment| Ok::<_, BoxError>(());
        Checkout::builder(config.clone())
            .application("tea")
            .pricing(NoPrices)
            .fulfillment(MemoryInbox::new(), on_paid(ship))
    };
    assert!(unsound(builder().build().unwrap_err()));
    assert!(builder().transport(transport(&[])).build().is_ok());
}

struct NoPrices;

#[derive(serde::Deserialize)]
struct Nothing {}

impl Pricing for NoPrices {
    type Order = Nothing;

    async fn price(&self, _: Nothing, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        Err(PricingError::refused("This test sells nothing."))
    }
}
