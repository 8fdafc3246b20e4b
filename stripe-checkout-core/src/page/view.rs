//! What the templates are told. A merchant's own templates rely on these names: add, never rename.

use serde::{Serialize, Serializer};

use crate::amount::Amount;
use crate::currency::Currency;

/// One line of the order's summary.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct LineView<'a> {
    /// What is bought.
    pub(crate) name: &'a str,
    /// How many of it.
    pub(crate) quantity: u64,
    /// What the whole line costs.
    #[serde(serialize_with = "money")]
    pub(crate) amount: Amount,
}

/// Everything that `checkout.html` shows.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct CheckoutView<'a> {
    /// The shop's name.
    pub(crate) shop: &'a str,
    /// What is to pay.
    #[serde(serialize_with = "money")]
    pub(crate) amount: Amount,
    /// What the order consists of. None at all makes a page with a total only.
    pub(crate) lines: &'a [LineView<'a>],
    /// For Stripe.js. A test key makes the page say so.
    pub(crate) publishable_key: &'a str,
    /// The connected account on which is paid, for Stripe.js too.
    pub(crate) stripe_account: Option<&'a str>,
    /// Where Stripe.js is.
    pub(crate) stripe_js_url: &'a str,
    /// Where the order can be seen: offered when it turns out to be paid already.
    pub(crate) order_url: Option<&'a str>,
    /// Where the buyer came from.
    pub(crate) back_url: Option<&'a str>,
    /// Whether the shop knows its visitors: then checkout.js asks for the cards that this one saved.
    pub(crate) saved_cards: bool,
    /// When the money is taken, for Stripe.js: `automatic` or `manual`.
    pub(crate) capture_method: &'static str,
    /// The usage of a payment method that is saved, for Stripe.js: `off_session`, `on_session`, or
    /// none.
    pub(crate) setup_future_usage: Option<&'static str>,
    /// The connected account that is the business of record, for Stripe.js.
    pub(crate) on_behalf_of: Option<&'a str>,
}

/// Everything that `setup.html` shows.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct SetupView<'a> {
    /// The shop's name.
    pub(crate) shop: &'a str,
    /// For Stripe.js. A test key makes the page say so.
    pub(crate) publishable_key: &'a str,
    /// Where Stripe.js is.
    pub(crate) stripe_js_url: &'a str,
    /// Where the buyer sees the cards that he saved.
    pub(crate) account_url: Option<&'a str>,
    /// The usage of the card, for Stripe.js: `off_session` or `on_session`.
    pub(crate) usage: &'static str,
}

/// How it stands with a card when its buyer comes back: the status of the SetupIntent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SetupState {
    /// Saved.
    Succeeded,
    /// On its way; the page asks until it is settled.
    Processing,
    /// Declined, or the buyer's bank did not confirm it: another try is possible.
    RequiresPaymentMethod,
    /// The buyer's bank still waits for the buyer.
    RequiresAction,
    /// Called off.
    Canceled,
    /// The address has no client secret, as in [`CompleteState::Unknown`].
    Unknown,
}

/// Everything that `setup_complete.html` shows.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct SetupCompleteView<'a> {
    /// The shop's name.
    pub(crate) shop: &'a str,
    /// How it stands with the card.
    pub(crate) state: SetupState,
    /// Why it failed, as a sentence that the buyer may read.
    pub(crate) message: Option<&'a str>,
    /// Where the buyer sees the cards that he saved.
    pub(crate) account_url: Option<&'a str>,
    /// Where the buyer can try again.
    pub(crate) retry_url: &'a str,
}

/// How a payment stands when its buyer comes back. The templates see the status of the PaymentIntent, which is also what `POST status` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CompleteState {
    /// Paid.
    Succeeded,
    /// On its way; the page asks until it is settled.
    Processing,
    /// Declined, or the buyer's bank did not confirm it: another try is possible.
    RequiresPaymentMethod,
    /// The buyer's bank still waits for the buyer.
    RequiresAction,
    /// Authorised; the shop collects the money later.
    RequiresCapture,
    /// Called off.
    Canceled,
    /// The address has no client secret: someone reloaded the page after `complete.js` had taken it out. The script asks again with the one that it kept.
    Unknown,
}

/// Everything that `complete.html` shows.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct CompleteView<'a> {
    /// The shop's name.
    pub(crate) shop: &'a str,
    /// How the payment stands.
    pub(crate) state: CompleteState,
    /// What was, or would have been, paid.
    #[serde(serialize_with = "optional_money")]
    pub(crate) amount: Option<Amount>,
    /// The order's reference.
    pub(crate) reference: Option<&'a str>,
    /// Why it failed, as a sentence that the buyer may read.
    pub(crate) message: Option<&'a str>,
    /// Where the order can be seen.
    pub(crate) order_url: Option<&'a str>,
    /// Where the buyer can try again.
    pub(crate) retry_url: Option<&'a str>,
}

/// Which page's address an error page stands at. The paths of scripts and styles are relative to it, so that all routes can be mounted under any prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// `…/checkout`.
    Checkout,
    /// `…/checkout/complete`.
    Complete,
    /// `…/checkout/setup`.
    Setup,
    /// `…/checkout/setup/complete`.
    SetupComplete,
}

