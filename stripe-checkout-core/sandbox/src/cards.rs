//! Stripe's test cards, and what each does.
//!
//! `testing-cards.json` lists every card number of <https://docs.stripe.com/testing>. The sandbox
//! simulates most of them and refuses the others by name. A number that is not listed is refused
//! like a real card in Stripe's test mode.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::banks::TestAccount;

/// Everything in `testing-cards.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(bound(deserialize = "'de: 'static"))]
pub(crate) struct Listed {
    cards: Vec<Row>,
    cards_of_the_sandbox_alone: Vec<Row>,
    pub(crate) ibans: Vec<TestAccount>,
}

/// The file, read once. A test shows that it can be read.
pub(crate) static LISTED: LazyLock<Listed> =
    LazyLock::new(|| serde_json::from_str(include_str!("testing-cards.json")).unwrap_or_default());

/// One line of the file.
#[derive(Debug, Deserialize)]
struct Row {
    number: &'static str,
    says: &'static str,
    payment_method: Option<&'static str>,
    /// More names of the ready-made PaymentMethod.
    #[serde(default)]
    also: Vec<&'static str>,
    brand: Option<&'static str>,
    funding: Option<&'static str>,
    country: Option<&'static str>,
    does: Option<&'static str>,
    code: Option<&'static str>,
    decline_code: Option<&'static str>,
    reason: Option<&'static str>,
    off_session: Option<&'static str>,
}

impl Row {
    /// The card that the sandbox simulates, if it does.
    fn simulated(&self) -> Option<TestCard> {
        Some(TestCard {
            number: self.number,
            payment_method: self.payment_method,
            description: self.says,
            brand: self.brand?,
            funding: self.funding?,
            country: self.country?,
            behaviour: self.behaviour()?,
        })
    }

    fn behaviour(&self) -> Option<Behaviour> {
        Some(match self.does? {
            "succeed" => Behaviour::Succeed,
            "available_at_once" => Behaviour::AvailableAtOnce,
            "dispute" if self.reason == Some("product_not_received") => {
                Behaviour::DisputeNotReceived
            }
            "dispute" => Behaviour::Dispute,
            "inquiry" => Behaviour::Inquiry,
            "refund_later" => Behaviour::RefundLater,
            "refund_fails" => Behaviour::RefundComesBack,
            "process" => Behaviour::Process,
            "decline" => Behaviour::Decline(self.decline()?),
            "decline_charges" => Behaviour::DeclineCharges(self.decline()?),
            "authenticate" => Behaviour::Authenticate {
                away: match self.off_session? {
                    "never" => Away::Refused,
                    "if_set_up" => Away::IfSetUp,
                    "always" => Away::Accepted,
                    _ => return None,
                },
                then: self.decline(),
            },
            _ => return None,
        })
    }

    fn decline(&self) -> Option<&'static Decline> {
        DECLINES.into_iter().find(|decline| {
            Some(decline.code) == self.code
                && (self.decline_code.is_none() || decline.decline_code == self.decline_code)
        })
    }

    /// Whether this is a name of its ready-made PaymentMethod. Stripe knows the declines with and
    /// without the brand in their names.
    fn is_called(&self, name: &str) -> bool {
        let plain = |name: &str| name.replace("pm_card_visa_charge", "pm_card_charge");
        self.payment_method
            .iter()
            .chain(&self.also)
            .any(|own| plain(own) == plain(name))
    }
}

/// A card that the sandbox simulates.
#[derive(Debug, Clone, Copy)]
pub struct TestCard {
    number: &'static str,
    payment_method: Option<&'static str>,
    description: &'static str,
    pub(crate) brand: &'static str,
    pub(crate) funding: &'static str,
    pub(crate) country: &'static str,
    pub(crate) behaviour: Behaviour,
}

