use proptest::prelude::*;

use super::*;

const EUR: Currency = Currency::EUR;
const JPY: Currency = Currency::JPY;
const KWD: Currency = Currency::KWD;
const ISK: Currency = Currency::ISK;

fn minors(parts: &[Amount]) -> Vec<u64> {
    parts.iter().map(|part| part.minor()).collect()
}

fn parsed(text: &str, currency: Currency) -> Result<u64, AmountError> {
    Amount::parse_major(text, currency).map(Amount::minor)
}

#[test]
fn major_units_are_read_by_stripes_exponents() {
    for (text, currency, minor) in [
        ("0", EUR, 0),
        ("12", EUR, 1200),
        ("12.5", EUR, 1250),
        ("19.99", EUR, 1999),
        ("0.05", EUR, 5),
        ("007.10", EUR, 710),
        ("184467440737095516.15", EUR, u64::MAX),
        ("500", JPY, 500),
        ("18446744073709551615", JPY, u64::MAX),
        ("1.25", KWD, 1250),
        ("5.124", KWD, 5124),
        ("5", ISK, 500),
        ("5.00", ISK, 500),
        ("3700", Currency::UGX, 370_000),
        ("12.5", "xyz".parse().unwrap(), 1250),
    ] {
        assert_eq!(parsed(text, currency), Ok(minor), "{text} {currency}");
    }
}

#[test]
fn what_is_no_plain_number_is_malformed() {
    for text in [
        "", ".", "-", "-.", ".5", "5.", "1..2", "1.2.3", "1,50", "1,000.00", "1_000", "1 000",
        " 1", "1 ", "+1", "1e3", "0x10", "NaN", "inf", "--1", "-x", "€5", "5€", "٣", "１２",
        "1.-5", "1\0", "twelve", "1.2\n", "1.2345x",
    ] {
        assert_eq!(parsed(text, EUR), Err(AmountError::Malformed), "{text:?}");
    }
}

#[test]
fn amounts_are_never_negative() {
    for text in ["-1", "-0", "-0.01", "-99999999999999999999999"] {
        assert_eq!(parsed(text, EUR), Err(AmountError::Negative), "{text}");
    }
}

#[test]
fn more_decimals_than_the_currency_has_are_refused_not_rounded() {
    for (text, currency, allowed, given) in [
        ("1.000", EUR, 2, 3),
        ("1.5", JPY, 0, 1),
        ("1.00", JPY, 0, 2),
        ("1.2345", KWD, 3, 4),
        ("5.001", ISK, 2, 3),
    ] {
        let error = AmountError::TooPrecise {
            currency,
            allowed,
            given,
        };
        assert_eq!(parsed(text, currency), Err(error.clone()));
        assert_eq!(
            error.to_string(),
            format!("{currency} has {allowed} decimal places, not {given}")
        );
    }
}

#[test]
fn isk_and_ugx_have_no_fractions() {
    for currency in [ISK, Currency::UGX] {
        for text in ["5.5", "5.50", "0.01"] {
            assert_eq!(
                parsed(text, currency),
                Err(AmountError::NotAMultiple {
                    currency,
                    multiple: 100
                })
            );
        }
    }
    // It is only advice that the last of three decimals must be 0.
    assert_eq!(parsed("5.124", KWD), Ok(5124));
}

#[test]
fn what_does_not_fit_is_out_of_range() {
    for (text, currency) in [
        ("18446744073709551616", JPY),
        ("184467440737095516.16", EUR),
        ("18446744073709551615", EUR),
        ("99999999999999999999999999", JPY),
    ] {
        assert_eq!(
            parsed(text, currency),
            Err(AmountError::OutOfRange),
            "{text}"
        );
    }
    assert_eq!(parsed(&format!("{}1", "0".repeat(10_000)), JPY), Ok(1));
}

#[test]
fn major_units_are_printed_with_all_decimals() {
    for (minor, currency, text) in [
        (0, EUR, "0.00"),
        (5, EUR, "0.05"),
        (1999, EUR, "19.99"),
        (500, JPY, "500"),
        (0, JPY, "0"),
        (7, KWD, "0.007"),
        (5124, KWD, "5.124"),
        (500, ISK, "5.00"),
        (u64::MAX, EUR, "184467440737095516.15"),
    ] {
        assert_eq!(Amount::new(minor, currency).to_major(), text);
    }
    let amount = Amount::new(1999, EUR);
    assert_eq!(
        format!("{amount} {amount:?} [{amount:>12}]"),
        "19.99 EUR 19.99 EUR [   19.99 EUR]"
    );
}

