//! Payments, from what an order costs to the PaymentIntent at Stripe.
//!
//! The one thing that must not happen is that a buyer pays twice. A PaymentIntent is made on another machine, and the answer that says so can be lost; so everything here
//! turns on asking again in such a way that it cannot be done again: a key computed from what is asked ([`IdempotencyKey`]), bytes that stay the same
//! ([`IntentParams`]), tries that end ([`Gateway`]), and connections that are rarely lost ([`PooledTransport`]).

mod capture;
mod descriptor;
mod gateway;
#[cfg(feature = "sessions")]
mod hosted;
mod idempotency;
mod lookup;
mod people;
mod pool;
mod proxy;
mod recent_answers;
mod refund;
mod request;
mod retry;
mod roots;
mod saved;
mod stripe_clock;
mod tax;
mod transport;
mod visitor_calls;

pub use capture::{CancelReason, CancelRequest, CaptureRequest};
pub(crate) use descriptor::is_prefix;
pub use gateway::Gateway;
pub(crate) use gateway::{EventPage, Unsuccessful, check_id, is_id};
#[cfg(feature = "sessions")]
pub(crate) use hosted::SessionParams;
#[cfg(feature = "sessions")]
pub use hosted::{HostedCheckout, ShippingOption};
pub use idempotency::{IdempotencyKey, Operation};
pub(crate) use people::{customer_form, form};
pub use pool::PooledTransport;
pub(crate) use recent_answers::REMEMBERED;
pub use refund::{RefundReason, RefundRequest};
pub(crate) use request::check_reference;
pub use request::{IntentParams, Line, PaymentRequest};
pub use saved::{
    Customer, CustomerRequest, SavedCharge, SavedChargeOutcome, SetupFutureUsage, SetupRequest,
};
pub use tax::TaxBehavior;
pub use transport::{Transport, TransportRequest, TransportResponse};
pub(crate) use visitor_calls::{CallLimits, Client, VisitorCalls};
