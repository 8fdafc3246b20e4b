//! One open PaymentIntent per order, whatever is clicked twice, retried, reloaded, changed meanwhile or cut off by a crash.
//!
//! The order's row is written before Stripe is asked, and the key sent to Stripe is computed from it. So whoever asks again for the same order, in this
//! process or in another one, asks Stripe for the same PaymentIntent. Rows are written by compare-and-swap: who loses looks again.

use sha2::{Digest, Sha256};

use super::expire::is_called_off;
use super::{Checkout, Payments, receipt};
use crate::error::IntentError;
use crate::fulfillment::{IntentRecord, IntentState, OrderKey, RequestState, is_session};
use crate::requests::{IntentParams, PaymentRequest};
use crate::secret::{ClientSecret, Mode};
use crate::stripe::ApiError;
use crate::stripe::{Gateway, IdempotencyKey, Operation};
use crate::webhook::{Payment, PaymentStatus};

/// How often the row may change under one call before it gives up with a 409: each time somebody else got ahead with the same order.
const ROUNDS: usize = 8;

impl Checkout {
    /// Makes the PaymentIntent of an order, or gives the one that is open for it, brought up to date if the order changed.
    ///
    /// # Errors
    /// [`IntentError`]; [`AlreadyPaid`](IntentError::AlreadyPaid) and [`Processing`](IntentError::Processing) if there is nothing to pay (any more).
    pub async fn create_intent(&self, request: &PaymentRequest) -> Result<Payment, IntentError> {
        if let Some(minimum) = request.amount().below_minimum() {
            tracing::warn!(order = request.reference(), amount = %request.amount(), %minimum, "below Stripe's minimum, if this is the settlement currency");
        }
        let asked = request.intent_params(&self.inner.application)?;
        let asked = asked.create_form()?;
        let sent = receipt::sendable(request);
        let opened = self.open_intent(&sent, &asked).await;
        match receipt::refused(&sent, &opened) {
            Some(sent) => self.open_intent(&sent, &asked).await,
            None => opened,
        }
    }

    async fn open_intent(
        &self,
        request: &PaymentRequest,
        asked: &str,
    ) -> Result<Payment, IntentError> {
        let payments = self.payments()?;
        self.check(payments, request)?;
        let params = request.intent_params(&self.inner.application)?;
        let attempt = Attempt {
            checkout: self,
            gateway: self.gateway()?,
            order: &self.order_key_on(request.reference(), request.account()),
            params: &params,
            form: params.create_form()?,
            asked,
            reopens: request.reopens(),
        };
        attempt.run().await
    }

