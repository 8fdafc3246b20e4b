//! Money movements from the admin pages: the requests to Stripe, their number, and the messages to
//! the merchant and the buyer.

use std::time::Duration;

use super::{
    admin::{session, token},
    common::{Open, header, open_with_stripe, text, visit},
};
use shop::Answer;
use stripe_checkout_sandbox::Fault;

/// A merchant who is logged in to the admin pages of a shop with its own Stripe.
struct Merchant {
    open: Open,
    cookies: String,
    csrf: String,
}

impl Merchant {
    async fn new() -> Option<Self> {
        let open = open_with_stripe().await?;
        let cookies = session(&open).await;
        let page = open
            .shop
            .admin(&visit(&[("cookie", cookies.as_str())], ""))
            .await;
        let csrf = token(&page);
        Some(Self {
            open,
            cookies,
            csrf,
        })
    }

    async fn page(&self, payment: &str) -> String {
        let visit = visit(&[("cookie", self.cookies.as_str())], "");
        let page = self.open.shop.payment(&visit, payment).await;
        assert_eq!(page.status, 200, "{}", text(&page));
        text(&page)
    }

    async fn buyers_page(&self, order: &str) -> String {
        text(&self.open.shop.order(&visit(&[], ""), order).await)
    }

    /// Returns the reference of the form on a new page.
    async fn reference(&self, payment: &str) -> String {
        reference_in(&self.page(payment).await)
    }

    async fn refund(&self, payment: &str, reference: &str, amount: &str) -> Answer {
        let body = format!(
            "csrf={}&reference={reference}&amount={amount}&reason=requested_by_customer",
            self.csrf
        );
        let visit = visit(&[("cookie", self.cookies.as_str())], &body);
        let answer = self.open.shop.refund(&visit, payment).await;
        self.open.told().await;
        answer
    }

    async fn capture(&self, payment: &str, reference: &str, amount: &str) -> Answer {
        let body = format!("csrf={}&reference={reference}&amount={amount}", self.csrf);
        let visit = visit(&[("cookie", self.cookies.as_str())], &body);
        let answer = self.open.shop.capture(&visit, payment).await;
        self.open.told().await;
        answer
    }

    async fn call_off(&self, order: &str, payment: &str) -> Answer {
        let body = format!("csrf={}&payment={payment}", self.csrf);
        let visit = visit(&[("cookie", self.cookies.as_str())], &body);
        let answer = self.open.shop.call_off(&visit, order).await;
        self.open.told().await;
        answer
    }

    async fn paid(&self) -> (String, String) {
        let order = self.open.order().await;
        let payment = self.open.pay(&order, "pm_card_visa").await;
        assert_eq!(self.open.status(&order).await, "paid");
        (order, payment)
    }

    async fn reserved(&self) -> (String, String) {
        let order = self.open.pre_order().await;
        let payment = self.open.pay(&order, "pm_card_visa").await;
        assert_eq!(self.open.status(&order).await, "reserved");
        (order, payment)
    }

    fn refunded(&self, payment: &str) -> u64 {
        let balance = self.open.sandbox().balance(payment).unwrap();
        balance.refunded
    }
}

