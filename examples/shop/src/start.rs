//! Assembles the shop: database, Stripe (or the sandbox), checkout, fulfilment.

use std::{fmt::Write as _, net::SocketAddr, process::ExitCode, sync::Arc};

use stripe_checkout_core::{
    Amount, BoxError, BuildError, Checkout, Config, Mode,
    fulfillment::{PostgresInbox, SqliteInbox},
    requests::HostedCheckout,
};
use stripe_checkout_sandbox::{Sandbox, SandboxError};
use tokio::sync::Notify;

use crate::{
    NAME,
    account::Buyers,
    admin::Admin,
    catalogue::CURRENCY,
    closing::Closing,
    db::Either,
    fulfil::Fulfil,
    limit::{PerAddress, network},
    metrics::Metrics,
    outbox::Outbox,
    prices::OrderPrices,
    proxy::ProxyHeader,
    random::{self, NoRandom},
    settings::{Password, Settings, Stripe},
    shop::{Parts, Shop},
    store::{Store, StoreError},
    upkeep,
};

/// The running shop: it opens, serves and closes. Cloning is cheap; all clones share the same
/// state.
#[derive(Debug, Clone)]
pub struct App {
    /// The shop, with a method for each route.
    pub shop: Shop,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    made_up_password: Option<Password>,
    store: Store,
    outbox: Outbox,
    // The sandbox ends when this is dropped.
    sandbox: Option<Sandbox>,
    closing: Closing,
}

