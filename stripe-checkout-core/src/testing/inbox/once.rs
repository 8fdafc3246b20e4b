//! One event id, one effect; one payment, one success; one order, one payment.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::subject::Subject;
use super::world::{
    Behave, Shop, Told, World, check, intent, news, news_of, order_key, paid, same, success_of, tea,
};
use crate::error::BoxError;
use crate::fulfillment::{EventState, FulfillmentStatus, InboxExt as _, IntentState};
use crate::testing::{EventBody, refund};

super::case::cases! {
    "one event id is one effect" => one_event,
    "a repeat is answered at once by another process too" => repeat_elsewhere,
    "two event objects of one success are one success" => two_objects,
    "a payment is canceled once" => canceled_once,
    "a second paid intent of an order is a duplicate payment, and no success" => duplicate_payment,
    "a duplicate payment can be refunded" => duplicate_refunded,
    "the order knows who paid it" => order_is_paid,
    "50 deliveries of one event at once are one effect" => fifty_of_one,
    "50 deliveries of two event objects of one payment at once are one success" => fifty_of_two,
    "two intents of one order that are paid at the same moment are one success" => two_intents_at_once,
    "of 30 payments of 15 orders in two processes no two run together that must not" => thirty_payments,
    "an event of an unknown type is one effect too" => unknown_type,
}

async fn one_event<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    for _ in 0..4 {
        shop.told(paid("evt_1", "pi_1"), 200).await?;
    }
    world.did(["succeeded pi_1"]).await?;
    same(
        "written",
        world.subject.written().await?,
        ["succeeded pi_1"],
    )?;
    let record = shop.record("evt_1").await?;
    same(
        "its end",
        (record.state, record.attempts),
        (EventState::Done, 1),
    )
}

async fn repeat_elsewhere<S: Subject>(world: World<S>) -> Told {
    let (here, there) = (world.shop().await?, world.shop().await?);
    here.told(paid("evt_1", "pi_1"), 200).await?;
    there.told(paid("evt_1", "pi_1"), 200).await?;
    same("begun", world.hooks.told.begun(), ["succeeded pi_1"])
}

async fn two_objects<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.told(paid("evt_2", "pi_1"), 200).await?;
    shop.is("evt_2", EventState::Superseded).await?;
    let attempts = shop.record("evt_2").await?.attempts;
    same("attempts of what no hook saw", attempts, 0)?;
    world.did(["succeeded pi_1"]).await
}

async fn canceled_once<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    for event in ["evt_1", "evt_2", "evt_1"] {
        shop.told(news("canceled", "pi_1").id(event), 200).await?;
    }
    shop.is("evt_2", EventState::Superseded).await?;
    world.did(["canceled pi_1"]).await
}

async fn duplicate_payment<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.told(paid("evt_2", "pi_2"), 200).await?;
    shop.told(paid("evt_3", "pi_2"), 200).await?;
    shop.is("evt_2", EventState::Done).await?;
    shop.is("evt_3", EventState::Superseded).await?;
    world.did(["succeeded pi_1", "duplicate pi_2"]).await?;
    let inbox = world.open().await;
    same(
        "pi_1",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Fulfilled,
    )?;
    same(
        "pi_2",
        success_of(&inbox, "pi_2").await?,
        FulfillmentStatus::Duplicate,
    )
}

async fn duplicate_refunded<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.told(paid("evt_2", "pi_2"), 200).await?;
    let back = refund("re_2", "pi_2", super::world::PRICE);
    shop.told(EventBody::new("refund.created", back), 200)
        .await?;
    world
        .did(["succeeded pi_1", "duplicate pi_2", "refunded re_2"])
        .await
}

async fn order_is_paid<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    let inbox = world.open().await;
    let row = inbox.intent(&order_key("order-1")).await?;
    let row = row.ok_or("the order has no row")?;
    same("paid by", row.paid_by.as_deref(), Some("pi_1"))?;
    same("state", row.state, IntentState::Paid)?;
    let found = inbox.intent_of_payment(&tea(), "pi_1").await?;
    same(
        "found by its payment",
        found,
        Some((order_key("order-1"), row)),
    )
}

/// All of them at once, in turns by two processes.
pub(super) async fn at_once<S: Subject>(
    world: &World<S>,
    events: Vec<EventBody>,
) -> Result<Vec<u16>, BoxError> {
    let shops: Vec<Arc<Shop>> = vec![Arc::new(world.shop().await?), Arc::new(world.shop().await?)];
    let mut running = JoinSet::new();
    for (event, shop) in events.into_iter().zip(shops.iter().cycle()) {
        let shop = Arc::clone(shop);
        running.spawn(async move { shop.send(event).await });
    }
    let mut answers = Vec::new();
    while let Some(ended) = running.join_next().await {
        answers.push(ended??);
    }
    Ok(answers)
}

pub(super) fn all_good(answers: &[u16]) -> Told {
    check(
        answers.iter().all(|status| *status == 200),
        format!("not all were answered with 200: {answers:?}"),
    )
}

async fn fifty_of_one<S: Subject>(world: World<S>) -> Told {
    world.hooks.told.all(Behave::Slowly);
    let events = (0..50).map(|_| paid("evt_1", "pi_1")).collect();
    all_good(&at_once(&world, events).await?)?;
    world.did(["succeeded pi_1"]).await
}

async fn fifty_of_two<S: Subject>(world: World<S>) -> Told {
    world.hooks.told.all(Behave::Slowly);
    let events = (0..50).map(|n| paid(&format!("evt_{}", n / 2 % 2), "pi_1"));
    all_good(&at_once(&world, events.collect()).await?)?;
    world.did(["succeeded pi_1"]).await
}

async fn two_intents_at_once<S: Subject>(world: World<S>) -> Told {
    world.hooks.told.all(Behave::Slowly);
    for round in 0..10 {
        let order = format!("order-{round}");
        let both =
            ["a", "b"].map(|name| news_of("succeeded", &format!("pi_{name}{round}"), &order));
        all_good(&at_once(&world, both.into()).await?)?;
    }
    let effects = world.effects().await?;
    for (n, round) in effects.chunks(2).enumerate() {
        let mut hooks: Vec<_> = round.iter().map(|line| line.split(' ').next()).collect();
        hooks.sort_unstable();
        same(
            &format!("round {n}"),
            hooks,
            [Some("duplicate"), Some("succeeded")],
        )?;
    }
    same("effects", effects.len(), 20)?;
    world.hooks.told.kept_apart()
}

async fn thirty_payments<S: Subject>(world: World<S>) -> Told {
    world.hooks.told.all(Behave::Slowly);
    // Each is delivered twice, and by both processes; two payments share an order.
    let events = (0..60).map(|n| {
        let payment = n / 2;
        let object = intent(
            &format!("pi_{payment}"),
            &format!("order-{}", payment % 15),
            "succeeded",
        );
        EventBody::new("payment_intent.succeeded", object.object()).id(&format!("evt_{payment}"))
    });
    all_good(&at_once(&world, events.collect()).await?)?;
    let effects = world.effects().await?;
    let of = |hook: &str| effects.iter().filter(|line| line.starts_with(hook)).count();
    same(
        "succeeded and duplicate",
        (of("succeeded "), of("duplicate ")),
        (15, 15),
    )?;
    world.hooks.told.kept_apart()
}

async fn unknown_type<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    let other =
        || EventBody::new("customer.created", serde_json::json!({"id": "cus_1"})).id("evt_1");
    shop.told(other(), 200).await?;
    shop.told(other(), 200).await?;
    world.did(["event customer.created"]).await
}