fn reference_in(html: &str) -> String {
    let (_, rest) = html
        .split_once(r#"name="reference" value=""#)
        .expect("a form that moves money");
    rest.split('"').next().unwrap().to_owned()
}

/// Checks that the request succeeded and redirects to the payment.
fn went_well(answer: &Answer, payment: &str) {
    assert_eq!(
        (answer.status, header(answer, "location")),
        (303, format!("/admin/payments/{payment}").as_str()),
        "{}",
        text(answer)
    );
}

/// Checks that the request failed with this sentence.
fn said(answer: &Answer, status: u16, sentence: &str) {
    let html = text(answer);
    assert_eq!(answer.status, status, "{html}");
    let (_, rest) = html
        .split_once(r#"role="status">"#)
        .unwrap_or_else(|| panic!("no message in {html}"));
    let message = rest.split("</p>").next().unwrap();
    assert!(message.contains(sentence), "{message}");
}

#[tokio::test]
async fn all_of_it_goes_back() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    let (order, payment) = merchant.paid().await;
    let reference = merchant.reference(&payment).await;
    let answer = merchant.refund(&payment, &reference, "45.50").await;
    went_well(&answer, &payment);
    assert_eq!(merchant.refunded(&payment), 4550);
    assert_eq!(merchant.open.status(&order).await, "refunded");
    let html = merchant.page(&payment).await;
    for part in [
        "Paid, and given back in full.",
        "went back",
        "requested by customer",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    assert!(!html.contains(r#"id="refund""#), "nothing is left: {html}");
    let html = merchant.buyers_page(&order).await;
    assert!(
        html.contains("Went back to you") && html.contains("€45.50"),
        "{html}"
    );
}

#[tokio::test]
async fn a_double_click_is_one_refund_and_a_second_deliberate_one_is_a_second() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    let (order, payment) = merchant.paid().await;
    let reference = merchant.reference(&payment).await;
    let (one, other) = tokio::join!(
        merchant.refund(&payment, &reference, "10"),
        merchant.refund(&payment, &reference, "10.00")
    );
    went_well(&one, &payment);
    went_well(&other, &payment);
    went_well(&merchant.refund(&payment, &reference, "10").await, &payment);
    assert_eq!(merchant.refunded(&payment), 1000);

    let another = merchant.reference(&payment).await;
    assert_ne!(another, reference, "each page has a form of its own");
    went_well(&merchant.refund(&payment, &another, "10").await, &payment);
    assert_eq!(merchant.refunded(&payment), 2000);
    assert_eq!(merchant.open.status(&order).await, "paid");
    let html = merchant.page(&payment).await;
    assert!(
        html.contains("<dt>Left</dt><dd>€25.50</dd>"),
        "what is left: {html}"
    );
    let html = merchant.buyers_page(&order).await;
    assert_eq!(html.matches("Went back to you").count(), 2, "{html}");
}

#[tokio::test]
async fn what_cannot_go_back_is_said_in_a_sentence() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    let (_, payment) = merchant.paid().await;
    for (amount, status, sentence) in [
        ("", 422, "Write how much, like 12.50."),
        ("all", 422, "is no amount. Write it like 12.50."),
        ("12,50", 422, "is no amount. Write it like 12.50."),
        ("0", 422, "It has to be more than nothing."),
        ("-1", 422, "It has to be more than nothing."),
        ("1.001", 422, "EUR has 2 digits after the point."),
        (
            "10 USD",
            422,
            "The payment is in EUR, so this is in EUR too, and not in USD.",
        ),
        (
            "45.51",
            422,
            "€45.51 is more than is left: of €45.50, €45.50 can still go back.",
        ),
        (
            "99999999999999999999",
            422,
            "That is more money than there is.",
        ),
    ] {
        let reference = merchant.reference(&payment).await;
        let answer = merchant.refund(&payment, &reference, amount).await;
        said(&answer, status, sentence);
    }
    let reference = merchant.reference(&payment).await;
    // The shop accepts only the reasons in the form's own list.
    let body = format!(
        "csrf={}&reference={reference}&amount=1&reason=spite",
        merchant.csrf
    );
    let spiteful = visit(&[("cookie", merchant.cookies.as_str())], &body);
    let answer = merchant.open.shop.refund(&spiteful, &payment).await;
    said(&answer, 422, "Choose one of the reasons in the list.");
    assert_eq!(merchant.refunded(&payment), 0);

    let answer = merchant.refund(&payment, &reference, "40").await;
    went_well(&answer, &payment);
    let answer = merchant.refund(&payment, &reference, "5").await;
    said(&answer, 409, "This form was sent before");
    let answer = merchant
        .refund(&payment, &merchant.reference(&payment).await, "6")
        .await;
    said(
        &answer,
        422,
        "€6.00 is more than is left: of €45.50, €5.50 can still go back.",
    );
    let reference = merchant.reference(&payment).await;
    went_well(
        &merchant.refund(&payment, &reference, "5.50").await,
        &payment,
    );
    let answer = merchant
        .refund(&payment, "0123456789abcdef0123456789abcdef", "1")
        .await;
    said(&answer, 409, "Nothing is left of this payment");
    assert_eq!(merchant.refunded(&payment), 4550);
}

#[tokio::test]
async fn only_the_pages_own_form_moves_money() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    let (order, payment) = merchant.paid().await;
    let (pre_order, reserved) = merchant.reserved().await;
    let cookie = ("cookie", merchant.cookies.as_str());
    let good = format!(
        "csrf={}&reference=0123456789abcdef0123456789abcdef&amount=1",
        merchant.csrf
    );
    let forged =
        "csrf=0123456789abcdef0123456789abcdef&reference=0123456789abcdef0123456789abcdef&amount=1";
    let no_reference = format!("csrf={}&amount=1", merchant.csrf);
    let shop = &merchant.open.shop;
    for (visit, status) in [
        (visit(&[cookie], ""), 403),
        (visit(&[cookie], forged), 403),
        (
            visit(&[cookie, ("sec-fetch-site", "cross-site")], &good),
            403,
        ),
        (visit(&[], &good), 303),
    ] {
        for answer in [
            shop.refund(&visit, &payment).await,
            shop.capture(&visit, &reserved).await,
            shop.call_off(&visit, &pre_order).await,
        ] {
            assert_eq!(answer.status, status);
            assert_ne!(
                header(&answer, "location"),
                format!("/admin/payments/{payment}")
            );
        }
    }
    for body in [no_reference.as_str()] {
        let visit = visit(&[cookie], body);
        assert_eq!(shop.refund(&visit, &payment).await.status, 403);
        assert_eq!(shop.capture(&visit, &reserved).await.status, 403);
    }
    assert_eq!(merchant.refunded(&payment), 0);
    assert_eq!(merchant.open.status(&order).await, "paid");
    assert_eq!(merchant.open.status(&pre_order).await, "reserved");
    // Payments and orders that do not exist.
    let visit = visit(&[cookie], &good);
    assert_eq!(shop.refund(&visit, "pi_unknown").await.status, 404);
    assert_eq!(shop.capture(&visit, "pi_unknown").await.status, 404);
    let nobodys = "0".repeat(32);
    assert_eq!(shop.call_off(&visit, &nobodys).await.status, 404);
}

#[tokio::test]
async fn a_refund_that_nobody_heard_of_is_asked_again_and_done_once() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    let (_, payment) = merchant.paid().await;
    let reference = merchant.reference(&payment).await;
    // Stripe executes the refund, but no response arrives on any retry of the transport. The shop
    // looks at the refunds first.
    let faults = merchant.open.sandbox().faults();
    faults.next(1, Fault::Slow(Duration::ZERO));
    faults.next(20, Fault::ResetAfterExecution);
    let answer = merchant.refund(&payment, &reference, "10").await;
    faults.clear();
    said(&answer, 503, "Whether the money moved is not known yet.");
    assert_eq!(merchant.refunded(&payment), 1000, "it did move");
    // The event has brought the answer in the meantime, so no request is open any more.
    let html = merchant.page(&payment).await;
    assert!(!html.contains("no answer yet"), "{html}");

    let reference = merchant.reference(&payment).await;
    faults.next(1, Fault::Slow(Duration::ZERO));
    faults.next(20, Fault::Reset);
    let answer = merchant.refund(&payment, &reference, "10").await;
    faults.clear();
    said(&answer, 503, "Whether the money moved is not known yet.");
    assert_eq!(merchant.refunded(&payment), 1000, "it did not move");
    let html = merchant.page(&payment).await;
    for part in [
        "no answer yet",
        "Ask again",
        reference.as_str(),
        "Stripe has not answered",
        // As long as the result is unknown, the money counts as gone.
        "<dt>Left</dt><dd>€25.50</dd>",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    for _ in 0..2 {
        let again = merchant.refund(&payment, &reference, "10.00").await;
        went_well(&again, &payment);
    }
    assert_eq!(merchant.refunded(&payment), 2000);
    let html = merchant.page(&payment).await;
    assert!(!html.contains("no answer yet"), "{html}");
}

#[tokio::test]
async fn what_stripe_refuses_is_said_and_kept() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    let (_, payment) = merchant.paid().await;
    let reference = merchant.reference(&payment).await;
    // The merchant refunds most of it in the Dashboard, and its event does not arrive.
    merchant.open.sandbox().webhooks().lose_events(10);
    let form = format!("payment_intent={payment}&amount=4000");
    merchant.open.post("/v1/refunds", &form).await;
    let answer = merchant.refund(&payment, &reference, "20").await;
    said(
        &answer,
        409,
        "Stripe says that less than €20.00 is left of this payment",
    );
    let html = merchant.page(&payment).await;
    assert!(html.contains("refused"), "{html}");
    let answer = merchant.refund(&payment, &reference, "20").await;
    said(&answer, 409, "Stripe says that less than €20.00 is left");
    let form = format!("payment_intent={payment}");
    merchant.open.post("/v1/refunds", &form).await;
    let answer = merchant
        .refund(&payment, &merchant.reference(&payment).await, "1")
        .await;
    said(&answer, 409, "Nothing is left of this payment");
    assert_eq!(merchant.refunded(&payment), 4550);
}

