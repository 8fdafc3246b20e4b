//! The admin pages: everything that a merchant sees, and may do, after the log-in.
//!
//! They show ids, amounts and states, but no names or addresses: those are at Stripe.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use minijinja::{Value, context};
use stripe_checkout_core::{
    InboxError,
    fulfillment::{EventFilter, EventRecord, EventState},
    webhook::{DisputeStatus, RefundStatus},
};
use time::{Date, OffsetDateTime};

use crate::{
    admin::{self, LogInError},
    answer::{Answer, Cookie},
    balance::{Balance, OrderDispute},
    cart::Cart,
    day,
    db::now,
    money,
    moving::{self, Reserved},
    order::{Order, Status},
    problem::Problem,
    random,
    request::{Progress, Request, Wish},
    shop::Shop,
    store::{self, Notice},
    upkeep,
    visit::{Visit, field},
};

const SESSION: &str = "admin";
const LOG_IN: &str = "login";

/// The states in which an event needs attention, and in which it can be replayed or discarded.
const OPEN: [EventState; 3] = [EventState::Mismatch, EventState::Dead, EventState::Pending];

/// All states, in the order in which their counts are shown.
const STATES: [EventState; 6] = [
    EventState::Pending,
    EventState::Dead,
    EventState::Mismatch,
    EventState::Done,
    EventState::Superseded,
    EventState::Discarded,
];

/// After this many seconds without an answer, the merchant has to ask Stripe again.
const UNANSWERED: i64 = 60;

/// How many seconds before an authorisation ends the merchant has to decide.
const SOON: i64 = 24 * 60 * 60;

/// The merchant's decision about an open event.
#[derive(Clone, Copy)]
enum Decision {
    Replay,
    Drop,
}

impl Shop {
    /// `GET /admin`: alerts, orders and events.
    pub async fn admin(&self, visit: &Visit) -> Answer {
        match self.csrf(visit).await {
            Ok(Some(csrf)) => self.page(self.admin_page(&csrf, 200, None).await),
            Ok(None) => Answer::see_other("/admin/login"),
            Err(problem) => self.problem(problem),
        }
    }

    /// `GET /admin/payments/{id}`: the history of a payment and of its order.
    pub async fn payment(&self, visit: &Visit, id: &str) -> Answer {
        match self.csrf(visit).await {
            Ok(Some(csrf)) => self.page(self.payment_page(&csrf, id, 200, None).await),
            Ok(None) => Answer::see_other("/admin/login"),
            Err(problem) => self.problem(problem),
        }
    }

    /// `GET /admin/days/{day}`: the figures of one day in UTC. The day is like `2030-01-31`.
    pub async fn day(&self, visit: &Visit, day: &str) -> Answer {
        match self.csrf(visit).await {
            Ok(Some(_)) => self.page(self.day_page(day).await),
            Ok(None) => Answer::see_other("/admin/login"),
            Err(problem) => self.problem(problem),
        }
    }

    /// `GET /admin/login`.
    pub async fn log_in_page(&self, visit: &Visit) -> Answer {
        match self.csrf(visit).await {
            Ok(Some(_)) => Answer::see_other("/admin"),
            Ok(None) => self.log_in_form(200, None),
            Err(problem) => self.problem(problem),
        }
    }

    /// `POST /admin/login`.
    pub async fn log_in(&self, visit: &Visit) -> Answer {
        let form = visit.form();
        // No session exists yet that could hold a token. So the form and a cookie have to agree:
        // another site can write neither of them.
        if visit.is_cross_site() || !admin::same(field(&form, "csrf"), visit.cookie(LOG_IN)) {
            return self.problem(Problem::ForgedForm);
        }
        let password = field(&form, "password");
        match self.inner.admin.log_in(visit.address(), password) {
            Ok(()) => self.page(self.open_session().await),
            Err(LogInError::Wrong) => self.log_in_form(403, Some("That is not the password.")),
            Err(LogInError::TooMany { retry_after }) => self.problem(Problem::TooMany(retry_after)),
        }
    }

