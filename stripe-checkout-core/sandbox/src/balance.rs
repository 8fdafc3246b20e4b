//! The state of a payment's money.

use stripe_checkout_core::Currency;

use super::{
    objects::{charge::ChargeStatus, refund::RefundStatus},
    store::Store,
};

/// A payment's money, in minor units. See [`Sandbox::balance`](super::Sandbox::balance).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PaymentBalance {
    /// The currency of all amounts.
    pub currency: Currency,
    /// The amount charged to the buyer.
    pub charged: u64,
    /// The amount of the refunds that succeeded and have not failed since.
    pub refunded: u64,
    /// The amount of the pending refunds.
    pub refunding: u64,
    /// The amount that the buyer's bank holds because of an open dispute or keeps after a lost one.
    pub disputed: u64,
    /// The fees that Stripe keeps.
    pub fees: u64,
    /// The amount left in the merchant's balance. It is below zero if the payment cost more than it
    /// earned.
    pub net: i64,
}

impl Store {
    pub(crate) fn balance_of(&self, payment_intent: &str) -> Option<PaymentBalance> {
        let intent = self.intents.find(payment_intent)?;
        let charges: Vec<_> = self
            .charges
            .iter()
            .filter(|charge| charge.payment_intent == intent.id)
            .collect();
        let refunds: Vec<_> = self
            .refunds
            .iter()
            .filter(|refund| refund.payment_intent == intent.id)
            .collect();
        let disputes: Vec<_> = self
            .disputes
            .iter()
            .filter(|dispute| dispute.payment_intent == intent.id)
            .collect();
        let refunded_in = |status: RefundStatus| {
            refunds
                .iter()
                .filter(|refund| refund.status == status)
                .map(|refund| refund.amount)
                .sum()
        };
        let is_source = |id: &String| {
            charges.iter().any(|charge| charge.id == *id)
                || refunds.iter().any(|refund| refund.id == *id)
                || disputes.iter().any(|dispute| dispute.id == *id)
        };
        let (mut fees, mut net) = (0_i64, 0_i64);
        let coming = charges
            .iter()
            .filter_map(|charge| charge.coming_booking.as_ref());
        for booking in self
            .balance_transactions
            .iter()
            .filter(|booking| is_source(&booking.source))
            .chain(coming)
        {
            fees = fees.saturating_add(booking.fee);
            net = net
                .saturating_add(booking.amount)
                .saturating_sub(booking.fee);
        }
        Some(PaymentBalance {
            currency: intent.currency,
            charged: charges
                .iter()
                .filter(|charge| matches!(charge.status, ChargeStatus::Succeeded))
                .map(|charge| charge.amount_captured)
                .sum(),
            refunded: refunded_in(RefundStatus::Succeeded),
            refunding: refunded_in(RefundStatus::Pending),
            disputed: disputes
                .iter()
                .filter(|dispute| dispute.status.holds_the_money())
                .map(|dispute| dispute.amount)
                .sum(),
            fees: u64::try_from(fees).unwrap_or(0),
            net,
        })
    }
}
