//! A process of the shop, which the test kills, freezes and restarts, always at the same address.

use std::{
    ffi::{OsStr, OsString},
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use fastrand::Rng;
use stripe_checkout_core::WebhookSecret;
use stripe_checkout_sandbox as sandbox;
use tokio::{
    process::{Child, Command},
    sync::MutexGuard,
    time::sleep,
};

use super::{Run, millis};

/// How to start a process of the shop.
#[derive(Debug)]
pub(super) struct Process {
    program: OsString,
    folder: PathBuf,
    log: PathBuf,
    environment: Vec<(&'static str, String)>,
}

/// How the test disturbs a process.
enum Blow<'a> {
    Kill,
    Freeze(MutexGuard<'a, ()>),
}

impl Process {
    pub(super) fn new(
        program: &OsStr,
        run: &Run,
        host: &str,
        database: &str,
        secret: &WebhookSecret,
        log: PathBuf,
    ) -> Self {
        let port = host.rsplit(':').next().unwrap_or_default();
        let stripe = run.sandbox.url();
        let mut environment = vec![
            ("PORT", port.to_owned()),
            ("DATABASE_URL", database.to_owned()),
            ("ADMIN_PASSWORD", "correct horse battery".to_owned()),
            ("NO_COLOR", "1".to_owned()),
            ("PAYMENTS_PER_MINUTE", "0".to_owned()),
            ("STRIPE_SECRET_KEY", sandbox::SECRET_KEY.to_owned()),
            (
                "STRIPE_PUBLISHABLE_KEY",
                sandbox::PUBLISHABLE_KEY.to_owned(),
            ),
            ("STRIPE_WEBHOOK_SECRET", secret.expose().to_owned()),
            ("STRIPE_API_BASE", stripe.to_owned()),
            ("STRIPE_JS_URL", format!("{stripe}/stripe.js")),
        ];
        if run.variant.queued {
            environment.push(("QUEUED", "1".to_owned()));
        }
        if run.variant.acknowledged_once {
            environment.push(("RECONCILE", "0".to_owned()));
        }
        Self {
            program: program.to_owned(),
            folder: log.parent().map(Path::to_owned).unwrap_or_default(),
            log,
            environment,
        }
    }

    /// Starts the process, disturbs it, and restarts it whenever it ends.
    pub(super) async fn live(self, run: Arc<Run>, mut rng: Rng) {
        loop {
            let outages = run.outages.load(Relaxed);
            let mut child = self.start();
            loop {
                tokio::select! {
                    status = child.wait() => {
                        ended_by_itself(&run, status.expect("a status"), outages);
                        break;
                    }
                    blow = next_blow(&run, &mut rng) => match blow {
                        Blow::Kill => {
                            child.kill().await.expect("it is killed");
                            run.tally.kills.fetch_add(1, Relaxed);
                            break;
                        }
                        Blow::Freeze(_freezing) => {
                            signal(&child, "STOP").await;
                            sleep(run.plan.freeze).await;
                            signal(&child, "CONT").await;
                            run.tally.freezes.fetch_add(1, Relaxed);
                        }
                    }
                }
            }
            sleep(millis(&mut rng, Duration::from_millis(200))).await;
        }
    }

    fn start(&self) -> Child {
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.expect("a log");
        Command::new(&self.program)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // So that it neither reads a developer's `.env` nor uses their database.
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts")
    }
}

/// Waits for a random moment at which a disturbance is due.
async fn next_blow<'a>(run: &'a Run, rng: &mut Rng) -> Blow<'a> {
    sleep(millis(rng, run.plan.life)).await;
    loop {
        if run.is_calm() {
            std::future::pending::<()>().await;
        }
        let (plan, tally) = (&run.plan, &run.tally);
        let freeze = run.is_due(&tally.freezes, plan.freezes);
        let kill = run.is_due(&tally.kills, plan.kills);
        if freeze || kill {
            // A random delay, so that a disturbance does not always come just after a payment.
            sleep(millis(rng, Duration::from_millis(200))).await;
            if freeze && let Ok(freezing) = run.freezing.try_lock()
                // No other process was frozen in the meantime.
                && run.is_due(&tally.freezes, plan.freezes)
            {
                return Blow::Freeze(freezing);
            }
            if kill {
                return Blow::Kill;
            }
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Records that a process ended by itself. It may only do so if it cannot start without the
/// database.
fn ended_by_itself(run: &Run, status: ExitStatus, outages: usize) {
    let now = run.outages.load(Relaxed);
    // An odd count means that the server was down at the start. A changed count means that it went
    // down since.
    if status.code() == Some(1) && (outages % 2 == 1 || outages != now) {
        run.tally.failed_starts.fetch_add(1, Relaxed);
    } else {
        run.wrong()
            .push(format!("a process ended by itself: {status}"));
    }
}

async fn signal(child: &Child, signal: &str) {
    let id = child.id().expect("it has not ended").to_string();
    let sent = Command::new("kill")
        .args(["-s", signal, &id])
        .status()
        .await;
    assert!(sent.expect("kill").success(), "{signal}");
}
