//! Failed work is undone, kept, retried, and in the end left to an operator.
//!
//! A payment that does not match its order is not a success.

use std::time::{Duration, Instant, SystemTime};

use super::subject::Subject;
use super::world::{
    Behave, HOUR, PRICE, Told, World, check, done, fails, fails_for_good, intent, mismatched,
    new_event, news, news_of, order_key, paid, row, same, scope, stored, success_of, superseded,
    tea, terms, took, until,
};
use crate::error::InboxError;
use crate::fulfillment::{
    Cause, Due, EventFilter, EventState, FulfillmentStatus, InboxExt as _, Stepped, Terms, Verdict,
    Which,
};
use crate::secret::Mode;
use crate::testing::{EventBody, PaymentIntent};
use crate::{Amount, Currency};

super::case::cases! {
    "a failing hook writes nothing, and its failure is kept" => failure_is_kept,
    "each failure is counted, and the last one is told" => failures_count,
    "a failure is tried again by who asks for it, but is not due before its time" => backoff,
    "what failed is due after its pause" => due_after_pause,
    "the longest terms and pauses end nothing" => longest,
    "after its last attempt an event is a dead letter, and stays loud" => dead_letter,
    "a dead letter is not due" => dead_is_not_due,
    "a replayed dead letter is due at once, and has all its attempts" => replay_of_dead,
    "a replay counts the attempts of a pending event anew" => replay_of_pending,
    "a replay of a pending success leaves a mismatch alone" => replay_beside_mismatch,
    "a replayed dead letter is fulfilled, once" => replay_fulfills,
    "a dead success that comes as another event object gets its chance" => dead_gets_a_chance,
    "what is discarded never runs, nor does another event object of it" => discard,
    "who discards one copy of a success does not discard the success" => discard_a_copy,
    "who discards a copy can still replay the dead one" => discard_beside_dead,
    "another application's event does not keep a payment from being given up" => discard_in_scope,
    "a second event object does not change how a success ended" => copy_changes_nothing,
    "what is over can be neither replayed nor discarded" => over,
    "what is not there can be neither stepped, replayed nor discarded" => not_there,
    "replay and discard wait for running work" => wait_for_work,
    "a hook that panics failed" => panics,
    "a hook that passes its deadline failed" => deadline,
    "money of another amount is a mismatch, and no success" => wrong_amount,
    "money of another currency is a mismatch, and no success" => wrong_currency,
    "money that names another order is a mismatch, and no success" => wrong_order,
    "a mismatch is fulfilled by a replay when the price was mended" => mended,
    "a mismatch that is discarded is given up" => mismatch_discarded,
    "a mismatch does not pay the order" => mismatch_pays_nothing,
    "a failing mismatch hook is tried again" => mismatch_hook_fails,
    "a success that cannot be read is kept for somebody to look at" => unreadable,
    "what waits or is old news costs no attempt" => attempts_given_back,
}

async fn failure_is_kept<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    world.hooks.told.all(Behave::Fail);
    let before = SystemTime::now();
    shop.told(paid("evt_1", "pi_1"), 500).await?;
    let record = shop.record("evt_1").await?;
    same(
        "it is",
        (record.state, record.attempts),
        (EventState::Pending, 1),
    )?;
    same(
        "why",
        record.last_error.as_deref(),
        Some("the printer is out of paper"),
    )?;
    // The first pause is any time below a second.
    let slack = Duration::from_millis(50);
    check(
        record.due + slack >= before && record.due <= SystemTime::now() + Duration::from_secs(1),
        format!("due at {:?}, failed at {before:?}", record.due),
    )?;
    world.wrote([]).await?;
    let inbox = world.open().await;
    same(
        "its payment",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Pending,
    )?;
    let row = inbox.intent(&order_key("order-1")).await?;
    same("its order", row.and_then(|row| row.paid_by), None::<String>)?;
    world.hooks.told.all(Behave::Well);
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    world.did(["succeeded pi_1"]).await
}

