//! Amounts of money: whole minor units and a currency, nothing else.
//!
//! There are no floats and no negative amounts. No arithmetic wraps or mixes currencies without an
//! error. In a shop, each of these would lose money.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::currency::Currency;

/// The default for the largest amount that a checkout charges: 999,999,999,999 minor units.
///
/// These are the twelve digits that [Stripe
/// accepts](https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts) for most cards.
pub const DEFAULT_CAP: u64 = 999_999_999_999;

/// The denominator of a percentage: 10,000 basis points are 100 %.
const BASIS_POINTS: u128 = 10_000;

/// Why an amount could not be made or computed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AmountError {
    /// The text is not a plain decimal number such as `12` or `12.50`.
    #[error("not an amount: write digits, with a point before the minor units, like \"12.50\"")]
    Malformed,
    /// Amounts are never negative.
    #[error("an amount is never negative")]
    Negative,
    /// The text has more decimal places than the currency has.
    #[error("{currency} has {allowed} decimal places, not {given}")]
    TooPrecise {
        /// The requested currency.
        currency: Currency,
        /// How many decimal places the currency has.
        allowed: u8,
        /// How many the text has.
        given: usize,
    },
    /// Stripe accepts this currency only in whole multiples: 100 minor units of ISK and UGX.
    #[error("Stripe takes {currency} in multiples of {multiple} minor units only")]
    NotAMultiple {
        /// The currency.
        currency: Currency,
        /// The number of minor units of which the amount must be a multiple.
        multiple: u64,
    },
    /// Two currencies were mixed.
    #[error("{left} and {right} cannot be mixed")]
    CurrencyMismatch {
        /// The currency on the left.
        left: Currency,
        /// The currency on the right.
        right: Currency,
    },
    /// The result does not fit: too large, or below zero.
    #[error("the result is out of range")]
    OutOfRange,
    /// The amount is zero.
    #[error("the amount is zero: there is nothing to pay")]
    Zero,
    /// The amount is above the cap.
    #[error("the amount is above the cap of {cap} minor units")]
    AboveCap {
        /// The cap in minor units.
        cap: u64,
    },
    /// An amount cannot be split into zero parts.
    #[error("an amount can be split into one part or more, not into none")]
    NoParts,
}

/// An amount of money: a whole number of the currency's minor units (cents), never negative.
///
/// serde reads and writes it in the format of Stripe's API: `{"amount": 1999, "currency": "eur"}`.
///
/// Two amounts have an order only within one currency, so there is no `<`. Use
/// [`checked_cmp`](Self::checked_cmp).
///
/// ```
/// use stripe_checkout_core::{Amount, Currency, Rounding};
///
/// let price = Amount::parse_major("19.99", Currency::EUR)?;
/// assert_eq!(price, Amount::new(1999, Currency::EUR));
///
/// let goods = price.times(3)?;
/// let tax = goods.percentage(1900, Rounding::HalfUp)?; // 19 %
/// let total = Amount::sum(Currency::EUR, [goods, tax])?;
/// assert_eq!(total.to_string(), "71.36 EUR");
///
/// assert!(price.checked_add(Amount::new(500, Currency::USD)).is_err());
/// # Ok::<(), stripe_checkout_core::AmountError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Amount {
    #[serde(rename = "amount")]
    minor: u64,
    currency: Currency,
}

/// How a percentage rounds a fraction of a minor unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rounding {
    /// Away from zero, if there is any remainder.
    Up,
    /// Towards zero: drops the remainder.
    Down,
    /// To the nearest; exactly half rounds up. Most tax offices require this.
    HalfUp,
    /// To the nearest; exactly half rounds to the even neighbour (banker's rounding).
    ///
    /// Many roundings then do not add up to a bias in one direction.
    HalfEven,
}

impl Amount {
    /// The largest number of parts of a [`split`](Self::split).
    ///
    /// A larger number would be a mistake, and its list could fill the memory.
    pub const MAX_PARTS: usize = 100_000;

