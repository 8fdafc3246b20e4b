//! Calls to Stripe: how they are configured, and what they have in common.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::answer::read_as;
use super::api_error::{ApiError, Unsuccessful};
use super::call::Call;
use super::clock::StripeClock;
use super::form::encoded;
use super::idempotency::IdempotencyKey;
use super::pool::PooledTransport;
use super::recent_answers::RecentAnswers;
use super::retry::{Limits, is_replayed};
use super::transport::{AnyTransport, Transport};
use super::visitor_calls::Caller;
use crate::build_error::BuildError;
use crate::config::Config;
use crate::secret::SecretKey;

/// Calls Stripe's API: with retries, on connections that are kept, and with errors that hold
/// nothing secret.
///
/// A call is tried again after a connection error, a try that takes too long, and the statuses 409,
/// 424, 429 and 500 to 504; `Stripe-Should-Retry` overrides that, and `Retry-After` is honoured.
/// Key and parameters are the same bytes in every try, so that there is never a second
/// PaymentIntent. Pauses between the tries are random up to a limit that doubles: 0.5 s, 1 s, 2 s,
/// at most 4 s. All of it ends at the [deadline](Self::deadline).
///
/// Cloning is cheap, and clones share the connections. Each call is one `tracing` span at the level
/// debug, with the path, the tries, the status and Stripe's request id. A call that Stripe refuses
/// is one line at `info` (declines, unknown ids) or `warn`, with the request id. A call without an
/// answer is one line at `error`, with the cause: a name that is not found, a certificate that is
/// not trusted, a connection that is refused, a timeout.
///
/// ```no_run
/// use stripe_checkout_core::requests::PaymentRequest;
/// use stripe_checkout_core::stripe::{Gateway, IdempotencyKey};
/// use stripe_checkout_core::{Amount, Config, Currency};
///
/// # async fn pay() -> Result<(), Box<dyn std::error::Error>> {
/// let gateway = Gateway::new(&Config::from_env()?)?;
/// let request = PaymentRequest::new("order-1042", Amount::new(1999, Currency::EUR));
/// let params = request.intent_params("tea-shop")?;
/// let key: IdempotencyKey = "order-1042-attempt-1".parse()?;
///
/// let payment = gateway.create_intent(&params, &key, None).await?;
/// println!("{} of {}", payment.id(), payment.amount());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Gateway {
    pub(super) transport: Arc<dyn AnyTransport>,
    pub(super) secret_key: SecretKey,
    pub(super) api_base: Arc<str>,
    pub(super) limits: Limits,
    pub(super) stripe_clock: Arc<StripeClock>,
    pub(super) recent: Arc<RecentAnswers>,
    /// The visitor who causes the calls. Without one they are the application's own, and no visitor
    /// takes their places.
    pub(super) caller: Option<Caller>,
}

impl Gateway {
    /// The deadline unless another is set.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(20);
    /// The number of tries unless another is set.
    pub const DEFAULT_TRIES: u32 = 4;

    /// A gateway to the API at [`Config::api_base`], with the secret key and a [`PooledTransport`].
    ///
    /// # Errors [`BuildError::Config`] without a secret key, [`BuildError::Transport`] where TLS
    /// cannot be set up.
    pub fn new(config: &Config) -> Result<Self, BuildError> {
        // Without a key, that is the error.
        config.require_keys()?;
        Self::with_transport(config, PooledTransport::new()?)
    }

    /// A gateway as [`new`](Self::new) makes it, with another transport. It reads neither the
    /// proxy's variables nor `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// [`BuildError::Config`] without a secret key.
    pub fn with_transport(config: &Config, transport: impl Transport) -> Result<Self, BuildError> {
        let (secret_key, _) = config.require_keys()?;
        Ok(Self {
            transport: Arc::new(transport),
            secret_key: secret_key.clone(),
            api_base: config.api_base().into(),
            limits: Limits {
                deadline: Self::DEFAULT_DEADLINE,
                tries: Self::DEFAULT_TRIES,
            },
            stripe_clock: Arc::default(),
            recent: Arc::default(),
            caller: None,
        })
    }

