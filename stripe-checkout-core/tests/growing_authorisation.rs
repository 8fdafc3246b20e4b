//! An authorisation that grows: the handler receives each larger amount once, in any order of the
//! events.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use stripe_checkout_core::fulfillment::{
    Due, EventFilter, EventState, FulfillmentHandler, MemoryInbox, PaymentEvent, Received,
};
use stripe_checkout_core::testing::{EventBody, PaymentIntent};
use stripe_checkout_core::webhook::{Event, Payment};
use stripe_checkout_core::{
    Amount, BoxError, Checkout, Config, Currency, Ownership, WebhookSecret,
};

const fn eur(minor: u64) -> Amount {
    Amount::new(minor, Currency::EUR)
}

/// Writes down each call of its handler.
#[derive(Clone)]
struct Shop {
    lines: Arc<Mutex<Vec<String>>>,
    due: Due,
    fails: Arc<AtomicBool>,
}

impl Shop {
    fn due(due: Due) -> Self {
        Self {
            lines: Arc::default(),
            due,
            fails: Arc::default(),
        }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn write(&self, line: String) -> Result<(), BoxError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err("the printer is out of paper".into());
        }
        self.lines.lock().unwrap().push(line);
        Ok(())
    }

    fn checkout(&self) -> Checkout {
        let secret = WebhookSecret::new("whsec_of_this_test").unwrap();
        Checkout::builder(Config::new([secret]).unwrap())
            .application("tea")
            .ownership(Ownership::AllPayments)
            .fulfillment(MemoryInbox::new(), self.clone())
            .build()
            .unwrap()
    }
}

impl FulfillmentHandler for Shop {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut ()) -> Result<(), BoxError> {
        self.write(format!("paid {}", payment.amount_received()))
    }

    async fn amount_due(&self, _: &Payment, _: &mut ()) -> Result<Due, BoxError> {
        Ok(self.due)
    }

    async fn on_event(&self, event: &PaymentEvent<'_>, _: &mut ()) -> Result<(), BoxError> {
        match event {
            PaymentEvent::RequiresCapture { payment, .. } => {
                self.write(format!("authorised {}", payment.amount_capturable()))
            }
            PaymentEvent::Mismatch { mismatch, .. } => self.write(format!("mismatch {mismatch}")),
            other => self.write(other.as_str().to_owned()),
        }
    }
}

/// What Stripe tells of a payment whose authorisation grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Authorised(u64),
    Processing,
    Paid(u64),
    Canceled,
}

impl News {
    fn event(self, id: usize) -> Event {
        let (event_type, status, amount) = match self {
            Self::Authorised(minor) => ("amount_capturable_updated", "requires_capture", minor),
            Self::Processing => ("processing", "processing", 26_00),
            Self::Paid(minor) => ("succeeded", "succeeded", minor),
            Self::Canceled => ("canceled", "canceled", 26_00),
        };
        let intent = PaymentIntent::new("pi_1", eur(amount))
            .metadata("order_id", "order-1")
            .with("capture_method", "manual")
            .status(status);
        let event = EventBody::new(&format!("payment_intent.{event_type}"), intent.object());
        Event::parse(event.id(&format!("evt_{id}")).body()).unwrap()
    }
}

/// Every order of these.
fn orders(news: &[News]) -> Vec<Vec<News>> {
    let mut all = Vec::new();
    for (at, first) in news.iter().enumerate() {
        let mut rest = news.to_vec();
        rest.remove(at);
        for mut rest in orders(&rest) {
            rest.insert(0, *first);
            all.push(rest);
        }
    }
    match all.is_empty() {
        true => vec![Vec::new()],
        false => all,
    }
}

