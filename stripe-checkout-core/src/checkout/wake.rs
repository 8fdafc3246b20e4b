//! What a loop with tasks of its own waits for.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Interval;

/// Why a loop goes on.
pub(super) enum Wake<T> {
    Stop,
    Ended(Result<T, JoinError>),
    Look,
}

/// By hand, because `tokio::select!` would bring tokio's macros to everybody.
pub(super) async fn wake<T: 'static>(
    mut stop: Pin<&mut impl Future<Output = ()>>,
    running: &mut JoinSet<T>,
    looks: &mut Interval,
) -> Wake<T> {
    poll_fn(|context| {
        if stop.as_mut().poll(context).is_ready() {
            return Poll::Ready(Wake::Stop);
        }
        if let Poll::Ready(Some(ended)) = running.poll_join_next(context) {
            return Poll::Ready(Wake::Ended(ended));
        }
        looks.poll_tick(context).map(|_| Wake::Look)
    })
    .await
}
