//! One value that holds everything: keys, prices, page, inbox and handler.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::clock::Clock;
use super::delivery_watch::DeliveryWatch;
#[cfg(feature = "checkout")]
use super::page_settings::PageSettings;
#[cfg(feature = "intent")]
use super::payment_error::PaymentError;
#[cfg(feature = "intent")]
use super::refused_emails::RefusedEmails;
use super::tasks::Tasks;
use crate::endpoint::{Endpoint, Group};
use crate::error::InboxError;
#[cfg(feature = "intent")]
use crate::fulfillment::OrderKey;
use crate::fulfillment::{Fulfillment, OwnershipRule, Scope};
use crate::secret::Mode;
use crate::webhook::Verifier;

/// A ready-made checkout. Cheap to clone; clones are one and the same.
#[derive(Clone)]
pub struct Checkout {
    pub(super) inner: Arc<Inner>,
    pub(super) endpoints: Arc<[Endpoint]>,
    /// The way to Stripe on behalf of one visitor.
    #[cfg(feature = "intent")]
    pub(super) visiting: Option<crate::stripe::Gateway>,
}

pub(super) struct Inner {
    pub(super) application: String,
    /// Its first name, under which the inbox keeps what it knows.
    pub(super) stored_as: String,
    pub(super) mode: Option<Mode>,
    /// The account of the keys, if they tell.
    pub(super) own_account: Option<String>,
    pub(super) verifier: Verifier,
    pub(super) fulfillment: Arc<dyn Fulfillment>,
    pub(super) ours: OwnershipRule,
    pub(super) body_limit: usize,
    pub(super) body_deadline: Duration,
    #[cfg(feature = "intent")]
    pub(super) payments: Option<Payments>,
    /// Whether a payment on a connected account is still known after a restart.
    #[cfg(feature = "intent")]
    pub(super) knows_accounts: bool,
    pub(super) tasks: Tasks,
    pub(super) clock: Clock,
    pub(super) deliveries: DeliveryWatch,
}

/// Tells one visitor from another.
#[cfg(feature = "intent")]
pub(super) type ClientKey = dyn Fn(&crate::call::Visitor) -> Option<String> + Send + Sync;

/// What only a checkout with prices has.
#[cfg(feature = "intent")]
pub(super) struct Payments {
    pub(super) pricing: Arc<dyn crate::pricing::ErasedPricing>,
    pub(super) gateway: crate::stripe::Gateway,
    pub(super) visitor_calls: Arc<crate::stripe::VisitorCalls>,
    pub(super) client_key: Option<Arc<ClientKey>>,
    pub(super) guard: Option<Arc<dyn crate::guard::ErasedGuard>>,
    pub(super) customers: Option<Arc<dyn crate::customers::ErasedCustomerResolver>>,
    pub(super) max_declines: u32,
    pub(super) cap: u64,
    pub(super) descriptor_prefix: Option<String>,
    pub(super) refused_emails: RefusedEmails,
    pub(super) origins: Vec<String>,
    #[cfg(feature = "sessions")]
    pub(super) hosted: Option<crate::requests::HostedCheckout>,
    #[cfg(feature = "checkout")]
    pub(super) page: PageSettings,
}

impl Checkout {
    /// The routes to mount: all of them if it has prices, only the webhook's if not.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The same checkout with the routes of one group only, so that groups can be mounted apart: a
    /// log-in layer around the page must not stand before the webhook.
    #[must_use]
    pub fn only(&self, group: Group) -> Self {
        let endpoints = self
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.group() == group)
            .cloned()
            .collect();
        Self {
            endpoints,
            ..self.clone()
        }
    }

    /// Waits until every call that began has ended. Call it at shutdown, after the server stopped
    /// to accept connections.
    pub async fn drain(&self) {
        self.inner.tasks.drain().await;
    }

    /// How large a webhook's body may be, in bytes.
    pub fn body_limit(&self) -> usize {
        self.inner.body_limit
    }

    /// How long the whole body of a request may take to arrive.
    pub fn body_deadline(&self) -> Duration {
        self.inner.body_deadline
    }

    /// Work that is not cut off half-way if the caller goes away.
    pub(super) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, InboxError>> + Send + 'static,
    ) -> Result<T, InboxError> {
        let ended = self.inner.tasks.run(work).await;
        ended.unwrap_or_else(|error| Err(InboxError::Unavailable(error.into())))
    }

    /// Where the rows of this mode stand in the inbox.
    pub(super) fn scope(&self, mode: Mode) -> Scope {
        Scope {
            application: self.inner.stored_as.clone(),
            mode,
        }
    }

    /// Where its events are: in the mode of its keys, or without keys in both.
    pub(super) fn scopes(&self) -> Vec<Scope> {
        let modes = self
            .inner
            .mode
            .map_or(vec![Mode::Live, Mode::Test], |mode| vec![mode]);
        modes.into_iter().map(|mode| self.scope(mode)).collect()
    }
}

#[cfg(feature = "intent")]
impl Checkout {
    pub(super) fn payments(&self) -> Result<&Payments, PaymentError> {
        self.inner.payments.as_ref().ok_or(PaymentError::NoPricing)
    }

    /// The mode of the keys; without keys there are no payments.
    pub(super) fn mode(&self) -> Mode {
        self.inner.mode.unwrap_or(Mode::Test)
    }

    pub(super) fn order_key_on(&self, reference: &str, account: Option<&str>) -> OrderKey {
        OrderKey {
            scope: self.scope(self.mode()),
            account: account.map(str::to_owned),
            reference: reference.to_owned(),
        }
    }
}

impl fmt::Debug for Checkout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkout")
            .field("application", &self.inner.application)
            .field("mode", &self.inner.mode)
            .field(
                "endpoints",
                &self
                    .endpoints
                    .iter()
                    .map(Endpoint::path)
                    .collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}