    /// Sends through another transport.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Arc::new(transport);
        self
    }

    /// The longest that a call may take, all tries and pauses together: 20 s unless set, at least
    /// 10 ms, at most 10 minutes.
    ///
    /// One try gets at most two fifths of it (8 s of 20), so that a first try that hangs leaves
    /// room for a second. A `Retry-After` that leads past the deadline ends the call at once with
    /// what Stripe answered.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = deadline.clamp(Duration::from_millis(10), Duration::from_secs(600));
        self
    }

    /// How often a call is tried at most: 4 times unless set; 1 is never again, and 0 is taken for
    /// 1.
    #[must_use]
    pub fn max_tries(mut self, tries: u32) -> Self {
        self.limits.tries = tries.max(1);
        self
    }

    /// The same gateway for the calls that a visitor causes.
    pub(crate) fn on_behalf_of(&self, caller: Caller) -> Self {
        Self {
            caller: Some(caller),
            ..self.clone()
        }
    }

    /// The same gateway for a visitor's look-ups of ids that a stranger may make up.
    pub(crate) fn guessing(self) -> Self {
        self.with_caller(Caller::guessing)
    }

    /// The same gateway. It answers a visitor's look-up from memory if the same one was answered
    /// within the last second.
    pub(crate) fn remembering(self) -> Self {
        self.with_caller(Caller::remembering)
    }

    /// The same gateway for the end of work that began. It goes on when its visitor is gone, and
    /// waits for no place: the visitor must not hear that nothing was sent.
    pub(crate) fn to_the_end(&self) -> Self {
        Self {
            caller: None,
            ..self.clone()
        }
    }

    fn with_caller(mut self, change: impl FnOnce(Caller) -> Caller) -> Self {
        self.caller = self.caller.map(change);
        self
    }

    /// Sends any other GET request and returns the JSON of the answer.
    ///
    /// `path` comes after `/v1`, with the query if there is one: as async-stripe's request types
    /// build it.
    ///
    /// ```no_run
    /// # use stripe_checkout_core::stripe::Gateway;
    /// # async fn list(gateway: Gateway) -> Result<(), Box<dyn std::error::Error>> {
    /// let events = gateway.get("/events?limit=100&delivery_success=false", None).await?;
    /// let events: serde_json::Value = serde_json::from_slice(&events)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Any [`ApiError`].
    pub async fn get(&self, path: &str, account: Option<&str>) -> Result<Bytes, ApiError> {
        let (path, query) = path
            .split_once('?')
            .map_or((path, None), |(p, q)| (p, Some(q)));
        Ok(self.send(Call::get(path, query, account)).await?.body)
    }

    /// Sends any other POST request, with retries as for all calls, and returns the JSON of the
    /// answer.
    ///
    /// `path` comes after `/v1`; `form` is the form-encoded body: as async-stripe's request types
    /// build it. The key is not optional: whatever moves money needs one that is stored before it
    /// is sent.
    ///
    /// ```no_run
    /// # use stripe_checkout_core::stripe::{Gateway, IdempotencyKey};
    /// # async fn refund(gateway: Gateway) -> Result<(), Box<dyn std::error::Error>> {
    /// let key: IdempotencyKey = "refund-7-of-order-1042".parse()?;
    /// let form = "payment_intent=pi_123&amount=500";
    /// let refund = gateway.post("/refunds", form, &key, None).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Any [`ApiError`].
    pub async fn post(
        &self,
        path: &str,
        form: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<Bytes, ApiError> {
        let call = Call::post(path, form, key, account);
        Ok(self.send(call).await?.body)
    }

    /// A POST of an operation with a row of its own; also says whether Stripe only repeated an
    /// earlier answer.
    pub(crate) async fn operate<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<(T, bool), Unsuccessful> {
        let answer = self.ask(Call::post(path, form, key, account)).await?;
        Ok((read_as(&answer)?, is_replayed(&answer)))
    }

    /// A GET of any object.
    pub(crate) async fn fetch<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        account: Option<&str>,
    ) -> Result<T, ApiError> {
        let query = encoded(query);
        read_as(&self.send(Call::get(path, Some(&query), account)).await?)
    }

    /// Seconds by which this machine's clock is ahead of Stripe's, by the last answer; none before
    /// the first one.
    pub(crate) fn ahead_of_stripe(&self) -> Option<i64> {
        self.stripe_clock.ahead()
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("api_base", &self.api_base)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
