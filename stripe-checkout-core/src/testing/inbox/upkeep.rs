//! Counting and deleting events, looking for unreported payments, and bookmarks.

use std::time::{Duration, SystemTime};

use super::subject::Subject;
use super::world::{
    HOUR, PRICE, Told, World, check, disputed, done, fails, fails_for_good, mismatched, new_event,
    news, news_of, order_key, paid, row, same, scope, stored, success_of, tea, terms,
};
use crate::error::BoxError;
use crate::fulfillment::{
    EventFilter, EventRecord, EventState, FulfillmentStatus, Inbox, InboxExt as _, IntentRecord,
    IntentState, NewEvent, OrderKey, PaymentRecord, PendingNote, Stats, Verdict, Which,
};
use crate::secret::Mode;
use crate::testing::{EventBody, refund};

super::case::cases! {
    "events are counted by state, each application and mode for itself" => counted,
    "what is due and what is the oldest is told" => due_and_oldest,
    "a payment that is paid and not fulfilled is told until it is" => unfulfilled,
    "a payment whose success died and came by another event is fulfilled" => fulfilled_after_all,
    "an order that was paid twice is told until the money goes back" => paid_twice,
    "a payment that was refunded before it was fulfilled counts for a day" => refunded_before,
    "what is done or superseded long ago is forgotten, in batches" => forgotten,
    "what is pending, dead, mismatched or discarded is never forgotten" => never_forgotten,
    "a success that was forgotten does not run again" => not_again,
    "what forgotten events said of money that went back stays known" => notes_stay,
    "of two things that were said of a dispute the later one stays" => later_note_stays,
    "another application's events are not forgotten" => others_stay,
    "orders that may still be paid are listed, each once" => open_orders,
    "orders that nobody touched for long are not listed, those on their way are" => untouched_orders,
    "orders without a payment, paid ones and canceled ones are not listed" => closed_orders,
    "the accounts with an order that changed lately are listed in pages, each once" => accounts,
    "a bookmark is replaced only by a writer that knows it, for each application, mode and name" => bookmarks,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn ago(time: Duration) -> SystemTime {
    SystemTime::now() - time
}

/// An event that arrived this many days ago.
fn old(id: &str, payment: &str, settles: bool, days: u32) -> NewEvent {
    let mut event = new_event(id, payment, settles);
    event.received = ago(DAY * days);
    event
}

/// An event that was processed this many days ago.
async fn dealt_with<S: Subject>(
    world: &World<S>,
    inbox: &S::Inbox,
    event: NewEvent,
    verdict: fn(&EventRecord, &PaymentRecord) -> Verdict,
) -> Told {
    let id = event.id.clone();
    inbox.receive(event).await?;
    let script = world.script(verdict);
    let step = inbox
        .step(&tea(), Which::Now(&id), terms(), &script)
        .await?;
    check(step.is_some(), format!("{id} did not run"))
}

fn counts(stats: &Stats) -> [u64; 6] {
    [
        EventState::Pending,
        EventState::Done,
        EventState::Superseded,
        EventState::Mismatch,
        EventState::Dead,
        EventState::Discarded,
    ]
    .map(|state| stats.count(state))
}

async fn counted<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    same("nothing", inbox.stats(&tea()).await?, Stats::default())?;
    for (id, verdict) in [
        ("evt_1", done as fn(&EventRecord, &PaymentRecord) -> Verdict),
        ("evt_2", done),
        ("evt_3", super::world::superseded),
        ("evt_4", mismatched),
        ("evt_5", fails_for_good),
        ("evt_6", fails),
        ("evt_7", fails),
    ] {
        dealt_with(&world, &inbox, new_event(id, id, false), verdict).await?;
    }
    inbox.discard(&tea(), "evt_7", HOUR).await?;
    inbox.receive(new_event("evt_8", "pi_8", false)).await?;
    for (application, mode) in [("tea", Mode::Live), ("coffee", Mode::Test)] {
        let mut event = new_event("evt_1", "pi_1", true);
        event.scope = scope(application, mode);
        inbox.receive(event).await?;
    }
    let stats = world.open().await.stats(&tea()).await?;
    same("counts", counts(&stats), [2, 2, 1, 1, 1, 1])?;
    let live = inbox.stats(&scope("tea", Mode::Live)).await?;
    same("live", counts(&live), [1, 0, 0, 0, 0, 0])
}