async fn failures_count<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    let terms = Terms::new(terms().patience, HOUR, 10);
    for attempt in 1..=3 {
        let script = world.script(|event, _| Verdict::Failed {
            cause: Cause::Handler,
            error: format!("no. {} 'quoted' \"twice\" – ☕ \u{1F600}", event.attempts),
            again: Some(HOUR),
        });
        let step = inbox
            .step(&tea(), Which::Now("evt_1"), terms, &script)
            .await?;
        same("it did", took(&step), Some(("evt_1", Stepped::Failed)))?;
        let told: Vec<_> = script.events().iter().map(|event| event.attempts).collect();
        same("the hook was told", told, [attempt])?;
        let record = stored(&inbox, "evt_1").await?;
        same("attempts", record.attempts, attempt)?;
        let error = format!("no. {attempt} 'quoted' \"twice\" – ☕ \u{1F600}");
        same("the error", record.last_error, Some(error))?;
    }
    world.wrote([]).await
}

async fn backoff<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    let failing = world.script(fails);
    inbox.step(&tea(), Which::Due, terms(), &failing).await?;
    let due = stored(&inbox, "evt_1").await?.due;
    let hour = due.duration_since(SystemTime::now()).unwrap_or_default();
    let slack = Duration::from_secs(60);
    check(
        hour + slack > HOUR && hour <= HOUR,
        format!("due in {hour:?}, not in an hour"),
    )?;
    let good = world.script(done);
    let step = inbox.step(&tea(), Which::Due, terms(), &good).await?;
    same("due", took(&step), None::<(&str, Stepped)>)?;
    let step = inbox
        .step(&tea(), Which::Now("evt_1"), terms(), &good)
        .await?;
    same(
        "now",
        took(&step),
        Some(("evt_1", Stepped::Now(EventState::Done))),
    )?;
    let record = stored(&inbox, "evt_1").await?;
    same(
        "it is",
        (record.state, record.attempts),
        (EventState::Done, 2),
    )?;
    world.wrote(["evt_1"]).await
}

async fn due_after_pause<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    let pause = Duration::from_millis(400);
    let failing = world.script(|_, _| Verdict::Failed {
        cause: Cause::Handler,
        error: "no paper".to_owned(),
        again: Some(Duration::from_millis(400)),
    });
    inbox.step(&tea(), Which::Due, terms(), &failing).await?;
    let failed = Instant::now();
    let good = world.script(done);
    until("it is due", || async {
        let step = inbox.step(&tea(), Which::Due, terms(), &good).await?;
        Ok(step.is_some())
    })
    .await?;
    // The clock may be the database's, and may differ a little.
    let slack = Duration::from_millis(150);
    check(failed.elapsed() + slack >= pause, "it was due too early")?;
    same(
        "it is",
        stored(&inbox, "evt_1").await?.state,
        EventState::Done,
    )
}

async fn longest<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    for id in ["evt_1", "evt_2"] {
        inbox.receive(new_event(id, "pi_1", true)).await?;
    }
    let (longest, now) = (Duration::MAX, Which::Now("evt_1"));
    let terms = Terms::new(longest, longest, u32::MAX);
    let failing = world.script(|_, _| Verdict::Failed {
        cause: Cause::Handler,
        error: "no paper".to_owned(),
        again: Some(Duration::MAX),
    });
    let step = inbox.step(&tea(), now, terms, &failing).await?;
    same("it did", took(&step), Some(("evt_1", Stepped::Failed)))?;
    let waiting = world.script(|_, _| Verdict::Waiting {
        again: Duration::MAX,
        reason: None,
    });
    let step = inbox.step(&tea(), now, terms, &waiting).await?;
    same("it did", took(&step), Some(("evt_1", Stepped::Waiting)))?;
    check(
        stored(&inbox, "evt_1").await?.due > SystemTime::now() + HOUR,
        "it is due at once",
    )?;
    let good = world.script(done);
    let step = inbox.step(&tea(), now, terms, &good).await?;
    let done = Stepped::Now(EventState::Done);
    same("it did", took(&step), Some(("evt_1", done)))?;
    inbox.discard(&tea(), "evt_2", longest).await?;
    Ok(())
}

