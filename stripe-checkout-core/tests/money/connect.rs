//! Connected accounts: a payment on one, or with a transfer to one. No account fulfils another
//! account's order.

use stripe_checkout_core::fulfillment::{EventState, Received};
use stripe_checkout_core::requests::{
    CaptureMethod, CaptureRequest, PaymentRequest, RefundRequest,
};
use stripe_checkout_core::testing::{EventBody, PaymentIntent};
use stripe_checkout_core::webhook::Event;
use stripe_checkout_core::{
    Amount, Currency, DEFAULT_CAP, OrderCancellation, PaymentError, RequestError,
};

use crate::world::{PRICE, World, eur};

const ONE: &str = "acct_1";
const OTHER: &str = "acct_2";

fn on(account: &str, order: &str) -> PaymentRequest {
    PaymentRequest::new(order, PRICE).connected_account(account)
}

/// Makes the event of a sender who claims that this payment of this order succeeded.
fn success(payment: &str, order: &str, account: Option<&str>) -> Event {
    let object = PaymentIntent::new(payment, PRICE)
        .metadata("order_id", order)
        .metadata("checkout_application", "tea")
        .metadata("checkout_amount", "1999")
        .metadata("checkout_currency", "eur")
        .status("succeeded")
        .object();
    let event = EventBody::new("payment_intent.succeeded", object);
    let event = match account {
        Some(account) => event.account(account),
        None => event,
    };
    Event::parse(event.body()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_reference_on_another_account_is_another_order() {
    let world = World::new().await;
    let own = PaymentRequest::new("order-1", PRICE);
    let own = world.checkout.create_intent(&own).await.unwrap();
    let one = world
        .checkout
        .create_intent(&on(ONE, "order-1"))
        .await
        .unwrap();
    let other = world
        .checkout
        .create_intent(&on(OTHER, "order-1"))
        .await
        .unwrap();
    assert_eq!((own.account(), one.account()), (None, Some(ONE)));
    assert!(own.id() != one.id() && one.id() != other.id());
    world.confirm_on(ONE, one.id()).await;
    world.deliver_of(Some(ONE)).await;
    assert_eq!(world.diary.take(), ["paid order-1 1999"]);
    // Only this order is paid.
    let again = world.checkout.create_intent(&on(ONE, "order-1")).await;
    assert!(matches!(again, Err(PaymentError::AlreadyPaid)), "{again:?}");
    for open in [on(OTHER, "order-1"), PaymentRequest::new("order-1", PRICE)] {
        world.checkout.create_intent(&open).await.unwrap();
    }
    world.confirm_on(OTHER, other.id()).await;
    world.deliver_of(Some(OTHER)).await;
    assert_eq!(world.diary.take(), ["paid order-1 1999"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_changed_on_an_account_is_the_price_that_is_due() {
    let world = World::new().await;
    for minor in [1999, 2999] {
        let order = PaymentRequest::new("order-1", eur(minor)).connected_account(ONE);
        world.checkout.create_intent(&order).await.unwrap();
    }
    let order = PaymentRequest::new("order-1", eur(2999)).connected_account(ONE);
    let open = world.checkout.create_intent(&order).await.unwrap();
    world.confirm_on(ONE, open.id()).await;
    world.deliver_of(Some(ONE)).await;
    assert_eq!(world.diary.take(), ["paid order-1 2999"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_account_fulfils_an_order_of_another_one() {
    let world = World::new().await;
    let one = world
        .checkout
        .create_intent(&on(ONE, "order-1"))
        .await
        .unwrap();
    let own = PaymentRequest::new("order-2", PRICE);
    let own = world.checkout.create_intent(&own).await.unwrap();
    // Events about one account's payment from another account or the platform, and events about
    // unknown payments.
    for (payment, order, account) in [
        (one.id(), "order-1", Some(OTHER)),
        (one.id(), "order-1", None),
        (own.id(), "order-2", Some(ONE)),
        ("pi_of_their_own", "order-1", Some(ONE)),
        ("pi_of_theirs", "order-2", Some(OTHER)),
    ] {
        let event = success(payment, order, account);
        let received = world.checkout.receive(event).await.unwrap();
        assert_eq!(received, Received::Done(EventState::Done), "{payment}");
        assert_eq!(world.diary.take(), [""; 0], "{payment} by {account:?}");
    }
    // The real events still fulfil their orders.
    world.confirm_on(ONE, one.id()).await;
    world.deliver_of(Some(ONE)).await;
    world.confirm(own.id(), "pm_card_visa").await;
    world.deliver().await;
    assert_eq!(
        world.diary.take(),
        ["paid order-1 1999", "paid order-2 1999"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn money_of_a_connected_account_goes_back_from_there() {
    let world = World::new().await;
    let made = on(ONE, "order-1").capture_method(CaptureMethod::Manual);
    let made = world.checkout.create_intent(&made).await.unwrap();
    world.confirm_on(ONE, made.id()).await;
    let captured = CaptureRequest::new("shipped-1", made.id()).amount(eur(1000));
    let captured = world.checkout.capture(&captured).await.unwrap();
    assert_eq!(captured.account(), Some(ONE));
    let refund = RefundRequest::new("return-1", made.id()).amount(eur(300));
    let refund = world.checkout.refund(&refund).await.unwrap();
    assert_eq!(refund.account(), Some(ONE));
    let totals = world.checkout.totals(made.id()).await.unwrap();
    assert_eq!((totals.charged, totals.refunded), (eur(1000), eur(300)));
    world.deliver_of(Some(ONE)).await;
    assert_eq!(
        world.diary.take()[..2],
        ["capture order-1 1999", "paid order-1 1000"]
    );
    // An order of another account is canceled there.
    let open = world
        .checkout
        .create_intent(&on(OTHER, "order-1"))
        .await
        .unwrap();
    let ended = world
        .checkout
        .cancel_order_on_connected_account("order-1", OTHER)
        .await
        .unwrap();
    assert!(matches!(ended, OrderCancellation::Canceled(payment) if payment.id() == open.id()));
    let refused = world.checkout.create_intent(&on(OTHER, "order-1")).await;
    assert!(
        matches!(refused, Err(PaymentError::CalledOff)),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn money_goes_on_to_a_connected_account_less_the_fee() {
    let world = World::new().await;
    let request = PaymentRequest::new("order-1", PRICE).transfer_destination(ONE);
    let with_fee = request.clone().application_fee_amount(eur(100));
    let made = world.checkout.create_intent(&with_fee).await.unwrap();
    assert_eq!(
        (made.account(), made.transfer_destination()),
        (None, Some(ONE))
    );
    assert_eq!(made.application_fee_amount(), Some(eur(100)));
    // Another fee is an update.
    let more = request.clone().application_fee_amount(eur(200));
    let updated = world.checkout.create_intent(&more).await.unwrap();
    assert_eq!(updated.id(), made.id());
    assert_eq!(updated.application_fee_amount(), Some(eur(200)));
    // Another account, or no fee, needs another payment: Stripe cannot change that.
    let elsewhere = PaymentRequest::new("order-1", PRICE)
        .transfer_destination(OTHER)
        .application_fee_amount(eur(200));
    let elsewhere = world.checkout.create_intent(&elsewhere).await.unwrap();
    assert_ne!(elsewhere.id(), made.id());
    assert_eq!(elsewhere.transfer_destination(), Some(OTHER));
    let none_of_record = PaymentRequest::new("order-1", PRICE).transfer_destination(OTHER);
    let none = world.checkout.create_intent(&none_of_record).await.unwrap();
    assert_eq!(none.application_fee_amount(), None);
    assert_eq!(none.transfer_destination(), Some(OTHER));
    // Another business of record needs another payment too.
    let record = none_of_record.on_behalf_of(OTHER);
    let on_behalf = world.checkout.create_intent(&record).await.unwrap();
    assert_ne!(on_behalf.id(), none.id());
    assert_eq!(on_behalf.on_behalf_of(), Some(OTHER));
    let again = world.checkout.create_intent(&record).await.unwrap();
    assert_eq!(again.id(), on_behalf.id());
    let none = PaymentRequest::new("order-1", PRICE).transfer_destination(OTHER);
    let none = world.checkout.create_intent(&none).await.unwrap();
    assert_eq!(none.on_behalf_of(), None);
    // The payment is the platform's.
    world.confirm(none.id(), "pm_card_visa").await;
    world.deliver().await;
    assert_eq!(world.diary.take().last().unwrap(), "paid order-1 1999");
}

#[test]
fn what_cannot_be_is_refused_before_stripe_is_asked() {
    let request = || PaymentRequest::new("order-1", PRICE);
    let check = |request: PaymentRequest| request.validate(DEFAULT_CAP);
    assert_eq!(
        check(
            request()
                .connected_account(ONE)
                .application_fee_amount(PRICE)
        ),
        Ok(())
    );
    for account in ["", "acct_", "cus_1", "acct_1/../x", "acct_1\r\n"] {
        assert_eq!(
            check(request().connected_account(account)),
            Err(RequestError::Account),
            "{account:?}"
        );
        assert_eq!(
            check(request().transfer_destination(account)),
            Err(RequestError::Account)
        );
    }
    for account in ["", "acct_", "cus_1"] {
        let behalf = request().transfer_destination(ONE).on_behalf_of(account);
        assert_eq!(check(behalf), Err(RequestError::Account), "{account:?}");
    }
    for alone in [request(), request().connected_account(ONE)] {
        let behalf = alone.on_behalf_of(ONE);
        assert_eq!(check(behalf), Err(RequestError::OnBehalfOf));
    }
    assert_eq!(
        check(request().transfer_destination(ONE).on_behalf_of(OTHER)),
        Ok(())
    );
    let both = request().connected_account(ONE).transfer_destination(OTHER);
    assert_eq!(check(both), Err(RequestError::Account));
    for fee in [
        request().application_fee_amount(eur(1)),
        request()
            .transfer_destination(ONE)
            .application_fee_amount(eur(0)),
        request()
            .transfer_destination(ONE)
            .application_fee_amount(eur(2000)),
        request()
            .transfer_destination(ONE)
            .application_fee_amount(Amount::new(1, Currency::USD)),
    ] {
        assert_eq!(check(fee), Err(RequestError::ApplicationFee));
    }
}
