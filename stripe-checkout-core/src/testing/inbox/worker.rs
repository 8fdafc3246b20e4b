//! Due events run in any process, and a process that stops waits for its handlers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::subject::Subject;
use super::world::{
    Behave, Shop, Told, World, check, new_event, news_of, order_key, paid, same, stored, until,
};
use crate::checkout::Worker;
use crate::fulfillment::{EventState, Inbox, InboxExt as _};
use crate::testing::{EventBody, refund};
use crate::{Amount, Currency};

super::case::cases! {
    "a worker runs again what failed" => runs_again,
    "a worker runs what nobody else will, and then nothing" => run_due,
    "a worker goes on after hooks that fail and panic" => goes_on,
    "what waited goes on when a worker ran its success" => waited_goes_on,
    "a worker that stops lets its hook end" => graceful_stop,
    "a worker that has nothing to do stops at once" => stops_at_once,
    "a worker whose future is dropped does not cut off its hook" => dropped,
    "one hook that hangs does not hold up a worker" => no_holding_up,
    "a worker runs as many hooks at the same time as it is told, and no more" => concurrency,
    "two workers run each event once" => two_workers,
    "who forgets at a restart is not queued; who does not answers at once and drains" => queued,
    "a queued refund waits for its success" => queued_refund,
    "a queued dead letter is loud, and a queued repeat is not" => queued_repeats,
}

/// A worker that can be stopped.
struct Working {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

fn works(shop: &Shop, more: impl FnOnce(Worker) -> Worker) -> Working {
    let worker = more(shop.checkout.worker().interval(Duration::from_millis(20)));
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(worker.run(async {
        let _ = stopped.await;
    }));
    Working { stop, ended }
}

impl Working {
    async fn stops(self) -> Told {
        let _ = self.stop.send(());
        Ok(self.ended.await?)
    }
}

/// Stores this many successes, each with its own payment and order.
///
/// It acts as a process that dies before it runs them.
async fn pending<S: Subject>(world: &World<S>, count: usize) -> Told {
    let inbox = world.open().await;
    for n in 0..count {
        let (id, payment, order) = (format!("evt_{n}"), format!("pi_{n}"), format!("order-{n}"));
        let mut event = new_event(&id, &payment, true);
        event.body = news_of("succeeded", &payment, &order).id(&id).body().into();
        event.order = Some(order_key(&order));
        inbox.receive(event).await?;
    }
    Ok(())
}

async fn effects<S: Subject>(world: &World<S>, count: usize) -> Told {
    until("all hooks ran", || async {
        Ok(world.effects().await?.len() >= count)
    })
    .await
}

async fn runs_again<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    world.hooks.told.all(Behave::Fail);
    shop.told(paid("evt_1", "pi_1"), 500).await?;
    let worker = works(&shop, |worker| worker);
    until("it failed again", || async {
        Ok(world.hooks.told.begun().len() >= 2)
    })
    .await?;
    world.hooks.told.all(Behave::Well);
    effects(&world, 1).await?;
    worker.stops().await?;
    let record = shop.record("evt_1").await?;
    same("it is", record.state, EventState::Done)?;
    same(
        "attempts",
        record.attempts as usize,
        world.hooks.told.begun().len(),
    )?;
    world.did(["succeeded pi_1"]).await
}

async fn run_due<S: Subject>(world: World<S>) -> Told {
    pending(&world, 2).await?;
    let shop = world.shop().await?;
    for found in [true, true, false, false] {
        same("found", shop.checkout.run_due().await?, found)?;
    }
    world.did(["succeeded pi_0", "succeeded pi_1"]).await
}

