//! Every error of the crate.
//!
//! They stand together so that one reading tells what can go wrong. No error prints a key, a client secret, a signature or a body; a cause from another
//! crate is kept as `source` and never shown in `Display`, because what a dependency prints is not ours to vouch for.

use std::fmt::{self, Write as _};
use std::time::Duration;

use thiserror::Error;

use crate::currency::Currency;

/// Any error of the merchant's own code: a handler, a price look-up, an inbox.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A text from outside, for a log: no character of it begins a line or moves the cursor.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|letter| match is_plain(letter) {
                true => f.write_char(letter),
                false => write!(f, "{}", letter.escape_default()),
            })
    }
}

/// Neither a control character, nor one that ends a line or turns the direction of writing.
fn is_plain(letter: char) -> bool {
    !letter.is_control()
        && !matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An error and its causes in one line, for a log: the causes tell an operator what to do. They may
/// repeat what a stranger sent, so they are [`Escaped`].
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = self.0.to_string();
        Escaped(&before).fmt(f)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors repeat their cause, or end with it.
            if !before.ends_with(&text) {
                write!(f, ": {}", Escaped(&text))?;
                before = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

/// Why a text is not a currency code.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CurrencyError {
    /// A currency code is three ASCII letters (ISO 4217).
    #[error("a currency is three ASCII letters, like \"eur\"")]
    Malformed,
}

/// Why an amount could not be made or computed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AmountError {
    /// The text is not a plain decimal number such as `12` or `12.50`.
    #[error("not an amount: write digits, with a point before the minor units, like \"12.50\"")]
    Malformed,
    /// Amounts are never negative.
    #[error("an amount is never negative")]
    Negative,
    /// The text has more decimal places than the currency has.
    #[error("{currency} has {allowed} decimal places, not {given}")]
    TooPrecise {
        /// The currency that was asked for.
        currency: Currency,
        /// How many decimal places it has.
        allowed: u8,
        /// How many the text has.
        given: usize,
    },
    /// Stripe takes this currency only in whole multiples: 100 minor units of ISK and UGX.
    #[error("Stripe takes {currency} in multiples of {multiple} minor units only")]
    NotAMultiple {
        /// The currency.
        currency: Currency,
        /// The number of minor units of which the amount must be a multiple.
        multiple: u64,
    },
    /// Two currencies were mixed.
    #[error("{left} and {right} cannot be mixed")]
    CurrencyMismatch {
        /// The currency on the left.
        left: Currency,
        /// The currency on the right.
        right: Currency,
    },
    /// The result does not fit: too large, or below zero.
    #[error("the result is out of range")]
    OutOfRange,
    /// Nothing can be split into zero parts.
    #[error("an amount can be split into one part or more, not into none")]
    NoParts,
}

/// Why metadata is refused, by Stripe's limits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// More than 50 keys.
    #[error("metadata has at most {limit} keys")]
    TooManyKeys {
        /// Stripe's limit, less the keys that this crate adds.
        limit: usize,
    },
    /// An empty key, or one of more than 40 characters.
    #[error("the metadata key {key:?} must have 1 to 40 characters")]
    KeyLength {
        /// The key, cut to its first 40 characters.
        key: String,
    },
    /// Square brackets are not allowed in keys.
    #[error("the metadata key {key:?} must not contain square brackets")]
    KeyBrackets {
        /// The key.
        key: String,
    },
    /// A value of more than 500 characters.
    #[error("the value of the metadata key {key:?} must have at most 500 characters")]
    ValueLength {
        /// The key whose value is too long.
        key: String,
    },
    /// The value is there but is not what the getter was asked for.
    #[error("the value of the metadata key {key:?} is not a valid {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// The type that was asked for.
        expected: &'static str,
    },
}