    /// An amount of `minor` minor units of a currency.
    ///
    /// `Amount::new(1999, Currency::EUR)` is 19.99 EUR, `Amount::new(500, Currency::JPY)` is 500
    /// JPY.
    pub const fn new(minor: u64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Zero in a currency.
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// The amount in minor units, as Stripe's API expects it.
    pub const fn minor(self) -> u64 {
        self.minor
    }

    /// The currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Whether the amount is zero.
    pub const fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// Parses major units exactly.
    ///
    /// `"19.99"` of EUR is 1999 minor units, `"500"` of JPY is 500, `"5"` of ISK is 500.
    ///
    /// The text consists of ASCII digits and an optional point with digits after it. It has no more
    /// digits after the point than the currency has [decimal places](Currency::decimals). Signs,
    /// white space, thousands separators and exponents are errors. If people type the amounts, your
    /// code must know how they use a comma.
    ///
    /// # Errors
    /// [`Malformed`](AmountError::Malformed), [`Negative`](AmountError::Negative),
    /// [`TooPrecise`](AmountError::TooPrecise), [`NotAMultiple`](AmountError::NotAMultiple) for a
    /// fraction of ISK or UGX, and [`OutOfRange`](AmountError::OutOfRange) above `u64::MAX` minor
    /// units.
    ///
    /// ```
    /// use stripe_checkout_core::{Amount, AmountError, Currency};
    ///
    /// assert_eq!(Amount::parse_major("12.5", Currency::USD)?.minor(), 1250);
    /// assert_eq!(Amount::parse_major("12.345", Currency::KWD)?.minor(), 12_345);
    /// assert_eq!(
    ///     Amount::parse_major("12.50", Currency::JPY),
    ///     Err(AmountError::TooPrecise { currency: Currency::JPY, allowed: 0, given: 2 }),
    /// );
    /// # Ok::<(), AmountError>(())
    /// ```
    pub fn parse_major(text: &str, currency: Currency) -> Result<Self, AmountError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return Err(AmountError::Malformed),
            Some(parts) => parts,
            None => (digits, ""),
        };
        if whole.is_empty()
            || !whole
                .bytes()
                .chain(fraction.bytes())
                .all(|byte| byte.is_ascii_digit())
        {
            return Err(AmountError::Malformed);
        }
        if negative {
            return Err(AmountError::Negative);
        }
        let allowed = currency.decimals();
        let Some(missing) = usize::from(allowed).checked_sub(fraction.len()) else {
            return Err(AmountError::TooPrecise {
                currency,
                allowed,
                given: fraction.len(),
            });
        };

