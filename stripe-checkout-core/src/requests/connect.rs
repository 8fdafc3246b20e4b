//! Whose the money is, where the merchant is a platform.

use super::error::RequestError;
use crate::amount::Amount;
use crate::webhook::Payment;

/// Whose the money is, where the merchant is a platform.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) destination: Option<String>,
    pub(crate) on_behalf_of: Option<String>,
    pub(crate) fee: Option<Amount>,
}

impl Connect {
    /// Checks it for a payment of this amount, which may be made on an account.
    pub(super) fn check(&self, amount: Amount, on: Option<&str>) -> Result<(), RequestError> {
        let Self {
            destination,
            on_behalf_of,
            fee,
        } = self;
        let (destination, on_behalf_of) = (destination.as_deref(), on_behalf_of.as_deref());
        let mut named = [on, destination, on_behalf_of].into_iter().flatten();
        if !named.all(is_account) || (on.is_some() && destination.is_some()) {
            return Err(RequestError::Account);
        }
        if on_behalf_of.is_some() && destination.is_none() {
            return Err(RequestError::OnBehalfOf);
        }
        let Some(fee) = fee else { return Ok(()) };
        let is_connected = on.is_some() || destination.is_some();
        let is_part = fee.chargeable(amount.minor()).is_ok() && fee.currency() == amount.currency();
        match is_connected && is_part {
            true => Ok(()),
            false => Err(RequestError::ApplicationFee),
        }
    }

    /// Whether an open PaymentIntent can be brought to these.
    pub(super) fn can_follow(&self, open: &Payment) -> bool {
        self.destination.as_deref() == open.transfer_destination()
            && self.on_behalf_of.as_deref() == open.on_behalf_of()
            && (self.fee.is_some() || open.application_fee_amount().is_none())
    }
}

/// Whether this can be the id of a connected account.
fn is_account(id: &str) -> bool {
    let rest = id.strip_prefix("acct_").unwrap_or_default();
    (1..=250).contains(&rest.len())
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
