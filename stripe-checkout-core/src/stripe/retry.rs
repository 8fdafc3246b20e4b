//! Decides when to retry a request, and when to stop.
//!
//! If it is unknown whether a payment exists, the request is repeated with the same key and the
//! same bytes. Only that request cannot make a second payment. The choice of what to retry, and
//! what never, follows [Stripe's advanced error handling](https://docs.stripe.com/error-low-level).

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::transport::{AnyTransport, TransportError, TransportRequest, TransportResponse};
use super::visitor_calls::{Caller, LONGEST_WAIT, Place, Unsent};
use crate::error::Chain;

/// The longest pause before the second try. The pause is random, from zero up to this limit, which
/// doubles with every further try.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause that we choose ourselves.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How often and how long one call may try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The limit for all tries and the pauses between them together.
    pub(super) deadline: Duration,
    /// The number of tries, at least one.
    pub(super) tries: u32,
}

impl Limits {
    /// The limit for one try: two fifths of the whole. A first try that hangs leaves room for the
    /// pause, for a second try as long as itself, and for a short third.
    fn per_try(&self) -> Duration {
        self.deadline * 2 / 5
    }

    /// The least time for a try: a twentieth of the whole. With less time, a try would be cut off
    /// before Stripe can answer, and a clear error would turn into a time-out.
    fn least(&self) -> Duration {
        self.deadline / 20
    }
}

/// The reason why there is no final response.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The last try was abandoned because its time was over.
    TimedOut,
    /// The last try found no connection, or lost it.
    Transport(TransportError),
    /// There was no try: the visitor who causes the call got no place, or is gone.
    Unsent(Unsent),
}

/// Shows the last cause, for a log.
impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("timeout: no answer to the last try in time"),
            Self::Transport(error) => Chain(error).fmt(f),
            Self::Unsent(reason) => write!(f, "not sent: {reason:?}"),
        }
    }
}

/// The queue where a visitor's call waits before each try. A second try is one more request to
/// Stripe.
#[derive(Clone, Copy)]
pub(super) struct Queue<'a> {
    pub(super) caller: &'a Caller,
    pub(super) endpoint: &'a str,
    /// When the call began.
    pub(super) since: Instant,
}

impl Queue<'_> {
    /// Waits for a place for the next try. After `end` a try makes no sense.
    async fn place(self, tries: u32, end: Instant) -> Result<Place, Unsent> {
        let again = tries > 0;
        let since = if again { Instant::now() } else { self.since };
        let until = end.min(since + LONGEST_WAIT);
        self.caller.place(self.endpoint, until, again).await
    }
}

