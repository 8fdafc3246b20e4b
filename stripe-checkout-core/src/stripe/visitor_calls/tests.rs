use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::*;

const ENDPOINT: &str = "GET /payment_intents/{id}";

/// The wait after which a test fails. The clock is paused, so it takes no time.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often the other tasks may run until their calls are in the queue.
const TURNS: usize = 1000;

fn calls() -> Arc<VisitorCalls> {
    Arc::new(VisitorCalls::new(CallLimits::default()))
}

fn client(name: &str, site: &str) -> Client {
    Client {
        name: name.to_owned(),
        site: site.to_owned(),
    }
}

fn visitor(calls: &Arc<VisitorCalls>, name: &str) -> Caller {
    calls.caller(Some(&client(name, name)), None)
}

/// Fails where a queue that is broken never comes to an end of this.
async fn ends<T>(work: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, work).await;
    ended.expect("the queue never comes to an end")
}

async fn place(caller: &Caller) -> Result<Place, Unsent> {
    let until = Instant::now() + LONGEST_WAIT;
    ends(caller.place(ENDPOINT, until, false)).await
}

/// Lets the other tasks run until this many calls are in the queue.
async fn until_queued(calls: &VisitorCalls, count: usize) {
    for _ in 0..TURNS {
        if calls.lock().waiting.len() == count {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!(
        "{} calls are queued, not {count}",
        calls.lock().waiting.len()
    );
}

/// The places that this caller gets at once, at most as many as it wants.
async fn at_once(caller: &Caller, wanted: usize) -> Vec<Place> {
    let mut places = Vec::new();
    for _ in 0..wanted {
        let now = Duration::ZERO;
        if let Ok(Ok(place)) = tokio::time::timeout(now, place(caller)).await {
            places.push(place);
        }
    }
    places
}

/// The largest number of these that lie within one second.
fn most_within_a_second(mut times: Vec<Instant>) -> usize {
    times.sort();
    let within = |from: &Instant| {
        let times = times.iter();
        times
            .filter(|at| *at >= from && **at < *from + WINDOW)
            .count()
    };
    times.iter().map(within).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn forty_clients_stay_below_the_bound_in_each_second_and_at_each_moment() {
    let calls = calls();
    let mut clients = JoinSet::new();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let most = Arc::new(AtomicUsize::new(0));
    for client in 0..40_u64 {
        let caller = visitor(&calls, &client.to_string());
        let (calls, sent, most) = (Arc::clone(&calls), Arc::clone(&sent), Arc::clone(&most));
        clients.spawn(async move {
            for round in 0..20 {
                let Ok(_place) = place(&caller).await else {
                    continue;
                };
                sent.lock().unwrap().push(Instant::now());
                let under_way = calls.lock().under_way.len();
                most.fetch_max(under_way, Ordering::Relaxed);
                let time = Duration::from_millis(300 + 97 * ((client + round) % 11));
                tokio::time::sleep(time).await;
            }
        });
    }
    ends(clients.join_all()).await;
    let sent = sent.lock().unwrap().clone();
    assert!(sent.len() > 100, "{}", sent.len());
    assert_eq!(most_within_a_second(sent), 20);
    assert_eq!(most.load(Ordering::Relaxed), 16);
    let state = calls.lock();
    assert!(state.under_way.is_empty() && state.waiting.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_client_takes_a_quarter_at_once_and_in_each_second() {
    let calls = calls();
    let (greedy, buyer) = (visitor(&calls, "greedy"), visitor(&calls, "buyer"));
    let taken = at_once(&greedy, 10).await;
    assert_eq!(taken.len(), 4, "a quarter of 16");
    assert_eq!(at_once(&buyer, 1).await.len(), 1);
    drop(taken);
    assert_eq!(
        at_once(&greedy, 10).await.len(),
        1,
        "a quarter of 20, four of which were sent"
    );
    assert_eq!(at_once(&buyer, 3).await.len(), 3);
    let began = Instant::now();
    assert!(place(&greedy).await.is_ok());
    assert!(began.elapsed() >= WINDOW, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_has_a_rate_of_its_own() {
    let calls = calls();
    for client in 0..20 {
        let caller = visitor(&calls, &client.to_string());
        assert_eq!(at_once(&caller, 1).await.len(), 1);
    }
    let late = visitor(&calls, "late");
    assert_eq!(at_once(&late, 1).await.len(), 0);
    let other = late.place("POST /payment_intents", Instant::now(), false);
    assert!(
        tokio::time::timeout(Duration::ZERO, other)
            .await
            .unwrap()
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn visitors_that_nobody_can_tell_apart_may_take_the_whole_bound() {
    let calls = calls();
    let nobody = calls.caller(None, None);
    let places = at_once(&nobody, 30).await;
    assert_eq!(places.len(), 16);
    assert_eq!(place(&nobody).await.err(), Some(Unsent::AtBound));
}

#[tokio::test(start_paused = true)]
async fn guesses_of_many_clients_leave_three_quarters_to_honest_returns() {
    let calls = calls();
    let mut guesses = Vec::new();
    for client in 0..40 {
        let guesser = visitor(&calls, &client.to_string()).guessing();
        guesses.extend(at_once(&guesser, 1).await);
    }
    assert_eq!(guesses.len(), 4);
    let mut honest = Vec::new();
    for client in 0..12 {
        let buyer = visitor(&calls, &format!("buyer {client}"));
        honest.extend(at_once(&buyer, 1).await);
    }
    assert_eq!(honest.len(), 12);
}

#[tokio::test(start_paused = true)]
async fn the_networks_of_one_site_take_half_and_go_behind_other_clients() {
    let calls = calls();
    let of_site = |network: u32| calls.caller(Some(&client(&network.to_string(), "site")), None);
    let mut taken = Vec::new();
    for network in 0..40 {
        taken.extend(at_once(&of_site(network), 1).await);
    }
    assert_eq!(taken.len(), 8, "half of 16");
    let buyers: Vec<_> = (0..8)
        .map(|number| visitor(&calls, &format!("buyer {number}")))
        .collect();
    let mut honest = Vec::new();
    for buyer in &buyers {
        honest.extend(at_once(buyer, 1).await);
    }
    assert_eq!(honest.len(), 8);
    let mut waiting = JoinSet::new();
    for caller in (40..80).map(of_site).chain([visitor(&calls, "late")]) {
        waiting.spawn(async move { place(&caller).await.map(|_| caller.who.site) });
        tokio::task::yield_now().await;
    }
    drop(taken);
    let first = waiting.join_next().await.unwrap().unwrap();
    assert_eq!(first, Ok(visitor(&calls, "late").who.site));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_keeps_a_place_for_a_client_of_another_site() {
    let limits = CallLimits {
        at_once: 100,
        per_second: 1,
    };
    let calls = Arc::new(VisitorCalls::new(limits));
    let of_site = |network: usize| calls.caller(Some(&client(&network.to_string(), "site")), None);
    let _place = place(&of_site(0)).await.unwrap();
    let mut waiting = JoinSet::new();
    for network in 0..LONGEST_QUEUE {
        let caller = of_site(network);
        waiting.spawn(async move { place(&caller).await.map(drop) });
        tokio::task::yield_now().await;
    }
    assert_eq!(calls.lock().waiting.len(), LONGEST_QUEUE);
    assert!(place(&visitor(&calls, "buyer")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn searches_leave_some_of_their_own_rate() {
    let calls = calls();
    let mut sent = 0;
    for number in 0..20 {
        let caller = visitor(&calls, &number.to_string());
        let search = caller.place("GET /customers/search", Instant::now(), false);
        sent += usize::from(
            tokio::time::timeout(Duration::ZERO, search)
                .await
                .unwrap()
                .is_ok(),
        );
    }
    assert_eq!(sent, CallLimits::SEARCHES);
}

#[tokio::test(start_paused = true)]
async fn the_next_guess_is_that_of_the_client_with_the_fewest() {
    let calls = calls();
    let stranger = visitor(&calls, "stranger").guessing();
    let taken = at_once(&stranger, 4).await;
    assert_eq!(taken.len(), 4);
    let mut waiting = JoinSet::new();
    for who in ["stranger", "stranger", "stranger", "honest"] {
        let caller = visitor(&calls, who).guessing();
        waiting.spawn(async move { place(&caller).await.map(|_| who) });
        tokio::task::yield_now().await;
    }
    drop(taken);
    let first = ends(waiting.join_next()).await.unwrap().unwrap();
    assert_eq!(first, Ok("honest"));
}

#[tokio::test(start_paused = true)]
async fn a_buyer_goes_before_thirty_clients_that_ask_without_end() {
    let calls = calls();
    let mut strangers = JoinSet::new();
    for client in 0..30 {
        let caller = visitor(&calls, &client.to_string());
        strangers.spawn(async move {
            loop {
                let _ = place(&caller).await.map(drop);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    tokio::time::sleep(HISTORY).await;
    for client in 0..10 {
        let buyer = visitor(&calls, &format!("buyer {client}"));
        let began = Instant::now();
        assert!(place(&buyer).await.is_ok());
        assert!(began.elapsed() <= WINDOW, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_two_seconds() {
    let calls = calls();
    let caller = visitor(&calls, "one");
    let _places = at_once(&caller, 4).await;
    let began = Instant::now();
    assert_eq!(place(&caller).await.err(), Some(Unsent::AtBound));
    assert_eq!(began.elapsed(), LONGEST_WAIT);
    // The time that it spent elsewhere counts.
    let until = began + LONGEST_WAIT;
    let refused = ends(caller.place(ENDPOINT, until, false)).await;
    assert_eq!(refused.err(), Some(Unsent::AtBound));
    assert_eq!(began.elapsed(), LONGEST_WAIT);
    assert!(calls.lock().waiting.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_in_the_queue_ends_with_its_visitor_and_one_that_was_sent_does_not() {
    let calls = calls();
    let fill = visitor(&calls, "one");
    let places = at_once(&fill, 4).await;
    let (here, left) = watch::channel(());
    let caller = calls.caller(Some(&client("one", "one")), Some(left));
    let (unsent, sent) = (caller.clone(), caller.clone());
    let unsent = tokio::spawn(async move { place(&unsent).await.err() });
    let sent = tokio::spawn(async move {
        sent.place(ENDPOINT, Instant::now() + LONGEST_WAIT, true)
            .await
            .map(drop)
    });
    until_queued(&calls, 2).await;
    drop(here);
    assert_eq!(ends(unsent).await.unwrap(), Some(Unsent::VisitorLeft));
    assert_eq!(calls.lock().waiting.len(), 1);
    assert_eq!(place(&caller).await.err(), Some(Unsent::VisitorLeft));
    drop(places);
    assert_eq!(ends(sent).await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_loses_the_newest_call_of_the_client_with_the_most() {
    let limits = CallLimits {
        at_once: 1,
        per_second: 1,
    };
    let calls = Arc::new(VisitorCalls::new(limits));
    let nobody = calls.caller(None, None);
    let _place = place(&nobody).await.unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..QUEUE_PER_PLACE {
        let nobody = nobody.clone();
        waiting.spawn(async move { place(&nobody).await.map(drop) });
    }
    until_queued(&calls, QUEUE_PER_PLACE).await;
    let began = Instant::now();
    let refused = place(&nobody).await;
    assert_eq!(refused.err(), Some(Unsent::AtBound));
    let buyer = visitor(&calls, "buyer");
    let buyer = tokio::spawn(async move { place(&buyer).await.map(drop) });
    let lost = ends(waiting.join_next()).await.unwrap().unwrap();
    assert_eq!(lost, Err(Unsent::AtBound));
    assert_eq!(began.elapsed(), Duration::ZERO, "neither of them waits");
    assert_eq!(calls.lock().waiting.len(), QUEUE_PER_PLACE);
    buyer.abort();
}

#[test]
fn an_endpoint_is_a_method_and_a_path_without_ids() {
    for (path, expected) in [
        ("/payment_intents", "GET /payment_intents"),
        ("/payment_intents/pi_1", "GET /payment_intents/{id}"),
        (
            "/payment_intents/pi_1/cancel",
            "GET /payment_intents/{id}/cancel",
        ),
        ("/checkout/sessions", "GET /checkout/sessions"),
        ("/checkout/sessions/cs_1", "GET /checkout/sessions/{id}"),
        ("/customers/search", "GET /customers/search"),
        (
            "/customers/cus_1/payment_methods",
            "GET /customers/{id}/payment_methods",
        ),
    ] {
        assert_eq!(endpoint("GET", path), expected);
    }
}

#[test]
fn a_bound_is_at_least_one_and_so_is_each_share() {
    assert_eq!([0, 1, 5000].map(CallLimits::bounded), [1, 1, 100]);
    let least = CallLimits {
        at_once: 1,
        per_second: 1,
    };
    assert_eq!(least.share(SHARE), least);
}
