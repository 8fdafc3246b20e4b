//! Stands between the sandbox and the shop as a load balancer does, and measures each webhook.

use std::{io, net::Ipv4Addr, sync::Arc, time::Instant};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    routing::post,
};
use bytes::Bytes;
use tokio::net::TcpListener;

use crate::{client::Client, tally::Tally};

const SIGNATURE: &str = "stripe-signature";

/// From where Stripe sends.
const STRIPE: Ipv4Addr = Ipv4Addr::new(3, 18, 12, 63);

pub(crate) struct Relay {
    listener: TcpListener,
    url: String,
    tally: Arc<Tally>,
}

impl Relay {
    pub(crate) async fn bind(tally: Arc<Tally>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}/webhook", listener.local_addr()?);
        Ok(Self {
            listener,
            url,
            tally,
        })
    }

    /// Where the sandbox delivers to.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn serve(self, client: Client) -> io::Result<()> {
        let routes = Router::new()
            .route("/webhook", post(deliver))
            .with_state((client, self.tally));
        axum::serve(self.listener, routes).await
    }
}

async fn deliver(
    State((client, tally)): State<(Client, Arc<Tally>)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let header = |name: &str| headers.get(name).map_or(&b""[..], |value| value.as_bytes());
    let headers = [
        (SIGNATURE, header(SIGNATURE)),
        (CONTENT_TYPE.as_str(), header(CONTENT_TYPE.as_str())),
    ];
    let begin = Instant::now();
    let answer = client.post_with(STRIPE, "/webhook", &headers, body).await;
    tally.webhook(begin.elapsed());
    let status = answer.map(|answer| answer.status);
    // Any answer but 200 to a genuine webhook is as bad as 5xx.
    tally.honest(
        "webhook",
        status.map(|status| if status == 200 { 200 } else { 599 }),
    );
    status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::BAD_GATEWAY)
}
