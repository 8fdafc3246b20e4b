//! No event takes a payment back to an earlier state or overtakes another event.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::subject::Subject;
use super::world::{
    Behave, HOUR, PRICE, Shop, Told, World, check, disputed, done, fails, new_event, news,
    order_key, paid, row, same, stored, success_of, tea, terms, took, until,
};
use crate::error::InboxError;
use crate::fulfillment::{
    EventState, FulfillmentStatus, Inbox, InboxExt as _, PendingNote, Stepped, Terms, Which,
};
use crate::testing::{EventBody, charge_refunded, dispute, refund};
use crate::{Amount, Currency};

super::case::cases! {
    "after its success everything else of a payment is old news" => after_success,
    "after its authorisation a payment is not processing, and did not fail" => after_capturable,
    "after its cancellation a payment is not processing, and did not fail" => after_cancel,
    "a canceled intent that was replaced does not cancel the order" => replaced,
    "a refund waits for its success and goes on when that is done" => refund_waits,
    "a refund waits for a success that fails, and goes on when that is dead" => refund_waits_for_dead,
    "a refund waits as long as one of two event objects of its success is pending" => refund_waits_for_copy,
    "a refund goes on when its success is dropped" => refund_after_drop,
    "each status of a refund is told once, and nothing that came before it" => refund_statuses,
    "what a charge says of its refunds again is told as an event" => charge_refunds,
    "a refund of an authorisation that was given up is told as an event" => released,
    "a dispute is opened once, moves money once, and is closed once" => dispute_life,
    "what was told of refunds and disputes is known when their events are forgotten" => told_for_good,
    "a dispute waits too, and a disputed payment is not shipped" => dispute_first,
    "a payment that was refunded in full is not shipped" => refunded_in_full,
    "two refunds that are the whole amount stop a delivery, one does not" => refunds_add_up,
    "a refund that failed does not stop a delivery" => refund_failed,
    "a refund is known at once, while the hook of its payment runs" => noted_at_once,
    "what a hook decides does not undo what came meanwhile" => noted_meanwhile,
    "a success that is stored is pending, and then it is dealt with" => success_is_pending,
    "events of one payment do not run at the same time" => one_at_a_time,
    "events of one order do not run at the same time" => one_order_at_a_time,
    "who waits too long for its payment is told so, and has lost nothing" => busy,
    "who takes what is due does not wait for a payment that is worked on, but lets others go first" => busy_when_due,
    "who waits for its payment is not run twice when it fails" => fails_once,
    "deliveries of an event that wait for its payment are one attempt" => one_attempt,
    "deliveries that waited while the hook failed are told so, and are no attempts" => failed_for_all,
    "other payments do not wait" => others_go_on,
}

fn part(id: &str, minor: u64) -> EventBody {
    let amount = Amount::new(minor, Currency::EUR);
    EventBody::new("refund.created", refund(id, "pi_1", amount)).id(&format!("evt_{id}"))
}

async fn after_success<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(news("processing", "pi_1"), 200).await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    for what in [
        "processing",
        "payment_failed",
        "requires_action",
        "amount_capturable_updated",
        "canceled",
    ] {
        let event = format!("evt_{what}");
        shop.told(news(what, "pi_1").id(&event), 200).await?;
        shop.is(&event, EventState::Superseded).await?;
    }
    world.did(["processing pi_1", "succeeded pi_1"]).await
}

async fn after_capturable<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    for what in [
        "amount_capturable_updated",
        "processing",
        "payment_failed",
        "amount_capturable_updated",
        "requires_action",
        "succeeded",
    ] {
        shop.told(news(what, "pi_1"), 200).await?;
    }
    world.did(["capture pi_1", "succeeded pi_1"]).await
}

async fn after_cancel<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    for what in [
        "canceled",
        "processing",
        "payment_failed",
        "requires_action",
    ] {
        shop.told(news(what, "pi_1"), 200).await?;
    }
    world.did(["canceled pi_1"]).await
}

