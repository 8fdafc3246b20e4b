//! Saved cards: each comes to each end once.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use std::sync::Arc;

use super::subject::Subject;
use super::world::{Behave, Told, World, same};
use crate::fulfillment::EventState;
use crate::testing::EventBody;

super::case::cases! {
    "a card that is saved is told once, by whichever event objects" => saved_once,
    "a card that could not be saved is told each time, but not after it was" => failed_then_saved,
    "a card is attached once and detached once, and not attached again by late news" => attached_detached,
    "a hook about a saved card that fails is undone and runs again" => fails_and_runs_again,
    "30 deliveries of three event objects of one saved card at once are one effect" => thirty_of_three,
    "another application's saved card is another's" => anothers,
}

fn setup(id: &str, status: &str, application: &str) -> Value {
    json!({
        "id": id, "object": "setup_intent", "status": status, "customer": "cus_1", "payment_method": "pm_1", "usage": "off_session",
        "livemode": false, "metadata": { "checkout_application": application },
        "last_setup_error": (status != "succeeded").then(|| json!({ "code": "card_declined" })),
    })
}

fn saved(event: &str) -> EventBody {
    EventBody::new(
        "setup_intent.succeeded",
        setup("seti_1", "succeeded", "tea"),
    )
    .id(event)
}

fn failed(event: &str) -> EventBody {
    let object = setup("seti_1", "requires_payment_method", "tea");
    EventBody::new("setup_intent.setup_failed", object).id(event)
}

fn method(what: &str, event: &str) -> EventBody {
    let customer = (what == "attached").then_some("cus_1");
    let object = json!({
        "id": "pm_1", "object": "payment_method", "type": "card", "customer": customer, "livemode": false, "metadata": {},
        "card": { "brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2040 },
    });
    EventBody::new(&format!("payment_method.{what}"), object).id(event)
}

async fn saved_once<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    for event in ["evt_1", "evt_1", "evt_2"] {
        shop.told(saved(event), 200).await?;
    }
    shop.is("evt_1", EventState::Done).await?;
    shop.is("evt_2", EventState::Superseded).await?;
    world.did(["set up seti_1"]).await
}

async fn failed_then_saved<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(failed("evt_1"), 200).await?;
    shop.told(failed("evt_2"), 200).await?;
    shop.told(saved("evt_3"), 200).await?;
    shop.told(failed("evt_4"), 200).await?;
    shop.is("evt_4", EventState::Superseded).await?;
    world
        .did([
            "setup failed seti_1",
            "setup failed seti_1",
            "set up seti_1",
        ])
        .await
}

async fn attached_detached<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    for (what, event) in [
        ("attached", "evt_1"),
        ("attached", "evt_2"),
        ("detached", "evt_3"),
        ("detached", "evt_4"),
        ("attached", "evt_5"),
    ] {
        shop.told(method(what, event), 200).await?;
    }
    world.did(["attached pm_1", "detached pm_1"]).await
}

async fn fails_and_runs_again<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    world.hooks.told.behave("attached pm_1", Behave::Fail);
    shop.told(method("attached", "evt_1"), 500).await?;
    same("written", world.effects().await?, [""; 0])?;
    world.hooks.told.behave("attached pm_1", Behave::Well);
    shop.told(method("attached", "evt_1"), 200).await?;
    world.did(["attached pm_1"]).await
}

async fn thirty_of_three<S: Subject>(world: World<S>) -> Told {
    let shop = Arc::new(world.shop().await?);
    let mut senders = JoinSet::new();
    for n in 0..30 {
        let shop = Arc::clone(&shop);
        senders.spawn(async move {
            let event = saved(&format!("evt_{}", n % 3));
            shop.told(event, 200).await
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent??;
    }
    world.did(["set up seti_1"]).await
}

async fn anothers<S: Subject>(world: World<S>) -> Told {
    let ours = crate::checkout::Ownership::ByMetadata;
    let shop = world.built(|builder| builder.ownership(ours)).await?;
    let theirs = setup("seti_2", "succeeded", "coffee");
    shop.told(EventBody::new("setup_intent.succeeded", theirs), 200)
        .await?;
    shop.told(saved("evt_1"), 200).await?;
    let connected = method("attached", "evt_2").account("acct_1");
    shop.told(connected, 200).await?;
    world
        .did([
            "event setup_intent.succeeded",
            "set up seti_1",
            "event payment_method.attached",
        ])
        .await
}
