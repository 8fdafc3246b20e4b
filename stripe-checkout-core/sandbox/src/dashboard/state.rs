//! How everything stands, as the page shows it: the newest of each kind, because a person reads it.

use std::{collections::HashMap, time::Duration};

use serde_json::{Value, json};

use stripe_checkout_core::Amount;

use crate::{
    PUBLISHABLE_KEY, SECRET_KEY, banner,
    delivery::{DeliveryAttempt, DeliveryResult},
    objects::{
        charge::{Charge, ChargeStatus},
        checkout_session::CheckoutSession,
        dispute::{Dispute, TIME_TO_RESPOND},
        event::Event,
        payment_intent::{PaymentIntent, Status},
        refund::{Refund, RefundStatus},
    },
    scheduler::BankDelays,
    shared::Shared,
    store::Store,
};

/// How many of each are shown.
const INTENTS: usize = 50;
const SESSIONS: usize = 20;
const EVENTS: usize = 100;
/// Attempts of one event.
const ATTEMPTS: usize = 20;

pub(crate) fn show(shared: &Shared, version: u64) -> Value {
    let mut store = shared.store();
    store.end_old_sessions();
    let store = &*store;
    let mut refunds: HashMap<&str, Vec<&Refund>> = HashMap::new();
    for refund in store.refunds.iter() {
        refunds
            .entry(&refund.payment_intent)
            .or_default()
            .push(refund);
    }
    let mut disputes: HashMap<&str, &Dispute> = HashMap::new();
    for dispute in store.disputes.iter() {
        disputes.insert(&dispute.payment_intent, dispute);
    }
    let mut attempts: HashMap<&str, Vec<&DeliveryAttempt>> = HashMap::new();
    for attempt in &store.attempts {
        attempts.entry(&attempt.event).or_default().push(attempt);
    }
    let none = Vec::new();
    let intents: Vec<Value> = store
        .intents
        .newest()
        .take(INTENTS)
        .map(|shown| {
            let refunds = refunds.get(shown.id.as_str()).unwrap_or(&none);
            let dispute = disputes.get(shown.id.as_str()).copied();
            intent(store, shown, refunds, dispute)
        })
        .collect();
    let events: Vec<Value> = store
        .events
        .newest()
        .take(EVENTS)
        .map(|shown| {
            let attempts = attempts.get(shown.id.as_str());
            event(store, shown, attempts.map_or(&[], Vec::as_slice))
        })
        .collect();
    let sessions: Vec<Value> = store
        .sessions
        .newest()
        .take(SESSIONS)
        .map(session)
        .collect();
    let endpoints: Vec<Value> = store
        .endpoints
        .iter()
        .map(|endpoint| {
            json!({
                "url": endpoint.address,
                "secret": endpoint.secrets.first(),
                "disabled": endpoint.disabled,
                "events": endpoint.enabled_events.len(),
                "all": endpoint.enabled_events.iter().any(|name| name == "*"),
            })
        })
        .collect();
    let controls = &store.controls;
    json!({
        "version": version,
        "url": store.url,
        "keys": { "secret": SECRET_KEY, "publishable": PUBLISHABLE_KEY },
        "next_secret": store.first_secret,
        "endpoints": endpoints,
        "lines": banner::lines(&shared.config),
        "webhooks": {
            "copies": controls.copies,
            "delay": milliseconds(controls.delay),
            "shuffle": milliseconds(controls.shuffle.unwrap_or_default()),
            "lose_deliveries": controls.deliveries_to_lose,
            "lose_answers": controls.answers_to_lose,
        },
        "banks_wait": store.patience == BankDelays::FOR_EVER,
        "on_their_way": store.on_their_way.values().sum::<usize>(),
        "count": { "intents": store.intents.len(), "sessions": store.sessions.len(), "events": store.events.len() },
        "intents": intents,
        "sessions": sessions,
        "events": events,
    })
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn intent(
    store: &Store,
    intent: &PaymentIntent,
    refunds: &[&Refund],
    dispute: Option<&Dispute>,
) -> Value {
    let currency = intent.currency;
    let charge = intent
        .latest_charge
        .as_deref()
        .and_then(|charge| store.charges.find(charge));
    let paid =
        charge.filter(|charge| charge.captured && matches!(charge.status, ChargeStatus::Succeeded));
    let left = paid
        .filter(|charge| !store.is_charged_back(charge))
        .map_or(0, |charge| {
            charge.amount.saturating_sub(charge.amount_refunded)
        });
    let open_dispute = dispute.filter(|dispute| !dispute.status.is_closed());
    json!({
        "id": intent.id,
        "account": intent.account,
        "created": intent.created,
        "amount": Amount::new(intent.amount, currency).to_string(),
        "status": intent.status.as_str(),
        "description": intent.description,
        "metadata": intent.metadata,
        "method": charge.map(method),
        "error": intent.last_payment_error.as_ref().and_then(|error| error.get("message")),
        "refunds": refunds.iter().map(|refund| refunded(refund)).collect::<Vec<_>>(),
        "dispute": dispute.map(disputed),
        "left": (left > 0).then(|| Amount::new(left, currency).to_major()),
        "currency": currency.code().to_uppercase(),
        "can": {
            "settle": intent.status == Status::Processing,
            "dispute": paid.is_some_and(|charge| !charge.disputed),
            "decide": open_dispute.is_some(),
            "escalate": open_dispute.is_some_and(|dispute| dispute.status.is_inquiry()),
        },
    })
}

/// `visa •••• 4242`.
fn method(charge: &Charge) -> String {
    let details = &charge.payment_method_details;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let kind = text(details.get("type")).unwrap_or_default();
    let of_kind = |name: &str| text(details.get(&kind).and_then(|details| details.get(name)));
    let brand = of_kind("brand").unwrap_or(kind.clone());
    let last4 = of_kind("last4").unwrap_or_default();
    format!("{} •••• {last4}", brand.replace('_', " "))
}

fn refunded(refund: &Refund) -> Value {
    json!({
        "id": refund.id,
        "amount": Amount::new(refund.amount, refund.currency).to_string(),
        "status": refund.status.as_str(),
        "pending": refund.status == RefundStatus::Pending,
        "can_come_back": matches!(refund.status, RefundStatus::Pending | RefundStatus::Succeeded),
    })
}

fn disputed(dispute: &Dispute) -> Value {
    json!({
        "id": dispute.id,
        "amount": Amount::new(dispute.amount, dispute.currency).to_string(),
        "status": dispute.status.as_str(),
        "reason": dispute.reason,
        "due_by": (!dispute.status.is_closed()).then(|| dispute.created.saturating_add(TIME_TO_RESPOND)),
    })
}

fn session(session: &CheckoutSession) -> Value {
    let total = Amount::new(session.totals().total, session.currency);
    json!({
        "id": session.id,
        "account": session.account,
        "created": session.created,
        "amount": total.to_string(),
        "status": session.status.as_str(),
        "paid": session.paid,
        "intent": session.payment_intent,
        "page": session.page(),
    })
}

fn event(store: &Store, event: &Event, attempts: &[&DeliveryAttempt]) -> Value {
    let under_way = store.on_their_way.get(&event.id).copied().unwrap_or(0);
    let kept = attempts.len().saturating_sub(ATTEMPTS);
    let shown: Vec<Value> = attempts
        .iter()
        .skip(kept)
        .map(|attempt| {
            let result = match &attempt.result {
                DeliveryResult::Answered(status) => format!("answered {status}"),
                DeliveryResult::TimedOut => "no answer in time".to_owned(),
                DeliveryResult::Failed => "lost, or no connection".to_owned(),
            };
            json!({
                "endpoint": attempt.endpoint,
                "attempt": attempt.attempt,
                "at": attempt.timestamp,
                "result": result,
                "good": attempt.result.is_acknowledged(),
            })
        })
        .collect();
    let stands = match (
        under_way,
        event.waiting.is_empty(),
        event.sent_to.is_empty(),
    ) {
        (1.., _, _) => "on its way",
        (0, false, _) => "given up",
        (0, true, true) => "nobody listened",
        (0, true, false) => "delivered",
    };
    json!({
        "id": event.id,
        "type": event.event_type,
        "account": event.account,
        "created": event.created,
        "about": event.object.get("id"),
        "stands": stands,
        "attempts": shown,
        "earlier": kept,
    })
}
