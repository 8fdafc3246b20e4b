//! Calls to Stripe.
//!
//! No buyer may pay twice. A PaymentIntent is made on another machine, and its answer can be lost.
//! So every call can be repeated without harm: its key is computed from what is asked
//! ([`IdempotencyKey`]), its bytes stay the same, its tries end ([`Gateway`]), and its connections
//! are rarely lost ([`PooledTransport`]).

mod answer;
mod api_error;
mod call;
mod checkout_sessions;
mod clock;
mod close;
mod customers;
mod events;
mod exchange;
mod form;
mod gateway;
mod id;
mod idempotency;
mod lookup;
mod payment_intents;
mod pool;
mod proxy;
mod recent_answers;
mod retry;
mod roots;
mod setup_intents;
mod transport;
mod visitor_calls;
mod wire;

pub use api_error::ApiError;
pub(crate) use api_error::Unsuccessful;
pub(crate) use customers::customer_form;
pub(crate) use events::EventPage;
pub(crate) use form::{Post, form, metadata_name};
pub use gateway::Gateway;
pub(crate) use id::{check_id, is_id};
pub use idempotency::{IdempotencyKey, Operation};
pub use pool::PooledTransport;
pub(crate) use recent_answers::REMEMBERED;
pub use transport::{Transport, TransportError, TransportRequest, TransportResponse};
pub(crate) use visitor_calls::{CallLimits, Client, VisitorCalls};
