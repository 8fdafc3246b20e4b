//! Lists: newest first, in pages that neither lose nor repeat anything.

use std::time::Duration;

use serde_json::{Value, json};
use stripe_checkout_sandbox::Sandbox;

use crate::http::{Client, id};

fn ids(list: &Value) -> Vec<String> {
    list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|each| id(each).to_owned())
        .collect()
}

async fn with_intents(count: usize) -> (Sandbox, Client, Vec<String>) {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let mut made = Vec::new();
    for _ in 0..count {
        made.insert(0, id(&client.create("").await).to_owned());
    }
    (sandbox, client, made)
}

#[tokio::test]
async fn pages_forwards_and_backwards() {
    let (_sandbox, client, newest_first) = with_intents(12).await;
    let list = |query: String| {
        let client = client.clone();
        async move {
            client
                .get(&format!("/v1/payment_intents?{query}"))
                .await
                .json()
        }
    };
    let first = list(String::new()).await;
    assert_eq!(
        (&first["object"], &first["url"], &first["has_more"]),
        (&json!("list"), &json!("/v1/payment_intents"), &json!(true))
    );
    assert_eq!(ids(&first), newest_first[..10], "ten by default");
    assert_eq!(ids(&list("limit=100".to_owned()).await), newest_first);

    let mut seen = Vec::new();
    let mut query = "limit=5".to_owned();
    loop {
        let page = list(query).await;
        seen.extend(ids(&page));
        if page["has_more"] == false {
            break;
        }
        query = format!("limit=5&starting_after={}", seen.last().unwrap());
    }
    assert_eq!(seen, newest_first);

    let before = list(format!("limit=3&ending_before={}", newest_first[5])).await;
    assert_eq!(ids(&before), newest_first[2..5]);
    assert_eq!(before["has_more"], true);
    let start = list(format!("limit=3&ending_before={}", newest_first[2])).await;
    assert_eq!(
        (ids(&start), &start["has_more"]),
        (newest_first[..2].to_vec(), &json!(false))
    );
    let end = list(format!("starting_after={}", newest_first[11])).await;
    assert_eq!((ids(&end), &end["has_more"]), (vec![], &json!(false)));
}

