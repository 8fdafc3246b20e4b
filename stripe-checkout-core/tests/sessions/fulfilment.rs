//! A session's events change its order, once.

use std::time::Duration;

use stripe_checkout_core::fulfillment::{Due, EventFilter, EventState};
use stripe_checkout_core::requests::TaxBehavior;
use stripe_checkout_core::{PaymentError, webhook::Event};

use super::world::{DECLINED, DELAYED, GOOD, PRICE, Shop, World, eur, hosted, request};

const SHIPPED: &str = "ship for 20.00 EUR of 20.00 EUR 1";

#[tokio::test]
async fn a_paid_session_ships_once_however_often_all_is_told() {
    let world = World::new().await;
    let session = world.open("1").await;
    assert!(session.url().unwrap().starts_with(world.sandbox.url()));
    let paid = world.pay(session.id(), GOOD).await;
    assert_eq!(paid["status"], "complete", "{paid}");
    assert_eq!(
        paid["after"],
        format!(
            "https://shop.example/checkout/complete?session_id={}",
            session.id()
        )
    );
    assert_eq!(world.deliver().await, [SHIPPED]);
    assert_eq!(world.deliver().await, [""; 0], "all of it again");
    let again = world.checkout.create_session(&request("1")).await;
    assert!(matches!(again, Err(PaymentError::AlreadyPaid)), "{again:?}");
    let again = world.checkout.create_intent(&request("1")).await;
    assert!(matches!(again, Err(PaymentError::AlreadyPaid)), "{again:?}");
}

/// Returns every order of these events.
pub(crate) fn orders(events: &[Event]) -> Vec<Vec<Event>> {
    let [] = events else {
        return (0..events.len())
            .flat_map(|at| {
                let mut rest = events.to_vec();
                let first = rest.remove(at);
                orders(&rest).into_iter().map(move |mut rest| {
                    rest.insert(0, first.clone());
                    rest
                })
            })
            .collect();
    };
    vec![Vec::new()]
}

#[tokio::test]
async fn in_whatever_order_its_events_come_it_ships_once() {
    let world = World::new().await;
    let session = world.open("1").await;
    world.on_page(session.id(), "code", "code=sandbox10").await;
    world.pay(session.id(), GOOD).await;
    let events = world.events().await;
    let types: Vec<_> = events.iter().map(Event::event_type).collect();
    assert_eq!(
        types,
        [
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded",
            "checkout.session.completed"
        ]
    );
    for order in orders(&events) {
        let shop = Shop::default();
        let checkout = world.newcomer(&shop);
        let types: Vec<_> = order
            .iter()
            .map(|event| event.event_type().to_owned())
            .collect();
        for event in order {
            checkout.receive(event).await.unwrap();
        }
        assert_eq!(
            shop.lines(),
            ["ship for 18.00 EUR of 20.00 EUR 1"],
            "{types:?}"
        );
    }
}

#[tokio::test]
async fn the_price_of_the_order_is_compared_and_not_what_shipping_tax_and_codes_made_of_it() {
    let hosted = hosted()
        .automatic_tax()
        .tax_behavior(TaxBehavior::Exclusive)
        .shipping_option("Post", eur(490))
        .shipping_option("By hand", eur(1000))
        .shipping_to(["DE", "AT"]);
    for due in [Due::Exactly(PRICE), Due::AsAsked] {
        let world = World::with(hosted.clone(), Shop::due(due)).await;
        let session = world.open("1").await;
        let id = session.id();
        world.on_page(id, "shipping", "shipping=1").await;
        let shown = world.on_page(id, "code", "code=SANDBOX10").await;
        // 20.00 − 2.00 + 10.00, and a tenth of that.
        assert_eq!(shown["total"], 30_80, "{shown}");
        let refused = world.pay(id, GOOD).await;
        assert_eq!(refused["error"]["param"], "country", "{refused}");
        let form = "email=jane%40example.com&name=Jane&country=DE&line1=Teeweg+1&postal_code=10115&city=Berlin\
                    &payment_method_data[type]=card&payment_method_data[card][number]=4242424242424242\
                    &payment_method_data[card][exp_month]=12&payment_method_data[card][exp_year]=2040&payment_method_data[card][cvc]=123";
        let paid = world.on_page(id, "pay", form).await;
        assert_eq!(paid["status"], "complete", "{paid}");
        assert_eq!(world.deliver().await, ["ship for 30.80 EUR of 20.00 EUR 1"]);
        let payment = world.checkout.retrieve_session(id).await.unwrap().unwrap();
        assert_eq!(payment.amount_received(), eur(30_80));
        let session = payment.session().unwrap();
        assert_eq!(session.subtotal(), PRICE);
        assert_eq!(session.discount(), eur(200));
        assert_eq!(session.shipping(), eur(1000));
        assert_eq!(session.tax(), eur(280));
    }
}

