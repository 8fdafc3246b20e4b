//! Orders that are paid in a Checkout Session.
//!
//! The row knows the session, the events of money know the PaymentIntent, and a free order has
//! none.

use serde_json::json;

use super::once::{all_good, at_once};
use super::subject::Subject;
use super::world::{
    Behave, PRICE, Told, World, check, order_key, paid, row, same, success_of, tea,
};
use crate::amount::Amount;
use crate::currency::Currency;
use crate::error::BoxError;
use crate::fulfillment::{
    Due, EventState, FulfillmentStatus, Inbox, InboxExt as _, IntentRecord, IntentState,
};
use crate::testing::{EventBody, refund};

super::case::cases! {
    "an order knows its session, and the session that it had before" => order_of_session,
    "a session and its PaymentIntent are one success, whichever is told first" => one_success,
    "50 deliveries about a session and its PaymentIntent at once are one success" => fifty,
    "a free order is given once, and its session is the payment" => free,
    "a paid order gets nothing for free, and a free one that is paid is a duplicate" => free_and_paid,
    "of a free and a paid session at the same moment one is delivered" => free_and_paid_at_once,
    "a free order that fails keeps its attempts, and is given once" => free_fails,
    "a session is over once, with its PaymentIntent" => over_once,
    "a session that failed is over, and late news bring it nothing back" => failed,
    "news of an earlier session do not touch the present one" => earlier,
    "a refund waits for the session's success" => refund_waits,
    "what was reserved in a session and collected for another price is delivered when it is replayed" => reserved_and_mended,
}

/// An event of a session of the order `order-1`.
fn told(what: &str, session: &str, payment: Option<&str>) -> EventBody {
    let (event_type, status, payment_status) = match what {
        "paid" => ("completed", "complete", "paid"),
        "unpaid" => ("completed", "complete", "unpaid"),
        "free" => ("completed", "complete", "no_payment_required"),
        "failed" => ("async_payment_failed", "complete", "unpaid"),
        "arrived" => ("async_payment_succeeded", "complete", "paid"),
        _ => ("expired", "expired", "unpaid"),
    };
    let total = if what == "free" { 0 } else { PRICE.minor() };
    let object = json!({
        "id": session, "object": "checkout.session", "mode": "payment", "status": status, "payment_status": payment_status,
        "currency": PRICE.currency().code(), "amount_subtotal": PRICE.minor(), "amount_total": total, "payment_intent": payment,
        "metadata": {
            "order_id": "order-1", "checkout_session": "1", "checkout_application": "tea",
            "checkout_amount": PRICE.minor().to_string(), "checkout_currency": PRICE.currency().code(),
        },
    });
    EventBody::new(&format!("checkout.session.{event_type}"), object)
}

/// An event of the PaymentIntent that the first session created.
fn inside(what: &str, payment: &str) -> EventBody {
    let status = match what {
        "payment_failed" => "requires_payment_method",
        other => other,
    };
    let intent = super::world::intent(payment, "order-1", status);
    let object = intent.metadata("checkout_session", "1").object();
    EventBody::new(&format!("payment_intent.{what}"), object)
}

/// The same of a payment that is authorised first.
fn manual(what: &str, payment: &str) -> EventBody {
    let status = match what {
        "amount_capturable_updated" => "requires_capture",
        other => other,
    };
    let intent = super::world::intent(payment, "order-1", status);
    let intent = intent.metadata("checkout_session", "1");
    let object = intent.with("capture_method", "manual").object();
    EventBody::new(&format!("payment_intent.{what}"), object)
}

/// Writes the order's row for this session and attempt.
async fn put(inbox: &impl Inbox, session: &str, attempt: u32) -> Told {
    let order = order_key("order-1");
    let before = inbox.intent(&order).await?.map(|row| row.version);
    let row = IntentRecord {
        attempt,
        secret_hash: None,
        ..row(session)
    };
    check(
        inbox.put_intent(&order, before, row).await?,
        "nobody else writes it",
    )
}

async fn state(inbox: &impl Inbox) -> Result<Option<IntentState>, BoxError> {
    let row = inbox.intent(&order_key("order-1")).await?;
    Ok(row.map(|row| row.state))
}

