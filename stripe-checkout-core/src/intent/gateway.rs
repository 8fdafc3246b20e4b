//! Every call to Stripe goes through here: which headers, which key, what the answer means.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use stripe::StripeRequest as _;
use stripe_client_core::{RequestBuilder, StripeMethod};
use stripe_core::payment_intent::{CancelPaymentIntent, RetrievePaymentIntent};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::idempotency::IdempotencyKey;
use super::pool::PooledTransport;
use super::recent_answers::{Question, RecentAnswers};
use super::request::IntentParams;
use super::retry::{self, Limits, NoAnswer, Queue};
use super::stripe_clock::StripeClock;
use super::transport::{AnyTransport, Transport, TransportRequest, TransportResponse};
use super::visitor_calls::{Caller, LONGEST_WAIT, RETRY_AFTER, Unsent, endpoint, object_id};
use crate::build_error::BuildError;
use crate::config::{API_VERSION, Config};
use crate::error::{ApiError, TransportError};
use crate::fulfillment::{Cancel, is_session};
use crate::secret::SecretKey;
use crate::telemetry;
use crate::webhook::{CheckoutSession, Event, Payment};

const USER_AGENT: &str = concat!("stripe-checkout/", env!("CARGO_PKG_VERSION"));
const FORM: &str = "application/x-www-form-urlencoded";

/// Calls Stripe's API: with retries, on connections that are kept, and with errors that hold nothing secret.
///
/// A call is tried again after a connection error, a try that takes too long, and the statuses 409, 424, 429 and 500 to 504; `Stripe-Should-Retry` overrides that, and
/// `Retry-After` is honoured. Key and parameters are the same bytes in every try, so that there is never a second PaymentIntent. Pauses between the tries are random up to
/// a limit that doubles: 0.5 s, 1 s, 2 s, at most 4 s. All of it ends at the [deadline](Self::deadline).
///
/// Cloning is cheap, and clones share the connections. Each call is one `tracing` span at the level debug, with the path, the tries, the status and Stripe's request id.
/// A call that Stripe refuses is one line at `info` (declines, unknown ids) or `warn`, with the
/// request id. A call without an answer is one line at `error`, with the cause: a name that is not
/// found, a certificate that is not trusted, a connection that is refused, a timeout.
///
/// ```no_run
/// use stripe_checkout_core::intent::{Gateway, IdempotencyKey, PaymentRequest};
/// use stripe_checkout_core::{Amount, Config, Currency};
///
/// # async fn pay() -> Result<(), Box<dyn std::error::Error>> {
/// let gateway = Gateway::new(&Config::from_env()?)?;
/// let params = PaymentRequest::new("order-1042", Amount::new(1999, Currency::EUR)).intent_params("tea-shop")?;
/// let key: IdempotencyKey = "order-1042-attempt-1".parse()?;
///
/// let payment = gateway.create_intent(&params, &key, None).await?;
/// println!("{} of {}", payment.id(), payment.amount());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Gateway {
    transport: Arc<dyn AnyTransport>,
    secret_key: SecretKey,
    api_base: Arc<str>,
    limits: Limits,
    stripe_clock: Arc<StripeClock>,
    recent: Arc<RecentAnswers>,
    /// The visitor who causes the calls. Without one they are the application's own, and no visitor
    /// takes their places.
    caller: Option<Caller>,
}

impl Gateway {
    /// The deadline unless another is set.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(20);
    /// The number of tries unless another is set.
    pub const DEFAULT_TRIES: u32 = 4;

    /// A gateway to the API at [`Config::api_base`], with the secret key and a [`PooledTransport`].
    ///
    /// # Errors
    /// [`BuildError::Config`] without a secret key, [`BuildError::Transport`] where TLS cannot be set up.
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

