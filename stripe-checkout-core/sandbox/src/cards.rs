//! Stripe's test cards, and what each does.
//!
//! See <https://docs.stripe.com/testing>. A number that is not listed is refused, as Stripe's test mode refuses a real card: nobody should type one here.

/// A card that the sandbox knows.
#[derive(Debug, Clone, Copy)]
pub struct TestCard {
    number: &'static str,
    payment_method: &'static str,
    description: &'static str,
    pub(crate) brand: &'static str,
    pub(crate) funding: &'static str,
    pub(crate) behaviour: Behaviour,
}

impl TestCard {
    /// The number, digits only.
    pub fn number(&self) -> &'static str {
        self.number
    }

    /// The ready-made PaymentMethod with this card, like `pm_card_visa`.
    pub fn payment_method(&self) -> &'static str {
        self.payment_method
    }

    /// What paying with it does, in a few words.
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

/// What a card that needs 3-D Secure does where the buyer is away.
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
/// What a card that needs 3-D Secure answers where nobody is there to do it.
pub(crate) static AUTHENTICATION_REQUIRED: Decline = Decline {
    code: "authentication_required",
    ..declined(
        "authentication_required",
        "Your card was declined. This transaction requires authentication.",
    )
};

const fn card(
    number: &'static str,
    payment_method: &'static str,
    brand: &'static str,
    behaviour: Behaviour,
    description: &'static str,
) -> TestCard {
    TestCard {
        number,
        payment_method,
        description,
        brand,
        funding: "credit",
        behaviour,
    }
}

