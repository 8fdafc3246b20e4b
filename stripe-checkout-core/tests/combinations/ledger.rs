//! Stripe's ledger at the end of a case, read from its API. Its books must agree with themselves.
//!
//! Nothing here knows how the sandbox counts: it reads objects as JSON and adds them up.

use serde_json::Value;

use crate::life::{Fault, Life, text};

pub(crate) struct Ledger {
    pub(crate) intent: Option<Value>,
    pub(crate) session: Option<Value>,
    pub(crate) charges: Vec<Value>,
    pub(crate) refunds: Vec<Value>,
    pub(crate) disputes: Vec<Value>,
    bookings: Vec<Value>,
}

pub(crate) fn number(object: &Value, field: &str) -> i64 {
    object[field].as_i64().unwrap_or_default()
}

fn sum(objects: &[Value], field: &str) -> i64 {
    objects.iter().map(|object| number(object, field)).sum()
}

impl Ledger {
    pub(crate) async fn read(life: &Life) -> Self {
        let (stripe, account) = (&life.stripe, life.account);
        let mut ledger = Self {
            intent: None,
            session: None,
            charges: Vec::new(),
            refunds: Vec::new(),
            disputes: Vec::new(),
            bookings: stripe.list("/balance_transactions", account).await,
        };
        if let Some(id) = &life.session {
            let path = format!("/checkout/sessions/{id}");
            ledger.session = Some(stripe.get(&path, account).await);
        }
        if let Some(id) = &life.intent {
            let of = |list: &str| format!("/{list}?payment_intent={id}");
            ledger.intent = Some(stripe.get(&format!("/payment_intents/{id}"), account).await);
            ledger.charges = stripe.list(&of("charges"), account).await;
            ledger.refunds = stripe.list(&of("refunds"), account).await;
            ledger.disputes = stripe.list(&of("disputes"), account).await;
        }
        ledger
    }

    /// The amount of the payment that arrived.
    pub(crate) fn received(&self) -> i64 {
        self.intent
            .as_ref()
            .map_or(0, |intent| number(intent, "amount_received"))
    }

    /// The sum of the refunds that arrived or are on their way.
    pub(crate) fn refunded(&self) -> i64 {
        let gone = |refund: &&Value| !matches!(text(refund, "status"), "failed" | "canceled");
        self.refunds
            .iter()
            .filter(gone)
            .map(|refund| number(refund, "amount"))
            .sum()
    }

    /// The sum of the disputes that are open or lost.
    fn disputed(&self) -> i64 {
        let takes = |dispute: &&Value| {
            let status = text(dispute, "status");
            !status.starts_with("warning_") && !matches!(status, "won" | "prevented")
        };
        self.disputes
            .iter()
            .filter(takes)
            .map(|dispute| number(dispute, "amount"))
            .sum()
    }

    /// Whether nothing of the money is left.
    pub(crate) fn all_returned(&self) -> bool {
        self.received() > 0 && (self.refunded() >= self.received() || self.disputed() > 0)
    }

    pub(crate) fn intent_is(&self, status: &str) -> bool {
        self.intent
            .as_ref()
            .is_some_and(|intent| text(intent, "status") == status)
    }

    pub(crate) fn session_is(&self, status: &str) -> bool {
        self.session
            .as_ref()
            .is_some_and(|session| text(session, "status") == status)
    }

    /// Whether the books agree with themselves, and with what the buyer and the merchant did.
    pub(crate) fn check(&self, life: &Life) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut agree = |what: &str, one: i64, other: i64| {
            if one != other {
                faults.push(format!("ledger: {what} ({one} is not {other})"));
            }
        };
        let Some(intent) = &self.intent else {
            return faults;
        };
        let total = i64::try_from(life.total()).unwrap();
        agree(
            "the payment's amount and the buyer's total",
            number(intent, "amount"),
            total,
        );
        let arrived = match text(intent, "status") {
            "succeeded" => i64::try_from(life.captured()).unwrap(),
            _ => 0,
        };
        agree("received and captured", self.received(), arrived);
        agree(
            "the charges' captures",
            sum(&self.charges, "amount_captured"),
            self.received(),
        );
        for charge in &self.charges {
            let of = |objects: &[Value]| -> Vec<Value> {
                let same = |object: &&Value| object["charge"] == charge["id"];
                objects.iter().filter(same).cloned().collect()
            };
            let (refunds, disputes) = (of(&self.refunds), of(&self.disputes));
            let of_charge = Self {
                intent: None,
                session: None,
                charges: Vec::new(),
                bookings: Vec::new(),
                refunds: refunds.clone(),
                disputes: disputes.clone(),
            };
            let (refunded, disputed) = (of_charge.refunded(), of_charge.disputed());
            agree(
                "a charge's refunds",
                number(charge, "amount_refunded"),
                refunded,
            );
            let mut sources = vec![charge["id"].clone()];
            sources.extend(
                refunds
                    .iter()
                    .chain(&disputes)
                    .map(|object| object["id"].clone()),
            );
            let booked = self.bookings.iter();
            let booked = booked.filter(|booking| sources.contains(&booking["source"]));
            let booked: Vec<Value> = booked.cloned().collect();
            let kept = number(charge, "amount_captured") - refunded - disputed;
            agree(
                "a charge's balance transactions",
                sum(&booked, "amount"),
                kept,
            );
            let net = sum(&booked, "amount") - sum(&booked, "fee");
            agree("their net amounts", sum(&booked, "net"), net);
        }
        faults
    }
}