/// Why a configuration is refused, at start. Names the variable, never its value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The variable is not set.
    #[error("{variable} is not set")]
    Missing {
        /// The name of the variable.
        variable: &'static str,
    },
    /// The value is empty. Of the environment's variables an empty one counts as absent.
    #[error("{variable} is empty")]
    Empty {
        /// The name of the variable.
        variable: &'static str,
    },
    /// The value is not UTF-8, or has white space or control characters inside.
    #[error("{variable} contains characters that cannot be part of it")]
    Malformed {
        /// The name of the variable.
        variable: &'static str,
    },
    /// Another kind of key stands where this one belongs.
    #[error("{variable} holds {found}; it needs {expected}")]
    WrongKind {
        /// The name of the variable.
        variable: &'static str,
        /// What belongs there, with its prefix.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// A test key beside a live key.
    #[error(
        "{left} and {right} are of different modes: one is a test key and the other a live key"
    )]
    ModesDiffer {
        /// The one variable.
        left: &'static str,
        /// The other variable.
        right: &'static str,
    },
    /// Keys would travel unencrypted.
    #[error(
        "{variable} must be https: plain http is allowed only to this machine (localhost, 127.0.0.0/8, [::1]); with test keys, STRIPE_ALLOW_PLAIN_HTTP=1 allows it for STRIPE_API_BASE"
    )]
    PlainHttp {
        /// The name of the variable.
        variable: &'static str,
    },
    /// A live key, or the page that takes cards, would go to another host than Stripe's.
    #[error(
        "{variable} leads to another host than Stripe's, with live keys: if that is your own proxy, set STRIPE_ALLOW_OTHER_HOSTS=1"
    )]
    OtherHost {
        /// The name of the variable.
        variable: &'static str,
    },
    /// There is a `.env` file that cannot be read.
    #[error("the file .env cannot be read: {kind}")]
    DotEnv {
        /// The system's reason.
        kind: std::io::ErrorKind,
    },
    /// A line of the `.env` file is not `NAME=value`. The error does not show it: it may be a key.
    #[error("a line of the file .env is not NAME=value")]
    DotEnvLine,
    /// The value of a switch is neither `1` nor `0`.
    #[error("{variable} must be 1 or 0")]
    NotASwitch {
        /// The name of the variable.
        variable: &'static str,
    },
    /// The value is not an absolute http(s) address.
    #[error("{variable} is not an http or https address without user name, query or fragment")]
    NotAnAddress {
        /// The name of the variable.
        variable: &'static str,
    },
}

/// Why a webhook's signature is refused. To whoever sent it all look the same: a 400 with one generic body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// There is no `Stripe-Signature` header, or it is empty.
    #[error("the Stripe-Signature header is missing")]
    Missing,
    /// There is more than one `Stripe-Signature` header.
    #[error("there is more than one Stripe-Signature header")]
    Repeated,
    /// The header has no single, well-formed timestamp.
    #[error("the Stripe-Signature header has no valid timestamp")]
    Timestamp,
    /// The header has no signature of the scheme `v1`.
    #[error("the Stripe-Signature header has no v1 signature")]
    NoSignature,
    /// No signature fits the payload and any of the signing secrets.
    #[error(
        "no signature matches the payload: wrong signing secret, or the body was changed on its way"
    )]
    Mismatch,
    /// The signature is right, but older than the tolerance.
    #[error(
        "the signature is {age_seconds} s old, more than the tolerance of {tolerance_seconds} s: replayed, or this machine's clock is wrong"
    )]
    TooOld {
        /// Seconds between the signature and now.
        age_seconds: u64,
        /// Seconds allowed.
        tolerance_seconds: u64,
    },
}

/// Why a verified payload is not an event, or an event's object not of the type that was asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EventError {
    /// The payload is not JSON, or has no `id` and `type`.
    #[error("the payload is not a Stripe event")]
    NotAnEvent(#[source] BoxError),
    /// The event's object is not of the type that was asked for.
    #[error("the object of this {event_type} event is not a {expected}")]
    UnexpectedObject {
        /// The event's type.
        event_type: String,
        /// The type that was asked for.
        expected: &'static str,
        /// What did not fit.
        #[source]
        source: BoxError,
    },
}

