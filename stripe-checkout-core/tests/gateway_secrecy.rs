//! All output of the gateway and of the HTTP library under it at TRACE, and every error and `Debug`
//! text. The test searches them for secrets.
//!
//! The test is a separate program because it listens to the whole process.

#[path = "gateway/server.rs"]
#[allow(dead_code, reason = "the other test program uses all of it")]
mod server;

use std::fmt::{Debug, Write as _};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use server::{Act, SECRET_KEY, Server, config};
use stripe_checkout_core::requests::{IntentParams, PaymentRequest};
use stripe_checkout_core::stripe::{Gateway, PooledTransport};
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{Amount, ApiError, Currency, Metadata};

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

const INTENT: &str = r#"{"id":"pi_1","object":"payment_intent","amount":1999,"currency":"eur","status":"requires_payment_method","client_secret":"pi_1_secret_Hidden","receipt_email":"jane@hidden.example","description":"hidden words","metadata":{"order_id":"order-1"}}"#;
const DECLINE: &str = r#"{"error":{"type":"card_error","code":"card_declined","decline_code":"fraudulent","message":"hidden words for jane@hidden.example","payment_intent":{"id":"pi_1","client_secret":"pi_1_secret_Hidden"}}}"#;

async fn tell(texts: &mut String, outcome: Result<Payment, ApiError>) {
    match outcome {
        Ok(payment) => writeln!(texts, "{payment:?} {payment:#?}").unwrap(),
        Err(error) => writeln!(texts, "{error} {error:?} {error:#?}").unwrap(),
    }
}

fn show(texts: &mut String, value: &dyn Debug) {
    writeln!(texts, "{value:?} {value:#?}").unwrap();
}

#[tokio::test]
async fn nothing_secret_is_said_at_any_level() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let request = PaymentRequest::new("order-1", Amount::new(1999, Currency::EUR))
        .metadata(Metadata::new().with("note", "hidden words").unwrap())
        .receipt_email("jane@hidden.example")
        .description("hidden words");
    let params: IntentParams = request.intent_params("tea-shop").unwrap();
    let mut texts = String::new();

    let acts = [
        Act::Answer(200, "Request-Id: req_good\r\n", INTENT.into()),
        Act::Answer(402, "Request-Id: req_declined\r\n", DECLINE.into()),
        Act::Answer(400, "Request-Id: req_bad\r\n", DECLINE.into()),
        Act::Answer(
            401,
            "",
            r#"{"error":{"message":"Invalid API Key provided: sk_test_51HiddenSecretKey"}}"#.into(),
        ),
        Act::Answer(503, "", DECLINE.into()),
        Act::Close,
        Act::Raw(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{INTENT}"
        )),
        Act::Raw(format!("{INTENT}\r\n\r\n")),
        Act::Answer(200, "", format!("[{INTENT}]")),
        Act::Answer(200, "", INTENT.replace("1999", "\"hidden words\"")),
        Act::Hang,
    ];
    let answered = acts.len() - 1;
    let server = Server::start(acts).await;
    let gateway = Gateway::new(&server.config()).unwrap().max_tries(1);
    let key = "key-1".parse().unwrap();
    for _ in 0..answered {
        tell(&mut texts, gateway.create_intent(&params, &key, None).await).await;
    }
    let hasty = gateway.clone().deadline(Duration::from_millis(100));
    tell(&mut texts, hasty.create_intent(&params, &key, None).await).await;
    let refused = Gateway::new(&config("http://127.0.0.1:1"))
        .unwrap()
        .max_tries(2);
    tell(&mut texts, refused.create_intent(&params, &key, None).await).await;
    let no_tls = Gateway::new(&config(&format!("https://{}", server.address)))
        .unwrap()
        .max_tries(1);
    let no_tls = no_tls.deadline(Duration::from_millis(500));
    tell(&mut texts, no_tls.create_intent(&params, &key, None).await).await;
    let proxied = PooledTransport::from_vars(|name| {
        (name == "HTTPS_PROXY").then(|| "http://shop:HiddenPassword@127.0.0.1:1".into())
    });
    let proxied = proxied.unwrap();
    show(&mut texts, &proxied);
    let proxied = Gateway::new(&config("https://api.stripe.example"))
        .unwrap()
        .max_tries(1)
        .transport(proxied);
    tell(&mut texts, proxied.create_intent(&params, &key, None).await).await;
    let query = format!(
        "/payment_intents?customer=hidden&client_secret=pi_1_secret_Hidden&x={}",
        "jane@hidden.example"
    );
    let listed = refused.get(&query, None).await.unwrap_err();
    show(&mut texts, &listed);

    show(&mut texts, &gateway);
    show(&mut texts, &server.config());
    show(&mut texts, &PooledTransport::new().unwrap());
    show(&mut texts, &request);
    show(&mut texts, &params);

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for part in [
        "TRACE",
        "hyper_util",
        "req_good",
        "req_declined",
        "card_declined",
        "tries=2",
        "refused",
    ] {
        assert!(log.contains(part), "the log should tell {part}:\n{log}");
    }
    for (name, text) in [("log", log), ("texts", texts)] {
        let lower = text.to_lowercase();
        for hidden in [
            "hidden",
            "sk_test",
            "bearer",
            "_secret_",
            "jane",
            "receipt_email=",
            "amount=1999&",
            "whsec",
            "pk_test",
        ] {
            if let Some(at) = lower.find(hidden) {
                let line = text
                    .get(at.saturating_sub(300)..(at + 100).min(text.len()))
                    .unwrap_or_default();
                panic!("{hidden:?} is in the {name}: {line}");
            }
        }
    }
    assert!(SECRET_KEY.contains("Hidden"));
}
