//! The scenarios of a merchant on the admin pages, with their effect on the buyer's pages.

use super::{super::Stage, DECLINED, GOOD, outcome};
use crate::order::Status;

// https://docs.stripe.com/testing
const ACCOUNT: &str = "DE89370400440532013000";

/// Pays for a mug. Returns the ids of the order and the payment.
async fn bought(stage: &Stage) -> (String, String) {
    let order = stage.go_to_the_till().await;
    stage.pay_with(GOOD).await;
    stage.browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
    let payment = stage.intents(&order).await[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    (order, payment)
}

async fn open_payment(stage: &Stage, payment: &str) {
    stage.go_into_the_back_room().await;
    // The way that a merchant takes.
    stage
        .browser
        .click(&format!(
            "#orders ~ table a[href='/admin/payments/{payment}']"
        ))
        .await;
    stage.browser.read("main", payment).await;
}

async fn refund_of(stage: &Stage, amount: &str) {
    stage
        .browser
        .fill("#refund input[name='amount']", amount)
        .await;
}

/// A double click refunds a part only once, a refund of too much fails, and then the rest is
/// refunded.
pub async fn refund_in_part_and_in_full(stage: &Stage) {
    let browser = &stage.browser;
    let (order, payment) = bought(stage).await;
    open_payment(stage, &payment).await;
    browser.read("#refund", "€18.00 can go back").await;

    browser.expect_error("Failed to load resource: the server responded with a status of 422");
    refund_of(stage, "18.01").await;
    browser.click("#refund button").await;
    browser
        .read("[role='status']", "€18.01 is more than is left")
        .await;

    refund_of(stage, "5").await;
    browser.double_click("#refund button").await;
    browser.read(".facts", "Left\n€13.00").await;
    stage.told().await;
    browser.reload().await;
    browser.read("#refunds ~ table", "went back").await;
    let balance = stage.sandbox().balance(&payment).expect("a balance");
    assert_eq!(balance.refunded, 5_00, "two clicks, one refund");
    browser.goto(&stage.url(&format!("/orders/{order}"))).await;
    browser.read(".back", "Went back to you").await;
    browser.read(".back", "€5.00").await;
    browser.see("#order[data-status='paid']").await;

    browser
        .goto(&stage.url(&format!("/admin/payments/{payment}")))
        .await;
    // The form's initial amount is all that is left.
    browser.click("#refund button").await;
    browser.read(".facts", "Left\nnothing").await;
    stage.order_becomes(&order, Status::Refunded).await;
    let balance = stage.sandbox().balance(&payment).expect("a balance");
    assert_eq!((balance.charged, balance.refunded), (18_00, 18_00));
    browser.reload().await;
    browser.read(".verdict", "given back in full").await;
    assert!(!browser.sees("#refund").await, "nothing is left");
    browser.goto(&stage.url(&format!("/orders/{order}"))).await;
    browser.see("#order[data-status='refunded']").await;
}

/// Orders the article that is made to order, and authorises its amount. Returns the ids of the
/// order and the payment.
async fn pre_ordered(stage: &Stage) -> (String, String) {
    let browser = &stage.browser;
    browser.goto(&stage.url("/")).await;
    browser.read("#kettle", "Made on order").await;
    browser.click("#kettle form.buy button").await;
    browser
        .read(".promise", "only reserves the money now")
        .await;
    browser.click("button[formaction='/orders']").await;
    let till = browser.at("/checkout?order=").await;
    let order = till.rsplit_once('=').expect("an order").1.to_owned();
    browser.see("#submit:enabled").await;
    assert!(
        !browser.sees("#Tab-sepa_debit").await,
        "a debit cannot be authorised"
    );
    stage.pay_with(GOOD).await;
    browser.see(&outcome("requires_capture")).await;
    stage.not_shipped(&order, Status::Reserved).await;
    browser.click("a[href*='/orders/']").await;
    browser.see("#order[data-status='reserved']").await;
    browser.read("#order", "Nothing is charged yet").await;
    let payment = stage.intents(&order).await[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let balance = stage.sandbox().balance(&payment).expect("a balance");
    assert_eq!(balance.charged, 0);
    (order, payment)
}

/// The merchant captures a part of the authorised amount when the kettle is ready. The buyer's page
/// updates by itself.
pub async fn pre_order_taken(stage: &Stage) {
    let browser = &stage.browser;
    let (order, payment) = pre_ordered(stage).await;
    let buyers = browser.open_tab().await;
    open_payment(stage, &payment).await;
    browser.read(".facts", "Reserved\n€96.00").await;
    browser.read("#until", " UTC, in ").await;

    browser.expect_error("Failed to load resource: the server responded with a status of 422");
    browser.fill("#capture input[name='amount']", "97").await;
    browser.click("#capture button").await;
    browser
        .read("[role='status']", "€97.00 is more than is reserved")
        .await;

    browser.fill("#capture input[name='amount']", "90").await;
    browser.double_click("#capture button").await;
    browser.read(".facts", "Status\n").await;
    let paid = stage.order_becomes(&order, Status::Paid).await;
    assert_eq!(paid["shipments"].as_array().map(Vec::len), Some(1));
    let balance = stage.sandbox().balance(&payment).expect("a balance");
    assert_eq!(balance.charged, 90_00);
    browser.reload().await;
    browser.read(".facts", "Charged\n€90.00").await;
    browser
        .read("#ledger ~ table", "Reserved money taken")
        .await;

    browser.return_to(buyers).await;
    browser.see("#order[data-status='paid']").await;
    browser.read("#order", "Charged").await;
    browser.read("#order", "€90.00").await;
}

/// The kettle will never be ready. The merchant releases the authorised amount, and the buyer's
/// page says so.
pub async fn pre_order_called_off(stage: &Stage) {
    let browser = &stage.browser;
    let (order, payment) = pre_ordered(stage).await;
    open_payment(stage, &payment).await;
    browser.click("#call-off button").await;
    stage.not_shipped(&order, Status::Canceled).await;
    browser.reload().await;
    browser.read(".verdict", "Called off").await;
    browser
        .read("#ledger ~ table", "Reserved money let go")
        .await;
    assert!(!browser.sees("#capture").await, "nothing is to be taken");
    let intents = stage.intents(&order).await;
    assert_eq!(intents[0]["status"], "canceled");

    browser.goto(&stage.url(&format!("/orders/{order}"))).await;
    browser.see("#order[data-status='canceled']").await;
    // So does the checkout page.
    browser.expect_error("Failed to load resource: the server responded with a status of 422");
    browser
        .goto(&stage.url(&format!("/checkout?order={order}")))
        .await;
    browser.read("main", "canceled").await;
}

/// The buyer disputes the payment. The page shows the deadline for the response, and later the
/// outcome.
pub async fn dispute_with_deadline(stage: &Stage) {
    let browser = &stage.browser;
    let (_, payment) = bought(stage).await;
    assert!(stage.sandbox().dispute(&payment));
    stage.told().await;
    stage.go_into_the_back_room().await;
    browser
        .read("#disputes ~ .disputes", "Evidence is taken until")
        .await;
    browser
        .click(&format!(".disputes a[href='/admin/payments/{payment}']"))
        .await;
    browser
        .read(".verdict", "Answer with evidence at Stripe until")
        .await;
    browser.read(".disputes", "fraudulent").await;
    browser.read(".disputes", "€18.00").await;
    browser.read(".due", " UTC, in ").await;
    assert!(!browser.sees("#refund").await, "the bank has the money");

    assert!(stage.sandbox().decide_dispute(&payment, true));
    stage.told().await;
    browser.reload().await;
    browser.read(".disputes .tag", "won").await;
    browser.read(".disputes", "yours again").await;
    browser
        .read("#ledger ~ table", "Given back by the bank")
        .await;
    assert!(!browser.sees(".due").await, "there is nothing to answer");
    browser.goto(&stage.url("/admin")).await;
    browser.see("#orders").await;
    assert!(!browser.sees("#disputes").await, "it is decided");
}

/// Pays by a bank debit, which then is processing, as both pages say. Returns the ids of the order
/// and the payment.
async fn debited(stage: &Stage) -> (String, String) {
    let browser = &stage.browser;
    stage.sandbox().banks().wait_to_be_told();
    let order = stage.go_to_the_till().await;
    stage.pay_by_debit(ACCOUNT).await;
    browser.see(&outcome("processing")).await;
    stage.not_shipped(&order, Status::Processing).await;
    let payment = stage.intents(&order).await[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    open_payment(stage, &payment).await;
    browser.read(".verdict", "a debit takes days").await;
    assert!(!browser.sees("#refund").await, "nothing was charged");
    browser.goto(&stage.url(&format!("/orders/{order}"))).await;
    browser.see("#order[data-status='processing']").await;
    browser.read("#order", "A bank debit takes some days").await;
    (order, payment)
}

/// The bank accepts the debit. The buyer's page updates by itself, and only now the shop ships.
pub async fn bank_debit_settles(stage: &Stage) {
    let browser = &stage.browser;
    let (order, payment) = debited(stage).await;
    assert!(stage.sandbox().settle(&payment, true));
    browser.see("#order[data-status='paid']").await;
    stage.paid_once(&order).await;
    browser
        .goto(&stage.url(&format!("/admin/payments/{payment}")))
        .await;
    browser.read(".verdict", "the shipment is written").await;
}

/// The bank declines the debit days later. The buyer's page updates by itself, and the buyer pays
/// by card.
pub async fn bank_debit_fails(stage: &Stage) {
    let browser = &stage.browser;
    let (order, payment) = debited(stage).await;
    assert!(stage.sandbox().settle(&payment, false));
    browser.see("#order[data-status='failed']").await;
    stage.not_shipped(&order, Status::Failed).await;
    let buyers = browser.open_tab().await;
    browser
        .goto(&stage.url(&format!("/admin/payments/{payment}")))
        .await;
    browser.read(".verdict", "The buyer can try again").await;
    browser.read("#ledger ~ table", "Attempt failed").await;
    browser.return_to(buyers).await;

    browser.click("#order .button").await;
    stage.pay_with(GOOD).await;
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
}

/// The server draws a day of takings, a refund, a dispute and two failures.
///
/// Each chart has a text and a table.
pub async fn the_day_in_charts(stage: &Stage) {
    let browser = &stage.browser;
    stage.go_into_the_back_room().await;
    for chart in ["takings-eur", "refunds-eur", "disputes-eur", "failures"] {
        browser
            .see(&format!("#{chart} svg[role='img'] .nothing"))
            .await;
    }
    browser.read("#takings-eur", "€0.00").await;

    browser.expect_error(
        "/confirm - Failed to load resource: the server responded with a status of 402",
    );
    let order = stage.go_to_the_till().await;
    stage.pay_with(DECLINED).await;
    browser.read("#payment-message", "declined").await;
    stage.order_becomes(&order, Status::Failed).await;
    stage.pay_with(GOOD).await;
    browser.see(&outcome("succeeded")).await;
    stage.paid_once(&order).await;
    let (_, payment) = bought(stage).await;
    assert!(stage.sandbox().dispute(&payment));
    stage.told().await;

    browser.goto(&stage.url("/admin")).await;
    browser.read("#takings-eur", "€36.00").await;
    browser.read("#takings-eur", "2 payments").await;
    browser.read("#disputes-eur", "€18.00").await;
    browser.read("#disputes-eur", "1 opened").await;
    browser.read("#failures svg", "generic decline").await;
    for chart in ["takings-eur", "disputes-eur", "failures"] {
        browser.see(&format!("#{chart} rect.marked")).await;
        browser.click(&format!("#{chart} summary")).await;
        browser
            .see(&format!("#{chart} tbody th[scope='row']"))
            .await;
    }
    let named = browser
        .script(
            "return [...document.querySelectorAll('.chart svg')].every((svg) => svg.getAttribute('aria-labelledby').split(' ').every((id) => document.getElementById(id)?.textContent.trim()));",
            vec![],
        )
        .await;
    assert_eq!(named, true, "each drawing has its words");
    let coloured = browser
        .script(
            "return getComputedStyle(document.querySelector('#takings-eur rect.marked')).fill;",
            vec![],
        )
        .await;
    assert_ne!(coloured, "rgb(0, 0, 0)", "the style sheet colours it");

    browser.click("nav[aria-label='Days'] a").await;
    browser.at("/admin/days/").await;
    browser.read("#takings-eur", "Nothing on that day.").await;
}