async fn dead_letter<S: Subject>(world: World<S>) -> Told {
    let shop = world.built(|builder| builder.max_attempts(2)).await?;
    world.hooks.told.all(Behave::Fail);
    for _ in 0..4 {
        shop.told(paid("evt_1", "pi_1"), 500).await?;
    }
    let dead = shop
        .checkout
        .events(EventFilter::default().state(EventState::Dead))
        .await?;
    let dead: Vec<_> = dead
        .iter()
        .map(|event| (event.id.as_str(), event.attempts))
        .collect();
    same("dead", dead, [("evt_1", 2)])?;
    same("begun", world.hooks.told.begun().len(), 2)?;
    same(
        "its payment",
        success_of(&world.open().await, "pi_1").await?,
        FulfillmentStatus::Dead,
    )?;
    world.wrote([]).await
}

async fn dead_is_not_due<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    let script = world.script(fails_for_good);
    let step = inbox.step(&tea(), Which::Due, terms(), &script).await?;
    same(
        "it did",
        took(&step),
        Some(("evt_1", Stepped::Now(EventState::Dead))),
    )?;
    let step = inbox.step(&tea(), Which::Due, terms(), &script).await?;
    same("due", took(&step), None::<(&str, Stepped)>)?;
    let step = inbox
        .step(&tea(), Which::Now("evt_1"), terms(), &script)
        .await?;
    same(
        "now",
        took(&step),
        Some(("evt_1", Stepped::Already(EventState::Dead))),
    )?;
    same("ran", script.ran(), ["evt_1"])?;
    same(
        "why",
        stored(&inbox, "evt_1").await?.last_error.as_deref(),
        Some("no paper"),
    )
}

async fn replay_of_dead<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    let script = world.script(fails_for_good);
    inbox.step(&tea(), Which::Due, terms(), &script).await?;
    same(
        "dead",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Dead,
    )?;
    inbox.replay(&tea(), "evt_1", terms().patience).await?;
    let record = stored(&inbox, "evt_1").await?;
    same(
        "it is",
        (record.state, record.attempts),
        (EventState::Pending, 0),
    )?;
    check(!record.body.is_empty(), "its body is gone")?;
    same(
        "its payment",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Pending,
    )?;
    let script = world.script(fails);
    let step = inbox.step(&tea(), Which::Due, terms(), &script).await?;
    same("due", took(&step), Some(("evt_1", Stepped::Failed)))?;
    same("attempts", stored(&inbox, "evt_1").await?.attempts, 1)
}

async fn replay_of_pending<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    let failing = world.script(fails);
    inbox.step(&tea(), Which::Due, terms(), &failing).await?;
    inbox
        .step(&tea(), Which::Now("evt_1"), terms(), &failing)
        .await?;
    same("attempts", stored(&inbox, "evt_1").await?.attempts, 2)?;
    inbox.replay(&tea(), "evt_1", terms().patience).await?;
    same("anew", stored(&inbox, "evt_1").await?.attempts, 0)?;
    let script = world.script(done);
    let step = inbox.step(&tea(), Which::Due, terms(), &script).await?;
    same("due", took(&step).map(|(id, _)| id), Some("evt_1"))
}

/// The handler receives a mismatch once.
///
/// The reconciler and Stripe made two event objects of one success.
async fn replay_beside_mismatch<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    for event in ["evt_1", "evt_2"] {
        inbox.receive(new_event(event, "pi_1", true)).await?;
    }
    let script = world.script(mismatched);
    inbox
        .step(&tea(), Which::Now("evt_1"), terms(), &script)
        .await?;
    inbox.replay(&tea(), "evt_2", terms().patience).await?;
    same(
        "pending",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Mismatch,
    )?;
    inbox.replay(&tea(), "evt_1", terms().patience).await?;
    same(
        "mismatched",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Pending,
    )
}

