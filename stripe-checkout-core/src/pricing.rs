//! The merchant's prices. The server decides what a buyer pays; the browser only names the order.

use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::amount::Amount;
use crate::call::Visitor;
use crate::currency::Currency;
use crate::error::BoxError;
use crate::fulfillment::BoxFuture;
use crate::requests::PaymentRequest;

/// Why [`Pricing`] returns no payment. The `?` operator turns any other error into
/// [`Unavailable`](Self::Unavailable).
#[derive(Debug)]
#[non_exhaustive]
pub enum PricingError {
    /// The order is refused (422): it is sold out, unknown, or belongs to another visitor. The page
    /// shows the message to the buyer.
    Refused {
        /// A sentence that the buyer may read.
        message: String,
        /// A stable `snake_case` code for the browser.
        code: &'static str,
    },
    /// The order is already paid (409). The page says so and links to the order, instead of showing
    /// a form.
    AlreadyPaid {
        /// The order's reference, as in its [`PaymentRequest`].
        reference: String,
    },
    /// A payment of the order is on its way and may take days (409). The page says so instead of
    /// showing a form.
    Processing {
        /// The order's reference, as in [`AlreadyPaid`](Self::AlreadyPaid).
        reference: String,
    },
    /// Prices are not available now (503). The log has the cause, and the buyer never sees it.
    Unavailable(BoxError),
}

impl PricingError {
    /// Refuses the order with a message for the buyer.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused {
            message: message.into(),
            code: "order_refused",
        }
    }
}

// No `Display` and no `Error`, so that `?` converts any other error: a type cannot have a blanket
// `From<E: Error>` and implement `Error` itself.
impl<E: Into<BoxError>> From<E> for PricingError {
    fn from(error: E) -> Self {
        Self::Unavailable(error.into())
    }
}

/// Turns what the browser may send (an order's id, items and quantities) into a payment request.
///
/// The library calls it twice for each purchase: when it shows the page, and when the buyer presses
/// *Pay*. So it must return the same [reference](PaymentRequest::new) for the same order.
///
/// ```
/// use std::collections::HashMap;
///
/// use serde::Deserialize;
/// use stripe_checkout_core::requests::PaymentRequest;
/// use stripe_checkout_core::{Amount, Pricing, PricingError, Visitor};
///
/// struct Orders(HashMap<String, Amount>);
///
/// #[derive(Deserialize)]
/// struct OrderId {
///     order: String,
/// }
///
/// impl Pricing for Orders {
///     type Order = OrderId;
///
///     async fn price(&self, id: OrderId, _: &Visitor) -> Result<PaymentRequest, PricingError> {
///         let total = self.0.get(&id.order).ok_or(PricingError::refused("We do not know this order."))?;
///         Ok(PaymentRequest::new(id.order, *total))
///     }
/// }
/// ```
///
/// The reference must come from the server. If orders are private, it must also be hard to guess: a
/// visitor who knows it can see what the order costs, and can pay it.
pub trait Pricing: Send + Sync + 'static {
    /// The data that the browser may send: ids and quantities, never a price.
    ///
    /// The library reads it from the page's query, or else from the JSON body: from its member
    /// `order`, or from the whole body.
    type Order: DeserializeOwned + Send;

    /// Returns what this order costs now.
    ///
    /// # Errors
    /// [`PricingError::refused`] with a message for the buyer (422), or
    /// [`PricingError::AlreadyPaid`] (409). Any other error that you return with `?` means that
    /// prices are unavailable (503).
    fn price(
        &self,
        order: Self::Order,
        visitor: &Visitor,
    ) -> impl Future<Output = Result<PaymentRequest, PricingError>> + Send;
}

/// The order that the browser names: `?order=…` of the page, and the same in the JSON body.
///
/// [`price_with`](crate::CheckoutBuilder::price_with) receives it. It is text from a stranger: look
/// it up among your orders. If the browser sends more than a name, such as quantities, implement
/// [`Pricing`] with a type of your own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub struct OrderRef {
    order: String,
}

