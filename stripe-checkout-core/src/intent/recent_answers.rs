//! What Stripe answered to visitors' look-ups within the last second.
//!
//! A page that is reloaded, and a stranger who asks for one payment without end, cost one call a
//! second. Only look-ups that show how a payment stands are answered from here: whatever decides
//! about money asks Stripe.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::gateway::Unsuccessful;
use super::transport::TransportResponse;
use super::visitor_calls::ClientKey;
use crate::error::ApiError;

/// For how long an answer is good enough.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(1);
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
pub(super) struct RecentAnswers {
    answers: Mutex<HashMap<Question, (Instant, Answer)>>,
    /// One look-up of one client at a time asks Stripe the same. Another client's does not wait
    /// for it: a stranger's call in the queue never holds a buyer up.
    asking: Mutex<HashMap<(Option<ClientKey>, Question), Turn>>,
}

impl RecentAnswers {
    /// The answer of the last second, if there is one.
    pub(super) fn find(&self, question: &Question) -> Option<Answer> {
        let answers = lock(&self.answers);
        let (at, answer) = answers.get(question)?;
        (at.elapsed() < REMEMBERED).then(|| answer.clone())
    }

    /// Keeps an answer for a second. A failure that may pass is not kept.
    pub(super) fn keep(&self, question: Question, answer: &Answer) {
        let lasts = match answer {
            Ok(_) => true,
            Err(unsuccessful) => matches!(unsuccessful.error, ApiError::InvalidRequest { .. }),
        };
        let mut answers = lock(&self.answers);
        answers.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        if lasts && answers.len() < MOST {
            answers.insert(question, (Instant::now(), answer.clone()));
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
