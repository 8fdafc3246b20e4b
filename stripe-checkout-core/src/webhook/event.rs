#[cfg(feature = "intent")]
use std::collections::BTreeMap;
use std::{any::type_name, borrow::Cow, fmt, ops::Range, sync::Arc};

use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
#[cfg(feature = "intent")]
use serde_json::value::to_raw_value;

use super::json::{self, Named};
use crate::error::EventError;

/// An event from Stripe: the envelope is parsed, and `data.object` stays JSON.
///
/// So it can hold any event of any API version. It does not know the types of events. A field that
/// Stripe adds, drops or changes inside the object cannot make a genuine event unreadable. To read
/// what happened to a payment, use [`Outcome::of`](super::Outcome::of). To read any other object,
/// use [`object`](Self::object) with a type of your own that names the few fields you need.
///
/// Parsing does not check who sent the event: verify the body first, with a
/// [`Verifier`](super::Verifier).
///
/// Thin notifications of Stripe's API v2 (`"object": "v2.core.event"`) are events too. They have no
/// object, only a [`related_object`](Self::related_object).
///
/// See <https://docs.stripe.com/api/events/object>.
///
/// ```
/// use stripe_checkout_core::webhook::Event;
///
/// let event = Event::parse(
///     br#"{"id":"evt_1","object":"event","type":"customer.created","created":1700000000,
///          "livemode":false,"data":{"object":{"id":"cus_1","object":"customer","name":"Jenny"}}}"#,
/// )?;
/// assert_eq!(event.event_type(), "customer.created");
///
/// #[derive(serde::Deserialize)]
/// struct Customer {
///     name: Option<String>,
/// }
/// assert_eq!(event.object::<Customer>()?.name.as_deref(), Some("Jenny"));
/// # Ok::<(), stripe_checkout_core::EventError>(())
/// ```
#[derive(Clone)]
pub struct Event(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    head: Head,
    body: String,
}

#[derive(Clone)]
struct Head {
    id: String,
    event_type: String,
    created: i64,
    livemode: bool,
    thin: bool,
    account: Option<String>,
    /// Whether only `context` names the account.
    by_context: bool,
    api_version: Option<String>,
    /// The position of `request` in the body; that of `reason` in a thin notification.
    request: Option<Range<usize>>,
    related: Option<RelatedObject>,
    /// The positions of `data.object` and `data.previous_attributes` in the body.
    object: Option<Range<usize>>,
    previous_attributes: Option<Range<usize>>,
}

impl Event {
    /// Reads the envelope. It takes a `Vec<u8>`, a `String` or unshared `Bytes` without a copy.
    ///
    /// If the body is not UTF-8, each invalid part becomes U+FFFD, as in Stripe's Node SDK.
    ///
    /// # Errors
    /// [`EventError::NotAnEvent`] if the body is not one JSON object with an `id` and a `type`, if
    /// it names a field of the envelope twice, or if its `object` is not an event.
    pub fn parse(body: impl Into<Vec<u8>>) -> Result<Self, EventError> {
        let body = String::from_utf8(body.into())
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        let head = Head::read(&body)?;
        Ok(Self(Arc::new(Inner { head, body })))
    }

    /// The event's id, like `evt_1NG8Du2eZvKYlo2CUI79vXWy`. Stripe may deliver the same event more
    /// than once, always with the same id.
    pub fn id(&self) -> &str {
        &self.0.head.id
    }

    /// The type of the event, like `payment_intent.succeeded`. Types that are newer than this crate
    /// are returned as they are.
    pub fn event_type(&self) -> &str {
        &self.0.head.event_type
    }

    /// The time of the event, in seconds since 1970; 0 if the event does not say. Whole seconds
    /// cannot order events, and Stripe does not promise to deliver events in order.
    pub fn created(&self) -> i64 {
        self.0.head.created
    }

    /// The time since Stripe made the event. An event without a time counts as made in 1970.
    pub(crate) fn age(&self) -> Duration {
        let created = Duration::from_secs(self.created().max(0).unsigned_abs());
        let now = UNIX_EPOCH.elapsed().unwrap_or_default();
        now.saturating_sub(created)
    }

    /// Whether the event is about real money; false if it does not say.
    pub fn livemode(&self) -> bool {
        self.0.head.livemode
    }