#[tokio::test]
async fn an_order_whose_price_changed_meanwhile_is_a_mismatch() {
    let world = World::with(hosted(), Shop::due(Due::Exactly(eur(25_00)))).await;
    let session = world.open("1").await;
    world.pay(session.id(), GOOD).await;
    assert_eq!(
        world.deliver().await,
        ["mismatch (the order costs 25.00 EUR, the payment is for 20.00 EUR) 1"]
    );
}

#[tokio::test]
async fn a_session_pays_the_order_that_it_was_made_for_whatever_its_metadata_say_now() {
    let world = World::new().await;
    let session = world.open("1").await;
    world.pay(session.id(), GOOD).await;
    let completed = world.events().await.pop().unwrap();
    let changed = completed
        .body()
        .replace(r#""order_id":"1""#, r#""order_id":"2""#);
    assert_ne!(changed, completed.body());
    let changed = Event::parse(changed).unwrap();
    world.checkout.receive(changed).await.unwrap();
    assert_eq!(
        world.shop.lines(),
        ["mismatch (made for order 1, names order 2) 2"]
    );
}

#[tokio::test]
async fn a_free_order_is_given_once_and_is_paid() {
    let world = World::new().await;
    let session = world.open("1").await;
    let shown = world
        .on_page(session.id(), "code", "code=SANDBOXFREE")
        .await;
    assert_eq!(shown["total"], 0);
    let done = world
        .on_page(session.id(), "pay", "email=jane%40example.com")
        .await;
    assert_eq!(done["status"], "complete", "{done}");
    assert_eq!(world.deliver().await, ["give 1"]);
    let back = world.checkout.retrieve_session(session.id()).await.unwrap();
    assert_eq!(back.unwrap().status().as_str(), "succeeded");
    assert_eq!(world.deliver().await, [""; 0]);
    let again = world.checkout.create_intent(&request("1")).await;
    assert!(matches!(again, Err(PaymentError::AlreadyPaid)), "{again:?}");

    // A session that was left open in another window, and is paid after all.
    let second = world.post("/checkout/sessions", &by_hand("")).await;
    world.pay(second["id"].as_str().unwrap(), GOOD).await;
    assert_eq!(world.deliver().await, ["twice 1"]);
}

/// Returns a session with the ownership metadata of order 1, made without the shop.
pub(crate) fn by_hand(more: &str) -> String {
    let marks = "[order_id]=1&@[checkout_application]=tea&@[checkout_amount]=2000&@[checkout_currency]=eur&@[checkout_session]=9";
    let marks = |place: &str| format!("{place}{}", marks.replace('@', place));
    format!(
        "mode=payment&success_url=https://shop.example/done&line_items[0][price_data][currency]=eur&line_items[0][price_data][unit_amount]=2000\
         &line_items[0][price_data][product_data][name]=Tea&line_items[0][quantity]=1&allow_promotion_codes=true&{}&{}{more}",
        marks("metadata"),
        marks("payment_intent_data[metadata]")
    )
}

#[tokio::test]
async fn the_second_paid_session_of_an_order_is_a_duplicate_and_a_second_free_one_is_nothing() {
    let world = World::new().await;
    let session = world.open("1").await;
    world.pay(session.id(), GOOD).await;
    assert_eq!(world.deliver().await, [SHIPPED]);
    let second = world.post("/checkout/sessions", &by_hand("")).await;
    world.pay(second["id"].as_str().unwrap(), GOOD).await;
    assert_eq!(world.deliver().await, ["twice 1"]);
    let third = world.post("/checkout/sessions", &by_hand("")).await;
    let third = third["id"].as_str().unwrap();
    world.on_page(third, "code", "code=SANDBOXFREE").await;
    world.on_page(third, "pay", "email=j%40example.com").await;
    assert_eq!(world.deliver().await, [""; 0]);
}

#[tokio::test]
async fn a_declined_card_is_told_and_the_next_one_pays() {
    let world = World::new().await;
    let session = world.open("1").await;
    let declined = world.pay(session.id(), DECLINED).await;
    assert_eq!(declined["error"]["code"], "card_declined", "{declined}");
    assert_eq!(world.deliver().await, ["failed 1"]);
    assert_eq!(world.open("1").await.id(), session.id(), "the same page");
    world.pay(session.id(), GOOD).await;
    assert_eq!(world.deliver().await, [SHIPPED]);
}

#[tokio::test]
async fn what_is_on_its_way_is_shipped_when_it_arrives() {
    let world = World::new().await;
    let session = world.open("1").await;
    let waits = world.pay(session.id(), DELAYED).await;
    assert_eq!(waits["status"], "complete", "{waits}");
    assert_eq!(world.deliver().await, ["wait 1"], "two events, told once");
    for again in [
        world.checkout.create_session(&request("1")).await.err(),
        world.checkout.create_intent(&request("1")).await.err(),
    ] {
        assert!(matches!(again, Some(PaymentError::Processing)), "{again:?}");
    }
    let intent = world.intent_of(session.id()).await;
    assert!(world.sandbox.settle(&intent, true));
    assert_eq!(world.deliver().await, [SHIPPED]);
}

#[tokio::test]
async fn what_was_on_its_way_and_failed_is_told_once_and_paid_with_another_session() {
    let world = World::new().await;
    let session = world.open("1").await;
    world.pay(session.id(), DELAYED).await;
    assert_eq!(world.deliver().await, ["wait 1"]);
    let intent = world.intent_of(session.id()).await;
    assert!(world.sandbox.settle(&intent, false));
    assert_eq!(world.deliver().await, ["failed 1"], "two events, told once");
    let second = world.open("1").await;
    assert_ne!(second.id(), session.id());
    world.pay(second.id(), GOOD).await;
    assert_eq!(world.deliver().await, [SHIPPED]);
}

#[tokio::test]
async fn late_news_of_a_session_that_failed_bring_nothing_back() {
    let world = World::new().await;
    let session = world.open("1").await;
    world.pay(session.id(), DELAYED).await;
    let intent = world.intent_of(session.id()).await;
    assert!(world.sandbox.settle(&intent, false));
    // The newest first.
    for event in world.events().await.into_iter().rev() {
        world.checkout.receive(event).await.unwrap();
    }
    assert_eq!(world.shop.lines(), ["failed 1"]);
    assert_ne!(world.open("1").await.id(), session.id());
}

#[tokio::test]
async fn a_session_whose_time_is_over_is_told_once_and_another_one_is_made() {
    let world = World::new().await;
    let first = world.open("1").await;
    // The session has a PaymentIntent, which is canceled too.
    world.pay(first.id(), DECLINED).await;
    world.deliver().await;
    world.sandbox.pass_time(Duration::from_secs(24 * 60 * 60));
    assert_eq!(world.deliver().await, ["over 1"], "two events, told once");
    let second = world.open("1").await;
    assert_ne!(second.id(), first.id());
    world.sandbox.pass_time(Duration::from_secs(24 * 60 * 60));
    assert_eq!(world.deliver().await, ["over 1"], "without a PaymentIntent");
    world.pay(world.open("1").await.id(), GOOD).await;
    assert_eq!(world.deliver().await, [SHIPPED]);
}

#[tokio::test]
async fn a_refund_waits_for_the_session_that_it_takes_back() {
    let world = World::new().await;
    let session = world.open("1").await;
    world.pay(session.id(), GOOD).await;
    let intent = world.intent_of(session.id()).await;
    world
        .post("/refunds", &format!("payment_intent={intent}&amount=500"))
        .await;
    let (late, first): (Vec<_>, Vec<_>) = world
        .events()
        .await
        .into_iter()
        .partition(|event| event.event_type() == "checkout.session.completed");
    for event in first {
        world.checkout.receive(event).await.unwrap();
    }
    assert_eq!(world.shop.lines(), [""; 0]);
    for event in late {
        world.checkout.receive(event).await.unwrap();
    }
    let lines = world.shop.lines();
    assert_eq!(lines[0], SHIPPED);
    assert!(
        lines[1..].iter().all(|line| line == "refund 5.00 EUR") && lines.len() > 1,
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_session_that_was_refunded_before_is_not_shipped() {
    let world = World::new().await;
    let session = world.open("1").await;
    world.on_page(session.id(), "code", "code=SANDBOX10").await;
    world.pay(session.id(), GOOD).await;
    let intent = world.intent_of(session.id()).await;
    // The refund covers all that was paid, although that is less than the price.
    world
        .post("/refunds", &format!("payment_intent={intent}"))
        .await;
    for event in world.events().await.into_iter().rev() {
        world.checkout.receive(event).await.unwrap();
    }
    assert_eq!(world.shop.lines()[0], "keep 1");
}

#[tokio::test]
async fn money_that_is_authorised_in_a_session_ships_when_it_is_collected() {
    let world = World::new().await;
    let form = by_hand("&payment_intent_data[capture_method]=manual");
    let session = world.post("/checkout/sessions", &form).await;
    let id = session["id"].as_str().unwrap();
    world.on_page(id, "code", "code=SANDBOX10").await;
    world.pay(id, GOOD).await;
    assert_eq!(world.deliver().await, ["collect 1"]);
    let intent = world.intent_of(id).await;
    world
        .post(&format!("/payment_intents/{intent}/capture"), "")
        .await;
    // No session reports this amount, so the checkout asks Stripe for its totals.
    assert_eq!(world.deliver().await, ["ship for 18.00 EUR of 20.00 EUR 1"]);

    let form = by_hand("&payment_intent_data[capture_method]=manual")
        .replace("order_id]=1", "order_id]=2");
    let session = world.post("/checkout/sessions", &form).await;
    let id = session["id"].as_str().unwrap();
    world.pay(id, GOOD).await;
    let intent = world.intent_of(id).await;
    world
        .post(
            &format!("/payment_intents/{intent}/capture"),
            "amount_to_capture=1500",
        )
        .await;
    let lines = world.deliver().await;
    assert_eq!(
        lines.last().unwrap(),
        "mismatch (expected 20.00 EUR, received 15.00 EUR) 2",
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_session_of_another_application_is_not_ours() {
    let world = World::new().await;
    let form = by_hand("").replace("]=tea", "]=coffee");
    let session = world.post("/checkout/sessions", &form).await;
    let id = session["id"].as_str().unwrap();
    world.pay(id, GOOD).await;
    assert_eq!(world.deliver().await, [""; 0]);
    assert!(world.checkout.retrieve_session(id).await.unwrap().is_none());
    let done = EventFilter::default().state(EventState::Done);
    let events = world.checkout.events(done).await.unwrap();
    assert!(events.iter().all(|event| !event.ours));
}