    /// `POST /admin/logout`.
    pub async fn log_out(&self, visit: &Visit) -> Answer {
        if let Err(refused) = self.authorised(visit).await {
            return refused;
        }
        let session = self.inner.admin.session_id(visit.cookie(SESSION));
        if let Err(error) = self.inner.store.end_session(session).await {
            return self.problem(error.into());
        }
        self.with_admin_cookie(
            Answer::see_other("/admin/login"),
            SESSION,
            "",
            Duration::ZERO,
        )
    }

    /// `POST /admin/events/{id}/replay`: handles an event again that failed or was a mismatch.
    pub async fn replay(&self, visit: &Visit, id: &str) -> Answer {
        self.decide(visit, id, Decision::Replay).await
    }

    /// `POST /admin/events/{id}/drop`: discards an event that failed or was a mismatch.
    pub async fn drop_event(&self, visit: &Visit, id: &str) -> Answer {
        self.decide(visit, id, Decision::Drop).await
    }

    async fn decide(&self, visit: &Visit, id: &str, decision: Decision) -> Answer {
        let csrf = match self.authorised(visit).await {
            Ok(csrf) => csrf,
            Err(refused) => return refused,
        };
        let form = visit.form();
        let payment = field(&form, "payment");
        if !payment.is_empty() && !store::is_stripes_id(payment) {
            return self.problem(Problem::NotFound);
        }
        let event = match self.event(payment, id).await {
            Ok(Some(event)) => event,
            Ok(None) => return self.problem(Problem::NotFound),
            Err(error) => return self.problem(error.into()),
        };
        let checkout = &self.inner.checkout;
        let decided = match decision {
            Decision::Replay => checkout.replay(&event).await.map(drop),
            Decision::Drop => checkout.discard(&event).await,
        };
        let decided = decided.map_err(|error| error.to_string());
        match (decided, &event.payment) {
            (Ok(()), Some(payment)) => Answer::see_other(format!("/admin/payments/{payment}")),
            (Ok(()), None) => Answer::see_other("/admin"),
            (Err(error), Some(payment)) => {
                self.page(self.payment_page(&csrf, payment, 409, Some(error)).await)
            }
            (Err(error), None) => self.page(self.admin_page(&csrf, 409, Some(error)).await),
        }
    }
}

/// The content of the pages.
impl Shop {
    /// One event: of the payment that the page's form names, or one from the first page.
    async fn event(&self, payment: &str, id: &str) -> Result<Option<EventRecord>, InboxError> {
        let events = if payment.is_empty() {
            let mut events = self.to_look_at().await?;
            events.extend(self.inner.checkout.events(EventFilter::default()).await?);
            events
        } else {
            self.events_of(payment).await?
        };
        Ok(events.into_iter().find(|event| event.id == id))
    }

    async fn events_of(&self, payment: &str) -> Result<Vec<EventRecord>, InboxError> {
        let filter = EventFilter::default().payment(payment).limit(1000);
        self.inner.checkout.events(filter).await
    }

    /// The events that need attention, however old they are.
    ///
    /// An event that was just received, and is being handled, is among them for a moment.
    async fn to_look_at(&self) -> Result<Vec<EventRecord>, InboxError> {
        let mut events = Vec::new();
        for state in OPEN {
            let filter = EventFilter::default().state(state);
            events.extend(self.inner.checkout.events(filter).await?);
        }
        Ok(events)
    }

