//! The metrics after real deliveries over two inboxes, and a check of the README's table of them.

mod recorder;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::Unit;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{SqliteConnection, SqlitePool};
use stripe_checkout_core::fulfillment::{
    Due, EventFilter, EventState, FulfillmentHandler, Inbox, MemoryInbox, SqliteInbox, on_paid,
};
use stripe_checkout_core::requests::PaymentRequest;
use stripe_checkout_core::stripe::{Transport, TransportRequest, TransportResponse};
use stripe_checkout_core::testing::{EventBody, PaymentIntent, now, refund, sign};
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{
    Amount, Body, BoxError, Call, Checkout, CheckoutBuilder, Config, Currency, Group, Pricing,
    PricingError, PublishableKey, SecretKey, TransportError, Visitor, WebhookSecret,
};

use recorder::Recorder;

const PRICE: Amount = Amount::new(1999, Currency::EUR);

fn secret() -> WebhookSecret {
    WebhookSecret::new("whsec_of_this_test").unwrap()
}

/// A handler that ships, except for some payments.
#[derive(Clone, Default)]
struct Ship {
    mended: Arc<AtomicBool>,
}

impl<C: Send> FulfillmentHandler<C> for Ship {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut C) -> Result<(), BoxError> {
        match payment.id() {
            _ if self.mended.load(Ordering::SeqCst) => Ok(()),
            "pi_fails" => Err("the printer is out of paper".into()),
            "pi_panics" => panic!("on purpose"),
            "pi_hangs" => std::future::pending().await,
            _ => Ok(()),
        }
    }

    async fn amount_due(&self, _: &Payment, _: &mut C) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }
}

/// Runs the work with this recorder: on this thread, with all spawned tasks.
fn recorded<T>(recorder: &Recorder, work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    metrics::with_local_recorder(recorder, || runtime.block_on(work))
}

struct Shop {
    checkout: Checkout,
    ship: Ship,
}

impl Shop {
    fn new<I: Inbox>(inbox: I) -> Self {
        Self::built(inbox, |builder| builder)
    }

    fn built<I: Inbox>(inbox: I, more: impl FnOnce(CheckoutBuilder) -> CheckoutBuilder) -> Self {
        Self::configured(Config::new([secret()]).unwrap(), inbox, more)
    }

    fn configured<I: Inbox>(
        config: Config,
        inbox: I,
        more: impl FnOnce(CheckoutBuilder) -> CheckoutBuilder,
    ) -> Self {
        let ship = Ship::default();
        let builder = Checkout::builder(config)
            .application("tea")
            .max_attempts(2)
            .handler_deadline(Duration::from_millis(200))
            .fulfillment(inbox, ship.clone());
        let checkout = more(builder).build().unwrap();
        Self { checkout, ship }
    }

    async fn send(&self, event: EventBody) -> u16 {
        let body = event.body();
        let header = sign(&body, &secret(), now());
        self.post(&body, &[&header]).await
    }

    async fn post(&self, body: &[u8], headers: &[&str]) -> u16 {
        let webhook = &self.checkout.only(Group::Webhook).endpoints()[0].clone();
        let call = headers.iter().fold(Call::new(webhook), |call, header| {
            call.header("Stripe-Signature", header.as_bytes())
        });
        let call = call.body(Body::whole(body, webhook.body_limit()));
        self.checkout.handle(call).await.status()
    }
}

fn paid(event: &str, payment: &str, order: &str) -> EventBody {
    let intent = PaymentIntent::new(payment, PRICE).metadata("order_id", order);
    EventBody::new(
        "payment_intent.succeeded",
        intent.status("succeeded").object(),
    )
    .id(event)
}

async fn pool(folder: &tempfile::TempDir) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("shop.db"))
        // After a hook that was cut off, the inbox waits for as long as other connections may wait
        // for it.
        .busy_timeout(Duration::from_millis(500))
        .create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(4);
    pool.connect_with(options).await.unwrap()
}

async fn sqlite(folder: &tempfile::TempDir) -> SqliteInbox {
    let inbox = SqliteInbox::new(pool(folder).await);
    inbox.migrate().await.unwrap();
    inbox
}