    /// The longest that a call may take, all tries and pauses together: 20 s unless set, at least 10 ms, at most 10 minutes.
    ///
    /// One try gets at most two fifths of it (8 s of 20), so that a first try that hangs leaves room for a second. A `Retry-After` that leads past the deadline ends the
    /// call at once with what Stripe answered.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = deadline.clamp(Duration::from_millis(10), Duration::from_secs(600));
        self
    }

    /// How often a call is tried at most: 4 times unless set; 1 is never again, and 0 is taken for 1.
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

    /// Creates a PaymentIntent with automatic payment methods: [`POST /v1/payment_intents`](https://docs.stripe.com/api/payment_intents/create).
    ///
    /// Where Stripe only repeats its answer to an earlier request with this key, the PaymentIntent is retrieved, so that it is as it stands now.
    ///
    /// `account` is the connected account on which the payment is made (`acct_…`, a direct charge); `None` is the merchant's own.
    ///
    /// # Errors
    /// Any [`ApiError`]. After [`Timeout`](ApiError::Timeout) and after [`Unavailable`](ApiError::Unavailable) without `replayed` it is not known whether the PaymentIntent
    /// exists: ask again with the same key.
    pub async fn create_intent(
        &self,
        params: &IntentParams,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<Payment, ApiError> {
        Ok(self.create(params, key, account).await?.0)
    }

    /// As [`create_intent`](Self::create_intent), and whether Stripe only repeated an earlier answer: then the PaymentIntent may have been changed since, and the
    /// parameters sent now changed nothing.
    pub(crate) async fn create(
        &self,
        params: &IntentParams,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<(Payment, bool), ApiError> {
        let request = params.create().map_err(|_| unsendable("amount"))?;
        let call = Call {
            key: Some(key),
            account,
            ..Call::of(&request)
        };
        let answer = self.send(call).await?;
        let replayed = retry::is_replayed(&answer);
        let payment = read(&answer, account)?;
        if !replayed {
            return Ok((payment, false));
        }
        // It may have been paid since.
        Ok((self.retrieve_intent(payment.id(), account).await?, true))
    }

    /// Changes a PaymentIntent that is not paid yet to these parameters: [`POST /v1/payment_intents/{id}`](https://docs.stripe.com/api/payment_intents/update).
    ///
    /// # Errors
    /// Any [`ApiError`]; [`InvalidRequest`](ApiError::InvalidRequest) with the code `payment_intent_unexpected_state` where it is too late to change the amount.
    pub async fn update_intent(
        &self,
        id: &str,
        params: &IntentParams,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<Payment, ApiError> {
        check_id(id, "pi_")?;
        let request = params.update(id).map_err(|_| unsendable("amount"))?;
        self.payment(Call {
            key: Some(key),
            account,
            ..Call::of(&request)
        })
        .await
    }

    /// Cancels a PaymentIntent that is not paid yet: [`POST /v1/payment_intents/{id}/cancel`](https://docs.stripe.com/api/payment_intents/cancel).
    ///
    /// # Errors
    /// Any [`ApiError`]; [`InvalidRequest`](ApiError::InvalidRequest) with the code `payment_intent_unexpected_state` where it is paid, being processed, or canceled already.
    pub async fn cancel_intent(
        &self,
        id: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<Payment, ApiError> {
        check_id(id, "pi_")?;
        let request = CancelPaymentIntent::new(id).build();
        self.payment(Call {
            key: Some(key),
            account,
            ..Call::of(&request)
        })
        .await
    }

    /// Retrieves a PaymentIntent: [`GET /v1/payment_intents/{id}`](https://docs.stripe.com/api/payment_intents/retrieve).
    ///
    /// # Errors
    /// Any [`ApiError`]; [`InvalidRequest`](ApiError::InvalidRequest) with the status 404 and the code `resource_missing` where there is none. An id that cannot be one, as
    /// a browser might send, gives the same without asking Stripe.
    pub async fn retrieve_intent(
        &self,
        id: &str,
        account: Option<&str>,
    ) -> Result<Payment, ApiError> {
        Ok(self.retrieve_intent_whole(id, account).await?.0)
    }

    /// The same, with all that Stripe says of it.
    pub(crate) async fn retrieve_intent_whole(
        &self,
        id: &str,
        account: Option<&str>,
    ) -> Result<(Payment, Bytes), ApiError> {
        self.retrieve(RetrievePaymentIntent::new(id), id, account)
            .await
    }

    /// The same, with its latest charge expanded: what went back of the money stands there, and not in the PaymentIntent.
    pub(crate) async fn retrieve_intent_with_charge(
        &self,
        id: &str,
        account: Option<&str>,
    ) -> Result<(Payment, Bytes), ApiError> {
        let expanded = RetrievePaymentIntent::new(id).expand(["latest_charge".to_owned()]);
        self.retrieve(expanded, id, account).await
    }

    /// The same. Where a restricted key may not read charges, the payment comes without its charge.
    pub(crate) async fn retrieve_intent_and_charge(
        &self,
        id: &str,
        account: Option<&str>,
    ) -> Result<(Payment, Bytes), ApiError> {
        match self.retrieve_intent_with_charge(id, account).await {
            Err(ApiError::Permission { .. }) => self.retrieve_intent_whole(id, account).await,
            answered => answered,
        }
    }

    /// Retrieves a Checkout Session, with its PaymentIntent and that one's charge: [`GET /v1/checkout/sessions/{id}`](https://docs.stripe.com/api/checkout/sessions/retrieve).
    ///
    /// # Errors
    /// As [`retrieve_intent`](Self::retrieve_intent).
    pub async fn retrieve_session(
        &self,
        id: &str,
        account: Option<&str>,
    ) -> Result<CheckoutSession, ApiError> {
        check_session_id(id)?;
        let path = format!("/checkout/sessions/{id}");
        let get = |query| Call {
            method: "GET",
            path: &path,
            query,
            form: None,
            key: None,
            account,
        };
        let expanded = "expand%5B%5D=payment_intent.latest_charge";
        let answer = match self.send(get(Some(expanded))).await {
            // A restricted key may be for sessions and not for charges, or not even for payments.
            Err(ApiError::Permission { .. }) => {
                match self.send(get(Some("expand%5B%5D=payment_intent"))).await {
                    Err(ApiError::Permission { .. }) => self.send(get(None)).await?,
                    answered => answered?,
                }
            }
            answered => answered?,
        };
        read_session(&answer)
    }

    /// Expires a Checkout Session, so that nobody can pay it any more: [`POST /v1/checkout/sessions/{id}/expire`](https://docs.stripe.com/api/checkout/sessions/expire).
    ///
    /// # Errors
    /// Any [`ApiError`]; [`InvalidRequest`](ApiError::InvalidRequest) where it is not open any more.
    pub async fn expire_session(
        &self,
        id: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<CheckoutSession, ApiError> {
        check_session_id(id)?;
        let answer = self
            .send(Call {
                method: "POST",
                path: &format!("/checkout/sessions/{id}/expire"),
                query: None,
                form: None,
                key: Some(key),
                account,
            })
            .await?;
        read_session(&answer)
    }

    /// Cancels a PaymentIntent that waits for its buyer. It leaves a payment that is authorised, on
    /// its way or paid, and returns it.
    pub(crate) async fn cancel_unpaid(
        &self,
        id: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<Payment, ApiError> {
        let found = self.retrieve_intent(id, account).await?;
        match found.is_unpaid() {
            true => self.cancel_intent(id, key, account).await,
            false => Ok(found),
        }
    }

    /// Closes an open payment: cancels its PaymentIntent or expires its Checkout Session.
    /// Authorised money stays authorised.
    pub(crate) async fn close(
        &self,
        id: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<(), ApiError> {
        if is_session(id) {
            self.expire_session(id, key, account).await?;
        } else {
            self.cancel_unpaid(id, key, account).await?;
        }
        Ok(())
    }

    /// Makes a Checkout Session, and says whether Stripe only repeated an earlier answer: then it is retrieved as it stands now.
    #[cfg(feature = "sessions")]
    pub(crate) async fn create_session(
        &self,
        request: &RequestBuilder,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<CheckoutSession, ApiError> {
        let call = Call {
            key: Some(key),
            account,
            ..Call::of(request)
        };
        let answer = self.send(call).await?;
        let session = read_session(&answer)?;
        match retry::is_replayed(&answer) {
            // It may have been paid since, or be over.
            true => self.retrieve_session(session.id(), account).await,
            false => Ok(session),
        }
    }

    /// For the inbox, which ends an order that was declined too often.
    pub(crate) fn into_cancel(self) -> Cancel {
        Box::new(move |id, account| {
            let gateway = self.clone();
            Box::pin(async move {
                // To cancel twice does no harm, so the key is nothing to remember.
                let key = IdempotencyKey::once();
                match gateway.close(&id, &key, account.as_deref()).await {
                    // Paid in this moment, or canceled already.
                    Ok(()) | Err(ApiError::InvalidRequest { .. }) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            })
        })
    }

    async fn retrieve(
        &self,
        request: RetrievePaymentIntent,
        id: &str,
        account: Option<&str>,
    ) -> Result<(Payment, Bytes), ApiError> {
        check_id(id, "pi_")?;
        let request = request.build();
        let call = Call {
            account,
            ..Call::of(&request)
        };
        let answer = self.send(call).await?;
        Ok((read(&answer, account)?, answer.body))
    }

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
        let query = serde_html_form::to_string(query).map_err(|_| unsendable("types"))?;
        let answer = self
            .send(Call {
                method: "GET",
                path: "/events",
                query: Some(&query),
                form: None,
                key: None,
                account,
            })
            .await?;
        EventPage::read(&answer.body, account).ok_or_else(|| {
            tracing::warn!("the list of events that Stripe sent could not be read");
            ApiError::UnexpectedAnswer {
                status: answer.status,
                request_id: request_id(&answer),
            }
        })
    }

    /// Sends any other GET request and returns the JSON of the answer.
    ///
    /// `path` comes after `/v1`, with the query if there is one: just what `build()` of async-stripe's request types gives.
    ///
    /// ```no_run
    /// # async fn list(gateway: stripe_checkout_core::intent::Gateway) -> Result<(), Box<dyn std::error::Error>> {
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
        let call = Call {
            method: "GET",
            path,
            query,
            form: None,
            key: None,
            account,
        };
        Ok(self.send(call).await?.body)
    }

    /// Sends any other POST request, with retries as for all calls, and returns the JSON of the answer.
    ///
    /// `path` comes after `/v1`; `form` is the form-encoded body: just what `build()` of async-stripe's request types gives. The key is not optional: whatever moves money
    /// needs one that is stored before it is sent.
    ///
    /// ```no_run
    /// # use stripe_checkout_core::intent::{Gateway, IdempotencyKey};
    /// # async fn refund(gateway: Gateway) -> Result<(), Box<dyn std::error::Error>> {
    /// let key: IdempotencyKey = "refund-7-of-order-1042".parse()?;
    /// let refund = gateway.post("/refunds", "payment_intent=pi_123&amount=500", &key, None).await?;
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
        let form = Some(form);
        let call = Call {
            method: "POST",
            path,
            query: None,
            form,
            key: Some(key),
            account,
        };
        Ok(self.send(call).await?.body)
    }

    async fn payment(&self, call: Call<'_>) -> Result<Payment, ApiError> {
        let account = call.account;
        read(&self.send(call).await?, account)
    }

    /// A POST of an operation with a row of its own; also says whether Stripe only repeated an earlier answer.
    pub(crate) async fn operate<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<(T, bool), Unsuccessful> {
        let answer = self
            .ask(Call {
                method: "POST",
                path,
                query: None,
                form: Some(form),
                key: Some(key),
                account,
            })
            .await?;
        Ok((read_as(&answer)?, retry::is_replayed(&answer)))
    }

    /// A GET of any object.
    pub(crate) async fn fetch<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        account: Option<&str>,
    ) -> Result<T, ApiError> {
        let query = serde_html_form::to_string(query).map_err(|_| unsendable("query"))?;
        let answer = self
            .send(Call {
                method: "GET",
                path,
                query: Some(&query),
                form: None,
                key: None,
                account,
            })
            .await?;
        read_as(&answer)
    }

    /// Seconds by which this machine's clock is ahead of Stripe's, by the last answer; none before
    /// the first one.
    pub(crate) fn ahead_of_stripe(&self) -> Option<i64> {
        self.stripe_clock.ahead()
    }

    async fn send(&self, call: Call<'_>) -> Result<TransportResponse, ApiError> {
        self.ask(call)
            .await
            .map_err(|unsuccessful| unsuccessful.error)
    }

    async fn ask(&self, call: Call<'_>) -> Result<TransportResponse, Unsuccessful> {
        let since = Instant::now();
        let request = self.request(&call)?;
        match &self.caller {
            Some(caller) if caller.remembers() && call.method == "GET" => {
                self.look_up(caller, &call, &request, since).await
            }
            _ => {
                let answer = self.exchange(&request, since).await;
                if let Some(id) = object_id(call.path) {
                    self.heard_of(id);
                }
                answer
            }
        }
    }

    /// An object may have changed: the next look-up asks Stripe.
    pub(crate) fn heard_of(&self, id: &str) {
        self.recent.forget(id);
    }

    /// Asks Stripe, unless it answered the same within the last second.
    async fn look_up(
        &self,
        caller: &Caller,
        call: &Call<'_>,
        request: &TransportRequest,
        since: Instant,
    ) -> Result<TransportResponse, Unsuccessful> {
        let question = Question {
            url: request.url.clone(),
            account: call.account.map(str::to_owned),
        };
        let recent = &self.recent;
        let turn = recent.turn(caller.client(), &question);
        let _turn = tokio::select! {
            biased;
            () = caller.left() => return Err(unsent(Unsent::VisitorLeft).into()),
            turn = turn.lock() => turn,
            () = tokio::time::sleep_until(since + LONGEST_WAIT) => {
                return Err(unsent(Unsent::AtBound).into());
            }
        };
        if let Some(answer) = recent.find(&question) {
            telemetry::visitor_call("remembered");
            return answer;
        }
        let asked = Instant::now();
        let answer = self.exchange(request, since).await;
        recent.keep(question, asked, &answer);
        answer
    }

    async fn exchange(
        &self,
        request: &TransportRequest,
        since: Instant,
    ) -> Result<TransportResponse, Unsuccessful> {
        let path = path_of(&request.url, &self.api_base);
        let below = path.split_once("v1").map_or(path, |(_, below)| below);
        let endpoint = endpoint(request.method, below);
        let queue = self.caller.as_ref().map(|caller| Queue {
            caller,
            endpoint: &endpoint,
            since,
        });
        let span = tracing::debug_span!(
            "stripe",
            method = request.method,
            path,
            tries = tracing::field::Empty,
            status = tracing::field::Empty,
            request_id = tracing::field::Empty,
        );
        async {
            let here = tracing::Span::current();
            let outcome = retry::send(&*self.transport, request, self.limits, queue, |tries| {
                here.record("tries", tries);
            })
            .await;
            if let Ok(answer) = &outcome {
                self.stripe_clock.answered(answer);
                here.record("status", answer.status);
                here.record("request_id", request_id(answer));
            }
            let replayed = outcome.as_ref().is_ok_and(retry::is_replayed);
            let called = Called {
                method: request.method,
                path,
            };
            let outcome = match outcome {
                Ok(answer) => answered(answer).inspect_err(|error| called.refused(error)),
                Err(NoAnswer::Unsent(reason)) => {
                    tracing::debug!(?reason, "a call that a visitor caused was not sent");
                    Err(unsent(reason))
                }
                Err(no_answer) => {
                    called.unanswered(&no_answer);
                    Err(unanswered(no_answer))
                }
            };
            if outcome.is_ok() {
                tracing::debug!("Stripe answered");
            }
            outcome.map_err(|error| Unsuccessful { error, replayed })
        }
        .instrument(span)
        .await
    }

    /// What goes over the wire, built once for all tries.
    fn request(&self, call: &Call<'_>) -> Result<TransportRequest, ApiError> {
        let sound = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'#')
        };
        let climbs = call.path.split('/').any(|part| part == "..");
        if !call.path.starts_with('/') || climbs || !sound(call.path) || call.path.contains('?') {
            return Err(unsendable("path"));
        }
        let mut url = format!("{}/v1{}", self.api_base, call.path);
        if let Some(query) = call.query.filter(|query| !query.is_empty()) {
            if !sound(query) {
                return Err(unsendable("query"));
            }
            url.push('?');
            url.push_str(query);
        }
        let mut headers = vec![
            (
                "authorization",
                format!("Bearer {}", self.secret_key.expose()),
            ),
            ("stripe-version", API_VERSION.to_owned()),
            ("user-agent", USER_AGENT.to_owned()),
            ("accept", "application/json".to_owned()),
        ];
        if let Some(key) = call.key {
            headers.push(("idempotency-key", key.as_str().to_owned()));
        }
        if let Some(account) = call.account {
            if !is_id(account, "acct_") {
                return Err(unsendable("account"));
            }
            headers.push(("stripe-account", account.to_owned()));
        }
        if call.method == "POST" {
            headers.push(("content-type", FORM.to_owned()));
        }
        let body = Bytes::copy_from_slice(call.form.unwrap_or_default().as_bytes());
        Ok(TransportRequest {
            method: call.method,
            url,
            headers,
            body,
        })
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

/// Why a call brought nothing, and whether that was only a repeat of what Stripe answered to an earlier one with the same key: then no other answer comes with it.
#[derive(Debug, Clone)]
pub(crate) struct Unsuccessful {
    pub(crate) error: ApiError,
    pub(crate) replayed: bool,
}

impl From<ApiError> for Unsuccessful {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            replayed: false,
        }
    }
}

struct Call<'a> {
    method: &'static str,
    path: &'a str,
    query: Option<&'a str>,
    form: Option<&'a str>,
    key: Option<&'a IdempotencyKey>,
    account: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// A request of async-stripe's.
    fn of(request: &'a RequestBuilder) -> Self {
        Self {
            method: match request.method {
                StripeMethod::Get => "GET",
                StripeMethod::Post => "POST",
                StripeMethod::Delete => "DELETE",
            },
            path: &request.path,
            query: request.query.as_deref(),
            form: request.body.as_deref(),
            key: None,
            account: None,
        }
    }
}

fn read(answer: &TransportResponse, account: Option<&str>) -> Result<Payment, ApiError> {
    read_as::<Payment>(answer).map(|payment| payment.on_account(account))
}

pub(super) fn read_as<T: DeserializeOwned>(answer: &TransportResponse) -> Result<T, ApiError> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        // Where it went wrong, not what stands there.
        tracing::warn!(
            line = error.line(),
            column = error.column(),
            category = ?error.classify(),
            "the object that Stripe sent could not be read"
        );
        ApiError::UnexpectedAnswer {
            status: answer.status,
            request_id: request_id(answer),
        }
    })
}