/// Why a verified delivery could not be turned into an event: one error for whoever writes the webhook route by hand.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The signature is refused.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The payload is genuine, but no event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The body is larger than the limit.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The body did not arrive within its deadline.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The body did not arrive whole.
    #[error("the body did not arrive whole")]
    Incomplete,
}

/// Why the merchant's prices give no payment. Anything else that goes wrong becomes [`Unavailable`](Self::Unavailable) by `?`.
#[derive(Debug)]
#[non_exhaustive]
pub enum PricingError {
    /// The order is refused (422): sold out, unknown, not this visitor's. The text is shown to the buyer.
    Refused {
        /// A sentence that the buyer may read.
        message: String,
        /// A stable `snake_case` code for the browser.
        code: &'static str,
    },
    /// The order is paid already (409): the page shows that instead of a form, with the way to the order.
    AlreadyPaid {
        /// The order's reference, as a [`PaymentRequest`](crate::intent::PaymentRequest) would have it.
        reference: String,
    },
    /// A payment of the order is on its way and may take days (409): the page says so instead of showing a form.
    Processing {
        /// The order's reference, as for [`AlreadyPaid`](Self::AlreadyPaid).
        reference: String,
    },
    /// Prices cannot be told now (503). The cause is logged, never shown.
    Unavailable(BoxError),
}

impl PricingError {
    /// Refuses the order with a sentence that the buyer may read.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused {
            message: message.into(),
            code: "order_refused",
        }
    }
}

// No `Display` and no `Error`: that is what lets `?` take any other error. A blanket `From<E: Error>` and an own `Error` cannot both be.
impl<E: Into<BoxError>> From<E> for PricingError {
    fn from(error: E) -> Self {
        Self::Unavailable(error.into())
    }
}

/// Why a [`Guard`](crate::Guard) does not let a buyer start a payment. Any error that a guard meets can be returned with `?`.
#[derive(Debug)]
#[non_exhaustive]
pub enum GuardError {
    /// This buyer may not (403). The text is shown to the buyer.
    Refused {
        /// A sentence that the buyer may read.
        message: String,
        /// A stable `snake_case` code for the browser.
        code: &'static str,
    },
    /// Not so many (429).
    TooMany {
        /// When it may be tried again: whole seconds, at least one.
        retry_after: std::time::Duration,
    },
    /// Nobody can tell now (503). The cause is logged, never shown.
    Unavailable(BoxError),
}

impl GuardError {
    /// Refuses with a sentence that the buyer may read.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused {
            message: message.into(),
            code: "visitor_refused",
        }
    }
}

// As with `PricingError`: neither `Display` nor `Error`, so that `?` takes any other error.
impl<E: Into<BoxError>> From<E> for GuardError {
    fn from(error: E) -> Self {
        Self::Unavailable(error.into())
    }
}

