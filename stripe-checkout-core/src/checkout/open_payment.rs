//! One open payment for each order: one PaymentIntent or one Checkout Session, never both.
//!
//! It stays one when a buyer clicks twice, reloads or changes pages, when a call is retried, when
//! the price changes, and after a crash. The order's row is written before Stripe is called, and
//! the idempotency key is derived from the row. So a second call for the same order, in this
//! process or in another one, asks Stripe for the same payment. Rows are written by
//! compare-and-swap: a call that loses reads the row again.
//!
//! | the order's row | next step |
//! | --- | --- |
//! | none | writes the row of the first attempt |
//! | paid; canceled; declined too often | refuses the order, and closes what was declined |
//! | canceled | writes the row of the next attempt |
//! | no payment yet, for the same parameters | asks Stripe for it: a repeat returns the same one |
//! | no payment yet, for other parameters | writes the row of the next attempt |
//! | a payment that is paid or on its way | refuses the order |
//! | a payment that is over, or that Stripe does not know | writes the row of the next attempt |
//! | an open payment of the other kind, or one being replaced | closes it, and looks again |
//! | an open payment with the same parameters | returns it |
//! | an open payment with other parameters | updates it; where that cannot be, closes it |

mod at_stripe;
mod intent;
#[cfg(feature = "sessions")]
mod session;

pub(in crate::checkout) use at_stripe::{AtStripe, OpenPayment, Standing};

use super::payment_error::PaymentError;
use super::receipt;
use super::state::Checkout;
use crate::fulfillment::{IntentRecord, IntentState, OrderKey, RequestState};
use crate::requests::{IntentParams, PaymentRequest};
use crate::stripe::{ApiError, Gateway, IdempotencyKey, Operation};

/// How often the row may change under one call before the call fails with a 409. Each change is
/// another call for the same order that was faster.
const ROUNDS: usize = 8;

/// The parameters of a PaymentIntent or of a Checkout Session.
trait Opens: Sync {
    type Open: OpenPayment;

    /// The parameters of the PaymentIntent, also of the one in a session.
    fn params(&self) -> &IntentParams;

    /// Asks Stripe for the payment of the row's attempt. Asked twice, Stripe returns the same one.
    fn create(
        &self,
        at: &At<'_>,
        row: &IntentRecord,
    ) -> impl Future<Output = Result<Created<Self::Open>, PaymentError>> + Send;

    /// Whether an open payment has the amount that is asked for.
    fn has_amount(&self, open: &Self::Open) -> bool;

    /// Whether an open payment can be brought to the parameters.
    fn can_update(&self, open: &Self::Open) -> bool;

    /// Brings an open payment to the parameters. `None` if it is too late for that.
    fn update(
        &self,
        at: &At<'_>,
        row: &IntentRecord,
        open: &Self::Open,
    ) -> impl Future<Output = Result<Option<Self::Open>, PaymentError>> + Send;
}

/// A payment that Stripe made for an attempt.
struct Created<T> {
    open: T,
    /// Whether it has the parameters that were sent. Where Stripe only repeated an earlier answer,
    /// the payment may have been updated since.
    is_current: bool,
}

/// An order, and the way to Stripe.
struct At<'a> {
    gateway: &'a Gateway,
    order: &'a OrderKey,
}

impl At<'_> {
    fn account(&self) -> Option<&str> {
        self.order.account.as_deref()
    }

    /// The key of a call that must do its work once for this attempt.
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
}

/// One call for one order. Each step returns the payment, or `None` if the row changed: then the
/// call reads the row again.
struct Opening<'a, K> {
    checkout: &'a Checkout,
    at: At<'a>,
    kind: &'a K,
    /// Of the parameters as the merchant asked for them, also where Stripe refuses the receipt's
    /// address.
    fingerprint: &'a str,
    /// Whether an order that was canceled is open again.
    reopens: bool,
}

