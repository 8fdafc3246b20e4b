//! The shop: one method for each route, from plain values to a plain answer. What a framework adds is only how both are carried.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use minijinja::{Value, context};
use serde::Deserialize;
use serde_json::json;
use stripe_checkout_core::{
    Checkout, InboxError,
    fulfillment::{EventFilter, EventRecord, EventState},
};
use time::OffsetDateTime;

use crate::{
    admin::{self, Admin, LogInError},
    answer::{Answer, Cookie},
    cart::{self, Cart, CartForm, Item, MAX_QUANTITY},
    catalogue::{self, PRODUCTS},
    money,
    order::Order,
    pages::{self, Pages},
    problem::Problem,
    random,
    store::Store,
    visit::Visit,
};

const CART: &str = "cart";
const LAST_ORDER: &str = "order";
const SESSION: &str = "admin";
const LOG_IN: &str = "login";
const MONTH: u64 = 30 * 24 * 60 * 60;

/// The shop. Cheap to clone; clones are one and the same.
#[derive(Debug, Clone)]
pub struct Shop {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    checkout: Checkout,
    admin: Admin,
    pages: Pages,
    secure_cookies: bool,
}

/// What a shop is made of.
#[derive(Debug)]
pub struct Parts {
    /// Its orders.
    pub store: Store,
    /// Its till, whose events the admin sees.
    pub checkout: Checkout,
    /// The lock of the back room.
    pub admin: Admin,
    /// Whether every page says that nothing costs money here.
    pub sandbox: bool,
    /// Whether cookies travel over HTTPS only: true wherever real money is taken, as Stripe.js itself demands HTTPS there.
    pub secure_cookies: bool,
}

/// The routes for buyers.
impl Shop {
    /// Opens the shop.
    ///
    /// # Errors
    /// [`minijinja::Error`] if a template does not compile.
    pub fn new(parts: Parts) -> Result<Self, minijinja::Error> {
        let Parts {
            store,
            checkout,
            admin,
            sandbox,
            secure_cookies,
        } = parts;
        let pages = Pages::new(sandbox)?;
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                checkout,
                admin,
                pages,
                secure_cookies,
            }),
        })
    }

    /// The till, whose routes stand beside the shop's.
    pub fn checkout(&self) -> &Checkout {
        &self.inner.checkout
    }

    /// `GET /`: what there is to buy.
    pub fn home(&self, visit: &Visit) -> Answer {
        let products: Vec<Value> = PRODUCTS
            .iter()
            .map(|product| {
                let price = money::price(product.price);
                context! { sku => product.sku, name => product.name, about => product.about, price }
            })
            .collect();
        self.page(self.render(200, "home.html", &cart_of(visit), context! { products }))
    }

    /// `GET /cart`.
    pub fn cart(&self, visit: &Visit) -> Answer {
        let cart = cart_of(visit);
        let page = || {
            let lines = cart.lines()?;
            let total = money::price(cart::total(&lines)?);
            let lines: Vec<Value> = lines
                .iter()
                .map(|line| {
                    let product = line.product;
                    let (unit, amount) = (money::price(product.price), money::price(line.amount));
                    context! { sku => product.sku, name => product.name, quantity => line.quantity, unit, amount }
                })
                .collect();
            self.render(
                200,
                "cart.html",
                &cart,
                context! { lines, total, max_quantity => MAX_QUANTITY },
            )
        };
        self.page(page())
    }

    /// `POST /cart`: adds, changes or removes, and shows the cart.
    pub fn change_cart(&self, visit: &Visit) -> Answer {
        if visit.is_cross_site() {
            return self.problem(Problem::CrossSite);
        }
        let cart = CartForm::from_fields(&visit.form()).apply(cart_of(visit));
        self.with_cart(Answer::see_other("/cart"), &cart)
    }

    /// `POST /orders`: makes an order of the cart as the buyer sees it, and goes on to the till.
    pub async fn place_order(&self, visit: &Visit) -> Answer {
        if visit.is_cross_site() {
            return self.problem(Problem::CrossSite);
        }
        // The form has the quantities that the buyer sees; the cookie may have been changed in another tab.
        let cart = CartForm::from_fields(&visit.form()).apply(cart_of(visit));
        if cart.is_empty() {
            return Answer::see_other("/cart");
        }
        match self.inner.store.create_order(&cart).await {
            Ok(id) => {
                let answer =
                    self.with_cart(Answer::see_other(format!("/checkout?order={id}")), &cart);
                self.with_cookie(answer, LAST_ORDER, &id, MONTH)
            }
            Err(error) => self.problem(error.into()),
        }
    }

    /// `GET /orders/{id}`: where the order stands.
    pub async fn order(&self, visit: &Visit, id: &str) -> Answer {
        let order = match self.find(id).await {
            Ok(order) => order,
            Err(problem) => return self.problem(problem),
        };
        let mut cart = cart_of(visit);
        // What was paid is no longer to be bought. Only once, and only by whoever ordered: a bookmark must not empty a new cart.
        let bought = visit.cookie(LAST_ORDER) == order.id && order.status.is_bought();
        if bought {
            cart = Cart::default();
        }
        let mut answer = self.page(self.order_page(&cart, &order));
        if bought {
            answer = self.with_cart(answer, &cart);
            answer = self.with_cookie(answer, LAST_ORDER, "", 0);
        }
        answer
    }

    /// A page that says what is wrong; for adapters also what the framework itself finds wrong.
    pub fn problem(&self, problem: Problem) -> Answer {
        log(&problem);
        let (status, _, title, message) = problem.parts();
        let (back, back_text) = match problem {
            Problem::ForgedForm | Problem::TooMany(_) => ("/admin", "Back"),
            Problem::Cart(_) => ("/cart", "Back to the cart"),
            _ => ("/", "Back to the shop"),
        };
        let answer = match self.render(
            status,
            "problem.html",
            &Cart::default(),
            context! { title, message, back, back_text },
        ) {
            Ok(answer) => answer,
            Err(problem) => {
                log(&problem);
                api_problem(&problem)
            }
        };
        with_retry_after(answer, &problem)
    }

    /// `GET /pictures/{name}`: the drawings, and the crab.
    pub fn picture(&self, name: &str) -> Answer {
        let drawing = match name.strip_suffix(".svg") {
            Some("logo") => Some(pages::LOGO),
            Some(sku) => catalogue::product(sku).map(|product| product.picture),
            None => None,
        };
        match drawing {
            Some(drawing) => Answer::asset("image/svg+xml", drawing, false),
            None => self.problem(Problem::NotFound),
        }
    }

    /// `GET /static/{name}`: style and script, whose addresses change with what is in them.
    pub fn asset(&self, name: &str) -> Answer {
        match name {
            "shop.css" => Answer::asset("text/css; charset=utf-8", pages::CSS, true),
            "order.js" => Answer::asset("text/javascript; charset=utf-8", pages::ORDER_JS, true),
            _ => self.problem(Problem::NotFound),
        }
    }
}

