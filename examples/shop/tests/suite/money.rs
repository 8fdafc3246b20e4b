//! Money that is moved from the back room: what is asked of Stripe, how often, and what a merchant and a buyer are told.

use super::{
    admin::{session, token},
    common::{Open, header, open_with_stripe, text, visit},
};
use shop::Answer;

/// Somebody in the back room of a shop with a Stripe of its own.
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

    /// The reference of the form on a new page.
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

/// That it went well, and shows the payment.
fn went_well(answer: &Answer, payment: &str) {
    assert_eq!(
        (answer.status, header(answer, "location")),
        (303, format!("/admin/payments/{payment}").as_str()),
        "{}",
        text(answer)
    );
}

/// That it did not, and says why in this sentence.
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
    // The form's own list of reasons, and nothing else.
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
    // What nobody paid.
    let visit = visit(&[cookie], &good);
    assert_eq!(shop.refund(&visit, "pi_unknown").await.status, 404);
    assert_eq!(shop.capture(&visit, "pi_unknown").await.status, 404);
    let nobodys = "0".repeat(32);
    assert_eq!(shop.call_off(&visit, &nobodys).await.status, 404);
}
