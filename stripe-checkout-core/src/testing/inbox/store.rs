//! Stored data, how it is found, and which event runs next.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;

use super::subject::Subject;
use super::world::{
    Behave, HOUR, PRICE, Told, World, check, disputed, done, fails, fails_for_good, intent,
    new_event, order_key, row, same, scope, stored, superseded, tea, terms, took,
};
use crate::error::BoxError;
use crate::fulfillment::{
    Cause, EventFilter, EventState, FulfillmentStatus, Inbox, InboxExt as _, IntentRecord,
    IntentState, OrderKey, PaymentRecord, PendingNote, RequestState, Stepped, Verdict, Which,
};
use crate::secret::Mode;
use crate::testing::EventBody;
use crate::{Amount, Currency};

super::case::cases! {
    "an event is stored as it came" => as_it_came,
    "an event that is known is not stored again" => known,
    "an event that comes by 20 ways at once is stored once" => twenty_ways,
    "the event that has been due for the longest time comes first" => longest_due,
    "a due event is one process's only" => leased,
    "nobody's turn is nobody's turn" => nothing_due,
    "another application and the other mode are never seen" => scopes,
    "of 20 who write an order's row one wins each time" => one_winner,
    "an order's row is read as it was written" => row_as_written,
    "an order of a connected account is another order" => accounts,
    "a hook's decision about the order's row is kept" => decided_row,
    "an order's row that was replaced meanwhile learns only that it is paid" => decided_meanwhile,
    "an order is found by its payment, present or earlier, or named by an event" => found_by_payment,
    "events are found by payment and state, the newest first, and not more than wanted" => filter,
    "bodies go when events are over, and stay while somebody may need them" => bodies,
    "no stored body holds a client secret" => no_client_secret,
    "what is decided about a payment is kept" => decided_payment,
}

async fn as_it_came<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let mut event = new_event("evt_1' OR 1=1;--", "pi_ü", true);
    event.event_type = "payment_intent.\"odd\"".to_owned();
    event.order = Some(OrderKey {
        scope: tea(),
        account: Some("acct_1".to_owned()),
        reference: "№ 7/'\"\\".to_owned(),
    });
    // JSON may contain a zero character, and a database may not accept it.
    event.body = "{\"a\":\"\\u0000 ☕ \u{1F600}\",\n \"b\": \"' \\\\ ?1 $1\"}".into();
    event.received = SystemTime::now() - 3 * HOUR;
    let returned = inbox.receive(event.clone()).await?;
    let read = inbox
        .event(&tea(), &event.id)
        .await?
        .ok_or("it is not there")?;
    for record in [returned, read] {
        same("id", &record.id, &event.id)?;
        same("scope", &record.scope, &event.scope)?;
        same("type", &record.event_type, &event.event_type)?;
        same("payment", &record.payment, &event.payment)?;
        same("order", &record.order, &event.order)?;
        same("ours, settles", (record.ours, record.settles), (true, true))?;
        same("body", &record.body, &event.body)?;
        same(
            "state",
            (record.state, record.attempts),
            (EventState::Pending, 0),
        )?;
        same("error", record.last_error, None::<String>)?;
        let apart = record.received.duration_since(event.received);
        let apart = apart.unwrap_or_else(|before| before.duration());
        check(
            apart < Duration::from_millis(2),
            format!("received {apart:?} apart"),
        )?;
        check(record.due <= SystemTime::now(), "it is not due at once")?;
    }
    let mut bare = new_event("evt_2", "-", false);
    (bare.payment, bare.ours) = (None, false);
    inbox.receive(bare).await?;
    let bare = stored(&inbox, "evt_2").await?;
    same(
        "nobody's",
        (bare.payment, bare.order, bare.ours, bare.settles),
        (None, None, false, false),
    )?;
    let step = inbox
        .step(&tea(), Which::Now("evt_2"), terms(), &world.script(done))
        .await?;
    same(
        "it did",
        took(&step),
        Some(("evt_2", Stepped::Now(EventState::Done))),
    )
}

