//! The admin pages: who can log in, what they show, and which forms they accept.

use super::common::{Open, PASSWORD, cookie, header, open, payment, text, visit};
use shop::Answer;

/// Returns the token in the page's forms.
pub(crate) fn token(page: &Answer) -> String {
    let html = text(page);
    let (_, rest) = html
        .split_once(r#"name="csrf" value=""#)
        .expect("a form with a token");
    rest.split('"').next().unwrap().to_owned()
}

async fn log_in(open: &Open, password: &str) -> Answer {
    let page = open.shop.log_in_page(&visit(&[], "")).await;
    let cookies = format!("login={}", cookie(&page, "login").unwrap());
    let body = format!(
        "csrf={}&password={}",
        token(&page),
        password.replace(' ', "+")
    );
    open.shop
        .log_in(&visit(&[("cookie", cookies.as_str())], &body))
        .await
}

pub(crate) async fn session(open: &Open) -> String {
    let answer = log_in(open, PASSWORD).await;
    assert_eq!(
        (answer.status, header(&answer, "location")),
        (303, "/admin")
    );
    format!("admin={}", cookie(&answer, "admin").unwrap())
}

#[tokio::test]
async fn nobody_gets_in_without_the_password() {
    let Some(open) = open().await else { return };
    for cookies in ["", "admin=", "admin=0123456789abcdef0123456789abcdef"] {
        let answer = open.shop.admin(&visit(&[("cookie", cookies)], "")).await;
        assert_eq!(
            (answer.status, header(&answer, "location")),
            (303, "/admin/login")
        );
        assert!(answer.body.is_empty());
    }
    let wrong = log_in(&open, "wrong").await;
    assert_eq!(wrong.status, 403);
    assert!(cookie(&wrong, "admin").is_none());
    assert!(text(&wrong).contains("That is not the password"));
}

#[tokio::test]
async fn the_session_cookie_is_for_the_back_room_only() {
    let Some(open) = open().await else { return };
    let answer = log_in(&open, PASSWORD).await;
    let set = answer
        .headers
        .iter()
        .find(|(name, value)| *name == "set-cookie" && value.starts_with("admin="));
    let (_, set) = set.unwrap();
    assert!(
        set.ends_with("; Path=/admin; Max-Age=28800; HttpOnly; SameSite=Strict"),
        "{set}"
    );
    let cookies = session(&open).await;
    let again = open
        .shop
        .log_in_page(&visit(&[("cookie", cookies.as_str())], ""))
        .await;
    assert_eq!(header(&again, "location"), "/admin");
}

#[tokio::test]
async fn guessing_ends_soon() {
    let Some(open) = open().await else { return };
    for _ in 0..5 {
        assert_eq!(log_in(&open, "guess").await.status, 403);
    }
    let answer = log_in(&open, PASSWORD).await;
    assert_eq!(answer.status, 429);
    assert!(header(&answer, "retry-after").parse::<u64>().is_ok());
}

#[tokio::test]
async fn a_log_in_form_of_another_site_is_not_believed() {
    let Some(open) = open().await else { return };
    let page = open.shop.log_in_page(&visit(&[], "")).await;
    let csrf = token(&page);
    let cookies = format!("login={csrf}");
    let body = format!("csrf={csrf}&password={}", PASSWORD.replace(' ', "+"));
    for (headers, body) in [
        (vec![], body.as_str()),
        (vec![("cookie", "login=")], "csrf=&password=x"),
        (vec![("cookie", cookies.as_str())], "password=x"),
        (
            vec![
                ("cookie", cookies.as_str()),
                ("sec-fetch-site", "cross-site"),
            ],
            body.as_str(),
        ),
        (
            vec![
                ("cookie", cookies.as_str()),
                ("host", "shop.example"),
                ("origin", "https://evil.example"),
            ],
            body.as_str(),
        ),
    ] {
        let answer = open.shop.log_in(&visit(&headers, body)).await;
        assert_eq!(answer.status, 403, "{headers:?}");
        assert!(cookie(&answer, "admin").is_none());
    }
}

#[tokio::test]
async fn the_page_shows_orders_and_events() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    open.tell(
        "payment_intent.succeeded",
        payment("pi_paid", &id, 4550).status("succeeded"),
    )
    .await;
    let cookies = session(&open).await;
    let page = open
        .shop
        .admin(&visit(&[("cookie", cookies.as_str())], ""))
        .await;
    assert_eq!(page.status, 200);
    let html = text(&page);
    for part in [
        &id[..8],
        "€45.50",
        "is-paid",
        "pi_paid",
        "payment_intent.succeeded",
        "is-done",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    assert!(!html.contains("Replay"), "there is nothing to replay");
    assert!(!html.contains("_secret_"));
}

#[tokio::test]
async fn what_strangers_write_is_text() {
    let Some(open) = open().await else { return };
    let strange = "<script>alert(1)</script>";
    let body =
        stripe_checkout_core::testing::event(strange, serde_json::json!({"object": "thing"}));
    assert_eq!(open.deliver(&body).await, 200);
    let cookies = session(&open).await;
    let html = text(
        &open
            .shop
            .admin(&visit(&[("cookie", cookies.as_str())], ""))
            .await,
    );
    assert!(
        html.contains("&lt;script&gt;") && !html.contains(strange),
        "{html}"
    );
}

#[tokio::test]
async fn an_event_that_did_not_fit_is_replayed_by_the_pages_own_form_only() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    open.tell(
        "payment_intent.succeeded",
        payment("pi_1", &id, 1).status("succeeded"),
    )
    .await;
    let cookies = session(&open).await;
    let page = open
        .shop
        .admin(&visit(&[("cookie", cookies.as_str())], ""))
        .await;
    let html = text(&page);
    assert!(
        html.contains("Needs a look")
            && html.contains("the order costs 45.50 EUR, the payment is for 0.01 EUR"),
        "{html}"
    );
    let (_, rest) = html
        .split_once("/admin/events/")
        .expect("a form to replay it");
    let event = rest.split('/').next().unwrap();
    let csrf = token(&page);
    let form = format!("csrf={csrf}");
    let own = || visit(&[("cookie", cookies.as_str())], &form);

    for (visit, status) in [
        (visit(&[("cookie", cookies.as_str())], ""), 403),
        (
            visit(
                &[("cookie", cookies.as_str())],
                "csrf=0123456789abcdef0123456789abcdef",
            ),
            403,
        ),
        (
            visit(
                &[
                    ("cookie", cookies.as_str()),
                    ("sec-fetch-site", "cross-site"),
                ],
                &form,
            ),
            403,
        ),
        // Without a session, there is nothing that a token could belong to.
        (visit(&[], &form), 303),
    ] {
        assert_eq!(open.shop.replay(&visit, event).await.status, status);
    }
    let replayed = open.shop.replay(&own(), event).await;
    assert_eq!(
        (replayed.status, header(&replayed, "location")),
        (303, "/admin/payments/pi_1")
    );
    assert_eq!(open.status(&id).await, "review", "it still does not fit");
    assert_eq!(open.shop.replay(&own(), "evt_unknown").await.status, 404);
}

