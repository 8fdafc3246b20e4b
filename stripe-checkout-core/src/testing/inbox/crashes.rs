//! Work that began ends or starts again, even if clients hang up and processes die.

use std::sync::Arc;
use std::time::Duration;

use super::subject::Subject;
use super::world::{
    Behave, HOUR, Told, World, check, done, fails, new_event, order_key, paid, row, same, stored,
    success_of, tea, terms, took, until,
};
use crate::error::InboxError;
use crate::fulfillment::{
    Claim, EventState, FulfillmentStatus, Inbox, InboxExt as _, PendingNote, Session as _, Stepped,
    Terms, Which,
};
use crate::testing::{EventBody, refund};
use crate::webhook::Event;
use crate::{Amount, Currency};

super::case::cases! {
    "a process that dies in a hook leaves nothing behind but its attempt" => dies,
    "what a dead process left is due after the lease, for another one, once" => taken_over,
    "what a dead process left runs when it is delivered again, after the lease at the latest" => delivered_again,
    "an event that takes its process with it each time is a dead letter at the limit" => dead_at_the_limit,
    "such a dead letter can be replayed" => dead_at_the_limit_replayed,
    "what waits for such a success goes on" => waits_for_crashed,
    "what is committed and has not begun is not lost" => never_began,
    "a process that freezes beyond its lease is not overtaken" => frozen,
    "an attempt that another process took over is given back without its claim" => overtaken,
    "a claim at the attempt limit counts no attempt and gives none back" => spent,
    "who hangs up does not undo what began" => hangs_up,
    "by hand: who hangs up does not undo what began" => hangs_up_by_hand,
    "a restart forgets nothing" => restart,
    "a restart keeps what failed, how often, and why" => restart_after_failure,
}

fn short() -> Terms {
    Terms::new(terms().patience, Duration::from_millis(300), 3)
}

async fn dies<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    world.dies(None, terms()).await?;
    world.wrote([]).await?;
    let record = stored(&inbox, "evt_1").await?;
    same(
        "it is",
        (record.state, record.attempts),
        (EventState::Pending, 1),
    )?;
    same(
        "its payment",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Pending,
    )?;
    // No other process can know that it is dead before the lease is over.
    let script = world.script(done);
    let step = inbox.step(&tea(), Which::Due, terms(), &script).await?;
    same("due", took(&step), None::<(&str, Stepped)>)
}

async fn taken_over<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    world.dies(None, short()).await?;
    let script = world.script(done);
    until("it is due", || async {
        let step = inbox.step(&tea(), Which::Due, terms(), &script).await?;
        Ok(step.is_some())
    })
    .await?;
    let record = stored(&inbox, "evt_1").await?;
    same(
        "it is",
        (record.state, record.attempts),
        (EventState::Done, 2),
    )?;
    same("ran", script.ran(), ["evt_1"])?;
    same(
        "its payment",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Fulfilled,
    )?;
    world.wrote(["evt_1"]).await
}

async fn delivered_again<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    world.dies(Some("evt_1"), short()).await?;
    let script = world.script(done);
    let quick = Terms::new(Duration::from_millis(50), HOUR, 3);
    until("it runs", || async {
        match inbox
            .step(&tea(), Which::Now("evt_1"), quick, &script)
            .await
        {
            // No other process can know that it is dead before the lease is over.
            Err(InboxError::Busy) => Ok(false),
            step => {
                let did = Some(("evt_1", Stepped::Now(EventState::Done)));
                same("it did", took(&step?), did).map(|()| true)
            }
        }
    })
    .await?;
    same("attempts", stored(&inbox, "evt_1").await?.attempts, 2)?;
    world.wrote(["evt_1"]).await
}

async fn dead_at_the_limit<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    for attempt in 1..=3 {
        world.dies(Some("evt_1"), short()).await?;
        same("attempts", stored(&inbox, "evt_1").await?.attempts, attempt)?;
    }
    let script = world.script(done);
    until("it is due", || async {
        let step = inbox.step(&tea(), Which::Due, short(), &script).await?;
        let dead = Stepped::Now(EventState::Dead);
        check(
            matches!(took(&step), None | Some(("evt_1", _))),
            format!("{step:?}"),
        )?;
        step.map_or(Ok(false), |step| {
            same("it did", step.did, dead).map(|()| true)
        })
    })
    .await?;
    same("ran", script.ran().len(), 0)?;
    let record = stored(&inbox, "evt_1").await?;
    same(
        "it is",
        (record.state, record.attempts),
        (EventState::Dead, 3),
    )?;
    check(record.last_error.is_some(), "nobody is told why")?;
    check(!record.body.is_empty(), "its body is gone")?;
    same(
        "its payment",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Dead,
    )?;
    world.wrote([]).await
}

