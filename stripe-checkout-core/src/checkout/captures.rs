//! Money that is reserved: taken or let go, once; and what became of a payment's money.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::operations::{Doing, Work};
use super::payment_error::PaymentError;
use super::state::Checkout;
use crate::amount::Amount;
use crate::amount::AmountError;
use crate::error::InboxError;
use crate::fulfillment::{
    IntentRecord, IntentState, OperationKind, OperationRecord, OperationState, OrderKey,
    is_present, row_of,
};
use crate::marks::CAPTURE;
use crate::requests::{CancelRequest, CaptureRequest, RequestError, check_reference};
use crate::stripe::{ApiError, Gateway, IdempotencyKey, Post, Unsuccessful, check_id};
use crate::webhook::{Dispute, Payment, PaymentStatus, RefundStatus};

/// How often an order's row may change while it learns what is captured.
const ROUNDS: usize = 8;

/// After which time somebody who wanted to capture is not waited for any more: no request is on its way for so long.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(60 * 60);

/// What became of the money of one payment, as Stripe says it now: see [`Checkout::totals`]. All amounts are in the payment's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// What was asked for.
    pub asked: Amount,
    /// What is reserved, and can be captured.
    pub capturable: Amount,
    /// Until when it can be captured, in seconds since 1970; afterwards Stripe lets it go. None if nothing is reserved, or the payment method does not say.
    pub capture_before: Option<i64>,
    /// What was charged.
    pub charged: Amount,
    /// What went back to the buyer, or is on its way.
    pub refunded: Amount,
    /// What of that is only on its way: it may still fail.
    pub pending: Amount,
    /// What the buyer's bank took back in disputes that are open or lost.
    pub disputed: Amount,
}

impl Totals {
    /// What you have of it: what was charged, less what went back and what was taken back.
    pub fn kept(&self) -> Amount {
        let gone = self.refunded.minor().saturating_add(self.disputed.minor());
        let minor = self.charged.minor().saturating_sub(gone);
        Amount::new(minor, self.charged.currency())
    }
}

impl Checkout {
    /// Takes the money that was [reserved](crate::requests::PaymentRequest::capture_manually) for a payment, all of it or a part; the rest is let go. Once for each
    /// [reference](CaptureRequest::reference), also after Stripe's 24 hours. The payment is then paid, and [`payment_succeeded`] runs when Stripe says so.
    ///
    /// The library writes the amount down before it sends it, and all of it must arrive. The answer
    /// of [`amount_due`] stays the price of the order. That also holds for a part, and for more
    /// than was authorised where Stripe allows it.
    ///
    /// See <https://docs.stripe.com/payments/place-a-hold-on-a-payment-method>.
    ///
    /// [`payment_succeeded`]: crate::fulfillment::FulfillmentHandler::payment_succeeded
    /// [`amount_due`]: crate::fulfillment::FulfillmentHandler::amount_due
    ///
    /// # Errors
    /// [`PaymentError`]; [`WrongState`](PaymentError::WrongState) if nothing is reserved (any
    /// more), [`MoreThanLeft`](PaymentError::MoreThanLeft) if less is,
    /// [`InFlight`](PaymentError::InFlight) while a capture with another reference is on its way:
    /// a payment is captured once.
    pub async fn capture(&self, request: &CaptureRequest) -> Result<Payment, PaymentError> {
        let (checkout, request) = (self.clone(), request.clone());
        self.operate(async move { checkout.take(&request).await })
            .await
    }

    /// Gives up a payment that is not paid, and lets go what was reserved for it. One that is canceled already is what you want: whoever canceled it, that is no error.
    ///
    /// The handler receives [`PaymentCanceled`] when Stripe says so. The order may be paid by
    /// another PaymentIntent afterwards: to cancel an order see [`expire`](Self::expire).
    ///
    /// [`PaymentCanceled`]: crate::fulfillment::PaymentEvent::PaymentCanceled
    ///
    /// # Errors
    /// [`PaymentError`]; [`WrongState`](PaymentError::WrongState) if it is paid, or on its way.
    pub async fn cancel(&self, request: &CancelRequest) -> Result<Payment, PaymentError> {
        let (checkout, request) = (self.clone(), request.clone());
        self.operate(async move { checkout.let_go(&request).await })
            .await
    }

