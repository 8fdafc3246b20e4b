//! The ready-made page with requests that the shop does not make: each capture method, each way to
//! save a card while paying, and a connected account as the business of record.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;
use shop::testing::{Browser, browse};
use stripe_checkout_core::fulfillment::{MemoryInbox, on_paid};
use stripe_checkout_core::requests::{
    CaptureMethod, CustomerRequest, PaymentRequest, SetupFutureUsage,
};
use stripe_checkout_core::{
    Amount, Checkout, Currency, CustomerResolver, Pricing, PricingError, Visitor,
};
use stripe_checkout_sandbox::Sandbox;

const GOOD: &str = "4242424242424242";

/// The name of an order says how it is paid. `changing` and `dearer` change once and for all,
/// `wavering` has another currency for one question.
struct Prices {
    changed: Arc<AtomicBool>,
}

#[derive(Deserialize)]
struct Order {
    order: String,
}

impl Pricing for Prices {
    type Order = Order;

    async fn price(&self, order: Order, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        let name = order.order;
        let request = PaymentRequest::new(&name, Amount::new(1999, Currency::EUR));
        let request = match name.as_str() {
            "changing" if self.changed.load(Ordering::SeqCst) => {
                request.capture_method(CaptureMethod::Manual)
            }
            "dearer" if self.changed.load(Ordering::SeqCst) => {
                PaymentRequest::new(&name, Amount::new(2999, Currency::EUR))
            }
            "wavering" if self.changed.swap(false, Ordering::SeqCst) => {
                PaymentRequest::new(&name, Amount::new(1999, Currency::USD))
            }
            name if name.contains("authorised") => request.capture_method(CaptureMethod::Manual),
            _ => request,
        };
        let request = match name.contains("on-behalf") {
            true => request
                .transfer_destination("acct_1")
                .on_behalf_of("acct_1"),
            false => request,
        };
        Ok(match name.as_str() {
            name if name.contains("off-session") => {
                request.setup_future_usage(SetupFutureUsage::OffSession)
            }
            name if name.contains("on-session") => {
                request.setup_future_usage(SetupFutureUsage::OnSession)
            }
            _ => request,
        })
    }
}

/// Every visitor is Ada.
struct Ada;

impl CustomerResolver for Ada {
    async fn customer(&self, _: &Visitor) -> Result<Option<CustomerRequest>, PricingError> {
        Ok(Some(CustomerRequest::new("ada")))
    }
}

struct Stage {
    sandbox: Sandbox,
    checkout: Checkout,
    changed: Arc<AtomicBool>,
    address: SocketAddr,
}

