//! The scenarios of buyers and of the people who run the shop.

pub mod account;
pub mod back_room;
pub mod sandbox_page;

use fantoccini::key::Key;
use std::time::Duration;
use stripe_checkout_sandbox::Fault;

use super::{Stage, until};
use crate::order::Status;

// Stripe's test cards: https://docs.stripe.com/testing
pub(crate) const GOOD: &str = "4242424242424242";
pub(crate) const DECLINED: &str = "4000000000000002";
const THREE_D_SECURE: &str = "4000002500003155";
// The sandbox's own test card.
const PROCESSING: &str = "4000000000001000";

/// Returns the selector of the receipt page's heading for this state.
pub(crate) fn outcome(state: &str) -> String {
    format!("#outcome[data-state='{state}'] section[data-outcome='{state}'] h1")
}

/// Everything as after `git clone`: a shelf, a cart, the checkout page, a receipt, and an order
/// that becomes paid.
pub async fn from_the_shelf_to_the_parcel(stage: &Stage) {
    let browser = &stage.browser;
    browser.goto(&stage.url("/")).await;
    browser.click("#mug form.buy button").await;
    browser.at("/cart").await;
    browser.goto(&stage.url("/")).await;
    browser.click("#tea form.buy button").await;
    browser.click("button[formaction='/orders']").await;

    let till = browser.at("/checkout?order=").await;
    let order = till.rsplit_once('=').expect("an order").1.to_owned();
    browser.read("#total", "€27.50").await;
    browser.read("#lines", "Harbour mug").await;
    browser.read("#submit", "Pay €27.50").await;
    browser
        .click("#payment-element button[data-card='4242424242424242']")
        .await;
    browser.click("#submit").await;

    browser.see(&outcome("succeeded")).await;
    let receipt = browser.at("/checkout/complete").await;
    assert!(
        !receipt.contains("secret"),
        "the client secret is gone from the address"
    );
    browser.reload().await;
    browser.see(&outcome("succeeded")).await;

    browser.click("a[href*='/orders/']").await;
    browser.at(&format!("/orders/{order}")).await;
    // The page updates by itself.
    browser.see("#order[data-status='paid']").await;
    browser.read("#order", "Parcel no. 1").await;
    let paid = stage.paid_once(&order).await;
    assert_eq!(
        (&paid["amount"], &paid["currency"]),
        (&27_50.into(), &"eur".into())
    );
    browser.goto(&stage.url("/cart")).await;
    assert!(!browser.sees("form.cart").await, "the cart is empty again");
}

/// A buyer pays with a declined card, then with a good one, on the same page and the same
/// PaymentIntent.
pub async fn declined_then_another_card(stage: &Stage) {
    let browser = &stage.browser;
    let order = stage.go_to_the_till().await;
    // Stripe answers a decline with 402, which the browser reports.
    browser.expect_error(
        "/confirm - Failed to load resource: the server responded with a status of 402",
    );
    stage.pay_with(DECLINED).await;
    browser.read("#payment-message", "declined").await;
    stage.not_shipped(&order, Status::Failed).await;
    let first = stage.intents(&order).await;

    stage.pay_with(GOOD).await;
    browser.see(&outcome("succeeded")).await;
    let paid = stage.paid_once(&order).await;
    assert_eq!(
        paid["payment_intent"], first[0]["id"],
        "the second try uses the intent of the first"
    );
}

/// Another implementation of Stripe.js: its own origin, a form in an iframe, no events, no
/// redirect.
pub async fn another_stripe_js(stage: &Stage) {
    let browser = &stage.browser;
    let order = stage.go_to_the_till().await;
    browser.click("#submit").await;
    browser.read("#payment-message", "Where is the card?").await;
    browser.expect_error(
        "/confirm - Failed to load resource: the server responded with a status of 402",
    );
    let frame = "#payment-element iframe";
    browser.fill_in_frame(frame, "#number", DECLINED).await;
    browser.click("#submit").await;
    browser.read("#payment-message", "declined").await;
    browser.fill_in_frame(frame, "#number", GOOD).await;
    browser.click("#submit").await;
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
}

/// The bank asks the buyer to authenticate, and the buyer accepts.
pub async fn three_d_secure_accepted(stage: &Stage) {
    let browser = &stage.browser;
    let order = stage.go_to_the_till().await;
    stage.pay_with(THREE_D_SECURE).await;
    browser.see("dialog[open]").await;
    assert_eq!(
        stage.order(&order).await["status"],
        "pending",
        "nothing is paid while the bank asks"
    );
    browser.click("#test-source-authorize-3ds").await;
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
}

