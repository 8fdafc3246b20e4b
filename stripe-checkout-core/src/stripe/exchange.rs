//! One call to Stripe, from the gateway to its answer: memory, tries, log.

use tokio::time::Instant;
use tracing::Instrument as _;

use super::answer::{answered, request_id};
use super::api_error::{ApiError, Unsuccessful};
use super::call::Call;
use super::gateway::Gateway;
use super::recent_answers::Question;
use super::retry::{self, NoAnswer, Queue};
use super::transport::{TransportError, TransportRequest, TransportResponse};
use super::visitor_calls::{Caller, LONGEST_WAIT, RETRY_AFTER, Unsent, endpoint, object_id};
use crate::telemetry;

impl Gateway {
    pub(super) async fn send(&self, call: Call<'_>) -> Result<TransportResponse, ApiError> {
        self.ask(call)
            .await
            .map_err(|unsuccessful| unsuccessful.error)
    }

    pub(super) async fn ask(&self, call: Call<'_>) -> Result<TransportResponse, Unsuccessful> {
        let since = Instant::now();
        let request = call.request(&self.api_base, &self.secret_key)?;
        match &self.caller {
            Some(caller) if caller.remembers() && call.method == "GET" => {
                self.look_up(caller, &call, &request, since).await
            }
            _ => {
                let answer = self.exchange(&request, since).await;
                if let Some(id) = object_id(call.path) {
                    self.heard_of(id);
                }
                answer
            }
        }
    }

    /// An object may have changed: the next look-up asks Stripe.
    pub(crate) fn heard_of(&self, id: &str) {
        self.recent.forget(id);
    }

    /// Asks Stripe, unless it answered the same within the last second.
    async fn look_up(
        &self,
        caller: &Caller,
        call: &Call<'_>,
        request: &TransportRequest,
        since: Instant,
    ) -> Result<TransportResponse, Unsuccessful> {
        let question = Question {
            url: request.url.clone(),
            account: call.account.map(str::to_owned),
        };
        let recent = &self.recent;
        let turn = recent.turn(caller.client(), &question);
        let _turn = tokio::select! {
            biased;
            () = caller.left() => return Err(unsent(Unsent::VisitorLeft).into()),
            turn = turn.lock() => turn,
            () = tokio::time::sleep_until(since + LONGEST_WAIT) => {
                return Err(unsent(Unsent::AtBound).into());
            }
        };
        if let Some(answer) = recent.find(&question) {
            telemetry::visitor_call("remembered");
            return answer;
        }
        let asked = Instant::now();
        let answer = self.exchange(request, since).await;
        recent.keep(question, asked, &answer);
        answer
    }

    async fn exchange(
        &self,
        request: &TransportRequest,
        since: Instant,
    ) -> Result<TransportResponse, Unsuccessful> {
        let path = path_of(&request.url, &self.api_base);
        let below = path.split_once("v1").map_or(path, |(_, below)| below);
        let endpoint = endpoint(request.method, below);
        let queue = self.caller.as_ref().map(|caller| Queue {
            caller,
            endpoint: &endpoint,
            since,
        });
        let span = tracing::debug_span!(
            "stripe",
            method = request.method,
            path,
            tries = tracing::field::Empty,
            status = tracing::field::Empty,
            request_id = tracing::field::Empty,
        );
        async {
            let here = tracing::Span::current();
            let outcome = retry::send(&*self.transport, request, self.limits, queue, |tries| {
                here.record("tries", tries);
            })
            .await;
            if let Ok(answer) = &outcome {
                self.stripe_clock.answered(answer);
                here.record("status", answer.status);
                here.record("request_id", request_id(answer));
            }
            let replayed = outcome.as_ref().is_ok_and(retry::is_replayed);
            let called = Called {
                method: request.method,
                path,
            };
            let outcome = match outcome {
                Ok(answer) => answered(answer).inspect_err(|error| called.refused(error)),
                Err(NoAnswer::Unsent(reason)) => {
                    tracing::debug!(?reason, "a call that a visitor caused was not sent");
                    Err(unsent(reason))
                }
                Err(no_answer) => {
                    called.unanswered(&no_answer);
                    Err(unanswered(no_answer))
                }
            };
            if outcome.is_ok() {
                tracing::debug!("Stripe answered");
            }
            outcome.map_err(|error| Unsuccessful { error, replayed })
        }
        .instrument(span)
        .await
    }
}

/// A call, as its log line names it: the path holds ids, the query may hold more.
struct Called<'a> {
    method: &'static str,
    path: &'a str,
}

impl Called<'_> {
    /// One line for each call that Stripe refused, with the id by which Stripe's support and its
    /// Dashboard find it.
    fn refused(&self, error: &ApiError) {
        let Self { method, path } = self;
        let request_id = error.request_id();
        match error {
            // Everyday: a card without money, and an id that a browser made up.
            ApiError::Declined { .. } | ApiError::InvalidRequest { status: 404, .. } => {
                tracing::info!(method, path, request_id, %error, "Stripe refused a call");
            }
            ApiError::Unavailable { .. } => {
                tracing::error!(method, path, request_id, %error, "Stripe could not execute a call");
            }
            _ => tracing::warn!(method, path, request_id, %error, "Stripe refused a call"),
        }
    }

    fn unanswered(&self, cause: &NoAnswer) {
        let Self { method, path } = self;
        tracing::error!(method, path, %cause, "Stripe is unavailable");
    }
}

fn path_of<'a>(url: &'a str, base: &str) -> &'a str {
    let path = url.strip_prefix(base).unwrap_or_default();
    path.split('?').next().unwrap_or_default()
}

fn unanswered(no_answer: NoAnswer) -> ApiError {
    match no_answer {
        NoAnswer::TimedOut => ApiError::Timeout,
        NoAnswer::Unsent(reason) => unsent(reason),
        NoAnswer::Transport(TransportError::AnswerTooLarge { status, .. }) => {
            ApiError::UnexpectedAnswer {
                status,
                request_id: None,
            }
        }
        NoAnswer::Transport(_) => ApiError::Unavailable {
            status: None,
            replayed: false,
            request_id: None,
        },
    }
}

fn unsent(reason: Unsent) -> ApiError {
    match reason {
        Unsent::AtBound => ApiError::TooManyCalls {
            retry_after: RETRY_AFTER,
        },
        Unsent::VisitorLeft => ApiError::VisitorLeft,
    }
}