async fn due_and_oldest<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(old("evt_1", "pi_1", false, 3)).await?;
    inbox.receive(old("evt_2", "pi_2", false, 2)).await?;
    inbox.receive(old("evt_3", "pi_3", false, 1)).await?;
    let stats = inbox.stats(&tea()).await?;
    same("due", stats.due, 3)?;
    let oldest = stored(&inbox, "evt_1").await?.received;
    same("oldest", stats.oldest_pending, Some(oldest))?;
    // The failed one is pending, and not due before its pause is over.
    for (id, verdict) in [
        ("evt_1", done as fn(&EventRecord, &PaymentRecord) -> Verdict),
        ("evt_2", fails),
    ] {
        let script = world.script(verdict);
        inbox.step(&tea(), Which::Now(id), terms(), &script).await?;
    }
    let stats = inbox.stats(&tea()).await?;
    same(
        "pending, due",
        (stats.count(EventState::Pending), stats.due),
        (2, 1),
    )?;
    let oldest = stored(&inbox, "evt_2").await?.received;
    same("then the oldest", stats.oldest_pending, Some(oldest))?;
    // None of them is a success.
    same("unfulfilled", stats.unfulfilled, 0)
}

async fn unfulfilled<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    inbox.receive(old("evt_1", "pi_1", true, 2)).await?;
    inbox.receive(old("evt_1_again", "pi_1", true, 1)).await?;
    inbox.receive(old("evt_2", "pi_2", true, 1)).await?;
    let told = async || {
        let stats = inbox.stats(&tea()).await?;
        Ok::<_, BoxError>((stats.unfulfilled, stats.unfulfilled_since))
    };
    let since = async |id| Ok::<_, BoxError>(Some(stored(&inbox, id).await?.received));
    same("two payments", told().await?, (2, since("evt_1").await?))?;
    for (id, verdict) in [
        ("evt_1", done as fn(&EventRecord, &PaymentRecord) -> Verdict),
        ("evt_2", fails_for_good),
    ] {
        let script = world.script(verdict);
        inbox.step(&tea(), Which::Now(id), terms(), &script).await?;
    }
    // The first payment is fulfilled, although a second event object of its success still waits.
    // The second payment's success is a dead letter.
    same("a dead one", told().await?, (1, since("evt_2").await?))?;
    inbox.discard(&tea(), "evt_2", HOUR).await?;
    same("given up", told().await?, (0, None))
}

async fn fulfilled_after_all<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let first = new_event("evt_1", "pi_1", true);
    dealt_with(&world, &inbox, first, fails_for_good).await?;
    same("dead", inbox.stats(&tea()).await?.unfulfilled, 1)?;
    let second = new_event("evt_2", "pi_1", true);
    dealt_with(&world, &inbox, second, done).await?;
    let stats = inbox.stats(&tea()).await?;
    same(
        "unfulfilled, dead",
        (stats.unfulfilled, stats.count(EventState::Dead)),
        (0, 1),
    )
}

async fn paid_twice<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.told(paid("evt_2", "pi_2"), 200).await?;
    let inbox = world.open().await;
    let twice = async || Ok::<_, BoxError>(inbox.stats(&tea()).await?.duplicate_payments);
    same("paid twice", twice().await?, 1)?;
    // A refund of the first payment changes nothing.
    for (payment, left) in [("pi_1", 1), ("pi_2", 0)] {
        let back = refund(&format!("re_{payment}"), payment, PRICE);
        let event = EventBody::new("refund.created", back);
        shop.told(event.id(&format!("evt_of_{payment}")), 200)
            .await?;
        same(payment, twice().await?, left)?;
    }
    world
        .did([
            "succeeded pi_1",
            "duplicate pi_2",
            "refunded re_pi_1",
            "refunded re_pi_2",
        ])
        .await
}

async fn refunded_before<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    let back = refund("re_1", "pi_1", PRICE);
    let event = EventBody::new("refund.created", back).id("evt_re");
    // The payment is not known yet: the refund only waits for the success.
    shop.told(event.clone(), 503).await?;
    let inbox = world.open().await;
    let count = async || Ok::<_, BoxError>(inbox.stats(&tea()).await?.refunded_before_fulfillment);
    same("before the success", count().await?, 0)?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    same("after the success", count().await?, 1)?;
    // Two events of one success are one payment, and other payments do not count.
    shop.told(paid("evt_2", "pi_1"), 200).await?;
    shop.told(paid("evt_3", "pi_2"), 200).await?;
    same("another payment", count().await?, 1)
}