/// The bank asks the buyer to authenticate. The buyer refuses, and then uses another card.
pub async fn three_d_secure_refused(stage: &Stage) {
    let browser = &stage.browser;
    let order = stage.go_to_the_till().await;
    stage.pay_with(THREE_D_SECURE).await;
    browser.click("#test-source-fail-3ds").await;
    browser.read("#payment-message", "authenticate").await;
    stage.not_shipped(&order, Status::Failed).await;

    stage.pay_with(GOOD).await;
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
}

/// The buyer presses the button twice, and then Enter, while Stripe is slow. There is one
/// PaymentIntent, one charge and one parcel.
pub async fn double_click(stage: &Stage) {
    let browser = &stage.browser;
    let order = stage.go_to_the_till().await;
    stage.type_in(GOOD).await;
    stage
        .sandbox()
        .faults()
        .next(1, Fault::Slow(Duration::from_secs(1)));
    browser.double_click("#submit").await;
    assert!(
        browser.has_focus("#submit").await,
        "the button keeps the focus while it works"
    );
    browser.press(Key::Enter).await;
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
    assert_eq!(stage.posts_to("/v1/payment_intents"), 1, "asked for once");
    assert_eq!(stage.posts_to("/confirm"), 1, "confirmed once");
}

/// Stripe.js does not load, and the page says so. As soon as it can load, one press of the retry
/// button is enough.
pub async fn stripe_js_blocked(stage: &Stage) {
    let browser = &stage.browser;
    browser.block(&["*/stripe.js*"]).await;
    let order = stage.go_to_the_till().await;
    browser
        .read("#payment-failure", "could not be loaded")
        .await;
    assert!(
        browser.sees("#submit:disabled").await,
        "there is nothing to press yet"
    );
    // Still blocked.
    browser.click("#retry").await;
    browser
        .read("#payment-failure", "could not be loaded")
        .await;

    browser.block(&[]).await;
    browser.click("#retry").await;
    stage.pay_with(GOOD).await;
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
}

/// From the shelf to the receipt, through 3-D Secure, without a mouse.
pub async fn keyboard_only(stage: &Stage) {
    let browser = &stage.browser;
    browser.goto(&stage.url("/")).await;
    browser.tab_to("#mug form.buy button").await;
    browser.press(Key::Enter).await;
    browser.at("/cart").await;
    browser.tab_to("button[formaction='/orders']").await;
    browser.press(Key::Enter).await;

    let till = browser.at("/checkout?order=").await;
    let order = till.rsplit_once('=').expect("an order").1.to_owned();
    browser.see("#submit:enabled").await;
    browser.tab_to("#Field-numberInput").await;
    browser.type_keys(THREE_D_SECURE).await;
    browser.tab_to("#Field-expiryInput").await;
    browser.type_keys("1234").await;
    browser.tab_to("#Field-cvcInput").await;
    // First without the CVC: the focus moves to the missing field.
    browser.tab_to("#submit").await;
    browser.press(Key::Enter).await;
    until("the focus is on the missing CVC", async || {
        browser.has_focus("#Field-cvcInput").await.then_some(())
    })
    .await;
    browser.read("#Field-cvcError", "incomplete").await;
    browser.see("form[aria-busy='false']").await;
    assert!(
        !browser.sees("#payment-message").await,
        "the form has said it already"
    );
    browser.type_keys("123").await;
    browser.press(Key::Enter).await;

    browser.see("dialog[open]").await;
    until("the focus is in the dialog", async || {
        browser.has_focus("dialog[open] *").await.then_some(())
    })
    .await;
    if !browser.has_focus("#test-source-authorize-3ds").await {
        browser.tab_to("#test-source-authorize-3ds").await;
    }
    browser.press(Key::Enter).await;
    browser.see(&outcome("succeeded")).await;
    browser.tab_to("a[href*='/orders/']").await;
    browser.press(Key::Enter).await;
    browser.at(&format!("/orders/{order}")).await;
    browser.see("#order[data-status='paid']").await;
    stage.paid_once(&order).await;
}

/// The back button after paying leads to no second payment.
pub async fn back_after_paying(stage: &Stage) {
    let browser = &stage.browser;
    let order = stage.go_to_the_till().await;
    stage.pay_with(GOOD).await;
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;

    browser.expect_error("Failed to load resource: the server responded with a status of 409");
    browser.back().await;
    browser.at("/checkout?order=").await;
    browser.read("main", "paid").await;
    browser.see(&format!("a[href*='/orders/{order}']")).await;
    assert!(
        !browser.sees("#submit").await,
        "there is nothing to pay with"
    );
    stage.paid_once(&order).await;
}