/// The API. Amounts are in minor units.
impl Shop {
    /// `GET /api/products`: `[{"sku", "name", "price": {"amount", "currency"}}]`.
    pub fn api_products(&self) -> Answer {
        let products = PRODUCTS.iter().map(|product| {
            let price = json!({"amount": product.price.minor(), "currency": product.price.currency().code()});
            json!({"sku": product.sku, "name": product.name, "price": price})
        });
        Answer::json(200, &products.collect())
    }

    /// `POST /api/orders` with `{"items": [{"sku", "quantity"}]}`: 201 with `{"id", "checkout_url"}`.
    pub async fn api_create_order(&self, visit: &Visit) -> Answer {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct NewOrder {
            items: Vec<Item>,
        }
        let create = async {
            if visit.is_cross_site() {
                return Err(Problem::CrossSite);
            }
            if !visit.is_json() {
                return Err(Problem::NotJson);
            }
            let order: NewOrder =
                serde_json::from_slice(visit.body()).map_err(|_| Problem::Malformed)?;
            let id = self
                .inner
                .store
                .create_order(&Cart::from_items(&order.items)?)
                .await?;
            let body = json!({"id": id, "checkout_url": format!("/checkout?order={id}")});
            Ok(Answer::json(201, &body).with("location", format!("/api/orders/{id}")))
        };
        create
            .await
            .unwrap_or_else(|problem| self.api_problem(problem))
    }

    /// `GET /api/orders/{id}`: `{"id", "status", "amount", "currency", "payment_intent", "shipments": [{"id", "created"}]}`.
    pub async fn api_order(&self, id: &str) -> Answer {
        match self.find(id).await {
            Ok(order) => Answer::json(200, &order.to_json()),
            Err(problem) => self.api_problem(problem),
        }
    }

    /// What is wrong, as `{"error": "<sentence>", "code": "<snake_case>"}`.
    pub fn api_problem(&self, problem: Problem) -> Answer {
        log(&problem);
        api_problem(&problem)
    }
}

