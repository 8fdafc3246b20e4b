//! A shop that ships one parcel for each paid order, by the inbox's own transaction. Nothing in its
//! table keeps it from shipping twice.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool, SqliteConnection, SqlitePool};
use stripe_checkout_core::fulfillment::{
    Due, EventFilter, EventState, FulfillmentHandler, PostgresInbox, SqliteInbox,
};
use stripe_checkout_core::requests::PaymentRequest;
use stripe_checkout_core::testing::{now, sign};
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{
    Amount, Body, BoxError, Call, Checkout, CheckoutBuilder, Config, Currency, Metadata, Pricing,
    PricingError, Reply, Visitor,
};

pub(crate) const PRICE: Amount = Amount::new(1999, Currency::EUR);

/// The wait after which a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The longest time until a route answers, whatever is broken: a call to Stripe ends after 20 s.
pub(crate) const ANSWERS_WITHIN: Duration = Duration::from_secs(25);

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS parcels (order_reference TEXT NOT NULL, label TEXT NOT NULL)";
const SHIP: &str = "INSERT INTO parcels (order_reference, label) VALUES ($1, $2)";
const SHIPPED: &str = "SELECT order_reference FROM parcels ORDER BY order_reference";

/// The size of a label: more than an event needs, so that a disk can also become full under the
/// handler.
const LABEL: usize = 20_000;

struct Ships;

macro_rules! ships {
    ($($connection:ty)*) => {
        $(
            impl FulfillmentHandler<$connection> for Ships {
                async fn payment_succeeded(
                    &self,
                    payment: &Payment,
                    db: &mut $connection,
                ) -> Result<(), BoxError> {
                    let order = payment.order_id().unwrap();
                    let label = "x".repeat(LABEL);
                    sqlx::query(SHIP).bind(order).bind(label).execute(db).await?;
                    Ok(())
                }

                async fn amount_due(
                    &self,
                    _: &Payment,
                    _: &mut $connection,
                ) -> Result<Due, BoxError> {
                    Ok(Due::Exactly(PRICE))
                }
            }
        )*
    };
}

ships!(PgConnection SqliteConnection);

struct OnePrice;

#[derive(serde::Deserialize)]
struct Order {
    order: String,
}

impl Pricing for OnePrice {
    type Order = Order;

    async fn price(&self, order: Order, _: &Visitor) -> Result<PaymentRequest, PricingError> {
        // Its events are larger than a page of SQLite's, so a full disk refuses each of them.
        let mut metadata = Metadata::default();
        for line in 1..=6 {
            metadata.insert(format!("line_{line}"), "x".repeat(500))?;
        }
        Ok(PaymentRequest::new(order.order, PRICE).metadata(metadata))
    }
}

/// Where the shop has its tables.
#[derive(Clone)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

macro_rules! on {
    ($pool:expr, $db:ident => $body:expr) => {
        match $pool {
            Pool::Sqlite($db) => $body,
            Pool::Postgres($db) => $body,
        }
    };
}

#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) checkout: Checkout,
    pub(crate) pool: Pool,
    config: Config,
}

/// What a route answered.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) code: Option<String>,
    body: Value,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        let body: Value = serde_json::from_slice(reply.body()).unwrap_or_default();
        Self {
            status: reply.status(),
            retry_after: reply.header("retry-after").map(str::to_owned),
            code: body["code"].as_str().map(str::to_owned),
            body,
        }
    }
}

impl Answer {
    /// It asks to come back later and says when. A page has no code.
    #[track_caller]
    pub(crate) fn is_later(&self, code: &str) {
        assert_eq!(self.status, 503, "{self:?}");
        if !self.body.is_null() {
            assert_eq!(self.code.as_deref(), Some(code), "{self:?}");
        }
        let seconds = self.retry_after.as_deref().map(str::parse::<u32>);
        assert!(matches!(seconds, Some(Ok(1..))), "{self:?}");
    }
}

impl Shop {
    pub(crate) async fn open(pool: Pool, config: &Config) -> Self {
        Self::open_with(pool, config, |builder| builder).await
    }