/// Why a [`PaymentRequest`](crate::intent::PaymentRequest) is not one that Stripe takes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The reference is empty, longer than 200 characters, or has control characters.
    #[error(
        "the reference of a payment must have 1 to 200 characters, none of them a control character"
    )]
    Reference,
    /// The amount is zero.
    #[error("the amount is zero: there is nothing to pay")]
    Zero,
    /// The amount is above the cap.
    #[error("the amount is above the cap of {cap} minor units")]
    AboveCap {
        /// The cap in minor units.
        cap: u64,
    },
    /// The amount is not one that Stripe takes in this currency.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// The lines of the summary do not add up to the amount.
    #[error("the lines do not add up to the amount")]
    Lines,
    /// The statement descriptor suffix breaks Stripe's rules.
    #[error(
        "the account's prefix, \"* \" and the statement descriptor suffix have 5 to 22 characters together; the suffix has ASCII characters only, at least one letter, and none of < > \\ ' \" *"
    )]
    StatementDescriptorSuffix,
    /// A tax code is not `txcd_` and eight digits.
    #[error("a tax code of Stripe's is txcd_ and eight digits")]
    TaxCode,
    /// The receipt e-mail is no address.
    #[error("the receipt e-mail is not an address")]
    ReceiptEmail,
    /// The description is longer than 1000 characters.
    #[error("the description must have at most 1000 characters")]
    Description,
    /// Of the ways to ship that a [`HostedCheckout`](crate::intent::HostedCheckout) offers, none is in the order's currency, or more than five are.
    #[cfg(feature = "sessions")]
    #[error("none of the ways to ship is in the currency of the order, or more than five are")]
    ShippingOptions,
    /// The metadata has no room left for the keys that this crate adds.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A connected account that cannot be one (they begin with `acct_`), or two of them: a payment is made on an account, or goes on to one.
    #[error("not one connected account: they begin with acct_, and a payment has one at most")]
    Account,
    /// A business of record without a destination that the money goes on to.
    #[error("only a payment with a destination can be on behalf of a connected account")]
    OnBehalfOf,
    /// An application fee without a connected account, in another currency than the payment, of nothing, or of more than the payment.
    #[error(
        "an application fee is a part of a payment with a connected account, in the payment's currency"
    )]
    ApplicationFee,
    /// A payment on a connected account, and an inbox that forgets its order at a restart.
    #[error(
        "MemoryInbox forgets at a restart which payments on connected accounts are yours: use a database's inbox, or name your Connect application with .connect_application(\"ca_…\")"
    )]
    ForgottenAccount,
    /// An idempotency key of the caller's own is empty, longer than 255 characters, or has other than visible ASCII characters.
    #[error("an idempotency key has 1 to 255 visible ASCII characters")]
    IdempotencyKey,
}

