//! Futures without their types.

use std::pin::Pin;

/// A future whose type is gone.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
