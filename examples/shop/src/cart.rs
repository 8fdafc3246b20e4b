//! The cart: articles and quantities, never a price.
//!
//! It is in a cookie, so it works without JavaScript and costs the server nothing. The cookie needs
//! no signature: buyers who edit it only put other articles into their own cart.

use std::collections::BTreeMap;

use serde::Deserialize;
use stripe_checkout_core::{Amount, AmountError};

use crate::catalogue::{self, CURRENCY, PRODUCTS, Product};

/// The largest quantity of one article in one order.
pub const MAX_QUANTITY: u32 = 99;

/// The articles that a buyer wants: one line for each article, in the catalogue's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cart {
    // The key is the place in the catalogue, so that every page shows the lines in the same order.
    quantities: BTreeMap<usize, u32>,
}

/// One line of a cart, priced.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// The article.
    pub product: &'static Product,
    /// The quantity.
    pub quantity: u32,
    /// The price of the whole line.
    pub amount: Amount,
}

/// An item as `POST /api/orders` names it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The article.
    pub sku: String,
    /// The quantity: 1 to [`MAX_QUANTITY`].
    pub quantity: u32,
}

/// The reason why a cart cannot become an order. The texts are for the buyer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CartError {
    /// The cart is empty.
    #[error("There is nothing in the cart.")]
    Empty,
    /// The article is not in the catalogue.
    #[error("We do not sell \u{201c}{0}\u{201d}.")]
    UnknownArticle(String),
    /// The quantity of an article is 0 or too large.
    #[error("Please order between 1 and {MAX_QUANTITY} of each article.")]
    Quantity,
}

impl Cart {
    /// Reads the cookie.
    ///
    /// It skips articles that are no longer sold, and text that was never a cart: an old cookie
    /// must not break the page.
    pub fn from_cookie(value: &str) -> Self {
        let mut cart = Self::default();
        for part in value.split('.').take(PRODUCTS.len()) {
            if let Some((sku, quantity)) = part.split_once('-')
                && let Ok(quantity) = quantity.parse()
            {
                cart.set(sku, quantity);
            }
        }
        cart
    }

    /// The text for the cookie: `mug-2.tea-1`.
    pub fn to_cookie(&self) -> String {
        let parts: Vec<String> = self
            .quantities
            .iter()
            .map(|(place, quantity)| format!("{}-{quantity}", PRODUCTS[*place].sku))
            .collect();
        parts.join(".")
    }

    /// Reads the items that an API client sends.
    ///
    /// # Errors
    /// [`CartError`] if an item cannot be ordered like this. Unlike a cookie, a bad request from an
    /// API client is an error.
    pub fn from_items(items: &[Item]) -> Result<Self, CartError> {
        let mut cart = Self::default();
        for item in items {
            let place = place(&item.sku)
                .ok_or_else(|| CartError::UnknownArticle(item.sku.chars().take(40).collect()))?;
            let quantity = cart.quantities.entry(place).or_insert(0);
            *quantity = quantity.saturating_add(item.quantity);
            if item.quantity == 0 || *quantity > MAX_QUANTITY {
                return Err(CartError::Quantity);
            }
        }
        if cart.is_empty() {
            Err(CartError::Empty)
        } else {
            Ok(cart)
        }
    }

    /// Sets the quantity of an article; 0 removes it. A quantity above the limit becomes the limit.
    pub fn set(&mut self, sku: &str, quantity: u32) {
        let Some(place) = place(sku) else { return };
        if quantity == 0 {
            self.quantities.remove(&place);
        } else {
            self.quantities.insert(place, quantity.min(MAX_QUANTITY));
        }
    }

    /// Adds one of an article.
    pub fn add(&mut self, sku: &str) {
        if let Some(place) = place(sku) {
            let quantity = self.quantities.entry(place).or_insert(0);
            *quantity = (*quantity + 1).min(MAX_QUANTITY);
        }
    }

    /// How many pieces there are in all.
    pub fn count(&self) -> u32 {
        self.quantities.values().sum()
    }

    /// Whether the cart is empty.
    pub fn is_empty(&self) -> bool {
        self.quantities.is_empty()
    }

    /// The lines, at the catalogue's prices.
    ///
    /// # Errors
    /// [`AmountError`] if a price is too large to compute with.
    pub fn lines(&self) -> Result<Vec<Line>, AmountError> {
        self.quantities
            .iter()
            .map(|(place, quantity)| {
                let product = &PRODUCTS[*place];
                Ok(Line {
                    product,
                    quantity: *quantity,
                    amount: product.price.times(u64::from(*quantity))?,
                })
            })
            .collect()
    }
}

/// The total of the lines.
///
/// # Errors
/// [`AmountError`] if the sum is too large to compute with.
pub fn total(lines: &[Line]) -> Result<Amount, AmountError> {
    Amount::sum(CURRENCY, lines.iter().map(|line| line.amount))
}