    pub(crate) async fn admin_page(
        &self,
        csrf: &str,
        status: u16,
        message: Option<String>,
    ) -> Result<Answer, Problem> {
        let (store, checkout) = (&self.inner.store, &self.inner.checkout);
        let now = SystemTime::now();
        let alerts = checkout.alerts(upkeep::UNFULFILLED).await?;
        let alerts: Vec<String> = alerts.iter().map(ToString::to_string).collect();
        let stats = checkout.stats().await?;
        let counts = STATES.map(|state| {
            context! { state => state.as_str(), name => name(state), count => stats.count(state) }
        });
        let events = |events: Vec<EventRecord>| -> Vec<Value> {
            events.iter().map(|event| shown(event, now)).collect()
        };
        let mut alerts = alerts;
        for request in store.unanswered().await? {
            // A request that Stripe is answering at this moment raises no alert.
            if seconds(now) - request.created > UNANSWERED {
                alerts.push(format!(
                    "{} was asked for, payment {}, and Stripe has not answered: ask again there.",
                    money::price(request.amount),
                    request.payment
                ));
            }
        }
        for reserved in store.reserved().await? {
            let until = reserved.until.filter(|until| *until > 0);
            if let Some(until) = until.filter(|until| until - seconds(now) < SOON) {
                alerts.push(format!(
                    "{} is reserved until {}, payment {}: take it, or call the order off.",
                    money::price(reserved.total),
                    deadline(until),
                    reserved.payment
                ));
            }
        }
        let disputes = store.open_disputes().await?;
        let answerable = disputes
            .iter()
            .filter(|(_, dispute)| is_answerable(dispute));
        match answerable.count() {
            0 => {}
            1 => alerts.push("A dispute waits for your answer.".to_owned()),
            count => alerts.push(format!("{count} disputes wait for your answer.")),
        }
        let disputes: Vec<Value> = disputes
            .into_iter()
            .map(|(payment, dispute)| context! { payment, ..dispute_shown(&dispute) })
            .collect();
        let look = events(self.to_look_at().await?);
        let newest = events(checkout.events(EventFilter::default().limit(30)).await?);
        let orders = store.newest_orders(100).await?.into_iter().map(|order| {
            context! {
                id => order.id,
                status => order.status.as_str(),
                open => matches!(order.status, Status::Pending | Status::Failed),
                total => money::price(order.total),
                payment => order.payment_intent,
                shipments => order.shipments,
                when => utc(order.created),
            }
        });
        let notices = store.newest_notices(None, 100).await?.into_iter();
        let notices = notices.map(|notice| {
            context! {
                kind => notice.kind,
                order => notice.order_id,
                payment => notice.payment_intent,
                detail => notice.detail,
                when => utc(notice.created),
            }
        });
        let (orders, notices): (Vec<Value>, Vec<Value>) = (orders.collect(), notices.collect());
        let day = self.day_of(day::today()).await?;
        self.render(
            status,
            "admin.html",
            &Cart::default(),
            context! { csrf, message, alerts, disputes, day, counts, look, notices, orders, newest },
        )
    }

    async fn day_of(&self, date: Date) -> Result<Value, Problem> {
        let (from, to) = day::span(date);
        let sums = self.inner.store.sums(from, to).await?;
        Ok(day::shown(date, &sums))
    }

    async fn day_page(&self, day: &str) -> Result<Answer, Problem> {
        let date = day::parse(day).filter(|date| *date <= day::today());
        let day = self.day_of(date.ok_or(Problem::NotFound)?).await?;
        self.render(200, "day.html", &Cart::default(), context! { day })
    }

    pub(crate) async fn payment_page(
        &self,
        csrf: &str,
        id: &str,
        status: u16,
        message: Option<String>,
    ) -> Result<Answer, Problem> {
        if !store::is_stripes_id(id) {
            return Err(Problem::NotFound);
        }
        let store = &self.inner.store;
        let now = SystemTime::now();
        let events = self.events_of(id).await?;
        let notices = store.newest_notices(Some(id), 100).await?;
        let mut order = store.order_of(id).await?;
        if order.is_none() {
            // This is a second payment, or a mismatch: its events and notices know the order.
            let named = events.iter().find_map(|event| event.order.as_ref());
            let named = named.map(|order| order.reference.as_str());
            let named = named.or(notices.iter().find_map(|notice| notice.order_id.as_deref()));
            if let Some(named) = named {
                order = store.order(named).await?;
            }
        }
        if order.is_none() && events.is_empty() && notices.is_empty() {
            return Err(Problem::NotFound);
        }
        let balance = store.balance(id).await?;
        let money = match &balance {
            Some(balance) => Some(self.money(id, balance, order.as_ref()).await?),
            None => None,
        };
        let verdict = verdict(id, &events, &notices, order.as_ref(), balance.as_ref(), now);
        let line = time_line(&events, &notices, order.as_ref(), now);
        let order = order.map(|order| {
            let open = matches!(
                order.status,
                Status::Pending | Status::Failed | Status::Reserved
            );
            context! {
                id => order.id,
                status => order.status.as_str(),
                total => money::price(order.total),
                shipments => order.shipments.len(),
                paid_by => order.payment_intent,
                open,
                reserved => order.status == Status::Reserved,
            }
        });
        let dashboard = (!self.inner.sandbox).then(|| {
            // Cookies are secure where real money is taken.
            let test = if self.inner.secure_cookies {
                ""
            } else {
                "test/"
            };
            format!("https://dashboard.stripe.com/{test}payments/{id}")
        });
        self.render(
            status,
            "payment.html",
            &Cart::default(),
            context! { csrf, message, id, verdict, order, line, dashboard, money },
        )
    }

