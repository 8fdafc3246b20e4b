//! The responses to buyers and programs, and to invalid requests.

use super::common::{cookie, header, json, open, text, value, visit};
use serde_json::{Value, json as object};
use shop::{Problem, StoreError, catalogue::PRODUCTS};
use stripe_checkout_core::{testing, webhook::Event};

#[tokio::test]
async fn the_shelf_shows_every_article_with_its_price() {
    let Some(open) = open().await else { return };
    let page = open
        .shop
        .home(&visit(&[("cookie", "cart=mug-2.tea-1")], ""));
    assert_eq!(page.status, 200);
    let html = text(&page);
    for product in PRODUCTS {
        assert!(
            html.contains(&shop::price(product.price)),
            "{}",
            product.sku
        );
        assert!(html.contains(product.about), "{}", product.sku);
        assert_eq!(
            open.shop.picture(&format!("{}.svg", product.sku)).status,
            200
        );
    }
    assert!(
        html.contains(r#"<span class="count">3"#),
        "the cart's badge"
    );
    assert!(
        html.contains("Nothing here costs money"),
        "the sandbox says so"
    );
}

#[tokio::test]
async fn every_page_forbids_what_it_does_not_need() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    for page in [
        open.shop.home(&visit(&[], "")),
        open.shop.cart(&visit(&[], "")).await,
        open.shop.order(&visit(&[], ""), &id).await,
        open.shop.log_in_page(&visit(&[], "")).await,
        open.shop.problem(Problem::NotFound),
    ] {
        let policy = header(&page, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header(&page, "x-content-type-options"), "nosniff");
        assert_eq!(header(&page, "cache-control"), "no-store");
        let html = text(&page);
        for inline in ["<style", " style=", " onclick=", "<script>", "javascript:"] {
            assert!(!html.contains(inline), "{inline} in {html}");
        }
    }
}

#[tokio::test]
async fn assets_have_addresses_that_change_with_them() {
    let Some(open) = open().await else { return };
    let html = text(&open.shop.home(&visit(&[], "")));
    assert!(html.contains("shop.css?v="), "{html}");
    for name in ["shop.css", "order.js"] {
        let asset = open.shop.asset(name);
        assert_eq!(asset.status, 200);
        assert!(header(&asset, "cache-control").contains("immutable"));
    }
    assert_eq!(open.shop.asset("../Cargo.toml").status, 404);
    assert_eq!(open.shop.picture("car.svg").status, 404);
    assert_eq!(open.shop.picture("mug").status, 404);
}

#[tokio::test]
async fn the_cart_works_without_scripts() {
    let Some(open) = open().await else { return };
    let added = open
        .shop
        .change_cart(&visit(&[("cookie", "cart=mug-1")], "add=tea"));
    assert_eq!((added.status, header(&added, "location")), (303, "/cart"));
    assert_eq!(cookie(&added, "cart"), Some("mug-1.tea-1"));

    let html = text(
        &open
            .shop
            .cart(&visit(&[("cookie", "cart=mug-2.tea-1")], ""))
            .await,
    );
    assert!(html.contains("€45.50") && html.contains("€36.00"), "{html}");

    let emptied = open
        .shop
        .change_cart(&visit(&[("cookie", "cart=mug-1")], "remove=mug"));
    assert_eq!(cookie(&emptied, "cart"), Some(""));
    let html = text(&open.shop.cart(&visit(&[], "")).await);
    assert!(html.contains("Nothing in it yet"));
}

#[tokio::test]
async fn checking_out_makes_an_order_of_what_the_buyer_sees() {
    let Some(open) = open().await else { return };
    // The page shows two mugs, but another tab changed the cookie.
    let seen = visit(&[("cookie", "cart=mug-9")], "mug=2&tea=1&amount=1&price=1");
    let answer = open.shop.place_order(&seen).await;
    assert_eq!(answer.status, 303);
    let id = header(&answer, "location")
        .strip_prefix("/checkout?order=")
        .unwrap();
    assert_eq!(
        open.api(id).await,
        object!({"id": id, "status": "pending", "amount": 4550, "currency": "eur", "payment_intent": null, "shipments": []})
    );
    assert_eq!(cookie(&answer, "order"), Some(id));

    let nothing = open.shop.place_order(&visit(&[], "")).await;
    assert_eq!(
        (nothing.status, header(&nothing, "location")),
        (303, "/cart")
    );
}

