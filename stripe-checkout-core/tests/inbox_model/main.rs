//! A model of the inbox, and the three inboxes beside it.
//!
//! The suite of promises (`testing::inbox`) tells stories that somebody thought of. Here nobody thinks of one: proptest makes sequences of deliveries, failures,
//! deaths, replays and whatever else there is, and after each step the inbox must stand as a small machine says that was written from the promises alone. What differs is
//! made as short as it can be.
//!
//! The [reconciler] has a machine of its own, beside the sandbox: there calls to Stripe fail.
//!
//! `PROPTEST_CASES=2000 cargo test …` tries as many sequences with each inbox instead of a few.
//!
//! **Left out** is what needs the clock to go on: nobody sleeps here. A lease that is over is one that was over when it was made, and so is a pause; one that is not
//! over never ends. So that a hook passes its deadline, that a wait for a lock ends, and that a process is frozen beyond its lease are not tried here but in the suite; nor
//! is what a handler may not do with its transaction, which differs between the databases and is in their own tests.

mod concurrent;
mod model;
mod promises;
#[cfg(all(feature = "sessions", feature = "sqlite"))]
mod reconciler;
mod sequence;
mod shop;
mod stores;

#[cfg(all(feature = "sessions", feature = "sqlite"))]
#[path = "../combinations/stripe.rs"]
mod stripe;

#[cfg(feature = "postgres")]
#[path = "../postgres_server/mod.rs"]
mod postgres_server;

use std::env;
use std::sync::OnceLock;

use proptest::test_runner::{Config, FileFailurePersistence};
use tokio::runtime::Runtime;

/// Everything runs on one runtime, which the pools of all cases need as long as the tests run.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .unwrap()
    })
}

/// So many cases, unless `PROPTEST_CASES` says otherwise.
fn config(cases: u32) -> Config {
    let mut config = Config::default();
    if env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config.failure_persistence = Some(Box::new(FileFailurePersistence::Off));
    if env::var_os("PROPTEST_MAX_SHRINK_ITERS").is_none() {
        config.max_shrink_iters = 2000;
    }
    config
}
