//! The signal to close, the same under every framework.

use std::{future, process, time::Duration};

use tokio::{signal, sync::watch};

/// How long open requests may take after the signal to close.
pub const GRACE: Duration = Duration::from_secs(20);

/// The signal that the shop should close.
#[derive(Debug, Clone)]
pub(crate) struct Closing(watch::Receiver<bool>);

impl Closing {
    /// Listens for the signal from now on.
    pub(crate) fn listen() -> Self {
        let (tell, told) = watch::channel(false);
        tokio::spawn(async move {
            told_to_stop().await;
            let again = async {
                if signal::ctrl_c().await.is_ok() {
                    process::exit(1);
                }
            };
            let say = async {
                println!("Closing. Press Ctrl-C again to leave at once.");
                let _ = tell.send(true);
            };
            // In this order: a person who reads the line may press at once.
            tokio::join!(biased; again, say);
        });
        Self(told)
    }

    /// Ends when the shop should close.
    pub(crate) async fn told(mut self) {
        if self.0.wait_for(|told| *told).await.is_err() {
            future::pending().await
        }
    }

    /// Ends when the shop should close and the time for that has passed.
    pub(crate) async fn overdue(self) {
        self.told().await;
        tokio::time::sleep(GRACE).await;
    }
}

/// Ends with Ctrl-C, or with the signal that `kill`, systemd and Docker send.
async fn told_to_stop() {
    let interrupt = async {
        if signal::ctrl_c().await.is_err() {
            // Without the signal there is nothing to wait for. The shop stays open until it is
            // killed.
            future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