/// Every card that the sandbox knows. All are Stripe's own, but for `4000 0000 0000 1000`, which only the sandbox has: Stripe has no card whose payment stays
/// `processing`.
pub static TEST_CARDS: &[TestCard] = &[
    card(
        "4242424242424242",
        "pm_card_visa",
        "visa",
        Behaviour::Succeed,
        "succeeds",
    ),
    card(
        "4000000000000002",
        "pm_card_chargeDeclined",
        "visa",
        Behaviour::Decline(&GENERIC),
        "is declined",
    ),
    card(
        "4000000000009995",
        "pm_card_chargeDeclinedInsufficientFunds",
        "visa",
        Behaviour::Decline(&INSUFFICIENT_FUNDS),
        "is declined: insufficient funds",
    ),
    card(
        "4000000000000069",
        "pm_card_chargeDeclinedExpiredCard",
        "visa",
        Behaviour::Decline(&EXPIRED),
        "is declined: expired card",
    ),
    card(
        "4000000000000127",
        "pm_card_chargeDeclinedIncorrectCvc",
        "visa",
        Behaviour::Decline(&INCORRECT_CVC),
        "is declined: wrong security code",
    ),
    card(
        "4000000000000119",
        "pm_card_chargeDeclinedProcessingError",
        "visa",
        Behaviour::Decline(&PROCESSING_ERROR),
        "is declined: processing error",
    ),
    card(
        "4000000000009987",
        "pm_card_chargeDeclinedLostCard",
        "visa",
        Behaviour::Decline(&LOST),
        "is declined: lost card",
    ),
    card(
        "4000000000009979",
        "pm_card_chargeDeclinedStolenCard",
        "visa",
        Behaviour::Decline(&STOLEN),
        "is declined: stolen card",
    ),
    card(
        "4000000000006975",
        "pm_card_chargeDeclinedVelocityLimitExceeded",
        "visa",
        Behaviour::Decline(&VELOCITY),
        "is declined: used too often",
    ),
    card(
        "4100000000000019",
        "pm_card_chargeDeclinedFraudulent",
        "visa",
        Behaviour::Decline(&FRAUDULENT),
        "is blocked as fraudulent",
    ),
    card(
        "4000000000000341",
        "pm_card_chargeCustomerFail",
        "visa",
        Behaviour::DeclineCharges(&GENERIC),
        "can be saved, and is then declined",
    ),
    card(
        "4000002500003155",
        "pm_card_authenticationRequiredOnSetup",
        "visa",
        Behaviour::Authenticate {
            away: Away::IfSetUp,
            then: None,
        },
        "needs 3-D Secure, but not while the buyer is away, if it was saved for that",
    ),
    card(
        "4000002760003184",
        "pm_card_authenticationRequired",
        "visa",
        Behaviour::Authenticate {
            away: Away::Refused,
            then: None,
        },
        "always needs 3-D Secure",
    ),
    card(
        "4000003800000446",
        "pm_card_authenticationRequiredSetupForOffSession",
        "visa",
        Behaviour::Authenticate {
            away: Away::Accepted,
            then: None,
        },
        "needs 3-D Secure, but never while the buyer is away",
    ),
    card(
        "4000008260003178",
        "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
        "visa",
        Behaviour::Authenticate {
            away: Away::Accepted,
            then: Some(&INSUFFICIENT_FUNDS),
        },
        "needs 3-D Secure, and is then declined: insufficient funds",
    ),
    card(
        "4000000000003220",
        "pm_card_threeDSecure2Required",
        "visa",
        Behaviour::Authenticate {
            away: Away::Refused,
            then: None,
        },
        "needs 3-D Secure 2",
    ),
    card(
        "4000000000000077",
        "pm_card_bypassPending",
        "visa",
        Behaviour::Succeed,
        "succeeds, into the available balance",
    ),
    card(
        "4000000000000259",
        "pm_card_createDispute",
        "visa",
        Behaviour::Dispute,
        "succeeds, then is disputed",
    ),
    card(
        "4000000000002685",
        "pm_card_createDisputeProductNotReceived",
        "visa",
        Behaviour::DisputeNotReceived,
        "succeeds, then is disputed: not received",
    ),
    card(
        "4000000000001976",
        "pm_card_createDisputeInquiry",
        "visa",
        Behaviour::Inquiry,
        "succeeds, then the bank asks about it",
    ),
    card(
        "4000000000007726",
        "pm_card_pendingRefund",
        "visa",
        Behaviour::RefundLater,
        "succeeds; a refund is pending at first",
    ),
    card(
        "4000000000005126",
        "pm_card_refundFail",
        "visa",
        Behaviour::RefundComesBack,
        "succeeds; a refund fails later",
    ),
    card(
        "4000000000001000",
        "pm_card_sandboxProcessing",
        "visa",
        Behaviour::Process,
        "stays processing until the sandbox is told how it ends",
    ),
    card(
        "5555555555554444",
        "pm_card_mastercard",
        "mastercard",
        Behaviour::Succeed,
        "succeeds (Mastercard)",
    ),
    card(
        "2223003122003222",
        "pm_card_mastercard_2",
        "mastercard",
        Behaviour::Succeed,
        "succeeds (Mastercard, 2-series)",
    ),
    card(
        "378282246310005",
        "pm_card_amex",
        "amex",
        Behaviour::Succeed,
        "succeeds (American Express)",
    ),
    card(
        "6011111111111117",
        "pm_card_discover",
        "discover",
        Behaviour::Succeed,
        "succeeds (Discover)",
    ),
    card(
        "3056930009020004",
        "pm_card_diners",
        "diners",
        Behaviour::Succeed,
        "succeeds (Diners Club)",
    ),
    card(
        "3566002020360505",
        "pm_card_jcb",
        "jcb",
        Behaviour::Succeed,
        "succeeds (JCB)",
    ),
    card(
        "6200000000000005",
        "pm_card_unionpay",
        "unionpay",
        Behaviour::Succeed,
        "succeeds (UnionPay)",
    ),
    TestCard {
        funding: "debit",
        ..card(
            "4000056655665556",
            "pm_card_visa_debit",
            "visa",
            Behaviour::Succeed,
            "succeeds (debit)",
        )
    },
];

/// The card with this number.
pub(crate) fn by_number(digits: &str) -> Option<&'static TestCard> {
    TEST_CARDS.iter().find(|card| card.number == digits)
}

/// The card of a ready-made PaymentMethod. Stripe has the declines under a second name too, with the brand in it.
pub(crate) fn by_payment_method(id: &str) -> Option<&'static TestCard> {
    let plain = id.replace("pm_card_visa_charge", "pm_card_charge");
    TEST_CARDS
        .iter()
        .find(|card| card.payment_method == id || card.payment_method == plain)
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
    fn every_card_has_a_valid_number_and_its_own_names() {
        for (at, card) in TEST_CARDS.iter().enumerate() {
            assert!(has_valid_check_digit(card.number), "{}", card.number);
            for other in &TEST_CARDS[at + 1..] {
                assert_ne!(card.number, other.number);
                assert_ne!(card.payment_method, other.payment_method);
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
    fn the_longer_names_of_declines_are_the_same_cards() {
        assert_eq!(
            by_payment_method("pm_card_visa_chargeDeclined")
                .unwrap()
                .number,
            "4000000000000002"
        );
        assert!(by_payment_method("pm_card_nonsense").is_none());
    }
}
