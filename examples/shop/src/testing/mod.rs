//! The tests that the example applications share, behind the feature `testing`.
//!
//! They buy with a real browser, [send requests without one](program), [attack](attacks), and
//! [kill processes during payments](crash).
//!
//! A test starts the application's own program with an empty database and gives it a Stripe sandbox
//! through its environment, as you would give it keys. It reads the program's address from its
//! output, and drives Chromium through chromedriver. So no part of the application is built for
//! tests, and every framework's application passes the same tests. One line defines them all:
//!
//! ```text
//! shop::browser_tests!(env!("CARGO_BIN_EXE_shop-axum"));
//! ```
//!
//! At the end of each test, the browser must not have logged an error or a violation of the
//! Content-Security-Policy. The program must not have logged a secret at any level, and it must end
//! on request.

mod another_stripe;
pub mod attacks;
mod browser;
pub mod crash;
mod http;
pub mod program;
pub mod scenarios;
mod stage;

use std::{
    ffi::OsStr,
    panic::{AssertUnwindSafe, resume_unwind},
    path::PathBuf,
    sync::Once,
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};

pub use self::{browser::Browser, stage::Stage};

/// How long a test waits for anything before it fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a test waits before it looks again.
const STEP: Duration = Duration::from_millis(50);

/// Where the shop under test gets its Stripe from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StripeOf {
    /// From the test: it has a sandbox, and gives the program its keys and addresses.
    TheTest,
    /// From the program: the environment sets nothing, as after `git clone`.
    TheProgram,
    /// From the test, with another implementation of Stripe.js, on a different origin than the API.
    TheTestWithAnotherScript,
}

/// Runs one scenario against a program, or prints in one line why it cannot.
///
/// With `CI`, it must be able to.
///
/// # Panics
/// If any check fails.
pub fn run(program: impl AsRef<OsStr>, stripe: StripeOf, scenario: impl AsyncFn(&Stage)) {
    let Some(tools) = Tools::find() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let stage = Stage::set(program.as_ref(), stripe, &tools).await;
        let outcome = AssertUnwindSafe(scenario(&stage)).catch_unwind().await;
        if let Err(panic) = outcome {
            stage.explain().await;
            resume_unwind(panic);
        }
        stage.end().await;
    });
}

/// Runs a scenario in a browser without a shop, or prints in one line why it cannot.
///
/// With `CI`, it must be able to.
///
/// # Panics
/// If any check fails.
pub fn browse(scenario: impl AsyncFn(&Browser)) {
    let Some(tools) = Tools::find() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let browser = Browser::open(&tools).await;
        let outcome = AssertUnwindSafe(scenario(&browser)).catch_unwind().await;
        if let Err(panic) = outcome {
            eprintln!("The browser was {}\n", browser.describe().await);
            resume_unwind(panic);
        }
        browser.check().await;
        browser.close().await;
    });
}

/// Defines one test for each scenario, against the program at this path.
#[macro_export]
macro_rules! browser_tests {
    ($program:expr) => {
        $crate::browser_tests! { $program, TheProgram: from_the_shelf_to_the_parcel }
        $crate::browser_tests! { $program, TheTestWithAnotherScript: another_stripe_js }
        $crate::browser_tests! { $program, TheTest:
            declined_then_another_card
            three_d_secure_accepted
            three_d_secure_refused
            double_click
            stripe_js_blocked
            keyboard_only
            back_after_paying
            price_changed
            paid_already
            redirect_comes_back_failed
            redirect_into_another_browser
            oldest_browser
            too_old_browser
            a_fault_of_the_page
            amounts_have_all_decimals_or_none
            redirect_comes_back_processing
            processing_then_failed
        }
        /// The scenarios of a merchant.
        mod back_room {
            $crate::browser_tests! { $program, TheTest in back_room:
                refund_in_part_and_in_full
                pre_order_taken
                pre_order_called_off
                dispute_with_deadline
                bank_debit_settles
                bank_debit_fails
                the_day_in_charts
            }
        }
        /// The scenarios of a developer who builds a shop.
        mod sandbox_page {
            $crate::browser_tests! { $program, TheTest in sandbox_page:
                webhooks_lost_and_doubled
                what_banks_do_on_demand
            }
        }
        /// The scenarios of a returning buyer.
        mod account {
            $crate::browser_tests! { $program, TheTest in account:
                card_saved_without_paying_and_removed
                one_click
                one_click_declined
                one_click_that_the_bank_asks_about
                saved_card_on_the_shops_own_page
                on_stripes_page
                on_stripes_page_for_nothing
            }
        }
    };
    ($program:expr, $stripe:ident: $($scenario:ident)*) => {
        $(
            #[test]
            fn $scenario() {
                $crate::testing::run($program, $crate::testing::StripeOf::$stripe, $crate::testing::scenarios::$scenario);
            }
        )*
    };
    ($program:expr, $stripe:ident in $part:ident: $($scenario:ident)*) => {
        $(
            #[test]
            fn $scenario() {
                $crate::testing::run($program, $crate::testing::StripeOf::$stripe, $crate::testing::scenarios::$part::$scenario);
            }
        )*
    };
}

/// The programs that a browser test needs.
#[derive(Debug)]
struct Tools {
    chromium: PathBuf,
    chromedriver: PathBuf,
}

impl Tools {
    /// Looks for the programs on `PATH`, and prints once if any is missing.
    fn find() -> Option<Self> {
        let chromium = ["chromium", "chromium-browser", "google-chrome"]
            .into_iter()
            .find_map(on_path);
        let missing = match (chromium, on_path("chromedriver")) {
            (Some(chromium), Some(chromedriver)) => {
                return Some(Self {
                    chromium,
                    chromedriver,
                });
            }
            (None, _) => "chromium",
            (_, None) => "chromedriver",
        };
        let message = format!(
            "browser tests skipped: there is no {missing} on the PATH (Debian: apt-get install chromium chromium-driver)"
        );
        assert!(std::env::var_os("CI").is_none(), "{message}");
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            use std::io::Write as _;
            // Past the test runner, which would hide the output of a passing test.
            let _ = writeln!(std::io::stderr(), "{message}");
        });
        None
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Repeats `look` until it returns something.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < end, "waited in vain: {what}");
        sleep(STEP).await;
    }
}