impl OrderRef {
    /// Returns the text as the browser sent it.
    pub fn as_str(&self) -> &str {
        &self.order
    }
}

impl fmt::Display for OrderRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.order)
    }
}

impl From<OrderRef> for String {
    fn from(order: OrderRef) -> Self {
        order.order
    }
}

/// See [`price_with`](crate::CheckoutBuilder::price_with).
pub(crate) struct PriceWith<F>(pub(crate) F);

impl<F, Fut> Pricing for PriceWith<F>
where
    F: Fn(OrderRef, Visitor) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<PaymentRequest, PricingError>> + Send,
{
    type Order = OrderRef;

    async fn price(
        &self,
        order: OrderRef,
        visitor: &Visitor,
    ) -> Result<PaymentRequest, PricingError> {
        (self.0)(order, visitor.clone()).await
    }
}

/// An amount that the buyer chooses, for donations and tips.
///
/// This is the only way in which a browser can set an amount. Make the text a part of your
/// [`Pricing::Order`], and check it with [`accept`](Self::accept).
///
/// ```
/// use stripe_checkout_core::{Amount, ClientAmount, Currency};
///
/// let donation = ClientAmount::new(Currency::EUR, 1_00, 500_00);
/// assert_eq!(donation.accept("12.50").unwrap(), Amount::new(12_50, Currency::EUR));
/// assert!(donation.accept("0.50").is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAmount {
    /// The currency. The server chooses it.
    pub currency: Currency,
    /// The smallest amount in minor units.
    pub min: u64,
    /// The largest amount in minor units.
    pub max: u64,
}

impl ClientAmount {
    /// Accepts amounts in `currency` from `min` to `max` minor units.
    pub const fn new(currency: Currency, min: u64, max: u64) -> Self {
        Self { currency, min, max }
    }

    /// Parses an amount in major units, as a buyer types it, and checks the limits.
    ///
    /// Examples of the text are `12` and `12.50`.
    ///
    /// # Errors
    /// [`PricingError::Refused`] with a message that names the limits.
    pub fn accept(&self, major_units: &str) -> Result<Amount, PricingError> {
        let within = |amount: &Amount| (self.min..=self.max).contains(&amount.minor());
        match Amount::parse_major(major_units.trim(), self.currency)
            .ok()
            .filter(within)
        {
            Some(amount) => Ok(amount),
            None => Err(PricingError::Refused {
                message: format!(
                    "Please choose an amount from {} to {}.",
                    Amount::new(self.min, self.currency),
                    Amount::new(self.max, self.currency)
                ),
                code: "amount_out_of_range",
            }),
        }
    }
}

/// A [`Pricing`] without its order type: one type for all merchants.
pub(crate) trait ErasedPricing: Send + Sync {
    fn price<'a>(
        &'a self,
        body: &'a [u8],
        visitor: &'a Visitor,
    ) -> BoxFuture<'a, Result<PaymentRequest, OrderError>>;
}

/// Why there is no price.
#[derive(Debug)]
pub(crate) enum OrderError {
    /// The browser's data is not a valid order (400). The decoder's message may repeat what a
    /// stranger sent, so it is dropped.
    Unreadable,
    Pricing(PricingError),
}

impl<P: Pricing> ErasedPricing for P {
    fn price<'a>(
        &'a self,
        body: &'a [u8],
        visitor: &'a Visitor,
    ) -> BoxFuture<'a, Result<PaymentRequest, OrderError>> {
        Box::pin(async move {
            let order = read_order::<P::Order>(visitor.query(), body)?;
            Pricing::price(self, order, visitor)
                .await
                .map_err(OrderError::Pricing)
        })
    }
}

