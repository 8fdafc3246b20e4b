//! What Stripe answered to visitors' look-ups within the last second.
//!
//! A page that is reloaded, and a stranger who asks for one payment without end, cost one call a
//! second. Only look-ups that show how a payment stands are answered from here: whatever decides
//! about money asks Stripe.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::api_error::{ApiError, Unsuccessful};
use super::transport::TransportResponse;
use super::visitor_calls::ClientKey;

/// For how long an answer is good enough.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(1);
/// For how long news is remembered: no answer takes longer.
const LONGEST_ANSWER: Duration = Duration::from_secs(60);
/// How many answers are kept at most. The rate of visitors' calls keeps far fewer.
const MOST: usize = 1000;

type Answer = Result<TransportResponse, Unsuccessful>;

/// A look-up: the address, and the connected account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) url: String,
    pub(super) account: Option<String>,
}

type Turn = Arc<tokio::sync::Mutex<()>>;

#[derive(Default)]
struct Remembered {
    answers: HashMap<Question, (Instant, Answer)>,
    /// Objects about which there was news, and when. An answer that was under way then is too old.
    news: HashMap<String, Instant>,
}

#[derive(Default)]
pub(super) struct RecentAnswers {
    remembered: Mutex<Remembered>,
    /// One look-up of one client at a time asks Stripe the same. Another client's does not wait
    /// for it: a stranger's call in the queue never holds a buyer up.
    asking: Mutex<HashMap<(Option<ClientKey>, Question), Turn>>,
}

impl RecentAnswers {
    /// The answer of the last second, if there is one.
    pub(super) fn find(&self, question: &Question) -> Option<Answer> {
        let remembered = lock(&self.remembered);
        let (at, answer) = remembered.answers.get(question)?;
        (at.elapsed() < REMEMBERED).then(|| answer.clone())
    }

    /// Keeps the answer to a question that was asked at this time, for a second. A failure that may
    /// pass is not kept, and neither is an answer that may be older than the news of its object.
    pub(super) fn keep(&self, question: Question, asked: Instant, answer: &Answer) {
        let lasts = match answer {
            Ok(_) => true,
            Err(unsuccessful) => matches!(
                unsuccessful.error,
                ApiError::InvalidRequest { .. }
                    | ApiError::Permission { .. }
                    | ApiError::Authentication { .. }
            ),
        };
        let mut remembered = lock(&self.remembered);
        let Remembered { answers, news } = &mut *remembered;
        answers.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        let is_old = |(id, at): (&String, &Instant)| *at >= asked && question.url.contains(id);
        news.retain(|_, at| at.elapsed() < LONGEST_ANSWER);
        // With so much news, some of it is not remembered.
        let is_known = news.len() < MOST;
        if lasts && is_known && answers.len() < MOST && !news.iter().any(is_old) {
            answers.insert(question, (Instant::now(), answer.clone()));
        }
    }

    /// Forgets what was answered about this object: it may have changed since.
    pub(super) fn forget(&self, id: &str) {
        let mut remembered = lock(&self.remembered);
        let Remembered { answers, news } = &mut *remembered;
        answers.retain(|question, _| !question.url.contains(id));
        news.retain(|_, at| at.elapsed() < LONGEST_ANSWER);
        if news.len() < MOST {
            news.insert(id.to_owned(), Instant::now());
        } else {
            // From here on, any answer may be too old.
            answers.clear();
        }
    }

    /// The turn of this client's look-ups of this question.
    pub(super) fn turn(&self, client: Option<ClientKey>, question: &Question) -> Turn {
        let mut asking = lock(&self.asking);
        asking.retain(|_, turn| Arc::strong_count(turn) > 1);
        let turn = asking.entry((client, question.clone())).or_default();
        Arc::clone(turn)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
