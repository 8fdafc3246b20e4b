//! How many events a second are taken in for good, beside what `pgbench` writes into the same server.

use std::time::Duration;

use stripe_checkout_core::fulfillment::{InboxExt as _, Received};

use crate::events::{Nothing, body, checkout, delivered, new_event};
use crate::measure::{median, rate, whole};
use crate::places::Postgres;

const ROUNDS: usize = 3;
const SECONDS: u64 = 2;

/// A row with a key, and one with a key and the body of an event: alone, and between `BEGIN` and `COMMIT`; and the very row that the inbox writes, both ways.
const TABLES: &str = "\
    CREATE TABLE small (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, paid bigint NOT NULL); \
    CREATE SEQUENCE number; \
    CREATE TABLE large (id text COLLATE \"C\" PRIMARY KEY DEFAULT 'evt_3S0aBcLkdIwHu7ix' || lpad(nextval('number')::text, 8, '0'), body bytea NOT NULL); \
    CREATE TABLE same (LIKE stripe_checkout_events INCLUDING ALL, number bigint DEFAULT nextval('number'))";
const SMALL: &str = "INSERT INTO small (paid) VALUES (1999);\n";
const LARGE: &str = "INSERT INTO large (body) VALUES (:body);\n";
const SAME: &str = "INSERT INTO same (application, mode, id, event_type, payment, order_account, order_reference, ours, settles, body, received, state, attempts, due, taken, claim) \
    SELECT 'shop', 'test', 'evt_3S0aBcLkdIwHu7ix' || n, 'payment_intent.succeeded', 'pi_3S0aBcLkdIwHu7ix' || n, '', 'order-' || n, true, true, :body, t, 'pending', 0, t, 0, 0 \
    FROM (SELECT lpad(nextval('number')::text, 8, '0') AS n, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS t) AS next;\n";

/// Nobody pays for what was written before: what is not there any more need not be written to its file either.
async fn empty(server: &Postgres) {
    server.run("TRUNCATE small, large, same").await;
    server.empty().await;
}

pub(crate) async fn table() {
    let Some(server) = Postgres::new(2).await else {
        return;
    };
    server.run(TABLES).await;
    let body = String::from_utf8(body().1).unwrap();
    let in_transaction = |statement: &str| format!("BEGIN;\n{statement}COMMIT;\n");
    let scripts = [
        SMALL.to_owned(),
        LARGE.to_owned(),
        in_transaction(LARGE),
        in_transaction(SAME),
        SAME.to_owned(),
    ];
    println!(
        "\n| connections | `receive` | a whole webhook | `pgbench`: a small row | a row of the same size | between `BEGIN` and `COMMIT` | the same row, with its indexes | the same, without `BEGIN` and `COMMIT` |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for connections in [1, 16, 128] {
        let mut received = Vec::new();
        let mut webhooks = Vec::new();
        let mut written = vec![Vec::new(); scripts.len()];
        for _ in 0..ROUNDS {
            let inbox = server.inbox_with(connections).await;
            let time = Duration::from_secs(SECONDS);
            empty(&server).await;
            let receiving = inbox.clone();
            let receive = move || {
                let inbox = receiving.clone();
                async move {
                    inbox.receive(new_event()).await.unwrap();
                }
            };
            received.push(rate(connections, time, receive).await);
            empty(&server).await;
            let queued = checkout(inbox, Nothing, |builder| builder.queued());
            let webhook = move || {
                let checkout = queued.clone();
                async move {
                    let event = delivered(&checkout);
                    let received = checkout.receive(event).await.unwrap();
                    assert_eq!(received, Received::Queued);
                }
            };
            webhooks.push(rate(connections, time, webhook).await);
            for (script, rates) in scripts.iter().zip(&mut written) {
                empty(&server).await;
                rates.push(server.pgbench(script, &body, connections, SECONDS));
            }
        }
        let (received, webhooks) = (median(received), median(webhooks));
        let written: Vec<_> = written
            .into_iter()
            .map(|rates| {
                let rate = median(rates);
                format!("{} ({:.2})", whole(rate), received / rate)
            })
            .collect();
        println!(
            "| {connections} | {} | {} | {} |",
            whole(received),
            whole(webhooks),
            written.join(" | ")
        );
    }
}
