//! The buyer behind a visitor, for the shop's own pages and for the checkout.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use stripe_checkout_core::{CustomerResolver, PricingError, Visitor, requests::CustomerRequest};

use super::rows::Buyer;
use crate::{
    random,
    store::{Store, StoreError},
    visit::{self, Visit},
};

/// The cookie of a buyer who is logged in.
pub(super) const SESSION: &str = "account";
/// How long a log-in lasts.
pub(super) const LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The id under which the session of this cookie is stored.
///
/// A reader of the database learns no cookie from it.
pub(super) fn session_id(cookie: &str) -> String {
    let hash = Sha256::new().chain_update("account ").chain_update(cookie);
    random::hex(&hash.finalize())
}

impl Store {
    /// The buyer, if the visitor is logged in.
    pub(crate) async fn buyer_of(&self, visit: &Visit) -> Result<Option<Buyer>, StoreError> {
        self.buyer_with(visit.cookie(SESSION)).await
    }

    async fn buyer_with(&self, cookie: &str) -> Result<Option<Buyer>, StoreError> {
        if !random::is_token(cookie) {
            return Ok(None);
        }
        self.buyer(session_id(cookie)).await
    }
}

impl Buyer {
    /// The buyer as Stripe's customer, by the account's id, which stays when the address changes.
    pub(crate) fn customer(&self) -> CustomerRequest {
        CustomerRequest::new(&self.account).email(&self.email)
    }
}

/// Tells the checkout which buyer visits its pages. Buyers who are logged in see their saved cards
/// there.
#[derive(Debug)]
pub(crate) struct Buyers(pub(crate) Store);

impl CustomerResolver for Buyers {
    async fn customer(&self, visitor: &Visitor) -> Result<Option<CustomerRequest>, PricingError> {
        let cookies = visitor.header_str("cookie").unwrap_or_default();
        let buyer = self.0.buyer_with(visit::cookie(cookies, SESSION)).await?;
        Ok(buyer.map(|buyer| buyer.customer()))
    }
}
