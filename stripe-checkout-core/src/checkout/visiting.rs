//! A checkout as one visitor sees it: its calls to Stripe count as this visitor's.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tokio::sync::watch;

use super::payment_error::PaymentError;
use super::state::{Checkout, Payments};
use crate::call::Visitor;
use crate::stripe::{Client, Gateway};

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
            let client = client.and_then(client_named);
            let caller = payments.visitor_calls.caller(client.as_ref(), left);
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
        named.or_else(|| Some(visitor.peer()?.to_string()))
    }
}

/// The checkout has no prices, and so no way to Stripe.
pub(super) struct NoPayments;

impl From<NoPayments> for PaymentError {
    fn from(_: NoPayments) -> Self {
        Self::NoPricing
    }
}

/// A name that is an address stands for its network. One client has one IPv4 address, or a whole
/// /64 network of IPv6, and often a site of 65,536 such networks: a /48.
///
/// An address of this machine names no client: it is a proxy's more often than a visitor's.
fn client_named(name: &str) -> Option<Client> {
    let of = |name: String, site| Some(Client { name, site });
    match address(name) {
        Some(address) if address.is_loopback() => None,
        Some(IpAddr::V6(address)) => of(network(address, 64), network(address, 48)),
        Some(address) => of(address.to_string(), address.to_string()),
        None => of(name.to_owned(), name.to_owned()),
    }
}

/// The address of a name such as `203.0.113.7`, `203.0.113.7:4711`, `2001:db8::1` or
/// `[2001:db8::1]:4711`: some proxies write the port, which another connection changes.
fn address(name: &str) -> Option<IpAddr> {
    let name = name.trim();
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let address = bare.unwrap_or(name).parse().ok();
    let address = address.or_else(|| Some(name.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

/// The network with this many bits.
fn network(address: Ipv6Addr, bits: u32) -> String {
    let mask = u128::MAX << (u128::BITS - bits);
    format!("{}/{bits}", Ipv6Addr::from_bits(address.to_bits() & mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network_of_ipv6() {
        let of = |name| client_named(name).map(|client| client.name);
        let is = |name: &str| Some(name.to_owned());
        assert_eq!(of("account 7"), is("account 7"));
        assert_eq!(of("203.0.113.7"), is("203.0.113.7"));
        assert_eq!(of(" 203.0.113.7:4711"), is("203.0.113.7"));
        assert_eq!(of("::ffff:203.0.113.7"), is("203.0.113.7"));
        for address in [
            "2001:db8:1:2:3:4:5:6",
            "[2001:db8:1:2::7]",
            "[2001:db8:1:2::7]:443",
        ] {
            assert_eq!(of(address), is("2001:db8:1:2::/64"));
        }
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }

    #[test]
    fn networks_of_one_site_share_its_bound() {
        let of = |name| client_named(name).map(|client| client.site);
        assert_eq!(of("account 7").as_deref(), Some("account 7"));
        assert_eq!(of("203.0.113.7").as_deref(), Some("203.0.113.7"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:2:2::1"));
    }

    #[test]
    fn an_address_of_this_machine_is_no_client() {
        for name in [
            "127.0.0.1",
            "127.0.0.1:80",
            "::1",
            "[::1]:80",
            "::ffff:127.0.0.1",
        ] {
            assert_eq!(client_named(name), None, "{name}");
        }
    }
}
