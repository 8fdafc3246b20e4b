//! The scenarios of a developer on the sandbox's own page, with their effect on the shop.

use fantoccini::key::Key;

use super::{
    super::{Stage, until},
    GOOD, outcome,
};

const ACCOUNT: &str = "DE89370400440532013000";

async fn open_page(stage: &Stage) {
    stage.browser.goto(&stage.sandbox().page()).await;
    stage.browser.read("#connection.live", "Live").await;
}

/// Sets a number in one of the page's switches.
async fn set(stage: &Stage, switch: &str, number: &str) {
    stage.browser.fill(&format!("#{switch}"), number).await;
    stage.browser.press(Key::Enter).await;
    stage.browser.read("#said", "Set, for the events").await;
    stage.browser.see(&format!(".set #{switch}")).await;
}

/// The sandbox loses responses and sends an event twice more. The page shows each attempt as it
/// happens, and the shop packs one parcel.
pub async fn webhooks_lost_and_doubled(stage: &Stage) {
    let browser = &stage.browser;
    open_page(stage).await;
    browser.see("#no-intents").await;
    browser.see("#start[open]").await;
    set(stage, "lose_answers", "2").await;
    let order = stage.go_to_the_till().await;
    stage.pay_with(GOOD).await;
    browser.see(&outcome("succeeded")).await;
    stage.told().await;
    let attempts = stage.sandbox().take_deliveries();
    let lost = attempts
        .iter()
        .filter(|attempt| !attempt.result.is_acknowledged());
    assert_eq!(lost.count(), 2);
    stage.paid_once(&order).await;

    open_page(stage).await;
    browser.read("#intents > li", "18.00 EUR").await;
    browser.read("#intents .pill.good", "succeeded").await;
    browser.read("#intents .about", "visa •••• 4242").await;
    // The newest event is the first.
    browser
        .read("#events > li:first-child .pill", "delivered")
        .await;
    browser.click("#events > li:first-child summary").await;
    let json = browser
        .read("#events > li:first-child pre", "\"object\": \"event\"")
        .await;
    assert!(
        json.contains(
            stage.intents(&order).await[0]["id"]
                .as_str()
                .expect("an id")
        )
    );

    // By keyboard. New events neither close the open one nor take the focus away.
    let twice = "#events > li:first-child button[data-key='twice']";
    browser.tab_to(twice).await;
    browser.press(Key::Enter).await;
    browser.read("#said", "2 times at once").await;
    browser
        .see("#events > li:first-child .attempts li:nth-child(2)")
        .await;
    stage.told().await;
    browser
        .see("#events > li:first-child details[open] pre")
        .await;
    let focus = async || browser.has_focus(twice).await.then_some(());
    until("the focus is where it was", focus).await;
    stage.paid_once(&order).await;
}

/// A press of a button settles a debit. Then the merchant refunds a part, and the buyer disputes
/// the rest.
pub async fn what_banks_do_on_demand(stage: &Stage) {
    let browser = &stage.browser;
    open_page(stage).await;
    browser.click("#banks").await;
    browser.read("#said", "Banks wait").await;
    let order = stage.go_to_the_till().await;
    stage.pay_by_debit(ACCOUNT).await;
    browser.see(&outcome("processing")).await;

    open_page(stage).await;
    browser.read("#intents .pill.wait", "processing").await;
    browser
        .read("#intents .about", "sepa debit •••• 3000")
        .await;
    browser.click("#intents button[data-key='Settle']").await;
    browser.read("#said", "The payment succeeded.").await;
    browser.read("#intents .pill.good", "succeeded").await;
    stage.paid_once(&order).await;
    let payment = stage.intents(&order).await[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();

    // The dialog reports an excessive amount, Escape closes it, and the focus returns to the
    // button.
    browser.expect_error("Failed to load resource: the server responded with a status of 400");
    let refund = "#intents button[data-key='refund']";
    browser.tab_to(refund).await;
    browser.press(Key::Enter).await;
    browser.see("#refund[open] #amount:focus").await;
    browser.fill("#amount", "18.01").await;
    browser.press(Key::Enter).await;
    browser
        .read("#refund-error", "greater than unrefunded amount")
        .await;
    browser.see("#amount[aria-invalid]").await;
    browser.press(Key::Escape).await;
    assert!(!browser.sees("#refund").await);
    assert!(browser.has_focus(refund).await);
    assert_eq!(
        stage
            .sandbox()
            .balance(&payment)
            .expect("a balance")
            .refunded,
        0
    );

    browser.press(Key::Enter).await;
    browser.fill("#amount", "5").await;
    browser.click("#refund .main").await;
    browser.read("#intents .then", "Refund of 5.00 EUR").await;
    stage.told().await;
    assert_eq!(
        stage
            .sandbox()
            .balance(&payment)
            .expect("a balance")
            .refunded,
        5_00
    );

    browser.click("#intents button[data-key='Dispute']").await;
    browser
        .read("#intents .then:last-child .pill", "lost")
        .await;
    stage.told().await;
    // The events of the dispute appear without a reload.
    browser.read("#events > li", "charge.dispute.closed").await;
}
