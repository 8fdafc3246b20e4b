//! Money that the admin moves: refunds, captures and canceled orders.

use std::time::Duration;

use stripe_checkout_core::{
    Amount, AmountError, ApiError, Checkout, OrderCancellation, PaymentError, RequestError,
    requests::{CaptureRequest, RefundReason, RefundRequest},
};

use crate::{
    answer::Answer,
    balance::Balance,
    db::{now, on},
    money::price,
    order::{Status, short},
    problem::Problem,
    random,
    request::{Progress, Request, Wish},
    shop::Shop,
    store::{self, Store, StoreError},
    typed,
    visit::{Visit, field},
};

/// How long a page waits for Stripe's answer about the capture deadline of authorised money.
const PATIENCE: Duration = Duration::from_secs(4);

/// Why nothing was moved, or why the result is not known.
enum Stop {
    /// A sentence for the page, with the HTTP status.
    Said(u16, String),
    Problem(Problem),
}

impl<E: Into<Problem>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

fn said<T>(status: u16, sentence: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Said(status, sentence.into()))
}

/// The routes.
impl Shop {
    /// `POST /admin/payments/{id}/refund` with `reference`, `amount` and `reason`: refunds money.
    ///
    /// It refunds once for each reference.
    pub async fn refund(&self, visit: &Visit, payment: &str) -> Answer {
        self.move_money(visit, payment, Wish::Refund).await
    }

    /// `POST /admin/payments/{id}/capture` with `reference` and `amount`: captures a payment.
    ///
    /// It captures the authorised money, or a part of it, once.
    pub async fn capture(&self, visit: &Visit, payment: &str) -> Answer {
        self.move_money(visit, payment, Wish::Capture).await
    }

    /// `POST /admin/orders/{id}/call-off`: cancels an order.
    ///
    /// The order can no longer be paid, and Stripe releases the money that is authorised for it.
    pub async fn call_off(&self, visit: &Visit, order: &str) -> Answer {
        let csrf = match self.authorised(visit).await {
            Ok(csrf) => csrf,
            Err(refused) => return refused,
        };
        let form = visit.form();
        let payment = field(&form, "payment");
        match self.give_up(order).await {
            Ok(Some(payment)) => Answer::see_other(format!("/admin/payments/{payment}")),
            Ok(None) => Answer::see_other("/admin"),
            Err(Stop::Said(status, sentence)) if payment.is_empty() => {
                self.page(self.admin_page(&csrf, status, Some(sentence)).await)
            }
            Err(Stop::Said(status, sentence)) => self.page(
                self.payment_page(&csrf, payment, status, Some(sentence))
                    .await,
            ),
            Err(Stop::Problem(problem)) => self.problem(problem),
        }
    }

    async fn move_money(&self, visit: &Visit, payment: &str, wish: Wish) -> Answer {
        let csrf = match self.authorised(visit).await {
            Ok(csrf) => csrf,
            Err(refused) => return refused,
        };
        match self.ask(payment, wish, &visit.form()).await {
            Ok(()) => Answer::see_other(format!("/admin/payments/{payment}")),
            Err(Stop::Said(status, sentence)) => self.page(
                self.payment_page(&csrf, payment, status, Some(sentence))
                    .await,
            ),
            Err(Stop::Problem(problem)) => self.problem(problem),
        }
    }
}

