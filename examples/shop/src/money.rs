//! Amounts as a buyer reads them.

use stripe_checkout_core::{Amount, Currency};

/// An amount for a page in English: `€1,234.50`, or with a code: `CHF 12.00`.
///
/// The code is for currencies whose sign is not known everywhere.
///
/// The digits come from [`Amount::to_major`], which is exact. This only adds commas and a sign.
pub fn price(amount: Amount) -> String {
    let major = amount.to_major();
    let (whole, fraction) = match major.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (major.as_str(), None),
    };
    let mut text = match amount.currency() {
        Currency::EUR => "€".to_owned(),
        Currency::USD => "$".to_owned(),
        Currency::GBP => "£".to_owned(),
        Currency::JPY => "¥".to_owned(),
        // A no-break space: the code and the number belong on one line.
        other => format!("{other}\u{a0}"),
    };
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_read_as_in_a_shop_window() {
        for (minor, currency, text) in [
            (0, Currency::EUR, "€0.00"),
            (5, Currency::EUR, "€0.05"),
            (99_999, Currency::EUR, "€999.99"),
            (100_000, Currency::GBP, "£1,000.00"),
            (123_456_789, Currency::USD, "$1,234,567.89"),
            (1_500, Currency::JPY, "¥1,500"),
            (1_200, Currency::CHF, "CHF\u{a0}12.00"),
            (12_340, Currency::KWD, "KWD\u{a0}12.340"),
        ] {
            assert_eq!(price(Amount::new(minor, currency)), text);
        }
    }
}
