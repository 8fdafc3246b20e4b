//! An application on a loopback port, and raw HTTP to it. Tests can send bytes that no well-behaved
//! client sends.
#![allow(dead_code)] // Each test uses its part.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use serde::Deserialize;
use stripe_checkout_core::fulfillment::{Due, FulfillmentHandler};
use stripe_checkout_core::requests::PaymentRequest;
use stripe_checkout_core::webhook::Payment;
use stripe_checkout_core::{Amount, BoxError, Currency, Pricing, PricingError, Visitor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const PRICE: Amount = Amount::new(1999, Currency::EUR);

/// Starts the application, and returns its address.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// Returns a listener whose address is known before its application is made.
pub(crate) async fn reserve() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An answer: status, head and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Sends bytes and reads until the server closes.
pub(crate) async fn raw(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request).await;
    read(&mut stream).await
}

pub(crate) async fn read(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    Answer {
        status,
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &[u8])],
    body: &[u8],
) -> Answer {
    let mut request =
        format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len())
            .into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(name.as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    raw(address, &request).await
}

pub(crate) async fn post_json(address: SocketAddr, target: &str, body: &str) -> Answer {
    send(
        address,
        "POST",
        target,
        &[("Content-Type", b"application/json")],
        body.as_bytes(),
    )
    .await
}

/// A price list with the same price for every order.
pub(crate) struct OnePrice;

#[derive(Deserialize)]
pub(crate) struct Order {
    order: String,
}

impl Pricing for OnePrice {
    type Order = Order;

    async fn price(&self, order: Order, visitor: &Visitor) -> Result<PaymentRequest, PricingError> {
        if order.order == "members" && visitor.data::<Member>().is_none() {
            return Err(PricingError::refused("Members only."));
        }
        Ok(PaymentRequest::new(order.order, PRICE))
    }
}

#[derive(Debug)]
pub(crate) struct Member;

/// A handler that writes each order that it ships, however often.
#[derive(Clone, Default)]
pub(crate) struct Ship(pub(crate) Arc<Mutex<Vec<String>>>);

impl Ship {
    pub(crate) fn shipped(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl FulfillmentHandler for Ship {
    async fn payment_succeeded(&self, payment: &Payment, _: &mut ()) -> Result<(), BoxError> {
        let order = payment.order_id().ok_or("no order")?;
        self.0.lock().unwrap().push(order.to_owned());
        Ok(())
    }

    async fn amount_due(&self, _: &Payment, _: &mut ()) -> Result<Due, BoxError> {
        Ok(Due::Exactly(PRICE))
    }
}