async fn goes_on<S: Subject>(world: World<S>) -> Told {
    pending(&world, 6).await?;
    let told = &world.hooks.told;
    told.behave("succeeded pi_0", Behave::Panic);
    told.behave("succeeded pi_2", Behave::Fail);
    let shop = world.built(|builder| builder.max_attempts(1)).await?;
    let worker = works(&shop, |worker| worker.concurrency(2));
    effects(&world, 4).await?;
    worker.stops().await?;
    for (id, state) in [
        ("evt_0", EventState::Dead),
        ("evt_2", EventState::Dead),
        ("evt_5", EventState::Done),
    ] {
        shop.is(id, state).await?;
    }
    same("effects", world.effects().await?.len(), 4)
}

async fn waited_goes_on<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    let back = refund("re_1", "pi_0", Amount::new(100, Currency::EUR));
    shop.told(EventBody::new("refund.created", back), 503)
        .await?;
    pending(&world, 1).await?;
    same("due", shop.checkout.run_due().await?, true)?;
    world.did(["succeeded pi_0", "refunded re_1"]).await
}

async fn graceful_stop<S: Subject>(world: World<S>) -> Told {
    pending(&world, 1).await?;
    world.hooks.told.all(Behave::Hang);
    let shop = world.shop().await?;
    // The worker looks once, and again when the handler has ended. So no look is in progress when
    // it is asked to stop.
    let worker = works(&shop, |worker| worker.interval(Duration::from_secs(3600)));
    world.hooks.told.gate.started().await?;
    let _ = worker.stop.send(());
    // From now on it takes no more events.
    let mut late = new_event("evt_late", "pi_late", true);
    late.body = paid("evt_late", "pi_late").body().into();
    let inbox = world.open().await;
    let late = if world.subject.one_writer() {
        Some(late)
    } else {
        inbox.receive(late).await?;
        None
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    check(!worker.ended.is_finished(), "it did not wait for its hook")?;
    same("begun", world.hooks.told.begun(), ["succeeded pi_0"])?;
    world.hooks.told.gate.open();
    worker.ended.await?;
    shop.is("evt_0", EventState::Done).await?;
    if let Some(late) = late {
        inbox.receive(late).await?;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    shop.is("evt_late", EventState::Pending).await?;
    world.did(["succeeded pi_0"]).await
}

async fn stops_at_once<S: Subject>(world: World<S>) -> Told {
    let shop = world.shop().await?;
    let worker = works(&shop, |worker| worker.interval(Duration::from_secs(3600)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    worker.stops().await?;
    check(
        began.elapsed() < Duration::from_secs(5),
        "it waited for its next look",
    )?;
    // A pause of zero must not panic.
    let worker = works(&shop, |worker| {
        worker.interval(Duration::ZERO).concurrency(0)
    });
    pending(&world, 1).await?;
    effects(&world, 1).await?;
    worker.stops().await
}

async fn dropped<S: Subject>(world: World<S>) -> Told {
    pending(&world, 1).await?;
    world.hooks.told.all(Behave::Hang);
    let shop = world.shop().await?;
    let worker = works(&shop, |worker| worker);
    world.hooks.told.gate.started().await?;
    worker.ended.abort();
    let _ = worker.ended.await;
    world.hooks.told.gate.open();
    shop.checkout.drain().await;
    shop.is("evt_0", EventState::Done).await?;
    world.did(["succeeded pi_0"]).await
}

async fn no_holding_up<S: Subject>(world: World<S>) -> Told {
    if world.subject.one_writer() {
        return Ok(());
    }
    let told = &world.hooks.told;
    pending(&world, 1).await?;
    told.behave("succeeded pi_0", Behave::Hang);
    let shop = world.shop().await?;
    let worker = works(&shop, |worker| worker.concurrency(2));
    told.gate.started().await?;
    // Long enough for the worker to look and find nothing.
    tokio::time::sleep(Duration::from_millis(100)).await;
    pending(&world, 4).await?;
    effects(&world, 3).await?;
    same("the first one still hangs", world.effects().await?.len(), 3)?;
    told.gate.open();
    worker.stops().await?;
    same("effects", world.effects().await?.len(), 4)?;
    told.kept_apart()
}

async fn concurrency<S: Subject>(world: World<S>) -> Told {
    let told = &world.hooks.told;
    pending(&world, 12).await?;
    told.all(Behave::Hang);
    let shop = world.shop().await?;
    let worker = works(&shop, |worker| worker.concurrency(3));
    let wanted = if world.subject.one_writer() { 1 } else { 3 };
    for _ in 0..wanted {
        told.gate.started().await?;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    same("at the same time", told.most(), wanted)?;
    told.gate.open();
    effects(&world, 12).await?;
    worker.stops().await?;
    check(
        told.most() <= 3,
        format!("{} at the same time", told.most()),
    )?;
    same("effects", world.effects().await?.len(), 12)
}

async fn two_workers<S: Subject>(world: World<S>) -> Told {
    world.hooks.told.all(Behave::Slowly);
    let shops = [world.shop().await?, world.shop().await?];
    let workers = shops.each_ref().map(|shop| works(shop, |worker| worker));
    pending(&world, 30).await?;
    effects(&world, 30).await?;
    for worker in workers {
        worker.stops().await?;
    }
    let mut begun = world.hooks.told.begun();
    begun.sort();
    begun.dedup();
    same("payments", begun.len(), 30)?;
    same("begun", world.hooks.told.begun().len(), 30)?;
    same("effects", world.effects().await?.len(), 30)?;
    world.hooks.told.kept_apart()
}

async fn queued<S: Subject>(world: World<S>) -> Told {
    let built = world.built(|builder| builder.queued()).await;
    if !world.open().await.limits().survives_restart {
        return check(built.is_err(), "what it acknowledges it may forget");
    }
    let (here, there) = (built?, world.shop().await?);
    for n in 0..20 {
        let event = news_of("succeeded", &format!("pi_{n}"), &format!("order-{n}"));
        here.told(event.id(&format!("evt_{n}")), 200).await?;
    }
    same("begun", world.hooks.told.begun().len(), 0)?;
    let workers = [
        works(&here, |worker| worker),
        works(&there, |worker| worker),
    ];
    effects(&world, 20).await?;
    for worker in workers {
        worker.stops().await?;
    }
    same("begun", world.hooks.told.begun().len(), 20)?;
    same("effects", world.effects().await?.len(), 20)
}

async fn queued_refund<S: Subject>(world: World<S>) -> Told {
    if !world.open().await.limits().survives_restart {
        return Ok(());
    }
    let shop = world.built(|builder| builder.queued()).await?;
    let back = refund("re_1", "pi_1", Amount::new(100, Currency::EUR));
    shop.told(EventBody::new("refund.created", back).id("evt_r"), 200)
        .await?;
    same("due", shop.checkout.run_due().await?, true)?;
    world.did([]).await?;
    shop.told(paid("evt_1", "pi_1"), 200).await?;
    same("due", shop.checkout.run_due().await?, true)?;
    world.did(["succeeded pi_1", "refunded re_1"]).await
}

async fn queued_repeats<S: Subject>(world: World<S>) -> Told {
    let inbox = world.open().await;
    if !inbox.limits().survives_restart {
        return Ok(());
    }
    let shop = world
        .built(|builder| builder.queued().max_attempts(1))
        .await?;
    let shop = Arc::new(shop);
    world.hooks.told.behave("succeeded pi_1", Behave::Fail);
    for (event, payment) in [("evt_1", "pi_1"), ("evt_2", "pi_2")] {
        shop.told(news_of("succeeded", payment, payment).id(event), 200)
            .await?;
        same("due", shop.checkout.run_due().await?, true)?;
    }
    shop.told(news_of("succeeded", "pi_1", "pi_1").id("evt_1"), 500)
        .await?;
    shop.told(news_of("succeeded", "pi_2", "pi_2").id("evt_2"), 200)
        .await?;
    same(
        "dead",
        stored(&inbox, "evt_1").await?.state,
        EventState::Dead,
    )?;
    world.did(["succeeded pi_2"]).await
}
