//! The oracle: the promises say which calls the handler must have had, how often, and in which
//! order.

use serde_json::Value;

use crate::dimensions::{Capture, Case, Delivery, PaysWith, Price};
use crate::ledger::{Ledger, number};
use crate::life::{Fault, Life, text};
use crate::post::Post;
use crate::shop::Told;

/// The calls that decide about the delivery of an order.
const VERDICTS: [&str; 5] = [
    "payment_succeeded",
    "free_order",
    "mismatch",
    "refunded_before_fulfillment",
    "duplicate_payment",
];

/// The calls that come before the end of a payment, and never after it.
const BEFORE_THE_END: [&str; 4] = [
    "payment_processing",
    "requires_action",
    "requires_capture",
    "payment_failed",
];

struct Judge<'a> {
    case: &'a Case,
    life: &'a Life,
    post: &'a Post,
    ledger: &'a Ledger,
    told: &'a [Told],
    faults: Vec<Fault>,
}

/// The promises that were broken.
pub(crate) fn judge(life: &Life, post: &Post, ledger: &Ledger, events: &[Value]) -> Vec<Fault> {
    let told = life.shop.told();
    let mut judge = Judge {
        case: &life.case,
        life,
        post,
        ledger,
        told: &told,
        faults: Vec::new(),
    };
    judge.only_about_this_order();
    judge.verdict(events);
    judge.end_without_money();
    judge.on_the_way();
    judge.reversals();
    judge.faults
}