fn read_session(answer: &TransportResponse) -> Result<CheckoutSession, ApiError> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        // Where it went wrong, not what stands there.
        tracing::warn!(
            line = error.line(),
            column = error.column(),
            category = ?error.classify(),
            "the Checkout Session that Stripe sent could not be read"
        );
        ApiError::UnexpectedAnswer {
            status: answer.status,
            request_id: request_id(answer),
        }
    })
}

/// Ids come from browsers too, and go into a path: nothing may leave it. Stripe's have no hyphens, but another implementation's may be made of UUIDs.
pub(crate) fn is_id(text: &str, prefix: &str) -> bool {
    text.len() > prefix.len()
        && text.len() <= 255
        && text.starts_with(prefix)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Whether this can be an id of this kind: what cannot be one, Stripe need not be asked for.
pub(crate) fn check_id(id: &str, prefix: &str) -> Result<(), ApiError> {
    match is_id(id, prefix) {
        true => Ok(()),
        false => Err(missing("intent")),
    }
}

fn check_session_id(id: &str) -> Result<(), ApiError> {
    match is_id(id, "cs_") {
        true => Ok(()),
        false => Err(missing("session")),
    }
}

fn missing(param: &str) -> ApiError {
    ApiError::InvalidRequest {
        status: 404,
        code: Some("resource_missing".into()),
        param: Some(param.into()),
        request_id: None,
    }
}

/// What Stripe would refuse, refused here: it cannot be put into a request.
pub(super) fn unsendable(param: &str) -> ApiError {
    ApiError::InvalidRequest {
        status: 400,
        code: Some("parameter_invalid".into()),
        param: Some(param.into()),
        request_id: None,
    }
}

/// A call, as its log line names it: the path holds ids, the query may hold more.
struct Called<'a> {
    method: &'static str,
    path: &'a str,
}

