//! A call from an adapter, which is answered whether or not the client waits for it.

use super::state::Checkout;
use crate::call::Call;
#[cfg(feature = "intent")]
use crate::endpoint::Group;
use crate::reply::{Problem, Reply};

impl Checkout {
    /// Answers a call.
    ///
    /// A client that hangs up cannot cut off a fulfilment half-way: the work goes on as a task of
    /// its own, and [`drain`](Self::drain) waits for it at shutdown. The work runs on the tokio
    /// runtime in which the checkout was built: a framework's worker threads may have runtimes of
    /// their own, which end with them (actix-web's do). A panic in the merchant's code is an
    /// answer of 500.
    ///
    /// A call to Stripe that a visitor causes waits for its turn, at most 2 s: see
    /// [`max_visitor_calls`](crate::CheckoutBuilder::max_visitor_calls). If the visitor hangs up
    /// before it was sent, it is not sent.
    pub async fn handle(&self, call: Call) -> Reply {
        // At once and without a task: actix-web closes a connection with a broken body if the
        // answer is not ready then.
        if call.is_refused() {
            return self.answer(call).await;
        }
        let checkout = self.clone();
        // Closes when this future is dropped. Stripe is no visitor, so its calls need none.
        #[cfg(feature = "intent")]
        let (_here, left) = match call.endpoint.group() {
            Group::Webhook => (None, None),
            _ => {
                let (here, left) = tokio::sync::watch::channel(());
                (Some(here), Some(left))
            }
        };
        #[cfg(feature = "intent")]
        let work = checkout.answer_visitor(call, left);
        #[cfg(not(feature = "intent"))]
        let work = async move { checkout.answer(call).await };
        match self.inner.tasks.run(work).await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::error!(%error, "a request was not answered");
                Problem::internal().json()
            }
        }
    }
}