async fn replay_fulfills<S: Subject>(world: World<S>) -> Told {
    let shop = world.built(|builder| builder.max_attempts(1)).await?;
    world.hooks.told.all(Behave::Fail);
    shop.told(paid("evt_1", "pi_1"), 500).await?;
    let dead = shop.record("evt_1").await?;
    world.hooks.told.all(Behave::Well);
    shop.checkout.replay(&dead).await?;
    shop.is("evt_1", EventState::Done).await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.told(paid("evt_2", "pi_1"), 200).await?;
    same(
        "its payment",
        success_of(&world.open().await, "pi_1").await?,
        FulfillmentStatus::Fulfilled,
    )?;
    world.did(["succeeded pi_1"]).await
}

async fn dead_gets_a_chance<S: Subject>(world: World<S>) -> Told {
    let shop = world.built(|builder| builder.max_attempts(1)).await?;
    world.hooks.told.all(Behave::Fail);
    shop.told(paid("evt_1", "pi_1"), 500).await?;
    world.hooks.told.all(Behave::Well);
    shop.told(paid("evt_2", "pi_1"), 200).await?;
    let dead = shop.record("evt_1").await?;
    shop.checkout.replay(&dead).await?;
    shop.is("evt_1", EventState::Superseded).await?;
    world.did(["succeeded pi_1"]).await
}

async fn discard<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    world.hooks.told.all(Behave::Fail);
    shop.told(paid("evt_1", "pi_1"), 500).await?;
    world.hooks.told.all(Behave::Well);
    shop.checkout.discard(&shop.record("evt_1").await?).await?;
    shop.is("evt_1", EventState::Discarded).await?;
    same(
        "its payment",
        success_of(&world.open().await, "pi_1").await?,
        FulfillmentStatus::GivenUp,
    )?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.told(paid("evt_2", "pi_1"), 200).await?;
    same("due", shop.checkout.run_due().await?, false)?;
    world.did([]).await
}

async fn discard_a_copy<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    world.hooks.told.all(Behave::Fail);
    shop.told(paid("evt_1", "pi_1"), 500).await?;
    shop.told(paid("evt_2", "pi_1"), 500).await?;
    shop.checkout.discard(&shop.record("evt_2").await?).await?;
    world.hooks.told.all(Behave::Well);
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    world.did(["succeeded pi_1"]).await
}

async fn discard_beside_dead<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    for id in ["evt_1", "evt_2"] {
        inbox.receive(new_event(id, "pi_1", true)).await?;
    }
    let script = world.script(fails_for_good);
    inbox
        .step(&tea(), Which::Now("evt_1"), terms(), &script)
        .await?;
    inbox.discard(&tea(), "evt_2", terms().patience).await?;
    same(
        "beside a dead letter",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Dead,
    )?;
    inbox.discard(&tea(), "evt_1", terms().patience).await?;
    same(
        "the last one",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::GivenUp,
    )
}

async fn discard_in_scope<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    for application in ["tea", "coffee"] {
        let mut event = new_event("evt_1", "pi_1", true);
        event.id = format!("evt_{application}");
        event.scope = scope(application, Mode::Test);
        inbox.receive(event).await?;
    }
    inbox.discard(&tea(), "evt_tea", terms().patience).await?;
    same(
        "tea's",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::GivenUp,
    )?;
    let theirs = inbox.payment(&scope("coffee", Mode::Test), "pi_1").await?;
    same(
        "coffee's",
        theirs.unwrap_or_default().success,
        FulfillmentStatus::Pending,
    )
}