    /// What became of the money of a payment: asked of Stripe, so that what happened in the Dashboard counts too. Two requests, and a third one if it is disputed.
    ///
    /// # Errors
    /// [`PaymentError::Api`], [`PaymentError::Inbox`], [`PaymentError::NoPricing`].
    pub async fn totals(&self, payment: &str) -> Result<Totals, PaymentError> {
        let gateway = self.gateway()?;
        check_id(payment, "pi_")?;
        let account = self.account_of(payment, None).await?;
        let account = account.as_deref();
        // Without the charge, the totals would be wrong.
        let (found, _) = gateway
            .retrieve_intent_with_charge(payment, account)
            .await?;
        let returned = found.returned().unwrap_or_default();
        let of = |minor| Amount::new(minor, found.currency());
        let mut pending: u64 = 0;
        for refund in gateway.refunds_of(payment, account).await? {
            if matches!(
                refund.status(),
                Some(RefundStatus::Pending | RefundStatus::RequiresAction)
            ) {
                pending = pending.saturating_add(refund.amount().minor());
            }
        }
        let mut disputed: u64 = 0;
        if returned.disputed {
            for dispute in gateway.disputes_of(payment, account).await? {
                if dispute.status().takes_money() {
                    disputed = disputed.saturating_add(dispute.amount().minor());
                }
            }
        }
        let charged = found.amount_received();
        // Money that can still be captured is not released.
        let left = found.amount().minor().saturating_sub(charged.minor());
        let released = left.saturating_sub(found.amount_capturable().minor());
        // Our own capture is of a version that does not count the released part as refunded.
        let counted = returned.refunded;
        let refunded = match found.metadata().get(CAPTURE) {
            _ if charged.is_zero() => 0,
            None if counted > charged.minor() => counted.saturating_sub(released),
            _ => counted,
        };
        Ok(Totals {
            asked: found.amount(),
            capturable: found.amount_capturable(),
            capture_before: found
                .capture_before()
                .filter(|_| !found.amount_capturable().is_zero()),
            charged,
            refunded: of(refunded),
            pending: of(pending),
            disputed: of(disputed),
        })
    }

    async fn take(&self, request: &CaptureRequest) -> Result<Payment, PaymentError> {
        let gateway = self.gateway()?;
        request.validate()?;
        let id = request.payment();
        check_id(id, "pi_")?;
        let account = self.account_of(id, request.account()).await?;
        let account = account.as_deref();
        let found = gateway.retrieve_intent(id, account).await?;
        if let Some(amount) = request.partial_amount()
            && amount.currency() != found.currency()
        {
            let mixed = AmountError::CurrencyMismatch {
                left: amount.currency(),
                right: found.currency(),
            };
            return Err(RequestError::Amount(mixed).into());
        }
        let post = request.post().map_err(RequestError::from)?;
        let work = Capturing {
            gateway,
            request,
            account,
            post,
        };
        let doing = Doing {
            checkout: self,
            key: self.operation_key(OperationKind::Capture, request.reference(), account),
            subject: Some(id.to_owned()),
            amount: request.partial_amount(),
            form: work.post.form.clone(),
        };
        if *found.status() == PaymentStatus::RequiresCapture {
            // Another amount under this reference must not change what is expected.
            doing.prepare().await?;
            self.claim(request, account).await?;
            // First the row, then Stripe: all of this must arrive.
            let amount = request.partial_amount();
            let amount = amount.unwrap_or(found.amount_capturable()).minor();
            let before = found.amount_received().minor();
            let expected = before.saturating_add(amount);
            self.write_expected(&found, expected).await?;
        }
        let captured = doing.run(&work).await.map_err(refused)?;
        // The row may be that of a backup, from before this capture.
        let received = captured.amount_received().minor();
        if *captured.status() == PaymentStatus::Succeeded && captured.is_captured_by_us() {
            self.write_expected(&captured, received).await?;
        }
        Ok(captured)
    }

