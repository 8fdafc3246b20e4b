//! The gateway against the faults that can happen between a shop and Stripe, as the sandbox
//! simulates them.
//!
//! One rule above all: in spite of any fault, one key makes at most one PaymentIntent, and a
//! repeated call with the same key gets it.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use stripe_checkout_core::requests::{IntentParams, PaymentRequest};
use stripe_checkout_core::stripe::{Gateway, IdempotencyKey};
use stripe_checkout_core::webhook::{Payment, PaymentStatus};
use stripe_checkout_core::{Amount, ApiError, Currency, Metadata, PublishableKey, SecretKey};
use stripe_checkout_sandbox::{Fault, LoggedRequest, Sandbox};

struct World {
    sandbox: Sandbox,
    gateway: Gateway,
}

impl World {
    async fn new() -> Self {
        let sandbox = Sandbox::start().await.unwrap();
        let gateway = Gateway::new(&sandbox.config()).unwrap();
        Self { sandbox, gateway }
    }

    /// As [`new`](Self::new), but a try that hangs ends after less than a second.
    async fn impatient() -> Self {
        let mut world = Self::new().await;
        world.gateway = world.gateway.deadline(Duration::from_secs(2));
        world
    }

    /// Creates with this key until there is an answer for it, like a shop whose buyer presses
    /// again.
    async fn create(&self, key: &IdempotencyKey) -> Result<Payment, ApiError> {
        for _ in 0..20 {
            match self.gateway.create_intent(&params(key), key, None).await {
                Err(
                    ApiError::Timeout
                    | ApiError::Unavailable {
                        replayed: false, ..
                    }
                    | ApiError::IdempotencyConflict { .. }
                    | ApiError::RateLimited { .. },
                ) => {}
                settled => return settled,
            }
        }
        panic!("no answer for {key} after twenty calls");
    }

    /// Returns all PaymentIntents, without the gateway's own create path.
    async fn intents(&self) -> Vec<Payment> {
        #[derive(serde::Deserialize)]
        struct List {
            data: Vec<Payment>,
            has_more: bool,
        }
        self.sandbox.faults().clear();
        let list = self
            .gateway
            .get("/payment_intents?limit=100", None)
            .await
            .unwrap();
        let list: List = serde_json::from_slice(&list).unwrap();
        assert!(!list.has_more);
        list.data
    }

    fn creates(&self) -> Vec<LoggedRequest> {
        let mut requests = self.sandbox.requests();
        requests
            .retain(|request| request.method == "POST" && request.path == "/v1/payment_intents");
        requests
    }

    /// Checks the rule at the end of every test: per key one intent at most, and one body in all
    /// its tries.
    async fn check(&self) -> Vec<Payment> {
        let mut bodies: Vec<(String, Bytes)> = Vec::new();
        for request in self.creates() {
            let key = request.idempotency_key.unwrap();
            match bodies.iter().find(|(known, _)| *known == key) {
                Some((_, body)) => assert_eq!(*body, request.body, "another body under {key}"),
                None => bodies.push((key, request.body)),
            }
        }
        let intents = self.intents().await;
        let keys: HashSet<_> = intents
            .iter()
            .map(|intent| intent.metadata().get("key").unwrap())
            .collect();
        assert_eq!(
            keys.len(),
            intents.len(),
            "two intents for one key: {intents:?}"
        );
        intents
    }
}

/// Returns parameters that name the key, so that each intent shows which key made it.
fn params(key: &IdempotencyKey) -> IntentParams {
    PaymentRequest::new("order-1", Amount::new(1999, Currency::EUR))
        .metadata(Metadata::new().with("key", key.as_str()).unwrap())
        .receipt_email("jane@example.com")
        .intent_params("tea-shop")
        .unwrap()
}

fn key(text: &str) -> IdempotencyKey {
    text.parse().unwrap()
}

fn with(status: u16, name: &str, value: &str) -> Fault {
    Fault::StatusWith {
        status,
        headers: vec![(name.into(), value.into())],
    }
}