async fn copy_changes_nothing<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    for (n, ended) in [
        FulfillmentStatus::Fulfilled,
        FulfillmentStatus::Duplicate,
        FulfillmentStatus::Refunded,
    ]
    .into_iter()
    .enumerate()
    {
        let payment = format!("pi_{n}");
        let [first, discarded, dead] =
            ["first", "discarded", "dead"].map(|name| format!("evt_{name}_{n}"));
        for id in [&first, &discarded, &dead] {
            inbox.receive(new_event(id, &payment, true)).await?;
        }
        let script = world.script(match ended {
            FulfillmentStatus::Fulfilled => done,
            FulfillmentStatus::Duplicate => |_, payment| Verdict::Done {
                payment: crate::fulfillment::PaymentRecord {
                    success: FulfillmentStatus::Duplicate,
                    ..payment.clone()
                },
                intent: None,
            },
            _ => |_, payment| Verdict::Done {
                payment: crate::fulfillment::PaymentRecord {
                    success: FulfillmentStatus::Refunded,
                    ..payment.clone()
                },
                intent: None,
            },
        });
        inbox
            .step(&tea(), Which::Now(&first), terms(), &script)
            .await?;
        same("ended", success_of(&inbox, &payment).await?, ended)?;
        inbox.discard(&tea(), &discarded, terms().patience).await?;
        same(
            "after a copy was dropped",
            success_of(&inbox, &payment).await?,
            ended,
        )?;
        inbox
            .step(
                &tea(),
                Which::Now(&dead),
                terms(),
                &world.script(fails_for_good),
            )
            .await?;
        same(
            "after a copy died",
            success_of(&inbox, &payment).await?,
            ended,
        )?;
    }
    Ok(())
}

async fn over<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    for id in ["evt_done", "evt_superseded", "evt_discarded"] {
        inbox
            .receive(new_event(id, &format!("pi_{id}"), true))
            .await?;
    }
    let patience = terms().patience;
    inbox
        .step(&tea(), Which::Now("evt_done"), terms(), &world.script(done))
        .await?;
    inbox
        .step(
            &tea(),
            Which::Now("evt_superseded"),
            terms(),
            &world.script(superseded),
        )
        .await?;
    inbox.discard(&tea(), "evt_discarded", patience).await?;
    for state in ["done", "superseded", "discarded"] {
        let id = format!("evt_{state}");
        for refused in [
            inbox.replay(&tea(), &id, patience).await,
            inbox.discard(&tea(), &id, patience).await,
        ] {
            match refused {
                Err(InboxError::WrongState { state: told }) => same("state", told, state)?,
                other => return Err(format!("{id}: {other:?}").into()),
            }
        }
        same(&id, stored(&inbox, &id).await?.state.as_str(), state)?;
    }
    Ok(())
}

async fn not_there<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    // The other mode has an event with this id.
    let mut theirs = new_event("evt_1", "pi_1", true);
    theirs.scope = scope("tea", Mode::Live);
    inbox.receive(theirs).await?;
    let patience = terms().patience;
    for refused in [
        inbox.replay(&tea(), "evt_1", patience).await,
        inbox.discard(&tea(), "evt_1", patience).await,
    ] {
        check(
            matches!(refused, Err(InboxError::UnknownEvent)),
            format!("{refused:?}"),
        )?;
    }
    let script = world.script(done);
    let step = inbox
        .step(&tea(), Which::Now("evt_1"), terms(), &script)
        .await;
    check(
        matches!(step, Ok(None) | Err(InboxError::UnknownEvent)),
        format!("{step:?}"),
    )?;
    same("ran", script.ran().len(), 0)
}

async fn wait_for_work<S: Subject>(world: World<S>) -> Told {
    let inbox = std::sync::Arc::new(world.open().await);
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    let script = std::sync::Arc::new(world.script(done).hangs());
    let running = tokio::spawn({
        let (inbox, script) = (inbox.clone(), script.clone());
        async move { inbox.step(&tea(), Which::Due, terms(), &*script).await }
    });
    script.gate.started().await?;
    let other = world.open().await;
    let short = Duration::from_millis(100);
    for refused in [
        other.replay(&tea(), "evt_1", short).await,
        other.discard(&tea(), "evt_1", short).await,
    ] {
        check(
            matches!(refused, Err(InboxError::Busy)),
            format!("{refused:?}, not busy"),
        )?;
    }
    let discarding =
        tokio::spawn(async move { other.discard(&tea(), "evt_1", terms().patience).await });
    tokio::time::sleep(short).await;
    script.gate.open();
    running.await??;
    let refused = discarding.await?;
    check(
        matches!(refused, Err(InboxError::WrongState { state: "done" })),
        format!("{refused:?}"),
    )?;
    same(
        "its payment",
        success_of(&*inbox, "pi_1").await?,
        FulfillmentStatus::Fulfilled,
    )
}