async fn replaced<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let order = order_key("order-1");
    check(inbox.put_intent(&order, None, row("pi_1")).await?, "first")?;
    check(
        inbox.put_intent(&order, Some(1), row("pi_2")).await?,
        "second",
    )?;
    let shop = world.shop().await?;
    shop.told(news("canceled", "pi_1").id("evt_1"), 200).await?;
    shop.is("evt_1", EventState::Superseded).await?;
    let row = inbox.intent(&order).await?.ok_or("the row is gone")?;
    same(
        "the row",
        (row.version, row.payment.as_deref()),
        (2, Some("pi_2")),
    )?;
    world.did([]).await
}

async fn refund_waits<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(part("re_1", 500), 503).await?;
    shop.told(part("re_1", 500), 503).await?;
    let waiting = shop.record("evt_re_1").await?;
    same(
        "it waits",
        (waiting.state, waiting.attempts),
        (EventState::Pending, 0),
    )?;
    world.did([]).await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.is("evt_re_1", EventState::Done).await?;
    shop.told(part("re_1", 500), 200).await?;
    world.did(["succeeded pi_1", "refunded re_1"]).await
}

async fn refund_waits_for_dead<S: Subject>(world: World<S>) -> Told {
    let shop = world.built(|builder| builder.max_attempts(2)).await?;
    world.hooks.told.behave("succeeded pi_1", Behave::Fail);
    shop.told(paid("evt_1", "pi_1"), 500).await?;
    shop.told(part("re_1", 500), 503).await?;
    world.did([]).await?;
    shop.told(paid("evt_1", "pi_1"), 500).await?;
    shop.is("evt_1", EventState::Dead).await?;
    world.did(["refunded re_1"]).await
}

async fn refund_waits_for_copy<S: Subject>(world: World<S>) -> Told {
    let shop = world.built(|builder| builder.max_attempts(2)).await?;
    world.hooks.told.all(Behave::Fail);
    for (event, state) in [
        ("evt_1", EventState::Pending),
        ("evt_2", EventState::Pending),
        ("evt_1", EventState::Dead),
    ] {
        shop.told(paid(event, "pi_1"), 500).await?;
        shop.is(event, state).await?;
    }
    world.hooks.told.all(Behave::Well);
    shop.told(part("re_1", 500), 503).await?;
    shop.told(paid("evt_2", "pi_1"), 200).await?;
    shop.is("evt_re_1", EventState::Done).await?;
    world.did(["succeeded pi_1", "refunded re_1"]).await
}

async fn refund_after_drop<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    world.hooks.told.behave("succeeded pi_1", Behave::Fail);
    shop.told(part("re_1", 500), 503).await?;
    shop.told(paid("evt_1", "pi_1"), 500).await?;
    world.did([]).await?;
    let success = shop.record("evt_1").await?;
    shop.checkout.discard(&success).await?;
    world.did(["refunded re_1"]).await
}

async fn dispute_first<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    let about = |what: &str, status: &str| {
        let object = dispute("dp_1", "pi_1", PRICE, status);
        EventBody::new(&format!("charge.dispute.{what}"), object)
    };
    shop.told(about("created", "needs_response"), 503).await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    world
        .did(["refunded before pi_1", "dispute opened dp_1"])
        .await?;
    let inbox = world.open().await;
    let payment = inbox.payment(&tea(), "pi_1").await?;
    let payment = payment.ok_or("nothing is known of the payment")?;
    same(
        "disputed",
        (payment.success, payment.disputed()),
        (FulfillmentStatus::Refunded, true),
    )?;
    shop.told(about("closed", "won"), 200).await?;
    let payment = inbox.payment(&tea(), "pi_1").await?;
    same(
        "won",
        payment.map(|payment| payment.disputed()),
        Some(false),
    )
}

async fn refunded_in_full<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    let charge = charge_refunded("ch_1", "pi_1", PRICE, PRICE.minor());
    shop.told(EventBody::new("charge.refunded", charge), 200)
        .await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.told(paid("evt_2", "pi_1"), 200).await?;
    world
        .did(["event charge.refunded", "refunded before pi_1"])
        .await
}

