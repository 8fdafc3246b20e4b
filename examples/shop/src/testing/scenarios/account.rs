//! The scenarios of a returning buyer: an account, saved cards, one click, and Stripe's own page.

use super::{super::Stage, DECLINED, GOOD, outcome};
use crate::order::Status;

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "a crab under the pier";

// https://docs.stripe.com/testing
const DECLINED_LATER: &str = "4000000000000341";
const ALWAYS_ASKED: &str = "4000002760003184";

/// Creates an account as a buyer does.
async fn sign_up(stage: &Stage) {
    let browser = &stage.browser;
    browser.goto(&stage.url("/")).await;
    browser.click(".account-link").await;
    browser.at("/account/login").await;
    browser.click("a[href='/account/new']").await;
    browser.fill("#email", EMAIL).await;
    browser.fill("#password", PASSWORD).await;
    browser.click("form.login button").await;
    browser.read("main", EMAIL).await;
}

/// Saves a card without paying, and returns to the account.
async fn save(stage: &Stage, card: &str, name: &str) {
    let browser = &stage.browser;
    browser.click("a[href='/checkout/setup']").await;
    browser.at("/checkout/setup").await;
    stage.pay_with(card).await;
    if card == ALWAYS_ASKED {
        browser.click("#test-source-authorize-3ds").await;
    }
    browser.see(&outcome("succeeded")).await;
    browser.click("a.button[href='/account']").await;
    browser.read(".cards", name).await;
}

/// Puts a mug into the cart and double-clicks the button. The scenario checks where that leads.
async fn buy(stage: &Stage) {
    let browser = &stage.browser;
    browser.goto(&stage.url("/")).await;
    browser.click("#mug form.buy button").await;
    browser.at("/cart").await;
    browser.read("#buy", "€18.00").await;
    browser.double_click("#buy").await;
}

/// Returns the id of the account's only order.
async fn order_of_account(stage: &Stage) -> String {
    let browser = &stage.browser;
    browser.goto(&stage.url("/account")).await;
    browser.see("#orders ~ table").await;
    let found =
        "return [...document.querySelectorAll('#orders ~ table a')].map((link) => link.pathname);";
    let links = browser.script(found, vec![]).await;
    let links = links.as_array().expect("a list");
    assert_eq!(links.len(), 1, "one order: {links:?}");
    let link = links[0].as_str().expect("a link");
    link.trim_start_matches("/orders/").to_owned()
}

/// A buyer saves a card without a charge, logs out and in, and removes the card.
///
/// After the logout the buyer is a guest. After the login everything is unchanged.
pub async fn card_saved_without_paying_and_removed(stage: &Stage) {
    let browser = &stage.browser;
    sign_up(stage).await;
    save(stage, GOOD, "Visa •••• 4242").await;
    browser.read(".cards", "12 / 34").await;
    assert_eq!(stage.posts_to("/v1/payment_intents"), 0, "nothing is paid");

    browser.click(".head button").await;
    browser.see(".shelf").await;
    browser.goto(&stage.url("/account")).await;
    browser.at("/account/login").await;
    browser.expect_error("Failed to load resource: the server responded with a status of 403");
    browser.fill("#email", EMAIL).await;
    browser.fill("#password", "not the password").await;
    browser.click("form.login button").await;
    browser.read("[role='alert']", "We know no account").await;
    browser.fill("#password", PASSWORD).await;
    browser.click("form.login button").await;
    browser.read(".cards", "Visa •••• 4242").await;

    browser.click(".saved summary").await;
    browser.click(".saved form button").await;
    browser.read("main", "None yet. With a saved card").await;
    assert!(!browser.sees(".saved").await, "it is gone");
    browser.goto(&stage.url("/cart")).await;
    stage.told().await;
}

/// A double click on the button in the cart leads to one order, one payment and one parcel.
pub async fn one_click(stage: &Stage) {
    let browser = &stage.browser;
    sign_up(stage).await;
    save(stage, GOOD, "4242").await;
    buy(stage).await;
    browser.at("/orders/").await;
    browser.see("#order[data-status='paid']").await;
    let order = order_of_account(stage).await;
    stage.paid_once(&order).await;
    browser.goto(&stage.url("/cart")).await;
    assert!(!browser.sees("form.cart").await, "the cart is empty again");
}

/// The bank accepts a card when the buyer saves it, and declines it later.
///
/// The page shows that, and the buyer pays the same PaymentIntent with another card.
pub async fn one_click_declined(stage: &Stage) {
    let browser = &stage.browser;
    sign_up(stage).await;
    save(stage, DECLINED_LATER, "0341").await;
    browser.expect_error("Failed to load resource: the server responded with a status of 402");
    buy(stage).await;
    browser.read("#unpaid", "declined").await;
    browser
        .read("#unpaid", "Visa •••• 0341 was not charged")
        .await;
    browser.click("#unpaid a.button").await;
    let till = browser.at("/checkout?order=").await;
    let order = till.rsplit_once('=').expect("an order").1.to_owned();
    stage.not_shipped(&order, Status::Failed).await;
    let first = stage.intents(&order).await;

    browser
        .click("input[name='StripeSandbox-saved'][value='']")
        .await;
    stage.pay_with(GOOD).await;
    browser.see(&outcome("succeeded")).await;
    let paid = stage.paid_once(&order).await;
    assert_eq!(paid["payment_intent"], first[0]["id"]);
    assert_eq!(order_of_account(stage).await, order);
}

