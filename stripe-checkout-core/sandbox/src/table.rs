//! Rows in the order in which they were made, found by their id.

use std::collections::HashMap;

use super::objects::{
    balance_transaction::BalanceTransaction,
    charge::Charge,
    checkout_session::CheckoutSession,
    coupon::{Coupon, PromotionCode},
    customer::Customer,
    customer_session::CustomerSession,
    dispute::Dispute,
    event::Event,
    mandate::Mandate,
    payment_intent::PaymentIntent,
    payment_method::PaymentMethod,
    refund::Refund,
    setup_intent::SetupIntent,
    token::Token,
};

/// What every object has.
pub(crate) trait Row {
    fn id(&self) -> &str;
    /// The connected account that it belongs to; `None` is the sandbox's own.
    fn account(&self) -> Option<&str>;
    fn created(&self) -> i64;
    fn created_mut(&mut self) -> &mut i64;
}

macro_rules! rows {
    ($($row:ty),*) => {$(
        impl Row for $row {
            fn id(&self) -> &str {
                &self.id
            }
            fn account(&self) -> Option<&str> {
                self.account.as_deref()
            }
            fn created(&self) -> i64 {
                self.created
            }
            fn created_mut(&mut self) -> &mut i64 {
                &mut self.created
            }
        }
    )*};
}
rows!(
    PaymentIntent,
    SetupIntent,
    Charge,
    PaymentMethod,
    Mandate,
    Refund,
    Dispute,
    BalanceTransaction,
    Customer,
    CustomerSession,
    Event,
    CheckoutSession,
    Coupon,
    PromotionCode,
    Token
);

/// All objects of one kind.
#[derive(Debug)]
pub(crate) struct Table<T> {
    rows: Vec<T>,
    places: HashMap<String, usize>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            places: HashMap::new(),
        }
    }
}

impl<T: Row> Table<T> {
    pub(crate) fn insert(&mut self, row: T) {
        self.places.insert(row.id().to_owned(), self.rows.len());
        self.rows.push(row);
    }

    /// The row with this id, if it belongs to this account: one account's objects do not exist for another.
    pub(crate) fn get(&self, account: Option<&str>, id: &str) -> Option<&T> {
        self.rows
            .get(*self.places.get(id)?)
            .filter(|row| row.account() == account)
    }

    /// The row with this id, whichever account it belongs to.
    pub(crate) fn find(&self, id: &str) -> Option<&T> {
        self.rows.get(*self.places.get(id)?)
    }

    pub(crate) fn find_mut(&mut self, id: &str) -> Option<&mut T> {
        self.rows.get_mut(*self.places.get(id)?)
    }

    /// Makes every row older.
    pub(crate) fn age(&mut self, seconds: i64) {
        for row in &mut self.rows {
            let created = row.created_mut();
            *created = created.saturating_sub(seconds);
        }
    }

    pub(crate) fn each(&mut self, change: impl FnMut(&mut T)) {
        self.rows.iter_mut().for_each(change);
    }

    /// Forgets the rows that were made before.
    pub(crate) fn forget_before(&mut self, created: i64) {
        self.rows.retain(|row| row.created() >= created);
        self.places = self
            .rows
            .iter()
            .enumerate()
            .map(|(place, row)| (row.id().to_owned(), place))
            .collect();
    }

    /// Newest first, as Stripe lists.
    pub(crate) fn newest_first(&self, account: Option<&str>) -> impl Iterator<Item = &T> {
        self.rows
            .iter()
            .rev()
            .filter(move |row| row.account() == account)
    }

    /// The newest first, of every account.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &T> {
        self.rows.iter().rev()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Oldest first, of every account.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.rows.iter()
    }
}