async fn refunds_add_up<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    // Another event of the same refund is not another refund.
    for (event, id, minor) in [("evt_a", "re_1", 1000), ("evt_b", "re_1", 1000)] {
        shop.told(part(id, minor).id(event), 503).await?;
    }
    let inbox = world.open().await;
    let returned = inbox
        .payment(&tea(), "pi_1")
        .await?
        .map(|payment| payment.returned());
    same("returned", returned, Some(1000))?;
    shop.told(part("re_2", 999), 503).await?;
    let returned = inbox
        .payment(&tea(), "pi_1")
        .await?
        .map(|payment| payment.returned());
    same("returned", returned, Some(1999))?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    let effects = world.effects().await?;
    same(
        "the first",
        effects.first().map(String::as_str),
        Some("refunded before pi_1"),
    )?;
    // The handler receives each refund once, whichever event reports it again.
    same("all", effects.len(), 3)?;
    let payment = inbox.payment(&tea(), "pi_1").await?.unwrap_or_default();
    same(
        "kept",
        (payment.returned(), payment.success),
        (1999, FulfillmentStatus::Refunded),
    )
}

async fn refund_failed<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(part("re_1", 1999), 503).await?;
    let mut failed = refund("re_1", "pi_1", PRICE);
    if let Some(status) = failed.get_mut("status") {
        *status = "failed".into();
    }
    shop.told(EventBody::new("refund.failed", failed), 503)
        .await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    world
        .did(["succeeded pi_1", "refunded re_1", "refund failed re_1"])
        .await
}

async fn noted_at_once<S: Subject>(world: World<S>) -> Told {
    if world.subject.one_writer() {
        return Ok(());
    }
    let shop = Arc::new(world.shop().await?);
    world.hooks.told.behave("succeeded pi_1", Behave::Hang);
    let hanging = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move { shop.send(paid("evt_1", "pi_1")).await }
    });
    world.hooks.told.gate.started().await?;
    let inbox = world.open().await;
    let began = Instant::now();
    let mut event = new_event("evt_2", "pi_1", false);
    event.order = Some(order_key("order-1"));
    event.note = Some(PendingNote::Refund {
        id: "re_1".to_owned(),
        amount: 500,
    });
    inbox.receive(event).await?;
    check(
        began.elapsed() < Duration::from_secs(4),
        "it waited for the hook",
    )?;
    let known = inbox.payment(&tea(), "pi_1").await?.unwrap_or_default();
    same(
        "known",
        (known.returned(), known.success),
        (500, FulfillmentStatus::Pending),
    )?;
    world.hooks.told.gate.open();
    same("the success", hanging.await??, 200)?;
    let known = inbox.payment(&tea(), "pi_1").await?.unwrap_or_default();
    same(
        "then",
        (known.returned(), known.success),
        (500, FulfillmentStatus::Fulfilled),
    )
}

async fn noted_meanwhile<S: Subject>(world: World<S>) -> Told {
    let inbox = Arc::new(world.open().await);
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    let script = Arc::new(world.script(done).hangs());
    let hanging = tokio::spawn({
        let (inbox, script) = (Arc::clone(&inbox), Arc::clone(&script));
        async move {
            inbox
                .step(&tea(), Which::Now("evt_1"), terms(), &*script)
                .await
        }
    });
    script.gate.started().await?;
    if world.subject.one_writer() {
        script.gate.open();
    }
    for (id, note) in [
        ("evt_2", PendingNote::RefundedTotal(700)),
        ("evt_3", disputed("dp_1", "needs_response")),
        (
            "evt_4",
            PendingNote::Refund {
                id: "re_1".to_owned(),
                amount: 700,
            },
        ),
    ] {
        let mut event = new_event(id, "pi_1", false);
        event.note = Some(note);
        inbox.receive(event).await?;
    }
    script.gate.open();
    hanging.await??;
    // The notes also stay when the events that brought them are done.
    let script = world.script(done);
    for id in ["evt_2", "evt_3", "evt_4"] {
        inbox.step(&tea(), Which::Now(id), terms(), &script).await?;
    }
    let payment = world.open().await.payment(&tea(), "pi_1").await?;
    let payment = payment.ok_or("nothing is known of the payment")?;
    same(
        "success, total, refunds, disputed",
        (
            payment.success,
            payment.refunded_total,
            payment.refunds.get("re_1").copied(),
            payment.disputed(),
        ),
        (FulfillmentStatus::Fulfilled, 700, Some(700), true),
    )
}

