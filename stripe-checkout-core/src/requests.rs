//! The merchant's requests to Stripe. They are checked before they are sent.
//!
//! Stripe would refuse most mistakes too, but only after the buyer has typed in the card.

mod cancel;
mod capture;
mod capture_method;
mod connect;
mod customer;
mod descriptor;
mod error;
mod future_usage;
#[cfg(feature = "sessions")]
mod hosted;
mod intent_params;
mod limits;
mod line;
mod off_session_charge;
mod payment;
mod refund;
#[cfg(feature = "sessions")]
mod session_items;
#[cfg(feature = "sessions")]
mod session_params;
mod setup;
#[cfg(feature = "sessions")]
mod shipping;
mod tax;

pub use cancel::{CancelReason, CancelRequest};
pub use capture::CaptureRequest;
pub use capture_method::CaptureMethod;
pub use customer::{Customer, CustomerRequest};
pub(crate) use descriptor::is_prefix;
pub use error::RequestError;
pub use future_usage::SetupFutureUsage;
#[cfg(feature = "sessions")]
pub use hosted::HostedCheckout;
pub use intent_params::IntentParams;
pub(crate) use limits::check_reference;
pub use line::Line;
pub use off_session_charge::{OffSessionCharge, OffSessionOutcome};
pub use payment::PaymentRequest;
pub use refund::{RefundReason, RefundRequest};
#[cfg(feature = "sessions")]
pub(crate) use session_items::Item;
#[cfg(feature = "sessions")]
pub(crate) use session_params::SessionParams;
pub use setup::SetupRequest;
#[cfg(feature = "sessions")]
pub use shipping::ShippingOption;
pub use tax::TaxBehavior;
