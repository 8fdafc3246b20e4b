//! The processes of a run: PostgreSQL, the sandbox and two of the shop's.

use std::{env, fs, path::PathBuf};

use program::Program;
use shop::testing::crash::cluster::Cluster;

use crate::{
    Error,
    client::PROXY_HEADER,
    parcels::{self, Parcel},
};

/// Commits wait for the disk, as a merchant's do.
const SETTINGS: &str = "
listen_addresses = ''
";

/// The resident memory of each process, in bytes.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) shops: [u64; 2],
    pub(crate) sandbox: u64,
}

impl Memory {
    pub(crate) fn all(&self) -> [u64; 3] {
        let [one, other] = self.shops;
        [one, other, self.sandbox]
    }
}

pub(crate) struct Processes {
    shops: [Program; 2],
    sandbox: Program,
    sandbox_url: String,
    database: Cluster,
}

impl Processes {
    /// Starts them. The sandbox sends its webhooks to this address.
    pub(crate) async fn start(webhooks: &str) -> Result<Self, Error> {
        let (shop, sandbox) = (program("shop-axum")?, program("stripe-sandbox")?);
        let database = Cluster::start(SETTINGS).await?;
        let folder = env::temp_dir();
        let mut command = Program::command(sandbox, &folder);
        command.args(["--own-keys-only", "--webhook", webhooks]);
        let mut sandbox = Program::start(command);
        let mut said = |what: &str| {
            let line = sandbox.wait_for_line(what);
            line.split_whitespace()
                .last()
                .unwrap_or_default()
                .to_owned()
        };
        let (stripe, secret) = (said("  address "), said("  webhook secret "));
        let (key, publishable) = (said("  secret key "), said("  publishable key "));
        let start = || {
            let mut command = Program::command(&shop, &folder);
            command.envs([
                ("DATABASE_URL", database.url().as_str()),
                ("ADMIN_PASSWORD", "correct horse battery"),
                ("PROXY_HEADER", PROXY_HEADER),
                ("RUST_LOG", "warn"),
                ("STRIPE_SECRET_KEY", &key),
                ("STRIPE_PUBLISHABLE_KEY", &publishable),
                ("STRIPE_WEBHOOK_SECRET", &secret),
                ("STRIPE_API_BASE", &stripe),
                ("STRIPE_JS_URL", &format!("{stripe}/stripe.js")),
            ]);
            Program::start(command)
        };
        Ok(Self {
            shops: [start(), start()],
            sandbox,
            sandbox_url: stripe,
            database,
        })
    }

    /// The addresses of the shop's processes.
    pub(crate) fn shops(&self) -> Vec<String> {
        self.shops
            .iter()
            .map(|shop| shop.host().to_owned())
            .collect()
    }

    /// The sandbox's address, as in `http://127.0.0.1:12111`.
    pub(crate) fn sandbox(&self) -> &str {
        &self.sandbox_url
    }

    pub(crate) fn memory(&self) -> Result<Memory, Error> {
        let [one, other] = &self.shops;
        Ok(Memory {
            shops: [resident(one)?, resident(other)?],
            sandbox: resident(&self.sandbox)?,
        })
    }

    /// Ends all of them, PostgreSQL last. Returns the parcels in it.
    pub(crate) async fn end(self) -> Result<Vec<Parcel>, Error> {
        let [one, other] = self.shops;
        one.stop();
        other.stop();
        self.sandbox.stop();
        let parcels = parcels::all(&self.database.url()).await;
        self.database.end().await;
        parcels
    }
}

/// A program that was built beside this one.
fn program(name: &str) -> Result<PathBuf, Error> {
    let path = env::current_exe()?.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!(
        "{} is missing: cargo build --release -p load -p shop-axum -p stripe-checkout-sandbox",
        path.display()
    )
    .into())
}

/// As Linux tells it.
fn resident(program: &Program) -> Result<u64, Error> {
    let status = fs::read_to_string(format!("/proc/{}/status", program.id()))?;
    let mut lines = status.lines();
    let kilobytes = lines.find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
    let kilobytes: u64 = kilobytes.ok_or("a process has ended")?.trim().parse()?;
    Ok(kilobytes * 1024)
}