async fn success_is_pending<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    same(
        "before",
        inbox
            .payment(&tea(), "pi_1")
            .await?
            .unwrap_or_default()
            .success,
        FulfillmentStatus::No,
    )?;
    inbox.receive(new_event("evt_0", "pi_1", false)).await?;
    same(
        "still",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::No,
    )?;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    same(
        "stored",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Pending,
    )?;
    let script = world.script(done);
    inbox
        .step(&tea(), Which::Now("evt_1"), terms(), &script)
        .await?;
    same(
        "done",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Fulfilled,
    )?;
    // Another event object of the success changes nothing.
    inbox.receive(new_event("evt_2", "pi_1", true)).await?;
    same(
        "again",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Fulfilled,
    )
}

/// Checks that the second event waits for the first one.
///
/// The first event's handler hangs, and another process receives the second event.
async fn second_waits<S: Subject>(
    world: &World<S>,
    (line, first): (&str, EventBody),
    second: EventBody,
) -> Told {
    let told = &world.hooks.told;
    let (here, there) = (Arc::new(world.shop().await?), Arc::new(world.shop().await?));
    told.behave(line, Behave::Hang);
    let send = |shop: &Arc<Shop>, event: EventBody| {
        let shop = Arc::clone(shop);
        tokio::spawn(async move { shop.send(event).await })
    };
    let hanging = send(&here, first);
    told.gate.started().await?;
    let id = "evt_second";
    let waiting = send(&there, second.id(id));
    if !world.subject.one_writer() {
        // Stored at once; from then on its handler has to wait.
        let inbox = world.open().await;
        until("the second is stored", || async {
            Ok(inbox.event(&tea(), id).await?.is_some())
        })
        .await?;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    same("begun", told.begun(), [line])?;
    told.gate.open();
    same("the first", hanging.await??, 200)?;
    same("the second", waiting.await??, 200)?;
    there.is(id, EventState::Done).await?;
    told.kept_apart()
}

async fn one_at_a_time<S: Subject>(world: World<S>) -> Told {
    let first = ("succeeded pi_1", paid("evt_1", "pi_1"));
    second_waits(&world, first, part("re_1", 500)).await?;
    world.did(["succeeded pi_1", "refunded re_1"]).await
}

async fn one_order_at_a_time<S: Subject>(world: World<S>) -> Told {
    let first = ("succeeded pi_1", paid("evt_1", "pi_1"));
    second_waits(&world, first, news("succeeded", "pi_2")).await?;
    world.did(["succeeded pi_1", "duplicate pi_2"]).await
}

/// Two pending events of one payment; the handler of the first one hangs.
macro_rules! hanging {
    ($world:ident, $inbox:ident, $script:ident, $running:ident) => {
        let $inbox = Arc::new($world.open().await);
        for id in ["evt_1", "evt_2"] {
            $inbox.receive(new_event(id, "pi_1", false)).await?;
        }
        let $script = Arc::new($world.script(done).hangs());
        let $running = tokio::spawn({
            let (inbox, script) = (Arc::clone(&$inbox), Arc::clone(&$script));
            async move {
                inbox
                    .step(&tea(), Which::Now("evt_1"), terms(), &*script)
                    .await
            }
        });
        $script.gate.started().await?;
    };
}

async fn busy<S: Subject>(world: World<S>) -> Told {
    hanging!(world, inbox, script, running);
    let other = world.open().await;
    let before = stored(&other, "evt_2").await?;
    let quick = Terms::new(Duration::from_millis(300), terms().lease, 3);
    let began = Instant::now();
    for id in ["evt_1", "evt_2"] {
        let step = other.step(&tea(), Which::Now(id), quick, &*script).await;
        check(
            matches!(step, Err(InboxError::Busy)),
            format!("{id}: {step:?}, not busy"),
        )?;
    }
    let waited = began.elapsed();
    check(
        waited >= Duration::from_millis(500),
        format!("waited for {waited:?} only"),
    )?;
    let after = stored(&other, "evt_2").await?;
    same("attempts", after.attempts, 0)?;
    check(after.due <= before.due, "it is due later than before")?;
    script.gate.open();
    running.await??;
    let first = stored(&other, "evt_1").await?;
    same(
        "the first",
        (first.state, first.attempts),
        (EventState::Done, 1),
    )?;
    other
        .step(&tea(), Which::Now("evt_2"), quick, &*script)
        .await?;
    same(
        "the second",
        stored(&other, "evt_2").await?.state,
        EventState::Done,
    )?;
    same("ran", script.ran(), ["evt_1", "evt_2"])
}

async fn busy_when_due<S: Subject>(world: World<S>) -> Told {
    hanging!(world, inbox, script, running);
    let other = world.open().await;
    // The second event came first, and its payment is in progress.
    let mut third = new_event("evt_3", "pi_3", false);
    third.received = SystemTime::now() + Duration::from_millis(1);
    if !world.subject.one_writer() {
        other.receive(third.clone()).await?;
    }
    let quick = Terms::new(Duration::from_millis(200), terms().lease, 3);
    let patient = Terms::new(HOUR, HOUR * 2, 3);
    let patient = if world.subject.one_writer() {
        quick
    } else {
        patient
    };
    let step = other.step(&tea(), Which::Due, patient, &*script).await;
    check(
        matches!(step, Err(InboxError::Busy)),
        format!("{step:?}, not busy"),
    )?;
    same("attempts", stored(&other, "evt_2").await?.attempts, 0)?;
    if !world.subject.one_writer() {
        let done = world.script(done);
        let step = other.step(&tea(), Which::Due, quick, &done).await?;
        let did = Some(("evt_3", Stepped::Now(EventState::Done)));
        same("the other one", took(&step), did)?;
    }
    script.gate.open();
    running.await??;
    other.receive(third).await?;
    until("all of them ran", || async {
        other.step(&tea(), Which::Due, quick, &*script).await?;
        let stats = other.stats(&tea()).await?;
        Ok(stats.count(EventState::Done) == 3)
    })
    .await?;
    same("attempts", stored(&other, "evt_2").await?.attempts, 1)
}

async fn fails_once<S: Subject>(world: World<S>) -> Told {
    if world.subject.one_writer() {
        // Processes that wait for the one writer do not run in the order in which they came. A
        // process that requests the event after its failure runs it.
        return Ok(());
    }
    hanging!(world, inbox, script, running);
    // One process requests the event, the other one takes what is due. The later one finds that the
    // event failed and that its pause is not over.
    let failing = Arc::new(world.script(fails));
    let mut waiting = Vec::new();
    for now in [true, false] {
        let (other, failing) = (world.open().await, Arc::clone(&failing));
        waiting.push(tokio::spawn(async move {
            let turn = if now { Which::Now("evt_2") } else { Which::Due };
            other.step(&tea(), turn, terms(), &*failing).await
        }));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    script.gate.open();
    running.await??;
    for waiting in waiting {
        waiting.await??;
    }
    same("ran", failing.ran(), ["evt_2"])?;
    let record = stored(&*inbox, "evt_2").await?;
    same("attempts", record.attempts, 1)
}

async fn others_go_on<S: Subject>(world: World<S>) -> Told {
    if world.subject.one_writer() {
        return Ok(());
    }
    let shop = Arc::new(world.shop().await?);
    world.hooks.told.behave("succeeded pi_1", Behave::Hang);
    let hanging = tokio::spawn({
        let shop = Arc::clone(&shop);
        async move { shop.send(paid("evt_1", "pi_1")).await }
    });
    world.hooks.told.gate.started().await?;
    let other = super::world::news_of("succeeded", "pi_2", "order-2");
    shop.told(other, 200).await?;
    world.hooks.told.gate.open();
    same("the first", hanging.await??, 200)?;
    // A store may list the handlers in the order in which they began or ended.
    let mut effects = world.effects().await?;
    effects.sort();
    same(
        "what the hooks did",
        effects,
        ["succeeded pi_1", "succeeded pi_2"],
    )
}

async fn one_attempt<S: Subject>(world: World<S>) -> Told {
    hanging!(world, inbox, script, running);
    let waiting_script = Arc::new(world.script(done));
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let (other, script) = (world.open().await, Arc::clone(&waiting_script));
        waiting.push(tokio::spawn(async move {
            let turn = Which::Now("evt_2");
            other.step(&tea(), turn, terms(), &*script).await
        }));
    }
    // Long enough for each of them to assume that the others are gone.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    script.gate.open();
    running.await??;
    for waiting in waiting {
        let step = waiting.await??;
        let state = step.map(|step| step.did);
        check(
            matches!(
                state,
                Some(Stepped::Now(EventState::Done) | Stepped::Already(EventState::Done))
            ),
            format!("{state:?}"),
        )?;
    }
    same("ran", waiting_script.ran(), ["evt_2"])?;
    same("attempts", stored(&*inbox, "evt_2").await?.attempts, 1)
}

async fn failed_for_all<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    let script = Arc::new(world.script(fails).hangs());
    let deliver = |inbox: S::Inbox| {
        let script = Arc::clone(&script);
        tokio::spawn(async move {
            let step = inbox
                .step(&tea(), Which::Now("evt_1"), terms(), &*script)
                .await?;
            Ok::<_, InboxError>(step.map(|step| step.did))
        })
    };
    let mut deliveries = vec![deliver(world.open().await)];
    script.gate.started().await?;
    for _ in 0..5 {
        deliveries.push(deliver(world.open().await));
    }
    // They must wait while the handler runs; a later delivery would be another attempt.
    tokio::time::sleep(Duration::from_millis(500)).await;
    same("ran", script.ran(), ["evt_1"])?;
    script.gate.open();
    for delivery in deliveries {
        same("told", delivery.await??, Some(Stepped::Failed))?;
    }
    same("ran once", script.ran(), ["evt_1"])?;
    let record = stored(&inbox, "evt_1").await?;
    same(
        "it is",
        (record.state, record.attempts),
        (EventState::Pending, 1),
    )?;
    // A later delivery is another attempt.
    let again = deliver(world.open().await);
    same("again", again.await??, Some(Stepped::Failed))?;
    same("attempts", stored(&inbox, "evt_1").await?.attempts, 2)
}

