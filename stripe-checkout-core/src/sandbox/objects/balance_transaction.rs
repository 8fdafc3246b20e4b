//! The BalanceTransaction: <https://docs.stripe.com/api/balance_transactions/object>.

use serde_json::{Value, json};

use super::charge::Charge;

/// What a captured charge brings to the merchant's balance. The fee is an example (2.9 % and 30 minor units), not anyone's contract.
pub(in crate::sandbox) fn render(id: &str, charge: &Charge) -> Value {
    let fee = (charge.amount_captured.saturating_mul(29) / 1000).saturating_add(30);
    let fee = fee.min(charge.amount_captured);
    json!({
        "id": id,
        "object": "balance_transaction",
        "amount": charge.amount_captured,
        "available_on": charge.created,
        "balance_type": "payments",
        "created": charge.created,
        "currency": charge.currency.code(),
        "description": charge.description,
        "exchange_rate": null,
        "fee": fee,
        "fee_details": [{
            "amount": fee,
            "application": null,
            "currency": charge.currency.code(),
            "description": "Stripe processing fees",
            "type": "stripe_fee",
        }],
        "net": charge.amount_captured.saturating_sub(fee),
        "reporting_category": "charge",
        "source": charge.id,
        "status": "pending",
        "type": "charge",
    })
}
