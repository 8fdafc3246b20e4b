//! The beginning and end of every step: reading the keys, and starting and stopping a server.

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use stripe_checkout_core::{Checkout, Config, DotEnv};
use stripe_checkout_sandbox::Sandbox;
use tokio::net::TcpListener;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Stripe with the keys that are set. Without keys, it is a sandbox in this process.
#[derive(Debug)]
pub struct Stripe {
    config: Config,
    // It ends when this value is dropped.
    sandbox: Option<Sandbox>,
    port: u16,
}

impl Stripe {
    /// Reads the environment, and for missing variables a `.env` file in the working folder.
    ///
    /// Without `STRIPE_SECRET_KEY` it starts a sandbox, but only in debug builds or with
    /// `STRIPE_SANDBOX=1`. A deployment without its keys must not deliver goods for play money.
    ///
    /// # Errors
    /// A key is missing, of the wrong kind, or of another mode than the others. The message names
    /// the variable and not its value.
    pub async fn from_env() -> anyhow::Result<Self> {
        log();
        let file = DotEnv::read()?;
        let variable = |name: &str| file.get(name);
        let port = match variable("PORT") {
            Some(port) => port.to_str().and_then(|port| port.parse().ok()),
            None => Some(3000),
        };
        let port = port.context("PORT must be a number from 0 to 65535")?;
        let play =
            variable("STRIPE_SANDBOX").map_or(cfg!(debug_assertions), |switch| switch == "1");
        if play && variable("STRIPE_SECRET_KEY").is_none() {
            let sandbox = Sandbox::start().await?;
            return Ok(Self {
                config: sandbox.config(),
                sandbox: Some(sandbox),
                port,
            });
        }
        let config = Config::from_vars(variable)?;
        config.require_keys()?;
        Ok(Self {
            config,
            sandbox: None,
            port,
        })
    }

    /// Returns the keys and addresses.
    pub fn config(&self) -> Config {
        self.config.clone()
    }

    /// Serves as [`serve`] does, and gives the webhook's address to the sandbox, if there is one.
    ///
    /// # Errors
    /// The port cannot be opened.
    pub async fn serve(self, app: Router, checkout: Checkout) -> anyhow::Result<()> {
        let listener = listen(self.port).await?;
        if let Some(sandbox) = &self.sandbox {
            let address = listener.local_addr()?;
            sandbox.webhook_endpoint(&format!("http://{address}/webhook"))?;
            println!("A sandbox stands for Stripe: no account, no network, no real money.");
            println!(
                "Pay with 4242 4242 4242 4242, any later date and any CVC; 4000 0000 0000 0002 is declined."
            );
        }
        serve_on(listener, app, checkout).await
    }
}

/// Serves on this port of this machine until Ctrl-C or a signal to stop. Then it finishes open
/// requests.
///
/// # Errors
/// The port cannot be opened: most likely another program uses it.
pub async fn serve(port: u16, app: Router, checkout: Checkout) -> anyhow::Result<()> {
    serve_on(listen(port).await?, app, checkout).await
}

async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("{address} cannot be opened: set PORT to another number"))
}

async fn serve_on(listener: TcpListener, app: Router, checkout: Checkout) -> anyhow::Result<()> {
    println!("Open http://{}", listener.local_addr()?);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(told_to_stop())
        .await?;
    checkout.drain().await;
    Ok(())
}

/// Logs warnings, and which file the keys are from.
fn log() {
    let filter = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("stripe_checkout_core::config", LevelFilter::INFO);
    // Fails if there already is a log.
    let _ = tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_ansi(io::stdout().is_terminal()))
        .with(filter)
        .try_init();
}

async fn told_to_stop() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
