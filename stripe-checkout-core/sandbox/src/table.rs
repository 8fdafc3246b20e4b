//! Rows in the order of their creation, found by their id.

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

/// The fields that every object has.
pub(crate) trait Row {
    fn id(&self) -> &str;
    /// The object's connected account; `None` is the sandbox's own account.
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

    /// Returns the row with this id, if it belongs to this account. Other accounts do not see it.
    pub(crate) fn get(&self, account: Option<&str>, id: &str) -> Option<&T> {
        self.rows
            .get(*self.places.get(id)?)
            .filter(|row| row.account() == account)
    }

    /// Returns the row with this id, of any account.
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

    /// Forgets the rows that were made before this time.
    pub(crate) fn forget_before(&mut self, created: i64) {
        self.rows.retain(|row| row.created() >= created);
        self.places = self
            .rows
            .iter()
            .enumerate()
            .map(|(place, row)| (row.id().to_owned(), place))
            .collect();
    }

    /// Iterates over an account's rows, newest first, as Stripe lists them.
    pub(crate) fn newest_first(&self, account: Option<&str>) -> impl Iterator<Item = &T> {
        self.rows
            .iter()
            .rev()
            .filter(move |row| row.account() == account)
    }

    /// Iterates over the rows of every account, newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &T> {
        self.rows.iter().rev()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Iterates over the rows of every account, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.rows.iter()
    }
}