async fn known<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let first = inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    inbox
        .step(&tea(), Which::Now("evt_1"), terms(), &world.script(fails))
        .await?;
    let mut again = new_event("evt_1", "pi_2", false);
    again.note = Some(PendingNote::RefundedTotal(1));
    again.body = "{}".into();
    let found = world.open().await.receive(again).await?;
    same("its payment", found.payment.as_deref(), Some("pi_1"))?;
    same("its body", &found.body, &first.body)?;
    same("its attempts", (found.attempts, found.settles), (1, true))?;
    check(found.due > SystemTime::now(), "it is due again")?;
    same(
        "noted",
        inbox.payment(&tea(), "pi_2").await?.unwrap_or_default(),
        PaymentRecord::default(),
    )?;
    inbox
        .step(&tea(), Which::Now("evt_1"), terms(), &world.script(done))
        .await?;
    let found = inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    same("it is", found.state, EventState::Done)
}

async fn twenty_ways<S: Subject>(world: World<S>) -> Told {
    let inboxes = [Arc::new(world.open().await), Arc::new(world.open().await)];
    let mut running = JoinSet::new();
    for (n, inbox) in inboxes.iter().cycle().take(20).enumerate() {
        let inbox = Arc::clone(inbox);
        let mut event = new_event("evt_1", "pi_1", true);
        event.body = format!("{{\"by\":{n}}}").into();
        running.spawn(async move { inbox.receive(event).await.map(|stored| stored.body) });
    }
    let mut bodies = BTreeSet::new();
    while let Some(ended) = running.join_next().await {
        bodies.insert(ended??);
    }
    same("bodies", bodies.len(), 1)?;
    let all = inboxes[0].events(&EventFilter::default()).await?;
    same("events", all.len(), 1)
}

async fn longest_due<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    // Neither sorted by id, nor the newest first.
    let ids = ["evt_b", "evt_d", "evt_a", "evt_c"];
    for (n, id) in (0..).zip(ids) {
        let mut event = new_event(id, &format!("pi_{id}"), true);
        event.received = SystemTime::now() - HOUR + Duration::from_secs(n);
        inbox.receive(event).await?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // The second one failed and is due again, later than all that have not run.
    let failing = world.script(|_, _| Verdict::Failed {
        cause: Cause::Handler,
        error: "no paper".to_owned(),
        again: Some(Duration::ZERO),
    });
    inbox
        .step(&tea(), Which::Now("evt_d"), terms(), &failing)
        .await?;
    let script = world.script(done);
    for _ in 0..4 {
        // The pause ends by a clock that may tick in milliseconds.
        tokio::time::sleep(Duration::from_millis(2)).await;
        inbox.step(&tea(), Which::Due, terms(), &script).await?;
    }
    same("ran", script.ran(), ["evt_b", "evt_a", "evt_c", "evt_d"])
}

async fn leased<S: Subject>(world: World<S>) -> Told {
    let inboxes = [Arc::new(world.open().await), Arc::new(world.open().await)];
    for n in 0..10 {
        let id = format!("evt_{n}");
        inboxes[0]
            .receive(new_event(&id, &format!("pi_{n}"), true))
            .await?;
    }
    let script = Arc::new(world.script(fails));
    let mut running = JoinSet::new();
    for inbox in inboxes.iter().cycle().take(16) {
        let (inbox, script) = (Arc::clone(inbox), Arc::clone(&script));
        running.spawn(async move {
            let step = inbox.step(&tea(), Which::Due, terms(), &*script).await?;
            Ok::<_, BoxError>(step.map(|step| step.event.id))
        });
    }
    let mut taken = Vec::new();
    while let Some(ended) = running.join_next().await {
        taken.extend(ended??);
    }
    // Each event ran once; the steps that came when all were taken found nothing.
    taken.sort();
    let expected: Vec<_> = (0..10).map(|n| format!("evt_{n}")).collect();
    same("taken", taken, &expected[..])?;
    same("ran", script.ran().len(), 10)
}

