//! A buyer's account: sign-up, log-in and log-out, saved cards and orders. Buying needs no account.
//!
//! It is the simplest honest solution: an e-mail address and a password. The shop does not check
//! that the address belongs to the buyer, so the address alone reveals nothing and gives no access.
//! An order belongs to an account because its buyer was logged in. In a shop of your own, use your
//! framework's log-in and keep the rest.

mod buyer;
mod device;
mod hashing;
mod lock;
mod one_click;
mod rows;

use std::time::Duration;

use minijinja::{Value, context};
use stripe_checkout_core::{
    ApiError, PaymentError,
    requests::{Customer, CustomerRequest},
    webhook::PaymentMethod,
};
use time::OffsetDateTime;

pub(crate) use self::{buyer::Buyers, lock::Lock, rows::Buyer};
use self::{
    buyer::{LIFETIME, SESSION, session_id},
    device::DEVICE,
    hashing::HashError,
};
use crate::{
    admin,
    answer::{Answer, Cookie},
    db, money,
    problem::Problem,
    random,
    shop::{Shop, cart_of},
    visit::{Visit, field},
};

const ENTRY: &str = "entry";
const HOUR: Duration = Duration::from_secs(60 * 60);
/// How long a page waits for Stripe to list the buyer's saved cards.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest password, in characters. A longer one is refused, not cut off.
const LONGEST: usize = 1000;

/// The purpose of the form on the log-in page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    LogIn,
    SignUp,
}

/// The routes of an account.
impl Shop {
    /// `GET /account`: the buyer's cards and orders.
    pub async fn account(&self, visit: &Visit) -> Answer {
        match self.inner.store.buyer_of(visit).await {
            Ok(Some(buyer)) => self.page(self.account_page(visit, &buyer).await),
            Ok(None) => Answer::see_other("/account/login"),
            Err(error) => self.problem(error.into()),
        }
    }

    /// `GET /account/login`.
    pub async fn enter_page(&self, visit: &Visit) -> Answer {
        self.door(visit, Entry::LogIn).await
    }

    /// `GET /account/new`.
    pub async fn sign_up_page(&self, visit: &Visit) -> Answer {
        self.door(visit, Entry::SignUp).await
    }

    /// `POST /account/login`.
    pub async fn enter(&self, visit: &Visit) -> Answer {
        let form = match self.entry_form(visit) {
            Ok(form) => form,
            Err(refused) => return refused,
        };
        if let Err(wait) = self.inner.lock.count_visit(visit.address()) {
            return self.problem_at(Problem::TooMany(wait), "/account/login", "Back");
        }
        self.page(self.log_buyer_in(visit, &form).await)
    }

    /// `POST /account/new`.
    pub async fn sign_up(&self, visit: &Visit) -> Answer {
        let form = match self.entry_form(visit) {
            Ok(form) => form,
            Err(refused) => return refused,
        };
        let email = normal(field(&form, "email"));
        let (lock, from) = (&self.inner.lock, visit.address());
        let counted = lock
            .count_visit(from)
            .and_then(|()| match account_of(&email) {
                Some(email) => lock.count_try(email, from, None),
                None => Ok(()),
            });
        if let Err(wait) = counted {
            return self.problem_at(Problem::TooMany(wait), "/account/new", "Back");
        }
        self.page(self.sign_buyer_up(visit, &form, email).await)
    }

    /// `POST /account/logout`.
    pub async fn leave(&self, visit: &Visit) -> Answer {
        if let Err(refused) = self.buyers_form(visit).await {
            return refused;
        }
        let session = session_id(visit.cookie(SESSION));
        if let Err(error) = self.inner.store.let_out(session).await {
            return self.problem(error.into());
        }
        self.with_buyers_cookie(Answer::see_other("/"), SESSION, "", Duration::ZERO)
    }

    /// `POST /account/cards/{id}/remove`: removes one of the buyer's own cards, and no other.
    pub async fn remove_card(&self, visit: &Visit, card: &str) -> Answer {
        let (buyer, _) = match self.buyers_form(visit).await {
            Ok(found) => found,
            Err(refused) => return refused,
        };
        let checkout = self.till_of(visit);
        let removed = async {
            let customer = checkout.customer(&buyer.customer()).await?;
            checkout.detach(&customer, card).await
        };
        match removed.await {
            Ok(_) => Answer::see_other("/account"),
            Err(PaymentError::NotTheirs) => {
                self.problem_at(Problem::UnknownCard, "/account", "Back to your account")
            }
            Err(error) => self.problem(unanswered(error)),
        }
    }
}

impl Shop {
    async fn door(&self, visit: &Visit, entry: Entry) -> Answer {
        match self.inner.store.buyer_of(visit).await {
            Ok(Some(_)) => Answer::see_other("/account"),
            Ok(None) => self.page(self.entry_page(visit, entry, 200, "", None)),
            Err(error) => self.problem(error.into()),
        }
    }

