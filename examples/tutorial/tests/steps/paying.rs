//! Steps 4 to 7: paid orders, and payments whose events or buyers do not arrive.

use std::time::Duration;

use program::Program;
use serde_json::json;
use stripe_checkout_core::{Amount, Currency, testing};

use crate::step;
use crate::world::{FORM, JSON, World, confirm, environment, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn step_4_ships_once_whatever_comes_twice_and_in_any_order() {
    let world = World::open(step!("4-webhook")).await;
    let webhooks = world.sandbox.webhooks();
    webhooks.duplicate(3);
    webhooks.double_events(20);
    webhooks.shuffle(Duration::from_millis(300));
    let order = world.order("teapots=2&currency=eur");
    world.pay(&order, "4000000000000002");
    world.pay(&order, "4242424242424242");
    world.taken().await;
    for (id, _) in world.sandbox.events() {
        assert!(world.sandbox.redeliver(&id));
    }
    world.taken().await;
    let news = world.get(&format!("/orders/{order}")).body;
    assert_eq!(news.matches("shipped").count(), 1, "{news}");
    assert_eq!(news.lines().last(), Some("shipped"), "no older news after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn step_4_tells_a_decline_and_then_ships() {
    let world = World::open(step!("4-webhook")).await;
    let order = world.order("teapots=2&currency=eur");
    world.pay(&order, "4000000000000002");
    world.taken().await;
    world.pay(&order, "4242424242424242");
    world.taken().await;
    let news = world.get(&format!("/orders/{order}")).body;
    let lines: Vec<_> = news.lines().collect();
    assert!(lines[0].starts_with("declined: "), "{news}");
    assert_eq!(lines[1..], ["shipped"], "{news}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn step_4_believes_nobody_but_stripe() {
    let mut world = World::open(step!("4-webhook")).await;
    let order = world.order("teapots=2&currency=eur");
    let paid = |id: &str, cents: u64| {
        let payment = testing::PaymentIntent::new(id, Amount::new(cents, Currency::EUR))
            .status("succeeded")
            .metadata("order_id", &order)
            .metadata("checkout_application", "tutorial");
        testing::event("payment_intent.succeeded", payment.object())
    };
    let (now, genuine) = (testing::now(), paid("pi_1", 39_98));
    let status = |headers: &[(&str, &str)], body: &[u8]| {
        program::ask(world.program.host(), "POST", "/webhook", headers, body).status
    };
    assert_eq!(status(&[JSON], &genuine), 400, "not signed");
    let forged = "t=1,v1=00".to_owned();
    assert_eq!(status(&[("stripe-signature", &forged)], &genuine), 400);
    let signature = testing::sign(&genuine, &world.secret, now);
    let other = paid("pi_2", 39_98);
    assert_eq!(status(&[("stripe-signature", &signature)], &other), 400);
    assert_eq!(world.deliver(&genuine, now - 400), 400, "too old");
    let news = format!("/orders/{order}");
    assert_eq!(world.get(&news).body, "");

    // A genuine event, but of another application, as `stripe trigger` sends it. The shop accepts
    // it and ships nothing.
    let payment = testing::PaymentIntent::new("pi_5", Amount::new(39_98, Currency::EUR))
        .status("succeeded")
        .metadata("order_id", &order);
    let foreign = testing::event("payment_intent.succeeded", payment.object());
    assert_eq!(world.deliver(&foreign, now), 200);
    assert_eq!(world.get(&news).body, "");

    // Signed, but for less than the order costs.
    assert_eq!(world.deliver(&paid("pi_3", 1), now), 200);
    let told = world.get(&news).body;
    assert_eq!(
        told,
        "not shipped: the order costs 39.98 EUR, the payment is for 0.01 EUR"
    );

    // The signature covers the bytes. With added spaces it is another body, whose own signature is
    // valid.
    let spaced = [b"  ".as_slice(), &genuine, b"\n"].concat();
    assert_eq!(world.deliver(&spaced, now), 200);
    assert!(world.get(&news).body.ends_with("\nshipped"));

    // While the signing secret is rolled, Stripe signs each event with both secrets.
    let url = format!("http://{}/webhook", world.program.host());
    let rolled = world
        .sandbox
        .roll_webhook_secret(&url)
        .expect("the endpoint");
    let second = world.order("teapots=1&currency=eur");
    world.pay(&second, "4242424242424242");
    world.taken().await;
    assert_eq!(world.get(&format!("/orders/{second}")).body, "shipped");
    // Later only the new secret is valid. So the program, which had the old one, gets both.
    world.program = restarted_with(
        &world,
        &format!("{},{}", rolled.expose(), world.secret.expose()),
    );
    world.secret = rolled;
    let third = world.order("teapots=1&currency=eur");
    let body = {
        let payment = testing::PaymentIntent::new("pi_4", Amount::new(19_99, Currency::EUR))
            .status("succeeded")
            .metadata("order_id", &third)
            .metadata("checkout_application", "tutorial");
        testing::event("payment_intent.succeeded", payment.object())
    };
    assert_eq!(world.deliver(&body, now), 200);
    assert_eq!(world.get(&format!("/orders/{third}")).body, "shipped");
}

fn restarted_with(world: &World, secrets: &str) -> Program {
    let mut command = Program::command(step!("4-webhook"), world.folder.path());
    command.envs(environment(&world.sandbox.config()));
    command.env("STRIPE_WEBHOOK_SECRET", secrets);
    Program::start(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn step_5_ships_what_was_paid_while_it_was_closed() {
    let path = step!("5-database");
    let mut world = World::open(path).await;
    let (first, second) = (
        world.order("teapots=2&currency=eur"),
        world.order("teapots=1&currency=jpy"),
    );
    world.pay(&first, "4242424242424242");
    world.taken().await;
    let shipped = "paid, shipments: 1";
    assert_eq!(world.get(&format!("/orders/{first}")).body, shipped);

    // No event of the second payment ever arrives: Stripe makes none, and the program stops.
    let intent = world.press(&second).json();
    world.taken().await;
    world.sandbox.webhooks().lose_events(100);
    world.confirm(&intent, "4242424242424242");
    world.start_again(path);
    let page = format!("/orders/{second}");
    until("Stripe was asked", || world.get(&page).body == shipped);

    // The sandbox delivers all events again to the new process. The new process knows what the old
    // one did.
    world.move_webhook();
    let events = world.sandbox.events();
    assert!(
        events
            .iter()
            .any(|(_, kind)| kind == "payment_intent.succeeded")
    );
    world.sandbox.take_deliveries();
    for (id, _) in &events {
        assert!(world.sandbox.redeliver(id));
    }
    world.taken().await;
    assert_eq!(world.sandbox.deliveries().len(), events.len());
    assert_eq!(world.get(&format!("/orders/{first}")).body, shipped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn step_5_ships_when_the_buyer_comes_back_and_no_webhook_did() {
    let world = World::open(step!("5-database")).await;
    let order = world.order("teapots=2&currency=eur");
    let intent = world.press(&order).json();
    world.taken().await;
    world.sandbox.webhooks().lose_events(100);
    let payment = world.confirm(&intent, "4242424242424242");
    let ticket = json!({
        "payment_intent": payment,
        "payment_intent_client_secret": intent["clientSecret"],
    });
    for _ in 0..3 {
        let ticket = ticket.to_string();
        let status = world
            .program
            .ask("POST", "/checkout/status", &[JSON], &ticket);
        assert_eq!(status.json()["status"], "succeeded", "{status:?}");
    }
    let page = format!("/orders/{order}");
    assert_eq!(world.get(&page).body, "paid, shipments: 1");
}

/// Kills the program again and again, at different moments after the payment.
///
/// Either the next process finishes the work, or the work never began.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn step_5_ships_once_whenever_it_is_killed() {
    let path = step!("5-database");
    let mut world = World::open(path).await;
    let mut orders = Vec::new();
    for round in 0..8 {
        let order = world.order("teapots=1&currency=eur");
        world.pay(&order, "4242424242424242");
        orders.push(order);
        // Each round kills the program a little later in its work.
        for _ in 0..round * 500 {
            std::thread::yield_now();
        }
        world.program.signal("KILL");
        world.program.wait();
        world.start_again(path);
        world.move_webhook();
    }
    for order in orders {
        let page = format!("/orders/{order}");
        until("it is shipped", || {
            world.get(&page).body.starts_with("paid")
        });
        assert_eq!(world.get(&page).body, "paid, shipments: 1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn step_6_shows_saved_cards_to_nobody_else() {
    let world = World::open(step!("6-customers")).await;
    let log_in = |name: &str| {
        let inside = world.post("/log-in", &format!("id={name}"));
        let session = inside.cookie("session").expect("a cookie");
        format!("session={session}")
    };
    let (ada, bob) = (log_in("ada"), log_in("bob"));
    // Both users open the page at the same time, several times.
    std::thread::scope(|scope| {
        for cookie in [&ada, &bob, &ada, &bob, &ada, &bob] {
            let look = || world.program.ask("GET", "/", &[("cookie", cookie)], "");
            scope.spawn(move || assert_eq!(look().status, 200));
        }
    });
    let reference = json!({ "reference": "0123456789abcdef" }).to_string();
    let ask = |cookie: &str, method: &str, path: &str, body: &str| {
        let headers = [JSON, ("cookie", cookie)];
        world.program.ask(method, path, &headers, body)
    };
    let setup = ask(&ada, "POST", "/create-setup-intent", &reference);
    assert_eq!(setup.status, 200, "{setup:?}");
    confirm(
        world.sandbox.url(),
        "setup_intents",
        &setup.json(),
        "4242424242424242",
    );
    world.taken().await;
    let cards = |cookie: &str| ask(cookie, "GET", "/", "").body;
    assert!(
        cards(&ada).contains("visa ending in 4242"),
        "{}",
        cards(&ada)
    );
    assert!(!cards(&bob).contains("4242"), "another user's");
    for stranger in ["", "session=ada", "user=ada"] {
        assert!(cards(stranger).contains("Log in"), "{stranger}");
        let refused = ask(stranger, "POST", "/create-setup-intent", &reference);
        assert_ne!(refused.status, 200, "{refused:?}");
    }
    let customers = |(_, kind): &(String, String)| kind == "customer.created";
    let made = world.sandbox.events().into_iter().filter(customers).count();
    assert_eq!(made, 2, "one customer for each user");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn step_7_starts_with_all_keys_and_with_nothing_less() {
    let path = step!("7-live");
    let sandbox = stripe_checkout_sandbox::Sandbox::start().await;
    let sandbox = sandbox.expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    let all = environment(&sandbox.config());
    for (missing, _) in &all[..3] {
        let mut command = Program::command(path, folder.path());
        let others = all.iter().filter(|(name, _)| name != missing);
        command.envs(others.cloned());
        let ended = command.output().expect("it runs");
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && told.contains(missing), "{told}");
        assert!(!told.contains("sk_test") && !told.contains("whsec"));
    }
    // A live key beside test keys.
    let mut command = Program::command(path, folder.path());
    command
        .envs(all.clone())
        .env("STRIPE_SECRET_KEY", "sk_live_1");
    assert!(!command.output().expect("it runs").status.success());

    // From the file that the text describes.
    let file: String = all
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    std::fs::write(folder.path().join(".env"), file).expect("a file");
    let program = Program::start(Program::command(path, folder.path()));
    let url = format!("http://{}/webhook", program.host());
    sandbox.webhook_endpoint(&url).expect("a local address");
    let placed = program.ask("POST", "/orders", &[FORM], "teapots=1&currency=kwd");
    let order = crate::world::order_in(&placed);
    let asked = json!({ "order": order }).to_string();
    let intent = program.ask("POST", "/create-payment-intent", &[JSON], &asked);
    confirm(
        sandbox.url(),
        "payment_intents",
        &intent.json(),
        "4242424242424242",
    );
    let page = format!("/orders/{order}");
    let paid = || program.ask("GET", &page, &[], "").body == "paid, shipments: 1";
    until("it is paid", paid);

    // A wrong amount: the shop alerts the merchant.
    let placed = program.ask("POST", "/orders", &[FORM], "teapots=1&currency=eur");
    let payment = testing::PaymentIntent::new("pi_1", Amount::new(1, Currency::EUR))
        .status("succeeded")
        .metadata("order_id", &crate::world::order_in(&placed))
        .metadata("checkout_application", "tutorial");
    let event = testing::event("payment_intent.succeeded", payment.object());
    let signature = testing::sign(
        &event,
        &sandbox.config().webhook_secrets()[0],
        testing::now(),
    );
    let headers = [JSON, ("stripe-signature", signature.as_str())];
    let taken = program::ask(program.host(), "POST", "/webhook", &headers, &event);
    assert_eq!(taken.status, 200, "{taken:?}");
    let mut again = Program::start(Program::command(path, folder.path()));
    again.wait_for_line("does not fit");
    for line in program.lines() {
        let secret = ["sk_test", "whsec_", "_secret_"].map(|part| line.contains(part));
        assert_eq!(secret, [false; 3], "{line}");
    }
    program.stop();
}

#[test]
fn live_keys_and_an_inbox_that_forgets_do_not_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Program::command(step!("4-webhook"), folder.path());
    command.envs([
        ("STRIPE_SECRET_KEY", "sk_live_1"),
        ("STRIPE_PUBLISHABLE_KEY", "pk_live_1"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_1"),
    ]);
    let ended = command.output().expect("it runs");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && told.contains("live"), "{told}");
}
