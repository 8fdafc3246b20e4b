//! Every inbox keeps what every inbox promises: see `testing::inbox`.

mod lost;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