#[test]
fn sums_and_differences() {
    let (five, three) = (Amount::new(500, EUR), Amount::new(300, EUR));
    assert_eq!(five.checked_add(three), Ok(Amount::new(800, EUR)));
    assert_eq!(five.checked_sub(three), Ok(Amount::new(200, EUR)));
    assert_eq!(five.checked_sub(five), Ok(Amount::zero(EUR)));
    assert_eq!(three.checked_sub(five), Err(AmountError::OutOfRange));
    assert_eq!(
        Amount::new(u64::MAX, EUR).checked_add(Amount::new(1, EUR)),
        Err(AmountError::OutOfRange)
    );
    assert_eq!(
        Amount::sum(EUR, [five, three, five]),
        Ok(Amount::new(1300, EUR))
    );
    assert_eq!(Amount::sum(EUR, []), Ok(Amount::zero(EUR)));
    assert_eq!(
        Amount::sum(EUR, [Amount::new(u64::MAX, EUR), three]),
        Err(AmountError::OutOfRange)
    );
}

#[test]
fn currencies_never_mix() {
    let (euro, yen) = (Amount::new(500, EUR), Amount::new(500, JPY));
    let mismatch = AmountError::CurrencyMismatch {
        left: EUR,
        right: JPY,
    };
    assert_eq!(euro.checked_add(yen), Err(mismatch.clone()));
    assert_eq!(euro.checked_sub(yen), Err(mismatch.clone()));
    assert_eq!(euro.checked_cmp(yen), Err(mismatch.clone()));
    assert_eq!(Amount::sum(EUR, [euro, yen]), Err(mismatch.clone()));
    assert_eq!(Amount::sum(EUR, [Amount::zero(JPY)]), Err(mismatch.clone()));
    assert_ne!(euro, yen);
    assert_eq!(mismatch.to_string(), "EUR and JPY cannot be mixed");
}

#[test]
fn quantities() {
    let price = Amount::new(1999, EUR);
    assert_eq!(price.times(3), Ok(Amount::new(5997, EUR)));
    assert_eq!(price.times(0), Ok(Amount::zero(EUR)));
    assert_eq!(price.times(u64::MAX), Err(AmountError::OutOfRange));
}

#[test]
fn percentages_round_as_named() {
    // minor, basis points, up, down, half up, half even
    for (minor, points, expected) in [
        (1000, 1900, [190, 190, 190, 190]),
        (1001, 1900, [191, 190, 190, 190]),
        (1050, 500, [53, 52, 53, 52]),
        (1070, 500, [54, 53, 54, 54]),
        (1051, 500, [53, 52, 53, 53]),
        (1, 5000, [1, 0, 1, 0]),
        (3, 5000, [2, 1, 2, 2]),
        (1, 1, [1, 0, 0, 0]),
        (1234, 0, [0, 0, 0, 0]),
        (0, 1900, [0, 0, 0, 0]),
        (1234, 10_000, [1234, 1234, 1234, 1234]),
        (1234, 25_000, [3085, 3085, 3085, 3085]),
        (u64::MAX, 10_000, [u64::MAX; 4]),
    ] {
        let results = [
            Rounding::Up,
            Rounding::Down,
            Rounding::HalfUp,
            Rounding::HalfEven,
        ]
        .map(|rounding| {
            Amount::new(minor, EUR)
                .percentage(points, rounding)
                .unwrap()
                .minor()
        });
        assert_eq!(results, expected, "{points} basis points of {minor}");
    }
}

#[test]
fn percentages_that_do_not_fit() {
    assert_eq!(
        Amount::new(u64::MAX, EUR).percentage(10_001, Rounding::Down),
        Err(AmountError::OutOfRange)
    );
    assert_eq!(
        Amount::new(u64::MAX, EUR).percentage(u64::MAX, Rounding::Up),
        Err(AmountError::OutOfRange)
    );
}

#[test]
fn shares_of_isk_can_be_charged() {
    let price = Amount::new(99_900, ISK);
    assert_eq!(
        price.percentage(2400, Rounding::HalfUp),
        Ok(Amount::new(24_000, ISK))
    );
    assert_eq!(
        price.percentage(2400, Rounding::Down),
        Ok(Amount::new(23_900, ISK))
    );
    assert_eq!(
        minors(&Amount::new(1000, ISK).split(3).unwrap()),
        [400, 300, 300]
    );
    // An amount that is not a multiple cannot be charged anyway, and is divided exactly.
    assert_eq!(
        minors(&Amount::new(1000, KWD).split(3).unwrap()),
        [340, 330, 330]
    );
    assert_eq!(
        minors(&Amount::new(1001, KWD).split(2).unwrap()),
        [501, 500],
        "between two steps"
    );
    assert_eq!(
        minors(&Amount::new(1001, ISK).split(2).unwrap()),
        [501, 500]
    );
    assert_eq!(
        Amount::new(1001, ISK).percentage(10_000, Rounding::Down),
        Ok(Amount::new(1001, ISK))
    );
}