impl Called<'_> {
    /// One line for each call that Stripe refused, with the id by which Stripe's support and its
    /// Dashboard find it.
    fn refused(&self, error: &ApiError) {
        let Self { method, path } = self;
        let request_id = error.request_id();
        match error {
            // Everyday: a card without money, and an id that a browser made up.
            ApiError::Declined { .. } | ApiError::InvalidRequest { status: 404, .. } => {
                tracing::info!(method, path, request_id, %error, "Stripe refused a call");
            }
            ApiError::Unavailable { .. } => {
                tracing::error!(method, path, request_id, %error, "Stripe could not execute a call");
            }
            _ => tracing::warn!(method, path, request_id, %error, "Stripe refused a call"),
        }
    }

    fn unanswered(&self, cause: &NoAnswer) {
        let Self { method, path } = self;
        tracing::error!(method, path, %cause, "Stripe is unavailable");
    }
}

fn path_of<'a>(url: &'a str, base: &str) -> &'a str {
    let path = url.strip_prefix(base).unwrap_or_default();
    path.split('?').next().unwrap_or_default()
}

fn unanswered(no_answer: NoAnswer) -> ApiError {
    match no_answer {
        NoAnswer::TimedOut => ApiError::Timeout,
        NoAnswer::Unsent(reason) => unsent(reason),
        NoAnswer::Transport(TransportError::AnswerTooLarge { status, .. }) => {
            ApiError::UnexpectedAnswer {
                status,
                request_id: None,
            }
        }
        NoAnswer::Transport(_) => ApiError::Unavailable {
            status: None,
            replayed: false,
            request_id: None,
        },
    }
}

