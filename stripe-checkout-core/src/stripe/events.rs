//! Stripe's list of events.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::request_id;
use super::api_error::ApiError;
use super::call::Call;
use super::form::encoded;
use super::gateway::Gateway;
use crate::webhook::Event;

impl Gateway {
    /// A page of the events of these types that were created from this time on and before that one
    /// (seconds since 1970), the newest first. With an account, the list is that of this connected
    /// account, and each event names it. Stripe goes back 30 days.
    /// See <https://docs.stripe.com/api/events/list>.
    pub(crate) async fn list_events(
        &self,
        types: &[&str],
        from: u64,
        until: Option<u64>,
        after: Option<&str>,
        limit: usize,
        account: Option<&str>,
    ) -> Result<EventPage, ApiError> {
        let mut query = vec![
            ("limit", limit.to_string()),
            ("created[gte]", from.to_string()),
        ];
        query.extend(until.map(|until| ("created[lt]", until.to_string())));
        query.extend(after.map(|after| ("starting_after", after.to_owned())));
        query.extend(types.iter().map(|wanted| ("types[]", (*wanted).to_owned())));
        let query = encoded(query);
        let answer = self
            .send(Call::get("/events", Some(&query), account))
            .await?;
        EventPage::read(&answer.body, account).ok_or_else(|| {
            tracing::warn!("the list of events that Stripe sent could not be read");
            ApiError::UnexpectedAnswer {
                status: answer.status,
                request_id: request_id(&answer),
            }
        })
    }
}

/// A page of a list of events.
pub(crate) struct EventPage {
    /// The newest first.
    pub(crate) events: Vec<Event>,
    pub(crate) has_more: bool,
}

impl EventPage {
    fn read(body: &[u8], account: Option<&str>) -> Option<Self> {
        #[derive(Deserialize)]
        struct List<'a> {
            #[serde(borrow)]
            data: Vec<&'a RawValue>,
            has_more: bool,
        }
        let list: List<'_> = serde_json::from_slice(body).ok()?;
        let events = list.data.iter().map(|event| {
            let event = Event::parse(event.get()).ok()?;
            match account {
                Some(account) => event.listed_on(account).ok(),
                None => Some(event),
            }
        });
        Some(Self {
            events: events.collect::<Option<_>>()?,
            has_more: list.has_more,
        })
    }
}