impl TestCard {
    /// The number, digits only.
    pub fn number(&self) -> &'static str {
        self.number
    }

    /// The ready-made PaymentMethod with this card, such as `pm_card_visa`. Stripe does not have
    /// one for every card.
    pub fn payment_method(&self) -> Option<&'static str> {
        self.payment_method
    }

    /// What the card simulates, in a few words.
    pub fn description(&self) -> &'static str {
        self.description
    }

    /// The last four digits.
    pub(crate) fn last4(&self) -> &'static str {
        self.number
            .get(self.number.len().saturating_sub(4)..)
            .unwrap_or(self.number)
    }
}

/// What a charge on a card comes to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Behaviour {
    Succeed,
    /// Succeeds, and the money is available without a wait.
    AvailableAtOnce,
    /// Succeeds, and the buyer's bank then disputes it.
    Dispute,
    /// Succeeds, and the buyer then says that nothing came.
    DisputeNotReceived,
    /// Succeeds, and the buyer's bank then asks about it.
    Inquiry,
    /// Succeeds; a refund of it is pending for a while.
    RefundLater,
    /// Succeeds; a refund of it comes back after a while.
    RefundComesBack,
    /// Stays `processing` until the test says how it ends.
    Process,
    /// Needs 3-D Secure, and then succeeds or is declined after all.
    Authenticate {
        away: Away,
        then: Option<&'static Decline>,
    },
    Decline(&'static Decline),
    /// Can be saved, but every charge of it is declined.
    DeclineCharges(&'static Decline),
}

/// The answer of a card that needs 3-D Secure to an off-session charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Away {
    /// It always needs it.
    Refused,
    /// It does not if it was set up for that.
    IfSetUp,
    /// It never does.
    Accepted,
}

/// Why an issuer says no.
#[derive(Debug)]
pub(crate) struct Decline {
    /// The error's `type`.
    pub(crate) kind: &'static str,
    pub(crate) code: &'static str,
    /// Only issuers of cards have one.
    pub(crate) decline_code: Option<&'static str>,
    pub(crate) message: &'static str,
    pub(crate) param: Option<&'static str>,
    pub(crate) advice_code: Option<&'static str>,
    pub(crate) seller_message: &'static str,
}

const NO_DETAILS: &str = "The bank did not return any further details with this decline.";

const fn declined(decline_code: &'static str, message: &'static str) -> Decline {
    Decline {
        kind: "card_error",
        code: "card_declined",
        decline_code: Some(decline_code),
        message,
        param: None,
        advice_code: Some("try_again_later"),
        seller_message: NO_DETAILS,
    }
}

pub(crate) static GENERIC: Decline = declined("generic_decline", "Your card was declined.");
static INSUFFICIENT_FUNDS: Decline =
    declined("insufficient_funds", "Your card has insufficient funds.");
static LOST: Decline = Decline {
    advice_code: Some("do_not_try_again"),
    ..declined("lost_card", "Your card was declined.")
};
static STOLEN: Decline = Decline {
    advice_code: Some("do_not_try_again"),
    ..declined("stolen_card", "Your card was declined.")
};
static VELOCITY: Decline = declined(
    "card_velocity_exceeded",
    "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
);
static FRAUDULENT: Decline = Decline {
    advice_code: Some("do_not_try_again"),
    seller_message: "Stripe blocked this payment as too risky.",
    ..declined("fraudulent", "Your card was declined.")
};
static EXPIRED: Decline = Decline {
    code: "expired_card",
    param: Some("exp_month"),
    advice_code: Some("confirm_card_data"),
    ..declined("expired_card", "Your card has expired.")
};
static INCORRECT_CVC: Decline = Decline {
    code: "incorrect_cvc",
    param: Some("cvc"),
    advice_code: Some("confirm_card_data"),
    ..declined("incorrect_cvc", "Your card's security code is incorrect.")
};
static PROCESSING_ERROR: Decline = Decline {
    code: "processing_error",
    ..declined(
        "processing_error",
        "An error occurred while processing your card. Try again in a little bit.",
    )
};
/// The decline of a card that needs 3-D Secure where no buyer can complete it.
pub(crate) static AUTHENTICATION_REQUIRED: Decline = Decline {
    code: "authentication_required",
    ..declined(
        "authentication_required",
        "Your card was declined. This transaction requires authentication.",
    )
};

