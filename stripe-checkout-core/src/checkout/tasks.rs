//! Runs work to its end, even if the caller hangs up.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use thiserror::Error;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tracing::Instrument;

/// The calls that are running.
pub(super) struct Tasks {
    running: watch::Sender<usize>,
    /// The runtime that runs them: the one in which the checkout was built, if any.
    runtime: Option<Handle>,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self {
            running: watch::Sender::new(0),
            runtime: Handle::try_current().ok(),
        }
    }

    /// Runs the work to its end, even if the caller goes away.
    ///
    /// Work that never waits for anything ends here, without a task: a task costs more than storing
    /// a webhook in memory.
    ///
    /// # Errors
    /// [`Unfinished`].
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Unfinished> {
        let mut work: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(work);
        if self.is_at_home() {
            let running = Running::new(&self.running);
            let begun = std::future::poll_fn(|context| {
                // The work is not used after a panic, so no broken invariant can be seen.
                let poll = AssertUnwindSafe(|| work.as_mut().poll(context));
                Poll::Ready(catch_unwind(poll))
            });
            match begun.await {
                Ok(Poll::Ready(done)) => return Ok(done),
                Ok(Poll::Pending) => {}
                Err(_) => return Err(Unfinished::Panicked),
            }
            // The task counts before this call stops counting.
            let task = self.spawn(work);
            drop(running);
            return Ok(task.await?);
        }
        Ok(self.spawn(work).await?)
    }

    /// Whether this is a task of the runtime that runs the work, on one of its worker threads.
    fn is_at_home(&self) -> bool {
        if tokio::task::try_id().is_none() {
            return false;
        }
        let here = Handle::try_current().ok();
        here.zip(self.runtime.as_ref()).is_some_and(|(here, home)| {
            here.id() == home.id() && home.runtime_flavor() == RuntimeFlavor::MultiThread
        })
    }

    /// Runs the work to its end, in the current span, whether or not the caller waits for the
    /// result.
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

    /// Waits until nothing is running.
    pub(super) async fn drain(&self) {
        // We own the sender, so the channel cannot close meanwhile.
        let _ = self.running.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// Why work did not reach its end.
#[derive(Debug, Error)]
pub(super) enum Unfinished {
    /// The error omits the panic's message, which may contain anything.
    #[error("the work panicked")]
    Panicked,
    #[error("the runtime ended")]
    RuntimeEnded,
}

impl From<JoinError> for Unfinished {
    fn from(error: JoinError) -> Self {
        if error.is_panic() {
            Self::Panicked
        } else {
            Self::RuntimeEnded
        }
    }
}

/// Counts while it exists, even in a task that panics or is dropped before it ran.
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
    use std::sync::{Arc, mpsc};
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

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn work_that_never_waits_needs_no_task() {
        let tasks = Arc::new(Tasks::new());
        let inner = Arc::clone(&tasks);
        let on_a_worker = tokio::spawn(async move {
            let own = tokio::task::id();
            let ran = inner.run(async { tokio::task::id() }).await.unwrap();
            let waited = inner.run(async {
                tokio::task::yield_now().await;
                tokio::task::id()
            });
            (own, ran, waited.await.unwrap())
        });
        let (own, ran, waited) = on_a_worker.await.unwrap();
        assert_eq!(own, ran);
        assert_ne!(own, waited);
        tasks.drain().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn work_goes_on_if_the_caller_goes_away() {
        let tasks = Arc::new(Tasks::new());
        let (go, wait) = oneshot::channel::<()>();
        let (ended, was_ended) = oneshot::channel();
        let inner = Arc::clone(&tasks);
        let caller = tokio::spawn(async move {
            let work = async move {
                let _ = wait.await;
                ended.send(()).unwrap();
            };
            let mut work = std::pin::pin!(inner.run(work));
            // The work began, and then the caller goes away.
            std::future::poll_fn(|context| {
                assert!(work.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
        });
        caller.await.unwrap();
        go.send(()).unwrap();
        was_ended.await.unwrap();
        tasks.drain().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_panic_is_an_error_with_and_without_a_task() {
        let tasks = Arc::new(Tasks::new());
        let inner = Arc::clone(&tasks);
        let on_a_worker = tokio::spawn(async move {
            let at_once: Result<(), _> = inner.run(async { panic!("on purpose") }).await;
            let later: Result<(), _> = inner
                .run(async {
                    tokio::task::yield_now().await;
                    panic!("on purpose")
                })
                .await;
            [at_once, later]
        });
        for ended in on_a_worker.await.unwrap() {
            assert!(matches!(ended, Err(Unfinished::Panicked)), "{ended:?}");
        }
        tasks.drain().await;
    }

    /// As in actix-web: the call arrives on a worker's own runtime, which ends before the work
    /// does.
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
