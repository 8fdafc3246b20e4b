//! Work that ends, whoever hangs up.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::Instrument;

/// The calls that are under way.
pub(super) struct Tasks {
    running: watch::Sender<usize>,
    /// Where they run: the runtime in which the checkout was built, if it was built in one.
    runtime: Option<Handle>,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self {
            running: watch::Sender::new(0),
            runtime: Handle::try_current().ok(),
        }
    }

    /// Runs it to its end, in the current span, whether or not somebody waits for what it gives.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let running = Running::new(&self.running);
        let work = async move {
            let _running = running;
            work.await
        }
        .in_current_span();
        match &self.runtime {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        }
    }

    /// Waits until nothing is under way.
    pub(super) async fn drain(&self) {
        // The sender is ours, so the channel cannot close meanwhile.
        let _ = self.running.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// Counts while it lives, also in a task that panics or is dropped before it ran.
struct Running(watch::Sender<usize>);

impl Running {
    fn new(running: &watch::Sender<usize>) -> Self {
        running.send_modify(|count| *count += 1);
        Self(running.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use tokio::runtime::Builder;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn drain_waits_for_what_nobody_waits_for() {
        let tasks = Tasks::new();
        tasks.drain().await;
        let (go, wait) = oneshot::channel::<()>();
        let (ended, was_ended) = mpsc::channel();
        drop(tasks.spawn(async move {
            let _ = wait.await;
            ended.send(()).unwrap();
        }));
        let mut drain = std::pin::pin!(tasks.drain());
        tokio::select! {
            biased;
            () = &mut drain => panic!("it is still under way"),
            () = std::future::ready(()) => {}
        }
        go.send(()).unwrap();
        drain.await;
        was_ended.try_recv().unwrap();
    }

    #[tokio::test]
    async fn a_task_that_panics_is_over_too() {
        let tasks = Tasks::new();
        let failed = tasks.spawn(async { panic!("on purpose") }).await;
        assert!(failed.unwrap_err().is_panic());
        tasks.drain().await;
    }

    #[tokio::test]
    async fn the_work_is_in_the_span_of_who_asked() {
        let subscriber = tracing_subscriber::fmt().with_writer(std::io::sink);
        let _default = tracing::subscriber::set_default(subscriber.finish());
        let span = tracing::info_span!("request");
        let work = span.in_scope(|| Tasks::new().spawn(async { tracing::Span::current().id() }));
        assert!(span.id().is_some());
        assert_eq!(work.await.unwrap(), span.id());
    }

    /// As in actix-web: the call comes in on a worker's own runtime, which ends before the work does.
    #[tokio::test]
    async fn what_began_on_a_runtime_that_ends_goes_on() {
        let tasks = Tasks::new();
        let (go, wait) = oneshot::channel::<()>();
        let work = thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let runtime = Builder::new_current_thread().build().unwrap();
                let _entered = runtime.enter();
                tasks.spawn(async { wait.await.is_ok() })
            });
            worker.join().unwrap()
        });
        go.send(()).unwrap();
        assert!(work.await.unwrap());
    }
}