#[tokio::test]
async fn a_refund_is_shown_while_it_is_on_its_way_and_when_it_comes_back() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    for (arrives, page, buyers) in [
        (true, "went back", "Went back to you"),
        (false, "failed", "Could not be given back this way"),
    ] {
        let order = merchant.open.order().await;
        // A refund of this card is pending at first.
        let payment = merchant.open.pay(&order, "pm_card_pendingRefund").await;
        let reference = merchant.reference(&payment).await;
        went_well(&merchant.refund(&payment, &reference, "5").await, &payment);
        let html = merchant.page(&payment).await;
        assert!(html.contains("on its way</span>"), "{html}");
        let html = merchant.buyers_page(&order).await;
        assert!(html.contains("On its way back to you"), "{html}");

        let (_, rest) = merchant
            .page(&payment)
            .await
            .split_once(r#"<span class="id">re_"#)
            .map(|(_, rest)| ((), rest.to_owned()))
            .expect("a refund's id");
        let refund = format!("re_{}", rest.split('<').next().unwrap());
        assert!(merchant.open.sandbox().settle_refund(&refund, arrives));
        merchant.open.told().await;
        let html = merchant.page(&payment).await;
        assert!(html.contains(&format!("{page}</span>")), "{html}");
        let left = if arrives { "€40.50" } else { "€45.50" };
        assert!(html.contains(&format!("{left} can go back")), "{html}");
        let html = merchant.buyers_page(&order).await;
        assert!(html.contains(buyers), "{html}");
        assert_eq!(merchant.open.status(&order).await, "paid");
    }
}