    /// The state of a payment's money, and the actions that are possible.
    async fn money(
        &self,
        payment: &str,
        balance: &Balance,
        order: Option<&Order>,
    ) -> Result<Value, Problem> {
        let (charged, left, reserved) = (balance.charged(), balance.left(), balance.reserved());
        let until = match order {
            Some(order) if !reserved.is_zero() => {
                let reserved = Reserved {
                    order: order.id.clone(),
                    payment: payment.to_owned(),
                    total: order.total,
                    until: order.capture_before,
                };
                moving::capture_before(&self.inner.checkout, &self.inner.store, &reserved).await?
            }
            _ => None,
        };
        let refunds = balance.refunds.iter().map(|refund| {
            let (look, state) = refund_state(&refund.status);
            context! {
                id => &refund.id,
                amount => money::price(refund.amount),
                look, state,
                why => refund.reason.as_deref().map(spaced),
                failure => refund.failure_reason.as_deref().map(spaced),
                when => (refund.created > 0).then(|| utc(refund.created)),
            }
        });
        // The requests that no event has confirmed yet, or never will.
        let asked = balance.requests.iter().filter(|request| {
            request.progress != Progress::Done
                || balance.on_the_way().any(|open| open.id == request.id)
        });
        let asked = asked.map(|request| {
            context! {
                id => &request.id,
                what => if request.wish == Wish::Refund { "refund" } else { "capture" },
                amount => money::price(request.amount),
                typed => request.amount.to_major(),
                reason => &request.reason,
                state => match request.progress {
                    Progress::Asked => "asked",
                    Progress::Done => "done",
                    Progress::Refused => "refused",
                },
                answer => (request.progress == Progress::Refused).then_some(&request.answer),
                when => utc(request.created),
            }
        });
        let disputes = balance.disputes.iter().map(dispute_shown);
        let entries = balance.entries.iter().map(|entry| {
            context! {
                title => entry.kind.title(),
                amount => money::price(entry.amount),
                detail => entry.detail.as_deref().map(spaced),
                when => utc(entry.created),
            }
        });
        let (refunds, asked, disputes, entries): (Vec<_>, Vec<_>, Vec<_>, Vec<_>) = (
            refunds.collect(),
            asked.collect(),
            disputes.collect(),
            entries.collect(),
        );
        // Each page has new forms with a new reference. A form that is sent from another page is
        // another operation.
        let reference = random::token()?;
        let capture_asked = balance
            .requests
            .iter()
            .any(|request| request.wish == Wish::Capture && request.progress != Progress::Refused);
        Ok(context! {
            reference,
            currency => balance.currency.code().to_uppercase(),
            charged => (!charged.is_zero()).then(|| money::price(charged)),
            gone => (!balance.gone().is_zero()).then(|| money::price(balance.gone())),
            left => (!left.is_zero()).then(|| money::price(left)),
            left_typed => left.to_major(),
            reserved => (!reserved.is_zero()).then(|| money::price(reserved)),
            reserved_typed => reserved.to_major(),
            capturable => !reserved.is_zero() && !capture_asked,
            until => until.map(deadline),
            withheld => balance.is_withheld(),
            refunds, asked, disputes, entries,
        })
    }
}