/// An event of this refund, with this status.
fn refund_is(event: &str, event_type: &str, status: &str) -> EventBody {
    let mut object = refund("re_1", "pi_1", Amount::new(500, Currency::EUR));
    if let Some(field) = object.get_mut("status") {
        *field = status.into();
    }
    EventBody::new(event_type, object).id(event)
}

async fn refund_statuses<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    let news = [
        ("evt_a", "refund.created", "pending", EventState::Done),
        ("evt_b", "refund.updated", "pending", EventState::Superseded),
        (
            "evt_c",
            "refund.updated",
            "requires_action",
            EventState::Done,
        ),
        ("evt_d", "refund.updated", "succeeded", EventState::Done),
        (
            "evt_e",
            "refund.updated",
            "succeeded",
            EventState::Superseded,
        ),
        (
            "evt_f",
            "refund.updated",
            "requires_action",
            EventState::Superseded,
        ),
        ("evt_g", "refund.created", "pending", EventState::Superseded),
        ("evt_h", "refund.failed", "failed", EventState::Done),
        ("evt_i", "refund.updated", "failed", EventState::Superseded),
        (
            "evt_j",
            "refund.updated",
            "canceled",
            EventState::Superseded,
        ),
        (
            "evt_k",
            "refund.updated",
            "succeeded",
            EventState::Superseded,
        ),
        // The handler receives an unknown status as a plain event.
        (
            "evt_l",
            "refund.updated",
            "a_status_of_2031",
            EventState::Done,
        ),
    ];
    for (event, event_type, status, state) in news {
        shop.told(refund_is(event, event_type, status), 200).await?;
        shop.is(event, state).await?;
    }
    world
        .did([
            "succeeded pi_1",
            "refund pending re_1",
            "refund pending re_1",
            "refunded re_1",
            "refund failed re_1",
            "event refund.updated",
        ])
        .await
}

