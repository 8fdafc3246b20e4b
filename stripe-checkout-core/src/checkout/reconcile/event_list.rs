//! A list of events, of the own account or of a connected one: receives what Stripe lists and the
//! inbox does not have.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::report::{ReconcileError, ReconcilePart};
use super::{BEFORE_BIRTH, NO_ANSWERS, REACH, Run, is_no_answer, now, payments, seconds, taken};
use crate::error::InboxError;
use crate::stripe::{ApiError, EventPage};
use crate::webhook::{EVENT_TYPES, Event};

/// What Stripe lists late, it lists within this time.
const OVERLAP: Duration = Duration::from_secs(60 * 60);

/// How many types Stripe takes in one list.
const TYPES: usize = 20;

/// How many events a page has: all that Stripe gives, and few if the page is too large to be read.
const PAGES: [usize; 2] = [100, 10];

/// How many events are held at a time, in order to take the oldest of them in first.
const HELD: usize = 500;

/// After how many stretches that are too long the next one is cut in half: Stripe lists the newest
/// first, and a run must reach the oldest before its requests are used up.
const STRETCHES: usize = 8;

/// With fewer requests than this, a stretch that is too long is always cut in half.
const FEW_REQUESTS: u32 = 200;

/// After how many events it is written down how far the run has come.
const CHUNK: usize = 100;

/// A difference of clocks that is worth another list, in seconds.
const SKEW: u64 = 60;

/// The name of the note that says how far the list was received. The note of a connected account
/// also bears the account's name.
const BOOKMARK: &str = "events";

/// The name of the note that says by how many seconds the machine's clock was ahead of Stripe's
/// when it was first compared, soon after the birth. The birth was written by that clock.
const CLOCK: &str = "clock";

/// How far the list was received.
#[derive(Serialize, Deserialize)]
struct Reached {
    /// When the newest event that was received was created, in seconds since 1970 by Stripe's
    /// clock.
    created: u64,
}

/// The note, as it is stored and as it is read.
struct Bookmark {
    name: String,
    text: Option<String>,
    created: Option<u64>,
    /// An event before the newest could not be stored: the note stays before it.
    stuck: bool,
}

impl Bookmark {
    fn read(name: String, text: Option<String>) -> Self {
        let created = match text.as_deref().map(serde_json::from_str::<Reached>) {
            Some(Ok(reached)) => Some(reached.created),
            Some(Err(error)) => {
                tracing::warn!(error = %crate::error::Chain(&error), "the note of how far Stripe's events were received cannot be read: the run begins at the inbox's birth");
                None
            }
            None => None,
        };
        Self {
            name,
            text,
            created,
            stuck: false,
        }
    }
}

/// The events of a stretch of time.
enum Listed {
    /// The oldest first.
    All(VecDeque<Event>),
    /// They are too many to be held. Before this time there are fewer by [`HELD`].
    TooMany { until: u64 },
    /// No request is left for them.
    OutOfRequests,
}

/// In seconds since 1970.
fn created(event: &Event) -> u64 {
    event.created().max(0).unsigned_abs()
}

