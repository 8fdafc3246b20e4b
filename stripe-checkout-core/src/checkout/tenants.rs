//! Many checkouts that are served together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::state::{Checkout, Inner};
use crate::endpoint::Endpoint;
use crate::fulfillment::Scope;

/// The checkouts of many tenants, each with keys of its own. One [`worker`](Self::worker) and one
/// [`upkeep`](Self::upkeep) serve all of them.
///
/// A worker of each checkout's own would ask the database once a second for each tenant. The common
/// worker asks once a second for all tenants on one inbox. So give the checkouts clones of one
/// inbox, and a different [`application`](crate::CheckoutBuilder::application) name each.
///
/// A tenant leaves when the last clone of its checkout is dropped; nothing here keeps it alive.
/// Work that runs for the tenant comes to its end first. Clones of `Tenants` are one and the same.
///
/// ```no_run
/// # use stripe_checkout_core::{Checkout, Tenants};
/// # async fn work(shops: Vec<Checkout>, stop: tokio::sync::watch::Receiver<bool>) {
/// let tenants = Tenants::new();
/// for shop in &shops {
///     tenants.add(shop);
/// }
/// let stopped = |mut stop: tokio::sync::watch::Receiver<bool>| async move {
///     let _ = stop.wait_for(|stop| *stop).await;
/// };
/// tokio::spawn(tenants.worker().run(stopped(stop.clone())));
/// tokio::spawn(tenants.upkeep().run(stopped(stop)));
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Tenants {
    members: Arc<Mutex<Vec<Arc<Member>>>>,
}

impl std::fmt::Debug for Tenants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenants")
            .field("tenants", &self.members().len())
            .finish()
    }
}

impl Tenants {
    /// No tenants yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tenant. Adding one twice is the same as once.
    pub fn add(&self, checkout: &Checkout) {
        let mut members = self.lock();
        members.retain(|member| member.inner.strong_count() > 0);
        let inner = Arc::downgrade(&checkout.inner);
        if !members.iter().any(|known| known.inner.ptr_eq(&inner)) {
            static IDS: AtomicU64 = AtomicU64::new(0);
            members.push(Arc::new(Member {
                id: IDS.fetch_add(1, Ordering::Relaxed),
                store: checkout.inner.fulfillment.identity(),
                scopes: checkout.scopes(),
                inner,
                endpoints: Arc::clone(&checkout.endpoints),
            }));
        }
    }

    /// The tenants that are still there.
    pub(super) fn members(&self) -> Vec<Arc<Member>> {
        let mut members = self.lock();
        members.retain(|member| member.inner.strong_count() > 0);
        members.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Member>>> {
        // No code that can panic runs under this lock, so what it protects is whole.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tenant, for as long as its checkout lives.
pub(super) struct Member {
    pub(super) id: u64,
    /// Which inbox it has.
    pub(super) store: String,
    pub(super) scopes: Vec<Scope>,
    inner: Weak<Inner>,
    endpoints: Arc<[Endpoint]>,
}

impl Member {
    /// Its checkout, if it is still there.
    pub(super) fn checkout(&self) -> Option<Checkout> {
        Some(Checkout {
            inner: self.inner.upgrade()?,
            endpoints: Arc::clone(&self.endpoints),
            #[cfg(feature = "intent")]
            visiting: None,
        })
    }
}
