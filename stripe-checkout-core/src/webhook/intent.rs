//! The PaymentIntent as Stripe describes it. A payment and a Checkout Session both hold one.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Failure;
use super::json::{Lenient, Minor, Named, Reference, open_enum};
use crate::amount::Amount;
use crate::currency::Currency;
use crate::metadata::Metadata;
use crate::secret::ClientSecret;

open_enum! {
    /// The status of a PaymentIntent. See
    /// <https://docs.stripe.com/payments/paymentintents/lifecycle>.
    PaymentStatus {
        /// It waits for a payment method: at the beginning, and again after each failed attempt.
        RequiresPaymentMethod = "requires_payment_method" | "requires_source",
        /// It waits to be confirmed.
        RequiresConfirmation = "requires_confirmation",
        /// It waits for the buyer, for example for 3-D Secure.
        RequiresAction = "requires_action" | "requires_source_action",
        /// The payment is on its way; it may still fail, days later.
        Processing = "processing",
        /// The money is authorised and waits to be captured.
        RequiresCapture = "requires_capture",
        /// It was canceled. Final.
        Canceled = "canceled",
        /// The money was collected. Final.
        Succeeded = "succeeded",
    }
}

impl PaymentStatus {
    /// Whether nothing can follow any more: succeeded or canceled.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Canceled)
    }
}

/// The fields of a PaymentIntent. [`Payment`](super::Payment) describes each of them.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Named<Object>")]
pub(crate) struct Intent {
    pub(crate) id: String,
    pub(crate) amount: Amount,
    pub(crate) amount_received: Amount,
    pub(crate) amount_capturable: Amount,
    pub(crate) status: PaymentStatus,
    pub(crate) metadata: Metadata,
    pub(crate) livemode: Option<bool>,
    pub(crate) created: i64,
    pub(crate) client_secret: Option<ClientSecret>,
    pub(crate) latest_charge: Option<String>,
    pub(crate) returned: Option<Returned>,
    pub(crate) receipt_email: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) customer: Option<String>,
    pub(crate) saves_payment_method: bool,
    pub(crate) captures_manually: bool,
    pub(crate) destination: Option<String>,
    pub(crate) on_behalf_of: Option<String>,
    pub(crate) application_fee: Option<Amount>,
    pub(crate) application: Option<String>,
    pub(crate) capture_before: Option<i64>,
    pub(crate) payment_method_types: Vec<String>,
    pub(crate) last_error: Option<Failure>,
}

impl Intent {
    /// Whether it waits for its buyer: nothing is authorised, on its way or paid.
    pub(crate) fn is_unpaid(&self) -> bool {
        use PaymentStatus::{RequiresAction, RequiresConfirmation, RequiresPaymentMethod};
        matches!(
            self.status,
            RequiresPaymentMethod | RequiresConfirmation | RequiresAction
        )
    }
}

/// The money of a charge that went back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Returned {
    /// Minor units refunded.
    pub(crate) refunded: u64,
    /// Whether it was ever disputed. Stripe leaves that so when the dispute is won.
    pub(crate) disputed: bool,
}

/// The JSON of Stripe. Every field without `Lenient` must be right, or the whole is refused.
#[derive(Deserialize)]
struct Object {
    id: String,
    object: String,
    amount: Minor,
    amount_received: Option<Minor>,
    amount_capturable: Option<Minor>,
    currency: Currency,
    status: PaymentStatus,
    #[serde(default)]
    metadata: Metadata,
    livemode: Option<bool>,
    #[serde(default)]
    created: Lenient<i64>,
    #[serde(default)]
    client_secret: Lenient<ClientSecret>,
    #[serde(default)]
    latest_charge: Lenient<LatestCharge>,
    #[serde(default)]
    charges: Lenient<Charges>,
    #[serde(default)]
    receipt_email: Lenient<String>,
    #[serde(default)]
    description: Lenient<String>,
    #[serde(default)]
    customer: Lenient<Reference>,
    #[serde(default)]
    capture_method: Lenient<String>,
    #[serde(default)]
    payment_method_options: Lenient<BTreeMap<String, Lenient<MethodOption>>>,
    #[serde(default)]
    transfer_data: Lenient<TransferData>,
    #[serde(default)]
    on_behalf_of: Lenient<Reference>,
    #[serde(default)]
    application_fee_amount: Lenient<Minor>,
    #[serde(default)]
    application: Lenient<Reference>,
    #[serde(default)]
    setup_future_usage: Lenient<String>,
    #[serde(default)]
    payment_method_types: Lenient<Vec<String>>,
    #[serde(default)]
    last_payment_error: Lenient<Failure>,
}

