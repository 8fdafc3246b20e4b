//! The shop: one method for each route, from plain values to a plain response.
//!
//! A framework only decides how both are transported.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc};

use minijinja::{Value, context};
use serde::Deserialize;
use serde_json::json;
use stripe_checkout_core::Checkout;

use crate::{
    account::{Buyer, Lock},
    admin::Admin,
    answer::{Answer, Cookie},
    cart::{self, Cart, CartForm, Item, MAX_QUANTITY},
    catalogue::{self, PRODUCTS},
    limit::PerNetwork,
    metrics::Metrics,
    money,
    order::Order,
    pages::{self, Pages},
    problem::Problem,
    proxy::ProxyHeader,
    store::Store,
    visit::{Visit, field},
};

const CART: &str = "cart";
const LAST_ORDER: &str = "order";
const MONTH: u64 = 30 * 24 * 60 * 60;

/// The shop. Cloning is cheap; all clones share the same state.
#[derive(Clone)]
pub struct Shop {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Shop {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shop").finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) checkout: Checkout,
    pub(crate) admin: Admin,
    pub(crate) lock: Lock,
    orders: Option<PerNetwork>,
    proxy_header: Option<ProxyHeader>,
    /// The origin of Stripe's own page, if orders can be paid there.
    hosted: Option<String>,
    pub(crate) secure_cookies: bool,
    pub(crate) sandbox: bool,
    metrics: Option<Metrics>,
    pages: Pages,
}

/// The parts of a shop.
#[derive(Debug)]
pub struct Parts {
    /// The database with the orders.
    pub store: Store,
    /// The checkout, whose events the admin page shows.
    pub checkout: Checkout,
    /// The log-in of the admin pages.
    pub admin: Admin,
    /// The origin of Stripe's own page, if the checkout lets orders be paid there. See
    /// [`hosted_page`](crate::hosted_page).
    pub hosted: Option<String>,
    /// The header in which a proxy in front of the shop writes the visitor's address.
    ///
    /// Set it only if there is a proxy: the address of the connection then does not count.
    pub proxy_header: Option<String>,
    /// How many orders each network may create in a minute; `None` is no limit.
    pub orders_per_minute: Option<NonZeroU32>,
    /// Whether every page says that nothing costs money here.
    pub sandbox: bool,
    /// Whether pages and cookies travel over HTTPS only. True wherever real money is taken, because
    /// Stripe.js itself requires HTTPS there.
    pub secure_cookies: bool,
    /// The metrics and the token that reads them. Without it, `/metrics` is not available.
    pub metrics: Option<Metrics>,
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
            hosted,
            proxy_header,
            orders_per_minute,
            sandbox,
            secure_cookies,
            metrics,
        } = parts;
        let pages = Pages::new(sandbox)?;
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                checkout,
                admin,
                lock: Lock::new(),
                orders: orders_per_minute.map(PerNetwork::new),
                proxy_header: proxy_header.map(ProxyHeader::new),
                hosted,
                secure_cookies,
                sandbox,
                metrics,
                pages,
            }),
        })
    }

    /// The checkout. Its routes are served beside the shop's routes.
    pub fn checkout(&self) -> &Checkout {
        &self.inner.checkout
    }

    /// The checkout for calls to Stripe that this visitor causes: all visitors share one bound.
    pub(crate) fn till_of(&self, visit: &Visit) -> Checkout {
        let client = visit.address().map(|address| address.to_string());
        self.inner.checkout.for_client(client.as_deref())
    }

    /// The visitor's IP address: the address of the connection, or the one in the proxy's header.
    ///
    /// `last` returns the last header of a name, if there is one. The visitor may have made up the
    /// headers before it.
    pub fn visitors_address<'a>(
        &self,
        peer: Option<IpAddr>,
        last: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> Option<IpAddr> {
        ProxyHeader::address(self.inner.proxy_header.as_ref(), peer, last)
    }

    /// `GET /`: the products.
    pub fn home(&self, visit: &Visit) -> Answer {
        let products: Vec<Value> = PRODUCTS
            .iter()
            .map(|product| {
                let price = money::price(product.price);
                context! { sku => product.sku, name => product.name, about => product.about, on_order => product.on_order, price }
            })
            .collect();
        self.page(self.render(200, "home.html", &cart_of(visit), context! { products }))
    }

    /// `GET /cart`.
    pub async fn cart(&self, visit: &Visit) -> Answer {
        let cart = cart_of(visit);
        match self.inner.store.buyer_of(visit).await {
            Ok(buyer) => self.page(
                self.cart_page(visit, buyer.as_ref(), &cart, 200, None)
                    .await,
            ),
            Err(error) => self.problem(error.into()),
        }
    }

    /// `POST /cart`: adds, changes or removes articles, and shows the cart.
    pub fn change_cart(&self, visit: &Visit) -> Answer {
        if visit.is_cross_site() {
            return self.problem(Problem::CrossSite);
        }
        let cart = CartForm::from_fields(&visit.form()).apply(cart_of(visit));
        self.with_cart(Answer::see_other("/cart"), &cart)
    }

    /// `POST /orders`: creates an order from the cart as the buyer sees it, and goes to the
    /// checkout.
    pub async fn place_order(&self, visit: &Visit) -> Answer {
        if visit.is_cross_site() {
            return self.problem(Problem::CrossSite);
        }
        // The form has the quantities that the buyer sees. Another tab may have changed the cookie.
        let cart = CartForm::from_fields(&visit.form()).apply(cart_of(visit));
        if cart.is_empty() {
            return Answer::see_other("/cart");
        }
        if let Err(problem) = self.count_order(visit) {
            return self.problem_at(problem, "/cart", "Back to the cart");
        }
        let store = &self.inner.store;
        let made = async {
            let buyer = store.buyer_of(visit).await?;
            let account = buyer.map(|buyer| buyer.account);
            store.create_order_of(&cart, account, None).await
        };
        let on_stripes_page =
            self.inner.hosted.is_some() && field(&visit.form(), "page") == "hosted";
        match made.await {
            Ok(id) if on_stripes_page => {
                let till = format!("/create-checkout-session?order={id}");
                self.remember(Answer::post_again(till), &cart, &id)
            }
            Ok(id) => {
                let till = format!("/checkout?order={id}");
                self.remember(Answer::see_other(till), &cart, &id)
            }
            Err(error) => self.problem(error.into()),
        }
    }

    /// `GET /orders/{id}`: the order and its status.
    pub async fn order(&self, visit: &Visit, id: &str) -> Answer {
        let order = match self.find(id).await {
            Ok(order) => order,
            Err(problem) => return self.problem(problem),
        };
        let mut cart = cart_of(visit);
        // Empty the cart of a bought order: once, and only in the browser that ordered. Opening a
        // bookmark must not empty a new cart.
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

    /// A page that describes a problem. Adapters also use it for problems that the framework finds.
    pub fn problem(&self, problem: Problem) -> Answer {
        let (back, back_text) = match problem {
            Problem::ForgedForm | Problem::TooMany(_) => ("/admin", "Back"),
            Problem::Cart(_) | Problem::UnknownCard => ("/cart", "Back to the cart"),
            _ => ("/", "Back to the shop"),
        };
        self.problem_at(problem, back, back_text)
    }

    /// The same, with another link back.
    pub(crate) fn problem_at(&self, problem: Problem, back: &str, back_text: &str) -> Answer {
        log(&problem);
        let (status, _, title, message) = problem.parts();
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

    /// `GET /pictures/{name}`: the drawings of the products, and the logo.
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

    /// `GET /metrics`: the metrics of this process, for Prometheus.
    ///
    /// The request needs the token `METRICS_TOKEN`. If it is not set, the response is 404.
    pub fn metrics(&self, visit: &Visit) -> Answer {
        let Some(metrics) = &self.inner.metrics else {
            return self.problem(Problem::NotFound);
        };
        match metrics.read(visit.bearer()) {
            Some(text) => Answer::text(text),
            None => self.api_problem(Problem::Unauthorized),
        }
    }

    /// `GET /static/{name}`: style sheet and script. Their addresses change with their content.
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

    /// `POST /api/orders` with `{"items": [{"sku", "quantity"}]}`: creates an order.
    ///
    /// The response is 201 with `{"id", "checkout_url"}`.
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
            let cart = Cart::from_items(&order.items)?;
            self.count_order(visit)?;
            let id = self.inner.store.create_order(&cart).await?;
            let body = json!({"id": id, "checkout_url": format!("/checkout?order={id}")});
            Ok(Answer::json(201, &body).with("location", format!("/api/orders/{id}")))
        };
        create
            .await
            .unwrap_or_else(|problem| self.api_problem(problem))
    }

    /// `GET /api/orders/{id}`: one order.
    ///
    /// The response is
    /// `{"id", "status", "amount", "currency", "payment_intent", "shipments": [{"id", "created"}]}`
    pub async fn api_order(&self, id: &str) -> Answer {
        match self.find(id).await {
            Ok(order) => Answer::json(200, &order.to_json()),
            Err(problem) => self.api_problem(problem),
        }
    }

    /// A problem as JSON: `{"error": "<sentence>", "code": "<snake_case>"}`.
    pub fn api_problem(&self, problem: Problem) -> Answer {
        log(&problem);
        api_problem(&problem)
    }
}