#[tokio::test]
async fn the_second_payment_of_an_order_goes_back_from_the_back_room() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    let (order, first) = merchant.paid().await;
    // Another program creates it, because this shop would not begin a second payment.
    let form = format!(
        "amount=4550&currency=eur&payment_method=pm_card_visa&confirm=true&return_url=https://shop.example/\
         &metadata[order_id]={order}&metadata[checkout_application]=crab-and-kettle"
    );
    let second = merchant.open.post("/v1/payment_intents", &form).await;
    let second = second["id"].as_str().unwrap();
    merchant.open.told().await;
    let html = merchant.page(second).await;
    assert!(
        html.contains("Nothing was shipped for this one: give the money back."),
        "{html}"
    );
    let reference = reference_in(&html);
    went_well(&merchant.refund(second, &reference, "45.50").await, second);
    assert_eq!(merchant.refunded(second), 4550);
    assert_eq!(merchant.refunded(&first), 0);
    assert_eq!(merchant.open.status(&order).await, "paid");
    let html = merchant.page(second).await;
    assert!(html.contains("This one went back"), "{html}");
}

#[tokio::test]
async fn a_pre_order_is_reserved_and_taken_in_full() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    let (order, payment) = merchant.reserved().await;
    let shipments = |order: serde_json::Value| order["shipments"].as_array().unwrap().len();
    assert_eq!(shipments(merchant.open.api(&order).await), 0);
    let balance = || merchant.open.sandbox().balance(&payment).unwrap();
    assert_eq!(balance().charged, 0);
    let html = merchant.buyers_page(&order).await;
    assert!(
        html.contains("Reserved for you") && html.contains("Nothing is charged yet"),
        "{html}"
    );
    let html = merchant.page(&payment).await;
    for part in [
        "<dt>Reserved</dt><dd>€114.00</dd>",
        " UTC, in ",
        "Take the money",
        "Call the order off",
        "Nothing is shipped",
    ] {
        let found = html.to_lowercase().contains(&part.to_lowercase());
        assert!(found, "{part} is missing in {html}");
    }
    assert!(!html.contains(r#"id="refund""#), "{html}");

    let reference = reference_in(&html);
    for _ in 0..2 {
        let answer = merchant.capture(&payment, &reference, "114.00").await;
        went_well(&answer, &payment);
    }
    assert_eq!(balance().charged, 11_400);
    let paid = merchant.open.api(&order).await;
    assert_eq!(paid["status"], "paid");
    assert_eq!(shipments(paid), 1);
    let again = "0123456789abcdef0123456789abcdef";
    let answer = merchant.capture(&payment, again, "1").await;
    said(&answer, 409, "Nothing is reserved any more");
}

#[tokio::test]
async fn a_reservation_that_is_about_to_end_is_an_alert() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    let (order, payment) = merchant.reserved().await;
    let seen = visit(&[("cookie", merchant.cookies.as_str())], "");
    // The payment's page asks Stripe and stores the answer.
    assert!(merchant.page(&payment).await.contains(" UTC, in "));
    let html = text(&merchant.open.shop.admin(&seen).await);
    assert!(html.contains("All is well"), "{html}");
    let change =
        "UPDATE orders SET capture_before = capture_before - 6 * 24 * 60 * 60 - 10 WHERE id = $1";
    let changed = match merchant.open.store.pool() {
        shop::Either::Sqlite(pool) => {
            let change = sqlx::query(change).bind(&order).execute(pool).await;
            change.unwrap().rows_affected()
        }
        shop::Either::Postgres(pool) => {
            let change = sqlx::query(change).bind(&order).execute(pool).await;
            change.unwrap().rows_affected()
        }
    };
    assert_eq!(changed, 1);
    let html = text(&merchant.open.shop.admin(&seen).await);
    for part in ["€114.00 is reserved until ", "UTC, in 23 h", &payment] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
}

