//! The cases of the suite, by file.

use super::world::{Told, World};
use crate::fulfillment::BoxFuture;

/// A promise, and how it is tried.
pub(super) struct Case<S> {
    pub(super) name: &'static str,
    pub(super) tell: fn(World<S>) -> BoxFuture<'static, Told>,
}

macro_rules! cases {
    ($($name:literal => $tell:ident,)*) => {
        /// The cases of this file.
        pub(super) fn all<S: Subject>() -> Vec<$crate::testing::inbox::case::Case<S>> {
            vec![$($crate::testing::inbox::case::Case { name: $name, tell: |world| Box::pin($tell(world)) },)*]
        }
    };
}
pub(super) use cases;