fn place(sku: &str) -> Option<usize> {
    PRODUCTS.iter().position(|product| product.sku == sku)
}

/// The fields of the cart's form: the quantity of each article, and the button that was pressed.
#[derive(Debug, Default)]
pub struct CartForm {
    quantities: Vec<(String, u32)>,
    add: Option<String>,
    remove: Option<String>,
}

impl CartForm {
    /// Reads the form's fields.
    ///
    /// It ignores fields that are not the cart's, because browser add-ons may add some. A quantity
    /// that is not a number changes nothing.
    pub fn from_fields(fields: &[(String, String)]) -> Self {
        let mut form = Self::default();
        for (name, value) in fields {
            match name.as_str() {
                "add" => form.add = Some(value.clone()),
                "remove" => form.remove = Some(value.clone()),
                sku if catalogue::product(sku).is_some() => {
                    if let Ok(quantity) = value.trim().parse() {
                        form.quantities.push((sku.to_owned(), quantity));
                    }
                }
                _ => {}
            }
        }
        form
    }

    /// The cart after the changes of the form.
    pub fn apply(&self, mut cart: Cart) -> Cart {
        for (sku, quantity) in &self.quantities {
            cart.set(sku, *quantity);
        }
        if let Some(sku) = &self.add {
            cart.add(sku);
        }
        if let Some(sku) = &self.remove {
            cart.set(sku, 0);
        }
        cart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> CartForm {
        let list: Vec<(String, String)> = list
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        CartForm::from_fields(&list)
    }

    #[test]
    fn a_cart_survives_its_cookie() {
        let mut cart = Cart::default();
        cart.set("tea", 3);
        cart.add("mug");
        cart.add("mug");
        assert_eq!(cart.to_cookie(), "mug-2.tea-3");
        assert_eq!(Cart::from_cookie(&cart.to_cookie()), cart);
        assert_eq!(cart.count(), 5);
    }

    #[test]
    fn a_strange_cookie_is_an_empty_cart() {
        for value in [
            "",
            "-",
            "mug",
            "mug-",
            "mug--1",
            "mug-0",
            "mug-99999999999",
            "car-1",
            "..",
            "mug=1",
            "\u{0}",
        ] {
            assert!(Cart::from_cookie(value).is_empty(), "{value:?}");
        }
        assert_eq!(Cart::from_cookie("mug-1000").count(), MAX_QUANTITY);
    }

    #[test]
    fn the_server_multiplies_and_adds() -> Result<(), AmountError> {
        let lines = Cart::from_cookie("mug-2.tea-3").lines()?;
        assert_eq!(
            lines
                .iter()
                .map(|line| line.amount.minor())
                .collect::<Vec<_>>(),
            [3600, 2850]
        );
        assert_eq!(total(&lines)?, Amount::new(6450, CURRENCY));
        assert!(total(&[])?.is_zero());
        Ok(())
    }

    #[test]
    fn api_items_are_checked() {
        let item = |sku: &str, quantity| Item {
            sku: sku.to_owned(),
            quantity,
        };
        assert_eq!(Cart::from_items(&[]), Err(CartError::Empty));
        assert_eq!(
            Cart::from_items(&[item("car", 1)]),
            Err(CartError::UnknownArticle("car".to_owned()))
        );
        assert_eq!(
            Cart::from_items(&[item("mug", 0)]),
            Err(CartError::Quantity)
        );
        assert_eq!(
            Cart::from_items(&[item("mug", 100)]),
            Err(CartError::Quantity)
        );
        assert_eq!(
            Cart::from_items(&[item("mug", 60), item("mug", 60)]),
            Err(CartError::Quantity)
        );
        assert_eq!(
            Cart::from_items(&[item("mug", u32::MAX), item("mug", u32::MAX)]),
            Err(CartError::Quantity)
        );
        assert_eq!(
            Cart::from_items(&[item("mug", 1), item("mug", 2)]).map(|cart| cart.to_cookie()),
            Ok("mug-3".to_owned())
        );
    }

    #[test]
    fn the_form_adds_changes_and_removes() {
        let cart = Cart::from_cookie("mug-2.tea-3");
        assert_eq!(
            fields(&[("add", "socks")]).apply(cart.clone()).to_cookie(),
            "mug-2.tea-3.socks-1"
        );
        assert_eq!(
            fields(&[("mug", "5"), ("tea", "0")])
                .apply(cart.clone())
                .to_cookie(),
            "mug-5"
        );
        assert_eq!(
            fields(&[("mug", "5"), ("remove", "mug")])
                .apply(cart.clone())
                .to_cookie(),
            "tea-3"
        );
        assert_eq!(
            fields(&[("mug", "many"), ("price", "1"), ("add", "car")]).apply(cart.clone()),
            cart
        );
    }
}