#[test]
fn parts_are_as_equal_as_can_be_and_the_larger_come_first() {
    assert_eq!(
        minors(&Amount::new(1000, EUR).split(3).unwrap()),
        [334, 333, 333]
    );
    assert_eq!(minors(&Amount::new(2, EUR).split(3).unwrap()), [1, 1, 0]);
    assert_eq!(minors(&Amount::new(7, EUR).split(1).unwrap()), [7]);
    assert_eq!(minors(&Amount::zero(EUR).split(2).unwrap()), [0, 0]);
    assert_eq!(
        Amount::new(u64::MAX, JPY).split(2).unwrap()[0].minor(),
        u64::MAX / 2 + 1
    );
}

#[test]
fn the_number_of_parts_is_bounded() {
    let amount = Amount::new(1000, EUR);
    assert_eq!(amount.split(0), Err(AmountError::NoParts));
    assert_eq!(
        amount.split(Amount::MAX_PARTS).unwrap().len(),
        Amount::MAX_PARTS
    );
    assert_eq!(
        amount.split(Amount::MAX_PARTS + 1),
        Err(AmountError::OutOfRange)
    );
    assert_eq!(amount.split(usize::MAX), Err(AmountError::OutOfRange));
}

#[test]
fn the_minimum_is_told_not_enforced() {
    assert_eq!(
        Amount::new(49, EUR).below_minimum(),
        Some(Amount::new(50, EUR))
    );
    assert_eq!(Amount::new(50, EUR).below_minimum(), None);
    assert_eq!(Amount::new(1, Currency::VND).below_minimum(), None);
    assert_eq!(Amount::new(1, EUR).chargeable(DEFAULT_CAP), Ok(()));
}

#[test]
fn the_multiple_is_told_and_enforced_where_it_is_certain() {
    assert_eq!(Amount::new(5124, KWD).off_multiple(), Some(10));
    assert_eq!(Amount::new(5120, KWD).off_multiple(), None);
    assert_eq!(Amount::new(5124, KWD).chargeable(DEFAULT_CAP), Ok(()));
    assert_eq!(Amount::new(550, ISK).off_multiple(), Some(100));
    assert_eq!(Amount::new(1, EUR).off_multiple(), None);
}

#[test]
fn chargeable_is_more_than_zero_at_most_the_cap_and_whole() {
    assert_eq!(
        Amount::zero(EUR).chargeable(DEFAULT_CAP),
        Err(AmountError::Zero)
    );
    assert_eq!(
        Amount::new(DEFAULT_CAP, EUR).chargeable(DEFAULT_CAP),
        Ok(())
    );
    assert_eq!(
        Amount::new(DEFAULT_CAP + 1, EUR).chargeable(DEFAULT_CAP),
        Err(AmountError::AboveCap {
            cap: 999_999_999_999
        })
    );
    assert_eq!(
        Amount::new(101, EUR).chargeable(100),
        Err(AmountError::AboveCap { cap: 100 })
    );
    for currency in [ISK, Currency::UGX] {
        assert_eq!(Amount::new(500, currency).chargeable(DEFAULT_CAP), Ok(()));
        assert_eq!(
            Amount::new(550, currency).chargeable(DEFAULT_CAP),
            Err(AmountError::NotAMultiple {
                currency,
                multiple: 100
            })
        );
    }
}

#[test]
fn serde_speaks_as_stripes_api() {
    let amount = Amount::new(1999, EUR);
    let json = r#"{"amount":1999,"currency":"eur"}"#;
    assert_eq!(serde_json::to_string(&amount).unwrap(), json);
    assert_eq!(serde_json::from_str::<Amount>(json).unwrap(), amount);
    for json in [
        r#"{"amount":-1,"currency":"eur"}"#,
        r#"{"amount":19.99,"currency":"eur"}"#,
        r#"{"amount":"1999","currency":"eur"}"#,
        r#"{"amount":1999,"currency":"euro"}"#,
        r#"{"amount":1999}"#,
        r#"{"currency":"eur"}"#,
    ] {
        assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
    }
}

fn any_currency() -> impl Strategy<Value = Currency> {
    proptest::sample::select(Currency::KNOWN)
}