async fn nothing_due<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let script = world.script(done);
    let nobody = None::<(&str, Stepped)>;
    same(
        "empty",
        took(&inbox.step(&tea(), Which::Due, terms(), &script).await?),
        nobody,
    )?;
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    let step = inbox.step(&tea(), Which::Due, terms(), &script).await?;
    let done = Stepped::Now(EventState::Done);
    same("one", took(&step), Some(("evt_1", done)))?;
    let found = step.map(|step| step.event.state);
    same("as it was found", found, Some(EventState::Pending))?;
    same(
        "over",
        took(&inbox.step(&tea(), Which::Due, terms(), &script).await?),
        nobody,
    )?;
    let step = inbox
        .step(&tea(), Which::Now("evt_1"), terms(), &script)
        .await?;
    let already = Stepped::Already(EventState::Done);
    same("now", took(&step), Some(("evt_1", already)))?;
    same("ran", script.ran(), ["evt_1"])
}

async fn scopes<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let others = [scope("coffee", Mode::Test), scope("tea", Mode::Live)];
    let script = world.script(done);
    for theirs in &others {
        let key = OrderKey {
            scope: theirs.clone(),
            ..order_key("order-1")
        };
        let mut event = new_event("evt_1", "pi_1", true);
        event.scope = theirs.clone();
        event.order = Some(key.clone());
        event.note = Some(disputed("dp_1", "needs_response"));
        inbox.receive(event).await?;
        check(
            inbox.put_intent(&key, None, row("pi_1")).await?,
            "not written",
        )?;
    }
    let ours = tea();
    check(
        inbox.event(&ours, "evt_1").await?.is_none(),
        "the event is seen",
    )?;
    check(
        inbox.intent(&order_key("order-1")).await?.is_none(),
        "the row is seen",
    )?;
    check(
        inbox.intent_of_payment(&ours, "pi_1").await?.is_none(),
        "the payment's order is seen",
    )?;
    same(
        "the payment",
        inbox.payment(&ours, "pi_1").await?.unwrap_or_default(),
        PaymentRecord::default(),
    )?;
    let filter = EventFilter {
        scope: Some(ours.clone()),
        ..EventFilter::default()
    };
    same("events", inbox.events(&filter).await?.len(), 0)?;
    same(
        "of all",
        inbox.events(&EventFilter::default()).await?.len(),
        2,
    )?;
    let step = inbox.step(&ours, Which::Due, terms(), &script).await?;
    same("due", took(&step), None::<(&str, Stepped)>)?;
    // The same ids belong to other events, other orders and other payments.
    inbox.receive(new_event("evt_1", "pi_1", true)).await?;
    let step = inbox.step(&ours, Which::Due, terms(), &script).await?;
    same(
        "ours",
        took(&step),
        Some(("evt_1", Stepped::Now(EventState::Done))),
    )?;
    check(
        inbox
            .put_intent(&order_key("order-1"), None, row("pi_2"))
            .await?,
        "not written",
    )?;
    for theirs in &others {
        let event = inbox
            .event(theirs, "evt_1")
            .await?
            .ok_or("theirs is gone")?;
        same(
            "theirs",
            (event.state, event.scope),
            (EventState::Pending, theirs.clone()),
        )?;
        let payment = inbox.payment(theirs, "pi_1").await?.unwrap_or_default();
        same(
            "their payment",
            (payment.success, payment.disputed()),
            (FulfillmentStatus::Pending, true),
        )?;
        let found = inbox.intent_of_payment(theirs, "pi_1").await?;
        same(
            "their order",
            found.map(|(key, _)| key.scope).as_ref(),
            Some(theirs),
        )?;
        let step = inbox.step(theirs, Which::Due, terms(), &script).await?;
        same("their turn", took(&step).map(|(id, _)| id), Some("evt_1"))?;
    }
    Ok(())
}