async fn panics<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    world.hooks.told.all(Behave::Panic);
    shop.told(paid("evt_1", "pi_1"), 500).await?;
    world.wrote([]).await?;
    let record = shop.record("evt_1").await?;
    same(
        "it is",
        (record.state, record.attempts),
        (EventState::Pending, 1),
    )?;
    check(record.last_error.is_some(), "nobody is told why")?;
    world.hooks.told.all(Behave::Well);
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    world.did(["succeeded pi_1"]).await
}

async fn deadline<S: Subject>(world: World<S>) -> Told {
    let deadline = Duration::from_millis(200);
    let shop = world
        .built(|builder| builder.handler_deadline(deadline))
        .await?;
    world.hooks.told.all(Behave::Hang);
    let began = Instant::now();
    shop.told(paid("evt_1", "pi_1"), 500).await?;
    check(
        began.elapsed() < Duration::from_secs(10),
        "it ended long after its deadline",
    )?;
    world.wrote([]).await?;
    let record = shop.record("evt_1").await?;
    same(
        "it is",
        (record.state, record.attempts),
        (EventState::Pending, 1),
    )?;
    check(record.last_error.is_some(), "nobody is told why")?;
    world.hooks.told.all(Behave::Well);
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    world.did(["succeeded pi_1"]).await
}

/// A payment that does not match its order, and the state that it leaves.
async fn does_not_fit<S: Subject>(world: &World<S>, event: EventBody, why: &str) -> Told {
    let shop = world.shop().await?;
    shop.told(event.id("evt_1"), 200).await?;
    let record = shop.record("evt_1").await?;
    same(
        "it is",
        (record.state, record.attempts),
        (EventState::Mismatch, 1),
    )?;
    same("why", record.last_error.as_deref(), Some(why))?;
    check(!record.body.is_empty(), "its body is gone")?;
    same(
        "its payment",
        success_of(&world.open().await, "pi_1").await?,
        FulfillmentStatus::Mismatch,
    )?;
    // The handler receives it once, and it is not retried.
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.told(paid("evt_2", "pi_1"), 200).await?;
    same("due", shop.checkout.run_due().await?, false)?;
    world.did(["mismatch pi_1"]).await
}

async fn wrong_amount<S: Subject>(world: World<S>) -> Told {
    let due = Amount::new(9999, Currency::EUR);
    world.hooks.told.costs(Due::Exactly(due));
    does_not_fit(
        &world,
        paid("evt_1", "pi_1"),
        "the order costs 99.99 EUR, the payment is for 19.99 EUR",
    )
    .await
}

async fn wrong_currency<S: Subject>(world: World<S>) -> Told {
    // The order's own row contains the requested amount.
    let asked = Amount::new(1999, Currency::USD);
    let mut row = row("pi_1");
    row.asked = asked;
    world
        .open()
        .await
        .put_intent(&order_key("order-1"), None, row)
        .await?;
    let unmarked = PaymentIntent::new("pi_1", PRICE)
        .metadata("order_id", "order-1")
        .status("succeeded");
    does_not_fit(
        &world,
        EventBody::new("payment_intent.succeeded", unmarked.object()),
        "the price asked was 19.99 USD, the payment is for 19.99 EUR",
    )
    .await
}

async fn wrong_order<S: Subject>(world: World<S>) -> Told {
    world
        .open()
        .await
        .put_intent(&order_key("order-1"), None, row("pi_1"))
        .await?;
    let edited = intent("pi_1", "order-2", "succeeded").object();
    let event = EventBody::new("payment_intent.succeeded", edited);
    does_not_fit(&world, event, "made for order order-1, names order order-2").await
}

async fn mended<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    world
        .hooks
        .told
        .costs(Due::Exactly(Amount::new(1, Currency::EUR)));
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    world.hooks.told.costs(Due::Exactly(PRICE));
    shop.checkout.replay(&shop.record("evt_1").await?).await?;
    shop.is("evt_1", EventState::Done).await?;
    let inbox = world.open().await;
    same(
        "its payment",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Fulfilled,
    )?;
    let row = inbox.intent(&order_key("order-1")).await?;
    same(
        "its order",
        row.and_then(|row| row.paid_by).as_deref(),
        Some("pi_1"),
    )?;
    world.did(["mismatch pi_1", "succeeded pi_1"]).await
}