async fn forgotten<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    for (number, verdict) in [done, done, super::world::superseded, done, done]
        .into_iter()
        .enumerate()
    {
        let (id, payment) = (format!("evt_{number}"), format!("pi_{number}"));
        dealt_with(&world, &inbox, old(&id, &payment, number == 1, 40), verdict).await?;
    }
    dealt_with(&world, &inbox, old("evt_new", "pi_9", true, 30), done).await?;
    let before = ago(35 * DAY);
    let mut batches = Vec::new();
    loop {
        let batch = inbox.prune(&tea(), before, 2).await?;
        batches.push(batch);
        if batch == 0 {
            break;
        }
    }
    same("batches", batches, [2, 2, 1, 0])?;
    let left = inbox.events(&EventFilter::default()).await?;
    same("left", left.len(), 1)?;
    stored(&inbox, "evt_new").await.map(drop)
}

async fn never_forgotten<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    for (id, verdict) in [
        (
            "evt_1",
            mismatched as fn(&EventRecord, &PaymentRecord) -> Verdict,
        ),
        ("evt_2", fails_for_good),
        ("evt_3", fails),
        ("evt_4", fails),
    ] {
        dealt_with(&world, &inbox, old(id, id, true, 400), verdict).await?;
    }
    inbox.discard(&tea(), "evt_4", HOUR).await?;
    inbox.receive(old("evt_5", "pi_5", true, 400)).await?;
    same("forgotten", inbox.prune(&tea(), ago(HOUR), 100).await?, 0)?;
    same(
        "left",
        counts(&inbox.stats(&tea()).await?),
        [2, 0, 0, 1, 1, 1],
    )?;
    // And the bodies that an operator may need are still there.
    for id in ["evt_1", "evt_2", "evt_3", "evt_5"] {
        check(!stored(&inbox, id).await?.body.is_empty(), id)?;
    }
    Ok(())
}

async fn not_again<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.told(news_of("canceled", "pi_2", "order-2").id("evt_c"), 200)
        .await?;
    let inbox = world.open().await;
    let tomorrow = SystemTime::now() + DAY;
    same("forgotten", inbox.prune(&tea(), tomorrow, 10).await?, 2)?;
    // The same event again, another event of the same success, and a superseded event.
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    shop.told(paid("evt_2", "pi_1"), 200).await?;
    shop.told(news("payment_failed", "pi_1").id("evt_f"), 200)
        .await?;
    shop.told(news_of("canceled", "pi_2", "order-2").id("evt_c"), 200)
        .await?;
    for id in ["evt_1", "evt_2", "evt_f", "evt_c"] {
        shop.is(id, EventState::Superseded).await?;
    }
    // The order is still paid by the first payment.
    shop.told(paid("evt_3", "pi_3"), 200).await?;
    world
        .did(["succeeded pi_1", "canceled pi_2", "duplicate pi_3"])
        .await
}

async fn notes_stay<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let back = |id: &str, minor| PendingNote::Refund {
        id: id.to_owned(),
        amount: minor,
    };
    for (id, note) in [
        ("evt_1", back("re_1", 300)),
        // The refund failed later: no money went back.
        ("evt_2", back("re_1", 0)),
        ("evt_3", back("re_2", 200)),
        ("evt_4", PendingNote::RefundedTotal(150)),
    ] {
        let mut event = old(id, "pi_1", false, 40);
        event.note = Some(note);
        dealt_with(&world, &inbox, event, done).await?;
    }
    let known = inbox.payment(&tea(), "pi_1").await?;
    let all: usize = inbox.prune(&tea(), ago(35 * DAY), 3).await?
        + inbox.prune(&tea(), ago(35 * DAY), 3).await?;
    same("forgotten", all, 4)?;
    same("known", inbox.payment(&tea(), "pi_1").await?, known.clone())?;
    let returned = known.unwrap_or_default();
    same(
        "returned",
        (returned.returned(), returned.refunds.get("re_1").copied()),
        (200, Some(0)),
    )
}