/// Why one try to reach Stripe brought no answer. What a [`Transport`](crate::intent::Transport) returns.
///
/// The [`Gateway`](crate::intent::Gateway) writes the text of the causes into its logs (never into an [`ApiError`]), so nothing secret may be in them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// There is no connection: name not found, refused, TLS failed. Tried again after a pause.
    #[error("no connection")]
    Connect(#[source] BoxError),
    /// The connection broke before the whole answer was there. Whether Stripe did what was asked is unknown. Tried again after a pause.
    #[error("the connection broke before the answer was there")]
    Broken(#[source] BoxError),
    /// A kept connection broke before anything was answered: nearly always the server had just closed it. The first time in a call it is tried again at once.
    #[error("a kept connection was closed by the server")]
    Stale(#[source] BoxError),
    /// The answer is larger than the transport takes. Not tried again.
    #[error("the answer is larger than {limit} bytes")]
    AnswerTooLarge {
        /// The HTTP status of the answer.
        status: u16,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The request cannot be sent as it is: not an address, not a header. Not tried again.
    #[error("the request cannot be sent as it is")]
    Request(#[source] BoxError),
}

/// What Stripe, or the way to it, answered. Carries Stripe's request id where there is one, and nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The payment method was declined (HTTP 402).
    #[error("declined: {code}{}", .decline_code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default())]
    Declined {
        /// Stripe's error code, like `card_declined`.
        code: String,
        /// The issuer's reason, like `insufficient_funds`.
        decline_code: Option<String>,
        /// Stripe's request id, for its support.
        request_id: Option<String>,
    },
    /// Stripe refused the parameters (HTTP 400, 404 and other 4xx).
    #[error("Stripe refused the request with status {status}{}{}", .code.as_ref().map(|code| format!(", code {code}")).unwrap_or_default(), .param.as_ref().map(|param| format!(", parameter {param}")).unwrap_or_default())]
    InvalidRequest {
        /// The HTTP status.
        status: u16,
        /// Stripe's error code, like `amount_too_small` or `resource_missing`.
        code: Option<String>,
        /// The parameter at fault.
        param: Option<String>,
        /// Stripe's request id.
        request_id: Option<String>,
    },
    /// The secret key is not valid (HTTP 401).
    #[error("Stripe does not accept the secret key")]
    Authentication {
        /// Stripe's request id.
        request_id: Option<String>,
    },
    /// The key may not do this (HTTP 403).
    #[error("{}", permission(.sentence.as_deref(), *.account_is_gone))]
    Permission {
        /// Stripe's sentence that names the permission which a restricted key lacks, like
        /// "Having the 'rak_charge_read' permission would allow this request to continue".
        sentence: Option<String>,
        /// Whether the key has no access to the connected account: it was disconnected, or never
        /// connected.
        account_is_gone: bool,
        /// Stripe's request id.
        request_id: Option<String>,
    },
    /// Too many requests (HTTP 429), still after the retries.
    #[error("Stripe limits the rate of requests")]
    RateLimited {
        /// What `Retry-After` said.
        retry_after: Option<Duration>,
        /// Stripe's request id.
        request_id: Option<String>,
    },
    /// The first request with the same idempotency key, or other work on the object, still runs
    /// (HTTP 409).
    #[error("another request with the same idempotency key is in the way")]
    IdempotencyConflict {
        /// Stripe's request id.
        request_id: Option<String>,
    },
    /// The idempotency key was used before with other parameters (HTTP 400, `idempotency_error`).
    /// The key stays unusable: only another key can succeed.
    #[error("the idempotency key was used before with other parameters")]
    IdempotencyMismatch {
        /// Stripe's request id.
        request_id: Option<String>,
    },
    /// No connection, or a 5xx, still after the retries.
    #[error("Stripe is unavailable{}", .status.map(|status| format!(" (status {status})")).unwrap_or_default())]
    Unavailable {
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
        /// Whether the answer was a stored one (`Idempotent-Replayed`): only another key can succeed.
        replayed: bool,
        /// Stripe's request id.
        request_id: Option<String>,
    },
    /// The deadline for all tries together is over. Whether Stripe did it is unknown; the same key will tell.
    #[error("Stripe did not answer in time")]
    Timeout,
    /// The calls that visitors cause are at their bound: see
    /// [`max_visitor_calls`](crate::CheckoutBuilder::max_visitor_calls). This call was not sent.
    /// Earlier calls of the same operation may have been.
    #[error("visitors cause more calls to Stripe than the bound allows")]
    TooManyCalls {
        /// When the visitor may try again.
        retry_after: Duration,
    },
    /// The visitor hung up while the call waited for its turn. This call was not sent.
    #[error("the visitor left before the call was sent")]
    VisitorLeft,
    /// Stripe answered with something that is not what it documents.
    #[error("Stripe's answer could not be read")]
    UnexpectedAnswer {
        /// The HTTP status.
        status: u16,
        /// Stripe's request id.
        request_id: Option<String>,
    },
}

fn permission(sentence: Option<&str>, account_is_gone: bool) -> String {
    match sentence {
        Some(sentence) => format!("the key has no permission for this request: {sentence}"),
        None if account_is_gone => "the key has no access to the connected account".into(),
        None => "the key has no permission for this request".into(),
    }
}

#[cfg(feature = "intent")]
impl ApiError {
    /// Whether a visitor can cause it at will, and nothing is wrong: no line for the log.
    pub(crate) fn is_expected(&self) -> bool {
        matches!(self, Self::TooManyCalls { .. } | Self::VisitorLeft)
    }
}

impl ApiError {
    /// Stripe's id of the request, for its support and its Dashboard; `None` where Stripe did not
    /// answer.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Declined { request_id, .. }
            | Self::InvalidRequest { request_id, .. }
            | Self::Authentication { request_id }
            | Self::Permission { request_id, .. }
            | Self::RateLimited { request_id, .. }
            | Self::IdempotencyConflict { request_id }
            | Self::IdempotencyMismatch { request_id }
            | Self::Unavailable { request_id, .. }
            | Self::UnexpectedAnswer { request_id, .. } => request_id.as_deref(),
            Self::Timeout | Self::TooManyCalls { .. } | Self::VisitorLeft => None,
        }
    }
}

#[cfg(feature = "intent")]
impl IntentError {
    /// See [`ApiError::is_expected`].
    pub(crate) fn is_expected(&self) -> bool {
        match self {
            Self::Api(error) => error.is_expected(),
            Self::Inbox(error) => error.is_expected(),
            _ => false,
        }
    }
}

#[cfg(feature = "intent")]
impl OperationError {
    /// See [`ApiError::is_expected`].
    pub(crate) fn is_expected(&self) -> bool {
        match self {
            Self::Api(error) => error.is_expected(),
            Self::Inbox(error) => error.is_expected(),
            _ => false,
        }
    }
}

impl InboxError {
    /// Whether it only says that other work on the payment goes on: no line for the log.
    pub(crate) fn is_expected(&self) -> bool {
        matches!(self, Self::Busy)
    }
}

/// Why no PaymentIntent could be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IntentError {
    /// The payment request is not one that Stripe takes: a mistake in the merchant's prices.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The order is paid.
    #[error("the order is paid already")]
    AlreadyPaid,
    /// A payment of the order is on its way.
    #[error("a payment of the order is being processed")]
    Processing,
    /// Another request for the same order won, several times in a row.
    #[error("another request for the same order is in flight")]
    InFlight,
    /// The order was called off: see [`Checkout::expire`](crate::Checkout).
    #[error("the order was called off")]
    CalledOff,
    /// So many attempts to pay the order were declined that no other one is allowed: see [`max_declines`](crate::CheckoutBuilder::max_declines).
    #[error("{declines} attempts to pay this order were declined, and it takes no more")]
    TooManyDeclines {
        /// How many.
        declines: u32,
    },
    /// Stripe, or the way to it.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The inbox could not remember the intent.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// The payment method is not this customer's, or not any more. Nothing was charged.
    #[error("the payment method is not this customer's")]
    NotTheirs,
    /// This checkout was built without pricing and keys.
    #[error("this checkout has no pricing, so it takes no payments")]
    NoPricing,
}