/// The back room.
impl Shop {
    /// `GET /admin`: orders, events, and what needs a look.
    pub async fn admin(&self, visit: &Visit) -> Answer {
        match self.csrf(visit) {
            Some(csrf) => self.page(self.admin_page(&csrf, 200, None).await),
            None => Answer::see_other("/admin/login"),
        }
    }

    /// `GET /admin/login`.
    pub fn log_in_page(&self, visit: &Visit) -> Answer {
        if self.csrf(visit).is_some() {
            return Answer::see_other("/admin");
        }
        self.log_in_form(200, None)
    }

    /// `POST /admin/login`.
    pub fn log_in(&self, visit: &Visit) -> Answer {
        let form = visit.form();
        // There is no session yet that could know a token, so the form and a cookie have to agree: another site can write neither of both.
        if visit.is_cross_site() || !admin::same(field(&form, "csrf"), visit.cookie(LOG_IN)) {
            return self.problem(Problem::ForgedForm);
        }
        match self
            .inner
            .admin
            .log_in(visit.peer(), field(&form, "password"), Instant::now())
        {
            Ok(session) => {
                let answer = self.with_admin_cookie(
                    Answer::see_other("/admin"),
                    SESSION,
                    &session,
                    admin::SESSION,
                );
                self.with_admin_cookie(answer, LOG_IN, "", Duration::ZERO)
            }
            Err(LogInError::Wrong) => self.log_in_form(403, Some("That is not the password.")),
            Err(LogInError::TooMany { retry_after }) => self.problem(Problem::TooMany(retry_after)),
            Err(LogInError::Random(error)) => self.problem(error.into()),
        }
    }

    /// `POST /admin/logout`.
    pub fn log_out(&self, visit: &Visit) -> Answer {
        if let Err(refused) = self.authorised(visit) {
            return refused;
        }
        self.inner.admin.log_out(visit.cookie(SESSION));
        self.with_admin_cookie(
            Answer::see_other("/admin/login"),
            SESSION,
            "",
            Duration::ZERO,
        )
    }

    /// `POST /admin/events/{id}/replay`: runs the hook of an event again that failed for good or did not fit.
    pub async fn replay(&self, visit: &Visit, id: &str) -> Answer {
        let csrf = match self.authorised(visit) {
            Ok(csrf) => csrf,
            Err(refused) => return refused,
        };
        let events = match self.events().await {
            Ok(events) => events,
            Err(error) => return self.problem(error.into()),
        };
        let Some(event) = events.iter().find(|event| event.id == id) else {
            return self.problem(Problem::NotFound);
        };
        match self.inner.checkout.replay(event).await {
            Ok(_) => Answer::see_other("/admin"),
            Err(error) => self.page(self.admin_page(&csrf, 409, Some(error.to_string())).await),
        }
    }
}

/// The states in which an event needs somebody to look.
const TO_LOOK_AT: [EventState; 3] = [EventState::Mismatch, EventState::Dead, EventState::Pending];

impl Shop {
    /// The events to show: those that need somebody to look, however old they are, then the newest.
    async fn events(&self) -> Result<Vec<EventRecord>, InboxError> {
        let checkout = &self.inner.checkout;
        let mut events = Vec::new();
        for state in TO_LOOK_AT {
            events.extend(checkout.events(EventFilter::default().state(state)).await?);
        }
        for event in checkout.events(EventFilter::default()).await? {
            if !events
                .iter()
                .any(|known: &EventRecord| known.id == event.id)
            {
                events.push(event);
            }
        }
        Ok(events)
    }

    async fn find(&self, id: &str) -> Result<Order, Problem> {
        self.inner.store.order(id).await?.ok_or(Problem::NotFound)
    }

    fn render(
        &self,
        status: u16,
        template: &str,
        cart: &Cart,
        values: Value,
    ) -> Result<Answer, Problem> {
        Ok(Answer::html(
            status,
            self.inner.pages.render(template, cart.count(), values)?,
        ))
    }

    fn page(&self, page: Result<Answer, Problem>) -> Answer {
        page.unwrap_or_else(|problem| self.problem(problem))
    }