/// Sends until there is a response that a retry cannot improve, or until the limits are reached.
/// Then it returns the result of the last try. It calls `tried` with the number of each try as the
/// try begins.
pub(super) async fn send(
    transport: &dyn AnyTransport,
    request: &TransportRequest,
    limits: Limits,
    queue: Option<Queue<'_>>,
    mut tried: impl FnMut(u32),
) -> Result<TransportResponse, NoAnswer> {
    let began = Instant::now();
    let mut at_once_left = true;
    let end = began + limits.deadline.saturating_sub(limits.least());
    let mut tries = 0;
    let mut last = None;
    loop {
        let place = match queue {
            Some(queue) => match queue.place(tries, end).await {
                Ok(place) => Some(place),
                Err(reason) => return last.unwrap_or(Err(NoAnswer::Unsent(reason))),
            },
            None => None,
        };
        tries += 1;
        tried(tries);
        let left = limits.deadline.saturating_sub(began.elapsed());
        let outcome = transport
            .try_once(request, left.min(limits.per_try()))
            .await;
        drop(place);

        let mut pause = backoff(tries);
        let outcome = match outcome {
            Some(Ok(answer)) => {
                match judge(&answer) {
                    Verdict::Final => return Ok(answer),
                    Verdict::Again(at_least) => pause = pause.max(at_least),
                }
                tracing::debug!(
                    status = answer.status,
                    tries,
                    "Stripe asks to be tried again"
                );
                Ok(answer)
            }
            Some(Err(error)) => {
                tracing::debug!(cause = %Chain(&error), tries, "no answer from Stripe");
                match error {
                    TransportError::AnswerTooLarge { .. } | TransportError::Request(_) => {
                        return Err(NoAnswer::Transport(error));
                    }
                    TransportError::Stale(_) if at_once_left => {
                        at_once_left = false;
                        pause = Duration::ZERO;
                    }
                    _ => {}
                }
                Err(NoAnswer::Transport(error))
            }
            None => {
                tracing::debug!(tries, "Stripe did not answer this try in time");
                Err(NoAnswer::TimedOut)
            }
        };

        let left = limits.deadline.saturating_sub(began.elapsed());
        if tries >= limits.tries || pause.saturating_add(limits.least()) > left {
            return outcome;
        }
        last = Some(outcome);
        tokio::time::sleep(pause).await;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Final,
    /// Retry, but not before this time is over.
    Again(Duration),
}

fn judge(answer: &TransportResponse) -> Verdict {
    if (200..300).contains(&answer.status) || is_replayed(answer) {
        // Stripe replays an error for this key for at least a day, whatever `Stripe-Should-Retry`
        // says: only another key can help.
        return Verdict::Final;
    }
    let again = match answer.header("stripe-should-retry") {
        Some("true") => true,
        Some("false") => false,
        _ => matches!(answer.status, 409 | 424 | 429 | 500..=504),
    };
    if again {
        Verdict::Again(retry_after(answer).unwrap_or_default())
    } else {
        Verdict::Final
    }
}

/// Whether Stripe answered from its memory of this idempotency key, without doing anything.
pub(super) fn is_replayed(answer: &TransportResponse) -> bool {
    answer
        .header("idempotent-replayed")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Reads `Retry-After` in whole seconds, the form that Stripe sends. It does not read a date,
/// because that would need clocks that agree.
pub(super) fn retry_after(answer: &TransportResponse) -> Option<Duration> {
    answer
        .header("retry-after")?
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// The pause before the next try, with full jitter: a random time from zero to the doubled limit.
/// So clients that failed together do not retry together.
fn backoff(tries: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(tries.saturating_sub(1));
    let most = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
    Duration::from_micros(fastrand::u64(
        0..=u64::try_from(most.as_micros()).unwrap_or(u64::MAX),
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::stripe::transport::Transport;

    /// The behaviour of Stripe, or of the network, in one try.
    #[derive(Debug, Clone)]
    enum Act {
        Answer(u16, Vec<(&'static str, &'static str)>),
        After(Duration, u16),
        Hang,
        Refuse,
        Break,
        Stale,
        TooLarge,
        Unsendable,
    }

    /// Plays the acts, repeats the last one forever, and records when each try began.
    struct Play {
        acts: Mutex<VecDeque<Act>>,
        began: Mutex<Vec<Instant>>,
    }

    impl Transport for Play {
        async fn send(&self, _: &TransportRequest) -> Result<TransportResponse, TransportError> {
            self.began.lock().unwrap().push(Instant::now());
            let act = {
                let mut acts = self.acts.lock().unwrap();
                if acts.len() > 1 {
                    acts.pop_front().unwrap()
                } else {
                    acts[0].clone()
                }
            };
            let answer = |status, headers: Vec<(&str, &str)>| TransportResponse {
                status,
                headers: headers
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
                    .collect(),
                body: Bytes::new(),
            };
            match act {
                Act::Answer(status, headers) => Ok(answer(status, headers)),
                Act::After(time, status) => {
                    tokio::time::sleep(time).await;
                    Ok(answer(status, vec![]))
                }
                Act::Hang => std::future::pending().await,
                Act::Refuse => Err(TransportError::Connect("refused".into())),
                Act::Break => Err(TransportError::Broken("reset".into())),
                Act::Stale => Err(TransportError::Stale("closed".into())),
                Act::TooLarge => Err(TransportError::AnswerTooLarge {
                    status: 200,
                    limit: 1,
                }),
                Act::Unsendable => Err(TransportError::Request("no address".into())),
            }
        }
    }

    struct Played {
        outcome: Result<TransportResponse, NoAnswer>,
        /// The start of each try, measured from the start of the call.
        tries: Vec<Duration>,
        took: Duration,
    }

    impl Played {
        fn status(&self) -> u16 {
            self.outcome.as_ref().unwrap().status
        }
    }

    const LIMITS: Limits = Limits {
        deadline: Duration::from_secs(20),
        tries: 4,
    };

    /// Runs in paused time, where a pause takes exactly its own length.
    async fn play(acts: impl IntoIterator<Item = Act>, limits: Limits) -> Played {
        let play = Play {
            acts: Mutex::new(acts.into_iter().collect()),
            began: Mutex::default(),
        };
        let request = TransportRequest {
            method: "POST",
            url: "https://api.stripe.com/v1/payment_intents".into(),
            headers: vec![],
            body: Bytes::new(),
        };
        let began = Instant::now();
        let mut told = Vec::new();
        let outcome = send(&play, &request, limits, None, |number| told.push(number)).await;
        let took = began.elapsed();
        let tries: Vec<_> = play
            .began
            .lock()
            .unwrap()
            .iter()
            .map(|at| *at - began)
            .collect();
        assert_eq!(told, (1..=tries.len() as u32).collect::<Vec<_>>());
        Played {
            outcome,
            tries,
            took,
        }
    }

    fn status(status: u16) -> Act {
        Act::Answer(status, vec![])
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again() {
        for first in [409, 424, 429, 500, 501, 502, 503, 504] {
            let played = play([status(first), status(200)], LIMITS).await;
            assert_eq!(
                (played.status(), played.tries.len()),
                (200, 2),
                "after {first}"
            );
        }
        for first in [Act::Refuse, Act::Break, Act::Stale, Act::Hang] {
            let played = play([first.clone(), status(200)], LIMITS).await;
            assert_eq!(
                (played.status(), played.tries.len()),
                (200, 2),
                "after {first:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_is_not() {
        for first in [
            200, 201, 301, 400, 401, 402, 403, 404, 405, 410, 422, 451, 505, 520,
        ] {
            let played = play([status(first), status(200)], LIMITS).await;
            assert_eq!((played.status(), played.tries.len()), (first, 1));
        }
        for first in [Act::TooLarge, Act::Unsendable] {
            let played = play([first, status(200)], LIMITS).await;
            assert!(matches!(played.outcome, Err(NoAnswer::Transport(_))));
            assert_eq!(played.tries.len(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn stripes_own_word_on_it_wins() {
        let yes = Act::Answer(400, vec![("Stripe-Should-Retry", "true")]);
        assert_eq!(play([yes, status(200)], LIMITS).await.status(), 200);
        let no = Act::Answer(503, vec![("stripe-should-retry", "false")]);
        assert_eq!(play([no, status(200)], LIMITS).await.status(), 503);
        let nonsense = Act::Answer(503, vec![("stripe-should-retry", "perhaps")]);
        assert_eq!(play([nonsense, status(200)], LIMITS).await.status(), 200);
        let done = Act::Answer(200, vec![("stripe-should-retry", "true")]);
        assert_eq!(play([done, status(500)], LIMITS).await.status(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replayed_failure_is_final_for_this_key() {
        let headers = vec![
            ("Idempotent-Replayed", "true"),
            ("Stripe-Should-Retry", "true"),
        ];
        let played = play([Act::Answer(500, headers), status(200)], LIMITS).await;
        assert_eq!((played.status(), played.tries.len()), (500, 1));
        assert!(is_replayed(&played.outcome.unwrap()));

        let fresh = Act::Answer(500, vec![("idempotent-replayed", "false")]);
        assert_eq!(play([fresh, status(200)], LIMITS).await.status(), 200);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_waited_for() {
        let wait = Act::Answer(429, vec![("Retry-After", "7")]);
        let played = play([wait, status(200)], LIMITS).await;
        assert_eq!(played.status(), 200);
        assert!(played.tries[1] >= seconds(7) && played.tries[1] < seconds(8));
    }

    #[tokio::test(start_paused = true)]
    async fn but_not_past_the_deadline() {
        for value in ["20", "3600", "18446744073709551615"] {
            let wait = Act::Answer(429, vec![("Retry-After", value)]);
            let played = play([wait, status(200)], LIMITS).await;
            assert_eq!((played.status(), played.tries.len()), (429, 1));
            // It would be pointless to keep the buyer waiting for that.
            assert_eq!(played.took, Duration::ZERO);
        }
        for unreadable in ["", "-1", "soon", "Wed, 21 Oct 2026 07:28:00 GMT"] {
            let wait = Act::Answer(503, vec![("Retry-After", unreadable)]);
            assert_eq!(play([wait, status(200)], LIMITS).await.status(), 200);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_try_that_hangs_leaves_room_for_a_second_as_long() {
        let slow = Act::After(Duration::from_millis(7_900), 200);
        let played = play([Act::Hang, slow], LIMITS).await;
        assert_eq!((played.status(), played.tries.len()), (200, 2));

        let played = play([Act::Hang], LIMITS).await;
        assert!(matches!(played.outcome, Err(NoAnswer::TimedOut)));
        assert_eq!(played.tries.len(), 3);
        assert!(played.took <= LIMITS.deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_tries_is_kept() {
        for tries in [1, 2, 3, 7] {
            let played = play([Act::Refuse], Limits { tries, ..LIMITS }).await;
            assert_eq!(played.tries.len(), tries as usize);
            assert!(matches!(
                played.outcome,
                Err(NoAnswer::Transport(TransportError::Connect(_)))
            ));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_answer_is_what_counts() {
        let acts = [Act::Hang, status(500), Act::Refuse, status(503)];
        assert_eq!(play(acts, LIMITS).await.status(), 503);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_found_closed_is_replaced_at_once_but_only_once() {
        fastrand::seed(7);
        let played = play([Act::Stale, Act::Stale, status(200)], LIMITS).await;
        assert_eq!(played.tries[1], Duration::ZERO);
        assert!(played.tries[2] > Duration::ZERO);
        // A connection that was just opened and broke is a fault of the server, so the retry waits.
        let played = play([Act::Break, status(200)], LIMITS).await;
        assert!(played.tries[1] > Duration::ZERO);
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_are_spread_over_all_of_it() {
        for (tries, most) in [
            (1, 500),
            (2, 1000),
            (3, 2000),
            (4, 4000),
            (5, 4000),
            (u32::MAX, 4000),
        ] {
            let most = Duration::from_millis(most);
            let pauses: Vec<_> = (0..1000).map(|_| backoff(tries)).collect();
            assert!(pauses.iter().all(|pause| *pause <= most));
            assert!(pauses.iter().any(|pause| *pause < most / 10));
            assert!(pauses.iter().any(|pause| *pause > most * 9 / 10));
        }
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            Just(Act::Hang),
            Just(Act::Refuse),
            Just(Act::Break),
            Just(Act::Stale),
            (100..600_u16).prop_map(status),
            (0..30_000_u64, prop_oneof![Just(503), Just(409), Just(200)])
                .prop_map(|(ms, code)| Act::After(Duration::from_millis(ms), code)),
            prop::sample::select(vec!["0", "1", "5", "9", "100"])
                .prop_map(|after| Act::Answer(429, vec![("retry-after", after)])),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_the_deadline_and_the_tries_are_kept(
            acts in prop::collection::vec(act(), 1..8),
            deadline in 10..60_000_u64,
            tries in 1..9_u32,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let limits = Limits { deadline: Duration::from_millis(deadline), tries };
            let played = runtime.block_on(play(acts, limits));
            // tokio's timers fire on the next whole millisecond, once for the pause and once for
            // the try.
            prop_assert!(played.took <= limits.deadline + Duration::from_millis(2), "{:?}", played.took);
            prop_assert!(played.tries.len() <= tries as usize);
        }
    }
}