/// Its id, or the whole charge if the request expanded it.
#[derive(Deserialize)]
#[serde(untagged)]
enum LatestCharge {
    Id(String),
    Expanded {
        id: String,
        amount_refunded: Minor,
        disputed: bool,
        #[serde(default)]
        payment_method_details: Lenient<BTreeMap<String, Lenient<Method>>>,
    },
    Other(Reference),
}

#[derive(Deserialize)]
struct TransferData {
    #[serde(default)]
    destination: Lenient<Reference>,
}

/// The settings of one payment method, which differ from the PaymentIntent's.
#[derive(Deserialize)]
struct MethodOption {
    capture_method: Option<String>,
}

/// The details of a payment method in a charge, under the name of its type.
#[derive(Deserialize)]
struct Method {
    capture_before: Option<i64>,
}

impl LatestCharge {
    fn capture_before(&self) -> Option<i64> {
        let Self::Expanded {
            payment_method_details: Lenient::Is(methods),
            ..
        } = self
        else {
            return None;
        };
        methods.values().find_map(|method| match method {
            Lenient::Is(method) => method.capture_before,
            _ => None,
        })
    }

    fn returned(&self) -> Option<Returned> {
        match self {
            Self::Expanded {
                amount_refunded,
                disputed,
                ..
            } => Some(Returned {
                refunded: amount_refunded.0,
                disputed: *disputed,
            }),
            _ => None,
        }
    }

    fn id(self) -> Option<String> {
        match self {
            Self::Id(id) | Self::Expanded { id, .. } => Some(id).filter(|id| !id.is_empty()),
            Self::Other(reference) => reference.id(),
        }
    }
}

/// Before 2022-11-15 there was a list of charges, the latest first, in place of `latest_charge`.
#[derive(Deserialize)]
struct Charges {
    data: Vec<Lenient<Reference>>,
}

impl TryFrom<Named<Object>> for Intent {
    type Error = &'static str;

    fn try_from(Named(object): Named<Object>) -> Result<Self, Self::Error> {
        if object.object != "payment_intent" {
            return Err("another object than a PaymentIntent");
        }
        if object.id.is_empty() {
            return Err("a PaymentIntent without an id");
        }
        let amount = |Minor(minor)| Amount::new(minor, object.currency);
        let received = match object.amount_received {
            // Stripe's specification lets it be absent; then success means all of it.
            None if object.status == PaymentStatus::Succeeded => object.amount,
            other => other.unwrap_or(Minor(0)),
        };
        let charge = object.latest_charge.ok();
        let is_manual = |method: &str| method == "manual";
        let options = object.payment_method_options.ok().unwrap_or_default();
        let method_is_manual = options.into_values().any(|option| {
            let option = option.ok().and_then(|option| option.capture_method);
            option.as_deref().is_some_and(is_manual)
        });
        let capture_before = charge.as_ref().and_then(LatestCharge::capture_before);
        let former_charge = || object.charges.ok()?.data.into_iter().next()?.id();
        Ok(Self {
            id: object.id,
            amount: amount(object.amount),
            amount_received: amount(received),
            amount_capturable: amount(object.amount_capturable.unwrap_or(Minor(0))),
            status: object.status,
            metadata: object.metadata,
            livemode: object.livemode,
            created: object.created.ok().unwrap_or_default(),
            client_secret: object.client_secret.ok(),
            returned: charge.as_ref().and_then(LatestCharge::returned),
            latest_charge: charge.and_then(LatestCharge::id).or_else(former_charge),
            receipt_email: object.receipt_email.ok(),
            description: object.description.ok(),
            customer: object.customer.id(),
            captures_manually: method_is_manual
                || object.capture_method.ok().as_deref().is_some_and(is_manual),
            destination: object
                .transfer_data
                .ok()
                .and_then(|transfer| transfer.destination.id()),
            on_behalf_of: object.on_behalf_of.id(),
            application_fee: object.application_fee_amount.ok().map(amount),
            application: object.application.id(),
            capture_before,
            saves_payment_method: object.setup_future_usage.ok().is_some(),
            payment_method_types: object.payment_method_types.ok().unwrap_or_default(),
            last_error: object.last_payment_error.ok(),
        })
    }
}