        let minor = whole
            .bytes()
            .chain(fraction.bytes())
            .chain(std::iter::repeat_n(b'0', missing))
            .try_fold(0_u64, |minor, digit| {
                minor.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
            })
            .ok_or(AmountError::OutOfRange)?;
        Self::new(minor, currency).in_whole_steps()
    }

    /// The exact amount in major units, with all decimal places of the currency.
    ///
    /// Examples are `"19.99"`, `"500"` and `"1.250"`. This format is for machines and logs. The
    /// page formats amounts for buyers, in the buyer's own language.
    pub fn to_major(self) -> String {
        let decimals = self.currency.decimals();
        let unit = 10_u64.pow(u32::from(decimals));
        match decimals {
            0 => self.minor.to_string(),
            _ => format!(
                "{}.{:0width$}",
                self.minor / unit,
                self.minor % unit,
                width = usize::from(decimals)
            ),
        }
    }

    /// The sum of two amounts.
    ///
    /// # Errors
    /// [`CurrencyMismatch`](AmountError::CurrencyMismatch) and
    /// [`OutOfRange`](AmountError::OutOfRange).
    pub fn checked_add(self, other: Self) -> Result<Self, AmountError> {
        self.same_currency(other)?;
        self.with_minor(self.minor.checked_add(other.minor))
    }

    /// The difference of two amounts.
    ///
    /// # Errors
    /// [`CurrencyMismatch`](AmountError::CurrencyMismatch), and
    /// [`OutOfRange`](AmountError::OutOfRange) if the result would be below zero.
    pub fn checked_sub(self, other: Self) -> Result<Self, AmountError> {
        self.same_currency(other)?;
        self.with_minor(self.minor.checked_sub(other.minor))
    }

    /// Compares two amounts of one currency.
    ///
    /// # Errors
    /// [`CurrencyMismatch`](AmountError::CurrencyMismatch).
    ///
    /// ```
    /// use std::cmp::Ordering;
    /// use stripe_checkout_core::{Amount, Currency};
    ///
    /// let paid = Amount::new(1999, Currency::EUR);
    /// assert_eq!(paid.checked_cmp(Amount::new(2000, Currency::EUR)), Ok(Ordering::Less));
    /// assert!(paid.checked_cmp(Amount::new(2000, Currency::JPY)).is_err());
    /// ```
    pub fn checked_cmp(self, other: Self) -> Result<Ordering, AmountError> {
        self.same_currency(other)?;
        Ok(self.minor.cmp(&other.minor))
    }

    /// The amount multiplied by a quantity, for example a price by a number of pieces.
    ///
    /// # Errors
    /// [`OutOfRange`](AmountError::OutOfRange).
    pub fn times(self, quantity: u64) -> Result<Self, AmountError> {
        self.with_minor(self.minor.checked_mul(quantity))
    }

    /// The sum of any number of amounts, including none.
    ///
    /// You name the currency, so that an empty sum has one too.
    ///
    /// # Errors
    /// [`CurrencyMismatch`](AmountError::CurrencyMismatch) and
    /// [`OutOfRange`](AmountError::OutOfRange).
    pub fn sum(
        currency: Currency,
        amounts: impl IntoIterator<Item = Self>,
    ) -> Result<Self, AmountError> {
        amounts
            .into_iter()
            .try_fold(Self::zero(currency), Self::checked_add)
    }

    /// A share of the amount in basis points: 100 are 1 %, 1,900 are 19 %, 10,000 are the whole.
    ///
    /// The result is rounded to Stripe's [step](Currency::multiple) in this currency: one minor
    /// unit in most, 100 in ISK and UGX, 10 in those with three decimals. If the amount is not a
    /// multiple of the step, the result is rounded to whole minor units.
    ///
    /// # Errors
    /// [`OutOfRange`](AmountError::OutOfRange).
    ///
    /// ```
    /// use stripe_checkout_core::{Amount, Currency, Rounding};
    ///
    /// let price = Amount::new(1050, Currency::USD);
    /// assert_eq!(price.percentage(500, Rounding::HalfUp)?.minor(), 53); // 52.5
    /// assert_eq!(price.percentage(500, Rounding::HalfEven)?.minor(), 52);
    /// # Ok::<(), stripe_checkout_core::AmountError>(())
    /// ```
    pub fn percentage(self, basis_points: u64, rounding: Rounding) -> Result<Self, AmountError> {
        let step = self.step();
        let divisor = BASIS_POINTS * u128::from(step);
        // Two factors of 64 bits always fit into 128.
        let exact = u128::from(self.minor) * u128::from(basis_points);
        let (steps, rest) = (exact / divisor, exact % divisor);
        let half = (rest * 2).cmp(&divisor);
        let up = match rounding {
            Rounding::Up => rest > 0,
            Rounding::Down => false,
            Rounding::HalfUp => half.is_ge(),
            Rounding::HalfEven => half.is_gt() || (half.is_eq() && steps % 2 == 1),
        };
        let minor = (steps + u128::from(up)) * u128::from(step);
        self.with_minor(u64::try_from(minor).ok())
    }

    /// Splits the amount into `parts` parts that are as equal as possible, the larger ones first.
    ///
    /// The parts add up to the amount: no minor unit is lost. Parts stay multiples of Stripe's
    /// [step](Currency::multiple) in this currency if the amount itself is one.
    ///
    /// # Errors
    /// [`NoParts`](AmountError::NoParts) for zero parts, [`OutOfRange`](AmountError::OutOfRange)
    /// for more than [`MAX_PARTS`](Self::MAX_PARTS).
    ///
    /// ```
    /// use stripe_checkout_core::{Amount, Currency};
    ///
    /// let parts = Amount::new(1000, Currency::EUR).split(3)?;
    /// assert_eq!(parts.iter().map(|part| part.minor()).collect::<Vec<_>>(), [334, 333, 333]);
    /// # Ok::<(), stripe_checkout_core::AmountError>(())
    /// ```
    pub fn split(self, parts: usize) -> Result<Vec<Self>, AmountError> {
        if parts == 0 {
            return Err(AmountError::NoParts);
        }
        if parts > Self::MAX_PARTS {
            return Err(AmountError::OutOfRange);
        }
        let step = self.step();
        let count = parts as u64; // At most MAX_PARTS.
        let (share, larger) = (self.minor / step / count, self.minor / step % count);
        Ok((0..count)
            .map(|index| Self::new((share + u64::from(index < larger)) * step, self.currency))
            .collect())
    }

    /// Stripe's [minimum charge](Currency::minimum), if the amount is below it.
    ///
    /// Use it to warn, not to refuse.
    pub fn below_minimum(self) -> Option<Self> {
        self.currency
            .minimum()
            .filter(|minimum| self.minor < minimum.minor)
    }

    /// Stripe's [multiple](Currency::multiple) for this currency, if the amount does not fit it.
    ///
    /// Use it to warn. For ISK and UGX, [`chargeable`](Self::chargeable) refuses such an amount.
    pub fn off_multiple(self) -> Option<u64> {
        let multiple = self.currency.multiple();
        (!self.minor.is_multiple_of(multiple)).then_some(multiple)
    }

    /// Checks whether Stripe can charge this amount.
    ///
    /// It must be more than zero and at most `cap` minor units (see [`DEFAULT_CAP`]). In ISK and
    /// UGX it must be a whole number of major units.
    ///
    /// # Errors
    /// [`AmountError::Zero`], [`AmountError::AboveCap`], or [`AmountError::NotAMultiple`].
    pub fn chargeable(self, cap: u64) -> Result<(), AmountError> {
        if self.is_zero() {
            return Err(AmountError::Zero);
        }
        if self.minor > cap {
            return Err(AmountError::AboveCap { cap });
        }
        self.in_whole_steps()?;
        Ok(())
    }

    /// Refuses a fraction of a major unit of ISK or UGX, which Stripe certainly refuses.
    pub(crate) fn in_whole_steps(self) -> Result<Self, AmountError> {
        let multiple = self.currency.step();
        if self.minor.is_multiple_of(multiple) {
            Ok(self)
        } else {
            Err(AmountError::NotAMultiple {
                currency: self.currency,
                multiple,
            })
        }
    }

    /// The step of this amount's shares.
    ///
    /// An amount that is not a multiple of Stripe's step is divided to the minor unit.
    fn step(self) -> u64 {
        match self.off_multiple() {
            None => self.currency.multiple(),
            Some(_) => 1,
        }
    }

    fn same_currency(self, other: Self) -> Result<(), AmountError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(AmountError::CurrencyMismatch {
                left: self.currency,
                right: other.currency,
            })
        }
    }

    fn with_minor(self, minor: Option<u64>) -> Result<Self, AmountError> {
        minor
            .map(|minor| Self::new(minor, self.currency))
            .ok_or(AmountError::OutOfRange)
    }
}

/// Major units and the code: `19.99 EUR`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.to_major(), self.currency))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Currency {
    /// Stripe's minimum charge, if Stripe has one.
    ///
    /// See <https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts>. The minimum
    /// applies to the currency in which the account is *settled*. This crate does not know that
    /// currency, so use the minimum to warn, not to refuse.
    pub const fn minimum(self) -> Option<Amount> {
        match self.minimum_minor() {
            Some(minor) => Some(Amount::new(minor, self)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests;