/// The bank wants to authenticate the buyer.
///
/// The shop sends the buyer to the checkout page of the same order. The buyer authenticates and
/// pays the same PaymentIntent.
pub async fn one_click_that_the_bank_asks_about(stage: &Stage) {
    let browser = &stage.browser;
    sign_up(stage).await;
    save(stage, ALWAYS_ASKED, "3184").await;
    buy(stage).await;
    let till = browser.at("/checkout?order=").await;
    let order = till.rsplit_once('=').expect("an order").1.to_owned();
    let first = stage.intents(&order).await;
    assert_eq!(first.len(), 1, "{first:?}");

    browser.read(".saved", "3184").await;
    browser.click("#submit").await;
    browser.click("#test-source-authorize-3ds").await;
    browser.see(&outcome("succeeded")).await;
    let paid = stage.paid_once(&order).await;
    assert_eq!(paid["payment_intent"], first[0]["id"]);
    assert_eq!(order_of_account(stage).await, order);
}

/// A logged-in buyer saves a card while paying, and finds it on the account page. A guest gets no
/// such choice.
pub async fn saved_card_on_the_shops_own_page(stage: &Stage) {
    let browser = &stage.browser;
    stage.go_to_the_till().await;
    browser.see("#submit:enabled").await;
    assert!(
        !browser.sees("#Field-saveInput").await,
        "a guest has no cards"
    );

    sign_up(stage).await;
    let order = stage.go_to_the_till().await;
    stage.type_in(DECLINED).await;
    browser.click("#Field-saveInput").await;
    browser.expect_error(
        "/confirm - Failed to load resource: the server responded with a status of 402",
    );
    browser.click("#submit").await;
    browser.read("#payment-message", "declined").await;
    // Another card pays the same PaymentIntent. The choice to save the first card does not get in
    // the way.
    stage.type_in(GOOD).await;
    browser.click("#submit").await;
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
    browser.goto(&stage.url("/account")).await;
    browser.read(".cards", "Visa •••• 4242").await;
}

/// Goes from the cart to Stripe's page. Returns the order's id.
async fn go_to_stripes_page(stage: &Stage) -> String {
    let browser = &stage.browser;
    browser.goto(&stage.url("/")).await;
    browser.click("#mug form.buy button").await;
    browser.click("button[name='page'][value='hosted']").await;
    browser.at(stage.sandbox().url()).await;
    browser.read("#items", "Harbour mug").await;
    // The link back without paying leads to the order, from which the buyer can continue.
    browser.click("#back").await;
    let back = browser.at("/orders/").await;
    let order = back.rsplit_once('/').expect("an order").1.to_owned();
    browser
        .click("form[action='/create-checkout-session'] button")
        .await;
    browser.at(stage.sandbox().url()).await;
    browser.fill("#email", EMAIL).await;
    browser.fill("#line1", "Kai 1").await;
    browser.fill("#postal_code", "20457").await;
    browser.fill("#city", "Hamburg").await;
    browser.fill("#name", "Ada Lovelace").await;
    order
}

/// A buyer pays on Stripe's page, with a promotion code and courier shipping.
///
/// The shop fulfils the order and shows the charged amount.
pub async fn on_stripes_page(stage: &Stage) {
    let browser = &stage.browser;
    let order = go_to_stripes_page(stage).await;
    browser.click("button[data-code='SANDBOX10']").await;
    browser.read("#totals", "−€1.80").await;
    browser.click("#shipping input[value='1']").await;
    browser.read("#pay", "€23.10").await;
    browser
        .click("#card button[data-card='4242424242424242']")
        .await;
    browser.click("#pay").await;
    let receipt = browser.at("/checkout/complete?session_id=").await;
    assert!(receipt.starts_with(&stage.url("")), "{receipt}");
    browser.see(&outcome("succeeded")).await;
    browser.click("a[href*='/orders/']").await;
    browser.see("#order[data-status='paid']").await;
    browser.read("#order", "Charged").await;
    browser.read("#order", "€23.10").await;
    let paid = stage.order_becomes(&order, Status::Paid).await;
    assert_eq!(paid["shipments"].as_array().map(Vec::len), Some(1));
    let intents = stage.intents(&order).await;
    assert_eq!(intents.len(), 1);
    assert_eq!(intents[0]["amount_received"], 23_10);
}

/// A promotion code reduces the total to zero. There is no payment, but the shop still ships the
/// parcel once.
pub async fn on_stripes_page_for_nothing(stage: &Stage) {
    let browser = &stage.browser;
    let order = go_to_stripes_page(stage).await;
    browser.click("button[data-code='SANDBOXFREE']").await;
    browser.read("#pay", "Complete order").await;
    browser.click("#pay").await;
    browser.at("/checkout/complete?session_id=").await;
    browser.see(&outcome("succeeded")).await;
    browser.click("a[href*='/orders/']").await;
    browser.see("#order[data-status='paid']").await;
    browser.read("#order", "Parcel no. 1").await;
    let given = stage.order_becomes(&order, Status::Paid).await;
    assert_eq!(given["shipments"].as_array().map(Vec::len), Some(1));
    assert!(stage.intents(&order).await.is_empty(), "nothing is charged");
}
