//! Webhooks: is it from Stripe, what is it, and what happened to a payment?
//!
//! There are three steps, because each question can fail in its own way. [`Verifier`] answers the
//! first over raw bytes, before anything is parsed. [`Event`] reads the envelope only, so that no
//! genuine event of any API version is refused. [`Outcome`] reads the fields that decide about
//! money, and reads them strictly. If it cannot read them, it is [`Outcome::Unreadable`]: never an
//! error to Stripe, and never a success.

mod event;
mod failure;
mod intent;
mod json;
mod outcome;
mod payment;
mod reversal;
mod saved;
mod session;
pub(crate) mod signature;

pub use event::{Event, RelatedObject};
pub use failure::Failure;
#[cfg(feature = "intent")]
pub(crate) use intent::Intent;
pub use intent::PaymentStatus;
pub(crate) use outcome::ReadEvent;
pub use outcome::{EVENT_TYPES, Outcome};
pub use payment::Payment;
pub use reversal::{ChargeRefunded, Dispute, DisputeChange, DisputeStatus, Refund, RefundStatus};
pub use saved::{Card, PaymentMethod, SetupIntent, SetupStatus};
pub use session::{CheckoutSession, SessionPaymentStatus, SessionStatus};
pub use signature::{Signed, Verifier};
