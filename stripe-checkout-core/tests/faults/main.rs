//! Faults of the machines around a shop. Each file is one fault: the routes answer as documented
//! while it lasts, and afterwards each payment is fulfilled exactly once.

mod clock;
mod cluster;
mod disk_full;
mod dns_gone;
mod failed_over;
mod log;
mod pool_exhausted;
mod post;
mod postgres_killed;
#[path = "../postgres_server/programs.rs"]
mod programs;
mod shop;
mod stripe;
mod stripe_away;
mod stripe_hangs;
