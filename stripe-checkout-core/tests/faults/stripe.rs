//! The Stripe of a test: its buyers pay there, and its clock may differ from the shop's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use stripe_checkout_core::TransportError;
use stripe_checkout_core::stripe::{
    Gateway, IdempotencyKey, PooledTransport, Transport, TransportRequest, TransportResponse,
};
use stripe_checkout_sandbox::Sandbox;

pub(crate) struct Stripe {
    pub(crate) sandbox: Sandbox,
    gateway: Gateway,
}

impl Stripe {
    pub(crate) async fn start() -> Self {
        let sandbox = Sandbox::start().await.unwrap();
        let gateway = Gateway::new(&sandbox.config()).unwrap();
        Self { sandbox, gateway }
    }

    /// A buyer pays with a card that succeeds.
    pub(crate) async fn pay(&self, payment: &str) {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let key = format!("buyer-{}", COUNT.fetch_add(1, Ordering::SeqCst));
        let key: IdempotencyKey = key.parse().unwrap();
        let path = format!("/payment_intents/{payment}/confirm");
        let form = "payment_method=pm_card_visa&return_url=https://shop.example/";
        self.gateway.post(&path, form, &key, None).await.unwrap();
        // Stripe books a paid charge late and makes one more event then.
        self.sandbox.pass_time(Duration::from_secs(60));
    }

    /// All objects of a list, the oldest first.
    pub(crate) async fn list(&self, path: &str) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("{path}?limit=100{after}");
            let page = self.gateway.get(&path, None).await.unwrap();
            let page: Value = serde_json::from_slice(&page).unwrap();
            all.extend(page["data"].as_array().unwrap().iter().cloned());
            if page["has_more"] != true {
                break;
            }
            let last = all.last().unwrap()["id"].as_str().unwrap();
            after = format!("&starting_after={last}");
        }
        all.reverse();
        all
    }

    pub(crate) async fn events(&self) -> Vec<Value> {
        self.list("/events").await
    }

    /// The orders of all PaymentIntents with this status, one for each PaymentIntent.
    pub(crate) async fn orders(&self, status: &str) -> Vec<String> {
        let mut intents = self.list("/payment_intents").await;
        intents.retain(|intent| intent["status"] == status);
        let order = |intent: &Value| intent["metadata"]["order_id"].as_str().unwrap().to_owned();
        let mut orders: Vec<String> = intents.iter().map(order).collect();
        orders.sort();
        orders
    }
}

/// The way to a Stripe whose clock is ahead of the shop's by these seconds, or behind it if
/// negative.
pub(crate) struct OtherClock {
    way: PooledTransport,
    ahead: i64,
}

impl OtherClock {
    pub(crate) fn new(ahead: i64) -> Self {
        let way = PooledTransport::new().unwrap();
        Self { way, ahead }
    }

    /// The address, with each time in its query as the sandbox's clock shows it.
    fn url(&self, url: &str) -> String {
        let Some((path, query)) = url.split_once('?') else {
            return url.to_owned();
        };
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, value)) if name.starts_with("created") => {
                format!("{name}={}", value.parse::<i64>().unwrap() - self.ahead)
            }
            _ => pair.to_owned(),
        });
        format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
    }

    /// The object, with each of its times as this clock shows it.
    pub(crate) fn shift(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_i64() {
                        Some(time) if name == "created" => *value = (time + self.ahead).into(),
                        _ => self.shift(value),
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.shift(value)),
            _ => {}
        }
    }
}

impl Transport for OtherClock {
    async fn send(&self, request: &TransportRequest) -> Result<TransportResponse, TransportError> {
        let mut asked = request.clone();
        asked.url = self.url(&asked.url);
        let mut answer = self.way.send(&asked).await?;
        if let Ok(mut body) = serde_json::from_slice(&answer.body) {
            self.shift(&mut body);
            answer.body = body.to_string().into();
        }
        for (name, value) in &mut answer.headers {
            if name.eq_ignore_ascii_case("date") {
                *value = http_date(self.ahead).into_bytes();
            }
        }
        Ok(answer)
    }
}

/// The time in these seconds, as servers write it.
fn http_date(later: i64) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = stripe_checkout_core::testing::now() + later;
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years begin in March here, so that the leap day is the last of its year.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = match month {
        0..10 => (month + 2, 0),
        _ => (month - 10, 1),
    };
    format!(
        "Day, {day:02} {} {:04} {:02}:{:02}:{:02} GMT",
        MONTHS[usize::try_from(month).unwrap()],
        era * 400 + year + later,
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}
