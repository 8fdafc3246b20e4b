//! The log of an application names each failed call, its cause, and the id by which Stripe finds
//! it.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stripe_checkout_core::fulfillment::Received;
use stripe_checkout_core::stripe::{Gateway, PooledTransport};
use stripe_checkout_core::{InboxError, Reply};
use tracing::subscriber::DefaultGuard;

use crate::server::{Act, Server, config};
use crate::tls::serve;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Listens to this thread, at the level that most applications run with.
    fn listen() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines since the last call.
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

/// Tries once, and knows no proxy, whatever the environment of the test says.
fn once(base: &str) -> Gateway {
    let direct = PooledTransport::from_vars(|_| None).unwrap();
    let gateway = Gateway::new(&config(base)).unwrap();
    gateway.max_tries(1).transport(direct)
}

#[tokio::test]
async fn every_refused_call_is_logged_with_stripes_request_id() {
    let (log, _listening) = Log::listen();
    let error = |status, kind: &str, code: &str| {
        let body = format!(
            r#"{{"error":{{"type":"{kind}","code":"{code}","param":"amount","message":"hidden words"}}}}"#
        );
        Act::Answer(status, "Request-Id: req_of_this_call\r\n", body)
    };
    for (act, level) in [
        (
            error(400, "invalid_request_error", "amount_too_small"),
            " WARN ",
        ),
        (
            error(404, "invalid_request_error", "resource_missing"),
            " INFO ",
        ),
        (
            error(401, "invalid_request_error", "api_key_expired"),
            " WARN ",
        ),
        (error(402, "card_error", "card_declined"), " INFO "),
        (
            error(403, "invalid_request_error", "more_permissions_required"),
            " WARN ",
        ),
        (
            error(409, "idempotency_error", "idempotency_key_in_use"),
            " WARN ",
        ),
        (error(429, "rate_limit_error", "rate_limit"), " WARN "),
        (error(500, "api_error", "internal"), "ERROR "),
        (error(503, "api_error", "internal"), "ERROR "),
    ] {
        let server = Server::start([act.clone()]).await;
        let refused = once(&server.url())
            .get("/events?customer=cus_1", None)
            .await;
        refused.unwrap_err();
        let log = log.take();
        assert_eq!(log.lines().count(), 1, "one line for {act:?}: {log}");
        for part in [level, "req_of_this_call", "GET", "/v1/events"] {
            assert!(log.contains(part), "{part} of {act:?}: {log}");
        }
        assert!(!log.contains("hidden") && !log.contains("cus_1"), "{log}");
    }
    let server = Server::start([Act::Answer(200, "Request-Id: req_1\r\n", "{}".into())]).await;
    once(&server.url()).get("/events", None).await.unwrap();
    assert_eq!(log.take(), "", "a good call is not worth a line");
}

#[tokio::test]
async fn a_call_without_an_answer_is_logged_with_its_last_cause() {
    let (log, _listening) = Log::listen();
    let hanging = Server::start([Act::Hang]).await;
    let closing = Server::start([Act::Close]).await;
    let (stranger, _, _) = serve(&["localhost"]).await;
    let (other, root, _) = serve(&["api.stripe.example"]).await;
    let other = once(&format!("https://localhost:{other}"))
        .transport(PooledTransport::with_root_certificates([root]).unwrap());
    for (gateway, cause) in [
        (once("https://stripe.invalid"), "dns error"),
        (once("http://127.0.0.1:1"), "Connection refused"),
        (
            once(&format!("https://localhost:{stranger}")),
            "UnknownIssuer",
        ),
        (other, "certificate not valid for name"),
        (
            once(&closing.url()),
            "connection closed before message completed",
        ),
        (
            once(&hanging.url()).deadline(Duration::from_millis(100)),
            "timeout: no answer",
        ),
    ] {
        gateway.get("/events", None).await.unwrap_err();
        let log = log.take();
        assert_eq!(log.lines().count(), 1, "{log}");
        for part in ["ERROR ", "Stripe is unavailable", cause] {
            assert!(log.contains(part), "{part}: {log}");
        }
    }
}

#[test]
fn an_inbox_that_is_unavailable_is_logged_with_its_cause() {
    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);
    impl std::fmt::Display for Layer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }
    impl std::error::Error for Layer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|error| error as _)
        }
    }

    let (log, _listening) = Log::listen();
    let cause = Layer(
        "no connection",
        Some(Box::new(Layer("the disk is full", None))),
    );
    let error = InboxError::Unavailable(Box::new(cause));
    let reply = Reply::from(Err::<Received, _>(error));
    assert_eq!(reply.status(), 503);
    let log = log.take();
    assert!(
        log.contains("the inbox is unavailable: no connection: the disk is full"),
        "{log}"
    );
}
