//! The world of the suite: two checkouts and a Stripe.
//!
//! The name of an order determines how the order behaves and how this Stripe responds.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{Semaphore, watch};

use crate::fulfillment::{Due, FulfillmentHandler, MemoryInbox};
use crate::requests::{CaptureMethod, CustomerRequest, PaymentRequest, SetupFutureUsage};
use crate::stripe::{Transport, TransportRequest, TransportResponse};
use crate::testing::{EventBody, PaymentIntent, now};
use crate::webhook::Payment;
use crate::{
    Amount, BoxError, Checkout, Config, Currency, CustomerResolver, Group, GuardError,
    GuardedAction, PaymentGuard, Pricing, PricingError, PublishableKey, SecretKey, TransportError,
    Visitor, VisitorData, WebhookSecret,
};

/// The header with the name of a visitor of the suite; see [`Application`].
pub const MEMBER_HEADER: &str = "x-member";

pub(super) const PRICE: Amount = Amount::new(1999, Currency::EUR);

/// The signing secrets of the two checkouts.
pub(super) const SECRET: &str = "whsec_of_the_suite";
pub(super) const OTHER_SECRET: &str = "whsec_of_another_account";

/// The prefix of a checkout that sends Stripe one call a second for its visitors.
pub(super) const NARROW: &str = "/narrow";

/// The body limits of the first and the other checkout, in bytes. Neither is the default.
pub(super) const LIMIT: usize = 1_000_000;
pub(super) const OTHER_LIMIT: usize = 16 * 1024 * 1024;

/// The application that a driver serves.
///
/// It consists of:
///
/// - each of [`mounts`](Self::mounts), mounted in the framework's own way;
/// - [`BY_HAND`](Self::BY_HAND), a `POST` route written by hand: it extracts a `VerifiedEvent` with
///   the checkout [`by_hand`](Self::by_hand), passes the event to [`Checkout::receive`], and
///   responds with the result;
/// - in front of both, a middleware: if a request has the header [`MEMBER_HEADER`], it puts
///   [`visitor_data`](Self::visitor_data) of the header into the request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Application {
    /// The checkouts with their prefixes.
    pub mounts: Vec<Mount>,
    /// The checkout of the route written by hand.
    pub by_hand: Checkout,
}

/// A checkout under a prefix.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Mount {
    /// The prefix begins with a slash and does not end with one; it is empty for the root.
    pub prefix: &'static str,
    /// The checkout under this prefix.
    pub checkout: Checkout,
}

impl Application {
    /// The path of the route written by hand.
    pub const BY_HAND: &'static str = "/by-hand";

    /// The data that the middleware puts into the request for a visitor of this name.
    pub fn visitor_data(name: &str) -> VisitorData {
        VisitorData::new(Member(name.to_owned()))
    }
}

struct Member(String);

/// An application, and its merchant's state.
pub(super) fn application(body_deadline: Duration) -> (Application, Arc<State>) {
    let state = Arc::new(State::default());
    let root = checkout(SECRET, &state, |builder| {
        #[cfg(feature = "sessions")]
        let builder = builder.hosted_checkout(hosted());
        // All requests of the suite come from one client.
        builder
            .body_limit(LIMIT)
            .body_deadline(body_deadline)
            .max_visitor_calls(1000)
            .max_visitor_calls_per_second(1000)
    });
    let other = checkout(OTHER_SECRET, &state, |builder| {
        #[cfg(feature = "sessions")]
        let builder = builder.hosted_checkout(hosted().embedded());
        builder
            .application("other")
            .shop_name("Another shop")
            .webhook_path("/stripe/events")
            .max_visitor_calls(1000)
            .max_visitor_calls_per_second(1000)
            .body_limit(OTHER_LIMIT)
            .body_deadline(body_deadline)
    });
    let narrow = checkout(SECRET, &state, |builder| {
        builder
            .max_visitor_calls(1)
            .max_visitor_calls_per_second(1)
            .body_deadline(body_deadline)
    });
    let mount = |prefix, checkout| Mount { prefix, checkout };
    let application = Application {
        by_hand: root.clone(),
        mounts: vec![
            mount("", root.clone()),
            mount("/shop/de", other),
            mount("/hooks", root.only(Group::Webhook)),
            mount(NARROW, narrow),
        ],
    };
    (application, state)
}

#[cfg(feature = "sessions")]
fn hosted() -> crate::requests::HostedCheckout {
    crate::requests::HostedCheckout::new(format!("https://{}", super::client::HOST))
}