/// The log-in.
impl Shop {
    fn log_in_form(&self, status: u16, message: Option<&str>) -> Answer {
        let form = || {
            let csrf = random::token()?;
            let answer = self.render(
                status,
                "login.html",
                &Cart::default(),
                context! { csrf => &csrf, message },
            )?;
            Ok(self.with_admin_cookie(answer, LOG_IN, &csrf, admin::SESSION))
        };
        self.page(form())
    }

    async fn open_session(&self) -> Result<Answer, Problem> {
        let (cookie, csrf) = (random::token()?, random::token()?);
        let id = self.inner.admin.session_id(&cookie);
        self.inner
            .store
            .open_session(id, csrf, admin::SESSION)
            .await?;
        let answer = Answer::see_other("/admin");
        let answer = self.with_admin_cookie(answer, SESSION, &cookie, admin::SESSION);
        Ok(self.with_admin_cookie(answer, LOG_IN, "", Duration::ZERO))
    }

    /// The token for the forms, if the visitor is logged in.
    async fn csrf(&self, visit: &Visit) -> Result<Option<String>, Problem> {
        let cookie = visit.cookie(SESSION);
        if cookie.is_empty() {
            return Ok(None);
        }
        let id = self.inner.admin.session_id(cookie);
        Ok(self.inner.store.session(id).await?)
    }

    /// Checks that this is a form from the session's own page, and returns the session's token.
    pub(crate) async fn authorised(&self, visit: &Visit) -> Result<String, Answer> {
        let csrf = match self.csrf(visit).await {
            Ok(Some(csrf)) => csrf,
            Ok(None) => return Err(Answer::see_other("/admin/login")),
            Err(problem) => return Err(self.problem(problem)),
        };
        if visit.is_cross_site() || !admin::same(field(&visit.form(), "csrf"), &csrf) {
            return Err(self.problem(Problem::ForgedForm));
        }
        Ok(csrf)
    }

    fn with_admin_cookie(
        &self,
        answer: Answer,
        name: &'static str,
        value: &str,
        lifetime: Duration,
    ) -> Answer {
        let secure = self.inner.secure_cookies;
        answer.with_cookie(&Cookie {
            name,
            value,
            path: "/admin",
            seconds: lifetime.as_secs(),
            strict: true,
            secure,
        })
    }
}