/// The price rises while the checkout page is open. The page shows the new price, and the buyer
/// pays it only after another press.
pub async fn price_changed(stage: &Stage) {
    let browser = &stage.browser;
    let order = stage.go_to_the_till().await;
    browser.read("#total", "€18.00").await;
    stage.type_in(GOOD).await;
    let amount = stage.double_the_order(&order).await;

    browser.click("#submit").await;
    browser.read("#payment-message", "€36.00").await;
    browser.read("#total", "€36.00").await;
    browser.read("#lines", "Quantity 2").await;
    browser.read("#submit", "€36.00").await;
    assert_eq!(
        stage.posts_to("/confirm"),
        0,
        "nothing is paid that was not agreed to"
    );
    stage.not_shipped(&order, Status::Pending).await;

    // The form still has its input.
    browser.click("#submit").await;
    browser.see(&outcome("succeeded")).await;
    let paid = stage.paid_once(&order).await;
    assert_eq!(paid["amount"], amount);
}

/// Two tabs show the same order. After the payment in one tab, the other cannot pay it again.
pub async fn paid_already(stage: &Stage) {
    let browser = &stage.browser;
    let order = stage.go_to_the_till().await;
    stage.type_in(GOOD).await;
    let till = browser.url().await;

    let first = browser.open_tab().await;
    browser.goto(&till).await;
    stage.pay_with(GOOD).await;
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
    browser.return_to(first).await;

    browser.expect_error("/create-payment-intent?order=");
    browser.click("#submit").await;
    browser.read("#payment-message", "paid").await;
    browser
        .see(&format!("#order-link a[href*='/orders/{order}']"))
        .await;
    assert!(
        !browser.sees("#submit").await,
        "there is nothing to press any more"
    );
    stage.paid_once(&order).await;
}

/// The bank's own page sends the buyer back unpaid. The receipt page says so, and leads back to the
/// checkout page.
pub async fn redirect_comes_back_failed(stage: &Stage) {
    let browser = &stage.browser;
    let order = stage.go_to_the_till().await;
    browser.expect_error(
        "/confirm - Failed to load resource: the server responded with a status of 402",
    );
    // The PaymentIntent exists only after a first try.
    stage.pay_with(DECLINED).await;
    browser.read("#payment-message", "declined").await;

    let bank = stage.sent_to_the_bank(&order, THREE_D_SECURE).await;
    browser.goto(&bank).await;
    browser.click("button[value='fail']").await;
    browser.see(&outcome("requires_payment_method")).await;
    let receipt = browser.url().await;
    assert!(
        !receipt.contains("secret"),
        "the client secret is gone from the address"
    );
    stage.not_shipped(&order, Status::Failed).await;

    // A reload keeps the link back.
    browser.reload().await;
    browser.see(&outcome("requires_payment_method")).await;
    browser.click("#try-again").await;
    browser.at(&format!("/checkout?order={order}")).await;
    stage.pay_with(GOOD).await;
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
}

/// The bank opens another browser, and Stripe adds parameters that the page does not know.
pub async fn redirect_into_another_browser(stage: &Stage) {
    let browser = &stage.browser;
    let order = stage.go_to_the_till().await;
    browser.expect_error(
        "/confirm - Failed to load resource: the server responded with a status of 402",
    );
    stage.pay_with(DECLINED).await;
    browser.read("#payment-message", "declined").await;
    let intents = stage.intents(&order).await;
    let secret = intents[0]["client_secret"].as_str().expect("a secret");
    let id = intents[0]["id"].as_str().expect("an id");
    let back = stage.return_address();

    let first = browser.open_tab().await;
    browser
        .goto(&format!(
            "{back}&payment_intent={id}&payment_intent_client_secret={secret}&redirect_status=failed&redirect_pm_type=card&source_type=three_d_secure"
        ))
        .await;
    browser.see(&outcome("requires_payment_method")).await;
    browser.click("#try-again").await;
    let till = browser.at("/checkout?order=").await;
    assert!(
        till.ends_with(&format!("/checkout?order={order}")),
        "{till}"
    );
    stage.pay_with(GOOD).await;
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
    browser.return_to(first).await;
}

/// An iPhone of 2020 can pay. The test removes newer browser features.
pub async fn oldest_browser(stage: &Stage) {
    let browser = &stage.browser;
    browser
        .before_each_page(
            "delete AbortSignal.timeout; delete AbortSignal.any; delete window.structuredClone; delete Array.prototype.at; delete String.prototype.replaceAll;
             MediaQueryList.prototype.addEventListener = undefined;",
        )
        .await;
    let order = stage.go_to_the_till().await;
    stage.pay_with(GOOD).await;
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
}