/// The reason why the shop did not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The shop cannot serve at this address.
    #[error("{address} (BIND_ADDRESS, PORT)")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The error of the framework or of the system.
        source: BoxError,
    },
    /// The database cannot be opened.
    #[error("the database cannot be opened (DATABASE_URL)")]
    Store(#[from] StoreError),
    /// The checkout cannot be built.
    #[error(transparent)]
    Checkout(#[from] BuildError),
    /// The sandbox cannot start.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A template does not compile.
    #[error("a template does not compile")]
    Templates(#[from] minijinja::Error),
    /// The metrics cannot be installed.
    #[error(transparent)]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// No password could be generated.
    #[error(transparent)]
    Random(#[from] NoRandom),
}

impl StartError {
    /// Adds the address to an error.
    pub fn at<E: Into<BoxError>>(address: SocketAddr) -> impl FnOnce(E) -> Self {
        move |error| Self::Address {
            address,
            source: error.into(),
        }
    }
}

/// Runs a shop: starts the log, reads the settings and runs the framework's program.
///
/// It reports an error in one line.
pub fn open(run: impl FnOnce(Settings) -> Result<(), BoxError>) -> ExitCode {
    crate::log();
    let opened = Settings::from_env().map_err(BoxError::from).and_then(run);
    match opened {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The shop cannot open: {}.", crate::causes(&*error));
            ExitCode::FAILURE
        }
    }
}

impl App {
    /// Prepares the shop, all but its address. See [`open_at`](Self::open_at).
    ///
    /// Some frameworks know their address only when they listen.
    ///
    /// # Errors
    /// [`StartError`]. The shop then fails closed, before any buyer can order.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let closing = Closing::listen();
        let Settings {
            address,
            database_url,
            queued,
            reconcile,
            admin_password,
            metrics_token,
            payments_per_minute,
            proxy_header,
            behind_proxy: _,
            site,
            stripe,
        } = settings;
        let limit = payments_per_minute.map(|limit| PerAddress::new(limit, proxy_header.clone()));
        // Both take one path from here on: the sandbox is only another address with other keys.
        let (config, sandbox) = match stripe {
            Stripe::Keys(config) => (*config, None),
            Stripe::Sandbox => {
                let url = webhook_url(address);
                if !reachable(address).ip().is_loopback() {
                    return Err(SandboxError::EndpointNotLocal { url }.into());
                }
                let sandbox = Sandbox::start().await?;
                (sandbox.config(), Some(sandbox))
            }
        };
        let store = Store::open(&database_url).await?;
        let live = config.mode() == Some(Mode::Live);
        let site = site.or_else(|| (!live).then(|| site_url(address)));
        if site.is_none() {
            tracing::warn!(
                "SITE_URL is not set: orders are paid on the shop's own page only, because Stripe's would not know the way back"
            );
        }
        let hosted = site.as_ref().map(|_| hosted_page(&config));
        let bell = Arc::new(Notify::new());
        let outbox = Outbox::start(store.clone(), Arc::clone(&bell));
        let checkout = checkout(
            config,
            &store,
            bell,
            queued,
            limit,
            proxy_header.as_deref(),
            site.as_deref(),
        )?;
        let metrics = match metrics_token {
            Some(token) => Some(Metrics::install(&token)?),
            None => None,
        };
        upkeep::start(&checkout, &store, reconcile, metrics.clone(), &closing);
        let made_up_password = if admin_password.is_none() {
            if matches!(store.pool(), Either::Postgres(_)) {
                tracing::warn!(
                    "ADMIN_PASSWORD is not set: each process on this database has a password of its own, which opens no other one"
                );
            }
            Some(Password(random::password()?))
        } else {
            None
        };
        let short = |password: &Password| password.0.chars().count() < 12;
        if admin_password.as_ref().is_some_and(short) {
            tracing::warn!(
                "ADMIN_PASSWORD is short: take 12 characters or more where strangers can reach the shop"
            );
        }
        let password = made_up_password.as_ref().or(admin_password.as_ref());
        let admin = Admin::new(password.map_or("", |password| &password.0));
        let shop = Shop::new(Parts {
            store: store.clone(),
            checkout,
            admin,
            hosted,
            proxy_header,
            orders_per_minute: payments_per_minute,
            sandbox: sandbox.is_some(),
            secure_cookies: live,
            metrics,
        })?;
        let inner = Inner {
            made_up_password,
            store,
            outbox,
            sandbox,
            closing,
        };
        Ok(Self {
            shop,
            inner: Arc::new(inner),
        })
    }

    /// Opens the shop at the address where the framework now listens.
    ///
    /// It prints the address, and the sandbox sends its webhooks there.
    pub fn open_at(&self, address: SocketAddr) {
        if let Some(sandbox) = &self.inner.sandbox
            && let Err(error) = sandbox.webhook_endpoint(&webhook_url(address))
        {
            tracing::error!(%error, "the sandbox sends no webhooks");
        }
        let sandbox = self.inner.sandbox.is_some();
        let password = self.inner.made_up_password.as_ref();
        let password = password.map(|password| password.0.as_str());
        println!("{}", banner(address, sandbox, password));
    }

    /// Ends when the shop receives the signal to close. The framework should then accept no more
    /// connections.
    pub fn told_to_stop(&self) -> impl Future<Output = ()> + Send + 'static {
        self.inner.closing.clone().told()
    }

    /// Runs the framework's server. Then finishes the work that began, and closes the database.
    ///
    /// After the signal to close, the server has the time of [`GRACE`](crate::GRACE). A browser
    /// that keeps its connection busy must not keep the shop from closing.
    ///
    /// # Errors
    /// The server's error.
    pub async fn run<T, E: Into<BoxError>>(
        self,
        server: impl IntoFuture<Output = Result<T, E>>,
    ) -> Result<(), BoxError> {
        let ended = tokio::select! {
            ended = server.into_future() => ended.map(drop).map_err(E::into),
            () = self.inner.closing.clone().overdue() => Ok(()),
        };
        self.shop.checkout().drain().await;
        self.inner.outbox.stop().await;
        self.inner.store.close().await;
        tracing::info!("closed");
        ended
    }
}