/// Why an operation under the caller's own reference (a refund, a capture, a customer) has no result.
///
/// After [`Api`](Self::Api) and [`Inbox`](Self::Inbox) it may or may not have been done: ask again with the same reference and the same parameters, and it is done once.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OperationError {
    /// The request is not one that Stripe takes.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The reference was used before, with other parameters. Nothing was sent: each operation has a reference of its own.
    #[error("this reference stands for an operation with other parameters")]
    Differs,
    /// Nothing is left of the payment: it was refunded in full, or is being.
    #[error("nothing is left of the payment")]
    NothingLeft,
    /// More than is left of the payment.
    #[error("the amount is more than is left of the payment")]
    MoreThanLeft,
    /// The payment is not, or no more, in a state in which this can be done: nothing is reserved, it is paid, or on its way.
    #[error("the payment is in a state in which this cannot be done")]
    WrongState,
    /// The payment is disputed: the bank has taken the money, and it cannot be given back a second time.
    #[error("the payment is disputed, so nothing of it can be refunded")]
    Disputed,
    /// Other calls with the same reference got ahead, several times in a row.
    #[error("another call with the same reference is in flight")]
    InFlight,
    /// Stripe, or the way to it.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The inbox could not remember it.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// The payment method is not this customer's, or not any more. Nothing was done to it.
    #[error("the payment method is not this customer's")]
    NotTheirs,
    /// This checkout was built without pricing and keys.
    #[error("this checkout has no pricing and keys, so it cannot ask Stripe for anything")]
    NoPricing,
}

