//! The objects that take a payment back: refunds and disputes.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{
    Event,
    json::{Lenient, Minor, Named, Reference, open_enum},
};
use crate::{
    amount::Amount, currency::Currency, error::EventError, marks::OPERATION, metadata::Metadata,
};

open_enum! {
    /// The status of a refund. See
    /// <https://docs.stripe.com/api/refunds/object#refund_object-status>.
    RefundStatus {
        /// On its way to the buyer.
        Pending = "pending",
        /// It waits for the buyer, who must say where the money should go.
        RequiresAction = "requires_action",
        /// The buyer has the money, or will have it soon.
        Succeeded = "succeeded",
        /// The money came back to you.
        Failed = "failed",
        /// The refund was canceled.
        Canceled = "canceled",
    }
}

open_enum! {
    /// The status of a dispute. See
    /// <https://docs.stripe.com/api/disputes/object#dispute_object-status>.
    DisputeStatus {
        /// An early warning that needs a response. No money was taken.
        WarningNeedsResponse = "warning_needs_response",
        /// An early warning that the bank is reviewing.
        WarningUnderReview = "warning_under_review",
        /// An early warning that was closed without a dispute.
        WarningClosed = "warning_closed",
        /// The money was taken back. Respond with evidence.
        NeedsResponse = "needs_response",
        /// The bank is reviewing the evidence.
        UnderReview = "under_review",
        /// The money is yours.
        Won = "won",
        /// The money is gone.
        Lost = "lost",
        /// The dispute was prevented before it cost anything.
        Prevented = "prevented",
        /// The charge was refunded instead (older API versions).
        ChargeRefunded = "charge_refunded",
    }
}

impl DisputeStatus {
    /// Whether the dispute is decided.
    pub fn is_closed(&self) -> bool {
        matches!(
            self,
            Self::WarningClosed | Self::Won | Self::Lost | Self::Prevented | Self::ChargeRefunded
        )
    }

    /// Whether the payment must not be fulfilled: the dispute is open or lost. A status that this
    /// version does not know counts as open.
    pub(crate) fn stops_fulfillment(&self) -> bool {
        *self == Self::Lost || !self.is_closed()
    }

    /// Whether the buyer's bank has the money. An early warning takes none.
    #[cfg(feature = "intent")]
    pub(crate) fn takes_money(&self) -> bool {
        let warns = matches!(self, Self::WarningNeedsResponse | Self::WarningUnderReview);
        self.stops_fulfillment() && !warns
    }

    /// The later of two statuses of one dispute, whichever arrived first. A closed dispute does not
    /// open again. Of two final statuses, `lost` counts, so that nothing is shipped by mistake.
    pub(crate) fn or_later(&self, other: &Self) -> Self {
        let rank = |status: &Self| match status {
            Self::WarningNeedsResponse | Self::WarningUnderReview => 0,
            Self::Lost => 3,
            closed if closed.is_closed() => 2,
            _ => 1,
        };
        // Statuses of one rank have one effect. Their order only makes the result unique.
        let place = |status: &Self| (rank(status), status.as_str().to_owned());
        match place(self) < place(other) {
            true => other.clone(),
            false => self.clone(),
        }
    }
}

/// The kind of change to a dispute, which stays open or is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisputeChange {
    /// Evidence was submitted, or something else about the dispute changed: see its status.
    Updated,
    /// The money was taken from your balance.
    FundsWithdrawn,
    /// The money came back to your balance.
    FundsReinstated,
}

/// A refund: money on its way back to the buyer. See <https://docs.stripe.com/api/refunds/object>.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Named<RefundObject>")]
pub struct Refund {
    id: String,
    amount: Amount,
    status: Option<RefundStatus>,
    reason: Option<String>,
    failure_reason: Option<String>,
    metadata: Metadata,
    payment: PaymentOf,
}

impl Refund {
    /// The refund's id, like `re_1Nispe2eZvKYlo2Cd31jOCgZ`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The amount that the refund returns.
    pub fn amount(&self) -> Amount {
        self.amount
    }

