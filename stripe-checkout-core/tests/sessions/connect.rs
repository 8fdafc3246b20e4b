//! Connected accounts: a page on which one of them is paid, or from which the money goes on to one.

use stripe_checkout_core::fulfillment::{
    EventFilter, EventState, InboxExt as _, MemoryInbox, Received,
};
use stripe_checkout_core::requests::CaptureMethod;
use stripe_checkout_core::webhook::{EVENT_TYPES, Event};
use stripe_checkout_core::{
    BuildError, Checkout, Config, InboxError, OrderCancellation, PaymentError, RequestError,
    WebhookSecret,
};
use stripe_checkout_sandbox::{CONNECT_APPLICATION, Fault};

use super::fulfilment::orders;
use super::routes::create;
use super::world::{DECLINED, GOOD, Shop, World, eur, hosted, order_key, request, sqlite};

const ONE: &str = "acct_1";
const OTHER: &str = "acct_2";

#[tokio::test]
async fn the_same_reference_on_another_account_is_another_order() {
    let world = World::new().await;
    let own = world.open("1").await;
    let on = |account| request("1").connected_account(account);
    let one = world.checkout.create_session(&on(ONE)).await.unwrap();
    let other = world.checkout.create_session(&on(OTHER)).await.unwrap();
    assert!(own.id() != one.id() && one.id() != other.id());
    for (account, session) in [(None, &own), (Some(ONE), &one), (Some(OTHER), &other)] {
        let path = format!("/checkout/sessions/{}", session.id());
        assert_eq!(world.get_of(account, &path).await["status"], "open");
    }
    world.pay(one.id(), GOOD).await;
    let of_one = world.deliver_of(Some(ONE)).await;
    assert_eq!(of_one, ["ship for 20.00 EUR of 20.00 EUR 1"]);
    // Only that one is paid.
    let again = world.checkout.create_session(&on(ONE)).await;
    assert!(matches!(again, Err(PaymentError::AlreadyPaid)), "{again:?}");
    let still = world.checkout.create_session(&on(OTHER)).await.unwrap();
    assert_eq!(still.id(), other.id());
    // The order may change the page there too, and be called off.
    let intent = world.checkout.create_intent(&on(OTHER)).await.unwrap();
    assert_eq!(intent.account(), Some(OTHER));
    let path = format!("/checkout/sessions/{}", other.id());
    assert_eq!(world.get_of(Some(OTHER), &path).await["status"], "expired");
    let session = world.checkout.create_session(&on(OTHER)).await.unwrap();
    let ended = world
        .checkout
        .cancel_order_on_connected_account("1", OTHER)
        .await
        .unwrap();
    assert!(matches!(ended, OrderCancellation::Canceled(_)), "{ended:?}");
    let path = format!("/checkout/sessions/{}", session.id());
    assert_eq!(world.get_of(Some(OTHER), &path).await["status"], "expired");
    assert_eq!(world.open("1").await.id(), own.id());
}

#[tokio::test]
async fn a_buyer_who_comes_back_from_an_accounts_page_is_found_there() {
    let world = World::new().await;
    let session = request("1").connected_account(ONE);
    let session = world.checkout.create_session(&session).await.unwrap();
    world.pay(session.id(), GOOD).await;
    let found = world.checkout.retrieve_session(session.id()).await.unwrap();
    assert_eq!(found.unwrap().account(), Some(ONE));
    assert_eq!(world.shop.lines(), ["ship for 20.00 EUR of 20.00 EUR 1"]);
    assert_eq!(world.deliver_of(Some(ONE)).await, [""; 0]);
}

#[tokio::test]
async fn the_money_of_a_page_goes_on_to_a_connected_account_less_the_fee() {
    let world = World::new().await;
    let to_one = || request("1").transfer_destination(ONE).on_behalf_of(ONE);
    let with_fee = |fee| to_one().application_fee_amount(eur(fee));
    let first = world.checkout.create_session(&with_fee(100)).await.unwrap();
    // Another fee is another session: one cannot be changed.
    let session = world.checkout.create_session(&with_fee(200)).await.unwrap();
    assert_ne!(first.id(), session.id());
    assert_eq!(world.sessions("open").await, [session.id()]);
    world.pay(session.id(), GOOD).await;
    let intent = world.intent_of(session.id()).await;
    let intent = world.get(&format!("/payment_intents/{intent}")).await;
    assert_eq!(intent["transfer_data"]["destination"], ONE);
    assert_eq!(intent["application_fee_amount"], 200);
    assert_eq!(intent["on_behalf_of"], ONE);
    let lines = world.deliver().await;
    assert_eq!(lines.last().unwrap(), "ship for 20.00 EUR of 20.00 EUR 1");
}

