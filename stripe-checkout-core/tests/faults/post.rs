//! Stripe's deliveries: it repeats an event until the answer is 200.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use crate::shop::{Answer, PATIENCE, Shop};
use crate::stripe::Stripe;

/// The pause between two rounds of deliveries.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Clone, Default)]
pub(crate) struct Post(Arc<Mutex<BTreeSet<String>>>);

impl Post {
    /// How many events the shop acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Delivers each event that the shop did not acknowledge, all at the same time. Returns the
    /// answers that were not 200.
    pub(crate) async fn round(&self, stripe: &Stripe, shop: &Shop) -> Vec<Answer> {
        let mut deliveries = JoinSet::new();
        for event in stripe.events().await {
            let id = event["id"].as_str().unwrap().to_owned();
            if self.0.lock().unwrap().contains(&id) {
                continue;
            }
            let (shop, post) = (shop.clone(), self.clone());
            deliveries.spawn(async move { post.deliver(&shop, id, &event).await });
        }
        deliveries.join_all().await.into_iter().flatten().collect()
    }

    async fn deliver(&self, shop: &Shop, id: String, event: &Value) -> Option<Answer> {
        let answer = shop.webhook(event).await;
        if answer.status != 200 {
            return Some(answer);
        }
        self.0.lock().unwrap().insert(id);
        None
    }

    /// Repeats rounds until the shop acknowledged every event.
    pub(crate) async fn until_all_are_taken(&self, stripe: &Stripe, shop: &Shop) {
        let end = Instant::now() + PATIENCE;
        loop {
            let refused = self.round(stripe, shop).await;
            if refused.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "refused for ever: {refused:?}");
            sleep(PAUSE).await;
        }
    }
}