/// Runs a day on which everything happens at least once.
async fn day(shop: &Shop) {
    assert_eq!(shop.send(paid("evt_1", "pi_1", "1")).await, 200);
    assert_eq!(shop.send(paid("evt_1", "pi_1", "1")).await, 200, "again");
    assert_eq!(shop.send(paid("evt_2", "pi_1", "1")).await, 200, "old news");
    assert_eq!(shop.send(paid("evt_3", "pi_2", "1")).await, 200, "twice");
    let cheap = PaymentIntent::new("pi_3", Amount::new(1, Currency::EUR));
    let cheap = cheap.metadata("order_id", "3").status("succeeded");
    let cheap = EventBody::new("payment_intent.succeeded", cheap.object());
    assert_eq!(shop.send(cheap).await, 200);
    for (event, payment) in [
        ("evt_4", "pi_fails"),
        ("evt_5", "pi_panics"),
        ("evt_6", "pi_hangs"),
    ] {
        assert_eq!(shop.send(paid(event, payment, payment)).await, 500);
    }
    assert_eq!(
        shop.send(paid("evt_4", "pi_fails", "pi_fails")).await,
        500,
        "a dead letter"
    );
    assert_eq!(
        shop.send(paid("evt_4", "pi_fails", "pi_fails")).await,
        500,
        "stays one, and is not tried again"
    );
    let early = EventBody::new("refund.created", refund("re_1", "pi_later", PRICE));
    assert_eq!(shop.send(early).await, 503);
    shop.checkout.stats().await.unwrap();
}

/// Checks the recorder after that day, with any inbox.
fn told(recorder: &Recorder) {
    const TEA: &str = "application=tea,mode=test";
    let deliveries = |outcome: &str| {
        recorder.get(&format!(
            "stripe_checkout_deliveries_total{{{TEA},origin=webhook,outcome={outcome}}}"
        ))
    };
    assert_eq!(deliveries("done"), Some(2.0));
    assert_eq!(deliveries("duplicate"), Some(1.0));
    assert_eq!(deliveries("superseded"), Some(1.0));
    assert_eq!(deliveries("mismatch"), Some(1.0));
    assert_eq!(deliveries("failed"), Some(5.0));
    assert_eq!(deliveries("waiting"), Some(1.0));
    let all = recorder.starting("stripe_checkout_deliveries_total");
    assert_eq!(all.len(), 6, "{all:?}");

    let attempts = |outcome: &str| {
        recorder.get(&format!(
            "stripe_checkout_attempts_total{{{TEA},outcome={outcome}}}"
        ))
    };
    assert_eq!(attempts("done"), Some(2.0), "the duplicate was none");
    assert_eq!(attempts("superseded"), Some(1.0));
    assert_eq!(attempts("mismatch"), Some(1.0));
    assert_eq!(attempts("failed"), Some(3.0));
    assert_eq!(attempts("dead"), Some(1.0), "the last one of `pi_fails`");
    assert_eq!(attempts("waiting"), Some(1.0));
    let all = recorder.starting("stripe_checkout_attempts_total");
    assert_eq!(all.len(), 6, "{all:?}");

    let counter = |name: &str| recorder.get(&format!("stripe_checkout_{name}{{{TEA}}}"));
    assert_eq!(counter("dead_letters_total"), Some(1.0));
    assert_eq!(counter("mismatches_total"), Some(1.0));
    assert_eq!(counter("duplicate_payments_total"), Some(1.0));

    let call = |call: &str| {
        recorder.get(&format!(
            "stripe_checkout_handler_duration_seconds{{call={call}}}"
        ))
    };
    assert_eq!(
        call("payment_succeeded"),
        Some(5.0),
        "once well, twice `pi_fails`, once panicked, once cut off"
    );
    assert_eq!(call("amount_due"), Some(6.0), "and once a mismatch");
    assert_eq!(call("duplicate_payment"), Some(1.0));
    assert_eq!(call("mismatch"), Some(1.0));
    let all = recorder.starting("stripe_checkout_handler_duration_seconds");
    assert_eq!(all.len(), 4, "{all:?}");

    let gauge = |name: &str| recorder.get(&format!("stripe_checkout_{name}{{{TEA}}}"));
    let events = |state: EventState| {
        let state = state.as_str();
        recorder.get(&format!("stripe_checkout_events{{{TEA},state={state}}}"))
    };
    assert_eq!(events(EventState::Done), Some(2.0));
    assert_eq!(events(EventState::Superseded), Some(1.0));
    assert_eq!(events(EventState::Mismatch), Some(1.0));
    assert_eq!(events(EventState::Dead), Some(1.0));
    assert_eq!(
        events(EventState::Pending),
        Some(3.0),
        "two that failed, and one that waits"
    );
    assert_eq!(events(EventState::Discarded), Some(0.0), "none is none");
    assert_eq!(gauge("unfulfilled_payments"), Some(3.0));
    assert_eq!(gauge("open_duplicate_payments"), Some(1.0));
    assert_eq!(gauge("refunded_before_fulfillment_payments"), Some(0.0));
    assert!(gauge("due_events").unwrap() <= 3.0);
    assert!(gauge("oldest_pending_event_age_seconds").unwrap() >= 0.0);
    assert!(gauge("oldest_unfulfilled_payment_age_seconds").unwrap() >= 0.0);
    let skew = recorder.get("stripe_checkout_clock_skew_seconds{}");
    assert!((0.0..100.0).contains(&skew.unwrap()), "{skew:?}");
}