#[tokio::test]
async fn a_page_in_a_frame_is_told_whose_it_is() {
    let world = World::with(hosted().embedded(), Default::default()).await;
    let json = r#"{"order":"theirs"}"#;
    let reply = create(&world.checkout, "", "application/json", json).await;
    let reply: serde_json::Value = serde_json::from_slice(reply.body()).unwrap();
    assert_eq!(reply["stripeAccount"], ONE);
    assert!(reply["clientSecret"].as_str().unwrap().starts_with("cs_"));
    let reply = create(&world.checkout, "", "application/json", r#"{"order":"1"}"#).await;
    let reply: serde_json::Value = serde_json::from_slice(reply.body()).unwrap();
    assert_eq!(reply.get("stripeAccount"), None);
}

/// A payment on Stripe's page, and the merchant's next step.
#[derive(Debug, Clone, Copy)]
enum Story {
    Paid,
    CapturedAndRefunded,
    Disputed,
    Declined,
}

impl Story {
    const ALL: [Self; 4] = [
        Self::Paid,
        Self::CapturedAndRefunded,
        Self::Disputed,
        Self::Declined,
    ];

    /// The session, and the events that a webhook endpoint receives of it, the oldest first.
    async fn play(self, world: &World, account: Option<&str>) -> (String, Vec<Event>) {
        let asked = match account {
            Some(account) => request("1").connected_account(account),
            None => request("1"),
        };
        let asked = match self {
            Self::CapturedAndRefunded => asked.capture_method(CaptureMethod::Manual),
            _ => asked,
        };
        let session = world.checkout.create_session(&asked).await.unwrap();
        let id = session.id().to_owned();
        if let Self::Declined = self {
            for _ in 0..2 {
                world.pay(&id, DECLINED).await;
            }
        } else {
            world.pay(&id, GOOD).await;
        }
        let intent = world.intent_on(account, &id).await;
        match self {
            Self::CapturedAndRefunded => {
                let path = format!("/payment_intents/{intent}/capture");
                world.post_of(account, &path, "").await;
                let form = format!("payment_intent={intent}&amount=500");
                world.post_of(account, "/refunds", &form).await;
            }
            Self::Disputed => assert!(world.sandbox.dispute(&intent)),
            Self::Paid | Self::Declined => {}
        }
        let mut events = world.events_of(account).await;
        // One event of each kind is enough for all orders.
        let mut seen = Vec::new();
        events.retain(|event| {
            let is_new =
                matches!(self, Self::Declined) || !seen.contains(&event.event_type().to_owned());
            seen.push(event.event_type().to_owned());
            is_new && EVENT_TYPES.contains(&event.event_type())
        });
        (id, events)
    }
}

/// Delivers the events in this order, then all of them again, and gives what the shop was told.
async fn told(checkout: &Checkout, shop: &Shop, events: &[Event]) -> Vec<String> {
    for event in [events, events].concat() {
        let received = checkout.receive(event).await.unwrap();
        assert_ne!(received, Received::Failed);
    }
    let mut lines = shop.lines();
    // Events that waited run in an order of their own.
    lines.sort();
    lines
}

#[tokio::test]
async fn in_every_order_of_events_a_connected_account_is_told_as_the_own_account() {
    for story in Story::ALL {
        let (own, theirs) = (World::new().await, World::new().await);
        let (own_session, own_events) = story.play(&own, None).await;
        let (session, events) = story.play(&theirs, Some(ONE)).await;
        let kinds = |events: &[Event]| -> Vec<String> {
            events
                .iter()
                .map(|event| event.event_type().to_owned())
                .collect()
        };
        assert_eq!(kinds(&own_events), kinds(&events));
        let pairs = orders(&own_events).into_iter().zip(orders(&events));
        for (own_order, order) in pairs {
            let (own_shop, shop) = (Shop::default(), Shop::default());
            let process = own
                .knowing_session(MemoryInbox::new(), &own_shop, None, &own_session)
                .await;
            let expected = told(&process, &own_shop, &own_order).await;
            let process = theirs
                .knowing_session(MemoryInbox::new(), &shop, Some(ONE), &session)
                .await;
            let lines = told(&process, &shop, &order).await;
            assert!(!lines.is_empty());
            assert_eq!(lines, expected, "{story:?} {:?}", kinds(&order));
            let events = process.events(EventFilter::default()).await.unwrap();
            for event in events {
                assert!(event.ours, "{story:?} {event:?}");
                assert_eq!(event.order, Some(order_key("1", Some(ONE))));
            }
        }
    }
}

#[tokio::test]
async fn the_order_of_a_payment_is_asked_for_once_and_then_known() {
    let world = World::new().await;
    let (session, events) = Story::CapturedAndRefunded.play(&world, Some(ONE)).await;
    let folder = tempfile::tempdir().unwrap();
    let inbox = sqlite(&folder).await;
    let shop = Shop::default();
    let process = world
        .knowing_session(inbox, &shop, Some(ONE), &session)
        .await;
    let before = world.sandbox.requests().len();
    // A refund comes first, and bears no marks.
    for event in events.iter().rev() {
        process.receive(event.clone()).await.unwrap();
    }
    let requests = world.sandbox.requests();
    let asked = requests[before..].iter();
    let asked = asked.filter(|request| request.path.ends_with("/sessions"));
    let asked = asked.filter(|request| request.query.contains("payment_intent="));
    let asked = asked.count();
    assert!(
        (1..=2).contains(&asked),
        "for the order, and for the captured totals: {asked}"
    );
    let intent = world.intent_on(Some(ONE), &session).await;
    let inbox = sqlite(&folder).await;
    let scope = order_key("1", None).scope;
    let (order, _) = inbox
        .intent_of_payment(&scope, &intent)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(order, order_key("1", Some(ONE)));
}

#[tokio::test]
async fn too_many_declines_on_an_accounts_page_close_the_page() {
    let world = World::new().await;
    let (session, events) = Story::Declined.play(&world, Some(ONE)).await;
    let shop = Shop::default();
    let process = world
        .knowing_session(MemoryInbox::new(), &shop, Some(ONE), &session)
        .await;
    let path = format!("/checkout/sessions/{session}");
    assert_eq!(world.get_of(Some(ONE), &path).await["status"], "open");
    assert_eq!(
        told(&process, &shop, &events).await,
        ["failed 1", "failed 1"]
    );
    assert_eq!(world.get_of(Some(ONE), &path).await["status"], "expired");
}

#[tokio::test]
async fn a_payment_that_an_account_makes_with_copied_metadata_is_not_ours() {
    let world = World::new().await;
    let session = request("1").connected_account(ONE);
    let session = world.checkout.create_session(&session).await.unwrap();
    // The account copies the marks of the session and pays by itself.
    let form = "amount=2000&currency=eur&confirm=true&payment_method=pm_card_visa&return_url=https://shop.example\
                &metadata[order_id]=1&metadata[checkout_application]=tea&metadata[checkout_amount]=2000\
                &metadata[checkout_currency]=eur&metadata[checkout_session]=1";
    let forged = world.post_of(Some(ONE), "/payment_intents", form).await;
    let forged = forged["id"].as_str().unwrap();
    world
        .post_of(
            Some(ONE),
            "/refunds",
            &format!("payment_intent={forged}&amount=500"),
        )
        .await;
    assert_eq!(world.deliver_of(Some(ONE)).await, [""; 0]);
    let events = world.checkout.events(EventFilter::default()).await.unwrap();
    assert!(
        events.len() > 2 && events.iter().all(|event| !event.ours),
        "{events:?}"
    );
    // Nor is it if the account makes a session of its own around it.
    let marks = form
        .split("return_url=https://shop.example&")
        .last()
        .unwrap();
    let form = format!(
        "mode=payment&success_url=https://shop.example/done&line_items[0][price_data][currency]=eur&line_items[0][price_data][unit_amount]=2000\
         &line_items[0][price_data][product_data][name]=Tea&line_items[0][quantity]=1&{}",
        marks.replace("metadata", "payment_intent_data[metadata]")
    );
    let own = world.post_of(Some(ONE), "/checkout/sessions", &form).await;
    world.pay(own["id"].as_str().unwrap(), GOOD).await;
    assert_eq!(world.deliver_of(Some(ONE)).await, [""; 0]);
    // The real one still ships.
    world.pay(session.id(), GOOD).await;
    assert_eq!(
        world.deliver_of(Some(ONE)).await,
        ["ship for 20.00 EUR of 20.00 EUR 1"]
    );
}

#[tokio::test]
async fn an_event_whose_order_cannot_be_asked_for_is_not_acknowledged() {
    let world = World::new().await;
    let (session, events) = Story::CapturedAndRefunded.play(&world, Some(ONE)).await;
    for kind in ["payment_intent.amount_capturable_updated", "refund.created"] {
        let shop = Shop::default();
        let process = world
            .knowing_session(MemoryInbox::new(), &shop, Some(ONE), &session)
            .await;
        let event = events.iter().find(|event| event.event_type() == kind);
        let event = event.unwrap().clone();
        let denied = Fault::Status(403);
        let away = Fault::StatusWith {
            status: 503,
            headers: vec![("Stripe-Should-Retry".into(), "false".into())],
        };
        for fault in [denied, away] {
            world.sandbox.faults().next(1, fault);
            let lost = process.receive(event.clone()).await;
            assert!(matches!(lost, Err(InboxError::Unavailable(_))), "{lost:?}");
            let events = process.events(EventFilter::default()).await.unwrap();
            assert!(events.is_empty(), "{events:?}");
        }
        process.receive(event).await.unwrap();
        let pending = process.events(EventFilter::default()).await.unwrap();
        assert!(pending.iter().all(|event| event.ours), "{pending:?}");
        assert!(matches!(
            pending[0].state,
            EventState::Done | EventState::Pending
        ));
    }
}

#[tokio::test]
async fn without_stripes_page_an_accounts_own_refund_asks_for_no_session() {
    let world = World::new().await;
    let (_, events) = Story::CapturedAndRefunded.play(&world, Some(ONE)).await;
    let refund = events
        .iter()
        .find(|event| event.event_type() == "refund.created");
    let shop = Shop::default();
    let process = world.without_sessions(&shop);
    // The key of a shop without Stripe's page may not read sessions.
    let denied = Fault::Denied("rak_checkout_session_read".to_owned());
    world.sandbox.faults().next(1, denied);
    let received = process.receive(refund.unwrap().clone()).await;
    assert!(matches!(received, Ok(Received::Done(_))), "{received:?}");
    let events = process.events(EventFilter::default()).await.unwrap();
    assert!(events.iter().all(|event| !event.ours), "{events:?}");
}

#[tokio::test]
async fn an_account_of_which_a_restart_forgot_all_is_looked_up_by_the_connect_application() {
    let world = World::new().await;
    let on = |reference| request(reference).connected_account(ONE);
    let page = world.checkout.create_session(&on("1")).await.unwrap();
    world.pay(page.id(), GOOD).await;
    let own_page = world.checkout.create_intent(&on("2")).await.unwrap();
    let path = format!("/payment_intents/{}", own_page.id());
    let form = "payment_method=pm_card_visa&return_url=https://shop.example/";
    world
        .post_of(Some(ONE), &format!("{path}/confirm"), form)
        .await;
    for payment in [
        world.intent_on(Some(ONE), page.id()).await,
        own_page.id().to_owned(),
    ] {
        let form = format!("payment_intent={payment}&amount=500");
        world.post_of(Some(ONE), "/refunds", &form).await;
    }
    let mut events = world.events_of(Some(ONE)).await;
    // The refunds come first, and bear no marks.
    events.reverse();
    let theirs = Some(CONNECT_APPLICATION);
    for (application, lines) in [
        (theirs, 4),
        // A PaymentIntent that another platform made, or the account itself.
        (Some("ca_of_another_platform"), 0),
        (None, 0),
    ] {
        let shop = Shop::default();
        let process = world.forgetful(&shop, application);
        let told = told(&process, &shop, &events).await;
        let shipped = told.iter().filter(|line| line.starts_with("ship")).count();
        assert_eq!(
            (shipped, told.len() >= lines),
            (lines / 2, true),
            "{told:?}"
        );
        assert!(lines > 0 || told.is_empty(), "{told:?}");
        let asked = process.create_intent(&on("3")).await;
        match application {
            Some(_) => drop(asked.unwrap()),
            None => assert!(
                matches!(
                    asked,
                    Err(PaymentError::Request(RequestError::ForgottenAccount))
                ),
                "{asked:?}"
            ),
        }
    }
    // Marks of another application do not count.
    let shop = Shop::default();
    let foreign = events
        .iter()
        .map(|event| event.body().replace(r#""tea""#, r#""coffee""#));
    let foreign: Vec<_> = foreign.map(|body| Event::parse(body).unwrap()).collect();
    let paid: Vec<_> = foreign
        .into_iter()
        .filter(|event| event.event_type().ends_with(".succeeded"))
        .collect();
    let process = world.forgetful(&shop, theirs);
    assert_eq!(told(&process, &shop, &paid).await, [""; 0]);
}

#[tokio::test]
async fn without_a_key_an_inbox_that_forgets_is_refused_with_connected_accounts() {
    let config = || Config::new([WebhookSecret::new("whsec_1").unwrap()]).unwrap();
    let build = |application: &str| {
        Checkout::builder(config())
            .application("tea")
            .connect_application(application)
            .fulfillment(MemoryInbox::new(), Shop::default())
            .build()
    };
    let refused = build("ca_1").unwrap_err();
    assert!(
        matches!(refused, BuildError::MemoryWithConnectedAccounts),
        "{refused:?}"
    );
    for wrong in ["", "ca_", "acct_1"] {
        let refused = build(wrong).unwrap_err();
        assert!(
            matches!(refused, BuildError::ConnectApplication),
            "{refused:?}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let kept = Checkout::builder(config())
        .application("tea")
        .connect_application("ca_1")
        .fulfillment(sqlite(&folder).await, Shop::default());
    kept.build().unwrap();
}
