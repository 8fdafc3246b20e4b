//! Puts the shop together: database, Stripe (or the sandbox), till, fulfilment.

use std::{fmt::Write as _, net::SocketAddr, sync::Arc};

use stripe_checkout_core::{
    BuildError, Checkout, Config, Mode, SandboxError, fulfillment::MemoryInbox, sandbox::Sandbox,
};
use tokio::sync::Notify;

use crate::{
    NAME,
    admin::Admin,
    fulfil::Fulfil,
    outbox::Outbox,
    prices::OrderPrices,
    random::{self, NoRandom},
    settings::{Settings, Stripe},
    shop::{Parts, Shop},
    store::{Store, StoreError},
};

/// A shop that is open.
#[derive(Debug)]
pub struct App {
    /// Its routes' methods.
    pub shop: Shop,
    banner: String,
    store: Store,
    outbox: Outbox,
    // It ends when this is dropped.
    sandbox: Option<Sandbox>,
}

/// Why the shop did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The database.
    #[error("the database cannot be opened (DATABASE_URL)")]
    Store(#[from] StoreError),
    /// The checkout.
    #[error(transparent)]
    Checkout(#[from] BuildError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The templates.
    #[error("a template does not compile")]
    Templates(#[from] minijinja::Error),
    /// No password could be made up.
    #[error(transparent)]
    Random(#[from] NoRandom),
}

impl App {
    /// Opens the shop. `address` is where the framework listens already, or will: that is where the sandbox sends its webhooks.
    ///
    /// # Errors
    /// [`StartError`]: it fails closed, before anybody can order.
    pub async fn start(settings: Settings, address: SocketAddr) -> Result<Self, StartError> {
        let Settings {
            database_url,
            admin_password,
            stripe,
            ..
        } = settings;
        let store = Store::open(&database_url).await?;
        // Both are one path from here on: the sandbox only is another place with other keys.
        let (config, sandbox) = match stripe {
            Stripe::Keys(config) => (*config, None),
            Stripe::Sandbox => {
                let sandbox = Sandbox::start().await?;
                sandbox.webhook_endpoint(&format!("http://{}/webhook", reachable(address)))?;
                (sandbox.config(), Some(sandbox))
            }
        };
        let live = config.mode() == Some(Mode::Live);
        let bell = Arc::new(Notify::new());
        let outbox = Outbox::start(store.clone(), Arc::clone(&bell));
        let checkout = checkout(config, &store, bell)?;
        let made_up = if admin_password.is_none() {
            Some(random::password()?)
        } else {
            None
        };
        let password = admin_password.map(|password| password.0);
        if password
            .as_ref()
            .is_some_and(|password| password.chars().count() < 12)
        {
            tracing::warn!(
                "ADMIN_PASSWORD is short: take 12 characters or more where strangers can reach the shop"
            );
        }
        let admin = Admin::new(
            made_up
                .as_deref()
                .or(password.as_deref())
                .unwrap_or_default(),
        );
        let banner = banner(address, sandbox.is_some(), made_up.as_deref());
        let parts = Parts {
            store: store.clone(),
            checkout,
            admin,
            sandbox: sandbox.is_some(),
            secure_cookies: live,
        };
        Ok(Self {
            shop: Shop::new(parts)?,
            banner,
            store,
            outbox,
            sandbox,
        })
    }

    /// What to print when the shop is open: its address, and what one needs to try it.
    pub fn banner(&self) -> &str {
        &self.banner
    }

    /// The sandbox, where there are no keys: tests break it on purpose.
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandbox.as_ref()
    }

    /// Closes the shop, after the framework stopped to take requests: ends what began, then closes the database.
    pub async fn stop(self) {
        self.shop.checkout().drain().await;
        self.outbox.stop().await;
        self.store.close().await;
        tracing::info!("closed");
    }
}

/// The ten lines that a checkout needs.
///
/// # Errors
/// [`BuildError`], most likely for keys that are missing.
pub fn checkout(
    config: Config,
    store: &Store,
    outbox: Arc<Notify>,
) -> Result<Checkout, BuildError> {
    // The inbox forgets at a restart. That is safe here, with live keys too, because the order's row remembers (see `fulfil.rs`).
    let inbox = MemoryInbox::new().allow_live();
    Checkout::builder(config)
        .application("crab-and-kettle")
        .shop_name(NAME)
        .order_url("/orders/{reference}")
        .pricing(OrderPrices::new(store.clone()))
        .fulfillment(inbox, Fulfil::new(store.clone(), outbox))
        .build()
}

/// Who listens everywhere is reached at home.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::from(([127, 0, 0, 1], address.port()))
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], address.port()))
        }
        other => other,
    }
}

fn banner(address: SocketAddr, sandbox: bool, made_up_password: Option<&str>) -> String {
    let url = format!("http://{}", reachable(address));
    let mut text = format!("\n  {NAME} is open: {url}\n  Back room:            {url}/admin\n");
    // Writing into a string cannot fail.
    if let Some(password) = made_up_password {
        let _ = writeln!(
            text,
            "  Its password:         {password}   (until the next start; set ADMIN_PASSWORD to choose one)"
        );
    }
    if sandbox {
        text.push_str(
            "
  This is a sandbox: no Stripe account, no network, no real money. Cards to try:
    4242 4242 4242 4242   pays
    4000 0000 0000 0002   is declined
    4000 0000 0000 9995   has not enough money
    4000 0000 0000 3220   asks for 3-D Secure
  Any date in the future, any CVC.
",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_tells_what_one_needs() {
        let address = SocketAddr::from(([0, 0, 0, 0], 3000));
        let text = banner(address, true, Some("made-up"));
        for part in [
            "http://127.0.0.1:3000\n",
            "/admin",
            "made-up",
            "4242 4242 4242 4242",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
        let text = banner(address, false, None);
        assert!(!text.contains("sandbox") && !text.contains("password"));
    }
}
