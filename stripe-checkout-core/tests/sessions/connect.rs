//! Connected accounts: a page on which one of them is paid, or from which the money goes on to one.

use stripe_checkout_core::{Expired, IntentError};

use super::routes::create;
use super::world::{GOOD, World, eur, hosted, request};

const ONE: &str = "acct_1";
const OTHER: &str = "acct_2";

#[tokio::test]
async fn the_same_reference_on_another_account_is_another_order() {
    let world = World::new().await;
    let own = world.open("1").await;
    let on = |account| request("1").on_account(account);
    let one = world.checkout.create_session(&on(ONE)).await.unwrap();
    let other = world.checkout.create_session(&on(OTHER)).await.unwrap();
    assert!(own.id() != one.id() && one.id() != other.id());
    for (account, session) in [(None, &own), (Some(ONE), &one), (Some(OTHER), &other)] {
        let path = format!("/checkout/sessions/{}", session.id());
        assert_eq!(world.get_of(account, &path).await["status"], "open");
    }
    world.pay(one.id(), GOOD).await;
    let of_one = world.deliver_of(Some(ONE)).await;
    assert_eq!(of_one, ["ship for 20.00 EUR of 20.00 EUR 1"]);
    // Only that one is paid.
    let again = world.checkout.create_session(&on(ONE)).await;
    assert!(matches!(again, Err(IntentError::AlreadyPaid)), "{again:?}");
    let still = world.checkout.create_session(&on(OTHER)).await.unwrap();
    assert_eq!(still.id(), other.id());
    // The order may change the page there too, and be called off.
    let intent = world.checkout.create_intent(&on(OTHER)).await.unwrap();
    assert_eq!(intent.account(), Some(OTHER));
    let path = format!("/checkout/sessions/{}", other.id());
    assert_eq!(world.get_of(Some(OTHER), &path).await["status"], "expired");
    let session = world.checkout.create_session(&on(OTHER)).await.unwrap();
    let ended = world.checkout.expire_on_account("1", OTHER).await.unwrap();
    assert!(matches!(ended, Expired::Expired(_)), "{ended:?}");
    let path = format!("/checkout/sessions/{}", session.id());
    assert_eq!(world.get_of(Some(OTHER), &path).await["status"], "expired");
    assert_eq!(world.open("1").await.id(), own.id());
}

#[tokio::test]
async fn a_buyer_who_comes_back_from_an_accounts_page_is_found_there() {
    let world = World::new().await;
    let session = request("1").on_account(ONE);
    let session = world.checkout.create_session(&session).await.unwrap();
    world.pay(session.id(), GOOD).await;
    let found = world.checkout.retrieve_session(session.id()).await.unwrap();
    assert_eq!(found.unwrap().account(), Some(ONE));
    assert_eq!(world.shop.lines(), ["ship for 20.00 EUR of 20.00 EUR 1"]);
    assert_eq!(world.deliver_of(Some(ONE)).await, [""; 0]);
}

#[tokio::test]
async fn the_money_of_a_page_goes_on_to_a_connected_account_less_the_fee() {
    let world = World::new().await;
    let with_fee = |fee| request("1").destination(ONE).application_fee(eur(fee));
    let first = world.checkout.create_session(&with_fee(100)).await.unwrap();
    // Another fee is another session: one cannot be changed.
    let session = world.checkout.create_session(&with_fee(200)).await.unwrap();
    assert_ne!(first.id(), session.id());
    assert_eq!(world.sessions("open").await, [session.id()]);
    world.pay(session.id(), GOOD).await;
    let intent = world.intent_of(session.id()).await;
    let intent = world.get(&format!("/payment_intents/{intent}")).await;
    assert_eq!(intent["transfer_data"]["destination"], ONE);
    assert_eq!(intent["application_fee_amount"], 200);
    let lines = world.deliver().await;
    assert_eq!(lines.last().unwrap(), "ship for 20.00 EUR of 20.00 EUR 1");
}

#[tokio::test]
async fn a_page_in_a_frame_is_told_whose_it_is() {
    let world = World::with(hosted().embedded(), Default::default()).await;
    let json = r#"{"order":"theirs"}"#;
    let reply = create(&world.checkout, "", "application/json", json).await;
    let reply: serde_json::Value = serde_json::from_slice(reply.body()).unwrap();
    assert_eq!(reply["stripeAccount"], ONE);
    assert!(reply["clientSecret"].as_str().unwrap().starts_with("cs_"));
    let reply = create(&world.checkout, "", "application/json", r#"{"order":"1"}"#).await;
    let reply: serde_json::Value = serde_json::from_slice(reply.body()).unwrap();
    assert_eq!(reply.get("stripeAccount"), None);
}
