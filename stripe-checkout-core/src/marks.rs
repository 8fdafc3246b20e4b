//! The metadata that the core writes into each PaymentIntent.
//!
//! With it, this application recognises its events even after every row is lost.

use crate::amount::Amount;
use crate::metadata::Metadata;
#[cfg(feature = "intent")]
use crate::metadata::MetadataError;

const APPLICATION: &str = "checkout_application";
const AMOUNT: &str = "checkout_amount";
const CURRENCY: &str = "checkout_currency";
const SESSION: &str = "checkout_session";

/// The key of the caller's own reference of an operation, by which the operation is found again.
pub(crate) const OPERATION: &str = "checkout_operation";

/// The corresponding key for a capture.
///
/// A capture has no object of its own, so its reference is in the PaymentIntent. Stripe writes it
/// only with a capture that it accepts.
pub(crate) const CAPTURE: &str = "checkout_capture";

/// The key of the number of the attempt to charge a saved payment method.
///
/// The number is in the PaymentIntent, and Stripe copies it into the charge.
#[cfg(feature = "intent")]
pub(crate) const CHARGE: &str = "checkout_charge";

/// The number of keys that this crate adds, including the order's reference.
#[cfg(feature = "intent")]
pub(crate) const KEYS: usize = 4;

/// The attempt of the order for which a Checkout Session was created.
///
/// The metadata belongs to the session or to its PaymentIntent.
pub(crate) fn session_attempt(metadata: &Metadata) -> Option<u32> {
    metadata.get(SESSION)?.parse().ok()
}

/// Marked metadata, with the mark of a Checkout Session added.
#[cfg(feature = "sessions")]
pub(crate) fn marked_session(
    mut metadata: Metadata,
    attempt: u32,
) -> Result<Metadata, MetadataError> {
    let inserted = metadata.insert(SESSION, attempt.to_string());
    inserted.map_err(|error| match error {
        MetadataError::TooManyKeys { .. } => MetadataError::TooManyKeys {
            limit: Metadata::MAX_KEYS - KEYS - 1,
        },
        other => other,
    })?;
    Ok(metadata)
}

/// The content of the marks.
pub(crate) struct Marks<'a> {
    pub(crate) application: &'a str,
    /// The requested amount.
    pub(crate) asked: Option<Amount>,
}

impl<'a> Marks<'a> {
    pub(crate) fn of(metadata: &'a Metadata) -> Option<Self> {
        let application = metadata.get(APPLICATION)?;
        let minor = metadata.get(AMOUNT).and_then(|text| text.parse().ok());
        let currency = metadata.get(CURRENCY).and_then(|code| code.parse().ok());
        let asked = minor
            .zip(currency)
            .map(|(minor, currency)| Amount::new(minor, currency));
        Some(Self { application, asked })
    }
}

/// The merchant's metadata, with the order's reference and the marks.
#[cfg(feature = "intent")]
pub(crate) fn marked(
    mut metadata: Metadata,
    application: &str,
    reference: &str,
    asked: Amount,
) -> Result<Metadata, MetadataError> {
    let minor = asked.minor().to_string();
    let currency = asked.currency();
    let marks = [
        (Metadata::ORDER_ID, reference),
        (APPLICATION, application),
        (AMOUNT, &minor),
        (CURRENCY, currency.code()),
    ];
    for (key, value) in marks {
        metadata.insert(key, value).map_err(|error| match error {
            MetadataError::TooManyKeys { .. } => MetadataError::TooManyKeys {
                limit: Metadata::MAX_KEYS - KEYS,
            },
            other => other,
        })?;
    }
    Ok(metadata)
}

/// The merchant's metadata of an operation, with the marks.
///
/// The operation is found by them when no idempotency key can tell any more whether it was done.
#[cfg(feature = "intent")]
pub(crate) fn marked_operation(
    mut metadata: Metadata,
    application: &str,
    reference: &str,
) -> Result<Metadata, MetadataError> {
    let marks = [(APPLICATION, application), (OPERATION, reference)];
    for (key, value) in marks {
        metadata.insert(key, value).map_err(|error| match error {
            MetadataError::TooManyKeys { .. } => MetadataError::TooManyKeys {
                limit: Metadata::MAX_KEYS - marks.len(),
            },
            other => other,
        })?;
    }
    Ok(metadata)
}

/// The reference of the operation of this application that left these marks.
#[cfg(feature = "intent")]
pub(crate) fn operation_of<'a>(metadata: &'a Metadata, application: &str) -> Option<&'a str> {
    metadata
        .get(OPERATION)
        .filter(|_| metadata.get(APPLICATION) == Some(application))
}

/// Metadata of an object that belongs to no order.
#[cfg(feature = "intent")]
pub(crate) fn with_application(
    metadata: Metadata,
    application: &str,
) -> Result<Metadata, MetadataError> {
    metadata.with(APPLICATION, application)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "intent")]
    #[test]
    fn marks_are_read_as_they_were_written() {
        let asked = Amount::new(1999, crate::currency::Currency::EUR);
        let metadata = marked(Metadata::new(), "shop", "order-1", asked).unwrap();
        assert_eq!(metadata.order_id(), Some("order-1"));
        let marks = Marks::of(&metadata).unwrap();
        assert_eq!((marks.application, marks.asked), ("shop", Some(asked)));
    }

    #[test]
    fn what_nobody_marked_has_no_marks_and_a_broken_amount_is_none() {
        assert!(Marks::of(&Metadata::new()).is_none());
        let broken = Metadata::new()
            .with(APPLICATION, "shop")
            .and_then(|metadata| metadata.with(AMOUNT, "-1"))
            .and_then(|metadata| metadata.with(CURRENCY, "eur"))
            .unwrap();
        assert_eq!(Marks::of(&broken).unwrap().asked, None);
    }
}
