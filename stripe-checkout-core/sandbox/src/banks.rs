//! Stripe's test bank accounts for SEPA Direct Debit, and the outcome of each.
//!
//! `testing-cards.json` lists every IBAN of
//! <https://docs.stripe.com/testing?payment-method=sepa-direct-debit>. The sandbox refuses any
//! other IBAN, because it could be a real one.

use serde::Deserialize;

use super::cards::{Decline, LISTED};

/// A bank account that the sandbox simulates.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct TestAccount {
    iban: &'static str,
    payment_method: &'static str,
    #[serde(rename = "says")]
    description: &'static str,
    does: Does,
    code: Option<&'static str>,
}

/// The outcome of a debit, with its name in the list.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Does {
    Settle,
    SettleLate,
    Fail,
    FailLate,
    Dispute,
}

impl TestAccount {
    /// Returns the IBAN, without spaces.
    pub fn iban(&self) -> &'static str {
        self.iban
    }

    /// Returns the ready-made PaymentMethod of this account, like `pm_sepaDebit_success_de`.
    pub fn payment_method(&self) -> &'static str {
        self.payment_method
    }

    /// Returns a short description of the outcome of a payment with this account.
    pub fn description(&self) -> &'static str {
        self.description
    }

    fn part(&self, range: std::ops::Range<usize>) -> &'static str {
        self.iban.get(range).unwrap_or_default()
    }

    /// Returns the two letters at the beginning of the IBAN.
    pub(crate) fn country(&self) -> &'static str {
        self.part(0..2)
    }

    /// Returns the number of the bank. Its length depends on the country (the registry of ISO
    /// 13616).
    pub(crate) fn bank_code(&self) -> &'static str {
        let length = match self.country() {
            "EE" => 2,
            "BE" | "FI" | "LU" | "SE" => 3,
            "ES" | "GB" | "GI" | "IE" | "NL" | "NO" | "PT" => 4,
            "AT" | "CH" | "FR" | "LI" | "LT" => 5,
            "HR" => 7,
            _ => 8,
        };
        self.part(4..4 + length)
    }

    /// Returns the outcome of a debit of this account.
    pub(crate) fn debit(&self) -> Debit {
        let why = FAILURES
            .into_iter()
            .find(|failure| Some(failure.code) == self.code)
            .unwrap_or(&FAILED);
        match self.does {
            Does::Settle => Debit::Settle,
            Does::SettleLate => Debit::SettleLate,
            Does::Fail => Debit::Fail(why),
            Does::FailLate => Debit::FailLate(why),
            Does::Dispute => Debit::Dispute,
        }
    }

    /// Returns the last four digits.
    pub(crate) fn last4(&self) -> &'static str {
        self.part(self.iban.len().saturating_sub(4)..self.iban.len())
    }
}

/// The outcome of a debit of an account, after a while.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Debit {
    Settle,
    /// Settles, and the buyer's bank then takes the money back.
    Dispute,
    Fail(&'static Decline),
    /// Settles three minutes later than others.
    SettleLate,
    FailLate(&'static Decline),
}

impl Debit {
    /// Returns the outcome, and whether it comes three minutes later than for others.
    pub(crate) fn end(self) -> (Result<(), &'static Decline>, bool) {
        match self {
            Self::Settle | Self::Dispute => (Ok(()), false),
            Self::SettleLate => (Ok(()), true),
            Self::Fail(why) => (Err(why), false),
            Self::FailLate(why) => (Err(why), true),
        }
    }
}

const fn failed(code: &'static str, message: &'static str) -> Decline {
    Decline {
        kind: "invalid_request_error",
        code,
        decline_code: None,
        message,
        param: None,
        advice_code: None,
        seller_message: "The bank refused the debit.",
    }
}

/// A failed debit for which the bank gives no reason.
pub(crate) static FAILED: Decline = failed(
    "payment_intent_payment_attempt_failed",
    "The payment failed: the debit was refused by the customer's bank.",
);
static INSUFFICIENT_FUNDS: Decline = failed(
    "insufficient_funds",
    "The customer's account has insufficient funds to cover this payment.",
);
static SOURCE_LIMIT: Decline = failed(
    "charge_exceeds_source_limit",
    "This payment exceeds the weekly volume limit of the customer's account.",
);
static WEEKLY_LIMIT: Decline = failed(
    "charge_exceeds_weekly_limit",
    "This payment exceeds the transaction limit of the customer's account.",
);

/// The failures for which the bank gives a reason.
static FAILURES: [&Decline; 3] = [&INSUFFICIENT_FUNDS, &SOURCE_LIMIT, &WEEKLY_LIMIT];

/// Returns every bank account that the sandbox simulates. All are Stripe's.
pub fn test_accounts() -> &'static [TestAccount] {
    &LISTED.ibans
}

/// Returns the account with this IBAN, which must have no spaces.
pub(crate) fn by_iban(iban: &str) -> Option<&'static TestAccount> {
    test_accounts()
        .iter()
        .find(|account| account.iban.eq_ignore_ascii_case(iban))
}

/// Returns the account of a ready-made PaymentMethod. Stripe also has a shorter name for each.
pub(crate) fn by_payment_method(id: &str) -> Option<&'static TestAccount> {
    test_accounts().iter().find(|account| {
        account.payment_method == id || account.payment_method.replace("sepaDebit_", "") == id
    })
}

/// Checks the check digits of an IBAN (ISO 7064, modulo 97).
pub(crate) fn has_valid_check_digits(iban: &str) -> bool {
    let Some((head, rest)) = iban.split_at_checked(4) else {
        return false;
    };
    let mut remainder = 0_u32;
    for character in rest.chars().chain(head.chars()) {
        let Some(value) = character.to_digit(36) else {
            return false;
        };
        let shift = if value > 9 { 100 } else { 10 };
        remainder = (remainder * shift + value) % 97;
    }
    (15..=34).contains(&iban.len()) && remainder == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_account_has_a_valid_number_and_its_own_names() {
        for (at, account) in test_accounts().iter().enumerate() {
            assert!(has_valid_check_digits(account.iban), "{}", account.iban);
            assert_eq!(by_iban(account.iban).unwrap().iban, account.iban);
            for other in &test_accounts()[at + 1..] {
                assert_ne!(account.iban, other.iban);
                assert_ne!(account.payment_method, other.payment_method);
            }
        }
    }

    #[test]
    fn check_digits() {
        for wrong in [
            "DE88370400440532013000",
            "DE8937040044053201300",
            "",
            "DE",
            "ÄÖÜ",
            "DE89 3704 0044 0532 0130 00",
        ] {
            assert!(!has_valid_check_digits(wrong), "{wrong}");
        }
        // A valid IBAN that is not on the list.
        assert!(has_valid_check_digits("GB29NWBK60161331926819"));
        assert!(by_iban("GB29NWBK60161331926819").is_none());
    }

    #[test]
    fn parts() {
        let german = by_payment_method("pm_success_de").unwrap();
        assert_eq!(
            (german.country(), german.bank_code(), german.last4()),
            ("DE", "37040044", "3000")
        );
        let french = by_iban("fr1420041010050500013m02606").unwrap();
        assert_eq!(
            (french.country(), french.bank_code(), french.last4()),
            ("FR", "20041", "2606")
        );
    }
}