#[test]
fn a_day_over_the_inbox_in_memory() {
    let recorder = Recorder::default();
    recorded(&recorder, async {
        day(&Shop::new(MemoryInbox::new())).await;
    });
    told(&recorder);
}

#[test]
fn a_day_over_sqlite() {
    let (recorder, folder) = (Recorder::default(), tempfile::tempdir().unwrap());
    recorded(&recorder, async {
        day(&Shop::new(sqlite(&folder).await)).await;
    });
    told(&recorder);
}

#[test]
fn what_is_queued_is_counted_when_it_comes_and_when_it_runs() {
    let (recorder, folder) = (Recorder::default(), tempfile::tempdir().unwrap());
    recorded(&recorder, async {
        let shop = Shop::built(sqlite(&folder).await, CheckoutBuilder::queued);
        shop.send(paid("evt_1", "pi_1", "1")).await;
        shop.checkout.stats().await.unwrap();
        assert_eq!(
            recorder.get("stripe_checkout_due_events{application=tea,mode=test}"),
            Some(1.0)
        );
        assert!(shop.checkout.run_due().await.unwrap());
        assert!(!shop.checkout.run_due().await.unwrap());
        shop.checkout.stats().await.unwrap();
    });
    let count = |series: &str| recorder.get(&format!("stripe_checkout_{series}"));
    let tea = "application=tea,mode=test";
    assert_eq!(
        count(&format!(
            "deliveries_total{{{tea},origin=webhook,outcome=queued}}"
        )),
        Some(1.0)
    );
    assert_eq!(
        count(&format!("attempts_total{{{tea},outcome=done}}")),
        Some(1.0)
    );
    assert_eq!(
        count(&format!("due_events{{{tea}}}")),
        Some(0.0),
        "what is gone is seen to be gone"
    );
    assert_eq!(count(&format!("events{{{tea},state=pending}}")), Some(0.0));
}

#[test]
fn what_is_refused_is_counted_by_reason() {
    let recorder = Recorder::default();
    recorded(&recorder, async {
        let shop = Shop::built(MemoryInbox::new(), |builder| builder.body_limit(1000));
        let body = br#"{"id":"evt_1","object":"event","type":"a"}"#;
        let good = sign(body, &secret(), now());
        let other = WebhookSecret::new("whsec_of_somebody_else").unwrap();
        assert_eq!(shop.post(body, &[]).await, 400);
        assert_eq!(shop.post(body, &[&good, &good]).await, 400);
        assert_eq!(shop.post(body, &["v1=00"]).await, 400);
        assert_eq!(shop.post(body, &["t=1"]).await, 400);
        assert_eq!(shop.post(body, &[&sign(body, &other, now())]).await, 400);
        for _ in 0..2 {
            let old = sign(body, &secret(), now() - 1000);
            assert_eq!(shop.post(body, &[&old]).await, 400);
        }
        assert_eq!(
            shop.post(b"{}", &[&sign(b"{}", &secret(), now())]).await,
            400
        );
        assert_eq!(shop.post(&[b' '; 1001], &[&good]).await, 413);
        let webhook = shop.checkout.endpoints()[0].clone();
        let cut = Call::new(&webhook).header("stripe-signature", good.as_bytes());
        let mut half = Body::new(1000);
        half.push(&body[..9]);
        half.set_incomplete();
        assert_eq!(shop.checkout.handle(cut.body(half)).await.status(), 400);
    });
    let refused: BTreeMap<_, _> = recorder.starting("stripe_checkout").into_iter().collect();
    let expected = [
        ("malformed", 5.0),
        ("no_header", 1.0),
        ("not_an_event", 1.0),
        ("too_old", 2.0),
        ("wrong_signature", 1.0),
    ];
    let expected = expected.map(|(reason, count)| {
        let series = format!("stripe_checkout_webhooks_refused_total{{reason={reason}}}");
        (series, count)
    });
    assert_eq!(refused, expected.into(), "and nothing was taken in");
}

