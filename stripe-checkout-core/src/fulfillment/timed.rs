//! How long each hook runs.

use super::handler::for_each_hook;
use super::{Due, FulfillmentHandler, Mismatch};
use crate::error::BoxError;
use crate::telemetry::Timer;
use crate::webhook::{
    Dispute, DisputeChange, Event, Failure, Payment, PaymentMethod, Refund, SetupIntent,
};

/// A handler whose hooks are measured.
pub(crate) struct Timed<H>(pub(crate) H);

macro_rules! timed {
    ($($hook:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {
        impl<C: Send, H: FulfillmentHandler<C>> FulfillmentHandler<C> for Timed<H> {
            $(async fn $hook(&self, $($argument: $type,)* db: &mut C) -> Result<$output, BoxError> {
                let _timer = Timer::start(stringify!($hook));
                self.0.$hook($($argument,)* db).await
            })*
        }
    };
}

for_each_hook!(timed);
