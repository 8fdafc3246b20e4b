//! The articles and their prices. No other place knows a price.
//!
//! A real shop would read this from its database. The direction is important: the browser names
//! articles and quantities, and the server looks the price up here. The browser cannot set a price.

use stripe_checkout_core::{Amount, Currency};

/// The currency of the whole catalogue: one currency, because one payment has one.
pub const CURRENCY: Currency = Currency::EUR;

/// An article.
#[derive(Debug)]
pub struct Product {
    /// The stock keeping unit: the article's name in forms, cookies and the API.
    pub sku: &'static str,
    /// The name for the buyer.
    pub name: &'static str,
    /// One sentence about it.
    pub about: &'static str,
    /// The price of one, tax included.
    pub price: Amount,
    /// Whether it is made to order. Its money is authorised with the order, and captured when the
    /// article is ready.
    pub on_order: bool,
    /// The drawing, as SVG.
    pub picture: &'static str,
}

/// All articles, in the order in which the shop shows them.
pub const PRODUCTS: &[Product] = &[
    Product {
        sku: "mug",
        name: "Harbour mug",
        about: "Stoneware, 350 ml, with a crab that is glad to see you.",
        price: Amount::new(18_00, CURRENCY),
        on_order: false,
        picture: include_str!("../pictures/mug.svg"),
    },
    Product {
        sku: "teapot",
        name: "Two-cup teapot",
        about: "Glazed by hand in sea green. Pours without a drip.",
        price: Amount::new(46_00, CURRENCY),
        on_order: false,
        picture: include_str!("../pictures/teapot.svg"),
    },
    Product {
        sku: "tea",
        name: "Breakwater tea",
        about: "100 g of smoky black tea for grey mornings.",
        price: Amount::new(9_50, CURRENCY),
        on_order: false,
        picture: include_str!("../pictures/tea.svg"),
    },
    Product {
        sku: "tote",
        name: "Tide tote bag",
        about: "Heavy organic cotton. Carries melons and novels.",
        price: Amount::new(22_00, CURRENCY),
        on_order: false,
        picture: include_str!("../pictures/tote.svg"),
    },
    Product {
        sku: "print",
        name: "“Low tide” print",
        about: "A3 on cotton paper, framed in smoked oak.",
        price: Amount::new(64_00, CURRENCY),
        on_order: false,
        picture: include_str!("../pictures/print.svg"),
    },
    Product {
        sku: "socks",
        name: "Rockpool socks",
        about: "Merino wool, for feet that have been paddling.",
        price: Amount::new(12_90, CURRENCY),
        on_order: false,
        picture: include_str!("../pictures/socks.svg"),
    },
    Product {
        sku: "kettle",
        name: "Copper kettle",
        about: "Beaten by hand for you. It whistles like a ferry.",
        price: Amount::new(96_00, CURRENCY),
        on_order: true,
        picture: include_str!("../pictures/kettle.svg"),
    },
];

/// The article with this SKU.
pub fn product(sku: &str) -> Option<&'static Product> {
    PRODUCTS.iter().find(|product| product.sku == sku)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sku_names_one_article_and_fits_into_a_cookie() {
        for product in PRODUCTS {
            assert!(
                product.sku.bytes().all(|byte| byte.is_ascii_lowercase()),
                "{}",
                product.sku
            );
            assert_eq!(
                PRODUCTS
                    .iter()
                    .filter(|other| other.sku == product.sku)
                    .count(),
                1
            );
            assert_eq!(product.price.currency(), CURRENCY);
        }
    }

    #[test]
    fn the_pictures_are_plain_drawings() {
        for product in PRODUCTS {
            assert!(product.picture.starts_with("<svg "), "{}", product.sku);
            for active in ["<script", "href=", " on", "<style"] {
                assert!(
                    !product.picture.contains(active),
                    "{} contains {active:?}",
                    product.sku
                );
            }
        }
    }
}