#[test]
fn what_is_of_the_other_mode_is_told_apart() {
    let recorder = Recorder::default();
    recorded(&recorder, async {
        let config = Config::new([secret()]).unwrap();
        let config = config.with_keys(
            SecretKey::new("sk_live_1").unwrap(),
            PublishableKey::new("pk_live_1").unwrap(),
        );
        let inbox = MemoryInbox::new().allow_live();
        let shop = Shop::configured(config.unwrap(), inbox, |builder| {
            builder.ownership(stripe_checkout_core::Ownership::AllPayments)
        });
        shop.send(paid("evt_1", "pi_1", "1")).await;
        let live = PaymentIntent::new("pi_2", PRICE).livemode(true);
        let live = live.status("succeeded").object();
        shop.send(EventBody::new("payment_intent.succeeded", live))
            .await;
        shop.checkout.stats().await.unwrap();
    });
    let told = recorder.starting("stripe_checkout_deliveries_total");
    let told: Vec<_> = told.iter().map(|(series, _)| series.as_str()).collect();
    assert_eq!(
        told,
        [
            "stripe_checkout_deliveries_total{application=tea,mode=live,origin=webhook,outcome=done}",
            "stripe_checkout_deliveries_total{application=tea,mode=test,origin=webhook,outcome=ignored}",
        ]
    );
    let gauge = |mode| {
        recorder.get(&format!(
            "stripe_checkout_unfulfilled_payments{{application=tea,mode={mode}}}"
        ))
    };
    assert_eq!((gauge("live"), gauge("test")), (Some(0.0), None));
}

/// Moves events by three hours, and by more than 35 days, in the database, so that no test waits.
#[test]
fn what_is_old_has_an_age_and_what_is_pruned_is_counted() {
    let (recorder, folder) = (Recorder::default(), tempfile::tempdir().unwrap());
    recorded(&recorder, async {
        let shop = Shop::new(sqlite(&folder).await);
        let rows = pool(&folder).await;
        let put_back = async |hours: i64| {
            sqlx::query("UPDATE stripe_checkout_events SET received = received - ?")
                .bind(hours * 3600 * 1_000_000)
                .execute(&rows)
                .await
                .unwrap();
        };
        shop.send(paid("evt_1", "pi_1", "1")).await;
        shop.send(paid("evt_2", "pi_2", "2")).await;
        shop.send(paid("evt_4", "pi_fails", "3")).await;
        put_back(3).await;
        shop.checkout.stats().await.unwrap();
        for age in ["oldest_pending_event", "oldest_unfulfilled_payment"] {
            let age = format!("stripe_checkout_{age}_age_seconds{{application=tea,mode=test}}");
            let seconds = recorder.get(&age).unwrap();
            assert!((10_800.0..12_000.0).contains(&seconds), "{age}: {seconds}");
        }
        shop.ship.mended.store(true, Ordering::SeqCst);
        shop.send(paid("evt_4", "pi_fails", "3")).await;
        shop.checkout.stats().await.unwrap();
        for age in ["oldest_pending_event", "oldest_unfulfilled_payment"] {
            let age = format!("stripe_checkout_{age}_age_seconds{{application=tea,mode=test}}");
            assert_eq!(recorder.get(&age), Some(0.0), "{age}");
        }
        put_back(36 * 24).await;
        assert_eq!(shop.checkout.prune().await.unwrap(), 3);
    });
    let pruned = recorder.get("stripe_checkout_pruned_events_total{application=tea,mode=test}");
    assert_eq!(pruned, Some(3.0));
}

#[test]
fn a_replay_is_an_attempt_and_no_delivery() {
    let recorder = Recorder::default();
    recorded(&recorder, async {
        let shop = Shop::new(MemoryInbox::new());
        shop.send(paid("evt_1", "pi_fails", "1")).await;
        shop.ship.mended.store(true, Ordering::SeqCst);
        let events = shop.checkout.events(EventFilter::default()).await.unwrap();
        shop.checkout.replay(&events[0]).await.unwrap();
    });
    let tea = "application=tea,mode=test";
    assert_eq!(
        recorder.get(&format!(
            "stripe_checkout_attempts_total{{{tea},outcome=done}}"
        )),
        Some(1.0)
    );
    let deliveries = recorder.starting("stripe_checkout_deliveries_total");
    assert_eq!(deliveries.len(), 1, "{deliveries:?}");
}