impl Shop {
    async fn find(&self, id: &str) -> Result<Order, Problem> {
        self.inner.store.order(id).await?.ok_or(Problem::NotFound)
    }

    /// Counts an order from this visitor's address: each order is a row that stays in the database.
    pub(crate) fn count_order(&self, visit: &Visit) -> Result<(), Problem> {
        match &self.inner.orders {
            Some(orders) => orders.count(visit.address()).map_err(Problem::TooMany),
            None => Ok(()),
        }
    }

    pub(crate) fn render(
        &self,
        status: u16,
        template: &str,
        cart: &Cart,
        values: Value,
    ) -> Result<Answer, Problem> {
        let html = self.inner.pages.render(template, cart.count(), values)?;
        let answer = Answer::html(status, html);
        Ok(match self.inner.secure_cookies {
            true => answer.by_https_only(),
            false => answer,
        })
    }

    pub(crate) fn page(&self, page: Result<Answer, Problem>) -> Answer {
        page.unwrap_or_else(|problem| self.problem(problem))
    }

    /// The page of the cart, with a message. Buyers who are logged in also get one-click options.
    pub(crate) async fn cart_page(
        &self,
        visit: &Visit,
        buyer: Option<&Buyer>,
        cart: &Cart,
        status: u16,
        message: Option<&str>,
    ) -> Result<Answer, Problem> {
        let lines = cart.lines()?;
        let sum = cart::total(&lines)?;
        let on_order = lines.iter().any(|line| line.product.on_order);
        let lines: Vec<Value> = lines
            .iter()
            .map(|line| {
                let product = line.product;
                let (unit, amount) = (money::price(product.price), money::price(line.amount));
                context! { sku => product.sku, name => product.name, quantity => line.quantity, on_order => product.on_order, unit, amount }
            })
            .collect();
        let one_click = match buyer {
            Some(buyer) if !cart.is_empty() => self.one_click(visit, buyer).await?,
            _ => None,
        };
        let page = self.render(
            status,
            "cart.html",
            cart,
            context! {
                lines,
                total => money::price(sum),
                seen => sum.minor(),
                on_order,
                max_quantity => MAX_QUANTITY,
                message,
                one_click,
                hosted => self.inner.hosted.is_some(),
                guest => buyer.is_none(),
            },
        )?;
        Ok(self.letting_forms_go_to_stripe(page))
    }

