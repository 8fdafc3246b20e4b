//! What became of a payment's money.

use stripe_checkout_core::Currency;

use super::{
    objects::{charge::ChargeStatus, refund::RefundStatus},
    store::Store,
};

/// A payment's money, in minor units. See [`Sandbox::balance`](super::Sandbox::balance).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PaymentBalance {
    /// The currency of all of it.
    pub currency: Currency,
    /// What was taken from the buyer.
    pub charged: u64,
    /// What was given back, and has not come back.
    pub refunded: u64,
    /// What is on its way back to the buyer.
    pub refunding: u64,
    /// What the buyer's bank holds or has, because of a dispute that is open or lost.
    pub disputed: u64,
    /// What Stripe keeps.
    pub fees: u64,
    /// What is left in the merchant's balance; below zero if it cost more than it brought.
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