impl<K: Opens> Opening<'_, K> {
    async fn run(&self) -> Result<K::Open, PaymentError> {
        for _ in 0..ROUNDS {
            let row = self.row().await?;
            if let Some(row) = &row {
                self.checkout
                    .refuse_unpayable(self.at.order, row, self.reopens)
                    .await?;
            }
            let round = match row {
                None => self.begin(None).await?,
                Some(row) => match (row.state, row.payment.clone()) {
                    (IntentState::Canceled, _) => self.begin(Some(row)).await?,
                    (_, Some(id)) => self.reuse(row, &id).await?,
                    (_, None) if row.fingerprint != self.fingerprint || is_called_off(&row) => {
                        self.begin(Some(row)).await?
                    }
                    (_, None) => self.create(row).await?,
                },
            };
            if let Some(open) = round {
                return Ok(open);
            }
        }
        Err(PaymentError::InFlight)
    }

    /// Writes down that the next attempt begins, with the parameters of this call.
    async fn begin(&self, before: Option<IntentRecord>) -> Result<Option<K::Open>, PaymentError> {
        let next = IntentRecord {
            version: 0,
            attempt: before
                .as_ref()
                .map_or(1, |row| row.attempt.saturating_add(1)),
            fingerprint: self.fingerprint.to_owned(),
            request: RequestState::Sending,
            asked: self.kind.params().amount(),
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

    async fn create(&self, row: IntentRecord) -> Result<Option<K::Open>, PaymentError> {
        let created = match self.kind.create(&self.at, &row).await {
            Ok(created) => created,
            Err(error) => {
                // The key is used up, so the next try needs another one.
                if let PaymentError::Api(error) = &error
                    && is_spent(error)
                    && !receipt::is_to_blame(self.kind.params(), error)
                {
                    let next = IntentRecord {
                        attempt: row.attempt.saturating_add(1),
                        ..row.clone()
                    };
                    self.put(Some(row.version), next).await?;
                }
                return Err(error);
            }
        };
        let Created { open, is_current } = created;
        let opened = IntentRecord {
            // Stripe repeated an old answer, so other parameters may have followed: send these too.
            request: match is_current {
                true => RequestState::Sent,
                false => RequestState::Sending,
            },
            payment: Some(open.id().to_owned()),
            secret_hash: open.secret_hash(),
            state: IntentState::Open,
            ..row.clone()
        };
        if self.put(Some(row.version), opened).await?.is_none() {
            self.stand_back(&row, open.id()).await?;
            return Ok(None);
        }
        // A session that Stripe only repeated may be over.
        let is_open = is_current && matches!(open.standing(), Ok(Standing::Open));
        Ok(is_open.then_some(open))
    }

    /// Another call changed the row while Stripe made the payment. If the payment is not the one
    /// that the row has now, no buyer received it: it is closed.
    async fn stand_back(&self, row: &IntentRecord, made: &str) -> Result<(), PaymentError> {
        let now = self.row().await?;
        let same = now.is_some_and(|now| {
            now.payment.as_deref() == Some(made)
                // The same attempt, not stored yet: the other call is about to store it.
                || (now.attempt == row.attempt && now.payment.is_none())
        });
        if !same {
            let gateway = self.at.gateway.to_the_end();
            if let Err(error) = close(&gateway, made, self.at.account()).await {
                tracing::warn!(payment = made, %error, "a payment that no buyer received stays open");
            }
        }
        Ok(())
    }

    /// Returns the payment of the row, brought to the parameters of this call, or makes room for
    /// another one.
    async fn reuse(&self, row: IntentRecord, id: &str) -> Result<Option<K::Open>, PaymentError> {
        let found = match AtStripe::retrieve(self.at.gateway, id, self.at.account()).await {
            Ok(found) => found,
            // The keys changed since, or a stand-in for Stripe forgets at a restart. No buyer can
            // pay a payment that Stripe does not know.
            Err(ApiError::InvalidRequest {
                status: 404,
                code: Some(code),
                ..
            }) if code == "resource_missing" && row.state != IntentState::Processing => {
                tracing::warn!(
                    order = self.at.order.reference,
                    payment = id,
                    "Stripe does not know the order's payment: a new one is made"
                );
                return self.begin(Some(row)).await;
            }
            Err(error) => return Err(error.into()),
        };
        if found.standing()? == Standing::Over {
            return self.begin(Some(row)).await;
        }
        // A buyer must not pay on both pages.
        let Some(open) = K::Open::of_kind(found) else {
            return self.replace(row, id).await;
        };
        // Another call is closing it, or crashed before it did. No buyer receives this one.
        if row.state == IntentState::Creating {
            return self.replace(row, id).await;
        }
        let is_same = row.fingerprint == self.fingerprint;
        if is_same && row.request == RequestState::Sent && self.kind.has_amount(&open) {
            return Ok(Some(open));
        }
        if !self.kind.can_update(&open) {
            return self.replace(row, id).await;
        }
        // First the row, then Stripe: so a payment at the old price that comes in between is known
        // to be one. Until Stripe has the parameters, the row says that they are being sent.
        // Another call for the same parameters meanwhile, or after a crash, sends them as well.
        let sending = if is_same && row.request == RequestState::Sending {
            row
        } else {
            let next = IntentRecord {
                fingerprint: self.fingerprint.to_owned(),
                request: RequestState::Sending,
                asked: self.kind.params().amount(),
                state: IntentState::Open,
                ..row.clone()
            };
            match self.put(Some(row.version), next).await? {
                Some(stored) => stored,
                None => return Ok(None),
            }
        };
        let Some(updated) = self.kind.update(&self.at, &sending, &open).await? else {
            return self.replace(sending, id).await;
        };
        let sent = IntentRecord {
            request: RequestState::Sent,
            ..sending.clone()
        };
        // Another call that changed the row meanwhile may have updated Stripe before or after this
        // one: look again.
        let stored = self.put(Some(sending.version), sent).await?;
        Ok(stored.is_some().then_some(updated))
    }

    /// Closes the payment of the row, unless the row changed meanwhile. The next round looks at
    /// how the payment stands then, and makes another one if it is over.
    async fn replace(&self, row: IntentRecord, id: &str) -> Result<Option<K::Open>, PaymentError> {
        // The row says so first: that this payment is canceled is then no news for the merchant.
        let replaced = IntentRecord {
            state: IntentState::Creating,
            ..row.clone()
        };
        if self.put(Some(row.version), replaced).await?.is_none() {
            return Ok(None);
        }
        match close(self.at.gateway, id, self.at.account()).await {
            // Refused: it is paid, on its way or over.
            Ok(()) | Err(ApiError::InvalidRequest { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn row(&self) -> Result<Option<IntentRecord>, PaymentError> {
        let fulfillment = &self.checkout.inner.fulfillment;
        Ok(fulfillment.intent(self.at.order).await?)
    }

    /// Writes the row and returns it as it is stored, or `None` if another call was first.
    async fn put(
        &self,
        expected: Option<u64>,
        row: IntentRecord,
    ) -> Result<Option<IntentRecord>, PaymentError> {
        let fulfillment = &self.checkout.inner.fulfillment;
        let stored = fulfillment
            .put_intent(self.at.order, expected, row.clone())
            .await?;
        let version = expected.map_or(1, |version| version + 1);
        Ok(stored.then_some(IntentRecord { version, ..row }))
    }
}

impl Checkout {
    /// Opens the payment of an order, or returns the one that is open for it.
    async fn open_payment<K: Opens>(
        &self,
        kind: &K,
        request: &PaymentRequest,
        fingerprint: &str,
    ) -> Result<K::Open, PaymentError> {
        let opening = Opening {
            checkout: self,
            at: At {
                gateway: self.gateway()?,
                order: &self.order_key_on(request.reference(), request.account()),
            },
            kind,
            fingerprint,
            reopens: request.reopens(),
        };
        opening.run().await
    }

    /// Checks whether an order can be paid, and changes nothing. The page shows its form only then.
    ///
    /// # Errors
    /// The error with which [`create_intent`](Self::create_intent) would refuse.
    #[cfg(feature = "checkout")]
    pub(super) async fn check_payable(&self, request: &PaymentRequest) -> Result<(), PaymentError> {
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
        match AtStripe::retrieve(&self.look_up()?, &id, order.account.as_deref()).await {
            Ok(found) => found.standing().map(|_| ()),
            Err(_) => Err(PaymentError::Processing),
        }
    }

    /// Refuses an order that cannot be paid, as its row says. After too many declines it also
    /// closes the open payment.
    async fn refuse_unpayable(
        &self,
        order: &OrderKey,
        row: &IntentRecord,
        reopens: bool,
    ) -> Result<(), PaymentError> {
        let payments = self.payments()?;
        let Some(error) = unpayable(row, reopens, payments.max_declines) else {
            return Ok(());
        };
        if !matches!(error, PaymentError::TooManyDeclines { .. }) {
            return Err(error);
        }
        if let Some(payment) = row
            .payment
            .as_deref()
            .filter(|_| row.state != IntentState::Canceled)
        {
            let account = order.account.as_deref();
            if let Err(error) = close(self.gateway()?, payment, account).await {
                tracing::warn!(payment, %error, "what was declined too often stays open");
            }
        }
        Err(error)
    }
}

/// Cancels a PaymentIntent or expires a Checkout Session. To close twice does no harm, and a
/// stored answer to an earlier call would: so the key is used once.
async fn close(gateway: &Gateway, id: &str, account: Option<&str>) -> Result<(), ApiError> {
    gateway.close(id, &IdempotencyKey::once(), account).await
}

/// Whether an order was canceled.
pub(in crate::checkout) fn is_called_off(row: &IntentRecord) -> bool {
    row.request == RequestState::OrderCanceled
}

/// Returns why an order cannot be paid, as its row says. The page and the routes share this check.
fn unpayable(row: &IntentRecord, reopens: bool, max_declines: u32) -> Option<PaymentError> {
    if row.state == IntentState::Paid {
        return Some(PaymentError::AlreadyPaid);
    }
    if row.declines >= max_declines {
        let declines = row.declines;
        return Some(PaymentError::TooManyDeclines { declines });
    }
    (is_called_off(row) && !reopens).then_some(PaymentError::CalledOff)
}

/// Whether the key is used up: it can only bring this answer again.
fn is_spent(error: &ApiError) -> bool {
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