impl Run {
    /// Receives Stripe's list of events of an account, the oldest first. Returns whether it came to
    /// the end of the list.
    pub(super) async fn list_events(
        &mut self,
        birth: SystemTime,
        account: Option<&str>,
    ) -> Result<bool, ReconcileError> {
        let fulfillment = &self.checkout.inner.fulfillment;
        let name = account.map_or(BOOKMARK.to_owned(), |account| {
            format!("{BOOKMARK} {account}")
        });
        let text = fulfillment.bookmark(&self.scope, &name).await?;
        let mut mark = Bookmark::read(name, text);
        let ahead = self.ahead_at_birth(birth).await?;
        let mut knows_the_clock = ahead.is_some();
        let mut from = self.begins(birth, ahead, &mark);
        // Where the stretches end that are too long to be received at once, the next one last.
        // Behind them is one without an end: what is new is in it, whatever our clock says.
        let mut ends: Vec<u64> = Vec::new();
        while !self.is_stopped() {
            let until = ends.last().copied();
            let listed = self.listed(account, from, until).await?;
            // The first answer of Stripe's on this inbox tells its clock.
            if !knows_the_clock {
                knows_the_clock = true;
                let ahead = self.ahead_at_birth(birth).await?;
                let again = self.begins(birth, ahead, &mark);
                if again.abs_diff(from) >= SKEW {
                    from = again;
                    continue;
                }
            }
            match listed {
                Listed::OutOfRequests => return Ok(false),
                Listed::TooMany { until }
                    if ends.len() >= STRETCHES || self.requests < FEW_REQUESTS =>
                {
                    ends.push(from + (until - from).div_ceil(2));
                }
                Listed::TooMany { until } => ends.push(until),
                Listed::All(events) => {
                    tracing::debug!(
                        account,
                        from,
                        until,
                        events = events.len(),
                        "Stripe's events"
                    );
                    if !self.receive_all(account, events, &mut mark).await? {
                        return Ok(false);
                    }
                    let Some(until) = ends.pop() else {
                        return Ok(true);
                    };
                    from = until;
                }
            }
        }
        Ok(false)
    }

    /// The difference of the clocks in the inbox's first days, as soon as an answer of Stripe's
    /// told it.
    async fn ahead_at_birth(&self, birth: SystemTime) -> Result<Option<i64>, ReconcileError> {
        let fulfillment = &self.checkout.inner.fulfillment;
        if let Some(known) = fulfillment.bookmark(&self.scope, CLOCK).await? {
            return Ok(known.parse().ok());
        }
        let Some(ahead) = payments(&self.checkout)?.gateway.ahead_of_stripe() else {
            return Ok(None);
        };
        // A birth in the future was written before the clock was set back by this much.
        let set_back = seconds(birth).saturating_sub(now());
        let ahead = ahead.saturating_add_unsigned(set_back);
        let stored = self.put_bookmark(CLOCK, None, ahead.to_string()).await?;
        Ok(stored.and_then(|stored| stored.parse().ok()))
    }

    /// When the list begins, in seconds since 1970 by Stripe's clock.
    fn begins(&self, birth: SystemTime, ahead: Option<i64>, mark: &Bookmark) -> u64 {
        // Small differences are the way that an answer takes.
        let ahead = ahead.filter(|ahead| ahead.unsigned_abs() >= SKEW);
        let born = match ahead {
            Some(ahead) => seconds(birth).saturating_add_signed(ahead.saturating_neg()),
            // A birth in the future was written by a clock that was wrong.
            None => seconds(birth).min(now()),
        };
        let born = born.saturating_sub(BEFORE_BIRTH.as_secs());
        let begins = match mark.created {
            // It goes back behind the birth only where the merchant asked for that before.
            Some(mark) if mark < born => mark.saturating_sub(OVERLAP.as_secs()),
            Some(mark) => born.max(mark.saturating_sub(OVERLAP.as_secs())),
            None => born,
        };
        let begins = match &self.since {
            Some(since) => {
                let reached = since.reached.get(&mark.name).copied();
                begins.min(reached.unwrap_or(since.time))
            }
            None => begins,
        };
        begins.max(now().saturating_sub(REACH.as_secs()))
    }

    /// The events of a stretch of time, of all types.
    async fn listed(
        &mut self,
        account: Option<&str>,
        from: u64,
        until: Option<u64>,
    ) -> Result<Listed, ReconcileError> {
        let mut all = VecDeque::new();
        for types in EVENT_TYPES.chunks(TYPES) {
            match self.listed_of(account, types, from, until).await? {
                Listed::All(events) => all.extend(events),
                ended => return Ok(ended),
            }
        }
        // Of one second those come first whose types do.
        all.make_contiguous().sort_by_key(Event::created);
        Ok(Listed::All(all))
    }

