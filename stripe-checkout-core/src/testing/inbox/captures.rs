//! Money that is authorised first: the price, the amount that was captured, and the part that was
//! not.

use serde_json::json;

use super::subject::Subject;
use super::world::{
    Behave, PRICE, Told, World, check, intent, order_key, row, same, stored, success_of,
};
use crate::fulfillment::{Due, EventState, FulfillmentStatus, InboxExt as _, IntentRecord};
use crate::testing::{EventBody, PaymentIntent, charge_refunded, refund};
use crate::{Amount, Currency};

super::case::cases! {
    "the part that was never captured does not count as refunded" => part_captured,
    "a refund that may stand for a part that was never captured is shown to a person" => unclear_refunds,
    "an authorisation that ran out is no refund" => expired_authorisation,
    "after an own capture the price stays the price, and all of the capture must arrive" => own_capture,
    "a payment whose asked price is not known is a mismatch" => never_asked,
    "money authorised in a session is delivered once, in any order of its events" => any_order,
    "a refund waits for the capture of money that was authorised in a session" => refund_waits_for_capture,
}

async fn part_captured<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    let some = Amount::new(400, Currency::EUR);
    world.hooks.told.costs(Due::Received(some));
    // Of 1999 that were authorised 400 are captured elsewhere. After a request of an older version,
    // Stripe counts the rest as refunded and makes a refund object of it.
    let captured = |payment: &str| {
        let object = intent(payment, payment, "succeeded").with("amount_received", 400);
        EventBody::new("payment_intent.succeeded", object.object()).id(payment)
    };
    for payment in ["pi_1", "pi_2", "pi_3"] {
        let charge = charge_refunded("ch_1", payment, PRICE, 1599);
        shop.told(EventBody::new("charge.refunded", charge), 200)
            .await?;
    }
    let rest = refund("re_2", "pi_2", Amount::new(1599, Currency::EUR));
    shop.told(EventBody::new("refund.created", rest), 503)
        .await?;
    let all = refund("re_3", "pi_3", some);
    shop.told(EventBody::new("refund.created", all), 503)
        .await?;
    // Since API version 2025-03-31.basil the rest is no refund: all that was captured went back.
    let charge = charge_refunded("ch_1", "pi_4", PRICE, some.minor());
    shop.told(EventBody::new("charge.refunded", charge), 200)
        .await?;
    // Half of it went back.
    let charge = charge_refunded("ch_1", "pi_5", PRICE, 200);
    shop.told(EventBody::new("charge.refunded", charge), 200)
        .await?;
    let payments = ["pi_1", "pi_2", "pi_3", "pi_4", "pi_5"];
    for payment in payments {
        shop.told(captured(payment), 200).await?;
    }
    let mut effects = world.effects().await?;
    let told = |line: &str| effects.iter().any(|effect| effect == line);
    check(!told("refunded re_2"), "the release was told as a refund")?;
    check(told("refunded re_3"), "a refund was not told")?;
    effects.retain(|line| payments.iter().any(|payment| line.ends_with(payment)));
    same(
        "shipped",
        effects,
        [
            "succeeded pi_1",
            "succeeded pi_2",
            "refunded before pi_3",
            "refunded before pi_4",
            "succeeded pi_5",
        ],
    )
}

async fn unclear_refunds<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    let most = Amount::new(1200, Currency::EUR);
    world.hooks.told.costs(Due::Received(most));
    let captured = |payment: &str| {
        let object = intent(payment, payment, "succeeded").with("amount_received", 1200);
        EventBody::new("payment_intent.succeeded", object.object()).id(payment)
    };
    // All that was captured went back, or 401 of it and the 799 that were never captured.
    let charge = charge_refunded("ch_1", "pi_1", PRICE, most.minor());
    shop.told(EventBody::new("charge.refunded", charge), 200)
        .await?;
    shop.told(captured("pi_1"), 200).await?;
    shop.is("pi_1", EventState::Mismatch).await?;
    // One refund object of all that was captured proves that none stands for the rest.
    let all = refund("re_2", "pi_2", most);
    shop.told(EventBody::new("refund.created", all), 503)
        .await?;
    shop.told(captured("pi_2"), 200).await?;
    // A refund of 799, or the 799 that were never captured: a person must look.
    shop.told(captured("pi_3"), 200).await?;
    let rest = |id: &str| {
        let object = refund(id, "pi_3", Amount::new(799, Currency::EUR));
        EventBody::new("refund.created", object).id(&format!("evt_{id}"))
    };
    shop.told(rest("re_3"), 200).await?;
    shop.is("evt_re_3", EventState::Mismatch).await?;
    // Two objects of this amount are more than was captured: one of them is a refund.
    shop.told(rest("re_4"), 200).await?;
    shop.is("evt_re_4", EventState::Done).await?;
    let mut effects = world.effects().await?;
    effects.retain(|line| !line.starts_with("event charge."));
    same(
        "told",
        effects,
        [
            "mismatch pi_1",
            "refunded before pi_2",
            "refunded re_2",
            "succeeded pi_3",
            "event refund.created",
            "refunded re_4",
        ],
    )
}

