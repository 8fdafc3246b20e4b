//! Takes a call and answers it: one table from the routes to their answers.

#[cfg(feature = "intent")]
mod customers;
#[cfg(feature = "checkout")]
mod pages;
#[cfg(feature = "intent")]
mod payments;
#[cfg(feature = "checkout")]
mod problem_page;
#[cfg(feature = "intent")]
mod request;
#[cfg(feature = "sessions")]
mod sessions;
#[cfg(feature = "intent")]
mod status;

#[cfg(feature = "intent")]
use tokio::sync::watch::Receiver;

use super::state::Checkout;
use crate::call::Call;
use crate::endpoint::Route;
use crate::reply::{Problem, Reply};

impl Checkout {
    /// Answers a call that may end early: `left` closes when the visitor hangs up.
    #[cfg(feature = "intent")]
    pub(super) async fn answer_visitor(self, call: Call, left: Option<Receiver<()>>) -> Reply {
        // Here and not before: a panic in the merchant's `client_key` is an answer of 500 too.
        let checkout = match left {
            Some(left) => self.visited(&call.visitor, left),
            None => self,
        };
        checkout.answer(call).await
    }

    /// Sends the call to its route.
    pub(super) async fn answer(&self, call: Call) -> Reply {
        if call.has_wrong_host() {
            return Problem::wrong_host().json();
        }
        if call.has_long_query() {
            return Problem::long_query().json();
        }
        if call.body.is_too_slow() && !matches!(call.endpoint.route, Route::Webhook) {
            return Problem::too_slow().json();
        }
        // Routes that need no row of the inbox would not find out.
        #[cfg(feature = "intent")]
        if matches!(
            call.endpoint.route,
            Route::CreateSetup | Route::CustomerSession
        ) && let Some(error) = self.inner.fulfillment.refused()
        {
            return Problem::from(&error).json();
        }
        match call.endpoint.route {
            Route::Webhook => self.webhook(call).await,
            #[cfg(feature = "intent")]
            Route::CreateIntent => or_problem(self.create(call).await),
            #[cfg(feature = "sessions")]
            Route::CreateSession => self.create_session_route(call).await,
            #[cfg(feature = "intent")]
            Route::Status => or_problem(self.status(call).await),
            #[cfg(feature = "intent")]
            Route::CreateSetup => or_problem(self.create_setup(call).await),
            #[cfg(feature = "intent")]
            Route::CustomerSession => or_problem(self.open_customer_session(call).await),
            #[cfg(feature = "checkout")]
            route => self.page_route(route, call).await,
        }
    }
}

#[cfg(feature = "intent")]
fn or_problem(answer: Result<Reply, Problem>) -> Reply {
    answer.unwrap_or_else(|problem| problem.json())
}