#[tokio::test]
async fn the_cart_is_emptied_once_when_it_is_paid() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    let cookies = format!("cart=mug-2.tea-1; order={id}");
    let buyer = visit(&[("cookie", cookies.as_str())], "");
    assert_eq!(cookie(&open.shop.order(&buyer, &id).await, "cart"), None);
    open.tell(
        "payment_intent.succeeded",
        super::common::payment("pi_1", &id, 4550).status("succeeded"),
    )
    .await;
    let paid = open.shop.order(&buyer, &id).await;
    assert_eq!(
        (cookie(&paid, "cart"), cookie(&paid, "order")),
        (Some(""), Some(""))
    );
    assert!(text(&paid).contains("Parcel no. 1"));
    // Another visitor with the link, or the buyer with a new cart.
    let other = visit(&[("cookie", "cart=mug-2.tea-1")], "");
    assert_eq!(cookie(&open.shop.order(&other, &id).await, "cart"), None);
}

#[tokio::test]
async fn other_sites_cannot_order() {
    let Some(open) = open().await else { return };
    let foreign = |body| {
        visit(
            &[
                ("sec-fetch-site", "cross-site"),
                ("content-type", "application/json"),
            ],
            body,
        )
    };
    assert_eq!(open.shop.change_cart(&foreign("add=mug")).status, 403);
    assert_eq!(open.shop.place_order(&foreign("mug=1")).await.status, 403);
    let answer = open
        .shop
        .api_create_order(&foreign(r#"{"items":[{"sku":"mug","quantity":1}]}"#))
        .await;
    assert_eq!(
        (answer.status, value(&answer)["code"].as_str()),
        (403, Some("cross_site"))
    );
}

#[tokio::test]
async fn the_api_lists_products_in_minor_units() {
    let Some(open) = open().await else { return };
    let answer = open.shop.api_products();
    assert_eq!(header(&answer, "content-type"), "application/json");
    let Value::Array(products) = value(&answer) else {
        panic!("a list")
    };
    assert_eq!(products.len(), PRODUCTS.len());
    assert_eq!(
        products[0],
        object!({"sku": "mug", "name": "Harbour mug", "price": {"amount": 1800, "currency": "eur"}})
    );
}

#[tokio::test]
async fn the_api_makes_orders_and_says_what_is_wrong_with_them() {
    let Some(open) = open().await else { return };
    let answer = open
        .shop
        .api_create_order(&json(r#"{"items":[{"sku":"socks","quantity":3}]}"#))
        .await;
    assert_eq!(answer.status, 201);
    let body = value(&answer);
    let id = body["id"].as_str().unwrap();
    assert_eq!(body["checkout_url"], format!("/checkout?order={id}"));
    assert_eq!(open.api(id).await["amount"], 3870);

    for (body, status, code) in [
        ("", 400, "malformed"),
        ("[]", 400, "malformed"),
        (
            r#"{"items":[{"sku":"mug","quantity":-1}]}"#,
            400,
            "malformed",
        ),
        (
            r#"{"items":[{"sku":"mug","quantity":1,"price":1}]}"#,
            400,
            "malformed",
        ),
        (
            r#"{"items":[{"sku":"mug","quantity":1}],"amount":1}"#,
            400,
            "malformed",
        ),
        (r#"{"items":[]}"#, 422, "cart_refused"),
        (
            r#"{"items":[{"sku":"mug","quantity":0}]}"#,
            422,
            "cart_refused",
        ),
        (
            r#"{"items":[{"sku":"mug","quantity":100}]}"#,
            422,
            "cart_refused",
        ),
        (
            r#"{"items":[{"sku":"car","quantity":1}]}"#,
            422,
            "cart_refused",
        ),
    ] {
        let answer = open.shop.api_create_order(&json(body)).await;
        assert_eq!(
            (answer.status, value(&answer)["code"].as_str()),
            (status, Some(code)),
            "{body}"
        );
        assert!(value(&answer)["error"].is_string());
    }
    let form = open
        .shop
        .api_create_order(&visit(&[], r#"{"items":[{"sku":"mug","quantity":1}]}"#))
        .await;
    assert_eq!(
        (form.status, value(&form)["code"].as_str()),
        (415, Some("not_json"))
    );
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let Some(open) = open().await else { return };
    for id in [
        "",
        "0",
        "00000000000000000000000000000000",
        "' OR 1=1 --",
        "..%2f",
    ] {
        let answer = open.shop.api_order(id).await;
        assert_eq!(
            (answer.status, value(&answer)["code"].as_str()),
            (404, Some("not_found")),
            "{id}"
        );
        assert_eq!(
            open.shop.order(&visit(&[], ""), id).await.status,
            404,
            "{id}"
        );
    }
}

#[tokio::test]
async fn a_broken_database_is_said_without_details() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    open.store.close().await;
    let answer = open.shop.api_order(&id).await;
    assert_eq!(
        (answer.status, value(&answer)["code"].as_str()),
        (503, Some("unavailable"))
    );
    assert_eq!(header(&answer, "retry-after"), "30");
    let page = open.shop.order(&visit(&[], ""), &id).await;
    assert_eq!(page.status, 503);
    let html = text(&page).to_lowercase();
    assert!(!html.contains("sql") && !html.contains("pool"), "{html}");
    assert_eq!(
        open.shop.place_order(&visit(&[], "mug=1")).await.status,
        503
    );
}

#[tokio::test]
async fn a_restart_keeps_the_orders() {
    let Some(open) = open().await else { return };
    let id = open.order().await;
    open.store.close().await;
    let again = shop::Store::open(&open.url).await.unwrap();
    let order = again.order(&id).await.unwrap().unwrap();
    assert_eq!((order.total.minor(), order.items.len()), (4550, 2));
    for elsewhere in ["mysql://localhost/shop", "shop.db", ""] {
        let opened = shop::Store::open(elsewhere).await;
        assert!(
            matches!(opened, Err(StoreError::Address)),
            "{elsewhere}: {opened:?}"
        );
    }
}

#[tokio::test]
async fn a_buyer_who_hangs_up_does_not_spoil_the_next_ones_order() {
    use std::{future::poll_fn, task::Poll};
    let Some(open) = open().await else { return };
    let (another, handler) = (open.another().await, shop::Fulfil::new(Default::default()));
    let mut orders = Vec::new();
    for _ in 0..8 {
        orders.push(another.order().await);
    }
    let cart = shop::cart::Cart::from_cookie("mug-1");
    for polls in 1..40 {
        let mut abandoned = Box::pin(open.store.create_order(&cart));
        for _ in 0..polls {
            // One poll, then other tasks. After the last poll, the future is dropped wherever it
            // is.
            let ended =
                poll_fn(|context| Poll::Ready(abandoned.as_mut().poll(context).is_ready())).await;
            if ended {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(abandoned);
        // Every connection's writes are visible to the others now. So no connection is still in a
        // transaction that will never commit.
        let mut held = Vec::new();
        for id in &orders {
            let mut connection = open.store.acquire().await.unwrap();
            let intent = format!("pi_{polls}_{id}");
            let news = super::common::payment(&intent, id, 4550).status("processing");
            let news = testing::event("payment_intent.processing", news.object());
            let news = Event::parse(news).unwrap();
            testing::handle(&handler, &news, &mut connection)
                .await
                .unwrap();
            assert_eq!(another.api(id).await["payment_intent"], intent);
            held.push(connection);
        }
    }
    for _ in 0..10 {
        let id = open.order().await;
        assert_eq!(open.status(&id).await, "pending");
    }
}