async fn dead_at_the_limit_replayed<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    let once = Terms::new(short().patience, short().lease, 1);
    world.dies(Some("evt_1"), once).await?;
    let script = world.script(done);
    // A delivery has the same result, and need not wait for the lease.
    let step = inbox
        .step(&tea(), Which::Now("evt_1"), once, &script)
        .await?;
    same(
        "it did",
        took(&step),
        Some(("evt_1", Stepped::Now(EventState::Dead))),
    )?;
    same("ran", script.ran().len(), 0)?;
    inbox.replay(&tea(), "evt_1", once.patience).await?;
    same(
        "its payment",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Pending,
    )?;
    let step = inbox.step(&tea(), Which::Due, once, &script).await?;
    same(
        "it did",
        took(&step),
        Some(("evt_1", Stepped::Now(EventState::Done))),
    )?;
    same(
        "its payment",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Fulfilled,
    )?;
    world.wrote(["evt_1"]).await
}

async fn waits_for_crashed<S: Subject>(world: World<S>) -> Told {
    let shop = world.built(|builder| builder.max_attempts(1)).await?;
    world.hooks.told.all(Behave::Fail);
    let back = refund("re_1", "pi_1", Amount::new(100, Currency::EUR));
    shop.told(EventBody::new("refund.created", back).id("evt_r"), 503)
        .await?;
    let inbox = world.open().await;
    let mut success = new_event("evt_1", "pi_1", true);
    success.body = paid("evt_1", "pi_1").body().into();
    inbox.receive(success).await?;
    let terms = Terms::new(terms().patience, Duration::from_millis(100), 1);
    world.dies(Some("evt_1"), terms).await?;
    world.hooks.told.all(Behave::Well);
    until("it is dead, and the refund done", || async {
        shop.checkout.run_due().await?;
        Ok(stored(&inbox, "evt_r").await?.state == EventState::Done)
    })
    .await?;
    same(
        "the success",
        stored(&inbox, "evt_1").await?.state,
        EventState::Dead,
    )?;
    world.did(["refunded re_1"]).await
}

async fn never_began<S: Subject>(world: World<S>) -> Told {
    let mut event = new_event("evt_1", "pi_1", true);
    event.body = paid("evt_1", "pi_1").body().into();
    event.order = Some(order_key("order-1"));
    world.open().await.receive(event).await?;
    let shop = world.shop().await?;
    same("due", shop.checkout.run_due().await?, true)?;
    same("due again", shop.checkout.run_due().await?, false)?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    world.did(["succeeded pi_1"]).await
}

async fn frozen<S: Subject>(world: World<S>) -> Told {
    let inbox = Arc::new(world.open().await);
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    let script = Arc::new(world.script(done).hangs());
    let frozen = tokio::spawn({
        let (inbox, script) = (Arc::clone(&inbox), Arc::clone(&script));
        async move { inbox.step(&tea(), Which::Due, short(), &*script).await }
    });
    script.gate.started().await?;
    tokio::time::sleep(short().lease).await;
    let other = world.open().await;
    let quick = Terms::new(Duration::from_millis(200), HOUR, 3);
    for turn in [Which::Due, Which::Now("evt_1")] {
        let step = other.step(&tea(), turn, quick, &*script).await;
        // A worker skips it, unless it has to wait for the one writer.
        let passes_over = turn == Which::Due && !world.subject.one_writer();
        check(
            matches!(step, Ok(None)) || (!passes_over && matches!(step, Err(InboxError::Busy))),
            format!("{turn:?} beside a hook that runs: {step:?}"),
        )?;
    }
    script.gate.open();
    frozen.await??;
    same("ran", script.ran(), ["evt_1"])?;
    let record = stored(&other, "evt_1").await?;
    same(
        "it is",
        (record.state, record.attempts),
        (EventState::Done, 1),
    )?;
    world.wrote(["evt_1"]).await
}

async fn overtaken<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    let claim = async |which, lease| {
        let mut session = inbox.session();
        let terms = Terms::new(terms().patience, lease, 3);
        let claimed = session.claim(&tea(), which, terms).await;
        session.finish().await;
        claimed
    };
    let if_due = Claim::IfDue("evt_1");
    let first = claim(if_due, Duration::ZERO).await?;
    let first = first.ok_or("the first claim failed")?;
    // The first claim's lease is over.
    let second = claim(if_due, HOUR).await?;
    let second = second.ok_or("the second claim failed")?;
    let mut session = inbox.session();
    session.give_back(&first, None).await?;
    session.finish().await;
    let record = stored(&inbox, "evt_1").await?;
    same("attempts", record.attempts, 1)?;
    same("due", record.due, second.record.due)?;
    let third = claim(Claim::Now("evt_1", 9), HOUR).await?;
    check(third.is_none(), format!("the lease runs: {third:?}"))
}