#[tokio::test]
async fn an_event_that_is_done_is_not_replayed() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let paid = payment("pi_1", &id, 4550).status("succeeded").object();
    let body = stripe_checkout_core::testing::EventBody::new("payment_intent.succeeded", paid)
        .id("evt_done")
        .body();
    assert_eq!(open.deliver(&body).await, 200);
    let cookies = session(&open).await;
    let page = open
        .shop
        .admin(&visit(&[("cookie", cookies.as_str())], ""))
        .await;
    let form = format!("csrf={}", token(&page));
    let answer = open
        .shop
        .replay(&visit(&[("cookie", cookies.as_str())], &form), "evt_done")
        .await;
    assert_eq!(answer.status, 409, "{}", text(&answer));
    assert_eq!(
        open.api(&id).await["shipments"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn logging_out_ends_the_session() {
    let Some(open) = open().await else { return };
    let cookies = session(&open).await;
    let page = open
        .shop
        .admin(&visit(&[("cookie", cookies.as_str())], ""))
        .await;
    assert_eq!(
        open.shop
            .log_out(&visit(&[("cookie", cookies.as_str())], ""))
            .await
            .status,
        403,
        "no token"
    );
    let form = format!("csrf={}", token(&page));
    let answer = open
        .shop
        .log_out(&visit(&[("cookie", cookies.as_str())], &form))
        .await;
    assert_eq!((answer.status, cookie(&answer, "admin")), (303, Some("")));
    assert_eq!(
        open.shop
            .admin(&visit(&[("cookie", cookies.as_str())], ""))
            .await
            .status,
        303
    );
}

/// The admin pages for a merchant who is logged in.
struct Inside {
    open: Open,
    cookies: String,
}

impl Inside {
    async fn get_in(open: Open) -> Self {
        let cookies = session(&open).await;
        Self { open, cookies }
    }

    async fn payment(&self, id: &str) -> Answer {
        let visit = visit(&[("cookie", self.cookies.as_str())], "");
        self.open.shop.payment(&visit, id).await
    }

    async fn form(&self) -> String {
        let visit = visit(&[("cookie", self.cookies.as_str())], "");
        format!(
            "csrf={}&payment=pi_1",
            token(&self.open.shop.admin(&visit).await)
        )
    }
}

#[tokio::test]
async fn a_payments_page_tells_what_happened_in_its_order() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    for (event_type, news) in [
        (
            "payment_intent.processing",
            payment("pi_1", &id, 4550).status("processing"),
        ),
        (
            "payment_intent.succeeded",
            payment("pi_1", &id, 4550).status("succeeded"),
        ),
    ] {
        open.tell(event_type, news).await;
    }
    let stranger = open.shop.payment(&visit(&[], ""), "pi_1").await;
    assert_eq!(
        (stranger.status, header(&stranger, "location")),
        (303, "/admin/login")
    );
    let inside = Inside::get_in(open).await;
    let page = inside.payment("pi_1").await;
    assert_eq!(page.status, 200);
    let html = text(&page);
    let mut from = 0;
    for part in [
        "Nothing is to be done",
        &id[..8],
        "Order made",
        "payment_intent.processing",
        "payment_intent.succeeded",
        "1 attempt",
        "Parcel no. ",
    ] {
        let at = html[from..].find(part);
        from += at.unwrap_or_else(|| panic!("{part} is missing, or too early, in {html}"));
    }
    assert!(!html.contains("Replay"), "there is nothing to replay");
    assert!(!html.contains("_secret_"));
    assert_eq!(inside.payment("pi_unknown").await.status, 404);
}

#[tokio::test]
async fn money_that_does_not_fit_is_told_on_top_and_can_be_dropped() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let body = stripe_checkout_core::testing::EventBody::new(
        "payment_intent.succeeded",
        payment("pi_1", &id, 100).status("succeeded").object(),
    )
    .id("evt_odd")
    .body();
    assert_eq!(open.deliver(&body).await, 200);
    let inside = Inside::get_in(open).await;
    let seen = visit(&[("cookie", inside.cookies.as_str())], "");
    let html = text(&inside.open.shop.admin(&seen).await);
    for part in [
        "Look at this now",
        "1 payment does not fit its order",
        "<dt>does not fit</dt><dd>1</dd>",
        "/admin/payments/pi_1",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    let html = text(&inside.payment("pi_1").await);
    for part in [
        "The money does not fit the order",
        "the order costs 45.50 EUR, the payment is for 1.00 EUR",
        "/admin/events/evt_odd/replay",
        "/admin/events/evt_odd/drop",
        "Noted: mismatch",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    let drop = async |body: &str| {
        let visit = visit(&[("cookie", inside.cookies.as_str())], body);
        inside.open.shop.drop_event(&visit, "evt_odd").await
    };
    assert_eq!(drop("").await.status, 403, "no token");
    let form = inside.form().await;
    let dropped = drop(&form).await;
    assert_eq!(
        (dropped.status, header(&dropped, "location")),
        (303, "/admin/payments/pi_1")
    );
    let again = drop(&form).await;
    assert_eq!(again.status, 409, "it was dropped before");
    assert!(text(&again).contains("role=\"status\""));
    let html = text(&inside.open.shop.admin(&seen).await);
    assert!(html.contains("All is well"), "{html}");
}

#[tokio::test]
async fn what_fails_is_told_with_its_error_and_its_next_attempt() {
    let Some(open) = open().await else { return };
    let body = stripe_checkout_core::testing::event(
        "payment_intent.succeeded",
        payment("pi_1", &"0".repeat(32), 4550)
            .status("succeeded")
            .object(),
    );
    assert_eq!(open.deliver(&body).await, 500);
    let inside = Inside::get_in(open).await;
    let html = text(&inside.payment("pi_1").await);
    for part in [
        "It tries again by itself, next ",
        "1 attempt · next ",
        "is not in this database",
        "Replay",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
}

#[tokio::test]
async fn a_session_holds_in_every_process_and_ends_in_every_one() {
    let Some(open) = open().await else { return };
    let another = open.another().await;
    let cookies = session(&open).await;
    let seen = || visit(&[("cookie", cookies.as_str())], "");
    let page = another.shop.admin(&seen()).await;
    assert_eq!(page.status, 200);
    let form = format!("csrf={}", token(&page));
    let out = visit(&[("cookie", cookies.as_str())], &form);
    assert_eq!(another.shop.log_out(&out).await.status, 303);
    assert_eq!(open.shop.admin(&seen()).await.status, 303);
}

#[tokio::test]
async fn what_is_counted_is_for_nobody_where_no_token_is_set() {
    let Some(open) = open().await else { return };
    for headers in [vec![], vec![("authorization", "Bearer ")]] {
        assert_eq!(open.shop.metrics(&visit(&headers, "")).status, 404);
    }
}
