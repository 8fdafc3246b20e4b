//! Attackers. Each kind is a few tasks with a pause between two attempts, so that two cores can
//! still serve everybody else.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    buyers,
    client::{Client, PROXY_HEADER},
    tally::Tally,
};

const FORGERS: usize = 4;
const FORGERY_EVERY: Duration = Duration::from_millis(200);

const FLOODERS: usize = 2;
const FLOOD_EVERY: Duration = Duration::from_millis(500);

const GUESSERS: usize = 4;
const GUESS_EVERY: Duration = Duration::from_millis(200);

const REPEATERS: usize = 4;
const REPEAT_EVERY: Duration = Duration::from_millis(100);

const PASSWORDS: usize = 2;
const PASSWORD_EVERY: Duration = Duration::from_secs(1);

const SLOW: usize = 40;
const SLOW_BYTE_EVERY: Duration = Duration::from_secs(1);

const IDLE: usize = 100;

/// The pause before a connection that the shop closed is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// One of eight addresses, which no buyer has.
fn address() -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, fastrand::u8(1..=8))
}

/// Begins all of them.
pub(crate) fn begin(tasks: &mut JoinSet<()>, client: &Client, tally: &Arc<Tally>) {
    let attacker = || Attacker {
        client: client.clone(),
        tally: Arc::clone(tally),
    };
    for _ in 0..FORGERS {
        tasks.spawn(attacker().forge());
    }
    for _ in 0..FLOODERS {
        tasks.spawn(attacker().flood());
    }
    for _ in 0..GUESSERS {
        tasks.spawn(attacker().guess());
    }
    for _ in 0..REPEATERS {
        tasks.spawn(attacker().repeat());
    }
    for _ in 0..PASSWORDS {
        tasks.spawn(attacker().try_passwords());
    }
    for _ in 0..SLOW {
        tasks.spawn(attacker().send_slowly());
    }
    for _ in 0..IDLE {
        tasks.spawn(attacker().stay_idle());
    }
}

struct Attacker {
    client: Client,
    tally: Arc<Tally>,
}

impl Attacker {
    async fn post(&self, kind: &'static str, path: &str, body: impl Into<Bytes>) {
        let answer = self.client.post(address(), path, body).await;
        self.tally.attack(kind, answer.map(|answer| answer.status));
    }

    /// Webhooks that Stripe did not sign.
    async fn forge(self) {
        let event = json!({
            "id": "evt_forged", "object": "event", "type": "payment_intent.succeeded",
            "data": {"object": {"id": "pi_forged", "object": "payment_intent"}},
            "padding": "x".repeat(2000),
        });
        let event = Bytes::from(event.to_string());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        let signatures = [
            String::new(),
            "nonsense".to_owned(),
            format!("t={now},v1={}", "0".repeat(64)),
            format!("t={now}{}", ",v1=00".repeat(200)),
            format!("t=1,v1={}", "f".repeat(64)),
        ];
        for signature in signatures.iter().cycle() {
            let headers: &[(&str, &[u8])] = match signature.as_str() {
                "" => &[],
                signature => &[("stripe-signature", signature.as_bytes())],
            };
            let client = &self.client;
            let answer = client.post_with(address(), "/webhook", headers, event.clone());
            let status = answer.await.map(|answer| answer.status);
            self.tally.attack("forged webhooks", status);
            sleep(FORGERY_EVERY).await;
        }
    }

    /// Bodies that are too large, and JSON that is laborious to read.
    async fn flood(self) {
        const KIND: &str = "huge bodies";
        let large = Bytes::from(vec![b' '; 1024 * 1024 + 1]);
        let odd = Bytes::from(format!("[{}1]", "{\"a\":[],\"b\":1},".repeat(60_000)));
        loop {
            self.post(KIND, "/webhook", large.clone()).await;
            sleep(FLOOD_EVERY).await;
            self.post(KIND, "/checkout/status", odd.clone()).await;
            sleep(FLOOD_EVERY).await;
            self.post(KIND, "/create-payment-intent", odd.clone()).await;
            sleep(FLOOD_EVERY).await;
        }
    }