/// The calls of the handler that the promise asks for.
fn promised(order: &[News]) -> Vec<String> {
    let (mut lines, mut largest, mut over) = (Vec::new(), 0, false);
    for news in order {
        match *news {
            News::Authorised(minor) if !over && minor > largest => {
                largest = minor;
                lines.push(format!("authorised {}", eur(minor)));
            }
            News::Processing if !over && largest == 0 => lines.push("payment_processing".into()),
            News::Paid(minor) => {
                over = true;
                lines.push(format!("paid {}", eur(minor)));
            }
            News::Canceled => {
                over = true;
                lines.push("payment_canceled".into());
            }
            _ => {}
        }
    }
    lines
}

#[tokio::test]
async fn each_larger_amount_comes_once_in_any_order_of_the_events() {
    use News::{Authorised, Canceled, Paid, Processing};
    let mut tried = 0;
    for news in [
        &[Authorised(20_00), Authorised(26_00)][..],
        &[Authorised(20_00), Authorised(26_00), Authorised(26_00)],
        &[Authorised(20_00), Authorised(26_00), Authorised(31_00)],
        // A part is captured, and the rest can still be captured.
        &[Authorised(20_00), Authorised(26_00), Authorised(6_00)],
        &[Authorised(20_00), Processing, Authorised(26_00)],
        &[Authorised(20_00), Authorised(26_00), Paid(26_00)],
        &[Authorised(20_00), Authorised(26_00), Canceled],
    ] {
        for order in orders(news) {
            let shop = Shop::due(Due::Exactly(eur(26_00)));
            let checkout = shop.checkout();
            for (id, news) in order.iter().enumerate() {
                checkout.receive(news.event(id)).await.unwrap();
            }
            assert_eq!(shop.lines(), promised(&order), "{order:?}");
            tried += 1;
        }
    }
    assert_eq!(tried, 38);
}

#[tokio::test]
async fn an_amount_that_was_overtaken_is_superseded() {
    let shop = Shop::due(Due::AsAsked);
    let checkout = shop.checkout();
    for (id, minor) in [20_00, 26_00, 26_00, 20_00].into_iter().enumerate() {
        let event = News::Authorised(minor).event(id);
        let superseded = id >= 2;
        let state = match superseded {
            true => EventState::Superseded,
            false => EventState::Done,
        };
        let received = checkout.receive(event).await.unwrap();
        assert_eq!(received, Received::Done(state), "{id}");
    }
}

#[tokio::test]
async fn an_amount_whose_handler_failed_comes_again_unless_a_larger_one_came() {
    for larger_first in [false, true] {
        let shop = Shop::due(Due::AsAsked);
        let checkout = shop.checkout();
        shop.fails.store(true, Ordering::SeqCst);
        let small = News::Authorised(20_00).event(0);
        let received = checkout.receive(small.clone()).await.unwrap();
        assert_eq!(received, Received::Failed);
        shop.fails.store(false, Ordering::SeqCst);
        let large = News::Authorised(26_00).event(1);
        let again = match larger_first {
            true => [large, small],
            false => [small, large],
        };
        for event in again {
            checkout.receive(event).await.unwrap();
        }
        let lines = match larger_first {
            true => vec!["authorised 26.00 EUR"],
            false => vec!["authorised 20.00 EUR", "authorised 26.00 EUR"],
        };
        assert_eq!(shop.lines(), lines);
    }
}

#[tokio::test]
async fn after_it_grew_the_price_of_the_order_must_have_grown_too() {
    let shop = Shop::due(Due::Exactly(eur(20_00)));
    let checkout = shop.checkout();
    let news = [
        News::Authorised(20_00),
        News::Authorised(26_00),
        News::Paid(26_00),
    ];
    for (id, news) in news.into_iter().enumerate() {
        checkout.receive(news.event(id)).await.unwrap();
    }
    assert_eq!(
        shop.lines(),
        [
            "authorised 20.00 EUR",
            "authorised 26.00 EUR",
            "mismatch the order costs 20.00 EUR, the payment is for 26.00 EUR",
        ]
    );
    let filter = EventFilter::default().state(EventState::Mismatch);
    assert_eq!(checkout.events(filter).await.unwrap().len(), 1);
}