/// The work behind the routes.
impl Shop {
    /// Writes the row first, then asks Stripe.
    async fn ask(&self, payment: &str, wish: Wish, form: &[(String, String)]) -> Result<(), Stop> {
        let store = &self.inner.store;
        let balance = store.balance(payment).await?.ok_or(Problem::NotFound)?;
        let reference = field(form, "reference");
        if !random::is_token(reference) {
            return Err(Problem::ForgedForm.into());
        }
        let amount = match typed::read(field(form, "amount"), balance.currency) {
            Ok(amount) => amount,
            Err(error) => return said(422, error.to_string()),
        };
        let reason = field(form, "reason");
        let request = Request {
            id: reference.to_owned(),
            wish,
            order: balance.order.clone(),
            payment: payment.to_owned(),
            amount,
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            progress: Progress::Asked,
            answer: None,
            created: now(),
        };
        if reason_of(&request).is_err() {
            return said(422, "Choose one of the reasons in the list.");
        }
        // A stored request was checked before. It comes a second time if the form was sent twice,
        // or if the merchant asks again because no answer arrived.
        let stored = match store.request(reference).await? {
            Some(stored) => stored,
            None => {
                possible(&balance, &request)?;
                match store.ask(request.clone()).await? {
                    Some(stored) => stored,
                    None => {
                        return said(
                            409,
                            "This money was asked for before. See below what became of that.",
                        );
                    }
                }
            }
        };
        if !stored.is_same(&request) {
            return said(
                409,
                "This form was sent before, with something else in it. See below what became of that; the form is a new one now.",
            );
        }
        match (stored.progress, stored.answer) {
            (Progress::Done, _) => return Ok(()),
            (Progress::Refused, answer) => {
                return said(409, answer.unwrap_or_else(|| "It was refused.".to_owned()));
            }
            (Progress::Asked, _) => {}
        }
        self.carry_out(&request, &balance).await
    }

    /// Asks Stripe, and records the answer.
    async fn carry_out(&self, request: &Request, balance: &Balance) -> Result<(), Stop> {
        let (store, checkout) = (&self.inner.store, &self.inner.checkout);
        let answered = match request.wish {
            Wish::Refund => {
                let mut wish =
                    RefundRequest::new(&request.id, &request.payment).amount(request.amount);
                if let Ok(Some(reason)) = reason_of(request) {
                    wish = wish.reason(reason);
                }
                let made = checkout.refund(&wish).await;
                made.map(|refund| refund.id().to_owned())
            }
            Wish::Capture => {
                let wish =
                    CaptureRequest::new(&request.id, &request.payment).amount(request.amount);
                let taken = checkout.capture(&wish).await;
                taken.map(|payment| payment.id().to_owned())
            }
        };
        match answered {
            Ok(id) => {
                store.answered(&request.id, Progress::Done, &id).await?;
                tracing::info!(
                    order = short(&request.order),
                    payment = request.payment,
                    wish = ?request.wish,
                    amount = %request.amount,
                    "money was moved from the back room"
                );
                Ok(())
            }
            Err(error) => {
                tracing::warn!(
                    payment = request.payment,
                    wish = ?request.wish,
                    error = %crate::causes(&error),
                    "money was not moved"
                );
                let sentence = sentence(&error, request, balance);
                if is_final(&error) {
                    store
                        .answered(&request.id, Progress::Refused, &sentence)
                        .await?;
                    said(409, sentence)
                } else {
                    said(503, sentence)
                }
            }
        }
    }

    /// Cancels an order. Returns its payment, if it has one: that payment's page shows more.
    async fn give_up(&self, id: &str) -> Result<Option<String>, Stop> {
        let store = &self.inner.store;
        let order = store.order(id).await?.ok_or(Problem::NotFound)?;
        match order.status {
            Status::Paid | Status::Refunded | Status::Review => {
                return said(
                    409,
                    "This order is paid. Give its money back instead of calling it off.",
                );
            }
            Status::Canceled => return Ok(order.payment_intent),
            Status::Pending | Status::Processing | Status::Failed | Status::Reserved => {}
        }
        match self.inner.checkout.cancel_order(id).await {
            // Stripe also sends an event when a payment is canceled.
            Ok(OrderCancellation::Canceled(_) | OrderCancellation::NothingOpen) => {
                store.called_off(id).await?;
                tracing::info!(order = short(id), "order called off");
                Ok(order.payment_intent)
            }
            Ok(OrderCancellation::Paid(_)) => said(
                409,
                "Somebody paid this order a moment ago. Give the money back instead of calling it off.",
            ),
            Ok(OrderCancellation::Processing(_)) => said(
                409,
                "A bank is debiting the buyer for this order, and that cannot be stopped. If it fails, call the order off then. If it arrives, refund it.",
            ),
            Ok(_) | Err(PaymentError::InFlight) => said(
                409,
                "Somebody is paying at this moment. Try again in a minute.",
            ),
            Err(PaymentError::Inbox(error)) => Err(error.into()),
            Err(error) => {
                tracing::warn!(order = short(id), error = %crate::causes(&error), "an order could not be called off");
                said(
                    503,
                    "Stripe did not answer. No new payment of this order can begin, but an open one may still be there: call it off once more.",
                )
            }
        }
    }
}