#[allow(clippy::expect_used)] // Constants.
fn checkout(
    secret: &str,
    state: &Arc<State>,
    more: impl Fn(crate::CheckoutBuilder) -> crate::CheckoutBuilder,
) -> Checkout {
    let build = || {
        let config = Config::new([WebhookSecret::new(secret)?])?.with_keys(
            SecretKey::new("sk_test_suite")?,
            PublishableKey::new("pk_test_suite")?,
        )?;
        let builder = Checkout::builder(config)
            .application("suite")
            .shop_name("The suite's shop")
            .order_url("/orders/{reference}")
            .max_amount(1_000_000)
            .pricing(Prices)
            .guard(Gatekeeper)
            .customers(Members)
            .transport(Stripe::default())
            .fulfillment(MemoryInbox::new(), Warehouse(Arc::clone(state)));
        Ok::<_, BoxError>(more(builder).build()?)
    };
    build().expect("a checkout")
}

/// What the merchant's side has seen, and what it allows.
#[derive(Default)]
pub(super) struct State {
    shipped: Mutex<HashMap<String, usize>>,
    failed: Mutex<HashMap<String, usize>>,
    gates: Mutex<HashMap<String, Arc<Gate>>>,
}

/// Where an order's handler stops until it may continue.
pub(super) struct Gate {
    entered: watch::Sender<bool>,
    pass: Semaphore,
}

impl Gate {
    /// Waits until the handler has stopped there.
    pub(super) async fn entered(&self) {
        let _ = self.entered.subscribe().wait_for(|entered| *entered).await;
    }

    pub(super) fn open(&self) {
        self.pass.add_permits(1);
    }
}

impl State {
    /// How often an order was shipped.
    pub(super) fn shipped(&self, order: &str) -> usize {
        lock(&self.shipped).get(order).copied().unwrap_or_default()
    }

    pub(super) fn gate(&self, order: &str) -> Arc<Gate> {
        let mut gates = lock(&self.gates);
        let gate = gates.entry(order.to_owned()).or_insert_with(|| {
            Arc::new(Gate {
                entered: watch::Sender::new(false),
                pass: Semaphore::new(0),
            })
        });
        Arc::clone(gate)
    }

    /// Whether this is the first call for the order.
    fn first_time(&self, order: &str) -> bool {
        let mut failed = lock(&self.failed);
        let times = failed.entry(order.to_owned()).or_default();
        *times += 1;
        *times == 1
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The merchant's side of a paid order.
///
/// Its handler fails the first time for `fails-…`, panics the first time for `panics-…`, and stops
/// at its [`Gate`] for `gated-…`.
struct Warehouse(Arc<State>);

impl FulfillmentHandler for Warehouse {
    #[allow(clippy::panic)] // That is what is tested.
    async fn payment_succeeded(&self, payment: &Payment, _: &mut ()) -> Result<(), BoxError> {
        let order = payment.order_id().ok_or("a payment without an order")?;
        match order.split('-').next() {
            Some("fails") if self.0.first_time(order) => return Err("no parcel left".into()),
            Some("panics") if self.0.first_time(order) => panic!("on purpose"),
            Some("gated") => {
                let gate = self.0.gate(order);
                gate.entered.send_replace(true);
                gate.pass.acquire().await?.forget();
            }
            _ => {}
        }
        *lock(&self.0.shipped).entry(order.to_owned()).or_default() += 1;
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut ()) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }
}

/// Every order costs the same; its name determines how it is special.
struct Prices;

#[derive(Deserialize)]
struct Order {
    order: String,
}

impl Pricing for Prices {
    type Order = Order;