/// One sentence about the action that this payment needs, and how urgent it looks.
fn verdict(
    payment: &str,
    events: &[EventRecord],
    notices: &[Notice],
    order: Option<&Order>,
    balance: Option<&Balance>,
    now: SystemTime,
) -> Value {
    let unanswered = balance.is_some_and(|balance| {
        let asked = |request: &Request| request.progress == Progress::Asked;
        balance.requests.iter().any(asked)
    });
    let dispute = balance.and_then(Balance::open_dispute);
    let given_back =
        balance.is_some_and(|balance| !balance.charged().is_zero() && balance.left().is_zero());
    let any = |state| events.iter().any(|event| event.state == state);
    let failing = events
        .iter()
        .find(|event| event.state == EventState::Pending && event.last_error.is_some());
    let paid_by_this = order.is_some_and(|order| order.payment_intent.as_deref() == Some(payment));
    let (look, text) = if any(EventState::Dead) {
        (
            "bad",
            "The shop could not do what an event asks for, however often it tried, and does not try any more. Mend what the error below says; then replay the event."
                .to_owned(),
        )
    } else if any(EventState::Mismatch) {
        (
            "bad",
            "The money does not fit the order, so nothing was shipped. Compare both. Mend the order and replay the event, or drop the event and give the money back."
                .to_owned(),
        )
    } else if let Some(event) = failing {
        (
            "wait",
            format!(
                "The shop could not do what an event asks for. It tries again by itself, next {}.",
                due(event, now)
            ),
        )
    } else if any(EventState::Pending) {
        ("wait", "An event waits for its turn.".to_owned())
    } else if let Some(dispute) = dispute {
        let text = match dispute.due_by.filter(|_| is_answerable(dispute)) {
            Some(due_by) if dispute.status == DisputeStatus::WarningNeedsResponse => format!(
                "The buyer\u{2019}s bank asks about it, and has taken nothing yet. Answer at Stripe until {}, or give the money back; else it may become a dispute.",
                deadline(due_by)
            ),
            Some(due_by) => format!(
                "The buyer\u{2019}s bank disputes it. Answer with evidence at Stripe until {}; else the money is gone.",
                deadline(due_by)
            ),
            None => "The buyer\u{2019}s bank disputes it, and has not decided.".to_owned(),
        };
        ("bad", text)
    } else if unanswered {
        (
            "bad",
            "Money was asked for, and Stripe has not answered. Ask again below: it moves once, however often you ask."
                .to_owned(),
        )
    } else if notices
        .iter()
        .any(|notice| notice.kind == "duplicate payment")
    {
        if given_back {
            (
                "good",
                "The order was paid before by another payment. This one went back, or is on its way."
                    .to_owned(),
            )
        } else {
            (
                "bad",
                "The order was paid before by another payment. Nothing was shipped for this one: give the money back."
                    .to_owned(),
            )
        }
    } else if let (true, Some(order)) = (paid_by_this, order) {
        match order.status {
            Status::Paid => (
                "good",
                "Paid, and the shipment is written. Nothing is to be done.".to_owned(),
            ),
            Status::Refunded => ("good", "Paid, and given back in full.".to_owned()),
            Status::Reserved => (
                "wait",
                "Reserved, not charged, and nothing is shipped. When everything is ready, take the money; or call the order off."
                    .to_owned(),
            ),
            Status::Processing => (
                "wait",
                "The buyer has done their part, and the bank takes its time: a debit takes days. Nothing is shipped before it says yes."
                    .to_owned(),
            ),
            Status::Canceled => ("good", "Called off. Nothing was charged.".to_owned()),
            Status::Failed => (
                "wait",
                "The last attempt failed. The buyer can try again."
                    .to_owned(),
            ),
            Status::Review => (
                "bad",
                "Somebody has to look at this order before it is shipped.".to_owned(),
            ),
            _ => ("wait", "Not paid yet.".to_owned()),
        }
    } else {
        ("wait", "Nothing is to be done.".to_owned())
    };
    context! { look, text }
}

/// The whole history, the oldest first: the shop's own records, Stripe's events and their results.
fn time_line(
    events: &[EventRecord],
    notices: &[Notice],
    order: Option<&Order>,
    now: SystemTime,
) -> Vec<Value> {
    let mut line: Vec<(i64, Value)> = Vec::new();
    let own = |at: i64, title: String, detail: Option<&str>| {
        (at, context! { when => utc(at), title, detail })
    };
    if let Some(order) = order {
        line.push(own(order.created, "Order made".to_owned(), None));
    }
    // Both lists have the newest first.
    for event in events.iter().rev() {
        let at = seconds(event.received);
        line.push((at, context! { when => utc(at), ..shown(event, now) }));
    }
    for notice in notices.iter().rev() {
        let title = format!("Noted: {}", notice.kind);
        line.push(own(notice.created, title, Some(&notice.detail)));
    }
    for shipment in order.map_or(&[][..], |order| &order.shipments) {
        let title = format!("Parcel no. {} written", shipment.id);
        line.push(own(shipment.created, title, None));
    }
    // The sort is stable: within a second, the cause stays before its effect.
    line.sort_by_key(|(at, _)| *at);
    line.into_iter().map(|(_, entry)| entry).collect()
}

