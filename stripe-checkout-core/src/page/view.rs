//! The data of the templates. A merchant's own templates rely on these names: add, never rename.

use serde::{Serialize, Serializer};

use crate::amount::Amount;
use crate::currency::Currency;

/// One line of the order's summary.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct LineView<'a> {
    /// The name of the goods.
    pub(crate) name: &'a str,
    /// The number of pieces.
    pub(crate) quantity: u64,
    /// The price of the whole line.
    #[serde(serialize_with = "money")]
    pub(crate) amount: Amount,
}

/// The data of `checkout.html`.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct CheckoutView<'a> {
    /// The shop's name.
    pub(crate) shop: &'a str,
    /// The amount to pay.
    #[serde(serialize_with = "money")]
    pub(crate) amount: Amount,
    /// The lines of the order. Without lines the page shows a total only.
    pub(crate) lines: &'a [LineView<'a>],
    /// For Stripe.js. With a test key, the page says that it is in test mode.
    pub(crate) publishable_key: &'a str,
    /// The connected account of a direct charge, for Stripe.js too.
    pub(crate) stripe_account: Option<&'a str>,
    /// The address of Stripe.js.
    pub(crate) stripe_js_url: &'a str,
    /// The page of the order. The page offers this link if the order is already paid.
    pub(crate) order_url: Option<&'a str>,
    /// The page that the buyer came from.
    pub(crate) back_url: Option<&'a str>,
    /// Whether the shop knows its visitors. If so, checkout.js requests the visitor's saved cards.
    pub(crate) saved_cards: bool,
    /// When the money is taken, for Stripe.js: `automatic` or `manual`.
    pub(crate) capture_method: &'static str,
    /// The usage of a saved payment method, for Stripe.js: `off_session`, `on_session`, or none.
    pub(crate) setup_future_usage: Option<&'static str>,
    /// The connected account that is the business of record, for Stripe.js.
    pub(crate) on_behalf_of: Option<&'a str>,
}

/// The data of `setup.html`.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct SetupView<'a> {
    /// The shop's name.
    pub(crate) shop: &'a str,
    /// For Stripe.js. With a test key, the page says that it is in test mode.
    pub(crate) publishable_key: &'a str,
    /// The address of Stripe.js.
    pub(crate) stripe_js_url: &'a str,
    /// The page where buyers see their saved cards.
    pub(crate) account_url: Option<&'a str>,
    /// The usage of the card, for Stripe.js: `off_session` or `on_session`.
    pub(crate) usage: &'static str,
}

/// The state of a card when its buyer comes back: the status of the SetupIntent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SetupState {
    /// Saved.
    Succeeded,
    /// In progress; the page asks until the outcome is final.
    Processing,
    /// Declined, or the buyer's bank did not confirm it. The buyer can try again.
    RequiresPaymentMethod,
    /// The bank still waits for the buyer.
    RequiresAction,
    /// Canceled.
    Canceled,
    /// The address has no client secret, as in [`CompleteState::Unknown`].
    Unknown,
}

/// The data of `setup_complete.html`.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct SetupCompleteView<'a> {
    /// The shop's name.
    pub(crate) shop: &'a str,
    /// The state of the card.
    pub(crate) state: SetupState,
    /// The reason of a failure, as a sentence for the buyer.
    pub(crate) message: Option<&'a str>,
    /// The page where buyers see their saved cards.
    pub(crate) account_url: Option<&'a str>,
    /// The page where the buyer can try again.
    pub(crate) retry_url: &'a str,
}

/// The state of a payment when its buyer comes back.
///
/// The templates see the status of the PaymentIntent, which `POST status` also returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CompleteState {
    /// Paid.
    Succeeded,
    /// In progress; the page asks until the outcome is final.
    Processing,
    /// Declined, or the buyer's bank did not confirm it. The buyer can try again.
    RequiresPaymentMethod,
    /// The bank still waits for the buyer.
    RequiresAction,
    /// Authorised; the shop collects the money later.
    RequiresCapture,
    /// Canceled.
    Canceled,
    /// The address has no client secret.
    ///
    /// The buyer reloaded the page after `complete.js` removed the secret from the address. The
    /// script asks again with the secret that it kept.
    Unknown,
}

/// The data of `complete.html`.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct CompleteView<'a> {
    /// The shop's name.
    pub(crate) shop: &'a str,
    /// The state of the payment.
    pub(crate) state: CompleteState,
    /// The amount that was, or would have been, paid.
    #[serde(serialize_with = "optional_money")]
    pub(crate) amount: Option<Amount>,
    /// The order's reference.
    pub(crate) reference: Option<&'a str>,
    /// The reason of a failure, as a sentence for the buyer.
    pub(crate) message: Option<&'a str>,
    /// The page of the order.
    pub(crate) order_url: Option<&'a str>,
    /// The page where the buyer can try again.
    pub(crate) retry_url: Option<&'a str>,
}

/// The page at whose address an error page appears.
///
/// The paths of scripts and styles are relative to it, so that all routes can be mounted under any
/// prefix.
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

/// The data of `problem.html`.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct ProblemView<'a> {
    /// The shop's name.
    pub(crate) shop: &'a str,
    /// The address of the page. The templates see the path from there to the scripts and styles.
    #[serde(rename = "assets")]
    pub(crate) place: Place,
    /// The problem's code, which the JSON routes use too.
    pub(crate) code: &'a str,
    /// The problem in a few words.
    pub(crate) title: &'a str,
    /// The problem and what to do about it, as a sentence for the buyer.
    pub(crate) message: &'a str,
    /// The page of the order.
    pub(crate) order_url: Option<&'a str>,
    /// The page to go to next.
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

/// An amount in the format of the templates.
///
/// The exact parts go to the browser beside the text, because only the browser knows how its
/// language writes a currency.
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

// Samples for the check at start: each page once with all data, and once with only the required
// data.

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