#[tokio::test]
async fn what_a_list_refuses() {
    let (_sandbox, client, made) = with_intents(1).await;
    for (query, code, param) in [
        ("limit=0", "parameter_invalid_integer", "limit"),
        ("limit=101", "parameter_invalid_integer", "limit"),
        ("limit=many", "parameter_invalid_integer", "limit"),
        (
            "starting_after=pi_nothing",
            "resource_missing",
            "starting_after",
        ),
        (
            "ending_before=pi_nothing",
            "resource_missing",
            "ending_before",
        ),
        (
            &format!("starting_after={0}&ending_before={0}", made[0]),
            "",
            "ending_before",
        ),
        ("created[gt]=x", "parameter_invalid_integer", "created[gt]"),
        ("created[around]=1", "parameter_unknown", "created[around]"),
    ] {
        let answer = client.get(&format!("/v1/payment_intents?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.error().1, code, "{query}");
        assert_eq!(answer.json()["error"]["param"], *param, "{query}");
    }
}

#[tokio::test]
async fn by_time() {
    let (_sandbox, client, made) = with_intents(2).await;
    let created = client
        .get(&format!("/v1/payment_intents/{}", made[0]))
        .await
        .json()["created"]
        .as_i64()
        .unwrap();
    for (query, found) in [
        (format!("created[gte]={}", created - 60), 2),
        (format!("created[gt]={}", created + 60), 0),
        (format!("created[lte]={}", created + 60), 2),
        (format!("created[lt]={}", created - 60), 0),
        (
            format!("created[gte]={}&created[lt]={}", created - 60, created + 60),
            2,
        ),
        (format!("created={}", created - 60), 0),
    ] {
        assert_eq!(
            ids(&client
                .get(&format!("/v1/payment_intents?{query}"))
                .await
                .json())
            .len(),
            found,
            "{query}"
        );
    }
    assert!(
        ids(&client
            .get(&format!("/v1/payment_intents?created={created}"))
            .await
            .json())
        .contains(&made[0])
    );
    // The bounds themselves.
    let edge = |bound: &str| {
        let client = client.clone();
        let query = format!("/v1/payment_intents?created[{bound}]={created}");
        async move { ids(&client.get(&query).await.json()) }
    };
    assert!(edge("gte").await.contains(&made[0]) && edge("lte").await.contains(&made[0]));
    assert!(!edge("gt").await.contains(&made[0]) && !edge("lt").await.contains(&made[0]));
}

#[tokio::test]
async fn events_by_type() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    client.pay("pm_card_visa").await;
    client.pay("pm_card_chargeDeclined").await;
    let types = |query: &'static str| {
        let client = client.clone();
        async move {
            let list = client.get(&format!("/v1/events?{query}")).await.json();
            let mut types: Vec<String> = list["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|event| event["type"].as_str().unwrap().to_owned())
                .collect();
            types.reverse();
            types
        }
    };
    assert_eq!(types("type=charge.failed").await, ["charge.failed"]);
    assert_eq!(
        types("types[]=charge.failed&types[]=payment_intent.succeeded").await,
        ["payment_intent.succeeded", "charge.failed"]
    );
    assert_eq!(
        types("type=charge.*").await,
        ["charge.succeeded", "charge.failed"]
    );
    assert_eq!(types("type=customer.created").await, Vec::<String>::new());
    assert_eq!(client.get("/v1/events?type=a&types[]=b").await.status, 400);
    let many: String = (0..21).map(|_| "types[]=charge.failed&").collect();
    assert_eq!(client.get(&format!("/v1/events?{many}")).await.status, 400);
    let one = &client.get("/v1/events?limit=1").await.json()["data"][0];
    assert_eq!(
        client.get(&format!("/v1/events/{}", id(one))).await.json(),
        *one
    );
}

#[tokio::test]
async fn time_passes_and_events_are_known_for_thirty_days() {
    const DAYS_20: Duration = Duration::from_secs(20 * 24 * 60 * 60);
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    let old = id(&client.create("").await).to_owned();
    let events = client.get("/v1/events").await.json();
    let old_event = ids(&events)[0].clone();
    let created = events["data"][0]["created"].as_i64().unwrap();
    sandbox.pass_time(DAYS_20);
    client.create("").await;
    let events = client.get("/v1/events").await.json();
    let aged = &events["data"][1];
    assert_eq!(id(aged), old_event);
    assert_eq!(aged["created"].as_i64().unwrap(), created - 1_728_000);
    let after = format!("/v1/events?starting_after={old_event}");
    assert_eq!(client.get(&after).await.status, 200);

    sandbox.pass_time(DAYS_20);
    let events = client.get("/v1/events").await.json();
    assert_eq!(ids(&events).len(), 1);
    let refused = client.get(&after).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["code"], "resource_missing");
    let retrieved = client.get(&format!("/v1/events/{old_event}")).await;
    assert_eq!(retrieved.status, 404);
    // Payments stay.
    let retrieved = client.get(&format!("/v1/payment_intents/{old}")).await;
    assert_eq!(retrieved.status, 200);
}

#[tokio::test]
async fn charges_of_an_intent() {
    let sandbox = Sandbox::start().await.unwrap();
    let client = Client::new(&sandbox);
    client.pay("pm_card_visa").await;
    let paid = client.pay("pm_card_visa").await.json();
    let charges = client
        .get(&format!("/v1/charges?payment_intent={}", id(&paid)))
        .await
        .json();
    assert_eq!(ids(&charges), [paid["latest_charge"].as_str().unwrap()]);
}