/// In a browser that cannot run the scripts, the page says so, and no spinner turns forever.
pub async fn too_old_browser(stage: &Stage) {
    let browser = &stage.browser;
    let order = stage.go_to_the_till().await;
    stage.pay_with(PROCESSING).await;
    browser.see(&outcome("processing")).await;
    stage.not_shipped(&order, Status::Processing).await;

    // A blocked script does as little as one that the browser cannot parse.
    browser
        .block(&["*/checkout/checkout.js*", "*/checkout/complete.js*"])
        .await;
    browser.reload().await;
    browser
        .read(
            "section[data-outcome='not_found']",
            "We cannot show this payment here",
        )
        .await;
    assert!(!browser.sees(".spinner").await, "nothing is going on");

    stage.go_to_the_till().await;
    browser
        .read("#old-browser", "your browser is too old")
        .await;
    assert!(
        !browser.sees("#payment-loading").await,
        "nothing is loading"
    );
    assert!(browser.sees("#submit:disabled").await);
}

/// The page does not report its own fault as a fault of the buyer's connection.
pub async fn a_fault_of_the_page(stage: &Stage) {
    let browser = &stage.browser;
    browser.expect_error("The checkout page failed:");
    let order = stage.go_to_the_till().await;
    stage.type_in(GOOD).await;
    browser
        .script("window.AbortController = undefined;", vec![])
        .await;
    browser.click("#submit").await;
    browser
        .read("#payment-message", "Something went wrong on this page")
        .await;
    assert_eq!(stage.posts_to("/confirm"), 0, "nothing is paid");

    // Nor does it report a connection fault as its own.
    browser.reload().await;
    browser.block(&["*/create-payment-intent*"]).await;
    stage.pay_with(GOOD).await;
    browser
        .read("#payment-message", "could not be reached")
        .await;
    browser.block(&[]).await;
    browser.click("#submit").await;
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
}

/// Amounts show all of their currency's decimals or none, on both pages.
pub async fn amounts_have_all_decimals_or_none(stage: &Stage) {
    let browser = &stage.browser;
    browser
        .before_each_page(
            "document.addEventListener('readystatechange', () => {
                if (document.readyState !== 'interactive') return;
                for (const [minor, currency, decimals] of [[1250, 'rsd', 2], [1200, 'rsd', 2], [1250, 'eur', 2], [1200, 'eur', 2], [1200, 'jpy', 0], [12340, 'kwd', 3], [500, 'isk', 2], [5, 'isk', 2]]) {
                    const amount = document.createElement('data');
                    amount.className = 'money sample';
                    amount.value = minor;
                    amount.dataset.currency = currency;
                    amount.dataset.decimals = decimals;
                    document.querySelector('main').append(amount);
                }
            });",
        )
        .await;
    let written = async || {
        let read = "return [...document.querySelectorAll('.sample')].map((amount) => amount.textContent.replace(/\\u00a0/g, ' ')).join(', ');";
        browser.script(read, vec![]).await
    };
    let right = "RSD 12.50, RSD 12, €12.50, €12.00, ¥1,200, KWD 12.340, ISK 5, ISK 0.05";
    let order = stage.go_to_the_till().await;
    browser.see("#submit:enabled").await;
    assert_eq!(written().await, right);
    stage.pay_with(GOOD).await;
    browser.see(&outcome("succeeded")).await;
    assert_eq!(written().await, right);
    stage.paid_once(&order).await;
}

/// The bank takes its time. The receipt page waits with the buyer, and updates by itself.
pub async fn redirect_comes_back_processing(stage: &Stage) {
    let browser = &stage.browser;
    let order = stage.go_to_the_till().await;
    stage.pay_with(PROCESSING).await;
    browser.see(&outcome("processing")).await;
    stage.not_shipped(&order, Status::Processing).await;

    let intents = stage.intents(&order).await;
    assert!(
        stage
            .sandbox()
            .settle(intents[0]["id"].as_str().expect("an id"), true)
    );
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
}

/// The bank takes its time and then declines. The page updates by itself, and the buyer can try
/// again.
pub async fn processing_then_failed(stage: &Stage) {
    let browser = &stage.browser;
    let order = stage.go_to_the_till().await;
    stage.pay_with(PROCESSING).await;
    browser.see(&outcome("processing")).await;
    stage.not_shipped(&order, Status::Processing).await;

    let intents = stage.intents(&order).await;
    assert!(
        stage
            .sandbox()
            .settle(intents[0]["id"].as_str().expect("an id"), false)
    );
    browser.see(&outcome("requires_payment_method")).await;
    stage.not_shipped(&order, Status::Failed).await;

    browser.click("#try-again").await;
    stage.pay_with(GOOD).await;
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
}