/// Reads the order from a query that is not empty, else from the body's member `order`, else from
/// the whole body.
///
/// One type decodes in the same way from all three.
fn read_order<O: DeserializeOwned>(query: &str, body: &[u8]) -> Result<O, OrderError> {
    if !query.is_empty() {
        return serde_html_form::from_str(query).map_err(|_| OrderError::Unreadable);
    }
    #[derive(Deserialize)]
    struct Wrapped<O> {
        order: O,
    }
    // serde would also read a struct from an array.
    if body.trim_ascii_start().starts_with(b"{")
        && let Ok(wrapped) = serde_json::from_slice::<Wrapped<O>>(body)
    {
        return Ok(wrapped.order);
    }
    serde_json::from_slice(body).map_err(|_| OrderError::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Cart {
        order: String,
        #[serde(default)]
        extra: Vec<u8>,
    }

    fn cart(order: &str, extra: &[u8]) -> Cart {
        Cart {
            order: order.into(),
            extra: extra.into(),
        }
    }

    #[test]
    fn one_type_decodes_alike_from_query_and_bodies() {
        let same = cart("a b", &[1, 2]);
        assert_eq!(
            read_order::<Cart>("order=a+b&extra=1&extra=2", b"{}").unwrap(),
            same
        );
        assert_eq!(
            read_order::<Cart>("", br#"{"order":{"order":"a b","extra":[1,2]}}"#).unwrap(),
            same
        );
        assert_eq!(
            read_order::<Cart>("", br#"{"order":"a b","extra":[1,2]}"#).unwrap(),
            same
        );
        assert_eq!(
            read_order::<String>("", br#"{"order":"a b"}"#).unwrap(),
            "a b"
        );
    }

    #[test]
    fn the_name_of_an_order_is_read_from_the_query_and_from_bodies() {
        for (query, body) in [
            ("order=a+b", &b"{}"[..]),
            ("utm=1&order=a%20b", b""),
            ("", br#"{"order":"a b"}"#),
            ("", br#"{"order":{"order":"a b"}}"#),
        ] {
            let order = read_order::<OrderRef>(query, body).unwrap();
            assert_eq!((order.as_str(), order.to_string()), ("a b", "a b".into()));
            assert_eq!(String::from(order), "a b");
        }
        for (query, body) in [
            ("", &b"{}"[..]),
            ("orders=1", b""),
            ("order=1&order=2", b""),
            ("", br#"{"order":1}"#),
        ] {
            let order = read_order::<OrderRef>(query, body);
            assert!(
                matches!(order, Err(OrderError::Unreadable)),
                "{query:?} {body:?}"
            );
        }
    }

    #[test]
    fn what_is_no_order_is_unreadable() {
        for (query, body) in [("", &b"{}"[..]), ("", b""), ("", b"[1"), ("other=1", b"{}")] {
            assert!(
                matches!(read_order::<Cart>(query, body), Err(OrderError::Unreadable)),
                "{query:?} {body:?}"
            );
        }
    }

    #[test]
    fn an_array_has_no_member_order() {
        for body in [&br#"["a"]"#[..], br#"[{"order":"a"}]"#] {
            let order = read_order::<String>("", body);
            assert!(matches!(order, Err(OrderError::Unreadable)), "{body:?}");
        }
    }

    #[test]
    fn a_named_amount_stays_within_its_limits() {
        let tip = ClientAmount::new(Currency::USD, 100, 5000);
        assert_eq!(tip.accept(" 1 ").unwrap().minor(), 100);
        assert_eq!(tip.accept("50.00").unwrap().minor(), 5000);
        for wrong in [
            "0.99",
            "50.01",
            "-2",
            "1e1",
            "",
            "ten",
            "1.001",
            "99999999999999999999",
        ] {
            match tip.accept(wrong) {
                Err(PricingError::Refused { message, .. }) => {
                    assert_eq!(
                        message,
                        "Please choose an amount from 1.00 USD to 50.00 USD."
                    )
                }
                other => panic!("{wrong}: {other:?}"),
            }
        }
    }
}