async fn one_winner<S: Subject>(world: World<S>) -> Told {
    let inboxes = [Arc::new(world.open().await), Arc::new(world.open().await)];
    let order = order_key("order-1");
    for round in 0..3_u64 {
        let expected = (round > 0).then_some(round);
        let mut running = JoinSet::new();
        for (n, inbox) in inboxes.iter().cycle().take(20).enumerate() {
            let (inbox, order) = (Arc::clone(inbox), order.clone());
            let payment = format!("pi_{round}_{n}");
            running.spawn(async move {
                let won = inbox.put_intent(&order, expected, row(&payment)).await?;
                Ok::<_, BoxError>(won.then_some(payment))
            });
        }
        let mut winners = Vec::new();
        while let Some(ended) = running.join_next().await {
            winners.extend(ended??);
        }
        same("winners", winners.len(), 1)?;
        let stored = inboxes[1].intent(&order).await?.ok_or("no row")?;
        same("version", stored.version, round + 1)?;
        same("payment", stored.payment.as_ref(), winners.first())?;
    }
    for wrong in [None, Some(2), Some(4), Some(0)] {
        check(
            !inboxes[0].put_intent(&order, wrong, row("pi_x")).await?,
            format!("written over {wrong:?}"),
        )?;
    }
    let missing = order_key("order-2");
    for wrong in [Some(0), Some(1)] {
        check(
            !inboxes[0].put_intent(&missing, wrong, row("pi_x")).await?,
            "written where no row was",
        )?;
    }
    check(
        inboxes[0].intent(&missing).await?.is_none(),
        "a row came from nowhere",
    )
}

async fn row_as_written<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let order = order_key("№ 7/'\"\\");
    let states = [
        (IntentState::Creating, RequestState::Sending),
        (IntentState::Open, RequestState::Sent),
        (IntentState::Processing, RequestState::OrderCanceled),
        (IntentState::Paid, RequestState::Sent),
        (IntentState::Canceled, RequestState::OrderCanceled),
    ];
    for (version, (state, request)) in (0..).zip(states) {
        let last = state == IntentState::Canceled;
        let record = IntentRecord {
            // The inbox sets the version, whatever the record contains.
            version: 77,
            attempt: 7,
            asked: Amount::new(99_999_999, Currency::JPY),
            payment: (!last).then(|| "pi_1".to_owned()),
            secret_hash: last.then(|| "ab".repeat(32)),
            request,
            state,
            paid_by: (state == IntentState::Paid).then(|| "pi_0".to_owned()),
            declines: 3,
            capture: last.then_some(99_999_998),
            ..row("pi_1")
        };
        let expected = (version > 0).then_some(version);
        check(
            inbox.put_intent(&order, expected, record.clone()).await?,
            "not written",
        )?;
        let read = world.open().await.intent(&order).await?;
        same(
            "read",
            read,
            Some(IntentRecord {
                version: version + 1,
                ..record
            }),
        )?;
    }
    Ok(())
}

async fn accounts<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let ours = order_key("order-1");
    let account = |name: &str| OrderKey {
        account: Some(name.to_owned()),
        ..ours.clone()
    };
    let keys = [ours.clone(), account("acct_1"), account("acct_2")];
    for (n, key) in keys.iter().enumerate() {
        check(
            inbox.put_intent(key, None, row(&format!("pi_{n}"))).await?,
            format!("{key:?} is there"),
        )?;
    }
    for (n, key) in keys.iter().enumerate() {
        let payment = format!("pi_{n}");
        let found = inbox.intent_of_payment(&tea(), &payment).await?;
        same("found", found.map(|(key, _)| key).as_ref(), Some(key))?;
        let row = inbox.intent(key).await?.ok_or("no row")?;
        same("its payment", row.payment, Some(payment))?;
    }
    Ok(())
}

fn pays(event: &crate::fulfillment::EventRecord, payment: &PaymentRecord) -> Verdict {
    let mut after = row("pi_1");
    after.version = 1;
    after.state = IntentState::Paid;
    after.paid_by = event.payment.clone();
    Verdict::Done {
        payment: PaymentRecord {
            success: FulfillmentStatus::Fulfilled,
            ..payment.clone()
        },
        intent: Some(after),
    }
}