    /// The status; none if Stripe does not know it.
    pub fn status(&self) -> Option<&RefundStatus> {
        self.status.as_ref()
    }

    /// The reason that was given when the refund was created: `duplicate`, `fraudulent`,
    /// `requested_by_customer`, …
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The metadata that was set when the refund was created.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The merchant's own reference of the refund, if [`Checkout::refund`](crate::Checkout) created
    /// it.
    pub fn reference(&self) -> Option<&str> {
        self.metadata.get(OPERATION)
    }

    /// Whether this object stands for an authorisation that expired: no money was captured. Only
    /// requests of API versions before 2025-03-31.basil make such an object.
    pub(crate) fn is_expired_authorisation(&self) -> bool {
        self.reason() == Some("expired_uncaptured_charge")
    }

    /// The reason of the failure, like `lost_or_stolen_card`.
    pub fn failure_reason(&self) -> Option<&str> {
        self.failure_reason.as_deref()
    }
}

/// A charge with refunds, and the sum of all its refunds. See
/// <https://docs.stripe.com/api/charges/object>.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Named<ChargeObject>")]
pub struct ChargeRefunded {
    amount: Amount,
    amount_refunded: Amount,
    fully: bool,
    payment: PaymentOf,
}

impl ChargeRefunded {
    /// The charged amount.
    pub fn amount(&self) -> Amount {
        self.amount
    }

    /// The sum of all refunds of the charge.
    pub fn amount_refunded(&self) -> Amount {
        self.amount_refunded
    }

    /// Whether the charge is fully refunded.
    pub fn is_full(&self) -> bool {
        self.fully
    }
}

/// A payment that the buyer's bank takes back, or asks about. See
/// <https://docs.stripe.com/api/disputes/object>.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Named<DisputeObject>")]
pub struct Dispute {
    id: String,
    amount: Amount,
    status: DisputeStatus,
    reason: Option<String>,
    due_by: Option<i64>,
    movements: usize,
    payment: PaymentOf,
}

impl Dispute {
    /// The dispute's id, like `dp_1NiTBO2eZvKYlo2CJ4jIEnQA`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The disputed amount: often the whole payment, sometimes a part, rarely a little more.
    pub fn amount(&self) -> Amount {
        self.amount
    }

    /// The status.
    pub fn status(&self) -> &DisputeStatus {
        &self.status
    }

    /// The reason, as the bank states it: `fraudulent`, `product_not_received`, …
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// How often the dispute has moved money so far: zero before the money was taken, one after
    /// that, two after it came back.
    pub(crate) fn movements(&self) -> usize {
        self.movements
    }

    /// The time until which you can submit evidence, in seconds since 1970. None if the bank takes
    /// no evidence (older API versions write 0 for that).
    pub fn due_by(&self) -> Option<i64> {
        self.due_by
    }
}

/// The payment that a refund, a charge or a dispute is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct PaymentOf {
    payment_intent: Option<String>,
    charge: Option<String>,
    livemode: bool,
    account: Option<String>,
}

macro_rules! about_a_payment {
    ($($name:ident)*) => {$(
        impl $name {
            /// The id of the PaymentIntent; none if the charge was made without one, or by an API
            /// version before 2019.
            pub fn payment_intent(&self) -> Option<&str> {
                self.payment.payment_intent.as_deref()
            }

            /// The id of the charge.
            pub fn charge(&self) -> Option<&str> {
                self.payment.charge.as_deref()
            }

            /// Whether this is real money, as the event says.
            pub fn livemode(&self) -> bool {
                self.payment.livemode
            }

            /// The connected account of the event; none for your own.
            pub fn account(&self) -> Option<&str> {
                self.payment.account.as_deref()
            }

            /// Completes Stripe's response to a request, which does not name the mode and the
            /// account.
            #[cfg(feature = "intent")]
            #[allow(dead_code, reason = "not everything is asked for")]
            pub(crate) fn asked_for(mut self, livemode: bool, account: Option<&str>) -> Self {
                self.payment.livemode = livemode;
                self.payment.account = account.map(str::to_owned);
                self
            }

            pub(super) fn of(event: &Event) -> Result<Self, EventError> {
                let mut this: Self = event.object()?;
                this.payment.livemode = event.livemode();
                this.payment.account = event.account().map(str::to_owned);
                Ok(this)
            }
        }
    )*};
}
about_a_payment!(Refund ChargeRefunded Dispute);