async fn later_note_stays<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    // The event of the opened dispute is still pending. The won dispute is done, and is deleted
    // first.
    let mut opened = old("evt_1", "pi_1", false, 50);
    opened.note = Some(disputed("dp_1", "needs_response"));
    inbox.receive(opened).await?;
    let mut won = old("evt_2", "pi_1", false, 45);
    won.note = Some(disputed("dp_1", "won"));
    dealt_with(&world, &inbox, won, done).await?;
    let is_disputed = async || {
        let known = inbox.payment(&tea(), "pi_1").await?;
        Ok::<_, BoxError>(known.is_some_and(|payment| payment.disputed()))
    };
    same("before", is_disputed().await?, false)?;
    inbox.prune(&tea(), ago(35 * DAY), 10).await?;
    same("after", is_disputed().await?, false)?;
    let script = world.script(done);
    inbox
        .step(&tea(), Which::Now("evt_1"), terms(), &script)
        .await?;
    inbox.prune(&tea(), ago(35 * DAY), 10).await?;
    same("at last", is_disputed().await?, false)?;
    // Another dispute of the same payment counts on its own.
    let mut again = new_event("evt_3", "pi_1", false);
    again.note = Some(disputed("dp_2", "needs_response"));
    inbox.receive(again).await?;
    same("again", is_disputed().await?, true)
}

async fn others_stay<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    dealt_with(&world, &inbox, old("evt_1", "pi_1", true, 40), done).await?;
    for (application, mode) in [("tea", Mode::Live), ("coffee", Mode::Test)] {
        let of = scope(application, mode);
        same("forgotten", inbox.prune(&of, ago(HOUR), 10).await?, 0)?;
    }
    stored(&inbox, "evt_1").await?;
    same("forgotten", inbox.prune(&tea(), ago(HOUR), 10).await?, 1)?;
    same(
        "its payment",
        success_of(&inbox, "pi_1").await?,
        FulfillmentStatus::Fulfilled,
    )
}

fn of_account(account: &str, reference: &str) -> OrderKey {
    OrderKey {
        account: Some(account.to_owned()),
        ..order_key(reference)
    }
}

async fn all_open(
    inbox: &impl Inbox,
    since: SystemTime,
    page: usize,
) -> Result<Vec<(OrderKey, IntentRecord)>, BoxError> {
    let mut all: Vec<(OrderKey, IntentRecord)> = Vec::new();
    loop {
        let after = all.last().map(|(order, _)| order);
        let next = inbox.open_intents(&tea(), after, since, page).await?;
        check(next.len() <= page, "more than wanted")?;
        if next.is_empty() {
            return Ok(all);
        }
        all.extend(next);
    }
}

async fn open_orders<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let mut orders = vec![of_account("acct_1", "o-1"), of_account("acct_1", "o-9")];
    orders.extend((0..5).map(|number| order_key(&format!("o-{number}"))));
    orders.push(order_key("№ 7/'\"\\"));
    for (number, order) in orders.iter().enumerate() {
        let mut row = row(&format!("pi_{number}"));
        row.state = match number % 3 {
            0 => IntentState::Open,
            1 => IntentState::Processing,
            _ => IntentState::Creating,
        };
        inbox.put_intent(order, None, row).await?;
    }
    let mut elsewhere = order_key("o-0");
    elsewhere.scope = scope("coffee", Mode::Test);
    inbox.put_intent(&elsewhere, None, row("pi_x")).await?;
    for page in [1, 3, 100] {
        let open = all_open(&inbox, ago(HOUR), page).await?;
        same("how many", open.len(), orders.len())?;
        for order in &orders {
            let found: Vec<_> = open.iter().filter(|(found, _)| found == order).collect();
            same("once", found.len(), 1)?;
            let row = inbox.intent(order).await?;
            same("its row", found.first().map(|(_, row)| row.clone()), row)?;
        }
    }
    Ok(())
}

async fn untouched_orders<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let mut on_its_way = row("pi_2");
    on_its_way.state = IntentState::Processing;
    inbox
        .put_intent(&order_key("o-1"), None, row("pi_1"))
        .await?;
    inbox
        .put_intent(&order_key("o-2"), None, on_its_way)
        .await?;
    let listed = async |since| {
        let open = all_open(&inbox, since, 10).await?;
        let orders = open.into_iter().map(|(order, _)| order.reference);
        Ok::<_, BoxError>(orders.collect::<Vec<_>>())
    };
    same("of this hour", listed(ago(HOUR)).await?, ["o-1", "o-2"])?;
    let tomorrow = SystemTime::now() + DAY;
    same("not touched", listed(tomorrow).await?, ["o-2"])
}