/// Returns temporary faults, after which the same key succeeds.
fn passing() -> Vec<Fault> {
    let mut faults: Vec<_> = [409, 424, 429, 500, 501, 502, 503, 504]
        .into_iter()
        .map(Fault::Status)
        .collect();
    faults.extend([
        with(429, "Retry-After", "1"),
        with(503, "Retry-After", "0"),
        with(400, "Stripe-Should-Retry", "true"),
        Fault::Reset,
        Fault::ResetAfterExecution,
        Fault::Hang,
        Fault::HangAfterExecution,
        Fault::Slow(Duration::from_millis(50)),
        // This is longer than a try waits, so the next tries find the key in use.
        Fault::Slow(Duration::from_millis(1200)),
    ]);
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_that_passes_ends_in_one_intent() {
    let mut runs = Vec::new();
    for times in [1, 2] {
        runs.extend(passing().into_iter().map(|fault| {
            tokio::spawn(async move {
                let world = World::impatient().await;
                world.sandbox.faults().next(times, fault.clone());
                let payment = world.create(&key("key-1")).await.unwrap();
                assert_eq!(payment.status(), &PaymentStatus::RequiresPaymentMethod);
                let intents = world.check().await;
                assert_eq!(intents.len(), 1, "{fault:?}");
                assert_eq!(intents[0].id(), payment.id(), "{fault:?}");
                if !matches!(fault, Fault::Slow(wait) if wait < Duration::from_millis(800)) {
                    assert!(world.creates().len() > 1, "{fault:?} was not met");
                }
            })
        }));
    }
    for run in runs {
        run.await.unwrap();
    }
}

#[tokio::test]
async fn what_was_done_before_the_answer_was_lost_is_not_done_again() {
    let world = World::new().await;
    world.sandbox.faults().next(1, Fault::ResetAfterExecution);
    let payment = world
        .gateway
        .create_intent(&params(&key("key-1")), &key("key-1"), None)
        .await
        .unwrap();
    let creates = world.creates();
    assert_eq!(creates.len(), 2);
    assert!(creates[1].replayed);
    assert_eq!(world.check().await[0].id(), payment.id());
}

#[tokio::test]
async fn a_kept_failure_needs_another_key() {
    let world = World::new().await;
    world.sandbox.faults().next(1, Fault::StatusAndKeep(500));
    let first = key("attempt-1");
    let failed = world
        .gateway
        .create_intent(&params(&first), &first, None)
        .await
        .unwrap_err();
    assert!(
        matches!(
            failed,
            ApiError::Unavailable {
                status: Some(500),
                replayed: true,
                request_id: Some(_)
            }
        ),
        "{failed:?}"
    );
    // The first try failed, and the second one returned the kept failure. A third try would be
    // useless.
    assert_eq!(world.creates().len(), 2);

    world.create(&key("attempt-2")).await.unwrap();
    assert_eq!(world.check().await.len(), 1);
}

#[tokio::test]
async fn what_stripe_says_not_to_retry_is_not_retried() {
    for fault in [
        with(503, "Stripe-Should-Retry", "false"),
        with(429, "Retry-After", "3600"),
        Fault::Status(400),
        Fault::Status(401),
        Fault::Status(402),
        Fault::Status(403),
        Fault::Status(404),
        Fault::NotJson,
    ] {
        let world = World::new().await;
        world.sandbox.faults().next(1, fault.clone());
        let key = key("key-1");
        let error = world
            .gateway
            .create_intent(&params(&key), &key, None)
            .await
            .unwrap_err();
        assert_eq!(world.creates().len(), 1, "{fault:?}");
        let expected = match (&fault, &error) {
            (
                Fault::StatusWith { status: 503, .. },
                ApiError::Unavailable {
                    status: Some(503),
                    replayed: false,
                    ..
                },
            )
            | (Fault::Status(400), ApiError::InvalidRequest { status: 400, .. })
            | (Fault::Status(401), ApiError::Authentication { .. })
            | (Fault::Status(402), ApiError::Declined { .. })
            | (Fault::Status(403), ApiError::Permission { .. })
            | (Fault::Status(404), ApiError::InvalidRequest { status: 404, .. })
            | (Fault::NotJson, ApiError::UnexpectedAnswer { status: 200, .. }) => true,
            (Fault::StatusWith { status: 429, .. }, ApiError::RateLimited { retry_after, .. }) => {
                *retry_after == Some(Duration::from_secs(3600))
            }
            _ => false,
        };
        assert!(expected, "{fault:?} became {error:?}");
        assert_eq!(world.check().await, [], "{fault:?}");
        // Stripe kept none of these answers, so the key is still good.
        world.create(&key).await.unwrap();
        assert_eq!(world.check().await.len(), 1, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_mix_of_faults_makes_one_intent_per_key_at_most() {
    // Each seed is another mix, and the same mix in every run.
    let runs = (0..24).map(|seed| {
        tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            let world = World::impatient().await;
            let mut kinds = passing();
            // If the tries end with a 400, the error is that of a 400.
            kinds.retain(|kind| !matches!(kind, Fault::StatusWith { status: 400, .. }));
            kinds.push(Fault::StatusAndKeep(500));
            for _ in 0..random.usize(1..6) {
                world
                    .sandbox
                    .faults()
                    .next(1, random.choice(&kinds).unwrap().clone());
            }
            let mut attempt = 1;
            let payment = loop {
                match world.create(&key(&format!("attempt-{attempt}"))).await {
                    Ok(payment) => break payment,
                    Err(ApiError::Unavailable { replayed: true, .. }) => attempt += 1,
                    Err(other) => panic!("seed {seed}: {other:?}"),
                }
            };
            let intents = world.check().await;
            // Attempts with a kept failure made nothing, so the order has one intent too.
            assert_eq!(intents.len(), 1, "seed {seed}");
            assert_eq!(intents[0].id(), payment.id(), "seed {seed}");
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_at_once_is_the_same_intent() {
    let world = World::new().await;
    // While the first call is executed, the others find the key in use.
    world
        .sandbox
        .faults()
        .next(1, Fault::Slow(Duration::from_millis(300)));
    let gateway = world.gateway.clone().max_tries(30);
    let calls = (0..10).map(|_| {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            gateway
                .create_intent(&params(&key("key-1")), &key("key-1"), None)
                .await
                .unwrap()
        })
    });
    let mut ids = HashSet::new();
    for call in calls.collect::<Vec<_>>() {
        ids.insert(call.await.unwrap().id().to_owned());
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(world.check().await.len(), 1);
}

#[tokio::test]
async fn a_key_with_other_parameters_is_a_mismatch() {
    let world = World::new().await;
    let key = key("key-1");
    world
        .gateway
        .create_intent(&params(&key), &key, None)
        .await
        .unwrap();
    let other = IntentParams::new(Amount::new(2999, Currency::EUR));
    let conflict = world
        .gateway
        .create_intent(&other, &key, None)
        .await
        .unwrap_err();
    assert!(
        matches!(
            conflict,
            ApiError::IdempotencyMismatch {
                request_id: Some(_)
            }
        ),
        "{conflict:?}"
    );
    assert_eq!(world.intents().await.len(), 1);
}

#[tokio::test]
async fn update_cancel_and_retrieve_survive_lost_answers() {
    let world = World::new().await;
    let gateway = &world.gateway;
    let id = world.create(&key("key-1")).await.unwrap().id().to_owned();

    world.sandbox.faults().next(2, Fault::ResetAfterExecution);
    let dearer = IntentParams::new(Amount::new(2999, Currency::EUR));
    let payment = gateway
        .update_intent(&id, &dearer, &key("key-2"), None)
        .await
        .unwrap();
    assert_eq!(payment.amount(), Amount::new(2999, Currency::EUR));
    // Fields that the update does not name stay.
    assert_eq!(payment.order_id(), Some("order-1"));

    world.sandbox.faults().next(1, Fault::Status(503));
    world.sandbox.faults().next(1, Fault::Reset);
    assert_eq!(
        gateway.retrieve_intent(&id, None).await.unwrap().amount(),
        payment.amount()
    );

    world.sandbox.faults().next(1, Fault::ResetAfterExecution);
    let payment = gateway
        .cancel_intent(&id, &key("key-3"), None)
        .await
        .unwrap();
    assert_eq!(payment.status(), &PaymentStatus::Canceled);

    // With another key it is another request, which is too late.
    let late = gateway
        .cancel_intent(&id, &key("key-4"), None)
        .await
        .unwrap_err();
    assert!(
        matches!(&late, ApiError::InvalidRequest { code: Some(code), .. } if code == "payment_intent_unexpected_state"),
        "{late:?}"
    );
}

#[tokio::test]
async fn what_stripe_refuses_is_told_by_its_code() {
    let world = World::new().await;
    let small = IntentParams::new(Amount::new(1, Currency::EUR));
    let error = world
        .gateway
        .create_intent(&small, &key("key-1"), None)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ApiError::InvalidRequest { status: 400, code: Some(code), request_id: Some(_), .. } if code == "amount_too_small"),
        "{error:?}"
    );
    let error = world
        .gateway
        .retrieve_intent("pi_nowhere", None)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ApiError::InvalidRequest { status: 404, code: Some(code), .. } if code == "resource_missing"),
        "{error:?}"
    );
    let error = world
        .gateway
        .post(
            "/payment_intents",
            "amount=1999&currency=eur&colour=red",
            &key("key-2"),
            None,
        )
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ApiError::InvalidRequest { code: Some(code), param: Some(param), .. } if code == "parameter_unknown" && param == "colour"),
        "{error:?}"
    );
    let stranger = world
        .sandbox
        .config()
        .with_keys(
            SecretKey::new("sk_test_stranger").unwrap(),
            PublishableKey::new("pk_test_stranger").unwrap(),
        )
        .unwrap();
    let error = Gateway::new(&stranger)
        .unwrap()
        .retrieve_intent("pi_1", None)
        .await
        .unwrap_err();
    assert!(
        matches!(error, ApiError::Authentication { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_connected_accounts_intents_are_its_own() {
    let world = World::new().await;
    let (gateway, account) = (&world.gateway, Some("acct_1"));
    let theirs = gateway
        .create_intent(&params(&key("key-1")), &key("key-1"), account)
        .await
        .unwrap();
    let ours = gateway
        .create_intent(&params(&key("key-1")), &key("key-1"), None)
        .await
        .unwrap();
    assert_ne!(theirs.id(), ours.id());
    assert_eq!((theirs.account(), ours.account()), (account, None));
    gateway.retrieve_intent(theirs.id(), account).await.unwrap();
    gateway
        .retrieve_intent(theirs.id(), None)
        .await
        .unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_intents_in_a_row_use_one_connection() {
    let world = World::new().await;
    for n in 0..100 {
        let key = key(&format!("key-{n}"));
        world
            .gateway
            .create_intent(&params(&key), &key, None)
            .await
            .unwrap();
    }
    assert_eq!(world.creates().len(), 100);
    assert_eq!(world.sandbox.connections(), 1);
    assert_eq!(world.check().await.len(), 100);
}
