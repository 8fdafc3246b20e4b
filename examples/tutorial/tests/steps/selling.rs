//! Steps 1 to 3: the page, the price, one payment.

use program::Program;
use serde_json::{Value, json};
use stripe_checkout_sandbox::Fault;

use crate::step;
use crate::world::{JSON, World, confirm, order_in, until};

/// As the learner runs it: no key, no environment, a sandbox in the program itself.
#[test]
fn every_step_but_the_last_opens_without_a_key() {
    let steps = [
        step!("1-page"),
        step!("2-price"),
        step!("3-once"),
        step!("4-webhook"),
        step!("5-database"),
        step!("6-customers"),
    ];
    for path in steps {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Program::command(path, folder.path());
        command.env("STRIPE_SANDBOX", "1");
        let program = Program::start(command);
        let first = program.ask("GET", "/", &[], "");
        assert!([200, 303].contains(&first.status), "{path}: {first:?}");
        assert!(program.lines().iter().any(|line| line.contains("sandbox")));
        program.stop();
    }
}

#[test]
fn a_teapot_is_paid_in_a_sandbox_of_the_programs_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Program::command(step!("1-page"), folder.path());
    command.env("STRIPE_SANDBOX", "1");
    let mut program = Program::start(command);
    let order = order_in(&program.ask("GET", "/", &[], ""));
    let page = program.ask("GET", &format!("/checkout?order={order}"), &[], "");
    assert!(page.body.contains("Teapot"), "{page:?}");
    let order = json!({ "order": order }).to_string();
    let pressed = program.ask("POST", "/create-payment-intent", &[JSON], &order);
    let script = page.attribute("data-stripe-js");
    let stripe = script.trim_end_matches("/stripe.js");
    confirm(
        stripe,
        "payment_intents",
        &pressed.json(),
        "4242424242424242",
    );
    program.wait_for_line("19.99 EUR was paid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn step_1_takes_a_card_and_hears_of_it_once() {
    let world = World::open(step!("1-page")).await;
    let order = order_in(&world.get("/"));
    world.pay(&order, "4000000000000002");
    world.taken().await;
    world.pay(&order, "4242424242424242");
    world.taken().await;
    let paid = || world.printed("19.99 EUR was paid");
    until("it is told", || paid() > 0);
    assert_eq!(world.intents(), 1, "the second card paid the same intent");

    let other = order_in(&world.get("/"));
    let page = world.get(&format!("/checkout?order={other}"));
    world.pay(&other, "4242424242424242");
    until("it is told", || paid() > 1);
    assert_eq!(paid(), 2, "the declined card paid nothing");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(page.body.contains("<noscript>"));
    for secret in ["sk_test", "whsec_", "_secret_", "v1="] {
        assert_eq!(world.printed(secret), 0, "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn step_2_hears_no_amount_from_the_browser() {
    let world = World::open(step!("2-price")).await;
    let order = world.order("teapots=2&currency=eur&price=1&amount=1");
    let asked = json!({"order": order, "amount": 1, "price": 1, "currency": "jpy"});
    let answer = world.program.ask(
        "POST",
        "/create-payment-intent",
        &[JSON],
        &asked.to_string(),
    );
    assert_eq!(priced(&answer.json()), (39_98, "eur"));
    // Nor beside the order, nor in the address.
    let beside = format!("/create-payment-intent?order={order}&amount=1");
    let answer = world
        .program
        .ask("POST", &beside, &[JSON], "{\"amount\": 1}");
    assert_eq!(priced(&answer.json()), (39_98, "eur"));
    world.confirm(&answer.json(), "4242424242424242");
    world.taken().await;
    until("it is told", || {
        world.printed("39.98 EUR for 2 teapots") == 1
    });
    for none in ["teapots=0&currency=eur", "teapots=-1&currency=eur"] {
        assert_eq!(world.post("/orders", none).status, 422, "{none}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn step_2_counts_in_the_smallest_unit_of_each_currency() {
    let world = World::open(step!("2-price")).await;
    for (currency, minor, shown) in [("jpy", 6_400, "6400"), ("kwd", 13_000, "13.000")] {
        let order = world.order(&format!("teapots=2&currency={currency}"));
        let page = world.get(&format!("/checkout?order={order}"));
        assert!(page.body.contains(shown), "{page:?}");
        assert_eq!(priced(&world.press(&order).json()), (minor, currency));
    }
    let order = world.order("teapots=2&currency=usd");
    let refused = world.press(&order);
    assert_eq!(refused.status, 422, "{refused:?}");
    assert_eq!(world.intents(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn step_3_makes_one_intent_whatever_is_pressed_twice_and_lost() {
    let world = World::open(step!("3-once")).await;
    let order = world.order("teapots=2&currency=eur");
    // Stripe does it, and the answer is lost on the way.
    world.sandbox.faults().next(1, Fault::ResetAfterExecution);
    let pressed: Vec<Value> = std::thread::scope(|scope| {
        let press = || world.press(&order).json();
        let presses: Vec<_> = (0..8).map(|_| scope.spawn(press)).collect();
        let answers = presses.into_iter().map(|press| press.join());
        answers.map(|answer| answer.expect("an answer")).collect()
    });
    for answer in &pressed {
        assert_eq!(answer, &pressed[0], "one client secret for all");
    }
    assert_eq!(world.intents(), 1);

    // The buyer thinks again: the same intent, at the new price.
    let changed = format!("/orders/{order}");
    let changed = world.post(&changed, "teapots=3&currency=eur");
    assert_eq!(order_in(&changed), order);
    let again = world.press(&order).json();
    assert_eq!(again["clientSecret"], pressed[0]["clientSecret"]);
    assert_eq!(priced(&again), (59_97, "eur"));

    // Paid is paid: pressed in another tab, it is not paid again.
    world.confirm(&again, "4242424242424242");
    world.taken().await;
    let late = world.press(&order);
    assert_eq!(late.status, 409, "{late:?}");
    assert_eq!(world.intents(), 1);
    let nobody = world.post(
        "/orders/00000000-0000-0000-0000-000000000000",
        "teapots=3&currency=eur",
    );
    assert_eq!(nobody.status, 404);
}

fn priced(intent: &Value) -> (u64, &str) {
    let amount = intent["amount"].as_u64().expect("an amount");
    (amount, intent["currency"].as_str().expect("a currency"))
}