async fn closed_orders<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    let inbox = world.open().await;
    for (number, state) in [IntentState::Paid, IntentState::Canceled]
        .into_iter()
        .enumerate()
    {
        let mut row = row(&format!("pi_c{number}"));
        row.state = state;
        let order = order_key(&format!("closed-{number}"));
        inbox.put_intent(&order, None, row).await?;
    }
    let mut begun = row("pi_none");
    (begun.payment, begun.state) = (None, IntentState::Creating);
    inbox.put_intent(&order_key("begun"), None, begun).await?;
    inbox
        .put_intent(&order_key("order-1"), None, row("pi_1"))
        .await?;
    let open = all_open(&inbox, ago(HOUR), 10).await?;
    same("open", open.len(), 1)?;
    // The event of its payment closes it.
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    let open = all_open(&inbox, ago(HOUR), 10).await?;
    same("then", open, [])
}

async fn accounts<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    let all = |since, page| {
        let inbox = &inbox;
        async move {
            let mut all: Vec<String> = Vec::new();
            loop {
                let after = all.last().map(String::as_str);
                let next = inbox.accounts(&tea(), after, since, page).await?;
                check(next.len() <= page, "more than wanted")?;
                if next.is_empty() {
                    return Ok::<_, BoxError>(all);
                }
                all.extend(next);
            }
        }
    };
    inbox
        .put_intent(&order_key("own"), None, row("pi_own"))
        .await?;
    same("none", all(ago(HOUR), 2).await?, [] as [&str; 0])?;
    let names = ["acct_Z", "acct_a", "acct_10", "acct_9", "acct_1"];
    for (number, account) in names.iter().enumerate() {
        for reference in ["o-1", "o-2"] {
            let mut row = row(&format!("pi_{number}_{reference}"));
            // Refunds come long after an order is paid.
            row.state = match number % 3 {
                0 => IntentState::Paid,
                1 => IntentState::Canceled,
                _ => IntentState::Creating,
            };
            let order = of_account(account, reference);
            inbox.put_intent(&order, None, row).await?;
        }
    }
    for elsewhere in [scope("coffee", Mode::Test), scope("tea", Mode::Live)] {
        let mut order = of_account("acct_2", "o-1");
        order.scope = elsewhere;
        inbox.put_intent(&order, None, row("pi_x")).await?;
    }
    let mut sorted = names;
    sorted.sort_unstable();
    for page in [1, 2, 100] {
        same("accounts", all(ago(HOUR), page).await?, sorted)?;
    }
    let tomorrow = SystemTime::now() + DAY;
    same("not touched", all(tomorrow, 10).await?, [] as [&str; 0])
}

async fn bookmarks<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    same("none", inbox.bookmark(&tea(), "events").await?, None)?;
    let elsewhere = scope("tea", Mode::Live);
    let (of, mut before) = (tea(), None);
    for value in ["{\"a\":\"' № 1\"}", ""] {
        let put = inbox.put_bookmark(&of, "events", before, value);
        same("written", put.await?, true)?;
        let read = world.open().await.bookmark(&of, "events").await?;
        same("read", read.as_deref(), Some(value))?;
        before = Some(value);
    }
    // The first writer wins, and each later one must know what it replaces.
    for expected in [None, Some("{}")] {
        let put = inbox.put_bookmark(&of, "events", expected, "late");
        same("not written", put.await?, false)?;
    }
    let missing = inbox.put_bookmark(&of, "missing", Some(""), "1");
    same("nothing to replace", missing.await?, false)?;
    inbox.put_bookmark(&tea(), "other", None, "2").await?;
    let put = inbox.put_bookmark(&elsewhere, "events", None, "3");
    same("of the other mode", put.await?, true)?;
    let mut scopes = inbox.scopes_with_bookmark("events").await?;
    scopes.sort_by_key(|scope| scope.mode.is_live());
    same("scopes", scopes, [tea(), elsewhere.clone()])?;
    for (of, name, value) in [
        (tea(), "events", ""),
        (tea(), "other", "2"),
        (elsewhere, "events", "3"),
    ] {
        let read = inbox.bookmark(&of, name).await?;
        same(name, read.as_deref(), Some(value))?;
    }
    Ok(())
}