    /// The events of a stretch of time, of these types.
    async fn listed_of(
        &mut self,
        account: Option<&str>,
        types: &[&str],
        from: u64,
        until: Option<u64>,
    ) -> Result<Listed, ReconcileError> {
        let mut events = VecDeque::new();
        let mut anew = true;
        loop {
            if !self.may_ask() {
                return Ok(Listed::OutOfRequests);
            }
            let after = events.front().map(Event::id);
            let page = match self.page(account, types, from, until, after).await {
                // What the last page ended with has become too old for Stripe meanwhile.
                Err(ApiError::InvalidRequest {
                    code: Some(code), ..
                }) if code == "resource_missing" && after.is_some() && anew => {
                    anew = false;
                    events.clear();
                    continue;
                }
                page => page?,
            };
            let last = page.events.is_empty() || !page.has_more;
            for event in page.events {
                events.push_front(event);
            }
            if last {
                // Stripe sorts by this time already. The bookmark relies on it.
                events.make_contiguous().sort_by_key(Event::created);
                return Ok(Listed::All(events));
            }
            let reached = events.front().map_or(from, created);
            // The rest is older, but a second cannot be parted.
            if events.len() >= HELD && reached > from {
                return Ok(Listed::TooMany { until: reached });
            }
        }
    }

    async fn page(
        &self,
        account: Option<&str>,
        types: &[&str],
        from: u64,
        until: Option<u64>,
        after: Option<&str>,
    ) -> Result<EventPage, ApiError> {
        let gateway = &payments(&self.checkout)?.gateway;
        let mut answer = Err(ApiError::Timeout);
        for limit in PAGES {
            answer = gateway
                .list_events(types, from, until, after, limit, account)
                .await;
            if !matches!(answer, Err(ApiError::UnexpectedAnswer { .. })) {
                break;
            }
        }
        answer
    }

    /// Receives events, and writes down after each chunk how far that is. `false` if it was stopped
    /// before all were received. An event that cannot be stored keeps none behind it waiting, but
    /// the next run begins at it.
    async fn receive_all(
        &mut self,
        account: Option<&str>,
        events: VecDeque<Event>,
        mark: &mut Bookmark,
    ) -> Result<bool, ReconcileError> {
        let part = match account {
            Some(_) => ReconcilePart::AccountEvents,
            None => ReconcilePart::EventList,
        };
        let mut events = events.into_iter();
        let mut in_a_row = 0;
        loop {
            let chunk: Vec<_> = events.by_ref().take(CHUNK).collect();
            let Some(newest) = chunk.last().map(created) else {
                return Ok(true);
            };
            if self.is_stopped() {
                return Ok(false);
            }
            for event in chunk {
                self.report.events += 1;
                match taken(&self.checkout, event, false).await {
                    Ok(taken) => {
                        in_a_row = 0;
                        self.count(taken);
                    }
                    Err(error) => {
                        let error = ReconcileError::from(error);
                        in_a_row += u32::from(is_no_answer(&error));
                        mark.stuck = true;
                        if in_a_row >= NO_ANSWERS {
                            return Err(error);
                        }
                        self.fail(part, account, None, error);
                    }
                }
            }
            if mark.stuck {
                continue;
            }
            if let Some(since) = &mut self.since {
                since.reached.insert(mark.name.clone(), newest);
            }
            if mark.created.is_none_or(|reached| reached < newest) {
                self.mark_events(newest, mark).await?;
            }
        }
    }

    async fn mark_events(&self, newest: u64, mark: &mut Bookmark) -> Result<(), InboxError> {
        let text = serde_json::to_string(&Reached { created: newest })
            .map_err(|error| InboxError::Unavailable(error.into()))?;
        let before = mark.text.as_deref();
        let stored = self.put_bookmark(&mark.name, before, text).await?;
        *mark = Bookmark::read(std::mem::take(&mut mark.name), stored);
        Ok(())
    }
}