async fn order_of_session<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    put(&inbox, "cs_1", 1).await?;
    put(&inbox, "cs_2", 2).await?;
    let shop = world.shop().await?;
    shop.told(told("paid", "cs_2", Some("pi_2")), 200).await?;
    for known in ["cs_1", "cs_2", "pi_2"] {
        let found = inbox.intent_of_payment(&tea(), known).await?;
        let found = found.map(|(order, row)| (order.reference, row.paid_by));
        let expected = ("order-1".to_owned(), Some("pi_2".to_owned()));
        same(known, found, Some(expected))?;
    }
    let unknown = inbox.intent_of_payment(&tea(), "cs_3").await?;
    check(unknown.is_none(), "nobody made cs_3")
}

async fn one_success<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(inside("succeeded", "pi_1").id("evt_1"), 200)
        .await?;
    world.did([]).await?;
    // Only the session's event makes it a success, and that event may never come.
    let inbox = world.open().await;
    same(
        "its success",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::No,
    )?;
    shop.told(told("paid", "cs_1", Some("pi_1")).id("evt_2"), 200)
        .await?;
    shop.told(inside("succeeded", "pi_1").id("evt_3"), 200)
        .await?;
    shop.told(told("arrived", "cs_1", Some("pi_1")).id("evt_4"), 200)
        .await?;
    for old in ["evt_1", "evt_3", "evt_4"] {
        shop.is(old, EventState::Superseded).await?;
    }
    same("the row", state(&inbox).await?, Some(IntentState::Paid))?;
    world.did(["succeeded pi_1"]).await
}

async fn fifty<S: Subject>(world: World<S>) -> Told {
    world.hooks.told.all(Behave::Slowly);
    let events = (0..50).map(|n| match n % 4 {
        0 => inside("succeeded", "pi_1").id("evt_1"),
        1 => told("paid", "cs_1", Some("pi_1")).id("evt_2"),
        2 => told("paid", "cs_1", Some("pi_1")).id("evt_3"),
        _ => told("arrived", "cs_1", Some("pi_1")).id("evt_4"),
    });
    all_good(&at_once(&world, events.collect()).await?)?;
    world.did(["succeeded pi_1"]).await
}

async fn free<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    put(&inbox, "cs_1", 1).await?;
    let shop = world.shop().await?;
    for event in ["evt_1", "evt_2", "evt_1"] {
        shop.told(told("free", "cs_1", None).id(event), 200).await?;
    }
    shop.is("evt_2", EventState::Superseded).await?;
    same(
        "its success",
        success_of(&inbox, "cs_1").await?,
        FulfillmentStatus::Fulfilled,
    )?;
    same("the row", state(&inbox).await?, Some(IntentState::Paid))?;
    world.did(["free cs_1"]).await
}

async fn free_and_paid<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(told("free", "cs_1", None), 200).await?;
    shop.told(paid("evt_2", "pi_2"), 200).await?;
    shop.told(told("paid", "cs_3", Some("pi_3")), 200).await?;
    shop.told(told("free", "cs_4", None).id("evt_4"), 200)
        .await?;
    shop.is("evt_4", EventState::Superseded).await?;
    world
        .did(["free cs_1", "duplicate pi_2", "duplicate pi_3"])
        .await
}

async fn free_and_paid_at_once<S: Subject>(world: World<S>) -> Told {
    world.hooks.told.all(Behave::Slowly);
    let both = vec![
        told("free", "cs_1", None),
        told("paid", "cs_2", Some("pi_2")),
    ];
    all_good(&at_once(&world, both).await?)?;
    let effects = world.effects().await?;
    let right = [
        vec!["free cs_1", "duplicate pi_2"],
        // The free order needs no refund.
        vec!["succeeded pi_2"],
    ];
    check(
        right.iter().any(|right| *right == effects),
        format!("{effects:?}"),
    )?;
    world.hooks.told.kept_apart()
}

async fn free_fails<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    world.hooks.told.behave("free cs_1", Behave::Fail);
    shop.told(told("free", "cs_1", None).id("evt_1"), 500)
        .await?;
    world.did([]).await?;
    let inbox = world.open().await;
    same(
        "its success",
        success_of(&inbox, "cs_1").await?,
        FulfillmentStatus::Pending,
    )?;
    same("attempts", shop.record("evt_1").await?.attempts, 1)?;
    world.hooks.told.behave("free cs_1", Behave::Well);
    shop.told(told("free", "cs_1", None).id("evt_1"), 200)
        .await?;
    world.did(["free cs_1"]).await
}

