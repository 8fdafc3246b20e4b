//! Buyers without a browser. They order at one process or the other, and pay at the sandbox as
//! Stripe.js would. They repeat a failed request at another process.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use fastrand::Rng;
use serde_json::{Value, json};
use stripe_checkout_sandbox as sandbox;
use tokio::time::{Instant, sleep};

use super::{BACKLOG, Run};
use crate::testing::PATIENCE;

/// How long a buyer waits for an answer before trying elsewhere.
const ANSWER: Duration = Duration::from_secs(5);

/// Buys until the run is calm.
pub(super) async fn buy_again_and_again(run: Arc<Run>, mut rng: Rng) {
    while !run.is_calm() {
        if run.tally.outstanding(&run.sandbox) > BACKLOG {
            sleep(Duration::from_millis(50)).await;
            continue;
        }
        if let Err(wrong) = buy(&run, &mut rng).await {
            run.wrong().push(wrong);
        }
    }
}

async fn buy(run: &Run, rng: &mut Rng) -> Result<(), String> {
    let items = json!({"items": [{"sku": "mug", "quantity": rng.u8(1..4)}]});
    let outages = run.outages.load(Relaxed);
    let order = ask(run, rng, "/api/orders", &items, 201).await?;
    let order = order.ok_or("an order is refused")?;
    let order = order["id"].as_str().ok_or("an order without an id")?;
    if rng.u8(0..12) == 0 {
        return Ok(());
    }
    let pay = json!({"order": order});
    let Some(intent) = ask(run, rng, "/create-payment-intent", &pay, 200).await? else {
        // The shop's own commits do not ask for durability, so a server stop may lose them. They
        // become durable with the next commit that asks for it: the one of the intent's row.
        if run.outages.load(Relaxed) != outages {
            return Ok(());
        }
        return Err(format!("{order}: the shop does not know its order"));
    };
    let secret = intent["clientSecret"].as_str().ok_or("no client secret")?;
    let (payment, _) = secret.split_once("_secret_").ok_or("no client secret")?;
    if rng.u8(0..12) == 0 {
        return Ok(());
    }
    if rng.u8(0..6) == 0 {
        let declined = confirm(run, payment, secret, "4000000000000002").await?;
        if declined["error"]["code"] != "card_declined" {
            return Err(format!("{order}: a card was not declined: {declined}"));
        }
    }
    if !run.variant.acknowledged_once && rng.u8(0..4) == 0 {
        run.sandbox.webhooks().double_events(3);
    }
    let paid = confirm(run, payment, secret, "4242424242424242").await?;
    if paid["status"] != "succeeded" {
        return Err(format!("{order}: a card did not pay: {paid}"));
    }
    run.tally.payments.fetch_add(1, Relaxed);
    if !run.variant.acknowledged_once && rng.u8(0..3) == 0 {
        let back = json!({"payment_intent": payment, "payment_intent_client_secret": secret});
        // The shop may be down.
        let host = rng.choice(&run.hosts).ok_or("no host")?;
        let url = format!("http://{host}/checkout/status");
        let _ = run
            .http
            .try_post(&url, JSON, back.to_string(), ANSWER)
            .await;
    }
    Ok(())
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Sends the request to one process or the other until the response has this status.
///
/// Returns `None` on a 422, after which another try is useless.
async fn ask(
    run: &Run,
    rng: &mut Rng,
    path: &str,
    body: &Value,
    status: u16,
) -> Result<Option<Value>, String> {
    let end = Instant::now() + PATIENCE.max(3 * run.plan.freeze);
    loop {
        let host = rng.choice(&run.hosts).ok_or("no host")?;
        let url = format!("http://{host}{path}");
        let answer = run
            .http
            .try_post(&url, JSON, body.to_string(), ANSWER)
            .await;
        match answer {
            Some((answered, body)) if answered == status => return Ok(Some(body)),
            Some((422, _)) => return Ok(None),
            answer if Instant::now() > end => {
                return Err(format!("a buyer cannot buy: {path} {body}: {answer:?}"));
            }
            _ => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Confirms the payment as Stripe.js does.
async fn confirm(run: &Run, payment: &str, secret: &str, card: &str) -> Result<Value, String> {
    let form = format!(
        "key={}&client_secret={secret}&payment_method_data[type]=card&payment_method_data[card][number]={card}\
         &payment_method_data[card][exp_month]=12&payment_method_data[card][exp_year]=2040&payment_method_data[card][cvc]=123\
         &return_url=http://{}/checkout/complete&use_stripe_sdk=true",
        sandbox::PUBLISHABLE_KEY,
        run.hosts[0],
    );
    let url = format!("{}/v1/payment_intents/{payment}/confirm", run.sandbox.url());
    let answer = run.http.try_post(&url, FORM, form, PATIENCE).await;
    let (_, answer) = answer.ok_or("the sandbox does not answer")?;
    Ok(answer)
}