/// Why a run of the [reconciler](crate::Checkout::reconcile) did not do all of its work. The next
/// run goes on where this one stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReconcileError {
    /// This checkout was built without pricing and keys, so it cannot ask Stripe.
    #[error("a checkout without pricing and keys cannot ask Stripe what it missed")]
    NoPricing,
    /// The inbox forgets at a restart: what Stripe tells of last week would be done again.
    #[error(
        "MemoryInbox forgets everything at a restart, so orders would be fulfilled again: use SqliteInbox or PostgresInbox"
    )]
    Forgetful,
    /// Stripe, or the way to it.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The inbox could not take in what Stripe told.
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// Some parts of the run failed. The other parts did their work.
    #[cfg(feature = "intent")]
    #[error("some parts of the reconciliation failed: {}", list(.failures))]
    Incomplete {
        /// The work that was done.
        report: Box<crate::Reconciled>,
        /// The parts that failed, at least one.
        failures: Vec<ReconcileFailure>,
    },
}

/// A part of the [reconciler](crate::Checkout::reconcile)'s work. None needs the others.
#[cfg(feature = "intent")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReconcilePart {
    /// Running events that are stored and due.
    DueEvents,
    /// Reading Stripe's list of events of the merchant's own account.
    EventList,
    /// Reading the lists of events of the connected accounts.
    AccountEvents,
    /// Looking at every order that may still be paid.
    Orders,
}

/// A part of a run that failed.
#[cfg(feature = "intent")]
#[derive(Debug)]
#[non_exhaustive]
pub struct ReconcileFailure {
    /// Which part.
    pub part: ReconcilePart,
    /// How many events, accounts or orders failed.
    pub count: u64,
    /// The connected account of the first one that failed.
    pub account: Option<String>,
    /// The reference of the first order that failed.
    pub order: Option<String>,
    /// The first error: [`Api`](ReconcileError::Api) or [`Inbox`](ReconcileError::Inbox).
    pub error: ReconcileError,
}

#[cfg(feature = "intent")]
impl fmt::Display for ReconcileFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            part,
            count,
            account,
            order,
            error,
        } = self;
        match (part, order.as_ref().or(account.as_ref())) {
            (ReconcilePart::DueEvents, _) => write!(f, "events that are due: {error}"),
            (ReconcilePart::EventList, _) => write!(f, "Stripe's list of events: {error}"),
            (ReconcilePart::AccountEvents, Some(account)) => write!(
                f,
                "events of connected accounts ({count} failed, the first of {account}): {error}"
            ),
            (ReconcilePart::AccountEvents, None) => {
                write!(f, "events of connected accounts: {error}")
            }
            (ReconcilePart::Orders, Some(order)) => {
                write!(f, "orders ({count} failed, the first is {order}): {error}")
            }
            (ReconcilePart::Orders, None) => write!(f, "orders: {error}"),
        }
    }
}

#[cfg(feature = "intent")]
fn list(failures: &[ReconcileFailure]) -> String {
    let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
    failures.join("; ")
}

/// What went wrong inside an inbox.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InboxError {
    /// The store cannot be reached or answered with an error. Nothing was acknowledged.
    #[error("the inbox is unavailable")]
    Unavailable(#[source] BoxError),
    /// The inbox holds as much as it may.
    #[error("the inbox is full: it holds {capacity} entries")]
    Full {
        /// The capacity, in entries.
        capacity: usize,
    },
    /// There is no such event.
    #[error("there is no such event in the inbox")]
    UnknownEvent,
    /// The event cannot be replayed or dropped in its present state.
    #[error("the event is {state}, so this cannot be done to it")]
    WrongState {
        /// The event's state.
        state: &'static str,
    },
    /// Work on the same payment did not end in time.
    #[error("the payment is being worked on")]
    Busy,
    /// A newer version of this crate made the tables. It may read and write them by other rules.
    #[error(
        "the inbox's tables have version {found}, and this version of stripe-checkout knows versions up to {known}: update stripe-checkout in this process, or restore the database from before the update"
    )]
    NewerTables {
        /// The version of the tables.
        found: usize,
        /// The version that this crate knows.
        known: usize,
    },
    /// The tables are missing, or an older version of this crate made them.
    #[error(
        "the inbox's tables have version {found} (0 means that there are none), and this version of stripe-checkout needs version {known}: run its migrations, or call migrate()"
    )]
    OlderTables {
        /// The version of the tables, or 0.
        found: usize,
        /// The version that this crate needs.
        known: usize,
    },
    /// A new, empty inbox would stand beside another one, and its schema was not named. An empty
    /// inbox does not know earlier fulfilments.
    #[error(
        "the schema {schema:?} has no tables of an inbox, but the schema {other:?} of the same database has: to go on with those, name their schema with .schema({other:?}); to make an empty inbox beside them, name its schema with .schema({schema:?})"
    )]
    OtherInbox {
        /// The schema in which the tables would be made.
        schema: String,
        /// The schema that has tables.
        other: String,
    },
    /// The inbox keeps the orders of another Stripe account under this application's name. The same
    /// reference on another account is another order, so nothing is done until one of the two
    /// changes.
    #[error(
        "the application {application:?} belongs to the Stripe account {known}, and these keys are of {given}: use the keys of {known}, or give this application a new name with .application(…) and no .former_application(…)"
    )]
    OtherAccount {
        /// The application's name in the inbox.
        application: String,
        /// The account that the inbox knows.
        known: String,
        /// The account of the keys.
        given: String,
    },
}

