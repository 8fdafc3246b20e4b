//! Cancels an order: no buyer can pay it any more, and then its goods are free for another buyer.

use super::open_payment::{OpenPayment, Standing, is_called_off};
use super::payment_error::PaymentError;
use super::state::Checkout;
use crate::amount::Amount;
use crate::currency::Currency;
use crate::fulfillment::{IntentRecord, IntentState, OrderKey, RequestState, is_session};
use crate::stripe::{ApiError, IdempotencyKey, check_id};
use crate::webhook::{Intent, Payment, PaymentStatus};

/// How often the order's row may change during one call.
const ROUNDS: usize = 8;

/// The result of [`Checkout::cancel_order`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrderCancellation {
    /// The PaymentIntent is canceled now, or the Checkout Session expired: no one can pay it any
    /// more.
    Canceled(Payment),
    /// There was no open payment, and there will be none.
    NothingOpen,
    /// The order was paid before. Either do not cancel it, or refund the payment.
    Paid(Payment),
    /// A payment is on its way, such as a bank debit. You cannot stop it, and it may take days.
    ///
    /// When it ends, the library calls [`payment_succeeded`], or the handler receives
    /// [`PaymentFailed`]. After a failure the buyer could try again, so call
    /// [`Checkout::cancel_order`] again then.
    ///
    /// [`payment_succeeded`]: crate::fulfillment::FulfillmentHandler::payment_succeeded
    /// [`PaymentFailed`]: crate::fulfillment::PaymentEvent::PaymentFailed
    Processing(Payment),
}

impl Checkout {
    /// Cancels an order, so that its goods are free for another buyer.
    ///
    /// It cancels the open PaymentIntent or expires the Checkout Session. It also releases the
    /// money that was authorised on either page. From then on
    /// [`create_intent`](Self::create_intent) and the checkout page refuse the order
    /// ([`PaymentError::CalledOff`]), unless a [request](crate::requests::PaymentRequest::reopen)
    /// reopens it.
    ///
    /// You can call it as often as you like. After an error only one thing is certain: no new
    /// payment begins. So call it again.
    ///
    /// # Errors
    /// [`PaymentError::Api`], [`PaymentError::Inbox`], [`PaymentError::InFlight`],
    /// [`PaymentError::NoPricing`].
    pub async fn cancel_order(&self, reference: &str) -> Result<OrderCancellation, PaymentError> {
        let order = self.order_key_on(reference, None);
        self.cancel_now(&order).await
    }

    /// Cancels an order that is paid on a connected account.
    ///
    /// It works like [`cancel_order`](Self::cancel_order).
    ///
    /// See [`PaymentRequest::connected_account`].
    ///
    /// [`PaymentRequest::connected_account`]: crate::requests::PaymentRequest::connected_account
    ///
    /// # Errors
    /// The same as for [`cancel_order`](Self::cancel_order).
    pub async fn cancel_order_on_connected_account(
        &self,
        reference: &str,
        account: &str,
    ) -> Result<OrderCancellation, PaymentError> {
        let order = self.order_key_on(reference, Some(account));
        self.cancel_now(&order).await
    }