async fn decided_row<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let order = order_key("order-1");
    inbox.put_intent(&order, None, row("pi_1")).await?;
    let mut event = new_event("evt_1", "pi_1", true);
    event.order = Some(order.clone());
    inbox.receive(event).await?;
    inbox
        .step(&tea(), Which::Due, terms(), &world.script(pays))
        .await?;
    let after = inbox.intent(&order).await?.ok_or("no row")?;
    let expected = IntentRecord {
        version: 2,
        state: IntentState::Paid,
        paid_by: Some("pi_1".to_owned()),
        ..row("pi_1")
    };
    same("the row", after, expected)?;
    check(
        !inbox.put_intent(&order, Some(1), row("pi_2")).await?,
        "it was written over",
    )
}

async fn decided_meanwhile<S: Subject>(world: World<S>) -> Told {
    if world.subject.one_writer() {
        return Ok(());
    }
    let inbox = Arc::new(world.open().await);
    let order = order_key("order-1");
    inbox.put_intent(&order, None, row("pi_1")).await?;
    let mut event = new_event("evt_1", "pi_1", true);
    event.order = Some(order.clone());
    inbox.receive(event).await?;
    let script = Arc::new(world.script(pays).hangs());
    let hanging = tokio::spawn({
        let (inbox, script) = (Arc::clone(&inbox), Arc::clone(&script));
        async move { inbox.step(&tea(), Which::Due, terms(), &*script).await }
    });
    script.gate.started().await?;
    // It writes now, or it waits for the handler and then loses. Both are right; a row that forgets
    // one of the two is wrong.
    let replacing = tokio::spawn({
        let (inbox, order) = (Arc::clone(&inbox), order.clone());
        async move { inbox.put_intent(&order, Some(1), row("pi_2")).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    script.gate.open();
    hanging.await??;
    let replaced = replacing.await??;
    let after = inbox.intent(&order).await?.ok_or("no row")?;
    same("paid by", after.paid_by.as_deref(), Some("pi_1"))?;
    let payment = if replaced { "pi_2" } else { "pi_1" };
    same("payment", after.payment.as_deref(), Some(payment))?;
    same("version", after.version, if replaced { 3 } else { 2 })
}

async fn found_by_payment<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let order = order_key("order-1");
    inbox.put_intent(&order, None, row("pi_1")).await?;
    inbox.put_intent(&order, Some(1), row("pi_2")).await?;
    let mut paid = row("pi_2");
    paid.paid_by = Some("pi_3".to_owned());
    inbox.put_intent(&order, Some(2), paid).await?;
    let mut event = new_event("evt_1", "pi_4", false);
    event.order = Some(order.clone());
    inbox.receive(event).await?;
    let other = world.open().await;
    for payment in ["pi_1", "pi_2", "pi_3", "pi_4"] {
        let found = other.intent_of_payment(&tea(), payment).await?;
        let found = found.map(|(key, row)| (key, row.version));
        same(payment, found, Some((order.clone(), 3)))?;
    }
    check(
        other.intent_of_payment(&tea(), "pi_5").await?.is_none(),
        "pi_5 belongs to nobody",
    )?;
    // An order that only an event names has no row, and its payment finds none.
    let mut event = new_event("evt_2", "pi_6", false);
    event.order = Some(order_key("order-6"));
    inbox.receive(event).await?;
    check(
        other.intent_of_payment(&tea(), "pi_6").await?.is_none(),
        "there is no row",
    )
}

async fn filter<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let began = SystemTime::now() - HOUR;
    for (n, id) in (0..).zip(["evt_c", "evt_a", "evt_e", "evt_b", "evt_d"]) {
        let payment = if n % 2 == 0 { "pi_even" } else { "pi_odd" };
        let mut event = new_event(id, payment, false);
        event.received = began + Duration::from_secs(n);
        inbox.receive(event).await?;
    }
    inbox
        .step(&tea(), Which::Now("evt_e"), terms(), &world.script(done))
        .await?;
    inbox
        .step(
            &tea(),
            Which::Now("evt_a"),
            terms(),
            &world.script(fails_for_good),
        )
        .await?;
    let newest = || EventFilter::default();
    let cases: [(&str, EventFilter, &[&str]); 8] = [
        (
            "all",
            newest(),
            &["evt_d", "evt_b", "evt_e", "evt_a", "evt_c"],
        ),
        ("two", newest().limit(2), &["evt_d", "evt_b"]),
        ("none", newest().limit(0), &[]),
        ("odd", newest().payment("pi_odd"), &["evt_b", "evt_a"]),
        (
            "pending",
            newest().state(EventState::Pending),
            &["evt_d", "evt_b", "evt_c"],
        ),
        ("done", newest().state(EventState::Done), &["evt_e"]),
        ("dead", newest().state(EventState::Dead), &["evt_a"]),
        (
            "all of it",
            newest()
                .payment("pi_even")
                .state(EventState::Pending)
                .limit(1),
            &["evt_d"],
        ),
    ];
    for (name, filter, expected) in cases {
        let found = inbox.events(&filter).await?;
        let found: Vec<_> = found.iter().map(|event| event.id.as_str()).collect();
        same(name, found, expected)?;
    }
    Ok(())
}

async fn bodies<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let mismatch = |_: &_, payment: &PaymentRecord| Verdict::Mismatch {
        payment: payment.clone(),
        reason: "too little".to_owned(),
    };
    type Script = fn(&crate::fulfillment::EventRecord, &PaymentRecord) -> Verdict;
    let cases: [(&str, Option<Script>, bool); 6] = [
        ("evt_new", None, true),
        ("evt_failed", Some(fails), true),
        ("evt_dead", Some(fails_for_good), true),
        ("evt_mismatch", Some(mismatch), true),
        ("evt_done", Some(done), false),
        ("evt_superseded", Some(superseded), false),
    ];
    for (id, verdict, kept) in cases {
        inbox
            .receive(new_event(id, &format!("pi_{id}"), true))
            .await?;
        if let Some(verdict) = verdict {
            inbox
                .step(&tea(), Which::Now(id), terms(), &world.script(verdict))
                .await?;
        }
        let body = stored(&inbox, id).await?.body;
        same(id, !body.is_empty(), kept)?;
    }
    inbox.discard(&tea(), "evt_dead", terms().patience).await?;
    same("discarded", stored(&inbox, "evt_dead").await?.body.len(), 0)
}