    fn entry_page(
        &self,
        visit: &Visit,
        entry: Entry,
        status: u16,
        email: &str,
        message: Option<&str>,
    ) -> Result<Answer, Problem> {
        let csrf = random::token()?;
        let new = entry == Entry::SignUp;
        let shortest = lock::SHORTEST;
        let answer = self.render(
            status,
            "enter.html",
            &cart_of(visit),
            context! { csrf => &csrf, new, email, message, shortest },
        )?;
        Ok(self.with_buyers_cookie(answer, ENTRY, &csrf, HOUR))
    }

    /// The fields, if they are from our own form.
    ///
    /// No session exists yet that could hold a token. So the form and a cookie have to agree:
    /// another site can write neither of them.
    fn entry_form(&self, visit: &Visit) -> Result<Vec<(String, String)>, Answer> {
        let form = visit.form();
        if visit.is_cross_site() || !admin::same(field(&form, "csrf"), visit.cookie(ENTRY)) {
            return Err(self.problem_at(Problem::ForgedForm, "/account/login", "Back"));
        }
        Ok(form)
    }

    async fn log_buyer_in(
        &self,
        visit: &Visit,
        form: &[(String, String)],
    ) -> Result<Answer, Problem> {
        let (email, lock) = (normal(field(form, "email")), &self.inner.lock);
        let (mut known, mut is_known_browser) = (None, false);
        if let Some(email) = account_of(&email) {
            known = self.inner.store.account(email.to_owned()).await?;
            let hash = known.as_ref().map(|(_, hash)| hash);
            let device = hash.and_then(|hash| device::known(visit.cookie(DEVICE), hash));
            is_known_browser = device.is_some();
            if let Err(wait) = lock.count_try(email, visit.address(), device) {
                return Ok(self.problem_at(Problem::TooMany(wait), "/account/login", "Back"));
            }
        }
        let hash = known.as_ref().map(|(_, hash)| hash.clone());
        let password = field(form, "password").to_owned();
        let opens = lock.opens(password, hash, is_known_browser).await?;
        match (known, opens) {
            (Some((account, hash)), true) => {
                lock.entered(&email, visit.address());
                self.let_buyer_in(account, &hash).await
            }
            _ => {
                // The message must not reveal which of the two is wrong.
                let message = "We know no account with this e-mail address and this password.";
                self.entry_page(visit, Entry::LogIn, 403, &email, Some(message))
            }
        }
    }

    async fn sign_buyer_up(
        &self,
        visit: &Visit,
        form: &[(String, String)],
        email: String,
    ) -> Result<Answer, Problem> {
        let refuse =
            |status, message| self.entry_page(visit, Entry::SignUp, status, &email, Some(message));
        if account_of(&email).is_none() {
            return refuse(422, "That is not an e-mail address.");
        }
        let password = field(form, "password");
        let length = password.chars().count();
        if length < lock::SHORTEST {
            return refuse(422, "Take a longer password: ten characters or more.");
        }
        if length > LONGEST {
            return refuse(422, "Take a shorter password.");
        }
        let hash = self.inner.lock.hash(password.to_owned()).await?;
        let store = &self.inner.store;
        match store.create_account(email.clone(), hash.clone()).await? {
            Some(account) => {
                self.inner.lock.entered(&email, visit.address());
                self.let_buyer_in(account, &hash).await
            }
            None => refuse(
                409,
                "There is an account with this e-mail address already. Is it yours? Then log in.",
            ),
        }
    }

    async fn let_buyer_in(&self, account: String, hash: &str) -> Result<Answer, Problem> {
        let (cookie, csrf) = (random::token()?, random::token()?);
        let id = session_id(&cookie);
        self.inner.store.let_in(id, account, csrf, LIFETIME).await?;
        let answer = Answer::see_other("/account");
        let answer = self.with_buyers_cookie(answer, SESSION, &cookie, LIFETIME);
        let device = device::cookie(&random::token()?, hash);
        let answer = self.with_buyers_cookie(answer, DEVICE, &device, device::LIFETIME);
        Ok(self.with_buyers_cookie(answer, ENTRY, "", Duration::ZERO))
    }

    /// The buyer and the form's fields, if the form is from the buyer's own page.
    async fn buyers_form(&self, visit: &Visit) -> Result<(Buyer, Vec<(String, String)>), Answer> {
        let buyer = match self.inner.store.buyer_of(visit).await {
            Ok(Some(buyer)) => buyer,
            Ok(None) => return Err(Answer::see_other("/account/login")),
            Err(error) => return Err(self.problem(error.into())),
        };
        let form = visit.form();
        if visit.is_cross_site() || !admin::same(field(&form, "csrf"), &buyer.csrf) {
            return Err(self.problem_at(Problem::ForgedForm, "/account", "Back to your account"));
        }
        Ok((buyer, form))
    }