/// Any amount that can be charged in its currency, small ones as often as large ones.
fn any_amount() -> impl Strategy<Value = Amount> {
    (prop_oneof![0..10_000_u64, any::<u64>()], any_currency())
        .prop_map(|(minor, currency)| Amount::new(minor - minor % currency.multiple(), currency))
}

proptest! {
    #[test]
    fn printing_and_reading_lose_nothing(amount in any_amount()) {
        prop_assert_eq!(Amount::parse_major(&amount.to_major(), amount.currency()), Ok(amount));
    }

    #[test]
    fn serde_loses_nothing(amount in any_amount()) {
        let json = serde_json::to_string(&amount).unwrap();
        prop_assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), amount);
    }

    #[test]
    fn reading_takes_any_text_without_a_panic(text in "\\PC*|[-0-9.]{0,30}", currency in any_currency()) {
        if let Ok(amount) = Amount::parse_major(&text, currency) {
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
            prop_assert_eq!(amount.currency(), currency);
        }
    }

    #[test]
    fn reading_is_exact(whole in 0..1_000_000_000_u64, cents in 0..100_u64) {
        prop_assert_eq!(parsed(&format!("{whole}.{cents:02}"), EUR), Ok(whole * 100 + cents));
        prop_assert_eq!(parsed(&format!("{whole}"), JPY), Ok(whole));
        prop_assert_eq!(parsed(&format!("{whole}.{cents:02}"), KWD), Ok(whole * 1000 + cents * 10));
    }

    #[test]
    fn what_was_added_can_be_taken_away(left in any_amount(), minor in any::<u64>()) {
        let right = Amount::new(minor, left.currency());
        match left.checked_add(right) {
            Ok(sum) => prop_assert_eq!(sum.checked_sub(right), Ok(left)),
            Err(error) => {
                prop_assert_eq!(error, AmountError::OutOfRange);
                prop_assert!(u128::from(left.minor()) + u128::from(minor) > u128::from(u64::MAX));
            }
        }
    }

    #[test]
    fn times_is_a_repeated_sum(amount in any_amount(), quantity in 0..50_u64) {
        let repeated = Amount::sum(amount.currency(), (0..quantity).map(|_| amount));
        prop_assert_eq!(amount.times(quantity), repeated);
    }

    #[test]
    fn parts_add_up_and_differ_by_one_step_at_most(amount in any_amount(), count in 1..500_usize) {
        let parts = amount.split(count).unwrap();
        prop_assert_eq!(parts.len(), count);
        prop_assert_eq!(Amount::sum(amount.currency(), parts.iter().copied()), Ok(amount));
        prop_assert!(parts.is_sorted_by(|left, right| left.minor() >= right.minor()));
        let (first, last) = (parts[0].minor(), parts[count - 1].minor());
        prop_assert!(first - last <= amount.currency().multiple());
        prop_assert!(parts.iter().all(|part| part.minor() % amount.currency().multiple() == 0));
    }

    #[test]
    fn rounding_stays_within_its_bounds(minor in 0..1_u64 << 48, points in 0..20_000_u64, currency in any_currency()) {
        let step = currency.multiple();
        let amount = Amount::new(minor - minor % step, currency);
        let unit = 10_000 * u128::from(step);
        let exact = u128::from(amount.minor()) * u128::from(points);
        let scaled = |rounding| u128::from(amount.percentage(points, rounding).unwrap().minor()) * 10_000;

        let (down, up) = (scaled(Rounding::Down), scaled(Rounding::Up));
        prop_assert!(down <= exact && exact - down < unit);
        prop_assert!(up >= exact && up - exact < unit);
        let (half_up, half_even) = (scaled(Rounding::HalfUp), scaled(Rounding::HalfEven));
        prop_assert!(half_up.abs_diff(exact) * 2 <= unit && half_even.abs_diff(exact) * 2 <= unit);
        if (exact - down) * 2 == unit {
            prop_assert_eq!(half_up, up);
            prop_assert_eq!(half_even / unit % 2, 0);
        } else {
            prop_assert_eq!(half_up, half_even);
        }
    }

    #[test]
    fn a_share_and_its_rest_are_the_whole(amount in any_amount(), points in 0..=10_000_u64) {
        let share = amount.percentage(points, Rounding::Down).unwrap();
        let rest = amount.percentage(10_000 - points, Rounding::Up).unwrap();
        prop_assert_eq!(share.checked_add(rest), Ok(amount));
    }

    #[test]
    fn order_is_that_of_the_minor_units(left in any_amount(), minor in any::<u64>()) {
        let right = Amount::new(minor, left.currency());
        prop_assert_eq!(left.checked_cmp(right), Ok(left.minor().cmp(&minor)));
    }
}