    /// Client secrets: of a payment that exists, of one that does not, and of a card that is saved.
    async fn guess(self) {
        const KIND: &str = "guessed secrets";
        let from = address();
        let known = self.opened(from).await;
        let known = known.as_deref().unwrap_or("pi_unknown");
        loop {
            let guess = format!("{:032x}", fastrand::u128(..));
            for payment in [known, &format!("pi_{guess}")] {
                let asked = json!({
                    "payment_intent": payment,
                    "payment_intent_client_secret": format!("{payment}_secret_{guess}"),
                });
                self.post(KIND, "/checkout/status", asked.to_string()).await;
                sleep(GUESS_EVERY).await;
            }
            let setup = json!({
                "setup_intent": format!("seti_{guess}"),
                "setup_intent_client_secret": format!("seti_{guess}_secret_{guess}"),
            });
            self.post(KIND, "/checkout/status", setup.to_string()).await;
            sleep(GUESS_EVERY).await;
        }
    }

    /// Pays an own order again and again, and asks for it again and again.
    async fn repeat(self) {
        const KIND: &str = "repeated payments";
        let from = address();
        loop {
            let order = buyers::order(&self.client, from).await;
            self.tally
                .attack("orders", order.as_ref().map(|order| order.status));
            let order = order.and_then(|order| Some(order.json()["id"].as_str()?.to_owned()));
            let pay = json!({ "order": order }).to_string();
            for _ in 0..100 {
                let answer = self
                    .client
                    .post(from, "/create-payment-intent", pay.clone());
                let status = answer.await.map(|answer| answer.status);
                self.tally.attack(KIND, status);
                sleep(REPEAT_EVERY).await;
            }
        }
    }

    /// The payment of an own order.
    async fn opened(&self, from: Ipv4Addr) -> Option<String> {
        let order = buyers::order(&self.client, from).await?.json();
        let pay = json!({ "order": order["id"] }).to_string();
        let path = "/create-payment-intent";
        let opened = self.client.post(from, path, pay).await?.json();
        let (payment, _) = opened["clientSecret"].as_str()?.split_once("_secret_")?;
        Some(payment.to_owned())
    }

    /// Logs in with passwords at random. The form's token agrees with the cookie, which a program
    /// writes as it likes.
    async fn try_passwords(self) {
        const KIND: &str = "passwords";
        let headers = [
            ("content-type", &b"application/x-www-form-urlencoded"[..]),
            ("cookie", b"login=x; entry=x"),
        ];
        loop {
            for (path, name) in [
                ("/admin/login", ""),
                ("/account/login", "email=a@b.example&"),
            ] {
                let password = fastrand::u64(..);
                let body = format!("csrf=x&{name}password={password:016x}");
                let client = &self.client;
                let answer = client.post_with(address(), path, &headers, body).await;
                self.tally.attack(KIND, answer.map(|answer| answer.status));
                sleep(PASSWORD_EVERY).await;
            }
        }
    }

    /// A body that comes byte by byte.
    async fn send_slowly(self) {
        loop {
            let status = self.sent_slowly().await;
            self.tally.attack("slow bodies", status);
            sleep(REOPEN_AFTER).await;
        }
    }

    async fn sent_slowly(&self) -> Option<u16> {
        let host = self.client.shop();
        let mut stream = TcpStream::connect(host).await.ok()?;
        let head = format!(
            "POST /webhook HTTP/1.1\r\nhost: {host}\r\n{PROXY_HEADER}: {}\r\ncontent-length: 100000\r\n\r\n",
            address()
        );
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut answer = [0; 64];
        loop {
            match timeout(SLOW_BYTE_EVERY, stream.read(&mut answer)).await {
                Ok(read) => return status(answer.get(..read.ok()?)?),
                Err(_) => stream.write_all(b" ").await.ok()?,
            }
        }
    }

    /// A connection on which nothing is asked.
    async fn stay_idle(self) {
        loop {
            if let Ok(mut stream) = TcpStream::connect(self.client.shop()).await {
                let closed = stream.read(&mut [0]).await;
                let status = closed.is_ok_and(|read| read > 0).then_some(200);
                self.tally.attack("idle connections", status);
            }
            sleep(REOPEN_AFTER).await;
        }
    }
}

/// The status in the first line of an answer.
fn status(answer: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(answer).ok()?;
    line.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_from_the_first_line() {
        assert_eq!(status(b"HTTP/1.1 408 Request Timeout\r\nda"), Some(408));
        assert_eq!(status(b""), None);
        assert_eq!(status(b"garbage"), None);
    }
}