#[tokio::test]
async fn of_a_pre_order_a_part_is_taken_and_of_that_money_goes_back() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    let (order, payment) = merchant.reserved().await;
    for (amount, status, sentence) in [
        ("", 422, "Write how much, like 12.50."),
        ("0", 422, "It has to be more than nothing."),
        ("114.01", 422, "€114.01 is more than is reserved: €114.00."),
        (
            "18 CHF",
            422,
            "The payment is in EUR, so this is in EUR too, and not in CHF.",
        ),
    ] {
        let reference = merchant.reference(&payment).await;
        let answer = merchant.capture(&payment, &reference, amount).await;
        said(&answer, status, sentence);
    }
    let reference = merchant.reference(&payment).await;
    let answer = merchant.capture(&payment, &reference, "18").await;
    went_well(&answer, &payment);
    assert_eq!(merchant.open.status(&order).await, "paid");
    let balance = merchant.open.sandbox().balance(&payment).unwrap();
    assert_eq!(balance.charged, 1800);
    let html = merchant.buyers_page(&order).await;
    assert!(
        html.contains("<dt>Charged</dt><dd>€18.00</dd>"),
        "what was taken: {html}"
    );
    let reference = merchant.reference(&payment).await;
    let answer = merchant.refund(&payment, &reference, "18.01").await;
    said(
        &answer,
        422,
        "€18.01 is more than is left: of €18.00, €18.00",
    );
    let answer = merchant.refund(&payment, &reference, "18").await;
    went_well(&answer, &payment);
    assert_eq!(merchant.open.status(&order).await, "refunded");
}