/// Until when the authorised money of an order can be captured, in seconds since 1970, UTC.
///
/// This reads the stored time. If there is none, it asks Stripe and stores the answer. `None` if
/// the time is not known.
pub(crate) async fn capture_before(
    checkout: &Checkout,
    store: &Store,
    reserved: &Reserved,
) -> Result<Option<i64>, StoreError> {
    let known = |until: i64| Some(until).filter(|until| *until > 0);
    if let Some(until) = reserved.until {
        return Ok(known(until));
    }
    let totals = checkout.totals(&reserved.payment);
    let Ok(Ok(totals)) = tokio::time::timeout(PATIENCE, totals).await else {
        return Ok(None);
    };
    if totals.capturable.is_zero() {
        return Ok(None);
    }
    // Not every payment method has such a time. The stored 0 keeps the shop from asking again.
    let until = totals.capture_before.unwrap_or(0);
    store.reserved_until(&reserved.order, until).await?;
    Ok(known(until))
}

/// An order whose money is authorised.
#[derive(Debug, Clone)]
pub(crate) struct Reserved {
    pub(crate) order: String,
    pub(crate) payment: String,
    pub(crate) total: Amount,
    /// Until when it can be captured, in seconds since 1970, UTC. 0 if Stripe does not say; `None`
    /// if the shop has not asked.
    pub(crate) until: Option<i64>,
}

/// Refuses impossible requests without asking Stripe, by numbers that the page also shows.
fn possible(balance: &Balance, request: &Request) -> Result<(), Stop> {
    match request.wish {
        Wish::Refund => {
            let (charged, left) = (balance.charged(), balance.left());
            if balance.is_withheld() {
                return said(409, DISPUTED);
            }
            if charged.is_zero() {
                return said(
                    409,
                    "Nothing was charged by this payment, so there is nothing to give back.",
                );
            }
            if left.is_zero() {
                return said(409, NOTHING_LEFT);
            }
            if request.amount.minor() > left.minor() {
                return said(
                    422,
                    format!(
                        "{} is more than is left: of {}, {} can still go back.",
                        price(request.amount),
                        price(charged),
                        price(left)
                    ),
                );
            }
        }
        Wish::Capture => {
            let reserved = balance.reserved();
            if reserved.is_zero() {
                return said(409, NOTHING_RESERVED);
            }
            if request.amount.minor() > reserved.minor() {
                return said(
                    422,
                    format!(
                        "{} is more than is reserved: {}.",
                        price(request.amount),
                        price(reserved)
                    ),
                );
            }
        }
    }
    Ok(())
}

const DISPUTED: &str = "The buyer\u{2019}s bank disputes this payment and has its money, so it cannot be given back a second time. What can be done about it is at Stripe.";
const NOTHING_LEFT: &str =
    "Nothing is left of this payment: all of it went back, or is on its way.";
const NOTHING_RESERVED: &str =
    "Nothing is reserved any more: it was taken, let go, or its time is over.";

/// The reason as Stripe knows it. An error if it is not one of Stripe's reasons.
fn reason_of(request: &Request) -> Result<Option<RefundReason>, ()> {
    Ok(match request.reason.as_deref() {
        None => None,
        Some("requested_by_customer") => Some(RefundReason::RequestedByCustomer),
        Some("duplicate") => Some(RefundReason::Duplicate),
        Some("fraudulent") => Some(RefundReason::Fraudulent),
        Some(_) => return Err(()),
    })
}

/// Whether it is certain that nothing was moved, and never will be under this reference.
fn is_final(error: &PaymentError) -> bool {
    match error {
        PaymentError::Api(error) => matches!(
            error,
            ApiError::Declined { .. } | ApiError::InvalidRequest { .. }
        ),
        PaymentError::InFlight | PaymentError::Inbox(_) => false,
        _ => true,
    }
}

