//! `Amount::parse_major` against whole numbers, and the arithmetic of amounts against 128 bits.

use stripe_checkout_core::{Amount, AmountError, Currency, DEFAULT_CAP, Rounding};

/// Stripe's currencies without decimals, and those with three. All others have two.
const ZERO_DECIMALS: &str = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF";
const THREE_DECIMALS: &str = "BHD JOD KWD OMR TND";
/// Two decimals at Stripe, and whole units in life.
const WHOLE_UNITS: &str = "ISK UGX";

/// Reads an amount. The first byte chooses the currency.
pub fn check(input: &[u8]) {
    let Some((first, text)) = input.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let currency = Currency::KNOWN[usize::from(*first) % Currency::KNOWN.len()];
    let rules = Rules::of(currency);
    let found = Amount::parse_major(text, currency);
    match (found, rules.read(text)) {
        (Ok(amount), Ok(minor)) => {
            assert_eq!((amount.minor(), amount.currency()), (minor, currency));
            let printed = amount.to_major();
            assert_eq!(printed, rules.print(minor));
            assert_eq!(Amount::parse_major(&printed, currency), Ok(amount));
            check_arithmetic(amount, &rules, u64::from(*first));
        }
        (Err(found), Err(expected)) => {
            let name = |error: &AmountError| std::mem::discriminant(error);
            assert_eq!(name(&found), name(&expected), "{text:?}: {found:?}");
            assert!(!found.to_string().is_empty());
        }
        (found, expected) => panic!("{text:?} of {currency}: {found:?}, not {expected:?}"),
    }
}

struct Rules {
    currency: Currency,
    decimals: usize,
    /// The step of amounts that Stripe certainly refuses in between.
    step: u64,
}

impl Rules {
    fn of(currency: Currency) -> Self {
        let code = currency.to_string();
        let decimals = match () {
            () if ZERO_DECIMALS.contains(&code) => 0,
            () if THREE_DECIMALS.contains(&code) => 3,
            () => 2,
        };
        Self {
            currency,
            decimals,
            step: if WHOLE_UNITS.contains(&code) { 100 } else { 1 },
        }
    }

    /// The minor units, from the text itself.
    fn read(&self, text: &str) -> Result<u64, AmountError> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let parts: Vec<&str> = unsigned.split('.').collect();
        let is_number = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        if parts.len() > 2 || !parts.iter().all(is_number) {
            return Err(AmountError::Malformed);
        }
        if unsigned != text {
            return Err(AmountError::Negative);
        }
        let fraction = parts.get(1).copied().unwrap_or_default();
        if fraction.len() > self.decimals {
            return Err(AmountError::TooPrecise {
                currency: self.currency,
                allowed: 0,
                given: 0,
            });
        }
        let digits = format!("{}{fraction:0<width$}", parts[0], width = self.decimals);
        let digits = digits.trim_start_matches('0');
        if digits.len() > 20 {
            return Err(AmountError::OutOfRange);
        }
        let number: u128 = format!("0{digits}").parse().unwrap_or(u128::MAX);
        let minor = u64::try_from(number).map_err(|_| AmountError::OutOfRange)?;
        if minor % self.step != 0 {
            return Err(AmountError::NotAMultiple {
                currency: self.currency,
                multiple: self.step,
            });
        }
        Ok(minor)
    }

    fn print(&self, minor: u64) -> String {
        let digits = format!("{minor:0>width$}", width = self.decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - self.decimals);
        match fraction {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        }
    }

    /// The step in which shares are made.
    fn share_step(&self, minor: u64) -> u64 {
        let step = match self.decimals {
            3 => 10,
            _ => self.step,
        };
        if minor.is_multiple_of(step) { step } else { 1 }
    }
}

fn check_arithmetic(amount: Amount, rules: &Rules, other: u64) {
    let currency = amount.currency();
    let minor = u128::from(amount.minor());
    let known = |result: Result<Amount, AmountError>, expected: Option<u128>| {
        let expected = expected.and_then(|minor| u64::try_from(minor).ok());
        assert_eq!(
            result.ok().map(Amount::minor),
            expected,
            "{amount}, {other}"
        );
    };
    let second = Amount::new(other * other, currency);
    let wide = u128::from(second.minor());
    known(amount.checked_add(second), Some(minor + wide));
    known(amount.checked_sub(second), minor.checked_sub(wide));
    known(amount.times(other), Some(minor * u128::from(other)));
    known(
        Amount::sum(currency, [amount, second, second]),
        Some(minor + 2 * wide),
    );
    assert_eq!(amount.checked_cmp(second), Ok(minor.cmp(&wide)));

    let foreign = match currency {
        Currency::EUR => Currency::USD,
        _ => Currency::EUR,
    };
    let foreign = Amount::new(1, foreign);
    let mixed = Err(AmountError::CurrencyMismatch {
        left: currency,
        right: foreign.currency(),
    });
    assert_eq!(amount.checked_add(foreign), mixed);
    assert!(amount.checked_sub(foreign).is_err() && amount.checked_cmp(foreign).is_err());
    assert!(Amount::sum(currency, [amount, foreign]).is_err());

    let step = rules.share_step(amount.minor());
    let divisor = 10_000 * u128::from(step);
    let exact = minor * wide;
    let (steps, rest) = (exact / divisor, exact % divisor);
    for (rounding, up) in [
        (Rounding::Down, false),
        (Rounding::Up, rest > 0),
        (Rounding::HalfUp, 2 * rest >= divisor),
        (
            Rounding::HalfEven,
            2 * rest > divisor || (2 * rest == divisor && steps % 2 == 1),
        ),
    ] {
        let share = (steps + u128::from(up)) * u128::from(step);
        known(amount.percentage(second.minor(), rounding), Some(share));
    }

    let count = usize::try_from(other % 8).unwrap_or_default();
    match amount.split(count) {
        Ok(parts) => {
            assert_eq!(parts.len(), count);
            assert_eq!(Amount::sum(currency, parts.iter().copied()), Ok(amount));
            let minors = || parts.iter().map(|part| part.minor());
            let (least, most) = (minors().min(), minors().max());
            assert!(most.unwrap_or_default() - least.unwrap_or_default() <= step);
            assert!(minors().all(|part| part % step == 0) && minors().is_sorted_by(|a, b| a >= b));
        }
        Err(error) => assert_eq!((error, count), (AmountError::NoParts, 0)),
    }
    assert!(amount.split(Amount::MAX_PARTS + 1).is_err());

    let chargeable = minor > 0 && minor <= u128::from(DEFAULT_CAP);
    assert_eq!(amount.chargeable(DEFAULT_CAP).is_ok(), chargeable);
    assert_eq!(
        second.chargeable(u64::MAX).is_ok(),
        other > 0 && second.minor().is_multiple_of(rules.step)
    );
    let least = amount.below_minimum();
    assert!(least.is_none_or(|least| least.minor() > amount.minor()));
    assert_eq!(
        amount.off_multiple().is_none(),
        minor % u128::from(currency.multiple()) == 0
    );
    assert_eq!(
        Amount::zero(currency).is_zero(),
        !Amount::new(1, currency).is_zero()
    );
    assert_eq!(
        format!("{amount:?}"),
        format!("{} {currency}", amount.to_major())
    );
}
