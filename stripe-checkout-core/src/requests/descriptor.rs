//! The line on the buyer's card statement: the account's prefix, `* `, and the suffix of a payment.
//!
//! Stripe judges the whole line when the buyer presses the button. A suffix that does not fit makes
//! its order unpayable. So this module judges it before. See Stripe's
//! [requirements](https://docs.stripe.com/get-started/account/statement-descriptors#requirements).

use std::ops::RangeInclusive;

/// The length of the whole line, in characters.
const WHOLE: RangeInclusive<usize> = 5..=22;
/// The length of an account's prefix, in characters.
const PREFIX: RangeInclusive<usize> = 2..=10;
/// Between the two.
const SEPARATOR: &str = "* ";

/// Whether an account can have this prefix.
pub(crate) fn is_prefix(text: &str) -> bool {
    PREFIX.contains(&text.len()) && is_printable(text)
}

/// Whether a payment can have this suffix, behind this prefix. Without a prefix, the shortest one
/// counts.
pub(super) fn is_suffix(text: &str, prefix: Option<&str>) -> bool {
    let before = prefix.map_or(*PREFIX.start(), str::len) + SEPARATOR.len();
    WHOLE.contains(&before.saturating_add(text.len())) && is_printable(text)
}

/// ASCII, with a letter, and without the characters that Stripe refuses. Stripe does not say
/// whether it takes accented letters: they are refused.
fn is_printable(text: &str) -> bool {
    text.bytes()
        .all(|byte| (b' '..=b'~').contains(&byte) && !br#"<>\'"*"#.contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_two_to_ten_characters_and_a_letter() {
        for good in ["TS", "TEA SHOP", "7TEA", "TEASHOP.DE"] {
            assert!(is_prefix(good), "{good}");
        }
        for bad in ["", "T", "TEASHOP.COM", "1234", "TEA*", "CAFÉ", "TEA\n"] {
            assert!(!is_prefix(bad), "{bad}");
        }
    }

    #[test]
    fn a_suffix_may_be_short_if_the_whole_line_is_long_enough() {
        for good in ["O #7", "A12", "A", "TEA SHOP", &"x".repeat(18)] {
            assert!(is_suffix(good, None), "{good}");
        }
        for bad in [
            "",
            " ",
            "12345",
            "TEA <SHOP>",
            "TEA'S SHOP",
            "TEA \"SHOP\"",
            "TEA*SHOP",
            r"TEA\SHOP",
            "Café 123",
            "お茶の店です",
            "TEA\nSHOP",
            "TEA×SHOP",
            &"x".repeat(19),
        ] {
            assert!(!is_suffix(bad, None), "{bad}");
        }
    }

    #[test]
    fn prefix_and_suffix_share_22_characters() {
        for prefix in ["TS", "TEASHOP", "TEASHOP.DE"] {
            let room = 22 - prefix.len() - 2;
            assert!(is_suffix(&"x".repeat(room), Some(prefix)), "{prefix}");
            assert!(!is_suffix(&"x".repeat(room + 1), Some(prefix)), "{prefix}");
        }
    }
}