async fn own_capture<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let shop = world.shop().await?;
    world.hooks.told.costs(Due::Exactly(PRICE));
    // Stripe writes our mark with a capture that it accepts.
    let own = |payment: &str, minor: u64| {
        let object = intent(payment, payment, "succeeded").with("amount_received", minor);
        object.metadata("checkout_capture", "1")
    };
    // The price stays the price, whatever our own call captured: a part, all, or more.
    for (payment, minor) in [("pi_1", 1200), ("pi_2", 1999), ("pi_3", 2500)] {
        let row = IntentRecord {
            capture: Some(minor),
            ..row(payment)
        };
        inbox.put_intent(&order_key(payment), None, row).await?;
        let received = own(payment, minor);
        let event = EventBody::new("payment_intent.succeeded", received.object());
        shop.told(event, 200).await?;
    }
    // Half or less was captured by our own call, and all of that went back.
    let some = IntentRecord {
        capture: Some(800),
        ..row("pi_4")
    };
    inbox.put_intent(&order_key("pi_4"), None, some).await?;
    let charge = charge_refunded("ch_1", "pi_4", PRICE, 800);
    shop.told(EventBody::new("charge.refunded", charge), 200)
        .await?;
    let received = own("pi_4", 800);
    let event = EventBody::new("payment_intent.succeeded", received.object());
    shop.told(event, 200).await?;
    // Another amount arrived than our call was to take.
    let other = IntentRecord {
        capture: Some(800),
        ..row("pi_5")
    };
    inbox.put_intent(&order_key("pi_5"), None, other).await?;
    let received = own("pi_5", 500);
    let event = EventBody::new("payment_intent.succeeded", received.object());
    shop.told(event.id("evt_5"), 200).await?;
    let stored = stored(&inbox, "evt_5").await?;
    let reason = "expected 8.00 EUR, received 5.00 EUR";
    same("reason", stored.last_error.as_deref(), Some(reason))?;
    // Our call did not succeed, and all was captured elsewhere.
    let failed = IntentRecord {
        capture: Some(800),
        ..row("pi_6")
    };
    inbox.put_intent(&order_key("pi_6"), None, failed).await?;
    let received = intent("pi_6", "pi_6", "succeeded").with("amount_received", PRICE.minor());
    let event = EventBody::new("payment_intent.succeeded", received.object());
    shop.told(event, 200).await?;
    let mut effects = world.effects().await?;
    effects.retain(|line| !line.starts_with("event charge."));
    same(
        "told",
        effects,
        [
            "succeeded pi_1",
            "succeeded pi_2",
            "succeeded pi_3",
            "refunded before pi_4",
            "mismatch pi_5",
            "succeeded pi_6",
        ],
    )
}

