//! An amount of money as a merchant types it.

use stripe_checkout_core::{Amount, AmountError, Currency};

/// The reason why a text is not an amount of this currency. The texts are for the merchant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TypedError {
    #[error("Write how much, like {like}.")]
    Empty { like: String },
    #[error("\u{201c}{text}\u{201d} is no amount. Write it like {like}.")]
    NoAmount { text: String, like: String },
    #[error("The payment is in {ours}, so this is in {ours} too, and not in {theirs}.")]
    OtherCurrency { ours: Currency, theirs: String },
    #[error("It has to be more than nothing.")]
    Nothing,
    #[error("{currency} has {} after the point.", places(*.allowed))]
    TooPrecise { currency: Currency, allowed: u8 },
    #[error("That is more money than there is.")]
    TooMuch,
}

fn places(allowed: u8) -> String {
    match allowed {
        0 => "no digits".to_owned(),
        1 => "one digit".to_owned(),
        allowed => format!("{allowed} digits"),
    }
}

/// The currency signs. A sign counts only if the payment is in its currency.
const SIGNS: [(char, Currency); 4] = [
    ('€', Currency::EUR),
    ('$', Currency::USD),
    ('£', Currency::GBP),
    ('¥', Currency::JPY),
];

/// Reads `12`, `12.50`, `1,234.50`, each also with the currency's sign or code before or after it.
pub(crate) fn read(text: &str, currency: Currency) -> Result<Amount, TypedError> {
    let like = Amount::new(12_50, Currency::EUR).to_major();
    let like = if currency.decimals() == 0 {
        "1250".to_owned()
    } else {
        like
    };
    let text = text.trim();
    let ends = |c: char| c.is_alphabetic() || SIGNS.iter().any(|(sign, _)| *sign == c);
    let digits = text.trim_matches(|c| ends(c) || c.is_whitespace());
    let named: String = text.chars().filter(|c| ends(*c)).collect();
    if digits.is_empty() && named.is_empty() {
        return Err(TypedError::Empty { like });
    }
    let no_amount = || TypedError::NoAmount {
        text: text.chars().take(40).collect(),
        like: like.clone(),
    };
    if digits.is_empty() {
        return Err(no_amount());
    }
    let ours = named.is_empty()
        || named.eq_ignore_ascii_case(currency.code())
        || SIGNS
            .iter()
            .any(|(sign, of)| *of == currency && named.chars().eq([*sign]));
    if !ours {
        let is_currency = named.chars().count() == 3 && named.is_ascii()
            || SIGNS.iter().any(|(sign, _)| named.chars().eq([*sign]));
        return Err(if is_currency {
            TypedError::OtherCurrency {
                ours: currency,
                theirs: named.to_uppercase(),
            }
        } else {
            no_amount()
        });
    }
    let plain = ungrouped(digits).ok_or_else(no_amount)?;
    match Amount::parse_major(&plain, currency) {
        Ok(amount) if amount.is_zero() => Err(TypedError::Nothing),
        Ok(amount) => Ok(amount),
        Err(AmountError::Negative) => Err(TypedError::Nothing),
        Err(AmountError::TooPrecise { allowed, .. }) => {
            Err(TypedError::TooPrecise { currency, allowed })
        }
        Err(AmountError::OutOfRange) => Err(TypedError::TooMuch),
        Err(_) => Err(no_amount()),
    }
}

/// Removes the commas between thousands, as the pages write them.
///
/// `None` if a comma is elsewhere: `12,50` is not twelve hundred and fifty.
fn ungrouped(digits: &str) -> Option<String> {
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let mut plain = first.to_owned();
    for group in groups {
        if group.len() != 3 || first.len() > 3 {
            return None;
        }
        plain.push_str(group);
    }
    if let Some(fraction) = fraction {
        plain.push('.');
        plain.push_str(fraction);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_they_are_written_on_the_pages() {
        for (text, currency, minor) in [
            ("12", Currency::EUR, 1200),
            (" 12.5 ", Currency::EUR, 1250),
            ("€1,234.50", Currency::EUR, 123_450),
            ("1234.50", Currency::EUR, 123_450),
            ("12.50 eur", Currency::EUR, 1250),
            ("CHF\u{a0}12.00", Currency::CHF, 1200),
            ("¥1,500", Currency::JPY, 1500),
            ("KWD 12.340", Currency::KWD, 12_340),
        ] {
            assert_eq!(
                read(text, currency),
                Ok(Amount::new(minor, currency)),
                "{text}"
            );
            let amount = Amount::new(minor, currency);
            assert_eq!(read(&crate::money::price(amount), currency), Ok(amount));
        }
    }

    #[test]
    fn what_is_no_amount_is_said_in_a_sentence() {
        for (text, sentence) in [
            ("", "Write how much, like 12.50."),
            ("  ", "Write how much, like 12.50."),
            (
                "all",
                "\u{201c}all\u{201d} is no amount. Write it like 12.50.",
            ),
            (
                "12,50",
                "\u{201c}12,50\u{201d} is no amount. Write it like 12.50.",
            ),
            (
                "1234,567",
                "\u{201c}1234,567\u{201d} is no amount. Write it like 12.50.",
            ),
            (
                "1e3",
                "\u{201c}1e3\u{201d} is no amount. Write it like 12.50.",
            ),
            (
                "twelve 50",
                "\u{201c}twelve 50\u{201d} is no amount. Write it like 12.50.",
            ),
            (
                "12.",
                "\u{201c}12.\u{201d} is no amount. Write it like 12.50.",
            ),
            ("0", "It has to be more than nothing."),
            ("-5", "It has to be more than nothing."),
            ("12.345", "EUR has 2 digits after the point."),
            (
                "10 USD",
                "The payment is in EUR, so this is in EUR too, and not in USD.",
            ),
            (
                "$10",
                "The payment is in EUR, so this is in EUR too, and not in $.",
            ),
            ("99999999999999999999", "That is more money than there is."),
        ] {
            let error = read(text, Currency::EUR).unwrap_err();
            assert_eq!(error.to_string(), sentence, "{text}");
        }
        let error = read("12.5", Currency::JPY).unwrap_err();
        assert_eq!(error.to_string(), "JPY has no digits after the point.");
    }
}