#[tokio::test]
async fn two_captures_of_one_payment_take_money_once() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    let (order, payment) = merchant.reserved().await;
    let [one, other] = [
        merchant.reference(&payment).await,
        merchant.reference(&payment).await,
    ];
    let faults = merchant.open.sandbox().faults();
    faults.next(20, Fault::Reset);
    let answer = merchant.capture(&payment, &one, "50").await;
    faults.clear();
    said(&answer, 503, "Whether the money moved is not known yet.");
    let answer = merchant.capture(&payment, &other, "60").await;
    said(&answer, 409, "This money was asked for before.");
    let html = merchant.page(&payment).await;
    assert!(!html.contains(r#"id="capture""#), "{html}");
    went_well(&merchant.capture(&payment, &one, "50").await, &payment);
    let balance = merchant.open.sandbox().balance(&payment).unwrap();
    assert_eq!(balance.charged, 5000);
    assert_eq!(merchant.open.status(&order).await, "paid", "it fits");
}

#[tokio::test]
async fn an_order_is_called_off_and_nobody_can_pay_it() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    let (order, payment) = merchant.reserved().await;
    for _ in 0..2 {
        let answer = merchant.call_off(&order, &payment).await;
        went_well(&answer, &payment);
    }
    assert_eq!(merchant.open.status(&order).await, "canceled");
    let balance = merchant.open.sandbox().balance(&payment).unwrap();
    assert_eq!(balance.charged, 0);
    let html = merchant.buyers_page(&order).await;
    assert!(
        html.contains("Order canceled") && html.contains("Nothing was charged"),
        "{html}"
    );
    let html = merchant.page(&payment).await;
    assert!(html.contains("Reserved money let go"), "{html}");
    assert!(!html.contains(r#"id="capture""#), "{html}");

    // An order that has no payment yet.
    let order = merchant.open.order().await;
    let answer = merchant.call_off(&order, "").await;
    assert_eq!(
        (answer.status, header(&answer, "location")),
        (303, "/admin")
    );
    assert_eq!(merchant.open.status(&order).await, "canceled");
    let html = merchant.buyers_page(&order).await;
    assert!(!html.contains("/checkout?order="), "{html}");

    let (order, payment) = merchant.paid().await;
    let answer = merchant.call_off(&order, &payment).await;
    said(&answer, 409, "This order is paid. Give its money back");
    assert_eq!(merchant.open.status(&order).await, "paid");

    let order = merchant.open.order().await;
    let payment = merchant.open.pay(&order, "pm_sepaDebit_success_de").await;
    let answer = merchant.call_off(&order, &payment).await;
    said(&answer, 409, "A bank is debiting the buyer for this order");
    assert_eq!(merchant.open.status(&order).await, "processing");

    let order = merchant.open.order().await;
    let faults = merchant.open.sandbox().faults();
    merchant.open.pay(&order, "pm_card_chargeDeclined").await;
    faults.next(20, Fault::Reset);
    let answer = merchant.call_off(&order, "").await;
    faults.clear();
    said(&answer, 503, "call it off once more");
    assert_eq!(merchant.open.status(&order).await, "failed");
    assert_eq!(merchant.call_off(&order, "").await.status, 303);
    assert_eq!(merchant.open.status(&order).await, "canceled");
}

#[tokio::test]
async fn an_authorisation_whose_time_is_over_is_told() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    let (order, payment) = merchant.reserved().await;
    // Stripe then does this.
    let cancel = format!("/v1/payment_intents/{payment}/cancel");
    merchant.open.post(&cancel, "").await;
    merchant.open.told().await;
    assert_eq!(merchant.open.status(&order).await, "canceled");
    let reference = "0123456789abcdef0123456789abcdef";
    let answer = merchant.capture(&payment, reference, "114").await;
    said(&answer, 409, "Nothing is reserved any more");
}

#[tokio::test]
async fn a_dispute_is_shown_with_its_deadline_and_its_end() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    for (won, verdict, state) in [
        (true, "The money is yours again.", "won"),
        (false, "The money is gone.", "lost"),
    ] {
        let (order, payment) = merchant.paid().await;
        let sandbox = merchant.open.sandbox();
        assert!(sandbox.dispute(&payment));
        merchant.open.told().await;
        let html = merchant.page(&payment).await;
        for part in [
            "The buyer’s bank disputes it. Answer with evidence at Stripe until ",
            "<strong>€45.50</strong>",
            "fraudulent",
            "needs an answer",
            "Evidence is taken until ",
            "Taken by the bank",
        ] {
            assert!(html.contains(part), "{part} is missing in {html}");
        }
        assert!(!html.contains(r#"id="refund""#), "{html}");
        let reference = "0123456789abcdef0123456789abcdef";
        let answer = merchant.refund(&payment, reference, "1").await;
        said(&answer, 409, "disputes this payment and has its money");
        let visit = visit(&[("cookie", merchant.cookies.as_str())], "");
        let html = text(&merchant.open.shop.admin(&visit).await);
        assert!(
            html.contains("Disputes to answer")
                && html.contains("Evidence is taken until ")
                && html.contains("A dispute waits for your answer.")
                && !html.contains("All is well"),
            "{html}"
        );

        assert!(sandbox.decide_dispute(&payment, won));
        merchant.open.told().await;
        let html = merchant.page(&payment).await;
        for part in [verdict, format!("{state}</span>").as_str()] {
            assert!(html.contains(part), "{part} is missing in {html}");
        }
        assert!(!html.contains("Evidence is taken until"), "{html}");
        let html = text(&merchant.open.shop.admin(&visit).await);
        assert!(!html.contains("Disputes to answer"), "{html}");
        // After a won dispute the merchant can refund. After a lost one, the buyer has the money
        // already.
        let html = merchant.page(&payment).await;
        assert_eq!(html.contains(r#"id="refund""#), won, "{html}");
        if won {
            let reference = reference_in(&html);
            went_well(&merchant.refund(&payment, &reference, "1").await, &payment);
        } else {
            let kept = "fedcba9876543210fedcba9876543210";
            let answer = merchant.refund(&payment, kept, "1").await;
            said(&answer, 409, "has its money");
        }
        // The buyer has the parcel. The order's status does not show the dispute.
        assert_eq!(merchant.open.status(&order).await, "paid");
    }
}

#[tokio::test]
async fn what_a_bank_only_asks_about_can_go_back() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    let (_, payment) = merchant.paid().await;
    assert!(merchant.open.sandbox().inquire(&payment));
    merchant.open.told().await;
    let html = merchant.page(&payment).await;
    for part in [
        "The buyer’s bank asks about it, and has taken nothing yet.",
        "asked about</span>",
        r#"id="refund""#,
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    let reference = reference_in(&html);
    let answer = merchant.refund(&payment, &reference, "45.50").await;
    went_well(&answer, &payment);
    assert_eq!(merchant.refunded(&payment), 4550);
}

#[tokio::test]
async fn a_bank_debit_is_on_its_way_until_the_bank_says_yes_or_no() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    for (settles, status, buyers, verdict) in [
        (true, "paid", "Paid. Thank you!", "the shipment is written"),
        (
            false,
            "failed",
            "did not go through",
            "The buyer can try again",
        ),
    ] {
        let order = merchant.open.order().await;
        let payment = merchant.open.pay(&order, "pm_sepaDebit_success_de").await;
        let processing = merchant.open.api(&order).await;
        assert_eq!(
            (&processing["status"], &processing["shipments"]),
            (&"processing".into(), &serde_json::json!([]))
        );
        let html = merchant.buyers_page(&order).await;
        assert!(html.contains("A bank debit takes some days"), "{html}");
        let html = merchant.page(&payment).await;
        assert!(
            html.contains("a debit takes days. Nothing is shipped before it says yes."),
            "{html}"
        );
        assert!(!html.contains(r#"id="refund""#), "{html}");
        let reference = "0123456789abcdef0123456789abcdef";
        let answer = merchant.refund(&payment, reference, "1").await;
        said(&answer, 409, "Nothing was charged by this payment");

        assert!(merchant.open.sandbox().settle(&payment, settles));
        merchant.open.told().await;
        assert_eq!(merchant.open.status(&order).await, status);
        let html = merchant.buyers_page(&order).await;
        assert!(html.contains(buyers), "{html}");
        let html = merchant.page(&payment).await;
        assert!(html.contains(verdict), "{html}");
    }
}

#[tokio::test]
async fn a_kettle_with_courier_on_stripes_page_ships_after_its_capture() {
    for amount in ["102.90", "50"] {
        let Some(merchant) = Merchant::new().await else {
            return;
        };
        let order = merchant.open.kettle().await;
        let payment = merchant.open.pay_on_stripes_page(&order).await;
        assert_eq!(merchant.open.status(&order).await, "reserved");
        let reference = merchant.reference(&payment).await;
        let answer = merchant.capture(&payment, &reference, amount).await;
        went_well(&answer, &payment);
        let paid = merchant.open.api(&order).await;
        assert_eq!(paid["status"], "paid", "{amount}");
        assert_eq!(paid["shipments"].as_array().unwrap().len(), 1, "{amount}");
    }
}

#[tokio::test]
async fn a_kettle_that_was_authorised_on_stripes_page_is_called_off() {
    let Some(merchant) = Merchant::new().await else {
        return;
    };
    let order = merchant.open.kettle().await;
    let payment = merchant.open.pay_on_stripes_page(&order).await;
    let answer = merchant.call_off(&order, &payment).await;
    went_well(&answer, &payment);
    assert_eq!(merchant.open.status(&order).await, "canceled");
    let page = merchant.page(&payment).await;
    assert!(!page.contains(r#"id="capture""#), "{page}");
}
