//! Runs each step as a learner does: a process that gets HTTP requests, with a sandbox that signs
//! its events. These tests check what the boxes of `examples/README.md` say.

mod paying;
mod selling;
mod world;