async fn mismatch_discarded<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    world
        .hooks
        .told
        .costs(Due::Exactly(Amount::new(1, Currency::EUR)));
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.checkout.discard(&shop.record("evt_1").await?).await?;
    world.hooks.told.costs(Due::AsAsked);
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.told(paid("evt_2", "pi_1"), 200).await?;
    same(
        "its payment",
        success_of(&world.open().await, "pi_1").await?,
        FulfillmentStatus::GivenUp,
    )?;
    world.did(["mismatch pi_1"]).await
}

async fn mismatch_pays_nothing<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    world
        .hooks
        .told
        .costs(Due::Exactly(Amount::new(1, Currency::EUR)));
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    world.hooks.told.costs(Due::Exactly(PRICE));
    shop.told(news_of("succeeded", "pi_2", "order-1"), 200)
        .await?;
    world.did(["mismatch pi_1", "succeeded pi_2"]).await
}

async fn mismatch_hook_fails<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    world
        .hooks
        .told
        .costs(Due::Exactly(Amount::new(1, Currency::EUR)));
    world.hooks.told.all(Behave::Fail);
    shop.told(paid("evt_1", "pi_1"), 500).await?;
    shop.is("evt_1", EventState::Pending).await?;
    world.wrote([]).await?;
    world.hooks.told.all(Behave::Well);
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.is("evt_1", EventState::Mismatch).await?;
    world.did(["mismatch pi_1"]).await
}

async fn unreadable<S: Subject>(world: World<S>) -> Told {
    world
        .open()
        .await
        .put_intent(&order_key("order-1"), None, row("pi_1"))
        .await?;
    let shop = world.shop().await?;
    let odd = intent("pi_1", "order-1", "succeeded")
        .with("amount_received", "1999")
        .object();
    let event = EventBody::new("payment_intent.succeeded", odd).id("evt_1");
    shop.told(event, 200).await?;
    let record = shop.record("evt_1").await?;
    same("it is", record.state, EventState::Mismatch)?;
    check(
        !record.body.is_empty() && record.last_error.is_some(),
        "nobody can look at it",
    )?;
    world.did(["event payment_intent.succeeded"]).await
}

async fn attempts_given_back<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    for id in ["evt_1", "evt_2"] {
        inbox
            .receive(new_event(id, &format!("pi_{id}"), false))
            .await?;
    }
    let no_reason = world.script(|_, _| Verdict::Waiting {
        again: HOUR * 3,
        reason: None,
    });
    let reason = "it cannot be checked";
    let waiting = world.script(|_, _| Verdict::Waiting {
        again: HOUR * 3,
        reason: Some("it cannot be checked".to_owned()),
    });
    for (script, error) in [
        (&no_reason, None),
        (&waiting, Some(reason)),
        (&waiting, Some(reason)),
        (&no_reason, Some(reason)),
    ] {
        let step = inbox
            .step(&tea(), Which::Now("evt_1"), terms(), script)
            .await?;
        same("it did", took(&step), Some(("evt_1", Stepped::Waiting)))?;
        let record = stored(&inbox, "evt_1").await?;
        same("the reason", record.last_error.as_deref(), error)?;
        same(
            "it is",
            (record.state, record.attempts),
            (EventState::Pending, 0),
        )?;
        // The event is due after its own pause, not when the lease would have ended.
        let later = SystemTime::now() + HOUR * 2;
        let is_then = record.due > later && record.due < later + HOUR * 2;
        check(is_then, format!("due at {:?}", record.due))?;
    }
    let old = world.script(superseded);
    let step = inbox.step(&tea(), Which::Due, terms(), &old).await?;
    let now = Stepped::Now(EventState::Superseded);
    same("due", took(&step), Some(("evt_2", now)))?;
    same("attempts", stored(&inbox, "evt_2").await?.attempts, 0)?;
    let shop = world.shop().await?;
    shop.told(news("processing", "pi_9"), 200).await
}