/// Builds the checkout: the ten lines that it needs, and a choice of database.
///
/// Your own shop has made that choice already. If `site` is set, buyers can also pay on Stripe's
/// own page.
///
/// # Errors
/// [`BuildError`], most likely because keys are missing.
pub fn checkout(
    config: Config,
    store: &Store,
    outbox: Arc<Notify>,
    queued: bool,
    limit: Option<PerAddress>,
    proxy_header: Option<&str>,
    site: Option<&str>,
) -> Result<Checkout, BuildError> {
    let mut builder = Checkout::builder(config)
        .application("crab-and-kettle")
        .shop_name(NAME)
        .order_url("/orders/{reference}")
        .account_url("/account")
        .pricing(OrderPrices::new(store.clone()))
        .customers(Buyers(store.clone()));
    // The inbox is beside the orders. So an order, its shipment and the mark that its event is done
    // commit together.
    let handler = Fulfil::new(outbox);
    builder = match store.pool() {
        Either::Sqlite(pool) => builder.fulfillment(SqliteInbox::new(pool.clone()), handler),
        Either::Postgres(pool) => builder.fulfillment(PostgresInbox::new(pool.clone()), handler),
    };
    if let Some(site) = site {
        let site = site.trim_end_matches('/');
        let hosted = HostedCheckout::new(site)
            .cancel_url(format!("{site}/orders/{{reference}}"))
            .promotion_codes()
            .shipping_option("Post, 2 to 4 days", Amount::new(0, CURRENCY))
            .shipping_option("Courier, next day", Amount::new(6_90, CURRENCY))
            .shipping_to(["AT", "BE", "DE", "FR", "IE", "NL"]);
        builder = builder.hosted_checkout(hosted);
    }
    if let Some(limit) = limit {
        builder = builder.guard(limit);
    }
    if let Some(header) = proxy_header {
        // Behind a proxy, all visitors have the proxy's address: its header tells them apart.
        let header = ProxyHeader::new(header.to_owned());
        builder = builder.client_key(move |visitor| {
            let address = ProxyHeader::of_visitor(Some(&header), visitor)?;
            Some(network(Some(address)).to_string())
        });
    }
    if queued {
        builder = builder.queued();
    }
    builder.build()
}

/// The origin of Stripe's own page. With another API address than Stripe's, the page is at the
/// origin of that API.
pub fn hosted_page(config: &Config) -> String {
    let api = config.api_base();
    if api == "https://api.stripe.com" {
        return "https://checkout.stripe.com".to_owned();
    }
    let (scheme, rest) = api.split_once("://").unwrap_or(("https", api));
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    format!("{scheme}://{host}")
}

/// The address at which this machine reaches the shop.
///
/// This is the loopback address if the shop listens on all addresses.
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

fn site_url(address: SocketAddr) -> String {
    format!("http://{}", reachable(address))
}

fn webhook_url(address: SocketAddr) -> String {
    format!("{}/webhook", site_url(address))
}

fn banner(address: SocketAddr, sandbox: bool, made_up_password: Option<&str>) -> String {
    let url = site_url(address);
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
    fn stripes_page_is_at_stripe_or_where_another_one_is() {
        for (api, page) in [
            (None, "https://checkout.stripe.com"),
            (Some("http://127.0.0.1:4242"), "http://127.0.0.1:4242"),
            (Some("https://api.example/stripe/"), "https://api.example"),
        ] {
            let config = Config::from_vars(|name| match name {
                "STRIPE_SECRET_KEY" => Some("sk_test_1".into()),
                "STRIPE_PUBLISHABLE_KEY" => Some("pk_test_1".into()),
                "STRIPE_WEBHOOK_SECRET" => Some("whsec_1".into()),
                "STRIPE_API_BASE" => api.map(Into::into),
                _ => None,
            });
            assert_eq!(hosted_page(&config.expect("keys")), page);
        }
    }

    #[tokio::test]
    async fn debug_shows_no_password() -> Result<(), BoxError> {
        for password in [None, Some("s3cr3t")] {
            let folder = tempfile::tempdir()?;
            let database = format!("sqlite://{}/shop.db", folder.path().display());
            let settings = Settings::from_vars(
                |name| match name {
                    "STRIPE_SANDBOX" => Some("1".into()),
                    "DATABASE_URL" => Some(database.clone().into()),
                    "ADMIN_PASSWORD" => password.map(Into::into),
                    _ => None,
                },
                false,
            )?;
            let app = App::start(settings).await?;
            let made_up = app.inner.made_up_password.as_ref();
            let made_up = made_up.map_or("s3cr3t", |password| &password.0);
            let shown = format!("{app:?} {app:#?} {:?}", app.shop);
            assert!(!shown.contains(made_up), "{shown}");
            app.inner.outbox.stop().await;
            app.inner.store.close().await;
        }
        Ok(())
    }

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
