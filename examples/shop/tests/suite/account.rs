//! Accounts: who can log in, who sees which cards and orders, and what one click does.

use super::common::{Open, cookie, header, open, open_with_stripe, text, visit, visit_from};
use serde_json::{Value, json};
use shop::Answer;
use stripe_checkout_core::stripe::Gateway;

const PASSWORD: &str = "a crab under the pier";
const FORGED: (u16, &str) = (403, "The page was too old");

/// Returns the text between these two parts of a page.
fn between(html: &str, before: &str, after: &str) -> String {
    let (_, rest) = html
        .split_once(before)
        .unwrap_or_else(|| panic!("{before} is not in {html}"));
    rest.split(after).next().unwrap().to_owned()
}

fn token(page: &Answer) -> String {
    between(&text(page), r#"name="csrf" value=""#, "\"")
}

fn form(fields: &[(&str, &str)]) -> String {
    serde_html_form::to_string(fields).unwrap()
}

async fn at_the_door(open: &Open, new: bool, email: &str, password: &str) -> Answer {
    let page = match new {
        true => open.shop.sign_up_page(&visit(&[], "")).await,
        false => open.shop.enter_page(&visit(&[], "")).await,
    };
    let cookies = format!("entry={}", cookie(&page, "entry").unwrap());
    let body = form(&[
        ("csrf", &token(&page)),
        ("email", email),
        ("password", password),
    ]);
    let visit = visit(&[("cookie", cookies.as_str())], &body);
    match new {
        true => open.shop.sign_up(&visit).await,
        false => open.shop.enter(&visit).await,
    }
}

/// Logs in a buyer, and returns the cookie as a browser keeps it.
async fn buyer(open: &Open, email: &str) -> String {
    let answer = at_the_door(open, true, email, PASSWORD).await;
    let to = (answer.status, header(&answer, "location"));
    assert_eq!(to, (303, "/account"), "{}", text(&answer));
    format!("account={}", cookie(&answer, "account").unwrap())
}

async fn account_page(open: &Open, cookies: &str) -> Answer {
    open.shop.account(&visit(&[("cookie", cookies)], "")).await
}

/// Returns Stripe's customer of this address, which must exist.
async fn customer(open: &Open, email: &str) -> String {
    let gateway = Gateway::new(&open.sandbox().config()).unwrap();
    let list = gateway.get("/customers?limit=100", None).await.unwrap();
    let list: Value = serde_json::from_slice(&list).unwrap();
    let mut known = list["data"].as_array().unwrap().iter();
    let found = known.find(|customer| customer["email"] == email).unwrap();
    found["id"].as_str().unwrap().to_owned()
}

/// Gives a buyer one of Stripe's ready-made cards, as if the buyer had saved it.
async fn with_card(open: &Open, cookies: &str, email: &str, card: &str) -> String {
    account_page(open, cookies).await;
    let customer = customer(open, email).await;
    let path = format!("/v1/payment_methods/{card}/attach");
    let method = open.post(&path, &format!("customer={customer}")).await;
    method["id"].as_str().unwrap().to_owned()
}

/// Opens the cart's page with two mugs and a packet of tea for this buyer. Returns what its form
/// posts, with this card.
async fn cart(open: &Open, cookies: &str, card: &str) -> Vec<(&'static str, String)> {
    let cookies = format!("{cookies}; cart=mug-2.tea-1");
    let page = open
        .shop
        .cart(&visit(&[("cookie", cookies.as_str())], ""))
        .await;
    let html = text(&page);
    let hidden = |name: &str| between(&html, &format!(r#"name="{name}" value=""#), "\"");
    assert!(html.contains("Buy now for €45.50"), "{html}");
    vec![
        ("mug", "2".to_owned()),
        ("tea", "1".to_owned()),
        ("csrf", hidden("csrf")),
        ("wish", hidden("wish")),
        ("seen", hidden("seen")),
        ("card", card.to_owned()),
    ]
}

async fn buy(open: &Open, cookies: &str, fields: &[(&'static str, String)]) -> Answer {
    let body = serde_html_form::to_string(fields).unwrap();
    open.shop.buy(&visit(&[("cookie", cookies)], &body)).await
}

/// Returns the form with one field changed.
fn but(fields: &[(&'static str, String)], name: &str, value: &str) -> Vec<(&'static str, String)> {
    let mut fields = fields.to_vec();
    let field = fields.iter_mut().find(|(known, _)| *known == name).unwrap();
    field.1 = value.to_owned();
    fields
}

async fn orders(open: &Open) -> usize {
    open.store.newest_orders(100).await.unwrap().len()
}

/// Counts the payments that took money.
async fn paid(open: &Open) -> usize {
    let gateway = Gateway::new(&open.sandbox().config()).unwrap();
    let list = gateway.get("/charges?limit=100", None).await.unwrap();
    let list: Value = serde_json::from_slice(&list).unwrap();
    let charges = list["data"].as_array().unwrap();
    charges
        .iter()
        .filter(|charge| charge["paid"] == true)
        .count()
}

#[tokio::test]
async fn who_signs_up_is_in_and_gets_in_again() {
    let Some(open) = open().await else { return };
    let door = account_page(&open, "").await;
    assert_eq!(header(&door, "location"), "/account/login");
    let made = at_the_door(&open, true, " Ada@Example.com ", PASSWORD).await;
    let set = made
        .headers
        .iter()
        .find(|(name, value)| *name == "set-cookie" && value.starts_with("account="));
    assert!(
        set.unwrap()
            .1
            .ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"),
        "{set:?}"
    );
    let cookies = format!("account={}", cookie(&made, "account").unwrap());
    let page = account_page(&open, &cookies).await;
    assert!(text(&page).contains("ada@example.com"));
    // Stripe does not answer here. The page says so, and shows the rest.
    assert!(text(&page).contains("cannot be shown just now"));
    let again = open
        .shop
        .sign_up_page(&visit(&[("cookie", cookies.as_str())], ""))
        .await;
    assert_eq!(header(&again, "location"), "/account");

    let body = form(&[("csrf", &token(&page))]);
    let left = open
        .shop
        .leave(&visit(&[("cookie", cookies.as_str())], &body))
        .await;
    assert_eq!(cookie(&left, "account"), Some(""));
    let page = account_page(&open, &cookies).await;
    assert_eq!(
        page.status, 303,
        "the session is over, whoever has the cookie"
    );

    let entered = at_the_door(&open, false, "ADA@example.com", PASSWORD).await;
    let cookies = format!("account={}", cookie(&entered, "account").unwrap());
    // The session is valid in any process.
    let another = open.another().await;
    assert!(text(&account_page(&another, &cookies).await).contains("ada@example.com"));
}

#[tokio::test]
async fn who_does_not_get_in_is_told_and_not_why() {
    let Some(open) = open().await else { return };
    buyer(&open, "ada@example.com").await;
    let wrong = at_the_door(&open, false, "ada@example.com", "a crab on the pier").await;
    let unknown = at_the_door(&open, false, "bob@example.com", PASSWORD).await;
    // Some databases cannot even search for this address.
    let none = at_the_door(&open, false, "ada\0@example.com", PASSWORD).await;
    for answer in [&wrong, &unknown, &none] {
        assert_eq!(answer.status, 403);
        assert!(cookie(answer, "account").is_none());
        assert!(
            text(answer).contains("We know no account with this e-mail address and this password.")
        );
    }
}

#[tokio::test]
async fn an_account_has_an_address_of_its_own_and_a_password() {
    let Some(open) = open().await else { return };
    buyer(&open, "ada@example.com").await;
    for (email, password, status, word) in [
        (
            "Ada@example.com",
            "another password",
            409,
            "an account with this e-mail address already",
        ),
        (
            "bob@example.com",
            "too short",
            422,
            "Take a longer password",
        ),
        ("nobody", PASSWORD, 422, "not an e-mail address"),
        ("", PASSWORD, 422, "not an e-mail address"),
    ] {
        let answer = at_the_door(&open, true, email, password).await;
        assert_eq!(answer.status, status, "{email}");
        assert!(text(&answer).contains(word), "{email}");
        assert!(cookie(&answer, "account").is_none());
    }
    // The account still has its first password.
    let taken = at_the_door(&open, false, "ada@example.com", "another password").await;
    assert_eq!(taken.status, 403);
}

#[tokio::test]
async fn guessing_ends_soon_for_the_one_account() {
    let Some(open) = open().await else { return };
    buyer(&open, "ada@example.com").await;
    let mut answer = at_the_door(&open, false, "ada@example.com", "guess").await;
    for _ in 0..20 {
        if answer.status != 403 {
            break;
        }
        answer = at_the_door(&open, false, "ada@example.com", "guess").await;
    }
    assert_eq!(answer.status, 429);
    assert!(header(&answer, "retry-after").parse::<u64>().is_ok());
    assert!(text(&answer).contains("Please wait a moment"));
    buyer(&open, "bob@example.com").await;
}

#[tokio::test]
async fn guesses_from_everywhere_do_not_lock_out_a_browser_that_was_in() {
    let Some(open) = open().await else { return };
    let of_ada = at_the_door(&open, true, "ada@example.com", PASSWORD).await;
    let of_mallory = at_the_door(&open, true, "mallory@example.com", PASSWORD).await;
    let set = of_ada
        .headers
        .iter()
        .find(|(_, value)| value.starts_with("device="));
    assert!(
        set.unwrap()
            .1
            .ends_with("; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"),
        "{set:?}"
    );
    let device = |answer: &Answer| cookie(answer, "device").unwrap().to_owned();
    let (of_ada, of_mallory) = (device(&of_ada), device(&of_mallory));
    // Another process remembers neither.
    let another = open.another().await;
    let log_in = async |from, device: &str, password: &str| {
        let page = another.shop.enter_page(&visit(&[], "")).await;
        let cookies = format!("entry={}; device={device}", cookie(&page, "entry").unwrap());
        let body = form(&[
            ("csrf", &token(&page)),
            ("email", "ada@example.com"),
            ("password", password),
        ]);
        let visit = visit_from(from, &[("cookie", &cookies)], &body);
        another.shop.enter(&visit).await
    };
    let mut guesses = 0_u8;
    while log_in([203, 0, 113, guesses], "", "guess").await.status == 403 {
        guesses += 1;
        assert!(guesses < 200, "there is no limit");
    }
    // Another account's cookie and a made-up one count as no cookie. They have no five tries of
    // their own. One try comes back each second.
    let made_up = format!("{}.{}", "0".repeat(32), "0".repeat(64));
    for (network, device) in [(98, of_mallory.as_str()), (99, &made_up)] {
        let mut guesses = 0_u8;
        while log_in([198, 51, network, guesses], device, "guess")
            .await
            .status
            == 403
        {
            guesses += 1;
        }
        assert!(guesses < 4, "{device}: {guesses}");
    }
    let entered = log_in([192, 0, 2, 1], &of_ada, PASSWORD).await;
    assert_eq!(entered.status, 303, "{}", text(&entered));
    // A thief of the cookie cannot guess faster.
    let mut guesses = 0_u8;
    while log_in([192, 0, 2, guesses], &of_ada, "guess").await.status == 403 {
        guesses += 1;
    }
    assert!((4..15).contains(&guesses), "{guesses}");
}

#[tokio::test]
async fn forms_of_other_sites_are_not_believed() {
    let Some(open) = open().await else { return };
    let page = open.shop.sign_up_page(&visit(&[], "")).await;
    let csrf = token(&page);
    let entry = format!("entry={csrf}");
    let body = form(&[
        ("csrf", &csrf),
        ("email", "ada@example.com"),
        ("password", PASSWORD),
    ]);
    for (headers, body) in [
        (vec![], body.as_str()),
        (
            vec![("cookie", "entry=")],
            "csrf=&email=ada@example.com&password=x",
        ),
        (
            vec![("cookie", entry.as_str()), ("sec-fetch-site", "cross-site")],
            body.as_str(),
        ),
    ] {
        for answer in [
            open.shop.sign_up(&visit(&headers, body)).await,
            open.shop.enter(&visit(&headers, body)).await,
        ] {
            assert_eq!(
                (answer.status, cookie(&answer, "account")),
                (403, None),
                "{headers:?}"
            );
        }
    }

    let ada = buyer(&open, "ada@example.com").await;
    let csrf = token(&account_page(&open, &ada).await);
    let bob = buyer(&open, "bob@example.com").await;
    let good = form(&[("csrf", &csrf), ("mug", "1")]);
    for (headers, body) in [
        (vec![("cookie", ada.as_str())], "csrf=&mug=1"),
        (vec![("cookie", ada.as_str())], "mug=1"),
        // Another buyer's token.
        (vec![("cookie", bob.as_str())], good.as_str()),
        (
            vec![("cookie", ada.as_str()), ("sec-fetch-site", "same-site")],
            good.as_str(),
        ),
    ] {
        let visit = visit(&headers, body);
        for answer in [
            open.shop.buy(&visit).await,
            open.shop.remove_card(&visit, "pm_1").await,
            open.shop.leave(&visit).await,
        ] {
            assert_eq!(answer.status, FORGED.0, "{headers:?}");
            assert!(text(&answer).contains(FORGED.1));
        }
    }
    assert_eq!(
        account_page(&open, &ada).await.status,
        200,
        "still logged in"
    );
    assert_eq!(orders(&open).await, 0);
    let nobody = open.shop.buy(&visit(&[], &good)).await;
    assert_eq!(header(&nobody, "location"), "/account/login");
}

#[tokio::test]
async fn a_buyer_sees_and_removes_his_own_cards_and_no_others() {
    let Some(open) = open_with_stripe().await else {
        return;
    };
    let (ada, bob) = (
        buyer(&open, "ada@example.com").await,
        buyer(&open, "bob@example.com").await,
    );
    let card = with_card(&open, &ada, "ada@example.com", "pm_card_visa").await;
    let html = text(&account_page(&open, &ada).await);
    assert!(html.contains("Visa •••• 4242"), "{html}");
    let page = account_page(&open, &bob).await;
    assert!(!text(&page).contains("4242 <") && !text(&page).contains(&card));

    let remove = async |cookies: &str| {
        let csrf = token(&account_page(&open, cookies).await);
        let visit = visit(&[("cookie", cookies)], &form(&[("csrf", &csrf)]));
        open.shop.remove_card(&visit, &card).await
    };
    let refused = remove(&bob).await;
    assert_eq!(refused.status, 404);
    assert!(text(&refused).contains("It is not among the cards of your account"));
    assert!(
        text(&account_page(&open, &ada).await).contains(&card),
        "it is still there"
    );
    let removed = remove(&ada).await;
    assert_eq!(
        (removed.status, header(&removed, "location")),
        (303, "/account")
    );
    assert!(!text(&account_page(&open, &ada).await).contains(&card));
    assert_eq!(remove(&ada).await.status, 404, "it is not there any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clicks_are_one_order_and_one_payment() {
    let Some(open) = open_with_stripe().await else {
        return;
    };
    let ada = buyer(&open, "ada@example.com").await;
    let card = with_card(&open, &ada, "ada@example.com", "pm_card_visa").await;
    let fields = cart(&open, &ada, &card).await;
    let (one, two) = tokio::join!(buy(&open, &ada, &fields), buy(&open, &ada, &fields));
    let three = buy(&open, &ada, &fields).await;
    let at = header(&one, "location").to_owned();
    let id = at
        .strip_prefix("/orders/")
        .unwrap_or_else(|| panic!("{one:?}"));
    for answer in [&one, &two, &three] {
        assert_eq!(
            (answer.status, header(answer, "location")),
            (303, at.as_str())
        );
        assert_eq!(cookie(answer, "order"), Some(id));
    }
    open.told().await;
    assert_eq!((orders(&open).await, paid(&open).await), (1, 1));
    let order = open.api(id).await;
    assert_eq!(order["status"], "paid");
    assert_eq!(order["shipments"].as_array().unwrap().len(), 1);

    // A new page is another order.
    let fields = cart(&open, &ada, &card).await;
    buy(&open, &ada, &fields).await;
    // So are other items on an old page.
    let fields = but(&but(&fields, "mug", "1"), "seen", "2750");
    buy(&open, &ada, &fields).await;
    assert_eq!((orders(&open).await, paid(&open).await), (3, 3));

    // The order is in this buyer's account, and in no other.
    assert!(text(&account_page(&open, &ada).await).contains(&at));
    let bob = buyer(&open, "bob@example.com").await;
    assert!(!text(&account_page(&open, &bob).await).contains("/orders/"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_that_is_declined_leads_to_the_page_of_the_same_order() {
    let Some(open) = open_with_stripe().await else {
        return;
    };
    let ada = buyer(&open, "ada@example.com").await;
    let card = with_card(&open, &ada, "ada@example.com", "pm_card_chargeCustomerFail").await;
    let fields = cart(&open, &ada, &card).await;
    for _ in 0..2 {
        let answer = buy(&open, &ada, &fields).await;
        assert_eq!(answer.status, 402);
        let html = text(&answer);
        assert!(html.contains("Visa •••• 0341 was not charged"), "{html}");
        let id = cookie(&answer, "order").unwrap();
        assert!(html.contains(&format!("/checkout?order={id}")), "{html}");
        open.told().await;
        assert_eq!(open.status(id).await, "failed");
    }
    assert_eq!((orders(&open).await, paid(&open).await), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_whose_bank_asks_leads_to_the_page_of_the_same_order() {
    let Some(open) = open_with_stripe().await else {
        return;
    };
    let ada = buyer(&open, "ada@example.com").await;
    let card = with_card(
        &open,
        &ada,
        "ada@example.com",
        "pm_card_authenticationRequired",
    )
    .await;
    let fields = cart(&open, &ada, &card).await;
    let answer = buy(&open, &ada, &fields).await;
    let id = cookie(&answer, "order").unwrap().to_owned();
    let to = (answer.status, header(&answer, "location").to_owned());
    assert_eq!(to, (303, format!("/checkout?order={id}")));
    assert_eq!((orders(&open).await, paid(&open).await), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_pays_with_the_card_of_somebody_else() {
    let Some(open) = open_with_stripe().await else {
        return;
    };
    let ada = buyer(&open, "ada@example.com").await;
    let hers = with_card(&open, &ada, "ada@example.com", "pm_card_visa").await;
    let bob = buyer(&open, "bob@example.com").await;
    let his = with_card(&open, &bob, "bob@example.com", "pm_card_visa").await;
    let fields = cart(&open, &bob, &his).await;
    for card in [hers.as_str(), "pm_card_visa", ""] {
        let answer = buy(&open, &bob, &but(&fields, "card", card)).await;
        assert_eq!(answer.status, 404, "{card}");
        assert!(text(&answer).contains("Nothing was charged."), "{card}");
    }
    assert_eq!((orders(&open).await, paid(&open).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paid_is_what_the_buyer_saw() {
    let Some(open) = open_with_stripe().await else {
        return;
    };
    let ada = buyer(&open, "ada@example.com").await;
    let card = with_card(&open, &ada, "ada@example.com", "pm_card_visa").await;
    let fields = cart(&open, &ada, &card).await;
    // Now there are three mugs, but the button still says two.
    let answer = buy(&open, &ada, &but(&fields, "mug", "3")).await;
    assert_eq!(answer.status, 409);
    let html = text(&answer);
    assert!(
        html.contains("The total has changed") && html.contains("Buy now for €63.50"),
        "{html}"
    );
    assert_eq!(cookie(&answer, "cart"), Some("mug-3.tea-1"));
    for (name, wrong) in [("seen", ""), ("seen", "1"), ("wish", ""), ("wish", "x")] {
        let answer = buy(&open, &ada, &but(&fields, name, wrong)).await;
        assert!([400, 409].contains(&answer.status), "{name} {wrong}");
    }
    assert_eq!((orders(&open).await, paid(&open).await), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clicks_have_a_limit() {
    let Some(open) = open_with_stripe().await else {
        return;
    };
    let ada = buyer(&open, "ada@example.com").await;
    let card = with_card(&open, &ada, "ada@example.com", "pm_card_chargeCustomerFail").await;
    let fields = cart(&open, &ada, &card).await;
    // Deliberately a card that does not exist, because the limit counts clicks.
    let fields = but(&fields, "card", "pm_none");
    let mut answer = buy(&open, &ada, &fields).await;
    for _ in 0..40 {
        if answer.status != 404 {
            break;
        }
        answer = buy(&open, &ada, &fields).await;
    }
    assert_eq!(answer.status, 429);
    assert_eq!(orders(&open).await, 0);
}

#[tokio::test]
async fn guests_buy_without_and_see_no_click() {
    let Some(open) = open().await else { return };
    let page = open
        .shop
        .cart(&visit(&[("cookie", "cart=mug-1")], ""))
        .await;
    let html = text(&page);
    assert!(!html.contains("/account/buy") && html.contains("/account/login"));
    let placed = open.shop.place_order(&visit(&[], "mug=1")).await;
    assert!(header(&placed, "location").starts_with("/checkout?order="));
}

#[tokio::test]
async fn an_order_belongs_to_who_was_logged_in() {
    let Some(open) = open().await else { return };
    let ada = buyer(&open, "ada@example.com").await;
    let placed = open
        .shop
        .place_order(&visit(&[("cookie", ada.as_str())], "mug=1"))
        .await;
    let id = cookie(&placed, "order").unwrap();
    open.shop.place_order(&visit(&[], "mug=1")).await;
    let html = text(&account_page(&open, &ada).await);
    assert_eq!(html.matches("href=\"/orders/").count(), 1);
    assert!(html.contains(&format!("/orders/{id}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stripes_page_is_one_press_away_and_what_is_given_away_is_shipped_once() {
    let Some(open) = open_with_stripe().await else {
        return;
    };
    let page = open
        .shop
        .cart(&visit(&[("cookie", "cart=mug-1")], ""))
        .await;
    let policy = header(&page, "content-security-policy");
    let forms = format!("form-action 'self' {};", open.sandbox().url());
    assert!(policy.contains(&forms), "{policy}");
    assert!(text(&page).contains(r#"value="hosted""#));
    let home = open.shop.home(&visit(&[], ""));
    assert!(header(&home, "content-security-policy").contains("form-action 'self';"));

    let placed = open
        .shop
        .place_order(&visit(&[], "mug=1&page=hosted"))
        .await;
    let id = cookie(&placed, "order").unwrap().to_owned();
    // The redirect posts the form on.
    let to = (placed.status, header(&placed, "location").to_owned());
    assert_eq!(to, (307, format!("/create-checkout-session?order={id}")));

    let request = open.request(&id).await;
    let session = open.checkout.create_session(&request).await.unwrap();
    let at = |action: &str| format!("/sandbox/checkout/{}/{action}", session.id());
    open.post(&at("code"), "code=SANDBOXFREE").await;
    open.post(
        &at("pay"),
        "email=ada@example.com&name=Ada&country=DE&line1=Kai+1&postal_code=20457&city=Hamburg",
    )
    .await;
    open.told().await;
    // The buyer comes back, and the page asks Stripe as well.
    open.checkout.retrieve_session(session.id()).await.unwrap();
    let order = open.api(&id).await;
    assert_eq!(order["status"], "paid");
    assert_eq!(order["shipments"].as_array().unwrap().len(), 1);
    assert_eq!(order["payment_intent"], json!(session.id()));
    assert!(
        open.store
            .newest_notices(None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    let again = open.checkout.create_session(&request).await;
    assert!(again.is_err(), "it is given already");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buyer_who_asks_without_end_takes_a_share_of_the_calls_to_stripe() {
    let Some(open) = open_with_stripe().await else {
        return;
    };
    let ada = buyer(&open, "ada@example.com").await;
    account_page(&open, &ada).await;
    let lists = || {
        let requests = open.sandbox().requests();
        let lists = requests
            .iter()
            .filter(|request| request.path.ends_with("/payment_methods"));
        lists.count()
    };
    let before = lists();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (shop, cookies) = (open.shop.clone(), ada.clone());
        let visit = visit_from([203, 0, 113, 7], &[("cookie", &cookies)], "");
        asking.spawn(async move { shop.account(&visit).await });
    }
    for page in asking.join_all().await {
        assert_eq!(page.status, 200, "{}", text(&page));
    }
    // A call waits at most two seconds, and one client has 5 calls a second.
    assert!(lists() - before < 40, "{}", lists() - before);
}
