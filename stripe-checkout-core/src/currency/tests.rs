use proptest::prelude::*;

use super::*;
use crate::amount::Amount;

const ZERO_DECIMAL: &str = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF";
const THREE_DECIMAL: &str = "BHD JOD KWD OMR TND";

/// Stripe's table of minimum charges, as it prints it: in major units.
const MINIMUMS: &str = "USD 0.50, AED 2, ARS 0.50, AUD 0.50, BRL 0.50, CAD 0.50, CHF 0.50, COP 0.50, CZK 15, DKK 2.50, EUR 0.50, GBP 0.30, HKD 4, HUF 175, \
    IDR 0.50, ILS 0.50, INR 0.50, JPY 50, KRW 50, MXN 10, MYR 2, NOK 3, NZD 0.50, PHP 0.50, PLN 2, RON 2, RUB 0.50, SEK 3, SGD 0.50, THB 10, ZAR 0.50";

fn codes(list: &str) -> Vec<Currency> {
    list.split_whitespace()
        .map(|code| code.parse().unwrap())
        .collect()
}

#[test]
fn every_constant_is_named_as_its_code() {
    assert_eq!(Currency::KNOWN.len(), 142);
    for (currency, name) in Currency::KNOWN.iter().zip(NAMES) {
        assert_eq!(currency.to_string(), *name);
        assert_eq!(name.parse(), Ok(*currency));
        assert_eq!(currency.code(), name.to_lowercase());
    }
}

#[test]
fn the_list_is_sorted_so_that_it_can_be_searched() {
    assert!(Currency::KNOWN.is_sorted_by(|left, right| left < right));
    assert!(Currency::KNOWN.iter().all(|currency| currency.is_known()));
}

#[test]
fn decimals_are_stripes_and_not_iso_4217s() {
    let (zero, three) = (codes(ZERO_DECIMAL), codes(THREE_DECIMAL));
    assert_eq!((zero.len(), three.len()), (15, 5));
    for currency in Currency::KNOWN {
        let expected = match currency {
            currency if zero.contains(currency) => 0,
            currency if three.contains(currency) => 3,
            _ => 2,
        };
        assert_eq!(currency.decimals(), expected, "{currency}");
    }
    for currency in zero.iter().chain(&three) {
        assert!(currency.is_known(), "{currency}");
    }
}

#[test]
fn isk_and_ugx_are_two_decimal_in_hundreds() {
    for currency in [Currency::ISK, Currency::UGX] {
        assert_eq!((currency.decimals(), currency.multiple()), (2, 100));
    }
    // The whole-unit rule of these two is for payouts, not for charges.
    for currency in [Currency::HUF, Currency::TWD] {
        assert_eq!((currency.decimals(), currency.multiple()), (2, 1));
    }
}

#[test]
fn every_other_multiple_is_one_or_for_three_decimals_ten() {
    for currency in Currency::KNOWN {
        let expected = match currency.to_string().as_str() {
            "ISK" | "UGX" => 100,
            code if THREE_DECIMAL.contains(code) => 10,
            _ => 1,
        };
        assert_eq!(currency.multiple(), expected, "{currency}");
    }
}

#[test]
fn minimums_are_those_of_stripes_table() {
    let mut expected = std::collections::BTreeMap::new();
    for entry in MINIMUMS.split(", ") {
        let (code, major) = entry.split_once(' ').unwrap();
        let currency = code.parse().unwrap();
        expected.insert(currency, Amount::parse_major(major, currency).unwrap());
    }
    assert_eq!(expected.len(), 31);
    for currency in Currency::KNOWN {
        assert_eq!(
            currency.minimum(),
            expected.get(currency).copied(),
            "{currency}"
        );
    }
}

#[test]
fn an_unknown_code_is_a_currency_of_two_decimals() {
    for code in ["bgn", "xyz", "ZZZ"] {
        let currency: Currency = code.parse().unwrap();
        assert!(!currency.is_known());
        assert_eq!(
            (currency.decimals(), currency.multiple(), currency.minimum()),
            (2, 1, None)
        );
    }
}

#[test]
fn codes_are_read_in_any_case() {
    for code in ["eur", "EUR", "Eur", "eUR"] {
        assert_eq!(code.parse(), Ok(Currency::EUR));
    }
}

#[test]
fn anything_else_is_malformed() {
    for text in [
        "",
        "e",
        "eu",
        "euro",
        "usdc",
        " eur",
        "eur ",
        "eu1",
        "e-r",
        "€",
        "éu",
        "ééé",
        "eu\0",
        "ＥＵＲ",
    ] {
        assert_eq!(
            text.parse::<Currency>(),
            Err(CurrencyError::Malformed),
            "{text:?}"
        );
    }
    assert_eq!(
        CurrencyError::Malformed.to_string(),
        "a currency is three ASCII letters, like \"eur\""
    );
}

#[test]
fn it_prints_in_upper_case_and_obeys_width() {
    assert_eq!(
        format!(
            "{} {:?} [{:>5}]",
            Currency::EUR,
            Currency::EUR,
            Currency::EUR
        ),
        "EUR EUR [  EUR]"
    );
}

#[test]
fn serde_writes_lower_case_and_reads_any() {
    assert_eq!(serde_json::to_string(&Currency::EUR).unwrap(), "\"eur\"");
    for json in ["\"eur\"", "\"EUR\"", "\"\\u0065ur\""] {
        assert_eq!(
            serde_json::from_str::<Currency>(json).unwrap(),
            Currency::EUR
        );
    }
    for json in ["\"euro\"", "\"\"", "978", "null", "[\"eur\"]"] {
        assert!(serde_json::from_str::<Currency>(json).is_err(), "{json}");
    }
}

proptest! {
    #[test]
    fn three_ascii_letters_and_nothing_else_are_a_currency(text in "\\PC{0,5}|[a-zA-Z]{2,4}") {
        let well_formed = text.len() == 3 && text.chars().all(|c| c.is_ascii_alphabetic());
        match text.parse::<Currency>() {
            Ok(currency) => {
                prop_assert!(well_formed);
                prop_assert_eq!(currency.code(), text.to_lowercase());
                prop_assert_eq!(currency.to_string().parse(), Ok(currency));
                prop_assert_eq!(serde_json::from_str::<Currency>(&serde_json::to_string(&currency).unwrap()).unwrap(), currency);
            }
            Err(CurrencyError::Malformed) => prop_assert!(!well_formed),
        }
    }
}