/// Returns a table of the README: its rows that begin with a metric's name.
fn table() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let rows = include_str!("../../README.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `stripe_checkout_"));
    rows.map(|row| {
        let cells: Vec<_> = row.split(" | ").collect();
        let labels = cells[2].split(", ").filter(|label| *label != "–");
        let labels = labels.map(|label| label.trim_matches('`').to_owned());
        let name = format!("stripe_checkout_{}", cells[0].trim_matches('`'));
        (name, (cells[1].to_owned(), labels.collect()))
    })
    .collect()
}

/// Looks up a payment as a visitor. The stand-in for Stripe does not know it.
async fn visit() {
    struct NoPrices;
    impl Pricing for NoPrices {
        type Order = String;
        async fn price(&self, _: String, _: &Visitor) -> Result<PaymentRequest, PricingError> {
            Err(PricingError::refused("Nothing is for sale."))
        }
    }
    struct Unknown;
    impl Transport for Unknown {
        async fn send(&self, _: &TransportRequest) -> Result<TransportResponse, TransportError> {
            Ok(TransportResponse {
                status: 404,
                headers: Vec::new(),
                body: "{}".into(),
            })
        }
    }
    let keys = (
        SecretKey::new("sk_test_1").unwrap(),
        PublishableKey::new("pk_test_1").unwrap(),
    );
    let config = Config::new([secret()])
        .unwrap()
        .with_keys(keys.0, keys.1)
        .unwrap();
    let shop = Checkout::builder(config)
        .application("visited")
        .pricing(NoPrices)
        .transport(Unknown)
        .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
        .build()
        .unwrap();
    assert!(
        shop.retrieve_intent("pi_1", "pi_1_secret_1")
            .await
            .unwrap()
            .is_none()
    );
}

#[test]
fn the_readme_tells_each_metric_its_kind_and_its_labels() {
    let (recorder, folder) = (Recorder::default(), tempfile::tempdir().unwrap());
    recorded(&recorder, async {
        let shop = Shop::new(sqlite(&folder).await);
        day(&shop).await;
        shop.post(b"{}", &[]).await;
        shop.checkout.prune().await.unwrap();
        visit().await;
    });
    let described = recorder.described();
    let mut labels = recorder.labels();
    let truth: BTreeMap<_, _> = described
        .iter()
        .map(|(name, described)| {
            let labels = labels.remove(name).unwrap_or_else(|| panic!("{name}"));
            (name.clone(), (described.kind.to_owned(), labels))
        })
        .collect();
    assert_eq!(labels, BTreeMap::new(), "not described");
    assert_eq!(table(), truth);
    for (name, described) in described {
        assert!(described.meaning.ends_with('.'), "{name}");
        let seconds = described.unit == Some(Unit::Seconds);
        assert_eq!(seconds, name.ends_with("_seconds"), "{name}");
        let counter = described.kind == "counter";
        assert_eq!(counter, name.ends_with("_total"), "{name}");
    }
}

#[test]
fn a_recorder_that_comes_later_is_told_what_it_records() {
    let (early, late) = (Recorder::default(), Recorder::default());
    let shop = recorded(&early, async { Shop::new(MemoryInbox::new()) });
    assert!(!early.described().is_empty(), "before the first delivery");
    recorded(&late, async { shop.checkout.stats().await.unwrap() });
    assert_eq!(late.described(), early.described());
}

/// A handler that works, and then ends the given transaction: the hook returns Ok, and the inbox
/// keeps none of its work.
struct Commits;

impl FulfillmentHandler<SqliteConnection> for Commits {
    async fn payment_succeeded(
        &self,
        _: &Payment,
        db: &mut SqliteConnection,
    ) -> Result<(), BoxError> {
        sqlx::raw_sql("COMMIT").execute(db).await?;
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut SqliteConnection) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }
}

#[test]
fn what_the_hook_said_does_not_count_until_it_is_committed() {
    let (recorder, folder) = (Recorder::default(), tempfile::tempdir().unwrap());
    recorded(&recorder, async {
        let builder = Checkout::builder(Config::new([secret()]).unwrap());
        let inbox = sqlite(&folder).await;
        let builder = builder.application("tea").fulfillment(inbox, Commits);
        let shop = Shop {
            checkout: builder.build().unwrap(),
            ship: Ship::default(),
        };
        assert_eq!(shop.send(paid("evt_1", "pi_1", "1")).await, 500);
    });
    let attempts = recorder.starting("stripe_checkout_attempts_total");
    let dead = "stripe_checkout_attempts_total{application=tea,mode=test,outcome=dead}";
    assert_eq!(attempts, [(dead.to_owned(), 1.0)]);
    let dead = recorder.starting("stripe_checkout_dead_letters_total");
    assert_eq!(dead.len(), 1, "{dead:?}");
}
