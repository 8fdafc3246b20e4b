//! The Dispute: <https://docs.stripe.com/api/disputes/object>.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use stripe_checkout_core::Currency;

/// The texts that a merchant may send as evidence.
pub(crate) const EVIDENCE: &[&str] = &[
    "access_activity_log",
    "billing_address",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_tracking_number",
    "uncategorized_text",
];

/// The evidence that is a file. The sandbox has no files, so it refuses these.
const FILES: &[&str] = &[
    "cancellation_policy",
    "customer_communication",
    "customer_signature",
    "duplicate_charge_documentation",
    "receipt",
    "refund_policy",
    "service_documentation",
    "shipping_documentation",
    "uncategorized_file",
];

/// For how long the merchant may send evidence, in seconds: a week.
pub(crate) const TIME_TO_RESPOND: i64 = 7 * 24 * 60 * 60;

/// Where a dispute stands. The first three are those of an inquiry: no money has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DisputeStatus {
    WarningNeedsResponse,
    WarningUnderReview,
    WarningClosed,
    NeedsResponse,
    UnderReview,
    Won,
    Lost,
}

impl DisputeStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::WarningNeedsResponse => "warning_needs_response",
            Self::WarningUnderReview => "warning_under_review",
            Self::WarningClosed => "warning_closed",
            Self::NeedsResponse => "needs_response",
            Self::UnderReview => "under_review",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }

    pub(crate) fn is_closed(self) -> bool {
        matches!(self, Self::WarningClosed | Self::Won | Self::Lost)
    }

    pub(crate) fn is_inquiry(self) -> bool {
        matches!(
            self,
            Self::WarningNeedsResponse | Self::WarningUnderReview | Self::WarningClosed
        )
    }

    /// Whether the buyer has the money, or the bank holds it.
    pub(crate) fn holds_the_money(self) -> bool {
        matches!(self, Self::NeedsResponse | Self::UnderReview | Self::Lost)
    }
}

/// What the buyer's bank decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Won,
    Lost,
    /// An inquiry becomes a dispute.
    Escalated,
}

/// A buyer's bank that wants the money of a charge back, or asks about it.
#[derive(Debug, Clone)]
pub(crate) struct Dispute {
    pub(crate) id: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    pub(crate) amount: u64,
    pub(crate) currency: Currency,
    pub(crate) charge: String,
    pub(crate) payment_intent: String,
    pub(crate) reason: &'static str,
    pub(crate) status: DisputeStatus,
    /// The brand of the card, if it was one.
    pub(crate) brand: Option<&'static str>,
    pub(crate) evidence: BTreeMap<String, String>,
    pub(crate) submissions: u64,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) balance_transactions: Vec<String>,
}

impl Dispute {
    /// With the balance transactions themselves, as Stripe shows them here.
    pub(crate) fn render(&self, balance_transactions: &[Value]) -> Value {
        let mut evidence: Map<String, Value> = EVIDENCE
            .iter()
            .chain(FILES)
            .map(|name| ((*name).to_owned(), json!(self.evidence.get(*name))))
            .collect();
        evidence.insert("enhanced_evidence".to_owned(), json!({}));
        let mut dispute = json!({
            "id": self.id,
            "object": "dispute",
            "amount": self.amount,
            "balance_transactions": balance_transactions,
            "charge": self.charge,
            "created": self.created,
            "currency": self.currency.code(),
            "enhanced_eligibility_types": [],
            "evidence": evidence,
            "evidence_details": {
                "due_by": self.created.saturating_add(TIME_TO_RESPOND),
                "enhanced_eligibility": {},
                "has_evidence": !self.evidence.is_empty(),
                "past_due": self.status == DisputeStatus::Lost && self.submissions == 0,
                "submission_count": self.submissions,
                "submission_method": if self.submissions == 0 { "not_submitted" } else { "manual" },
            },
            "intended_submission_method": null,
            "is_charge_refundable": !self.status.holds_the_money(),
            "livemode": false,
            "metadata": self.metadata,
            "payment_intent": self.payment_intent,
            "reason": self.reason,
            "status": self.status.as_str(),
        });
        if let Some(brand) = self.brand
            && let Some(fields) = dispute.as_object_mut()
        {
            let case_type = if self.status.is_inquiry() {
                "inquiry"
            } else {
                "chargeback"
            };
            fields.insert(
                "payment_method_details".to_owned(),
                json!({
                    "card": {
                        "brand": brand,
                        "case_type": case_type,
                        "network": brand,
                        "network_reason_code": if self.reason == "fraudulent" { "10.4" } else { "13.1" },
                    },
                    "type": "card",
                }),
            );
        }
        dispute
    }
}
