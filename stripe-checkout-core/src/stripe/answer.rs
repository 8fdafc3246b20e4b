//! What Stripe's answers say.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::api_error::ApiError;
use super::retry;
use super::transport::TransportResponse;

pub(super) fn read_as<T: DeserializeOwned>(answer: &TransportResponse) -> Result<T, ApiError> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        // Where it went wrong, not what stands there.
        tracing::warn!(
            line = error.line(),
            column = error.column(),
            category = ?error.classify(),
            "the object that Stripe sent could not be read"
        );
        ApiError::UnexpectedAnswer {
            status: answer.status,
            request_id: request_id(answer),
        }
    })
}

/// Stripe's error body, as far as a program needs it. Its `message` can repeat what was sent: only
/// that of a missing permission is kept.
/// See Stripe's [errors](https://docs.stripe.com/api/errors).
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    error: StripeError,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StripeError {
    r#type: Option<String>,
    code: Option<String>,
    decline_code: Option<String>,
    param: Option<String>,
    message: Option<String>,
}

pub(super) fn answered(answer: TransportResponse) -> Result<TransportResponse, ApiError> {
    let status = answer.status;
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let request_id = request_id(&answer);
    // A proxy may answer with a page of its own: then the status has to do.
    let body: Option<ErrorBody> = serde_json::from_slice(&answer.body).ok();
    let StripeError {
        r#type,
        code,
        decline_code,
        param,
        message,
    } = body.unwrap_or_default().error;
    let code = code.and_then(word);
    let is_of_key = r#type.as_deref() == Some("idempotency_error");
    let is_conflict = code.as_deref() == Some("idempotency_key_in_use")
        || (status == 409 && (is_of_key || matches!(code.as_deref(), None | Some("lock_timeout"))));

    Err(match status {
        _ if is_conflict => ApiError::IdempotencyConflict { request_id },
        _ if is_of_key => ApiError::IdempotencyMismatch { request_id },
        401 => ApiError::Authentication { request_id },
        402 => ApiError::Declined {
            code: code.unwrap_or_else(|| "card_declined".into()),
            decline_code: decline_code.and_then(word),
            request_id,
        },
        403 => ApiError::Permission {
            sentence: message.as_deref().and_then(permission_sentence),
            account_is_gone: code.as_deref() == Some("account_invalid"),
            request_id,
        },
        429 => ApiError::RateLimited {
            retry_after: retry::retry_after(&answer),
            request_id,
        },
        424 | 500.. => ApiError::Unavailable {
            status: Some(status),
            replayed: retry::is_replayed(&answer),
            request_id,
        },
        400..500 => ApiError::InvalidRequest {
            status,
            code,
            param: param.and_then(word),
            request_id,
        },
        _ => ApiError::UnexpectedAnswer { status, request_id },
    })
}

/// The sentence of Stripe's message that names the permission which a restricted key lacks. The
/// other sentences repeat the key and what was sent.
fn permission_sentence(message: &str) -> Option<String> {
    let is_plain = |letter: char| letter.is_ascii_graphic() || letter == ' ';
    message
        .split(". ")
        .map(|sentence| sentence.trim().trim_end_matches('.'))
        .find(|sentence| sentence.contains("'rak_") && sentence.len() <= 300)
        .filter(|sentence| sentence.chars().all(is_plain))
        .map(str::to_owned)
}

pub(super) fn request_id(answer: &TransportResponse) -> Option<String> {
    answer
        .header("request-id")
        .map(str::to_owned)
        .and_then(word)
}

/// A code, a parameter's name, an id: anything else that stands there is not for errors and logs.
fn word(text: String) -> Option<String> {
    let is_word = (1..=100).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte));
    is_word.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_sentence_names_the_missing_permission_and_not_the_key() {
        let message = "The provided key 'rk_test_****1234' does not have the required permissions \
                       for this endpoint on account 'acct_1'. Having the 'rak_charge_read' \
                       permission would allow this request to continue.";
        let sentence = permission_sentence(message).unwrap();
        assert_eq!(
            sentence,
            "Having the 'rak_charge_read' permission would allow this request to continue"
        );
        assert_eq!(permission_sentence("hidden words. And more."), None);
    }
}