impl Judge<'_> {
    fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    fn told_of(&self, call: &str) -> Vec<&Told> {
        self.told.iter().filter(|told| told.call == call).collect()
    }

    /// The handler is called so often, at least and at most.
    fn times(&mut self, call: &str, at_least: usize, at_most: usize) {
        let times = self.told_of(call).len();
        if times < at_least || times > at_most {
            let side = if times < at_least { "seldom" } else { "often" };
            self.fault(format!(
                "{call} ran too {side} ({times} times, not {at_least} to {at_most})"
            ));
        }
    }

    /// Nothing is told of anybody else's payment, refund or dispute.
    fn only_about_this_order(&mut self) {
        let ids = [&self.life.intent, &self.life.session];
        let payments: Vec<&str> = ids.into_iter().flatten().map(String::as_str).collect();
        let reversals = self.ledger.refunds.iter().chain(&self.ledger.disputes);
        let reversals: Vec<&str> = reversals.map(|object| text(object, "id")).collect();
        let order = (
            self.life.reference.clone(),
            self.life.account.map(str::to_owned),
        );
        for told in self.told {
            let known = match &told.order {
                Some(of) => *of == order && payments.contains(&told.id.as_str()),
                None => reversals.contains(&told.id.as_str()),
            };
            if !known {
                self.faults
                    .push(format!("told of somebody else's ({told:?})"));
            }
        }
    }

    /// The money arrived, or there was none to pay.
    fn succeeded(&self) -> bool {
        let is_free = self.case.is_free() && self.ledger.session_is("complete");
        is_free || (self.ledger.intent_is("succeeded") && self.ledger.received() > 0)
    }

    /// The price is the one that the handler names, and what was to be taken was taken.
    fn is_right(&self) -> bool {
        self.case.price() != Price::Changed && self.case.capture() != Capture::PartElsewhere
    }

    fn is_captured_in_part(&self) -> bool {
        matches!(self.case.capture(), Capture::Part | Capture::PartElsewhere)
    }

    /// Exactly one verdict of a payment that succeeded, and the right one.
    fn verdict(&mut self, events: &[Value]) {
        let verdicts: Vec<Told> = self
            .told
            .iter()
            .filter(|told| VERDICTS.contains(&told.call))
            .cloned()
            .collect();
        if !self.succeeded() {
            for verdict in verdicts {
                self.fault(format!("{} without money", verdict.call));
            }
            return;
        }
        let [verdict] = verdicts.as_slice() else {
            let calls: Vec<_> = verdicts.iter().map(|verdict| verdict.call).collect();
            self.fault(format!(
                "a payment that succeeded has no verdict, or several ({calls:?})"
            ));
            return;
        };
        let right = match (self.is_right(), self.case.is_free()) {
            (false, _) => "mismatch",
            (true, true) => "free_order",
            (true, false) => "payment_succeeded",
        };
        let returned = self.ledger.all_returned();
        let known = returned && self.return_was_known(events, verdict.step);
        let in_order = self.case.delivery() == Delivery::InOrder;
        // An old success is looked up before it is believed.
        let looked_up = returned && self.case.delivery() == Delivery::Aged;
        let call = verdict.call;
        if call == "refunded_before_fulfillment" {
            if !returned {
                self.fault("kept back, although nothing or only a part went back");
            } else if in_order {
                self.fault("kept back, although the money was there when it was told");
            }
        } else if call == "mismatch" && (known || looked_up) && self.is_captured_in_part() {
            // The figures of the charge may count the released part as refunded. Nothing is
            // fulfilled, and a person decides.
        } else if call != right {
            self.fault(format!("{call} instead of {right}"));
        } else if known || looked_up {
            self.fault(format!("{call}, although it was known that all went back"));
        }
        let received = self.ledger.received();
        if call == "payment_succeeded" && i64::try_from(verdict.amount) != Ok(received) {
            let told = verdict.amount;
            self.fault(format!(
                "payment_succeeded with another amount than arrived ({told}, not {received})"
            ));
        }
    }

    /// Whether an event that was delivered before this step says that all went back.
    fn return_was_known(&self, events: &[Value], step: usize) -> bool {
        let received = self.ledger.received();
        let mut parts = 0;
        events.iter().any(|event| {
            let delivered = self.post.delivered.get(text(event, "id"));
            if delivered.is_none_or(|at| *at >= step) {
                return false;
            }
            let object = &event["data"]["object"];
            let ours = self.life.intent.as_deref() == object["payment_intent"].as_str();
            ours && match text(event, "type") {
                "refund.created" => {
                    parts += number(object, "amount");
                    parts >= received
                }
                "charge.refunded" => number(object, "amount_refunded") >= received,
                of => of.starts_with("charge.dispute."),
            }
        })
    }

    /// Canceled and expired payments, told once.
    fn end_without_money(&mut self) {
        let over = self.ledger.intent_is("canceled") || self.ledger.session_is("expired");
        // The caller of `cancel_payment` has the answer, and the order's row is closed. So no later
        // run looks for an event that Stripe never made.
        let known_to_caller = self.life.called_off && self.post.never_made;
        let at_least = usize::from(over && !known_to_caller);
        self.times("payment_canceled", at_least, usize::from(over));
    }

    /// Hooks of a payment before its end: each once, and never after the end.
    fn on_the_way(&mut self) {
        let on_stripes_page = self.life.session.is_some();
        let debit = matches!(
            self.case.pays_with(),
            PaysWith::Debit | PaysWith::DebitFails
        );
        let ends = |told: &Told| {
            VERDICTS.contains(&told.call)
                || told.call == "payment_canceled"
                // A session whose debit failed is over. On the own page the buyer tries again.
                || (told.call == "payment_failed" && on_stripes_page && debit)
        };
        let end = self.told.iter().position(ends);
        for (at, told) in self.told.iter().enumerate() {
            if BEFORE_THE_END.contains(&told.call) && end.is_some_and(|end| at > end) {
                self.faults.push(format!(
                    "{} after the end ({:?})",
                    told.call,
                    end.map(|end| self.told[end].call)
                ));
            }
        }
        let in_order = self.case.delivery() == Delivery::InOrder;
        let has_intent = self.ledger.intent.is_some() && !self.case.is_free();
        let attempts = !self.ledger.charges.is_empty();
        let once = |is: bool| usize::from(is);
        // A buyer may be asked, and a debit begin, several times: two events of one are not told
        // apart from those of two.
        let doubled = 1 + usize::from(self.case.is_doubled());
        let must = |is: bool, stands: bool| usize::from(is && (in_order || stands));

        let processes = has_intent && debit;
        // A session that is complete and unpaid does not say that its money is authorised. As
        // long as nothing else told so, it is on its way.
        let authorised = self.case.capture() != Capture::Automatic;
        let unknown = on_stripes_page && authorised && !in_order;
        self.times(
            "payment_processing",
            must(processes, false),
            once(processes || unknown) * doubled,
        );
        let first = |call: &str| self.told.iter().position(|told| told.call == call);
        if let (Some(required), Some(processing)) =
            (first("requires_capture"), first("payment_processing"))
            && processing > required
        {
            self.fault("payment_processing after capture_required");
        }
        let asks = has_intent && self.case.pays_with() == PaysWith::ThreeDSecure;
        self.times("requires_action", must(asks, false), once(asks) * doubled);
        let authorises = attempts && !debit && self.case.capture() != Capture::Automatic;
        let stands = self.ledger.intent_is("requires_capture");
        self.times(
            "requires_capture",
            must(authorises, stands),
            once(authorises),
        );
        // A debit that failed is told once, whatever came before it and in whatever order.
        let failed = has_intent && self.case.pays_with() == PaysWith::DebitFails;
        self.times("payment_failed", once(failed), once(failed));
    }

    /// Refunds and disputes, each once, after the verdict of their payment.
    fn reversals(&mut self) {
        let verdict = self
            .told
            .iter()
            .position(|told| VERDICTS.contains(&told.call));
        let reversal = |told: &Told| told.order.is_none();
        for (at, told) in self
            .told
            .iter()
            .enumerate()
            .filter(|(_, told)| reversal(told))
        {
            if verdict.is_none_or(|verdict| at < verdict) {
                self.faults.push(format!(
                    "{} before the success that it belongs to",
                    told.call
                ));
            }
        }
        let refunds: Vec<Value> = self.ledger.refunds.clone();
        self.times("refund_succeeded", refunds.len(), refunds.len());
        for refund in refunds {
            let amount = number(&refund, "amount");
            let same = |told: &&Told| told.id == text(&refund, "id");
            let told: Vec<&Told> = self.told.iter().filter(same).collect();
            let amounts: Vec<_> = told.iter().map(|told| i64::try_from(told.amount)).collect();
            if amounts.iter().any(|told| *told != Ok(amount)) {
                self.fault(format!(
                    "a refund is told with another amount ({amount}, {amounts:?})"
                ));
            }
        }
        self.times("refund_failed", 0, 0);
        let disputes = self.ledger.disputes.len();
        let closed = self.ledger.disputes.iter();
        let closed = closed
            .filter(|dispute| text(dispute, "status") == "lost")
            .count();
        self.times("dispute_closed", closed, closed);
        self.times("dispute_withdrawn", disputes, disputes);
        // Of a dispute that is closed no older state is told.
        let open = if closed == 0 { disputes } else { 0 };
        self.times("dispute_created", open, disputes);
    }
}