    /// A payment is captured once. Of two captures with two references only one may say what is asked for it, until Stripe has refused that one.
    async fn claim(
        &self,
        request: &CaptureRequest,
        account: Option<&str>,
    ) -> Result<(), PaymentError> {
        let fulfillment = &self.inner.fulfillment;
        let key = self.operation_key(OperationKind::CaptureClaim, request.payment(), account);
        for _ in 0..ROUNDS {
            let claim = fulfillment.operation(&key).await?;
            let holder = claim.as_ref().and_then(|claim| claim.subject.as_deref());
            // The holder renews its claim: another reference takes over only an old one.
            let other = holder.filter(|holder| *holder != request.reference());
            if let Some((claim, holder)) = claim.as_ref().zip(other) {
                let other = self.operation_key(OperationKind::Capture, holder, account);
                let other = fulfillment.operation(&other).await?;
                let state = other.map(|other| other.state);
                let idle = claim.begun.elapsed().unwrap_or_default() > GIVEN_UP_AFTER;
                match state {
                    Some(OperationState::Refused) => {}
                    // Written down before it is sent, and whoever wrote it was never heard of again.
                    Some(OperationState::Sending) | None if idle => {}
                    Some(OperationState::Done) => return Err(PaymentError::WrongState),
                    _ => return Err(PaymentError::InFlight),
                }
            }
            let next = OperationRecord {
                version: 0,
                attempt: 1,
                fingerprint: String::new(),
                subject: Some(request.reference().to_owned()),
                amount: request.partial_amount(),
                state: OperationState::Sending,
                result: None,
                begun: SystemTime::now(),
            };
            let expected = claim.map(|claim| claim.version);
            if fulfillment.put_operation(&key, expected, next).await? {
                return Ok(());
            }
        }
        Err(PaymentError::InFlight)
    }

    /// Writes into the row of the order which amount our capture brings a payment to. It makes the
    /// row if the inbox forgot it.
    async fn write_expected(&self, payment: &Payment, expected: u64) -> Result<(), InboxError> {
        let fulfillment = &self.inner.fulfillment;
        for _ in 0..ROUNDS {
            let Some((order, row)) = self.row_of_authorised(payment).await? else {
                return Ok(());
            };
            let version = row.as_ref().map(|row| row.version);
            let row = row.unwrap_or_else(|| IntentRecord {
                state: IntentState::Processing,
                ..row_of(payment)
            });
            if !is_present(&row, payment) || row.capture == Some(expected) {
                return Ok(());
            }
            let next = IntentRecord {
                capture: Some(expected),
                ..row
            };
            if fulfillment.put_intent(&order, version, next).await? {
                return Ok(());
            }
        }
        Err(InboxError::Busy)
    }

    /// Finds the order of a payment by the rows, or else by its marks, and the order's row.
    async fn row_of_authorised(
        &self,
        payment: &Payment,
    ) -> Result<Option<(OrderKey, Option<IntentRecord>)>, InboxError> {
        let scope = self.scope(self.mode());
        let fulfillment = &self.inner.fulfillment;
        if let Some((order, row)) = fulfillment.intent_of_payment(&scope, payment.id()).await? {
            return Ok(Some((order, Some(row))));
        }
        let Some(reference) = payment.order_id().filter(|_| self.bears_our_mark(payment)) else {
            return Ok(None);
        };
        let order = self.order_key_on(reference, payment.account());
        let row = fulfillment.intent(&order).await?;
        Ok(Some((order, row)))
    }

