//! An e-mail address that Stripe refuses: the payment goes on without a receipt, because a receipt
//! is worth less than an order.

use std::borrow::Cow;

use super::payment_error::PaymentError;
use super::state::{Checkout, Payments};
use crate::requests::{IntentParams, PaymentRequest, RequestError};
use crate::stripe::ApiError;

impl Checkout {
    /// Checks the request against Stripe's limits and against what the inbox can remember.
    pub(super) fn check(
        &self,
        payments: &Payments,
        request: &PaymentRequest,
    ) -> Result<(), RequestError> {
        let prefix = payments.descriptor_prefix.as_deref();
        // A connected account has a prefix of its own, also as the business of record only.
        let account = request.account().or(request.business_of_record());
        let prefix = prefix.filter(|_| account.is_none());
        request.validate_behind(prefix, payments.cap)?;
        match request.account().is_some() && !self.inner.knows_accounts {
            true => Err(RequestError::ForgottenAccount),
            false => Ok(()),
        }
    }
}

/// The request as it is sent first: without a receipt that cannot be sent anywhere.
///
/// An order's row still stands for the request as the merchant made it. So a refused address is not
/// sent again with each further click.
pub(super) fn sendable(request: &PaymentRequest) -> Cow<'_, PaymentRequest> {
    let sendable = without_bad_receipt(request);
    if matches!(sendable, Cow::Owned(_)) {
        tracing::warn!(order = request.reference(), "{NO_RECEIPT}");
    }
    sendable
}

/// The request without a receipt that cannot be sent anywhere.
pub(super) fn without_bad_receipt(request: &PaymentRequest) -> Cow<'_, PaymentRequest> {
    match request.has_bad_receipt() {
        true => Cow::Owned(request.clone().without_receipt()),
        false => Cow::Borrowed(request),
    }
}

/// The request without its receipt, if Stripe refused the receipt's address.
pub(super) fn refused<T>(
    sent: &PaymentRequest,
    opened: &Result<T, PaymentError>,
) -> Option<PaymentRequest> {
    match opened {
        Err(PaymentError::Api(error)) if sent.has_receipt() && is_refused(error) => {
            let (order, request_id) = (sent.reference(), error.request_id());
            tracing::warn!(order, request_id, "{NO_RECEIPT}");
            Some(sent.clone().without_receipt())
        }
        _ => None,
    }
}

const NO_RECEIPT: &str =
    "Stripe refuses the e-mail address for the receipt: the payment goes on without a receipt";

/// Whether Stripe refused these parameters for the address of their receipt.
///
/// Such a refusal uses up no attempt of an order. The next request has no receipt, so another form
/// and another idempotency key. That key must be the same after a crash or a lost answer.
pub(super) fn is_to_blame(sent: &IntentParams, error: &ApiError) -> bool {
    sent.receipt_to().is_some() && is_refused(error)
}

/// Whether Stripe refused an e-mail address, of a receipt or of a customer.
pub(super) fn is_refused(error: &ApiError) -> bool {
    let ApiError::InvalidRequest { code, param, .. } = error else {
        return false;
    };
    let is_address = |param: &str| {
        matches!(
            param,
            "receipt_email" | "payment_intent_data[receipt_email]" | "customer_email" | "email"
        )
    };
    code.as_deref() == Some("email_invalid") || param.as_deref().is_some_and(is_address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refused_address_is_dropped() {
        let error = |code: Option<&str>, param: Option<&str>| ApiError::InvalidRequest {
            status: 400,
            code: code.map(str::to_owned),
            param: param.map(str::to_owned),
            request_id: None,
        };
        for (code, param) in [
            (Some("email_invalid"), Some("receipt_email")),
            (Some("email_invalid"), None),
            (None, Some("receipt_email")),
            (Some("parameter_invalid_string"), Some("customer_email")),
            (None, Some("payment_intent_data[receipt_email]")),
        ] {
            assert!(is_refused(&error(code, param)), "{code:?} {param:?}");
        }
        for (code, param) in [
            (Some("amount_too_small"), Some("amount")),
            (Some("resource_missing"), Some("customer")),
            (None, None),
        ] {
            assert!(!is_refused(&error(code, param)), "{code:?} {param:?}");
        }
        assert!(!is_refused(&ApiError::Timeout));
    }
}
