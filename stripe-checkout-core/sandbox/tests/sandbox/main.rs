//! The sandbox, asked by raw HTTP: what any client of Stripe's would see.

mod before_the_money;
mod browser;
mod browser_limits;
mod cards;
mod debits;
mod disputes;
mod faults;
mod http;
mod idempotency;
mod lists;
mod page;
mod parameters;
mod payments;
mod receiver;
mod refunds;
mod strangers;
mod tax;
mod testing_cards;
mod tokens;
mod usable_methods;
mod validation;
mod values;
mod webhooks;