/// Everything that `problem.html` shows.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct ProblemView<'a> {
    /// The shop's name.
    pub(crate) shop: &'a str,
    /// The address that it stands at; for the templates the path from there to the scripts and styles.
    #[serde(rename = "assets")]
    pub(crate) place: Place,
    /// The problem's code, which the JSON routes use too.
    pub(crate) code: &'a str,
    /// What is wrong, in a few words.
    pub(crate) title: &'a str,
    /// What is wrong and what to do, as a sentence that the buyer may read.
    pub(crate) message: &'a str,
    /// Where the order can be seen.
    pub(crate) order_url: Option<&'a str>,
    /// Where to go from here.
    pub(crate) back_url: Option<&'a str>,
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Checkout => "checkout/",
            Self::Complete | Self::Setup => "",
            Self::SetupComplete => "../",
        })
    }
}

/// An amount as the templates see it. The exact parts go to the browser beside the text, because only the browser knows how its language writes a currency.
#[derive(Serialize)]
struct Money<'a> {
    minor: u64,
    /// In lower case.
    currency: &'a str,
    decimals: u8,
    /// "19.99"
    major: String,
    /// "19.99 EUR"
    text: String,
}

fn money<S: Serializer>(amount: &Amount, serializer: S) -> Result<S::Ok, S::Error> {
    let currency = amount.currency();
    Money {
        minor: amount.minor(),
        currency: currency.code(),
        decimals: currency.decimals(),
        major: amount.to_major(),
        text: amount.to_string(),
    }
    .serialize(serializer)
}

fn optional_money<S: Serializer>(
    amount: &Option<Amount>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match amount {
        Some(amount) => money(amount, serializer),
        None => serializer.serialize_none(),
    }
}

// Samples for the check at start: each page once with everything, and once without anything that can be left out.

const SAMPLE: Amount = Amount::new(300, Currency::EUR);

pub(super) fn checkout_samples() -> [CheckoutView<'static>; 2] {
    const LINE: LineView<'static> = LineView {
        name: "Sample",
        quantity: 2,
        amount: SAMPLE,
    };
    let bare = CheckoutView {
        shop: "Shop",
        amount: SAMPLE,
        lines: &[],
        publishable_key: "pk_live_sample",
        stripe_account: None,
        stripe_js_url: "https://js.stripe.com/endive/stripe.js",
        order_url: None,
        back_url: None,
        saved_cards: false,
        capture_method: "automatic",
        setup_future_usage: None,
        on_behalf_of: None,
    };
    [
        CheckoutView {
            on_behalf_of: Some("acct_sample"),
            saved_cards: true,
            capture_method: "manual",
            setup_future_usage: Some("off_session"),
            stripe_account: Some("acct_sample"),
            lines: &[LINE; 3],
            publishable_key: "pk_test_sample",
            order_url: Some("/order"),
            back_url: Some("/"),
            ..bare
        },
        bare,
    ]
}

pub(super) fn complete_samples() -> impl Iterator<Item = CompleteView<'static>> {
    use CompleteState::{
        Canceled, Processing, RequiresAction, RequiresCapture, RequiresPaymentMethod, Succeeded,
        Unknown,
    };

    [
        Succeeded,
        Processing,
        RequiresPaymentMethod,
        RequiresAction,
        RequiresCapture,
        Canceled,
        Unknown,
    ]
    .into_iter()
    .flat_map(|state| {
        let bare = CompleteView {
            shop: "Shop",
            state,
            amount: None,
            reference: None,
            message: None,
            order_url: None,
            retry_url: None,
        };
        let full = CompleteView {
            amount: Some(SAMPLE),
            reference: Some("1"),
            message: Some("Declined."),
            order_url: Some("/order"),
            retry_url: Some("/retry"),
            ..bare
        };
        [full, bare]
    })
}

pub(super) fn setup_samples() -> [SetupView<'static>; 2] {
    let bare = SetupView {
        shop: "Shop",
        publishable_key: "pk_live_sample",
        stripe_js_url: "https://js.stripe.com/endive/stripe.js",
        account_url: None,
        usage: "off_session",
    };
    [
        SetupView {
            publishable_key: "pk_test_sample",
            account_url: Some("/account"),
            ..bare
        },
        bare,
    ]
}

pub(super) fn setup_complete_samples() -> impl Iterator<Item = SetupCompleteView<'static>> {
    use SetupState::{
        Canceled, Processing, RequiresAction, RequiresPaymentMethod, Succeeded, Unknown,
    };

    [
        Succeeded,
        Processing,
        RequiresPaymentMethod,
        RequiresAction,
        Canceled,
        Unknown,
    ]
    .into_iter()
    .flat_map(|state| {
        let bare = SetupCompleteView {
            shop: "Shop",
            state,
            message: None,
            account_url: None,
            retry_url: "../setup",
        };
        let full = SetupCompleteView {
            message: Some("Declined."),
            account_url: Some("/account"),
            ..bare
        };
        [full, bare]
    })
}

pub(super) fn problem_samples() -> [ProblemView<'static>; 2] {
    let bare = ProblemView {
        shop: "Shop",
        place: Place::Checkout,
        code: "code",
        title: "Title",
        message: "Message.",
        order_url: None,
        back_url: None,
    };
    [
        ProblemView {
            order_url: Some("/order"),
            back_url: Some("/"),
            ..bare
        },
        bare,
    ]
}
