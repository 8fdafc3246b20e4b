//! Captures or releases authorised money once, and reports the totals of a payment's money.

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

/// How often an order's row may change while the captured amount is written to it.
const ROUNDS: usize = 8;

/// After this time a capture that was started no longer blocks another one.
///
/// No request is on its way for so long.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(60 * 60);

/// The amounts of one payment as Stripe reports them now: see [`Checkout::totals`].
///
/// All amounts are in the payment's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PaymentTotals {
    /// The requested amount.
    pub asked: Amount,
    /// The authorised amount that can be captured.
    pub capturable: Amount,
    /// Until when it can be captured, in seconds since 1970. After that Stripe releases it.
    ///
    /// `None` if nothing is authorised, or if the payment method does not report it.
    pub capture_before: Option<i64>,
    /// The amount that was charged.
    pub charged: Amount,
    /// The amount of all refunds, including refunds that are on their way.
    pub refunded: Amount,
    /// The part of the refunds that is still on its way, and may fail.
    pub pending: Amount,
    /// The amount that the buyer's bank took back in disputes that are open or lost.
    pub disputed: Amount,
}

impl PaymentTotals {
    /// The amount that you keep: the charged amount less refunds and disputes.
    pub fn net(&self) -> Amount {
        let gone = self.refunded.minor().saturating_add(self.disputed.minor());
        let minor = self.charged.minor().saturating_sub(gone);
        Amount::new(minor, self.charged.currency())
    }
}

impl Checkout {
    /// Captures the authorised money of a payment: all of it or a part.
    ///
    /// The payment was [authorised only](crate::requests::PaymentRequest::capture_method). Stripe
    /// releases the rest. Each [reference](CaptureRequest::reference) captures once, even after the
    /// 24 hours for which Stripe remembers a request. The payment is then paid, and
    /// [`payment_succeeded`] runs when Stripe confirms it.
    ///
    /// The library writes the amount down before it sends it, and all of it must arrive.
    /// [`amount_due`] still returns the price of the order. That also holds for a part, and for
    /// more than was authorised where Stripe allows it.
    ///
    /// See <https://docs.stripe.com/payments/place-a-hold-on-a-payment-method>.
    ///
    /// [`payment_succeeded`]: crate::fulfillment::FulfillmentHandler::payment_succeeded
    /// [`amount_due`]: crate::fulfillment::FulfillmentHandler::amount_due
    ///
    /// # Errors
    /// [`PaymentError`], in particular:
    /// - [`WrongState`](PaymentError::WrongState) if nothing is authorised, or nothing any more.
    /// - [`MoreThanLeft`](PaymentError::MoreThanLeft) if less is authorised.
    /// - [`InFlight`](PaymentError::InFlight) while a capture with another reference is on its way:
    ///   a payment is captured once.
    pub async fn capture(&self, request: &CaptureRequest) -> Result<Payment, PaymentError> {
        let (checkout, request) = (self.clone(), request.clone());
        self.operate(async move { checkout.take(&request).await })
            .await
    }

    /// Cancels a payment that is not paid, and releases the money that was authorised for it.
    ///
    /// It also succeeds if the payment is canceled already, no matter who canceled it.
    ///
    /// The handler receives [`PaymentCanceled`] when Stripe confirms it. Another PaymentIntent may
    /// pay the order afterwards: use [`cancel_order`](Self::cancel_order) to cancel an order.
    ///
    /// [`PaymentCanceled`]: crate::fulfillment::PaymentEvent::PaymentCanceled
    ///
    /// # Errors
    /// [`PaymentError`]. It is [`WrongState`](PaymentError::WrongState) if the payment is paid, or
    /// on its way.
    pub async fn cancel_payment(&self, request: &CancelRequest) -> Result<Payment, PaymentError> {
        let (checkout, request) = (self.clone(), request.clone());
        self.operate(async move { checkout.let_go(&request).await })
            .await
    }

    /// Returns the amounts of a payment, as Stripe reports them now.
    ///
    /// They include changes from the Dashboard. It makes two requests, and a third one if the
    /// payment is disputed.
    ///
    /// # Errors
    /// [`PaymentError::Api`], [`PaymentError::Inbox`], [`PaymentError::NoPricing`].
    pub async fn totals(&self, payment: &str) -> Result<PaymentTotals, PaymentError> {
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
        // Stripe has not released money that can still be captured.
        let left = found.amount().minor().saturating_sub(charged.minor());
        let released = left.saturating_sub(found.amount_capturable().minor());
        // Our own captures use a version of the API that does not count the released part as
        // refunded.
        let counted = returned.refunded;
        let refunded = match found.metadata().get(CAPTURE) {
            _ if charged.is_zero() => 0,
            None if counted > charged.minor() => counted.saturating_sub(released),
            _ => counted,
        };
        Ok(PaymentTotals {
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
            // Another amount under this reference must not change the expected amount.
            doing.prepare().await?;
            self.claim(request, account).await?;
            // The row is written before the call to Stripe: all of this amount must arrive.
            let amount = request.partial_amount();
            let amount = amount.unwrap_or(found.amount_capturable()).minor();
            let before = found.amount_received().minor();
            let expected = before.saturating_add(amount);
            self.write_expected(&found, expected).await?;
        }
        let captured = doing.run(&work).await.map_err(refused)?;
        // The row may come from a backup that is older than this capture.
        let received = captured.amount_received().minor();
        if *captured.status() == PaymentStatus::Succeeded && captured.is_captured_by_us() {
            self.write_expected(&captured, received).await?;
        }
        Ok(captured)
    }

    /// Claims the payment for this capture, because a payment is captured once.
    ///
    /// If two captures have two references, only one may set the expected amount, until Stripe
    /// refuses it.
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
            // The holder renews its claim. Another reference may take over only an old claim.
            let other = holder.filter(|holder| *holder != request.reference());
            if let Some((claim, holder)) = claim.as_ref().zip(other) {
                let other = self.operation_key(OperationKind::Capture, holder, account);
                let other = fulfillment.operation(&other).await?;
                let state = other.map(|other| other.state);
                let idle = claim.begun.elapsed().unwrap_or_default() > GIVEN_UP_AFTER;
                match state {
                    Some(OperationState::Refused) => {}
                    // The claim was written before the request was sent, and its process never came
                    // back.
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

    /// Writes the amount that our capture charges into the order's row. Makes the row if the inbox
    /// lost it.
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

    /// Finds the order of a payment and its row: by the rows, or else by the payment's marks.
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

/// Translates a refusal of Stripe into our own error.
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
        Ok((payment.connected_account(self.account), replayed))
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
        Ok((payment.connected_account(self.account), replayed))
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
    /// Returns the disputes of a payment. There is hardly ever more than one.
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