/// Every way in which a test card is declined.
static DECLINES: [&Decline; 9] = [
    &GENERIC,
    &INSUFFICIENT_FUNDS,
    &LOST,
    &STOLEN,
    &VELOCITY,
    &FRAUDULENT,
    &EXPIRED,
    &INCORRECT_CVC,
    &PROCESSING_ERROR,
];

static SIMULATED: LazyLock<Vec<TestCard>> = LazyLock::new(|| {
    let rows = LISTED
        .cards
        .iter()
        .chain(&LISTED.cards_of_the_sandbox_alone);
    rows.filter_map(Row::simulated).collect()
});

/// Every card that the sandbox simulates. All are Stripe's, except `4000 0000 0000 1000`, which
/// only the sandbox has: Stripe has no card whose payment stays `processing`.
pub fn test_cards() -> &'static [TestCard] {
    &SIMULATED
}

/// A card of Stripe's testing page: simulated, or only known by name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Known {
    Simulated(&'static TestCard),
    /// Stripe's testing page lists it, and the sandbox does not simulate it.
    Listed,
}

fn known(is_it: impl Fn(&Row) -> bool) -> Option<Known> {
    let mut rows = LISTED
        .cards
        .iter()
        .chain(&LISTED.cards_of_the_sandbox_alone);
    let row = rows.find(|row| is_it(row))?;
    let simulated = SIMULATED.iter().find(|card| card.number == row.number);
    Some(simulated.map_or(Known::Listed, Known::Simulated))
}

/// The card with this number.
pub(crate) fn by_number(digits: &str) -> Option<Known> {
    known(|row| row.number == digits)
}

/// The card of a ready-made PaymentMethod.
pub(crate) fn by_payment_method(name: &str) -> Option<Known> {
    known(|row| row.is_called(name))
}

/// The check digit of every card number (Luhn).
pub(crate) fn has_valid_check_digit(digits: &str) -> bool {
    let mut sum = 0_u32;
    for (place, digit) in digits.chars().rev().enumerate() {
        let Some(digit) = digit.to_digit(10) else {
            return false;
        };
        sum = sum.saturating_add(match place % 2 {
            0 => digit,
            _ if digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        });
    }
    (12..=19).contains(&digits.len()) && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_can_be_read_and_every_line_is_understood() {
        assert_eq!((LISTED.cards.len(), LISTED.ibans.len()), (147, 152));
        for row in LISTED
            .cards
            .iter()
            .chain(&LISTED.cards_of_the_sandbox_alone)
        {
            assert!(has_valid_check_digit(row.number), "{}", row.number);
            assert_eq!(row.does.is_some(), row.simulated().is_some(), "{row:?}");
        }
    }

    #[test]
    fn every_card_has_a_number_and_names_of_its_own() {
        let rows: Vec<&Row> = LISTED
            .cards
            .iter()
            .chain(&LISTED.cards_of_the_sandbox_alone)
            .collect();
        for (at, row) in rows.iter().enumerate() {
            for other in &rows[at + 1..] {
                assert_ne!(row.number, other.number);
                for name in other.payment_method.iter().chain(&other.also) {
                    assert!(!row.is_called(name), "{name}");
                }
            }
        }
    }

    #[test]
    fn check_digits() {
        assert!(!has_valid_check_digit("4242424242424241"));
        assert!(!has_valid_check_digit(""));
        assert!(!has_valid_check_digit("42424242x4242424"));
    }

    #[test]
    fn declines_have_a_longer_and_a_shorter_name() {
        for name in ["pm_card_visa_chargeDeclined", "pm_card_chargeDeclined"] {
            let Some(Known::Simulated(card)) = by_payment_method(name) else {
                panic!("{name}")
            };
            assert_eq!(card.number, "4000000000000002");
        }
        assert!(matches!(
            by_payment_method("pm_card_avsFail"),
            Some(Known::Listed)
        ));
        assert!(by_payment_method("pm_card_nonsense").is_none());
    }
}