async fn never_asked<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    world.hooks.told.costs(Due::AsAsked);
    let unmarked = |payment: &str| {
        let object = PaymentIntent::new(payment, PRICE).metadata("order_id", payment);
        let object = object.status("succeeded").object();
        EventBody::new("payment_intent.succeeded", object).id(payment)
    };
    shop.told(unmarked("pi_1"), 200).await?;
    let inbox = world.open().await;
    let reason = "the price asked is not known, the payment is for 19.99 EUR";
    let stored = stored(&inbox, "pi_1").await?;
    same("reason", stored.last_error.as_deref(), Some(reason))?;
    // The order's row knows it.
    inbox
        .put_intent(&order_key("pi_2"), None, row("pi_2"))
        .await?;
    shop.told(unmarked("pi_2"), 200).await?;
    // A second tab asks for more, and Stripe has not taken the change when the buyer pays.
    let more = IntentRecord {
        asked: Amount::new(2999, Currency::EUR),
        ..row("pi_3")
    };
    inbox.put_intent(&order_key("pi_3"), None, more).await?;
    let marked = intent("pi_3", "pi_3", "succeeded").object();
    shop.told(EventBody::new("payment_intent.succeeded", marked), 200)
        .await?;
    world
        .did(["mismatch pi_1", "succeeded pi_2", "succeeded pi_3"])
        .await
}

async fn expired_authorisation<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    let mut object = refund("re_1", "pi_1", PRICE);
    if let Some(reason) = object.get_mut("reason") {
        *reason = "expired_uncaptured_charge".into();
    }
    shop.told(EventBody::new("refund.created", object), 200)
        .await?;
    world.did(["event refund.created"]).await
}

/// An event of the PaymentIntent of this order, which was made in a session and is captured by
/// hand.
fn authorised(order: usize, what: &str, status: &str) -> EventBody {
    let object = intent(&format!("pi_{order}"), &format!("order-{order}"), status)
        .metadata("checkout_session", "1")
        .with("capture_method", "manual");
    let event = EventBody::new(&format!("payment_intent.{what}"), object.object());
    event.id(&format!("evt_{what}_{order}"))
}

/// The session of it, which says that it is not paid.
fn completed(order: usize) -> EventBody {
    let object = json!({
        "id": format!("cs_{order}"), "object": "checkout.session", "mode": "payment", "status": "complete", "payment_status": "unpaid",
        "currency": PRICE.currency().code(), "amount_subtotal": PRICE.minor(), "amount_total": PRICE.minor(),
        "payment_intent": format!("pi_{order}"),
        "metadata": { "order_id": format!("order-{order}"), "checkout_session": "1" },
    });
    EventBody::new("checkout.session.completed", object)
}

/// Every order of these.
fn orders(of: &[usize]) -> Vec<Vec<usize>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let each = of.iter().flat_map(|first| {
        let rest: Vec<_> = of.iter().filter(|other| *other != first).copied().collect();
        let rest = orders(&rest).into_iter();
        rest.map(|rest| std::iter::once(*first).chain(rest).collect())
    });
    each.collect()
}

async fn any_order<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    let inbox = world.open().await;
    // Each order of the three events is an order of its own in the shop.
    for (n, events) in orders(&[0, 1, 2]).into_iter().enumerate() {
        for event in &events {
            let event = match event {
                0 => completed(n),
                1 => authorised(n, "amount_capturable_updated", "requires_capture"),
                _ => authorised(n, "succeeded", "succeeded"),
            };
            shop.told(event, 200).await?;
        }
        let payment = format!("pi_{n}");
        let success = success_of(&inbox, &payment).await?;
        same(
            &format!("{events:?}"),
            success,
            FulfillmentStatus::Fulfilled,
        )?;
        let effects = world.effects().await?;
        let succeeded = format!("succeeded {payment}");
        let times = effects.iter().filter(|line| **line == succeeded).count();
        same(&format!("deliveries of {events:?}"), times, 1)?;
    }
    Ok(())
}

async fn refund_waits_for_capture<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    let success = || authorised(1, "succeeded", "succeeded").id("evt_1");
    world.hooks.told.behave("succeeded pi_1", Behave::Fail);
    shop.told(success(), 500).await?;
    let settled = success_of(&world.open().await, "pi_1").await?;
    same("its success", settled, FulfillmentStatus::Pending)?;
    let back = refund("re_1", "pi_1", Amount::new(500, Currency::EUR));
    let back = EventBody::new("refund.created", back).id("evt_2");
    shop.told(back, 503).await?;
    world.hooks.told.behave("succeeded pi_1", Behave::Well);
    shop.told(success(), 200).await?;
    shop.is("evt_2", EventState::Done).await?;
    world.did(["succeeded pi_1", "refunded re_1"]).await
}