fn unsent(reason: Unsent) -> ApiError {
    match reason {
        Unsent::AtBound => ApiError::TooManyCalls {
            retry_after: RETRY_AFTER,
        },
        Unsent::VisitorLeft => ApiError::VisitorLeft,
    }
}

/// Stripe's error body, as far as a program needs it. Its `message` can repeat what was sent: only
/// that of a missing permission is kept.
/// See Stripe's [errors](https://docs.stripe.com/api/errors).
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    error: StripeError,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StripeError {
    r#type: Option<String>,
    code: Option<String>,
    decline_code: Option<String>,
    param: Option<String>,
    message: Option<String>,
}

fn answered(answer: TransportResponse) -> Result<TransportResponse, ApiError> {
    let status = answer.status;
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let request_id = request_id(&answer);
    // A proxy may answer with a page of its own: then the status has to do.
    let body: Option<ErrorBody> = serde_json::from_slice(&answer.body).ok();
    let StripeError {
        r#type,
        code,
        decline_code,
        param,
        message,
    } = body.unwrap_or_default().error;
    let code = code.and_then(word);
    let is_of_key = r#type.as_deref() == Some("idempotency_error");
    let is_conflict = code.as_deref() == Some("idempotency_key_in_use")
        || (status == 409 && (is_of_key || matches!(code.as_deref(), None | Some("lock_timeout"))));

    Err(match status {
        _ if is_conflict => ApiError::IdempotencyConflict { request_id },
        _ if is_of_key => ApiError::IdempotencyMismatch { request_id },
        401 => ApiError::Authentication { request_id },
        402 => ApiError::Declined {
            code: code.unwrap_or_else(|| "card_declined".into()),
            decline_code: decline_code.and_then(word),
            request_id,
        },
        403 => ApiError::Permission {
            sentence: message.as_deref().and_then(permission_sentence),
            account_is_gone: code.as_deref() == Some("account_invalid"),
            request_id,
        },
        429 => ApiError::RateLimited {
            retry_after: retry::retry_after(&answer),
            request_id,
        },
        424 | 500.. => ApiError::Unavailable {
            status: Some(status),
            replayed: retry::is_replayed(&answer),
            request_id,
        },
        400..500 => ApiError::InvalidRequest {
            status,
            code,
            param: param.and_then(word),
            request_id,
        },
        _ => ApiError::UnexpectedAnswer { status, request_id },
    })
}