    #[allow(clippy::panic)] // That is what is tested.
    async fn price(&self, order: Order, visitor: &Visitor) -> Result<PaymentRequest, PricingError> {
        let reference = order.order;
        let amount = match reference.as_str() {
            "sold-out" => return Err(PricingError::refused("Sold out, sorry.")),
            "members"
                if visitor
                    .data::<Member>()
                    .is_none_or(|member| member.0 != "ada") =>
            {
                return Err(PricingError::refused("Members only."));
            }
            "paid" => return Err(PricingError::AlreadyPaid { reference }),
            "on-its-way" => return Err(PricingError::Processing { reference }),
            "database-down" => return Err(std::io::Error::other("the database is down").into()),
            "bug" => panic!("a bug of the merchant's, on purpose"),
            "millions" => Amount::new(99_999_999, Currency::EUR),
            _ => PRICE,
        };
        let request = PaymentRequest::new(&reference, amount);
        let request = match reference.as_str() {
            "made-to-order" => request.capture_method(CaptureMethod::Manual),
            "kept" => request.setup_future_usage(SetupFutureUsage::OffSession),
            _ => request,
        };
        Ok(request.line("Tea & <b>biscuits</b>", 2, amount))
    }
}

/// Each member is a customer; the name determines how they are special.
struct Members;

impl CustomerResolver for Members {
    #[allow(clippy::panic)] // That is what is tested.
    async fn customer(&self, visitor: &Visitor) -> Result<Option<CustomerRequest>, PricingError> {
        match visitor.data::<Member>().map(|member| member.0.as_str()) {
            None | Some("nobody") => Ok(None),
            Some("members-down") => Err(std::io::Error::other("the database is down").into()),
            Some("blocked") => Err(PricingError::refused("Your account is blocked.")),
            Some("member-bug") => panic!("a bug of the merchant's, on purpose"),
            Some(name) => Ok(Some(CustomerRequest::new(name))),
        }
    }
}

/// The order's name also determines who may pay.
struct Gatekeeper;

impl PaymentGuard for Gatekeeper {
    async fn check(&self, visitor: &Visitor, attempt: GuardedAction<'_>) -> Result<(), GuardError> {
        let GuardedAction::Payment(request) = attempt else {
            return match visitor.data::<Member>() {
                Some(member) if member.0 == "banned" => {
                    Err(GuardError::refused("Please contact the shop."))
                }
                _ => Ok(()),
            };
        };
        match request.reference() {
            "banned" => Err(GuardError::refused("Please contact the shop.")),
            "too-often" => Err(GuardError::TooMany {
                retry_after: Duration::from_secs(60),
            }),
            "guard-down" => Err(std::io::Error::other("the list cannot be read").into()),
            "from-here" if !visitor.peer().is_some_and(|peer| peer.is_loopback()) => {
                Err(GuardError::refused("From elsewhere."))
            }
            _ => Ok(()),
        }
    }
}

/// A Stripe whose responses depend on the order only.
///
/// Two of them give the same response to the same request.
#[derive(Default)]
struct Stripe {
    made: Mutex<HashMap<String, PaymentIntent>>,
}

impl Transport for Stripe {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        let form: Vec<(String, String)> =
            serde_html_form::from_bytes(&request.body).unwrap_or_default();
        let field = |name: &str| {
            form.iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
        };
        let answer = |status, body: String| {
            // No retry: it would only take time.
            let headers = vec![("stripe-should-retry".to_owned(), b"false".to_vec())];
            Ok(TransportResponse {
                status,
                headers,
                body: body.into(),
            })
        };
        let refused = |kind: &str, code: &str| {
            serde_json::json!({"error": {"type": kind, "code": code}}).to_string()
        };
        let path = request.url.split("/v1").nth(1).unwrap_or_default();
        if let Some((status, body)) = people(request.method, path, &field) {
            return answer(status, body);
        }
        if request.method == "POST" {
            let order = field("metadata[order_id]").unwrap_or_default();
            match order {
                "declined" => return answer(402, refused("card_error", "card_declined")),
                "too-small" => {
                    return answer(400, refused("invalid_request_error", "amount_too_small"));
                }
                "wrong-key" => {
                    return answer(401, refused("invalid_request_error", "api_key_expired"));
                }
                "forbidden" => {
                    return answer(
                        403,
                        refused("invalid_request_error", "more_permissions_required"),
                    );
                }
                "conflict" => {
                    return answer(409, refused("idempotency_error", "idempotency_key_in_use"));
                }
                "limited" => return answer(429, refused("invalid_request_error", "rate_limit")),
                "broken" => return answer(500, refused("api_error", "internal")),
                "nonsense" => return answer(200, "<html>".into()),
                "unreachable" => return Err(TransportError::Connect("refused".into())),
                _ => {}
            }
            if request.url.ends_with("/checkout/sessions") {
                let embedded = field("ui_mode") == Some("embedded_page");
                return answer(200, session(order, embedded));
            }
            let id = format!("pi_{order}");
            let minor = field("amount").and_then(|minor| minor.parse().ok());
            let mut intent =
                PaymentIntent::new(&id, Amount::new(minor.unwrap_or_default(), Currency::EUR));
            for (name, value) in &form {
                if let Some(key) = name
                    .strip_prefix("metadata[")
                    .and_then(|name| name.strip_suffix(']'))
                {
                    intent = intent.metadata(key, value);
                }
            }
            lock(&self.made).insert(id, intent.clone());
            return answer(200, intent.object().to_string());
        }
        let id = request
            .url
            .rsplit('/')
            .next()
            .and_then(|id| id.split('?').next())
            .unwrap_or_default();
        if let Some(order) = id.strip_prefix("cs_") {
            return answer(200, session(order, false));
        }
        let Some(intent) = lock(&self.made).get(id).cloned() else {
            return answer(404, refused("invalid_request_error", "resource_missing"));
        };
        // The order's name contains what the buyer did meanwhile.
        let intent = match id.trim_start_matches("pi_").split('-').next() {
            Some("succeeded") => intent.status("succeeded"),
            Some("processing") => intent.status("processing"),
            Some("failed") => intent.failed("card_declined", Some("insufficient_funds")),
            Some("action") => intent.status("requires_action"),
            Some("capture") => intent.status("requires_capture"),
            Some("canceled") => intent.status("canceled"),
            _ => intent,
        };
        answer(200, intent.object().to_string())
    }
}