async fn charge_refunds<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.told(
        refund_is("evt_a", "charge.refund.updated", "succeeded"),
        200,
    )
    .await?;
    shop.told(refund_is("evt_b", "refund.created", "succeeded"), 200)
        .await?;
    shop.told(refund_is("evt_c", "charge.refund.updated", "failed"), 200)
        .await?;
    let payment = world.open().await.payment(&tea(), "pi_1").await?;
    same("noted", payment.map(|payment| payment.returned()), Some(0))?;
    world
        .did([
            "succeeded pi_1",
            "event charge.refund.updated",
            "refunded re_1",
            "event charge.refund.updated",
        ])
        .await
}

async fn released<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(part("re_1", 1999), 503).await?;
    shop.told(news("canceled", "pi_1").id("evt_1"), 200).await?;
    shop.told(part("re_1", 1999), 200).await?;
    world.did(["canceled pi_1", "event refund.created"]).await
}

/// An event of a dispute that had moved money this many times.
fn dispute_is(event: &str, what: &str, status: &str, movements: usize) -> EventBody {
    let mut object = dispute("dp_1", "pi_1", PRICE, status);
    if let Some(field) = object.get_mut("balance_transactions") {
        *field = vec![serde_json::json!({}); movements].into();
    }
    EventBody::new(&format!("charge.dispute.{what}"), object).id(event)
}

