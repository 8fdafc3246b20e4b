//! Why a request is not one that Stripe takes.

use thiserror::Error;

use crate::amount::AmountError;
use crate::metadata::MetadataError;

/// Why a [`PaymentRequest`](crate::requests::PaymentRequest) is not one that Stripe takes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The reference is empty, longer than 200 characters, or has control characters.
    #[error(
        "the reference of a payment must have 1 to 200 characters, none of them a control character"
    )]
    Reference,
    /// The amount is not one that Stripe takes, or too large.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// The lines of the summary do not add up to the amount.
    #[error("the lines do not add up to the amount")]
    Lines,
    /// The statement descriptor suffix breaks Stripe's rules.
    #[error(
        "the account's prefix, \"* \" and the statement descriptor suffix have 5 to 22 characters together; the suffix has ASCII characters only, at least one letter, and none of < > \\ ' \" *"
    )]
    StatementDescriptorSuffix,
    /// A tax code is not `txcd_` and eight digits.
    #[error("a tax code of Stripe's is txcd_ and eight digits")]
    TaxCode,
    /// The receipt e-mail is no address.
    #[error("the receipt e-mail is not an address")]
    ReceiptEmail,
    /// The description is longer than 1000 characters.
    #[error("the description must have at most 1000 characters")]
    Description,
    /// Of the ways to ship that a [`HostedCheckout`](crate::requests::HostedCheckout) offers, none
    /// is in the order's currency, or more than five are.
    #[cfg(feature = "sessions")]
    #[error("none of the ways to ship is in the currency of the order, or more than five are")]
    ShippingOptions,
    /// The metadata has no room left for the keys that this crate adds.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A connected account that cannot be one (they begin with `acct_`), or two of them: a payment
    /// is made on an account, or goes on to one.
    #[error("not one connected account: they begin with acct_, and a payment has one at most")]
    Account,
    /// A business of record without a destination that the money goes on to.
    #[error("only a payment with a destination can be on behalf of a connected account")]
    OnBehalfOf,
    /// An application fee without a connected account, in another currency than the payment, of
    /// nothing, or of more than the payment.
    #[error(
        "an application fee is a part of a payment with a connected account, in the payment's currency"
    )]
    ApplicationFee,
    /// A payment on a connected account, and an inbox that forgets its order at a restart.
    #[error(
        "MemoryInbox forgets at a restart which payments on connected accounts are yours: use a database's inbox, or name your Connect application with .connect_application(\"ca_…\")"
    )]
    ForgottenAccount,
    /// An idempotency key of the caller's own is empty, longer than 255 characters, or has other
    /// than visible ASCII characters.
    #[error("an idempotency key has 1 to 255 visible ASCII characters")]
    IdempotencyKey,
}