    async fn account_page(&self, visit: &Visit, buyer: &Buyer) -> Result<Answer, Problem> {
        let orders = self.inner.store.orders_of(&buyer.account, 100).await?;
        let orders: Vec<Value> = orders
            .into_iter()
            .map(|order| {
                context! {
                    id => order.id,
                    status => order.status.as_str(),
                    total => money::price(order.total),
                    day => day(order.created),
                }
            })
            .collect();
        // The rest of the page does not need Stripe.
        let cards = self.cards_of(visit, buyer).await.map(|(_, methods)| {
            let cards: Vec<Value> = methods.iter().map(shown).collect();
            cards
        });
        self.render(
            200,
            "account.html",
            &cart_of(visit),
            context! { email => &buyer.email, csrf => &buyer.csrf, cards, orders },
        )
    }

    /// The buyer as Stripe's customer, and their saved cards. `None` if Stripe does not answer
    /// soon.
    async fn cards_of(
        &self,
        visit: &Visit,
        buyer: &Buyer,
    ) -> Option<(Customer, Vec<PaymentMethod>)> {
        let checkout = self.till_of(visit);
        let ask = async {
            let customer = checkout.customer(&buyer.customer()).await?;
            let methods = checkout.payment_methods(&customer).await?;
            Ok::<_, PaymentError>((customer, methods))
        };
        match tokio::time::timeout(PATIENCE, ask).await {
            Ok(Ok(found)) => Some(found),
            // This visitor causes too many calls.
            Ok(Err(PaymentError::Api(ApiError::TooManyCalls { .. }))) => None,
            Ok(Err(error)) => {
                tracing::error!(error = %crate::causes(&error), "saved cards cannot be shown");
                None
            }
            Err(_) => {
                tracing::error!("saved cards cannot be shown: no answer in time");
                None
            }
        }
    }

    fn with_buyers_cookie(
        &self,
        answer: Answer,
        name: &'static str,
        value: &str,
        lifetime: Duration,
    ) -> Answer {
        // Not strict: a buyer who returns from the bank's page, or from Stripe's, is still logged
        // in.
        answer.with_cookie(&Cookie {
            name,
            value,
            path: "/",
            seconds: lifetime.as_secs(),
            strict: false,
            secure: self.inner.secure_cookies,
        })
    }
}

/// The address, if an account may have it: Stripe has to accept it for a customer.
fn account_of(email: &str) -> Option<&str> {
    let request = CustomerRequest::new("new").email(email);
    let is_one = !email.is_empty() && !email.contains(char::is_control);
    (is_one && request.validate().is_ok()).then_some(email)
}

/// The stored form of an address: one account for each address, however the buyer types it.
fn normal(email: &str) -> String {
    email.trim().to_lowercase()
}

/// The problem to show if Stripe did not answer.
fn unanswered(error: PaymentError) -> Problem {
    match error {
        PaymentError::Api(ApiError::TooManyCalls { retry_after }) => Problem::TooMany(retry_after),
        error => Problem::Unavailable(error.into()),
    }
}

impl From<HashError> for Problem {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy => Self::Busy,
            error => Self::Unavailable(error.into()),
        }
    }
}

/// The part of a payment method that a page may show.
fn shown(method: &PaymentMethod) -> Value {
    let id = method.id();
    match method.card() {
        Some(card) => {
            let expires = format!("{:02} / {:02}", card.exp_month(), card.exp_year() % 100);
            context! { id, name => named(method), expires, expired => is_over(card.exp_year(), card.exp_month()) }
        }
        None => {
            context! { id, name => named(method), expires => Value::UNDEFINED, expired => false }
        }
    }
}

/// The name that a buyer knows: `Visa •••• 4242`.
fn named(method: &PaymentMethod) -> String {
    let title = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(char::to_uppercase);
        let words: String = first.into_iter().flatten().chain(letters).collect();
        words.replace('_', " ")
    };
    match method.card() {
        Some(card) => format!("{} •••• {}", title(card.brand()), card.last4()),
        None => title(method.kind()),
    }
}

/// Whether a card's last month has passed, by the calendar of UTC.
///
/// Elsewhere it may still be the day before, so the bank has the last word.
fn is_over(year: u16, month: u8) -> bool {
    OffsetDateTime::from_unix_timestamp(db::now())
        .is_ok_and(|today| (i32::from(year), month) < (today.year(), u8::from(today.month())))
}

fn day(created: i64) -> String {
    OffsetDateTime::from_unix_timestamp(created)
        .map(|time| time.date().to_string())
        .unwrap_or_default()
}