    pub(crate) async fn open_with(
        pool: Pool,
        config: &Config,
        more: impl FnOnce(CheckoutBuilder) -> CheckoutBuilder,
    ) -> Self {
        let builder = Checkout::builder(config.clone())
            .application("tea")
            // A process that loses its database leaves its event for little more than this.
            .handler_deadline(Duration::from_secs(1))
            .pricing(OnePrice);
        let builder = match pool.clone() {
            Pool::Sqlite(db) => {
                builder.fulfillment(SqliteInbox::migrated(db).await.unwrap(), Ships)
            }
            Pool::Postgres(db) => {
                builder.fulfillment(PostgresInbox::migrated(db).await.unwrap(), Ships)
            }
        };
        on!(&pool, db => sqlx::query(TABLE).execute(db).await.map(drop)).unwrap();
        let checkout = more(builder).build().unwrap();
        // The first start writes the inbox's birth.
        checkout.drain().await;
        Self {
            checkout,
            pool,
            config: config.clone(),
        }
    }

    /// A buyer's request from an address of their own.
    async fn ask(&self, method: &str, path: &str, query: &str, body: &Value) -> Answer {
        static VISITORS: AtomicU32 = AtomicU32::new(u32::from_be_bytes([10, 0, 0, 1]));
        let address = Ipv4Addr::from(VISITORS.fetch_add(1, Ordering::SeqCst));
        let mut endpoints = self.checkout.endpoints().iter();
        let endpoint = endpoints
            .find(|endpoint| endpoint.method().as_str() == method && endpoint.path() == path)
            .unwrap();
        let call = Call::new(endpoint)
            .peer(Some(address.into()))
            .query(Some(query))
            .header("content-type", b"application/json")
            .body(Body::whole(
                body.to_string().as_bytes(),
                endpoint.body_limit(),
            ));
        let answer = tokio::time::timeout(ANSWERS_WITHIN, self.checkout.handle(call)).await;
        answer
            .unwrap_or_else(|_| panic!("{method} {path} does not answer"))
            .into()
    }

    /// `GET /checkout`: the page.
    pub(crate) async fn page(&self, order: &str) -> Answer {
        let query = format!("order={order}");
        self.ask("GET", "/checkout", &query, &Value::Null).await
    }

    /// `POST /create-payment-intent`.
    pub(crate) async fn create(&self, order: &str) -> Answer {
        let order = json!({ "order": order });
        self.ask("POST", "/create-payment-intent", "", &order).await
    }

    /// `POST /checkout/status`: the buyer comes back with this client secret.
    pub(crate) async fn status(&self, client_secret: &str) -> Answer {
        let back = json!({
            "payment_intent": payment_of(client_secret),
            "payment_intent_client_secret": client_secret,
        });
        self.ask("POST", "/checkout/status", "", &back).await
    }

    /// Opens a payment and returns its client secret.
    pub(crate) async fn opened(&self, order: &str) -> String {
        let answer = self.create(order).await;
        assert_eq!(answer.status, 200, "{order}: {answer:?}");
        answer.body["clientSecret"].as_str().unwrap().to_owned()
    }

    /// `POST /webhook`, signed by a clock that shows this time.
    pub(crate) async fn webhook_at(&self, event: &Value, signed: i64) -> Answer {
        let body = event.to_string().into_bytes();
        let header = sign(&body, &self.config.webhook_secrets()[0], signed);
        let mut endpoints = self.checkout.endpoints().iter();
        let webhook = endpoints
            .find(|endpoint| endpoint.path() == "/webhook")
            .unwrap();
        let call = Call::new(webhook)
            .header(Checkout::SIGNATURE_HEADER, header.as_bytes())
            .body(Body::whole(&body, webhook.body_limit()));
        let answer = tokio::time::timeout(ANSWERS_WITHIN, self.checkout.handle(call)).await;
        answer.expect("the webhook does not answer").into()
    }

    /// `POST /webhook`.
    pub(crate) async fn webhook(&self, event: &Value) -> Answer {
        self.webhook_at(event, now()).await
    }

    /// The order of each parcel.
    pub(crate) async fn shipped(&self) -> Vec<String> {
        on!(&self.pool, db => sqlx::query_scalar(SHIPPED).fetch_all(db).await).unwrap()
    }

    /// How many events of the inbox stand so.
    pub(crate) async fn events(&self, state: EventState) -> usize {
        let filter = EventFilter::default().state(state);
        self.checkout.events(filter).await.unwrap().len()
    }
}

/// The id of a payment, by its client secret.
pub(crate) fn payment_of(client_secret: &str) -> &str {
    client_secret.split_once("_secret_").unwrap().0
}

/// Orders with this name and these numbers.
pub(crate) fn orders(name: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers
        .map(|number| format!("{name}-{number:02}"))
        .collect()
}