    /// The connected account of the event, like `acct_1032D82eZvKYlo2C`; none for your own account.
    ///
    /// If `account` is absent, `context` names it: in thin notifications, and in events that an
    /// [organisation](https://docs.stripe.com/get-started/account/orgs) sends. The context can be a
    /// path such as `acct_1/acct_2`. Its last account counts. An organisation also names your own
    /// account in this way. A [`Checkout`](crate::Checkout) recognises your own account by its
    /// keys.
    pub fn account(&self) -> Option<&str> {
        self.0.head.account.as_deref()
    }

    /// The API version in which Stripe rendered the object, like `2026-09-30.endive`.
    pub fn api_version(&self) -> Option<&str> {
        self.0.head.api_version.as_deref()
    }

    /// The id of the API request that caused the event, like `req_KyKHzzxwz8bxHY`; none if Stripe
    /// caused it itself.
    pub fn request_id(&self) -> Option<String> {
        self.request().id
    }

    /// The idempotency key of the API request that caused the event.
    pub fn request_idempotency_key(&self) -> Option<String> {
        self.request().idempotency_key
    }

    /// Whether this is a thin notification of Stripe's API v2, which names its object but does not
    /// contain it.
    pub fn is_thin(&self) -> bool {
        self.0.head.thin
    }

    /// The object that a thin notification is about.
    pub fn related_object(&self) -> Option<&RelatedObject> {
        self.0.head.related.as_ref()
    }

    /// `data.object` as JSON, byte for byte as Stripe sent it. It may hold client secrets and
    /// personal data: do not log it.
    pub fn object_json(&self) -> Option<&str> {
        self.slice(&self.0.head.object)
    }

    /// `data.previous_attributes` as JSON: the earlier values of the fields that an `….updated`
    /// event changed.
    pub fn previous_attributes_json(&self) -> Option<&str> {
        self.slice(&self.0.head.previous_attributes)
    }

    /// The id of the object that the event is about, like `pi_3MtwBwLkdIwHu7ix28a3tqPa`.
    pub fn object_id(&self) -> Option<&str> {
        #[derive(Deserialize)]
        struct Id<'a> {
            // No id of Stripe's needs an escape in JSON.
            id: &'a str,
        }
        match &self.0.head.related {
            Some(related) => Some(related.id()),
            None => serde_json::from_str::<Id<'_>>(self.object_json()?)
                .ok()
                .map(|object| object.id),
        }
    }

    /// Reads `data.object` as a type of your own, or as [`Payment`](super::Payment),
    /// [`Refund`](super::Refund) or [`Dispute`](super::Dispute).
    ///
    /// # Errors
    /// [`EventError::UnexpectedObject`]. Do not return an error to Stripe for that: the event is
    /// genuine, and a redelivery would contain the same object.
    pub fn object<T: DeserializeOwned>(&self) -> Result<T, EventError> {
        let object = self
            .object_json()
            .ok_or_else(|| self.unexpected::<T>("it has no `data.object`"))?;
        serde_json::from_str(object).map_err(|error| self.unexpected::<T>(json::describe(&error)))
    }

    /// The whole body as text, which you can store and [`parse`](Self::parse) again. It may hold
    /// client secrets and personal data: do not log it.
    pub fn body(&self) -> &str {
        &self.0.body
    }

    /// Replaces every `client_secret` in the body, at any depth, with `null`. The result may be
    /// stored. Everything else in the body stays where it was.
    #[must_use]
    pub fn without_client_secrets(self) -> Self {
        let Inner { head, body } = Arc::unwrap_or_clone(self.0);
        let body = json::hide_client_secrets(body);
        Self(Arc::new(Inner { head, body }))
    }

    /// Removes the account of the event if only `context` names it and it is the merchant's own.
    pub(crate) fn unless_own(self, is_own: impl Fn(&str) -> bool) -> Self {
        if !self.0.head.by_context || !self.account().is_some_and(is_own) {
            return self;
        }
        let mut inner = Arc::unwrap_or_clone(self.0);
        inner.head.account = None;
        Self(Arc::new(inner))
    }

    /// Sets the connected account whose list shows the event. Events in the list of an account need
    /// not name it. From then on the body names the account, so that the event can be stored.
    ///
    /// # Errors
    /// [`EventError::NotAnEvent`].
    #[cfg(feature = "intent")]
    pub(crate) fn listed_on(self, account: &str) -> Result<Self, EventError> {
        let is_named = self.account() == Some(account);
        // Another account that the event itself names stays: the money is not this account's.
        if is_named || (self.account().is_some() && !self.0.head.by_context) {
            return Ok(self);
        }
        let mut fields: BTreeMap<String, &RawValue> =
            serde_json::from_str(self.body()).map_err(json::not_an_event)?;
        let account = to_raw_value(account).map_err(json::not_an_event)?;
        fields.insert("account".to_owned(), &account);
        Self::parse(serde_json::to_vec(&fields).map_err(json::not_an_event)?)
    }

    /// Whether only `context` names the account.
    pub(crate) fn is_named_by_context(&self) -> bool {
        self.0.head.by_context && self.account().is_some()
    }

    pub(super) fn unexpected<T>(&self, source: impl Into<crate::error::BoxError>) -> EventError {
        let path = type_name::<T>();
        EventError::UnexpectedObject {
            event_type: self.event_type().to_owned(),
            expected: path.rsplit("::").next().unwrap_or(path),
            source: source.into(),
        }
    }

    fn request(&self) -> Request {
        self.slice(&self.0.head.request)
            .map(Request::read)
            .unwrap_or_default()
    }

    fn slice(&self, range: &Option<Range<usize>>) -> Option<&str> {
        self.0.body.get(range.clone()?)
    }
}

