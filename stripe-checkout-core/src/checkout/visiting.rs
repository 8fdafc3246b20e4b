//! A checkout as one visitor sees it: its calls to Stripe count as this visitor's.

use std::net::{IpAddr, Ipv6Addr};

use tokio::sync::watch;

use super::{Checkout, Payments};
use crate::call::Visitor;
use crate::error::{IntentError, OperationError};
use crate::intent::Gateway;

impl Checkout {
    /// The same checkout for calls to Stripe that one visitor causes, in routes that you write by
    /// hand: an account page that lists saved cards, or a purchase with one click.
    ///
    /// These calls share the bound of
    /// [`max_visitor_calls`](crate::CheckoutBuilder::max_visitor_calls) with the ready-made routes.
    /// `client` is the same name that
    /// [`client_key`](crate::CheckoutBuilder::client_key) gives this visitor, or the address.
    /// Without a name, visitors cannot be told apart, and together they may take the whole bound.
    /// Beyond the bound a call fails with
    /// [`ApiError::TooManyCalls`](crate::ApiError::TooManyCalls): answer with 429.
    ///
    /// Calls of the checkout itself never wait for visitors: use that one for your admin pages.
    #[must_use]
    pub fn for_client(&self, client: Option<&str>) -> Self {
        self.visited_by(client, None)
    }

    /// The same for a visitor of a ready-made route. `left` closes when the visitor hangs up.
    pub(super) fn visited(&self, visitor: &Visitor, left: watch::Receiver<()>) -> Self {
        let Some(payments) = &self.inner.payments else {
            return self.clone();
        };
        let client = payments.client_of(visitor);
        self.visited_by(client.as_deref(), Some(left))
    }

    fn visited_by(&self, client: Option<&str>, left: Option<watch::Receiver<()>>) -> Self {
        let visiting = self.inner.payments.as_ref().map(|payments| {
            let client = client.map(client_named);
            let caller = payments.visitor_calls.caller(client.as_deref(), left);
            payments.gateway.on_behalf_of(caller)
        });
        Self {
            visiting,
            ..self.clone()
        }
    }

    /// The way to Stripe, on behalf of the visitor if there is one.
    pub(super) fn gateway(&self) -> Result<&Gateway, NoPayments> {
        let payments = self.inner.payments.as_ref().ok_or(NoPayments)?;
        Ok(self.visiting.as_ref().unwrap_or(&payments.gateway))
    }

    /// The way to Stripe of look-ups that show a buyer how a payment stands.
    pub(super) fn look_up(&self) -> Result<Gateway, NoPayments> {
        Ok(self.gateway()?.clone().remembering())
    }

    /// The same for an id that a stranger may have made up. A route by hand asks for a visitor too.
    pub(super) fn guess(&self) -> Result<Gateway, NoPayments> {
        let gateway = match &self.visiting {
            Some(gateway) => gateway.clone(),
            None => {
                let payments = self.inner.payments.as_ref().ok_or(NoPayments)?;
                let nobody = payments.visitor_calls.caller(None, None);
                payments.gateway.on_behalf_of(nobody)
            }
        };
        Ok(gateway.guessing().remembering())
    }
}

impl Payments {
    /// What tells one visitor from another: what the application says, else the address.
    fn client_of(&self, visitor: &Visitor) -> Option<String> {
        let named = self.client_key.as_ref().and_then(|key| key(visitor));
        named.or_else(|| visitor.peer().map(|peer| peer.to_string()))
    }
}

/// The checkout has no prices, and so no way to Stripe.
pub(super) struct NoPayments;

impl From<NoPayments> for IntentError {
    fn from(_: NoPayments) -> Self {
        Self::NoPricing
    }
}

impl From<NoPayments> for OperationError {
    fn from(_: NoPayments) -> Self {
        Self::NoPricing
    }
}

/// A name that is an address stands for its network: a visitor has a whole /64 of IPv6.
fn client_named(name: &str) -> String {
    match name.trim().parse() {
        Ok(address) => network(address),
        Err(_) => name.to_owned(),
    }
}

/// One client has one IPv4 address, or a whole /64 network of IPv6.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            const NETWORK: u128 = !0 << 64;
            Ipv6Addr::from_bits(address.to_bits() & NETWORK).to_string()
        }
        address => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network_of_ipv6() {
        let of = client_named;
        assert_eq!(of("account 7"), "account 7");
        assert_eq!(of("203.0.113.7"), "203.0.113.7");
        assert_eq!(of("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }
}
