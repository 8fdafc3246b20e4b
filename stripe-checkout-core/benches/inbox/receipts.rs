//! How many events a second are received for good, to the bare statement by `pgbench` on the same
//! server.

use std::sync::Arc;

use stripe_checkout_core::fulfillment::{Inbox, Received, Session as _};
use tokio::sync::Mutex;

use crate::databases::Postgres;
use crate::events::{Nothing, body, checkout, delivered, event_id, new_event, scope};
use crate::measure::{Pairs, TURNS, rate};

/// A table as the inbox's own, with its indexes.
const SAME: &str =
    "CREATE SEQUENCE number; CREATE TABLE same (LIKE stripe_checkout_events INCLUDING ALL)";
const STATEMENT: &str = "INSERT INTO same (application, mode, id, event_type, payment, order_account, order_reference, ours, settles, body, received, state, attempts, due, taken, claim) \
    SELECT 'shop', 'test', 'evt_3S0aBcLkdIwHu7ix' || n, 'payment_intent.succeeded', 'pi_3S0aBcLkdIwHu7ix' || n, '', 'order-' || n, true, true, :body, t, 'pending', 0, t, 0, 0 \
    FROM (SELECT lpad(nextval('number')::text, 8, '0') AS n, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS t) AS next;\n";

pub(crate) async fn table() {
    let Some(server) = Postgres::new(2).await else {
        return;
    };
    server.run(SAME).await;
    let body = String::from_utf8(body().1).unwrap();
    println!("\n| received | the bare statement | the inbox | ratio | the ratio of each turn |");
    println!("| --- | --- | --- | --- | --- |");
    for connections in [1, 16, 128] {
        let (mut alone, mut webhooks) = (Pairs::default(), Pairs::default());
        for _ in 0..TURNS {
            let inbox = server.inbox_with(connections).await;
            // No run pays for the rows of the one before.
            server.run("TRUNCATE same").await;
            server.empty().await;
            let bare = server.pgbench(STATEMENT, Some(&body), connections);
            server.empty().await;
            alone.push(bare, received(&inbox, connections).await);
            server.empty().await;
            webhooks.push(bare, queued(inbox, connections).await);
        }
        println!(
            "| `receive` alone, connections: {connections} | {} |",
            alone.cells()
        );
        println!(
            "| a whole webhook, connections: {connections} | {} |",
            webhooks.cells()
        );
    }
}

/// Each task has a session that has looked whether an event is known, as a webhook does first.
async fn received<I: Inbox>(inbox: &I, connections: u32) -> f64 {
    let work = || {
        let session = Arc::new(Mutex::new((inbox.session(), false)));
        move || {
            let session = Arc::clone(&session);
            async move {
                let (session, has_looked) = &mut *session.lock().await;
                if !*has_looked {
                    let (scope, event) = (scope(), event_id(0));
                    session.find(&scope, &event, [None; 2]).await.unwrap();
                    *has_looked = true;
                }
                let stored = session.receive(&new_event(), None).await.unwrap();
                assert!(stored.is_some());
            }
        }
    };
    rate(connections, work).await
}

async fn queued<I: Inbox>(inbox: I, connections: u32) -> f64
where
    Nothing: stripe_checkout_core::fulfillment::FulfillmentHandler<I::Connection>,
{
    let checkout = checkout(inbox, Nothing, |builder| builder.queued());
    let work = || {
        let checkout = checkout.clone();
        move || {
            let checkout = checkout.clone();
            async move {
                let event = delivered(&checkout);
                let received = checkout.receive(event).await.unwrap();
                assert_eq!(received, Received::Queued);
            }
        }
    };
    rate(connections, work).await
}