async fn no_client_secret<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    world.hooks.told.all(Behave::Fail);
    let secret = "pi_1_secret_YrKJUKribcBjcG8HVhfZluoGH";
    let object = intent("pi_1", "order-1", "succeeded").with("client_secret", secret);
    let event = EventBody::new("payment_intent.succeeded", object.object()).id("evt_1");
    shop.told(event, 500).await?;
    let body = stored(&world.open().await, "evt_1").await?.body;
    let body = String::from_utf8_lossy(&body).into_owned();
    check(body.contains("pi_1"), "the body is not the event's")?;
    check(
        !body.contains("YrKJUKribcBjcG8HVhfZluoGH"),
        "the secret is stored",
    )
}

async fn decided_payment<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    for (n, verdict) in (0..).zip([
        (|_: &_, payment: &PaymentRecord| Verdict::Done {
            payment: PaymentRecord {
                capturable: true,
                ..payment.clone()
            },
            intent: None,
        }) as fn(&_, &PaymentRecord) -> Verdict,
        |_, payment| Verdict::Done {
            payment: PaymentRecord {
                canceled: true,
                ..payment.clone()
            },
            intent: None,
        },
        |_, payment| Verdict::Mismatch {
            payment: PaymentRecord {
                success: FulfillmentStatus::Mismatch,
                ..payment.clone()
            },
            reason: format!("{PRICE}"),
        },
    ]) {
        let id = format!("evt_{n}");
        inbox.receive(new_event(&id, "pi_1", n == 2)).await?;
        inbox
            .step(&tea(), Which::Now(&id), terms(), &world.script(verdict))
            .await?;
    }
    let payment = inbox.payment(&tea(), "pi_1").await?.unwrap_or_default();
    same(
        "capturable, canceled, success",
        (payment.capturable, payment.canceled, payment.success),
        (true, true, FulfillmentStatus::Mismatch),
    )
}