/// Customers, their sessions and their SetupIntents.
///
/// Every id contains the member's name, which determines the result.
fn people<'a>(
    method: &str,
    path: &str,
    field: &impl Fn(&str) -> Option<&'a str>,
) -> Option<(u16, String)> {
    let refused = |status, code: &str| {
        let kind = if status == 402 {
            "card_error"
        } else {
            "invalid_request_error"
        };
        Some((
            status,
            serde_json::json!({"error": {"type": kind, "code": code}}).to_string(),
        ))
    };
    let customer = |name: &str| {
        let metadata = serde_json::json!({"checkout_user": name});
        serde_json::json!({"id": format!("cus_{name}"), "object": "customer", "metadata": metadata})
            .to_string()
    };
    let setup = |name: &str, status: &str| {
        let error = (name == "unlucky").then(|| serde_json::json!({"code": "card_declined"}));
        serde_json::json!({
            "id": format!("seti_{name}"), "object": "setup_intent", "status": status, "customer": format!("cus_{name}"),
            "client_secret": format!("seti_{name}_secret_test"), "livemode": false, "metadata": {}, "last_setup_error": error,
        })
        .to_string()
    };
    let named = field("customer").and_then(|id| id.strip_prefix("cus_"));
    match (method, path.split('?').next().unwrap_or_default()) {
        ("GET", "/customers/search") => Some((
            200,
            r#"{"object":"search_result","data":[],"has_more":false}"#.to_owned(),
        )),
        ("POST", "/customers") => match field("metadata[checkout_user]")? {
            "forbidden" => refused(403, "more_permissions_required"),
            "broken" => refused(500, "internal"),
            name => Some((200, customer(name))),
        },
        ("POST", "/customer_sessions") => {
            let usage = "components[payment_element][features][payment_method_save_usage]";
            let unsaid = if field(usage).is_some() {
                ""
            } else {
                "_unsaid"
            };
            let body = format!(r#"{{"client_secret":"cuss_secret_{}{unsaid}"}}"#, named?);
            Some((200, body))
        }
        ("POST", "/setup_intents") => match named? {
            "declined" => refused(402, "card_declined"),
            name => Some((200, setup(name, "requires_payment_method"))),
        },
        (_, path) => {
            if let Some(name) = path.strip_prefix("/customers/cus_") {
                return Some((200, customer(name)));
            }
            let name = path.strip_prefix("/setup_intents/seti_")?;
            let status = match name {
                "lucky" => "succeeded",
                "slow" => "processing",
                "canceled" => "canceled",
                "stranger" => return refused(404, "resource_missing"),
                _ => "requires_payment_method",
            };
            Some((200, setup(name, status)))
        }
    }
}

/// The Checkout Session of an order. The order's name contains what the buyer did meanwhile.
fn session(order: &str, embedded: bool) -> String {
    let (status, payment_status) = match order.split('-').next() {
        Some("succeeded") => ("complete", "paid"),
        Some("processing") => ("complete", "unpaid"),
        Some("canceled") => ("expired", "unpaid"),
        _ => ("open", "unpaid"),
    };
    let open = status == "open";
    let amount = PRICE.minor();
    serde_json::json!({
        "id": format!("cs_{order}"), "object": "checkout.session", "mode": "payment", "status": status, "payment_status": payment_status,
        "amount_subtotal": amount, "amount_total": amount, "currency": "eur", "livemode": false,
        "metadata": { "order_id": order, "checkout_application": "suite" },
        "payment_intent": (!open).then(|| format!("pi_{order}")),
        "url": (open && !embedded).then(|| format!("https://checkout.stripe.com/c/pay/cs_{order}#fid")),
        "client_secret": (open && embedded).then(|| format!("cs_{order}_secret_test")),
    })
    .to_string()
}

/// The event of a successful payment of an order, with this id.
pub(super) fn success(event: &str, order: &str) -> Vec<u8> {
    let payment = format!("pi_{order}");
    paid(event, &payment, order).body()
}

/// The same event, to be changed before it is sent.
///
/// Two events with the same data have the same bytes, so that one can be signed and the other sent.
pub(super) fn paid(event: &str, payment: &str, order: &str) -> EventBody {
    static CREATED: LazyLock<i64> = LazyLock::new(now);
    let intent = PaymentIntent::new(payment, PRICE)
        .with("created", *CREATED)
        .metadata("order_id", order)
        .metadata("checkout_application", "suite")
        .metadata("checkout_amount", &PRICE.minor().to_string())
        .metadata("checkout_currency", PRICE.currency().code());
    let object = intent.status("succeeded").object();
    EventBody::new("payment_intent.succeeded", object)
        .id(event)
        .created(*CREATED)
}