impl Stage {
    async fn set() -> Self {
        let sandbox = Sandbox::start().await.expect("a sandbox");
        let changed = Arc::default();
        let prices = Prices {
            changed: Arc::clone(&changed),
        };
        let checkout = Checkout::builder(sandbox.config())
            .application("page")
            .pricing(prices)
            .customers(Ada)
            .account_url("/account")
            .fulfillment(MemoryInbox::new(), on_paid(async |_| Ok(())))
            .build()
            .expect("a checkout");
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        // A browser asks for it by itself.
        let icon = axum::routing::get(async || axum::http::StatusCode::NO_CONTENT);
        let routes = stripe_checkout_axum::router(checkout.clone()).route("/favicon.ico", icon);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        sandbox
            .webhook_endpoint(&format!("http://{address}/webhook"))
            .expect("a local address");
        Self {
            sandbox,
            checkout,
            changed,
            address,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How often a browser confirmed a payment or the saving of a card.
    fn confirmations(&self) -> usize {
        let requests = self.sandbox.requests();
        let confirmed = requests
            .iter()
            .filter(|request| request.path.ends_with("/confirm"));
        confirmed.count()
    }

    /// The last four digits of the cards that Ada saved.
    async fn saved(&self) -> Vec<String> {
        let ada = self
            .checkout
            .customer(&CustomerRequest::new("ada"))
            .await
            .expect("a customer");
        let methods = self.checkout.payment_methods(&ada).await.expect("a list");
        let cards = methods.iter().filter_map(|method| method.card());
        cards.map(|card| card.last4().to_owned()).collect()
    }
}

async fn type_in(browser: &Browser) {
    browser.see("#submit:enabled").await;
    for (field, text) in [("number", GOOD), ("expiry", "1234"), ("cvc", "123")] {
        browser.fill(&format!("#Field-{field}Input"), text).await;
    }
}

async fn outcome(browser: &Browser, state: &str) {
    browser
        .see(&format!("#outcome[data-state='{state}']"))
        .await;
}

#[test]
fn each_capture_method_each_usage_and_a_business_of_record_pays() {
    browse(async |browser| {
        for (order, state, offers_debit, saves) in [
            ("plain", "succeeded", true, false),
            ("authorised", "requires_capture", false, false),
            ("off-session", "succeeded", true, true),
            ("on-session", "succeeded", true, true),
            ("authorised-off-session", "requires_capture", false, true),
            ("on-behalf", "succeeded", true, false),
            (
                "authorised-on-behalf-off-session",
                "requires_capture",
                false,
                true,
            ),
        ] {
            let stage = Stage::set().await;
            browser
                .goto(&stage.url(&format!("/checkout?order={order}")))
                .await;
            browser.see("#submit:enabled").await;
            assert_eq!(
                browser.sees("#Tab-sepa_debit").await,
                offers_debit,
                "{order}"
            );
            type_in(browser).await;
            browser.click("#submit").await;
            outcome(browser, state).await;
            let saved = stage.saved().await;
            assert_eq!(saved.len(), usize::from(saves), "{order}: {saved:?}");
        }
    });
}

#[test]
fn a_card_is_saved_without_paying() {
    browse(async |browser| {
        let stage = Stage::set().await;
        browser.goto(&stage.url("/checkout/setup?from=menu")).await;
        type_in(browser).await;
        browser.click("#submit").await;
        outcome(browser, "succeeded").await;
        assert_eq!(stage.saved().await, ["4242"]);
        let back = browser.url().await;
        assert!(back.contains("checkout_query=from%3Dmenu"), "{back}");
        assert!(!back.contains("secret"), "{back}");
    });
}

/// Remembers each sentence that the page reports while it works.
const HEARD: &str = r#"
    addEventListener("DOMContentLoaded", () => {
        const progress = document.getElementById("progress");
        if (!progress) return;
        new MutationObserver(() => {
            const heard = sessionStorage.getItem("heard") ?? "";
            sessionStorage.setItem("heard", `${heard}${progress.textContent}\n`);
        }).observe(progress, { childList: true });
    });
"#;

/// The page reloaded itself, says why for as long as this page is shown, and promised no receipt.
async fn reloaded_with_a_reason(browser: &Browser) {
    let reason = browser.read("#payment-message", "has changed").await;
    assert!(reason.contains("enter your payment details"), "{reason}");
    assert!(reason.contains("not been charged"), "{reason}");
    browser.see("#submit:enabled").await;
    assert!(browser.sees("#payment-message[data-kind='notice']").await);
    let heard = browser
        .script("return sessionStorage.getItem('heard');", vec![])
        .await;
    let heard = heard.as_str().expect("the page said something");
    assert!(heard.contains("Processing"), "{heard}");
    assert!(!heard.contains("receipt"), "{heard}");

    browser.reload().await;
    browser.see("#submit:enabled").await;
    assert!(!browser.sees("#payment-message:not(:empty)").await);
}

/// The shop changes the order to an authorisation after it showed the page. The page confirms
/// nothing, reloads itself and says why.
#[test]
fn what_is_asked_changed_since_the_page_was_shown() {
    browse(async |browser| {
        let stage = Stage::set().await;
        browser.before_each_page(HEARD).await;
        browser.goto(&stage.url("/checkout?order=changing")).await;
        type_in(browser).await;
        browser.see("#Tab-sepa_debit").await;
        stage.changed.store(true, Ordering::SeqCst);
        browser.click("#submit").await;
        browser.see("form[data-capture-method='manual']").await;
        reloaded_with_a_reason(browser).await;
        assert_eq!(stage.confirmations(), 0, "nothing is paid as it was");

        type_in(browser).await;
        assert!(!browser.sees("#Tab-sepa_debit").await);
        browser.click("#submit").await;
        outcome(browser, "requires_capture").await;
    });
}

/// The currency changes for the intent alone, not for the summary. The page cannot write the new
/// amount, so it reloads itself and says why.
#[test]
fn the_currency_changed_and_the_summary_did_not() {
    browse(async |browser| {
        let stage = Stage::set().await;
        browser.before_each_page(HEARD).await;
        browser.goto(&stage.url("/checkout?order=wavering")).await;
        type_in(browser).await;
        stage.changed.store(true, Ordering::SeqCst);
        browser.click("#submit").await;
        reloaded_with_a_reason(browser).await;
        assert_eq!(stage.confirmations(), 0);
    });
}

/// Our intents name no capture method unless it is manual, so Stripe chooses `automatic_async`.
/// Stripe.js is not known to accept an explicit `automatic` for these.
#[test]
fn elements_name_no_capture_method_but_manual() {
    /// Keeps what the page tells Elements, at first and later.
    const LISTEN: &str = r#"
        let real;
        window.told = [];
        const listening = (...names) => {
            const stripe = real(...names);
            const elements = stripe.elements.bind(stripe);
            stripe.elements = (options) => {
                window.told.push(options);
                const group = elements(options);
                const update = group.update.bind(group);
                group.update = (options) => {
                    window.told.push(options);
                    return update(options);
                };
                return group;
            };
            return stripe;
        };
        Object.defineProperty(window, "Stripe", {
            get: () => real && listening,
            set: (value) => { real = value; },
        });
    "#;
    browse(async |browser| {
        let told = async || {
            let told = browser.script("return window.told;", vec![]).await;
            told.as_array().expect("a list").clone()
        };
        let stage = Stage::set().await;
        browser.before_each_page(LISTEN).await;
        browser.goto(&stage.url("/checkout?order=dearer")).await;
        type_in(browser).await;
        stage.changed.store(true, Ordering::SeqCst);
        browser.click("#submit").await;
        browser.read("#payment-message", "has changed to").await;
        let automatic = told().await;
        assert_eq!(automatic.len(), 2, "made, and updated: {automatic:?}");
        for options in automatic {
            assert!(options["amount"].is_u64(), "{options}");
            assert!(options.get("captureMethod").is_none(), "{options}");
        }
        browser.see("form[aria-busy='false']").await;
        browser.click("#submit").await;
        outcome(browser, "succeeded").await;

        browser.goto(&stage.url("/checkout?order=authorised")).await;
        browser.see("#submit:enabled").await;
        let manual = told().await;
        assert_eq!(manual.len(), 1, "{manual:?}");
        assert_eq!(manual[0]["captureMethod"], "manual");
    });
}

/// The arrow points back: to the left, or to the right where lines begin there.
#[test]
fn the_arrow_back_follows_the_direction_of_the_text() {
    browse(async |browser| {
        let stage = Stage::set().await;
        browser.goto(&stage.url("/checkout/setup")).await;
        browser.see(".back .icon").await;
        for (direction, transform) in [("ltr", "none"), ("rtl", "matrix(-1, 0, 0, 1, 0, 0)")] {
            let script = "document.documentElement.dir = arguments[0];
                return getComputedStyle(document.querySelector('.back .icon')).transform;";
            let found = browser.script(script, vec![direction.into()]).await;
            assert_eq!(found, transform, "{direction}");
        }
    });
}

/// The shop cancels the order after it showed the page. The page says so and removes the form.
#[test]
fn an_order_that_was_canceled_since_the_page_was_shown() {
    browse(async |browser| {
        let stage = Stage::set().await;
        browser.goto(&stage.url("/checkout?order=plain")).await;
        type_in(browser).await;
        stage
            .checkout
            .cancel_order("plain")
            .await
            .expect("canceled");
        browser.expect_error("Failed to load resource: the server responded with a status of 409");
        browser.click("#submit").await;
        browser.read("#payment-message", "order again").await;
        assert!(!browser.sees("#submit").await, "nothing is left to press");
        assert!(!browser.sees("#payment-element *").await);

        browser.expect_error("Failed to load resource: the server responded with a status of 409");
        browser.reload().await;
        browser
            .read("[data-code='order_called_off'] h1", "canceled")
            .await;
    });
}

/// Stripe.js compares each of these values before it confirms.
#[test]
fn the_sandbox_refuses_what_elements_did_not_say() {
    browse(async |browser| {
        let stage = Stage::set().await;
        browser.goto(&stage.url("/checkout?order=plain")).await;
        browser.see("#submit:enabled").await;
        let config = stage.sandbox.config();
        let key = config.publishable_key().expect("a key").expose();
        let confirm = async |request: PaymentRequest, options: &str| {
            let payment = stage
                .checkout
                .create_intent(&request)
                .await
                .expect("an intent");
            let secret = payment
                .client_secret()
                .expect("a secret")
                .expose()
                .to_owned();
            let script = format!(
                "const [key, clientSecret] = arguments;
                const box = document.createElement('div');
                document.body.append(box);
                const stripe = Stripe(key);
                const elements = stripe.elements({{ mode: 'payment', amount: 1999, currency: 'eur', ...{options} }});
                const payment = elements.create('payment');
                const ready = new Promise((resolve) => payment.on('ready', resolve));
                payment.mount(box);
                return ready.then(async () => {{
                    box.querySelector('[data-card=\"{GOOD}\"]').click();
                    await elements.submit();
                    const {{ error }} = await stripe.confirmPayment({{ elements, clientSecret, redirect: 'if_required' }});
                    payment.destroy();
                    return error?.message ?? 'confirmed';
                }});"
            );
            let told = browser
                .script(&script, vec![key.into(), secret.into()])
                .await;
            told.as_str().unwrap_or_default().to_owned()
        };
        let price = Amount::new(1999, Currency::EUR);
        let plain = |name: &str| PaymentRequest::new(name, price);
        for (request, options, sentence) in [
            (plain("a"), "{}", "confirmed"),
            (plain("b"), "{ captureMethod: 'automatic' }", "confirmed"),
            (
                plain("c"),
                "{ captureMethod: 'automatic_async' }",
                "confirmed",
            ),
            (plain("d"), "{ setupFutureUsage: null }", "confirmed"),
            (
                plain("e"),
                "{ amount: 2000 }",
                "The provided amount (1999) does not match the expected amount (2000).",
            ),
            (
                plain("f"),
                "{ currency: 'usd' }",
                "The provided currency (eur) does not match the expected currency (usd).",
            ),
            (
                plain("g"),
                "{ captureMethod: 'manual' }",
                "The provided capture_method (automatic) does not match the expected capture_method (manual).",
            ),
            (
                plain("h").capture_method(CaptureMethod::Manual),
                "{}",
                "The provided capture_method (manual) does not match the expected capture_method (automatic).",
            ),
            (
                plain("i").capture_method(CaptureMethod::Manual),
                "{ captureMethod: 'manual' }",
                "confirmed",
            ),
            (
                plain("j"),
                "{ setupFutureUsage: 'off_session' }",
                "The provided setup_future_usage (null) does not match the expected setup_future_usage (off_session).",
            ),
            (
                plain("k").setup_future_usage(SetupFutureUsage::OffSession),
                "{}",
                "The provided setup_future_usage (off_session) does not match the expected setup_future_usage (null).",
            ),
            (
                plain("l").setup_future_usage(SetupFutureUsage::OffSession),
                "{ setupFutureUsage: 'on_session' }",
                "The provided setup_future_usage (off_session) does not match the expected setup_future_usage (on_session).",
            ),
        ] {
            let told = confirm(request, options).await;
            assert!(told.starts_with(sentence), "{options}: {told}");
        }

        let ada = stage
            .checkout
            .customer(&CustomerRequest::new("ada"))
            .await
            .expect("a customer");
        let request = stripe_checkout_core::requests::SetupRequest::new("wish", &ada);
        let setup = stage
            .checkout
            .create_setup_intent(&request)
            .await
            .expect("an intent");
        let secret = setup.client_secret().expect("a secret").expose().to_owned();
        let script = format!(
            "const [key, clientSecret] = arguments;
            const box = document.createElement('div');
            document.body.append(box);
            const stripe = Stripe(key);
            const elements = stripe.elements({{ mode: 'setup', setupFutureUsage: 'on_session' }});
            const payment = elements.create('payment');
            const ready = new Promise((resolve) => payment.on('ready', resolve));
            payment.mount(box);
            return ready.then(async () => {{
                box.querySelector('[data-card=\"{GOOD}\"]').click();
                await elements.submit();
                return (await stripe.confirmSetup({{ elements, clientSecret, redirect: 'if_required' }})).error?.message ?? 'confirmed';
            }});"
        );
        let told = browser
            .script(&script, vec![key.into(), secret.into()])
            .await;
        let sentence =
            "The provided usage (off_session) does not match the expected usage (on_session).";
        assert!(
            told.as_str().is_some_and(|told| told.starts_with(sentence)),
            "{told}"
        );
    });
}

/// Stripe.js shows no form if the customer session and the intent both name a usage.
#[test]
fn the_sandbox_refuses_two_usages() {
    browse(async |browser| {
        let stage = Stage::set().await;
        browser.goto(&stage.url("/checkout?order=plain")).await;
        browser.see("#submit:enabled").await;
        let ada = stage
            .checkout
            .customer(&CustomerRequest::new("ada"))
            .await
            .expect("a customer");
        let config = stage.sandbox.config();
        let key = config.publishable_key().expect("a key").expose();
        let script = "const [key, customerSessionClientSecret, setupFutureUsage] = arguments;
            const box = document.createElement('div');
            document.body.append(box);
            const elements = Stripe(key).elements({ mode: 'payment', amount: 1999, currency: 'eur', customerSessionClientSecret, setupFutureUsage });
            const payment = elements.create('payment');
            const told = new Promise((resolve) => {
                payment.on('ready', () => resolve('ready'));
                payment.on('loaderror', ({ error }) => resolve(error.message));
            });
            payment.mount(box);
            return told;";
        let both = stage
            .checkout
            .customer_session(&ada)
            .await
            .expect("a session");
        let one = stage
            .checkout
            .customer_session_of_saving_payment(&ada)
            .await
            .expect("a session");
        browser
            .expect_error("IntegrationError: The CustomerSession sets payment_method_save_usage");
        for (session, usage, ready) in [
            (&both, None, true),
            (&one, Some("off_session"), true),
            (&one, None, true),
            (&both, Some("off_session"), false),
        ] {
            let told = browser
                .script(
                    script,
                    vec![key.into(), session.expose().into(), usage.into()],
                )
                .await;
            assert_eq!(told == "ready", ready, "{usage:?}: {told}");
        }
    });
}