    /// Lets the page's forms lead to Stripe's page. Browsers check `form-action` for redirects,
    /// too.
    fn letting_forms_go_to_stripe(&self, page: Answer) -> Answer {
        match &self.inner.hosted {
            Some(origin) => page.with_forms_to(origin),
            None => page,
        }
    }

    /// Keeps the cart, and the order's id, in cookies until the order is paid.
    pub(crate) fn remember(&self, answer: Answer, cart: &Cart, order: &str) -> Answer {
        let answer = self.with_cart(answer, cart);
        self.with_cookie(answer, LAST_ORDER, order, MONTH)
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
                // An article that is no longer sold has no picture.
                picture => catalogue::product(&item.sku).is_some(),
            });
        }
        let shipments: Vec<i64> = order.shipments.iter().map(|shipment| shipment.id).collect();
        // The shop may have captured only a part of the authorised money.
        let charged = order.charged.filter(|charged| *charged != order.total);
        let refunds: Vec<Value> = order
            .refunds
            .iter()
            .map(|refund| context! { amount => money::price(refund.amount), text => refund.for_buyer() })
            .collect();
        let order = context! {
            id => &order.id,
            status => order.status.as_str(),
            title => order.status.title(),
            explanation => order.status.explanation(),
            settled => order.status.is_settled(),
            payable => order.status.can_be_paid(),
            total => money::price(order.total),
            charged => charged.map(money::price),
            refunds,
            items,
            shipments,
        };
        let hosted = self.inner.hosted.is_some();
        let page = self.render(200, "order.html", cart, context! { order, hosted })?;
        Ok(self.letting_forms_go_to_stripe(page))
    }

    pub(crate) fn with_cart(&self, answer: Answer, cart: &Cart) -> Answer {
        let value = cart.to_cookie();
        self.with_cookie(
            answer,
            CART,
            &value,
            if cart.is_empty() { 0 } else { MONTH },
        )
    }

    fn with_cookie(&self, answer: Answer, name: &'static str, value: &str, seconds: u64) -> Answer {
        // Not strict: a buyer who returns from the bank's 3-D Secure page still has a cart.
        answer.with_cookie(&Cookie {
            name,
            value,
            path: "/",
            seconds,
            strict: false,
            secure: self.inner.secure_cookies,
        })
    }
}

pub(crate) fn cart_of(visit: &Visit) -> Cart {
    Cart::from_cookie(visit.cookie(CART))
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