    fn order_page(&self, cart: &Cart, order: &Order) -> Result<Answer, Problem> {
        let mut items = Vec::new();
        for item in &order.items {
            items.push(context! {
                sku => &item.sku,
                name => &item.name,
                quantity => item.quantity,
                unit => money::price(item.unit),
                amount => money::price(item.unit.times(item.quantity)?),
                // What is no longer sold has no picture any more.
                picture => catalogue::product(&item.sku).is_some(),
            });
        }
        let shipments: Vec<i64> = order.shipments.iter().map(|shipment| shipment.id).collect();
        let order = context! {
            id => &order.id,
            status => order.status.as_str(),
            title => order.status.title(),
            explanation => order.status.explanation(),
            settled => order.status.is_settled(),
            payable => order.status.can_be_paid(),
            total => money::price(order.total),
            items,
            shipments,
        };
        self.render(200, "order.html", cart, context! { order })
    }

    async fn admin_page(
        &self,
        csrf: &str,
        status: u16,
        message: Option<String>,
    ) -> Result<Answer, Problem> {
        let orders = self
            .inner
            .store
            .newest_orders(100)
            .await?
            .into_iter()
            .map(|order| {
                context! {
                    id => order.id,
                    status => order.status.as_str(),
                    total => money::price(order.total),
                    payment_intent => order.payment_intent,
                    shipments => order.shipments,
                    created => utc(order.created),
                }
            });
        let notices = self
            .inner
            .store
            .newest_notices(100)
            .await?
            .into_iter()
            .map(|notice| {
                context! {
                    kind => notice.kind,
                    order_id => notice.order_id,
                    payment_intent => notice.payment_intent,
                    detail => notice.detail,
                    created => utc(notice.created),
                }
            });
        let now = SystemTime::now();
        let events = self.events().await?.into_iter().map(|event| {
            context! {
                can_replay => TO_LOOK_AT.contains(&event.state),
                state => event.state.as_str(),
                order => event.order.map(|order| order.reference),
                received => ago(now.duration_since(event.received).unwrap_or_default()),
                id => event.id,
                event_type => event.event_type,
                payment => event.payment,
                attempts => event.attempts,
                last_error => event.last_error,
            }
        });
        let (orders, notices, events): (Vec<Value>, Vec<Value>, Vec<Value>) =
            (orders.collect(), notices.collect(), events.collect());
        self.render(
            status,
            "admin.html",
            &Cart::default(),
            context! { csrf, message, orders, notices, events },
        )
    }

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

    fn csrf(&self, visit: &Visit) -> Option<String> {
        self.inner.admin.csrf(visit.cookie(SESSION), Instant::now())
    }

    /// Whether this is a form of the session's own page; if so, the session's token.
    fn authorised(&self, visit: &Visit) -> Result<String, Answer> {
        let csrf = self
            .csrf(visit)
            .ok_or_else(|| Answer::see_other("/admin/login"))?;
        if visit.is_cross_site() || !admin::same(field(&visit.form(), "csrf"), &csrf) {
            return Err(self.problem(Problem::ForgedForm));
        }
        Ok(csrf)
    }

    fn with_cart(&self, answer: Answer, cart: &Cart) -> Answer {
        let value = cart.to_cookie();
        self.with_cookie(
            answer,
            CART,
            &value,
            if cart.is_empty() { 0 } else { MONTH },
        )
    }

    fn with_cookie(&self, answer: Answer, name: &'static str, value: &str, seconds: u64) -> Answer {
        // Not strict: who comes back from the bank's 3-D Secure page still has a cart.
        answer.with_cookie(&Cookie {
            name,
            value,
            path: "/",
            seconds,
            strict: false,
            secure: self.inner.secure_cookies,
        })
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

fn cart_of(visit: &Visit) -> Cart {
    Cart::from_cookie(visit.cookie(CART))
}

fn field<'a>(form: &'a [(String, String)], name: &str) -> &'a str {
    form.iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
        .unwrap_or_default()
}

fn ago(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..60 => format!("{seconds} s ago"),
        seconds @ 60..3_600 => format!("{} min ago", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// A time for a person, like `2030-01-31 23:59:59`, in UTC.
fn utc(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{} {:02}:{:02}:{:02}",
        time.date(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

fn api_problem(problem: &Problem) -> Answer {
    let (status, code, _, message) = problem.parts();
    with_retry_after(
        Answer::json(status, &json!({"error": message, "code": code})),
        problem,
    )
}

fn with_retry_after(answer: Answer, problem: &Problem) -> Answer {
    match problem.retry_after() {
        Some(seconds) => answer.with("retry-after", seconds.to_string()),
        None => answer,
    }
}

fn log(problem: &Problem) {
    if let Problem::Unavailable(error) = problem {
        tracing::error!(error = %crate::causes(&**error), "a request could not be answered");
    }
}