#[derive(Deserialize)]
struct RefundObject {
    id: String,
    object: String,
    amount: Minor,
    currency: Currency,
    #[serde(default)]
    status: Lenient<RefundStatus>,
    #[serde(default)]
    reason: Lenient<String>,
    #[serde(default)]
    failure_reason: Lenient<String>,
    #[serde(default)]
    metadata: Lenient<Metadata>,
    #[serde(default)]
    payment_intent: Lenient<Reference>,
    #[serde(default)]
    charge: Lenient<Reference>,
}

impl TryFrom<Named<RefundObject>> for Refund {
    type Error = &'static str;

    fn try_from(Named(object): Named<RefundObject>) -> Result<Self, Self::Error> {
        expect(&object.object, "refund")?;
        Ok(Self {
            id: object.id,
            amount: Amount::new(object.amount.0, object.currency),
            status: object.status.ok(),
            reason: object.reason.ok(),
            failure_reason: object.failure_reason.ok(),
            metadata: object.metadata.ok().unwrap_or_default(),
            payment: PaymentOf::new(object.payment_intent, object.charge),
        })
    }
}

#[derive(Deserialize)]
struct ChargeObject {
    id: String,
    object: String,
    amount: Minor,
    amount_refunded: Minor,
    currency: Currency,
    refunded: bool,
    #[serde(default)]
    payment_intent: Lenient<Reference>,
}

impl TryFrom<Named<ChargeObject>> for ChargeRefunded {
    type Error = &'static str;

    fn try_from(Named(object): Named<ChargeObject>) -> Result<Self, Self::Error> {
        expect(&object.object, "charge")?;
        Ok(Self {
            amount: Amount::new(object.amount.0, object.currency),
            amount_refunded: Amount::new(object.amount_refunded.0, object.currency),
            fully: object.refunded,
            payment: PaymentOf {
                charge: Some(object.id),
                ..PaymentOf::new(object.payment_intent, Lenient::default())
            },
        })
    }
}

#[derive(Deserialize)]
struct DisputeObject {
    id: String,
    object: String,
    amount: Minor,
    currency: Currency,
    status: DisputeStatus,
    #[serde(default)]
    reason: Lenient<String>,
    #[serde(default)]
    balance_transactions: Lenient<Vec<IgnoredAny>>,
    #[serde(default)]
    evidence_details: Lenient<EvidenceDetails>,
    #[serde(default)]
    payment_intent: Lenient<Reference>,
    #[serde(default)]
    charge: Lenient<Reference>,
}

#[derive(Deserialize)]
struct EvidenceDetails {
    due_by: Option<i64>,
}

impl TryFrom<Named<DisputeObject>> for Dispute {
    type Error = &'static str;

    fn try_from(Named(object): Named<DisputeObject>) -> Result<Self, Self::Error> {
        expect(&object.object, "dispute")?;
        Ok(Self {
            id: object.id,
            amount: Amount::new(object.amount.0, object.currency),
            status: object.status,
            reason: object.reason.ok(),
            movements: object.balance_transactions.ok().map_or(0, |all| all.len()),
            due_by: object
                .evidence_details
                .ok()
                .and_then(|details| details.due_by)
                .filter(|due_by| *due_by > 0),
            payment: PaymentOf::new(object.payment_intent, object.charge),
        })
    }
}

impl PaymentOf {
    fn new(payment_intent: Lenient<Reference>, charge: Lenient<Reference>) -> Self {
        Self {
            payment_intent: payment_intent.id(),
            charge: charge.id(),
            ..Self::default()
        }
    }
}

fn expect(object: &str, expected: &str) -> Result<(), &'static str> {
    if object == expected {
        Ok(())
    } else {
        Err("another object than expected")
    }
}