impl Head {
    fn read(body: &str) -> Result<Self, EventError> {
        let Named(envelope): Named<Envelope<'_>> =
            serde_json::from_str(body).map_err(json::not_an_event)?;
        let thin = match &*envelope.object {
            "" | "event" => false,
            "v2.core.event" => true,
            _ => return Err(EventError::NotAnEvent("its `object` is not `event`".into())),
        };
        if envelope.id.is_empty() || envelope.event_type.is_empty() {
            return Err(EventError::NotAnEvent("its `id` or `type` is empty".into()));
        }
        let data = envelope.data.map(|Named(data)| data).unwrap_or_default();
        let account = envelope.account.filter(|account| !account.is_empty());
        let account = account.map(Cow::into_owned);
        let context = envelope.context.and_then(json::lenient::<String>);
        let named = context.as_deref().and_then(last_account);
        Ok(Self {
            id: envelope.id.into_owned(),
            event_type: envelope.event_type.into_owned(),
            created: envelope.created.map(seconds).unwrap_or_default(),
            livemode: envelope.livemode.unwrap_or_default(),
            thin,
            by_context: account.is_none(),
            account: account.or(named),
            api_version: envelope.api_version.map(Cow::into_owned),
            request: envelope
                .request
                .or(envelope.reason)
                .and_then(|json| range(body, json.get())),
            related: envelope.related_object.and_then(json::lenient),
            object: data.object.and_then(|json| range(body, json.get())),
            previous_attributes: data
                .previous_attributes
                .and_then(|json| range(body, json.get())),
        })
    }
}

/// Shows the envelope, and nothing of the body.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id())
            .field("event_type", &self.event_type())
            .field("created", &self.0.head.created)
            .field("livemode", &self.0.head.livemode)
            .field("account", &self.account())
            .field("api_version", &self.api_version())
            .finish_non_exhaustive()
    }
}

/// The object that a thin notification of Stripe's API v2 is about.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RelatedObject {
    id: String,
    #[serde(rename = "type")]
    object_type: String,
    #[serde(default)]
    url: String,
}

impl RelatedObject {
    /// The id of the object.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The type of the object, like `v2.core.account` or `billing.meter`.
    pub fn object_type(&self) -> &str {
        &self.object_type
    }

    /// The path of the object below the API's base.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// The fields of the envelope. Only fields that every event since 2014 has in the same form have a
/// type here. Fields whose type changed over the years stay raw.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    object: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    livemode: Option<bool>,
    #[serde(borrow)]
    account: Option<Cow<'a, str>>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    #[serde(borrow)]
    api_version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    request: Option<&'a RawValue>,
    #[serde(borrow)]
    reason: Option<&'a RawValue>,
    #[serde(borrow)]
    related_object: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<Named<Data<'a>>>,
}

#[derive(Default, Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    previous_attributes: Option<&'a RawValue>,
}

/// The request that caused an event. `request` is an object since 2017-05-25. Before, it was the
/// request's id. In thin notifications it is inside `reason`.
#[derive(Default, Deserialize)]
struct Request {
    id: Option<String>,
    idempotency_key: Option<String>,
}

