//! Each step as a learner runs it: a process, gone through over HTTP, with a sandbox that signs its events. What the boxes of `examples/README.md` say is asked here.

mod paying;
mod selling;
mod world;