async fn dispute_life<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    let open = "needs_response";
    let review = "under_review";
    let news = [
        // In no order, and some changes as two event objects.
        ("evt_a", "funds_withdrawn", open, 1, EventState::Done),
        ("evt_b", "created", open, 1, EventState::Done),
        ("evt_c", "created", open, 1, EventState::Superseded),
        ("evt_d", "funds_withdrawn", open, 1, EventState::Superseded),
        ("evt_e", "updated", review, 1, EventState::Done),
        ("evt_f", "updated", review, 1, EventState::Done),
        ("evt_g", "closed", "won", 2, EventState::Done),
        ("evt_h", "closed", "won", 2, EventState::Superseded),
        ("evt_i", "funds_reinstated", "won", 2, EventState::Done),
        (
            "evt_j",
            "funds_reinstated",
            "won",
            2,
            EventState::Superseded,
        ),
        ("evt_k", "updated", review, 1, EventState::Superseded),
        ("evt_l", "updated", "won", 2, EventState::Done),
        ("evt_m", "funds_withdrawn", "lost", 3, EventState::Done),
        ("evt_n", "closed", "lost", 3, EventState::Done),
    ];
    for (event, what, status, movements, state) in news {
        shop.told(dispute_is(event, what, status, movements), 200)
            .await?;
        shop.is(event, state).await?;
    }
    world
        .did([
            "succeeded pi_1",
            "dispute FundsWithdrawn dp_1",
            "dispute opened dp_1",
            "dispute Updated dp_1",
            "dispute Updated dp_1",
            "dispute won dp_1",
            "dispute FundsReinstated dp_1",
            "dispute Updated dp_1",
            "dispute FundsWithdrawn dp_1",
            "dispute lost dp_1",
        ])
        .await
}

async fn told_for_good<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.told(refund_is("evt_a", "refund.created", "succeeded"), 200)
        .await?;
    shop.told(dispute_is("evt_b", "created", "needs_response", 0), 200)
        .await?;
    let inbox = world.open().await;
    let later = SystemTime::now() + HOUR;
    while inbox.prune(&tea(), later, 100).await? > 0 {}
    check(
        inbox.event(&tea(), "evt_a").await?.is_none(),
        "it is not forgotten",
    )?;
    // A handler that failed did not receive the change.
    world.hooks.told.behave("dispute won dp_1", Behave::Fail);
    shop.told(dispute_is("evt_c", "closed", "won", 0), 500)
        .await?;
    world.hooks.told.behave("dispute won dp_1", Behave::Well);
    let elsewhere = world.shop().await?;
    for event in [
        refund_is("evt_d", "refund.updated", "succeeded"),
        refund_is("evt_e", "refund.updated", "pending"),
        dispute_is("evt_f", "created", "needs_response", 0),
        dispute_is("evt_g", "closed", "won", 0),
    ] {
        elsewhere.told(event, 200).await?;
    }
    world
        .did([
            "succeeded pi_1",
            "refunded re_1",
            "dispute opened dp_1",
            "dispute won dp_1",
        ])
        .await
}