fn shown(event: &EventRecord, now: SystemTime) -> Value {
    let due = (event.state == EventState::Pending).then(|| due(event, now));
    let age = now.duration_since(event.received).unwrap_or_default();
    context! {
        id => &event.id,
        event_type => &event.event_type,
        payment => &event.payment,
        order => event.order.as_ref().map(|order| &order.reference),
        state => event.state.as_str(),
        state_name => name(event.state),
        open => OPEN.contains(&event.state),
        ago => format!("{} ago", span(age)),
        attempts => event.attempts,
        error => &event.last_error,
        due,
    }
}

/// When the next attempt is due.
fn due(event: &EventRecord, now: SystemTime) -> String {
    match event.due.duration_since(now) {
        Ok(wait) if wait.as_secs() > 0 => format!("in {}", span(wait)),
        _ => "now".to_owned(),
    }
}

/// A deadline for the merchant, with the time that is left.
fn deadline(until: i64) -> String {
    let left = until.saturating_sub(now());
    let when = utc(until);
    let when = when.get(..16).unwrap_or(&when);
    match u64::try_from(left) {
        Ok(left) if left > 0 => format!("{when} UTC, in {}", span(Duration::from_secs(left))),
        _ => format!("{when} UTC, which is over"),
    }
}

/// The look of a refund's status, and its text.
fn refund_state(status: &RefundStatus) -> (&'static str, &'static str) {
    match status {
        RefundStatus::Pending => ("processing", "on its way"),
        RefundStatus::RequiresAction => ("processing", "waits for the buyer"),
        RefundStatus::Succeeded => ("paid", "went back"),
        RefundStatus::Failed => ("failed", "failed"),
        RefundStatus::Canceled => ("failed", "given up"),
        _ => ("processing", "unknown"),
    }
}

fn dispute_shown(dispute: &OrderDispute) -> Value {
    use DisputeStatus::{
        ChargeRefunded, Lost, NeedsResponse, Prevented, UnderReview, WarningClosed,
        WarningNeedsResponse, WarningUnderReview, Won,
    };
    let (look, state, text) = match dispute.status {
        WarningNeedsResponse => (
            "review",
            "asked about",
            "The bank asks about the payment. No money was taken yet: answer it at Stripe.",
        ),
        WarningUnderReview => ("review", "asked about", "The bank looks at your answer."),
        NeedsResponse => (
            "failed",
            "needs an answer",
            "The bank took the money. With evidence, handed in at Stripe, it may come back.",
        ),
        UnderReview => ("review", "under review", "The bank looks at your evidence."),
        Won => ("paid", "won", "The money is yours again."),
        Lost => ("failed", "lost", "The money is gone."),
        WarningClosed | Prevented => ("paid", "over", "It came to nothing."),
        ChargeRefunded => ("paid", "over", "The payment was refunded instead."),
        _ => ("review", "open", "Look at Stripe\u{2019}s Dashboard."),
    };
    context! {
        id => &dispute.id,
        amount => money::price(dispute.amount),
        why => dispute.reason.as_deref().map(spaced),
        due => dispute.due_by.filter(|_| is_answerable(dispute)).map(deadline),
        open => !dispute.status.is_closed(),
        look, state, text,
    }
}

/// Whether the merchant can submit evidence.
fn is_answerable(dispute: &OrderDispute) -> bool {
    matches!(
        dispute.status,
        DisputeStatus::NeedsResponse | DisputeStatus::WarningNeedsResponse
    )
}

/// One of Stripe's words, like `product_not_received`, in readable form.
fn spaced(word: &str) -> String {
    word.replace('_', " ")
}

/// The name of a state in a merchant's words.
fn name(state: EventState) -> &'static str {
    match state {
        EventState::Pending => "to be done",
        EventState::Done => "done",
        EventState::Superseded => "old news",
        EventState::Mismatch => "does not fit",
        EventState::Dead => "failed",
        EventState::Discarded => "discarded",
        _ => "unknown",
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().cast_signed()
}

/// A time for a person, like `2030-01-31 23:59:59`, in UTC.
fn utc(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second) = time.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02}", time.date())
}

fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(1_893_455_999), "2029-12-31 23:59:59");
        for (seconds, text) in [
            (59, "59 s"),
            (60, "1 min"),
            (7_199, "1 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