impl Request {
    fn read(json: &str) -> Self {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Reason { request: Request },
            Request(Request),
            Id(String),
        }
        match serde_json::from_str(json) {
            Ok(Form::Reason { request } | Form::Request(request)) => request,
            Ok(Form::Id(id)) => Self {
                id: Some(id),
                idempotency_key: None,
            },
            Err(_) => Self::default(),
        }
    }
}

/// The last account of a context such as `acct_1` or `acct_1/acct_2`.
fn last_account(context: &str) -> Option<String> {
    let mut parts = context.split('/').rev();
    let account = parts.find(|part| part.len() > 5 && part.starts_with("acct_"))?;
    Some(account.to_owned())
}

/// Seconds since 1970 from a number, or from the RFC 3339 text of thin notifications.
fn seconds(created: &RawValue) -> i64 {
    json::lenient(created)
        .or_else(|| rfc3339(&json::lenient::<String>(created)?))
        .unwrap_or_default()
}

/// Seconds since 1970 from a text like `2026-09-30T06:20:52.246Z`. Stripe writes UTC only, so this
/// reads no offset.
fn rfc3339(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time.split('.').next()?, ':')?;
    // Days since 1970. The year starts in March here:
    // http://howardhinnant.github.io/date_algorithms.html
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Three small numbers, so that the arithmetic on them cannot overflow.
fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text
        .split(separator)
        .map(|part| part.parse::<u16>().ok().map(i64::from));
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// The position in the body of a text that was borrowed from it.
fn range(body: &str, text: &str) -> Option<Range<usize>> {
    let start = text.as_ptr().addr().checked_sub(body.as_ptr().addr())?;
    Some(start..start.checked_add(text.len())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account_of(fields: &str) -> Option<String> {
        let event = format!(r#"{{"id":"evt_1","type":"customer.created"{fields}}}"#);
        let event = Event::parse(event).unwrap();
        event.account().map(str::to_owned)
    }

    #[test]
    fn the_context_names_the_account_where_nothing_else_does() {
        for (fields, account) in [
            ("", None),
            (r#","context":null"#, None),
            (r#","context":"""#, None),
            (r#","context":{}"#, None),
            (r#","context":"workspace_1""#, None),
            (r#","context":"org_1""#, None),
            (r#","context":"acct_""#, None),
            (r#","context":"acct_1""#, Some("acct_1")),
            (r#","context":"acct_1/acct_2""#, Some("acct_2")),
            (r#","context":"org_1/acct_1/acct_2""#, Some("acct_2")),
            (r#","context":"acct_1","account":null"#, Some("acct_1")),
            (r#","context":"acct_1","account":"""#, Some("acct_1")),
            (r#","context":"acct_1","account":"acct_2""#, Some("acct_2")),
        ] {
            assert_eq!(account_of(fields).as_deref(), account, "{fields}");
        }
    }

    #[cfg(feature = "intent")]
    #[test]
    fn an_event_in_the_list_of_an_account_names_it() {
        for (fields, account) in [
            ("", "acct_1"),
            (r#","account":null"#, "acct_1"),
            (r#","account":"""#, "acct_1"),
            (r#","account":"acct_1""#, "acct_1"),
            (r#","context":"acct_own""#, "acct_1"),
            (r#","account":"acct_2""#, "acct_2"),
        ] {
            let data = r#""data":{"object":{"n":1.50,"é":"\u00e9"}}"#;
            let event = format!(r#"{{"id":"evt_1","type":"customer.created"{fields},{data}}}"#);
            let event = Event::parse(event).unwrap().listed_on("acct_1").unwrap();
            assert_eq!(event.account(), Some(account), "{fields}");
            assert_eq!(event.object_json(), Some(r#"{"n":1.50,"é":"\u00e9"}"#));
            let stored = Event::parse(event.without_client_secrets().body()).unwrap();
            assert_eq!(stored.account(), Some(account), "{fields}");
        }
    }

    #[test]
    fn only_a_context_can_name_the_own_account() {
        let is_own = |account: &str| account == "acct_1";
        for (fields, account) in [
            (r#","context":"acct_1""#, None),
            (r#","context":"acct_1/acct_2""#, Some("acct_2")),
            (r#","account":"acct_1""#, Some("acct_1")),
        ] {
            let event = format!(r#"{{"id":"evt_1","type":"customer.created"{fields}}}"#);
            let event = Event::parse(event).unwrap().unless_own(is_own);
            assert_eq!(event.account(), account, "{fields}");
        }
    }
}