/// The sentence of Stripe's message that names the permission which a restricted key lacks. The
/// other sentences repeat the key and what was sent.
fn permission_sentence(message: &str) -> Option<String> {
    let is_plain = |letter: char| letter.is_ascii_graphic() || letter == ' ';
    message
        .split(". ")
        .map(|sentence| sentence.trim().trim_end_matches('.'))
        .find(|sentence| sentence.contains("'rak_") && sentence.len() <= 300)
        .filter(|sentence| sentence.chars().all(is_plain))
        .map(str::to_owned)
}

fn request_id(answer: &TransportResponse) -> Option<String> {
    answer
        .header("request-id")
        .map(str::to_owned)
        .and_then(word)
}

/// A code, a parameter's name, an id: anything else that stands there is not for errors and logs.
fn word(text: String) -> Option<String> {
    let is_word = (1..=100).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte));
    is_word.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_sent_is_the_one_that_the_request_types_are_made_for() {
        assert_eq!(API_VERSION, stripe_client_core::VERSION.to_string());
    }

    #[test]
    fn stripes_sentence_names_the_missing_permission_and_not_the_key() {
        let message = "The provided key 'rk_test_****1234' does not have the required permissions \
                       for this endpoint on account 'acct_1'. Having the 'rak_charge_read' \
                       permission would allow this request to continue.";
        let sentence = permission_sentence(message).unwrap();
        assert_eq!(
            sentence,
            "Having the 'rak_charge_read' permission would allow this request to continue"
        );
        assert_eq!(permission_sentence("hidden words. And more."), None);
    }
}