async fn spent<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    // The last attempt does not end.
    let terms = Terms::new(terms().patience, Duration::ZERO, 1);
    for is_spent in [false, true, true] {
        let mut session = inbox.session();
        let claimed = session.claim(&tea(), Claim::IfDue("evt_1"), terms).await?;
        let claimed = claimed.ok_or("the claim failed")?;
        same("spent", claimed.is_spent, is_spent)?;
        if is_spent {
            session.give_back(&claimed, Some(Duration::ZERO)).await?;
        }
        session.finish().await;
        same("attempts", stored(&inbox, "evt_1").await?.attempts, 1)?;
    }
    Ok(())
}

async fn hangs_up<S: Subject>(world: World<S>) -> Told {
    let shop = Arc::new(world.shop().await?);
    world.hooks.told.all(Behave::Hang);
    let client = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move { shop.send(paid("evt_1", "pi_1")).await }
    });
    world.hooks.told.gate.started().await?;
    client.abort();
    check(client.await.is_err(), "the client was to hang up")?;
    world.hooks.told.gate.open();
    shop.checkout.drain().await;
    shop.is("evt_1", EventState::Done).await?;
    world.did(["succeeded pi_1"]).await
}

async fn hangs_up_by_hand<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    let told = &world.hooks.told;
    told.behave("succeeded pi_hangs", Behave::Hang);
    let body = super::world::news_of("succeeded", "pi_hangs", "hangs").body();
    let mut receiving = Box::pin(shop.checkout.receive(Event::parse(body)?));
    // Its handler does not end before the gate opens, so this call does not end either.
    let _ = tokio::time::timeout(Duration::from_millis(100), &mut receiving).await;
    told.gate.started().await?;
    drop(receiving);
    told.gate.open();
    shop.checkout.drain().await;
    world.did(["succeeded pi_hangs"]).await?;
    // Cuts off the call at many moments, up to the one when the handler runs.
    for n in 0..20 {
        let (event, payment) = (format!("evt_{n}"), format!("pi_{n}"));
        let body = super::world::news_of("succeeded", &payment, &payment).id(&event);
        let receiving = shop.checkout.receive(Event::parse(body.body())?);
        let cut = Duration::from_micros(100 * n);
        let _ = tokio::time::timeout(cut, receiving).await;
    }
    shop.checkout.drain().await;
    same("effects", world.effects().await?.len(), 21)?;
    same("begun", told.begun().len(), 21)
}

async fn restart<S: Subject>(world: World<S>) -> Told {
    let (order, scope) = (order_key("order-1"), tea());
    let inbox = world.open().await;
    if !inbox.limits().survives_restart {
        return Ok(());
    }
    check(
        inbox.put_intent(&order, None, row("pi_1")).await?,
        "not written",
    )?;
    let mut event = new_event("evt_1", "pi_1", true);
    event.note = Some(PendingNote::Refund {
        id: "re_1".to_owned(),
        amount: 5,
    });
    event.order = Some(order.clone());
    let (body, received) = (event.body.clone(), event.received);
    inbox.receive(event).await?;
    drop(inbox);
    let inbox = world.open().await;
    let record = stored(&inbox, "evt_1").await?;
    same("its body", &record.body, &body)?;
    same("its order", record.order.as_ref(), Some(&order))?;
    let apart = record
        .received
        .duration_since(received)
        .unwrap_or_else(|before| before.duration());
    check(
        apart < Duration::from_millis(2),
        format!("received {apart:?} apart"),
    )?;
    let payment = inbox.payment(&scope, "pi_1").await?.unwrap_or_default();
    same(
        "its payment",
        (payment.success, payment.returned()),
        (FulfillmentStatus::Pending, 5),
    )?;
    let mut expected = row("pi_1");
    expected.version = 1;
    same("its row", inbox.intent(&order).await?, Some(expected))?;
    let script = world.script(done);
    inbox.step(&scope, Which::Due, terms(), &script).await?;
    drop(inbox);
    let shop = world.shop().await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.told(paid("evt_2", "pi_1"), 200).await?;
    shop.is("evt_2", EventState::Superseded).await?;
    same("begun", world.hooks.told.begun().len(), 0)?;
    let payment = world
        .open()
        .await
        .payment(&scope, "pi_1")
        .await?
        .unwrap_or_default();
    same(
        "its end",
        (payment.success, payment.returned()),
        (FulfillmentStatus::Fulfilled, 5),
    )
}

async fn restart_after_failure<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    if !inbox.limits().survives_restart {
        return Ok(());
    }
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    inbox
        .step(&tea(), Which::Due, terms(), &world.script(fails))
        .await?;
    let before = stored(&inbox, "evt_1").await?;
    drop(inbox);
    let inbox = world.open().await;
    let after = stored(&inbox, "evt_1").await?;
    same("attempts", after.attempts, 1)?;
    same("why", after.last_error.as_deref(), Some("no paper"))?;
    same("due", after.due, before.due)?;
    let step = inbox
        .step(&tea(), Which::Due, terms(), &world.script(done))
        .await?;
    same("due", took(&step), None::<(&str, Stepped)>)?;
    Ok(())
}