/// A sentence for the merchant about the failure.
fn sentence(error: &PaymentError, request: &Request, balance: &Balance) -> String {
    let unheard = |what: &str| {
        format!(
            "{what} Whether the money moved is not known yet. Ask again below: it moves once, however often you ask."
        )
    };
    match error {
        PaymentError::NothingLeft => NOTHING_LEFT.to_owned(),
        PaymentError::Disputed => DISPUTED.to_owned(),
        PaymentError::MoreThanLeft => match request.wish {
            Wish::Refund => format!(
                "Stripe says that less than {} is left of this payment: something went back that the shop has not heard of. Look at Stripe\u{2019}s Dashboard.",
                price(request.amount)
            ),
            Wish::Capture => format!(
                "Stripe says that less than {} is reserved.",
                price(request.amount)
            ),
        },
        PaymentError::WrongState => match request.wish {
            Wish::Refund => "Nothing was charged by this payment, so there is nothing to give back.".to_owned(),
            Wish::Capture => NOTHING_RESERVED.to_owned(),
        },
        PaymentError::Differs => {
            "This form was sent before, with something else in it. See below what became of that; the form is a new one now.".to_owned()
        }
        PaymentError::Request(RequestError::Amount(AmountError::CurrencyMismatch {
            right,
            ..
        })) => format!(
            "The payment is in {right}, and the shop asked for {}: nothing was moved.",
            balance.currency
        ),
        PaymentError::Api(ApiError::InvalidRequest {
            code: Some(code), ..
        }) if code == "resource_missing" => {
            "Stripe does not know this payment. Was it made with other keys?".to_owned()
        }
        PaymentError::Api(ApiError::InvalidRequest { code, .. }) => match code {
            Some(code) => format!("Stripe refused it: {code}."),
            None => "Stripe refused it.".to_owned(),
        },
        PaymentError::Api(ApiError::Authentication { .. } | ApiError::Permission { .. }) => {
            unheard("Stripe does not accept the shop\u{2019}s key for this.")
        }
        PaymentError::Api(ApiError::RateLimited { .. }) => {
            unheard("Stripe is asked too often at the moment.")
        }
        PaymentError::InFlight => unheard("The same is being asked at this moment."),
        PaymentError::Inbox(_) => unheard("The shop\u{2019}s database did not answer."),
        PaymentError::Api(_) => unheard("Stripe did not answer."),
        PaymentError::Request(error) => format!("This cannot be asked for: {error}."),
        _ => "This cannot be done.".to_owned(),
    }
}

impl Store {
    /// Marks an order as canceled: it can no longer be paid.
    pub(crate) async fn called_off(&self, order: &str) -> Result<(), StoreError> {
        let (pool, order) = (self.pool().clone(), order.to_owned());
        self.to_the_end(async move {
            on!(
                pool,
                sqlx::query(
                    "UPDATE orders SET status = 'canceled', updated_at = $1
                     WHERE id = $2 AND status IN ('pending', 'processing', 'failed', 'reserved')",
                )
                .bind(now())
                .bind(&order)
                .execute(pool)
                .await
                .map(drop)
            )?;
            Ok(())
        })
        .await
    }

    /// The orders whose money is authorised, the oldest first; 1,000 at most.
    pub(crate) async fn reserved(&self) -> Result<Vec<Reserved>, StoreError> {
        type Row = (String, String, i64, String, Option<i64>);
        let pool = self.pool().clone();
        self.to_the_end(async move {
            let rows: Vec<Row> = on!(
                pool,
                sqlx::query_as(
                    "SELECT id, payment_intent, amount, currency, capture_before FROM orders
                     WHERE status = 'reserved' AND payment_intent IS NOT NULL ORDER BY created_at, rowid LIMIT 1000",
                )
                .fetch_all(pool)
                .await?
            );
            rows.into_iter()
                .map(|(order, payment, minor, currency, until)| {
                    Ok(Reserved {
                        order,
                        payment,
                        total: store::amount(minor, &currency)?,
                        until,
                    })
                })
                .collect()
        })
        .await
    }

    /// Stores until when Stripe says the money can be captured; 0 if Stripe does not say.
    async fn reserved_until(&self, order: &str, until: i64) -> Result<(), StoreError> {
        let (pool, order) = (self.pool().clone(), order.to_owned());
        self.to_the_end(async move {
            on!(
                pool,
                sqlx::query("UPDATE orders SET capture_before = $1 WHERE id = $2")
                    .bind(until)
                    .bind(&order)
                    .execute(pool)
                    .await
                    .map(drop)
            )?;
            Ok(())
        })
        .await
    }
}