    /// The PaymentIntent of a payment that this application made, for the buyer who knows its client secret.
    ///
    /// Gives `None` if the payment is unknown or the secret is another's: who asks cannot tell which.
    ///
    /// # Errors
    /// [`IntentError::Api`], [`IntentError::Inbox`].
    pub async fn retrieve_intent(
        &self,
        payment: &str,
        client_secret: &str,
    ) -> Result<Option<Payment>, IntentError> {
        let mut gateway = self.look_up()?;
        let scope = self.scope(self.mode());
        let row = self
            .inner
            .fulfillment
            .intent_of_payment(&scope, payment)
            .await?;
        let account = match &row {
            // A wrong secret costs no call to Stripe.
            Some((_, row)) if !fits(row, payment, client_secret) => return Ok(None),
            Some((order, _)) => order.account.clone(),
            None if self.inner.fulfillment.survives_restart() => return Ok(None),
            // What a restart forgot must not tell a buyer who has paid that the payment is unknown.
            None => {
                gateway = self.guess()?;
                None
            }
        };
        let (payment, whole) = match gateway
            .retrieve_intent_and_charge(payment, account.as_deref())
            .await
        {
            Ok(found) => found,
            Err(ApiError::InvalidRequest { status: 404, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let known = payment
            .client_secret()
            .is_some_and(|secret| secret.matches(client_secret));
        if known {
            self.take_in_retrieved(&payment, &whole).await;
        }
        Ok(known.then_some(payment))
    }

    /// Checks whether an order can be paid, and changes nothing. The page shows its form only then.
    ///
    /// # Errors
    /// The error with which [`create_intent`](Self::create_intent) would refuse.
    #[cfg(feature = "checkout")]
    pub(super) async fn check_payable(&self, request: &PaymentRequest) -> Result<(), IntentError> {
        let payments = self.payments()?;
        self.check(payments, &receipt::without_bad_receipt(request))?;
        request.intent_params(&self.inner.application)?;
        let order = self.order_key_on(request.reference(), request.account());
        let Some(row) = self.inner.fulfillment.intent(&order).await? else {
            return Ok(());
        };
        if let Some(error) = unpayable(&row, request.reopens(), payments.max_declines) {
            return Err(error);
        }
        let id = match row.state {
            IntentState::Processing => row.payment,
            _ => None,
        };
        let Some(id) = id else { return Ok(()) };
        // Events arrive in any order. Before the page sends a buyer away, it asks Stripe.
        let closed = if is_session(&id) {
            self.nothing_to_pay_in_session(&order, &id).await?
        } else {
            match self
                .look_up()?
                .retrieve_intent(&id, order.account.as_deref())
                .await
            {
                Ok(payment) => closed(&payment),
                Err(_) => Some(IntentError::Processing),
            }
        };
        closed.map_or(Ok(()), Err)
    }

    /// Refuses an order that cannot be paid, as its row says. After too many declines it also
    /// cancels the open payment.
    pub(super) async fn refuse_unpayable(
        &self,
        order: &OrderKey,
        row: &IntentRecord,
        reopens: bool,
    ) -> Result<(), IntentError> {
        let payments = self.payments()?;
        let Some(error) = unpayable(row, reopens, payments.max_declines) else {
            return Ok(());
        };
        if !matches!(error, IntentError::TooManyDeclines { .. }) {
            return Err(error);
        }
        if let Some(payment) = row
            .payment
            .as_deref()
            .filter(|_| row.state != IntentState::Canceled)
        {
            // To cancel twice does no harm.
            let key = IdempotencyKey::once();
            let account = order.account.as_deref();
            if let Err(error) = self.gateway()?.close(payment, &key, account).await {
                tracing::warn!(payment, %error, "what was declined too often stays open");
            }
        }
        Err(error)
    }

    pub(super) fn payments(&self) -> Result<&Payments, IntentError> {
        self.inner.payments.as_ref().ok_or(IntentError::NoPricing)
    }

    /// The mode of the keys; without keys there are no intents.
    pub(super) fn mode(&self) -> Mode {
        self.inner.mode.unwrap_or(Mode::Test)
    }

    pub(super) fn order_key_on(&self, reference: &str, account: Option<&str>) -> OrderKey {
        OrderKey {
            scope: self.scope(self.mode()),
            account: account.map(str::to_owned),
            reference: reference.to_owned(),
        }
    }
}

/// One call for one order. Each step gives the PaymentIntent, or `None` if the row changed and must be looked at again.
struct Attempt<'a> {
    checkout: &'a Checkout,
    gateway: &'a Gateway,
    order: &'a OrderKey,
    params: &'a IntentParams,
    /// The form that is sent.
    form: String,
    /// The form that the merchant asked for: the same, unless Stripe refuses the receipt's address.
    asked: &'a str,
    /// Whether an order that was called off is open again.
    reopens: bool,
}

impl Attempt<'_> {
    async fn run(&self) -> Result<Payment, IntentError> {
        for _ in 0..ROUNDS {
            let row = self.checkout.inner.fulfillment.intent(self.order).await?;
            if let Some(row) = &row {
                self.checkout
                    .refuse_unpayable(self.order, row, self.reopens)
                    .await?;
            }
            let round = match row {
                None => self.begin(None).await?,
                Some(row) => match (row.state, row.payment.clone()) {
                    (IntentState::Canceled, _) => self.begin(Some(row)).await?,
                    // Of Stripe's own page: nobody shall pay there and here.
                    (_, Some(session)) if is_session(&session) => {
                        let leave = self.checkout.leave_session(self.order, row, &session);
                        match leave.await? {
                            Some(row) => self.begin(Some(row)).await?,
                            None => None,
                        }
                    }
                    (_, Some(payment)) => self.reuse(row, &payment).await?,
                    (_, None) if row.fingerprint != self.fingerprint() || is_called_off(&row) => {
                        self.begin(Some(row)).await?
                    }
                    (_, None) => self.create(row).await?,
                },
            };
            if let Some(payment) = round {
                return Ok(payment);
            }
        }
        Err(IntentError::InFlight)
    }

    /// Writes down that the next attempt begins, with what is asked now.
    async fn begin(&self, before: Option<IntentRecord>) -> Result<Option<Payment>, IntentError> {
        let next = IntentRecord {
            version: 0,
            attempt: before
                .as_ref()
                .map_or(1, |row| row.attempt.saturating_add(1)),
            fingerprint: self.fingerprint(),
            request: RequestState::Sending,
            asked: self.params.amount(),
            payment: None,
            capture: None,
            secret_hash: None,
            state: IntentState::Creating,
            paid_by: None,
            declines: before.as_ref().map_or(0, |row| row.declines),
        };
        self.put(before.map(|row| row.version), next).await?;
        Ok(None)
    }

    /// Asks Stripe for the PaymentIntent of the row's attempt. Asked twice, Stripe gives the same one.
    async fn create(&self, row: IntentRecord) -> Result<Option<Payment>, IntentError> {
        let key = self.key("create", &row, self.form.as_bytes());
        let gateway = self.gateway;
        match gateway.create(self.params, &key, self.account()).await {
            Ok((payment, replayed)) => {
                let opened = IntentRecord {
                    // What is only repeated may have been changed since: bring it up to date first.
                    request: if replayed {
                        RequestState::Sending
                    } else {
                        RequestState::Sent
                    },
                    payment: Some(payment.id().to_owned()),
                    secret_hash: payment.client_secret().map(|secret| hash(secret.expose())),
                    state: IntentState::Open,
                    ..row.clone()
                };
                if self.put(Some(row.version), opened).await?.is_some() {
                    return Ok((!replayed).then_some(payment));
                }
                self.stand_back(&row, &payment).await?;
                Ok(None)
            }
            Err(error) => {
                if is_spent(&error) && !receipt::is_to_blame(self.params, &error) {
                    let next = IntentRecord {
                        attempt: row.attempt.saturating_add(1),
                        ..row.clone()
                    };
                    self.put(Some(row.version), next).await?;
                }
                Err(error.into())
            }
        }
    }

    /// Somebody changed the row while Stripe made the PaymentIntent. If it is not the one that the row has now, nobody was told of it: it is canceled.
    async fn stand_back(&self, row: &IntentRecord, made: &Payment) -> Result<(), IntentError> {
        let now = self.checkout.inner.fulfillment.intent(self.order).await?;
        let same = now.is_some_and(|now| {
            now.payment.as_deref() == Some(made.id())
                // The same attempt, not stored yet: the other one is about to store it.
                || (now.attempt == row.attempt && now.payment.is_none())
        });
        if !same {
            let key = self.key("cancel", row, made.id().as_bytes());
            let gateway = self.gateway.to_the_end();
            let canceled = gateway.cancel_unpaid(made.id(), &key, self.account());
            if let Err(error) = canceled.await {
                tracing::warn!(payment = made.id(), %error, "a PaymentIntent that nobody was given stays open");
            }
        }
        Ok(())
    }

    /// Gives the open PaymentIntent, brought to what is asked now.
    async fn reuse(&self, row: IntentRecord, id: &str) -> Result<Option<Payment>, IntentError> {
        let gateway = self.gateway;
        let payment = match gateway.retrieve_intent(id, self.account()).await {
            Ok(payment) => payment,
            // Other keys since, or a Stripe of one's own that forgets at a restart: what it does not know nobody can pay there.
            Err(ApiError::InvalidRequest {
                status: 404,
                code: Some(code),
                ..
            }) if code == "resource_missing" && row.state != IntentState::Processing => {
                tracing::warn!(
                    order = self.order.reference,
                    payment = id,
                    "Stripe does not know the order's PaymentIntent: a new one is made"
                );
                return self.begin(Some(row)).await;
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(error) = closed(&payment) {
            return Err(error);
        }
        if is_canceled(&payment) {
            return self.begin(Some(row)).await;
        }
        // Another call is closing it, or crashed before it did. No buyer receives this one.
        if row.state == IntentState::Creating {
            let nonce = fastrand::u128(..).to_be_bytes();
            return self.replace(row, id, &nonce).await;
        }
        let is_same = row.fingerprint == self.fingerprint();
        let is_sent = row.request == RequestState::Sent;
        if is_same && is_sent && payment.amount() == self.params.amount() {
            return Ok(Some(payment));
        }
        if !self.params.can_follow(&payment) {
            let nonce = fastrand::u128(..).to_be_bytes();
            return self.replace(row, id, &nonce).await;
        }
        // First the row, then Stripe, so that a payment at the old price that comes in between is seen to be one. Until Stripe has the parameters the row
        // says that they are being sent; whoever asks for the same meanwhile, or after a crash, sends them as well.
        let sending = if is_same && row.request == RequestState::Sending {
            row
        } else {
            let next = IntentRecord {
                fingerprint: self.fingerprint(),
                request: RequestState::Sending,
                asked: self.params.amount(),
                state: IntentState::Open,
                ..row.clone()
            };
            match self.put(Some(row.version), next).await? {
                Some(stored) => stored,
                None => return Ok(None),
            }
        };
        // Back to an earlier price is another update and not a repeat of the first one, and an update that is made twice does no harm: a key of its own.
        let nonce = fastrand::u128(..).to_be_bytes();
        let key = self.key("update", &sending, &nonce);
        match gateway
            .update_intent(id, self.params, &key, self.account())
            .await
        {
            Ok(payment) => {
                let sent = IntentRecord {
                    request: RequestState::Sent,
                    ..sending.clone()
                };
                // Whoever changed the row meanwhile may have updated Stripe before or after this: look again.
                let stored = self.put(Some(sending.version), sent).await?;
                Ok(stored.is_some().then_some(payment))
            }
            Err(ApiError::InvalidRequest {
                code: Some(code), ..
            }) if code == "payment_intent_unexpected_state" => {
                self.replace(sending, id, &nonce).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// It is too late to change the PaymentIntent. If nobody pays it at this moment, it is canceled, and the next round makes another.
    async fn replace(
        &self,
        row: IntentRecord,
        id: &str,
        nonce: &[u8],
    ) -> Result<Option<Payment>, IntentError> {
        // The row says so first: that this one is canceled is then no news for the merchant.
        let replaced = IntentRecord {
            state: IntentState::Creating,
            ..row.clone()
        };
        if self.put(Some(row.version), replaced).await?.is_none() {
            return Ok(None);
        }
        let key = self.key("cancel", &row, nonce);
        match self.gateway.cancel_unpaid(id, &key, self.account()).await {
            Ok(_) | Err(ApiError::InvalidRequest { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the row and gives it as it is stored, or `None` if somebody else was first.
    async fn put(
        &self,
        expected: Option<u64>,
        row: IntentRecord,
    ) -> Result<Option<IntentRecord>, IntentError> {
        let fulfillment = &self.checkout.inner.fulfillment;
        let stored = fulfillment
            .put_intent(self.order, expected, row.clone())
            .await?;
        let version = expected.map_or(1, |version| version + 1);
        Ok(stored.then_some(IntentRecord { version, ..row }))
    }

    fn key(&self, name: &str, row: &IntentRecord, parameters: &[u8]) -> IdempotencyKey {
        let operation = Operation {
            name,
            application: &self.order.scope.application,
            mode: self.order.scope.mode,
            account: self.account(),
            reference: &self.order.reference,
            attempt: row.attempt,
        };
        IdempotencyKey::derive(&operation, parameters)
    }

    fn fingerprint(&self) -> String {
        hash(self.asked)
    }

    fn account(&self) -> Option<&str> {
        self.order.account.as_deref()
    }
}

/// Returns why an order cannot be paid, as its row says. The page and the routes share this check.
fn unpayable(row: &IntentRecord, reopens: bool, max_declines: u32) -> Option<IntentError> {
    if row.state == IntentState::Paid {
        return Some(IntentError::AlreadyPaid);
    }
    if row.declines >= max_declines {
        let declines = row.declines;
        return Some(IntentError::TooManyDeclines { declines });
    }
    (is_called_off(row) && !reopens).then_some(IntentError::CalledOff)
}

/// Whether the key is used up: it can only bring this answer again.
pub(super) fn is_spent(error: &ApiError) -> bool {
    match error {
        ApiError::Declined { .. }
        | ApiError::InvalidRequest { .. }
        | ApiError::Authentication { .. }
        | ApiError::Permission { .. }
        | ApiError::IdempotencyMismatch { .. } => true,
        ApiError::Unavailable { replayed, .. } => *replayed,
        _ => false,
    }
}

/// Why a PaymentIntent cannot be paid any more, other than that it was canceled.
pub(super) fn closed(payment: &Payment) -> Option<IntentError> {
    match payment.status() {
        PaymentStatus::Succeeded => Some(IntentError::AlreadyPaid),
        PaymentStatus::Processing | PaymentStatus::RequiresCapture => Some(IntentError::Processing),
        _ => None,
    }
}

pub(super) fn is_canceled(payment: &Payment) -> bool {
    *payment.status() == PaymentStatus::Canceled
}

pub(super) fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether a client secret may be this payment's. Only the row's present PaymentIntent has a hash here; for an earlier one Stripe tells.
fn fits(row: &IntentRecord, payment: &str, client_secret: &str) -> bool {
    match &row.secret_hash {
        Some(known) if row.payment.as_deref() == Some(payment) => {
            ClientSecret::new(hash(client_secret)).matches(known)
        }
        _ => true,
    }
}