/// Why a checkout cannot be built: found at start, so that it fails closed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration is not complete for what is asked.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No handler and no inbox were given.
    #[error("a checkout needs .fulfillment(inbox, handler): without it a paid order would be lost")]
    NoFulfillment,
    /// No name: two shops on one Stripe account whose orders count from one would share their PaymentIntents, and two applications on one database their events.
    #[error(
        "a checkout with prices, or with an inbox in a database, needs .application(\"a name\") that no other application of the same Stripe account or database has"
    )]
    NoApplication,
    /// Only who takes payments has customers.
    #[error("a checkout with .customers(…) needs .pricing(…) too")]
    CustomersWithoutPricing,
    /// The memory inbox forgets at a restart, which live money does not forgive.
    #[error(
        "MemoryInbox forgets everything at a restart, so it is refused with live keys: use SqliteInbox or PostgresInbox, also beside a store of your own, and a unique key on the order in the transaction in which your handler writes"
    )]
    MemoryInLiveMode,
    /// The name of the Connect application cannot be one.
    #[error("the id of a Connect application begins with ca_")]
    ConnectApplication,
    /// After a restart only Stripe knows the payments on connected accounts, and asking it
    /// needs a key.
    #[error(
        "MemoryInbox forgets payments on connected accounts at a restart, and without .pricing(…) there is no key to look them up: use a database's inbox"
    )]
    MemoryWithConnectedAccounts,
    /// What is acknowledged before it is done must survive a restart.
    #[error(
        "MemoryInbox forgets everything at a restart, so events cannot be queued in it: use a database's inbox"
    )]
    MemoryQueued,
    /// The webhook's path does not begin with a slash, has empty or dot segments, a query or other unusual characters, or is that of another route.
    #[error(
        "the path {path:?} must begin with '/', hold only letters, digits and - _ . / without empty or dot segments, and not be one of the checkout's other paths"
    )]
    Path {
        /// The path.
        path: String,
    },
    /// No account can have this prefix of statement descriptors.
    #[cfg(feature = "intent")]
    #[error(
        "a statement descriptor prefix has 2 to 10 ASCII characters, at least one letter, and none of < > \\ ' \" *"
    )]
    StatementDescriptorPrefix,
    /// What a [`HostedCheckout`](crate::intent::HostedCheckout) says cannot be sent to Stripe.
    #[cfg(feature = "sessions")]
    #[error("the hosted checkout cannot be: {flaw}")]
    HostedCheckout {
        /// What is wrong.
        flaw: &'static str,
    },
    /// A template of the merchant's does not compile.
    #[error("the template {name} does not compile")]
    Template {
        /// Its name.
        name: String,
        /// The template engine's message.
        #[source]
        source: BoxError,
    },
    /// The TLS or HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Transport(#[source] BoxError),
}