    async fn cancel_now(&self, order: &OrderKey) -> Result<OrderCancellation, PaymentError> {
        let gateway = self.gateway()?;
        let account = order.account.as_deref();
        let row = self.mark_called_off(order).await?;
        let id = match &row {
            IntentRecord {
                state: IntentState::Paid,
                paid_by: Some(id),
                ..
            } => id,
            IntentRecord {
                payment: Some(id), ..
            } => id,
            // A call that is making a PaymentIntent at this moment cancels it: the row now has
            // another attempt.
            _ => return Ok(OrderCancellation::NothingOpen),
        };
        if is_session(id) {
            let id = id.clone();
            return self.cancel_now_session(order, row, &id).await;
        }
        check_id(id, "pi_")?;
        if row.state != IntentState::Paid {
            // A second cancel does no harm. A stored answer to an earlier call would.
            let key = IdempotencyKey::once();
            match gateway.cancel_intent(id, &key, account).await {
                // With several captures, a part of the money was captured before.
                Ok(payment) if !payment.amount_received().is_zero() => {
                    return Ok(OrderCancellation::Paid(payment));
                }
                Ok(payment) => {
                    self.mark_canceled(order, row).await?;
                    return Ok(OrderCancellation::Canceled(payment));
                }
                // The payment is paid, on its way, already canceled, or unknown.
                Err(ApiError::InvalidRequest { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let payment = match gateway.retrieve_intent(id, account).await {
            Ok(payment) => payment,
            Err(ApiError::InvalidRequest {
                status: 404,
                code: Some(code),
                ..
            }) if code == "resource_missing" => {
                self.mark_canceled(order, row).await?;
                return Ok(OrderCancellation::NothingOpen);
            }
            Err(error) => return Err(error.into()),
        };
        match payment.status() {
            PaymentStatus::Succeeded => Ok(OrderCancellation::Paid(payment)),
            PaymentStatus::Canceled => {
                self.mark_canceled(order, row).await?;
                Ok(OrderCancellation::Canceled(payment))
            }
            PaymentStatus::Processing => Ok(OrderCancellation::Processing(payment)),
            // A moment ago it could not be canceled, but now it could.
            _ => Err(PaymentError::InFlight),
        }
    }

    /// Expires the session of a canceled order, or reports that a buyer paid in it.
    async fn cancel_now_session(
        &self,
        order: &OrderKey,
        row: IntentRecord,
        id: &str,
    ) -> Result<OrderCancellation, PaymentError> {
        let gateway = self.gateway()?;
        let account = order.account.as_deref();
        // A second expiry does no harm. A stored answer to an earlier call would.
        let key = IdempotencyKey::once();
        match gateway.expire_session(id, &key, account).await {
            // The session is over, paid, or unknown: look it up.
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
                return Ok(OrderCancellation::NothingOpen);
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(authorised) = session.intent().filter(|intent| is_authorised(intent)) {
            let key = IdempotencyKey::once();
            return match gateway.cancel_intent(&authorised.id, &key, account).await {
                Ok(canceled) => {
                    self.mark_canceled(order, row).await?;
                    Ok(OrderCancellation::Canceled(canceled.in_session(session)))
                }
                // It was captured or canceled at this moment.
                Err(ApiError::InvalidRequest { .. }) => Err(PaymentError::InFlight),
                Err(error) => Err(error.into()),
            };
        }
        let standing = session.standing();
        let payment = Payment::of_session(session).connected_account(account);
        match standing {
            Ok(Standing::Over) => {
                self.mark_canceled(order, row).await?;
                Ok(OrderCancellation::Canceled(payment))
            }
            Err(PaymentError::AlreadyPaid) => Ok(OrderCancellation::Paid(payment)),
            Err(_) => Ok(OrderCancellation::Processing(payment)),
            // A moment ago it could not be expired, but now it could.
            Ok(Standing::Open) => Err(PaymentError::InFlight),
        }
    }

    /// Marks the order as canceled and returns the stored row.
    ///
    /// The row is written first: from then on no call creates a PaymentIntent for the order.
    async fn mark_called_off(&self, order: &OrderKey) -> Result<IntentRecord, PaymentError> {
        let fulfillment = &self.inner.fulfillment;
        for _ in 0..ROUNDS {
            let before = fulfillment.intent(order).await?;
            let next = match &before {
                Some(row) if row.state == IntentState::Paid || is_called_off(row) => {
                    return Ok(row.clone());
                }
                Some(row) => IntentRecord {
                    // A call that is making a payment now belongs to an earlier attempt, and
                    // cancels it. A payment that exists stays in this attempt, so that the handler
                    // receives its end.
                    attempt: match &row.payment {
                        Some(_) => row.attempt,
                        None => row.attempt.saturating_add(1),
                    },
                    request: RequestState::OrderCanceled,
                    ..row.clone()
                },
                None => IntentRecord {
                    version: 0,
                    attempt: 1,
                    fingerprint: String::new(),
                    request: RequestState::OrderCanceled,
                    asked: Amount::new(0, Currency::USD),
                    capture: None,
                    payment: None,
                    secret_hash: None,
                    state: IntentState::Canceled,
                    paid_by: None,
                    declines: 0,
                },
            };
            let expected = before.map(|row| row.version);
            if fulfillment
                .put_intent(order, expected, next.clone())
                .await?
            {
                let version = expected.map_or(1, |version| version + 1);
                return Ok(IntentRecord { version, ..next });
            }
        }
        Err(PaymentError::InFlight)
    }

    /// Writes the state that the event will also write.
    ///
    /// If the row changed meanwhile, the event has written it, or a request reopened the order.
    async fn mark_canceled(&self, order: &OrderKey, row: IntentRecord) -> Result<(), PaymentError> {
        if row.state != IntentState::Canceled {
            let version = row.version;
            let canceled = IntentRecord {
                state: IntentState::Canceled,
                ..row
            };
            let fulfillment = &self.inner.fulfillment;
            fulfillment
                .put_intent(order, Some(version), canceled)
                .await?;
        }
        Ok(())
    }
}

/// Whether money is authorised, and none of it was captured.
fn is_authorised(intent: &Intent) -> bool {
    intent.status == PaymentStatus::RequiresCapture && intent.amount_received.is_zero()
}
