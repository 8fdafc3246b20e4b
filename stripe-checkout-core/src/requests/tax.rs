//! How Stripe Tax treats a line, or a way to ship.

use super::error::RequestError;

/// Whether a price contains the tax already. See Stripe's
/// [tax behavior](https://docs.stripe.com/tax/products-prices-tax-codes-tax-behavior#tax-behavior).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaxBehavior {
    /// The buyer pays the price: the tax is a part of it.
    Inclusive,
    /// The buyer pays the price and the tax.
    Exclusive,
}

impl TaxBehavior {
    /// Stripe's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inclusive => "inclusive",
            Self::Exclusive => "exclusive",
        }
    }
}

/// The tax settings of a line, or of a way to ship. The account's settings decide the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tax {
    pub(crate) code: Option<String>,
    pub(crate) behavior: Option<TaxBehavior>,
}

impl Tax {
    pub(super) fn check(&self) -> Result<(), RequestError> {
        match self.code.as_deref().is_none_or(is_tax_code) {
            true => Ok(()),
            false => Err(RequestError::TaxCode),
        }
    }
}

/// Stripe's tax codes are `txcd_` and eight digits.
fn is_tax_code(code: &str) -> bool {
    let digits = code.strip_prefix("txcd_").unwrap_or_default();
    digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tax_code_has_eight_digits() {
        assert!(is_tax_code("txcd_92010001"));
        for bad in [
            "",
            "txcd_",
            "txcd_1",
            "txcd_9201000x",
            "92010001",
            "txcd_920100011",
        ] {
            assert!(!is_tax_code(bad), "{bad}");
        }
    }
}
