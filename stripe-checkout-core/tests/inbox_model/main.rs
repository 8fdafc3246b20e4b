//! A model of the inbox, and the three inboxes beside it.
//!
//! The suite of promises (`testing::inbox`) runs stories that a person wrote. Here proptest makes
//! sequences of deliveries, failures, deaths, replays and other steps. After each step, the inbox
//! must be in the state of a small state machine, which follows the promises alone. Proptest
//! shrinks a sequence that fails to the shortest one.
//!
//! The [reconciler] has its own state machine, beside the sandbox: there calls to Stripe fail.
//!
//! `PROPTEST_CASES=2000 cargo test …` tries 2000 sequences with each inbox instead of a few.
//!
//! **Not covered** are the cases that need time to pass, because no test here sleeps. A lease or a
//! pause is either over when it is made, or never ends. Three cases are in the suite instead: a
//! hook that passes its deadline, a wait for a lock that ends, and a process that is frozen beyond
//! its lease. The limits on a handler's use of its transaction differ between the databases, so
//! each database's own tests cover them.

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

/// Returns the one runtime of all tests. The pools of all cases need it as long as the tests run.
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

/// Returns a configuration with this number of cases, unless `PROPTEST_CASES` is set.
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