    async fn let_go(&self, request: &CancelRequest) -> Result<Payment, PaymentError> {
        let gateway = self.gateway()?;
        check_reference(request.reference())?;
        let id = request.payment();
        check_id(id, "pi_")?;
        let account = self.account_of(id, request.account()).await?;
        let work = Canceling {
            gateway,
            payment: id,
            account: account.as_deref(),
            post: request.post(),
        };
        let doing = Doing {
            checkout: self,
            key: self.operation_key(
                OperationKind::Cancel,
                request.reference(),
                account.as_deref(),
            ),
            subject: Some(id.to_owned()),
            amount: None,
            form: work.post.form.clone(),
        };
        doing.run(&work).await.map_err(refused)
    }
}

/// What Stripe says no to, in words of our own.
fn refused(error: PaymentError) -> PaymentError {
    let PaymentError::Api(ApiError::InvalidRequest { code, .. }) = &error else {
        return error;
    };
    match code.as_deref() {
        Some("payment_intent_unexpected_state") => PaymentError::WrongState,
        Some("amount_too_large") => PaymentError::MoreThanLeft,
        _ => error,
    }
}

struct Capturing<'a> {
    gateway: &'a Gateway,
    request: &'a CaptureRequest,
    account: Option<&'a str>,
    post: Post,
}

impl Work for Capturing<'_> {
    type Made = Payment;

    async fn send(&self, key: &IdempotencyKey) -> Result<(Payment, bool), Unsuccessful> {
        let (payment, replayed): (Payment, bool) = self
            .gateway
            .operate(&self.post.path, &self.post.form, key, self.account)
            .await?;
        Ok((payment.on_account(self.account), replayed))
    }

    async fn find(&self) -> Result<Option<Payment>, PaymentError> {
        let id = self.request.payment();
        let found = self.gateway.retrieve_intent(id, self.account).await?;
        // Stripe writes the mark only with a capture that it accepts.
        let is_ours = found.metadata().get(CAPTURE) == Some(self.request.reference());
        let is_captured = matches!(
            found.status(),
            PaymentStatus::Succeeded | PaymentStatus::Processing
        );
        if !is_ours || !is_captured {
            return Ok(None);
        }
        let asked = self.request.partial_amount();
        let received = found.amount_received();
        if asked.is_some_and(|asked| asked != received && !received.is_zero()) {
            return Err(PaymentError::Differs);
        }
        Ok(Some(found))
    }

    async fn get(&self, id: &str) -> Result<Option<Payment>, ApiError> {
        Ok(Some(self.gateway.retrieve_intent(id, self.account).await?))
    }

    fn id(payment: &Payment) -> &str {
        payment.id()
    }
}

struct Canceling<'a> {
    gateway: &'a Gateway,
    payment: &'a str,
    account: Option<&'a str>,
    post: Post,
}

impl Work for Canceling<'_> {
    type Made = Payment;

    async fn send(&self, key: &IdempotencyKey) -> Result<(Payment, bool), Unsuccessful> {
        let (payment, replayed): (Payment, bool) = self
            .gateway
            .operate(&self.post.path, &self.post.form, key, self.account)
            .await?;
        Ok((payment.on_account(self.account), replayed))
    }

    async fn find(&self) -> Result<Option<Payment>, PaymentError> {
        let found = self
            .gateway
            .retrieve_intent(self.payment, self.account)
            .await?;
        Ok(Some(found).filter(|found| *found.status() == PaymentStatus::Canceled))
    }

    async fn get(&self, id: &str) -> Result<Option<Payment>, ApiError> {
        Ok(Some(self.gateway.retrieve_intent(id, self.account).await?))
    }

    fn id(payment: &Payment) -> &str {
        payment.id()
    }
}

impl Gateway {
    /// The disputes of a payment: hardly ever more than one.
    pub(crate) async fn disputes_of(
        &self,
        payment: &str,
        account: Option<&str>,
    ) -> Result<Vec<Dispute>, ApiError> {
        #[derive(Deserialize)]
        struct List {
            data: Vec<Dispute>,
        }
        let query = [("payment_intent", payment), ("limit", "100")];
        let list: List = self.fetch("/disputes", &query, account).await?;
        Ok(list.data)
    }
}