async fn over_once<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    put(&inbox, "cs_1", 1).await?;
    let shop = world.shop().await?;
    shop.told(inside("payment_failed", "pi_1"), 200).await?;
    shop.told(inside("canceled", "pi_1").id("evt_1"), 200)
        .await?;
    for event in ["evt_2", "evt_3"] {
        shop.told(told("over", "cs_1", Some("pi_1")).id(event), 200)
            .await?;
        shop.is(event, EventState::Superseded).await?;
    }
    same("the row", state(&inbox).await?, Some(IntentState::Canceled))?;
    world.did(["failed pi_1", "canceled pi_1"]).await?;

    // There was no attempt to pay: only the session exists.
    put(&inbox, "cs_2", 2).await?;
    for event in ["evt_4", "evt_5"] {
        shop.told(told("over", "cs_2", None).id(event), 200).await?;
    }
    shop.is("evt_5", EventState::Superseded).await?;
    same("the row", state(&inbox).await?, Some(IntentState::Canceled))?;
    world
        .did(["failed pi_1", "canceled pi_1", "canceled cs_2"])
        .await
}

async fn failed<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    put(&inbox, "cs_1", 1).await?;
    let shop = world.shop().await?;
    shop.told(inside("processing", "pi_1"), 200).await?;
    shop.told(told("unpaid", "cs_1", Some("pi_1")).id("evt_1"), 200)
        .await?;
    same(
        "the row",
        state(&inbox).await?,
        Some(IntentState::Processing),
    )?;
    shop.told(inside("payment_failed", "pi_1"), 200).await?;
    shop.told(told("failed", "cs_1", Some("pi_1")).id("evt_2"), 200)
        .await?;
    same("the row", state(&inbox).await?, Some(IntentState::Canceled))?;
    for (late, id) in [("unpaid", "evt_3"), ("failed", "evt_4")] {
        shop.told(told(late, "cs_1", Some("pi_1")).id(id), 200)
            .await?;
        shop.is(id, EventState::Superseded).await?;
    }
    same("the row", state(&inbox).await?, Some(IntentState::Canceled))?;
    world.did(["processing pi_1", "failed pi_1"]).await
}

async fn earlier<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    put(&inbox, "cs_1", 1).await?;
    put(&inbox, "cs_2", 2).await?;
    let shop = world.shop().await?;
    shop.told(inside("canceled", "pi_1").id("evt_1"), 200)
        .await?;
    shop.told(told("over", "cs_1", Some("pi_1")).id("evt_2"), 200)
        .await?;
    for event in ["evt_1", "evt_2"] {
        shop.is(event, EventState::Superseded).await?;
    }
    same("the row", state(&inbox).await?, Some(IntentState::Open))?;
    world.did([]).await
}

async fn refund_waits<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    let back = refund("re_1", "pi_1", PRICE);
    shop.told(inside("succeeded", "pi_1"), 200).await?;
    shop.told(EventBody::new("refund.created", back).id("evt_1"), 503)
        .await?;
    shop.told(told("paid", "cs_1", Some("pi_1")), 200).await?;
    shop.is("evt_1", EventState::Done).await?;
    world.did(["refunded before pi_1", "refunded re_1"]).await
}

async fn reserved_and_mended<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    let one_cent = Amount::new(1, Currency::EUR);
    shop.told(manual("amount_capturable_updated", "pi_1"), 200)
        .await?;
    world.hooks.told.costs(Due::Exactly(one_cent));
    // No session reports the payment: the PaymentIntent does.
    shop.told(manual("succeeded", "pi_1").id("evt_1"), 200)
        .await?;
    shop.is("evt_1", EventState::Mismatch).await?;
    world.hooks.told.costs(Due::Exactly(PRICE));
    shop.checkout.replay(&shop.record("evt_1").await?).await?;
    shop.is("evt_1", EventState::Done).await?;
    let inbox = world.open().await;
    same(
        "its success",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Fulfilled,
    )?;
    // No row had recorded its session, but the order is paid.
    same("the row", state(&inbox).await?, Some(IntentState::Paid))?;
    shop.told(told("free", "cs_2", None).id("evt_2"), 200)
        .await?;
    shop.is("evt_2", EventState::Superseded).await?;
    world
        .did(["capture pi_1", "mismatch pi_1", "succeeded pi_1"])
        .await
}
