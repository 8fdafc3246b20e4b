//! Orders that are paid on Stripe's own page: one open Checkout Session per order, or one open PaymentIntent, never both.
//!
//! As with PaymentIntents the order's row is written before Stripe is asked, and the key is computed from it. A session cannot be changed: what is asked otherwise the
//! next time makes another one, after the first is expired, so that nobody can pay both.

use super::Checkout;
use super::expire::Expired;
use crate::error::IntentError;
use crate::fulfillment::{IntentRecord, IntentState, OrderKey};
use crate::stripe::ApiError;
use crate::stripe::IdempotencyKey;
use crate::webhook::{
    CheckoutSession, Payment, PaymentStatus, SessionPaymentStatus, SessionStatus,
};

impl Checkout {
    /// The payment of a buyer who comes back from Stripe's page with the session's id. If it is settled, it is taken in, whether or not its webhook has come.
    ///
    /// Gives `None` if the session is not one of this application's. Who knows the id, which is too long to be guessed, is told how the payment stands.
    ///
    /// # Errors
    /// [`IntentError::Api`], [`IntentError::Inbox`].
    pub async fn retrieve_session(&self, session: &str) -> Result<Option<Payment>, IntentError> {
        let mut gateway = self.look_up()?;
        let scope = self.scope(self.mode());
        let fulfillment = &self.inner.fulfillment;
        let mut is_guess = false;
        let account = match fulfillment.intent_of_payment(&scope, session).await? {
            Some((order, _)) => order.account,
            None if fulfillment.survives_restart() => return Ok(None),
            // What a restart forgot must not tell a buyer who has paid that the payment is unknown.
            None => {
                is_guess = true;
                gateway = self.guess()?;
                None
            }
        };
        let found = match gateway.retrieve_session(session, account.as_deref()).await {
            Ok(found) => found,
            Err(ApiError::InvalidRequest { status: 404, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let payment = Payment::of_session(found.clone()).on_account(account.as_deref());
        if is_guess && !self.bears_our_mark(&payment) {
            return Ok(None);
        }
        self.take_in_retrieved_session(&gateway, &found, &payment)
            .await;
        Ok(Some(payment))
    }

    /// Makes it impossible to pay an order in the session that it has: what follows may make something else. Gives the row to go on from, or `None` if it must be looked at
    /// again.
    pub(super) async fn leave_session(
        &self,
        order: &OrderKey,
        row: IntentRecord,
        id: &str,
    ) -> Result<Option<IntentRecord>, IntentError> {
        let Some(session) = self.session_of_order(order, &row, id).await? else {
            return Ok(Some(row));
        };
        match standing(&session)? {
            Standing::Over => Ok(Some(row)),
            Standing::Open => {
                self.expire_session_of(order, row, id).await?;
                Ok(None)
            }
        }
    }

    /// Ends the session of an order that was called off, or says that somebody paid in it.
    pub(super) async fn call_off_session(
        &self,
        order: &OrderKey,
        row: IntentRecord,
        id: &str,
    ) -> Result<Expired, IntentError> {
        let gateway = self.gateway()?;
        let account = order.account.as_deref();
        // To expire twice does no harm, and an answer of another day would.
        let key = IdempotencyKey::once();
        match gateway.expire_session(id, &key, account).await {
            // Over, paid, or unknown: it is looked up.
            Ok(_) | Err(ApiError::InvalidRequest { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let session = match gateway.retrieve_session(id, account).await {
            Ok(session) => session,
            Err(ApiError::InvalidRequest {
                status: 404,
                code: Some(code),
                ..
            }) if code == "resource_missing" => {
                self.mark_canceled(order, row).await?;
                return Ok(Expired::NothingOpen);
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(authorised) = session.intent().filter(|intent| is_authorised(intent)) {
            let key = IdempotencyKey::once();
            return match gateway.cancel_intent(authorised.id(), &key, account).await {
                Ok(canceled) => {
                    self.mark_canceled(order, row).await?;
                    Ok(Expired::Expired(canceled.in_session(session)))
                }
                // It was captured or canceled at this moment.
                Err(ApiError::InvalidRequest { .. }) => Err(IntentError::InFlight),
                Err(error) => Err(error.into()),
            };
        }
        let standing = standing(&session);
        let payment = Payment::of_session(session).on_account(account);
        match standing {
            Ok(Standing::Over) => {
                self.mark_canceled(order, row).await?;
                Ok(Expired::Expired(payment))
            }
            Err(IntentError::AlreadyPaid) => Ok(Expired::Paid(payment)),
            Err(_) => Ok(Expired::Processing(payment)),
            // It could not be expired a moment ago, and now it could.
            Ok(Standing::Open) => Err(IntentError::InFlight),
        }
    }

    /// The session as it stands now; `None` if Stripe does not know it.
    async fn session_of_order(
        &self,
        order: &OrderKey,
        row: &IntentRecord,
        id: &str,
    ) -> Result<Option<CheckoutSession>, IntentError> {
        let gateway = self.gateway()?;
        match gateway.retrieve_session(id, order.account.as_deref()).await {
            Ok(session) => Ok(Some(session)),
            // Other keys since, or a Stripe of one's own that forgets at a restart: what it does not know nobody can pay there.
            Err(ApiError::InvalidRequest {
                status: 404,
                code: Some(code),
                ..
            }) if code == "resource_missing" && row.state != IntentState::Processing => {
                tracing::warn!(
                    order = order.reference,
                    session = id,
                    "Stripe does not know the order's Checkout Session: a new one is made"
                );
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Why the session of an order leaves nothing to pay.
    #[cfg(feature = "checkout")]
    pub(super) async fn nothing_to_pay_in_session(
        &self,
        order: &OrderKey,
        id: &str,
    ) -> Result<Option<IntentError>, IntentError> {
        let gateway = self.look_up()?;
        Ok(
            match gateway.retrieve_session(id, order.account.as_deref()).await {
                Ok(session) => standing(&session).err(),
                Err(_) => Some(IntentError::Processing),
            },
        )
    }

    /// Expires the session, unless the row changed meanwhile. What became of it, whoever was faster, is looked up afterwards.
    async fn expire_session_of(
        &self,
        order: &OrderKey,
        row: IntentRecord,
        id: &str,
    ) -> Result<(), IntentError> {
        // The row says so first: that this one expires is then no news for the merchant.
        let replaced = IntentRecord {
            state: IntentState::Creating,
            ..row.clone()
        };
        let fulfillment = &self.inner.fulfillment;
        let version = Some(row.version);
        if !fulfillment.put_intent(order, version, replaced).await? {
            return Ok(());
        }
        // Expired twice does no harm.
        let key = IdempotencyKey::once();
        let gateway = self.gateway()?;
        match gateway
            .expire_session(id, &key, order.account.as_deref())
            .await
        {
            Ok(_) | Err(ApiError::InvalidRequest { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A session that can still be paid, or one that never will be.
enum Standing {
    Open,
    Over,
}

/// Whether money is authorised, and nothing of it was captured.
fn is_authorised(intent: &Payment) -> bool {
    *intent.status() == PaymentStatus::RequiresCapture && intent.amount_received().is_zero()
}

/// How a session stands, if it is neither paid nor on its way.
fn standing(session: &CheckoutSession) -> Result<Standing, IntentError> {
    match (session.payment_status(), session.status()) {
        (SessionPaymentStatus::Paid, _) => Err(IntentError::AlreadyPaid),
        (_, Some(SessionStatus::Open)) => Ok(Standing::Open),
        (_, Some(SessionStatus::Expired)) => Ok(Standing::Over),
        (SessionPaymentStatus::NoPaymentRequired, _) => Err(IntentError::AlreadyPaid),
        // Of a session that is complete and not paid only the PaymentIntent knows whether it is on its way or has failed.
        _ => match session.intent().map(Payment::status) {
            Some(
                PaymentStatus::RequiresPaymentMethod
                | PaymentStatus::Canceled
                | PaymentStatus::RequiresConfirmation,
            ) => Ok(Standing::Over),
            Some(PaymentStatus::Succeeded) => Err(IntentError::AlreadyPaid),
            _ => Err(IntentError::Processing),
        },
    }
}

#[cfg(feature = "sessions")]
mod create {
    use super::super::Payments;
    use super::super::expire::is_called_off;
    use super::super::intents::{closed, hash, is_canceled, is_spent};
    use super::super::receipt;
    use super::*;
    use crate::fulfillment::{RequestState, is_session};
    use crate::requests::{HostedCheckout, PaymentRequest, SessionParams};
    use crate::stripe::{Gateway, Operation};

    impl Checkout {
        /// Makes the Checkout Session of an order, or gives the one that is open for it. If the order has an open PaymentIntent or a session that was made
        /// otherwise, that one is canceled or expired first: an order is paid once, on whichever page.
        ///
        /// # Errors
        /// [`IntentError`]; [`AlreadyPaid`](IntentError::AlreadyPaid) and [`Processing`](IntentError::Processing) if there is nothing to pay (any more);
        /// [`NoPricing`](IntentError::NoPricing) also without [`hosted_checkout`](crate::CheckoutBuilder::hosted_checkout).
        pub async fn create_session(
            &self,
            request: &PaymentRequest,
        ) -> Result<CheckoutSession, IntentError> {
            let payments = self.payments()?;
            let hosted = payments.hosted.as_ref().ok_or(IntentError::NoPricing)?;
            // Of what the merchant asked for, also where Stripe refuses the receipt's address.
            let asked = hosted.params(request, &self.inner.application)?.form()?;
            let sent = receipt::sendable(request);
            let opened = self.open_session(payments, hosted, &sent, &asked).await;
            match receipt::refused(&sent, &opened) {
                Some(sent) => self.open_session(payments, hosted, &sent, &asked).await,
                None => opened,
            }
        }

        async fn open_session(
            &self,
            payments: &Payments,
            hosted: &HostedCheckout,
            request: &PaymentRequest,
            asked: &str,
        ) -> Result<CheckoutSession, IntentError> {
            self.check(payments, request)?;
            let attempt = Attempt {
                checkout: self,
                gateway: self.gateway()?,
                order: &self.order_key_on(request.reference(), request.account()),
                fingerprint: hash(asked),
                params: &hosted.params(request, &self.inner.application)?,
                reopens: request.reopens(),
            };
            attempt.run().await
        }
    }

    /// How often the row may change under one call before it gives up with a 409.
    const ROUNDS: usize = 8;

    /// One call for one order. Each step gives the session, or `None` if the row changed and must be looked at again.
    struct Attempt<'a> {
        checkout: &'a Checkout,
        gateway: &'a Gateway,
        order: &'a OrderKey,
        params: &'a SessionParams,
        reopens: bool,
        fingerprint: String,
    }

    impl Attempt<'_> {
        async fn run(&self) -> Result<CheckoutSession, IntentError> {
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
                        (_, Some(id)) if is_session(&id) => self.reuse(row, &id).await?,
                        (_, Some(id)) => self.leave_intent(row, &id).await?,
                        (_, None) if row.fingerprint != self.fingerprint || is_called_off(&row) => {
                            self.begin(Some(row)).await?
                        }
                        (_, None) => self.create(row).await?,
                    },
                };
                if let Some(session) = round {
                    return Ok(session);
                }
            }
            Err(IntentError::InFlight)
        }

        /// Writes down that the next attempt begins, with what is asked now.
        async fn begin(
            &self,
            before: Option<IntentRecord>,
        ) -> Result<Option<CheckoutSession>, IntentError> {
            let next = IntentRecord {
                version: 0,
                attempt: before
                    .as_ref()
                    .map_or(1, |row| row.attempt.saturating_add(1)),
                fingerprint: self.fingerprint.clone(),
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

        /// Asks Stripe for the session of the row's attempt. Asked twice, Stripe gives the same one.
        async fn create(&self, row: IntentRecord) -> Result<Option<CheckoutSession>, IntentError> {
            let request = self.params.post(row.attempt)?;
            let operation = Operation {
                name: "create-session",
                application: &self.order.scope.application,
                mode: self.order.scope.mode,
                account: self.account(),
                reference: &self.order.reference,
                attempt: row.attempt,
            };
            let key = IdempotencyKey::derive(&operation, request.form.as_bytes());
            let gateway = self.gateway;
            match gateway.create_session(&request, &key, self.account()).await {
                Ok(session) => {
                    let opened = IntentRecord {
                        payment: Some(session.id().to_owned()),
                        request: RequestState::Sent,
                        state: IntentState::Open,
                        ..row.clone()
                    };
                    if self.put(Some(row.version), opened).await? {
                        // One that Stripe only repeated may be over.
                        let open = matches!(standing(&session), Ok(Standing::Open));
                        return Ok(open.then_some(session));
                    }
                    self.stand_back(&row, &session).await?;
                    Ok(None)
                }
                Err(error) => {
                    let params = self.params.intent();
                    if is_spent(&error) && !receipt::is_to_blame(params, &error) {
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

        /// Somebody changed the row while Stripe made the session. If it is not the one that the row has now, nobody was told of it: it is expired.
        async fn stand_back(
            &self,
            row: &IntentRecord,
            made: &CheckoutSession,
        ) -> Result<(), IntentError> {
            let now = self.checkout.inner.fulfillment.intent(self.order).await?;
            let same = now.is_some_and(|now| {
                now.payment.as_deref() == Some(made.id())
                    // The same attempt, not stored yet: the other one is about to store it.
                    || (now.attempt == row.attempt && now.payment.is_none())
            });
            if !same {
                let key = IdempotencyKey::once();
                let gateway = self.gateway.to_the_end();
                if let Err(error) = gateway
                    .expire_session(made.id(), &key, self.account())
                    .await
                {
                    tracing::warn!(session = made.id(), %error, "a Checkout Session that nobody was given stays open");
                }
            }
            Ok(())
        }

        /// Gives the open session, if it is what is asked now.
        async fn reuse(
            &self,
            row: IntentRecord,
            id: &str,
        ) -> Result<Option<CheckoutSession>, IntentError> {
            let session = self.checkout.session_of_order(self.order, &row, id).await?;
            let Some(session) = session else {
                return self.begin(Some(row)).await;
            };
            match standing(&session)? {
                Standing::Over => self.begin(Some(row)).await,
                // One that is being expired is not given to anybody.
                Standing::Open
                    if row.fingerprint == self.fingerprint
                        && row.request == RequestState::Sent
                        && row.state == IntentState::Open =>
                {
                    Ok(Some(session))
                }
                Standing::Open => {
                    self.checkout.expire_session_of(self.order, row, id).await?;
                    Ok(None)
                }
            }
        }

        /// The order has a PaymentIntent of the merchant's own page: nobody shall pay that one and the session too.
        async fn leave_intent(
            &self,
            row: IntentRecord,
            id: &str,
        ) -> Result<Option<CheckoutSession>, IntentError> {
            let gateway = self.gateway;
            let payment = match gateway.retrieve_intent(id, self.account()).await {
                Ok(payment) => payment,
                Err(ApiError::InvalidRequest {
                    status: 404,
                    code: Some(code),
                    ..
                }) if code == "resource_missing" && row.state != IntentState::Processing => {
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
            // The row says so first: that this one is canceled is then no news for the merchant.
            let replaced = IntentRecord {
                state: IntentState::Creating,
                ..row.clone()
            };
            if !self.put(Some(row.version), replaced).await? {
                return Ok(None);
            }
            let key = IdempotencyKey::once();
            match gateway.cancel_unpaid(id, &key, self.account()).await {
                Ok(_) | Err(ApiError::InvalidRequest { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        }

        /// Writes the row, and says whether nobody else was first.
        async fn put(&self, expected: Option<u64>, row: IntentRecord) -> Result<bool, IntentError> {
            let fulfillment = &self.checkout.inner.fulfillment;
            Ok(fulfillment.put_intent(self.order, expected, row).await?)
        }

        fn account(&self) -> Option<&str> {
            self.order.account.as_deref()
        }
    }
}
