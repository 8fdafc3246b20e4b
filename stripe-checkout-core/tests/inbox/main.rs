//! Every inbox keeps what every inbox promises: see `testing::inbox`.

#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod columns;
mod lost;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
