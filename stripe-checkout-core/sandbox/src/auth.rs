//! Identifies the sender of a request by its key. See <https://docs.stripe.com/api/authentication>.

use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use super::{
    api_error::ApiError,
    form::Pairs,
    host_check,
    objects::{payment_intent::PaymentIntent, setup_intent::SetupIntent},
};

/// The permissions of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The merchant's server.
    Secret,
    /// A browser, which must name the client secret of the object that it asks for.
    Publishable,
}

/// The sender of a request, with the details that the request's events carry.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) role: Role,
    /// The header `Stripe-Account`.
    pub(crate) account: Option<String>,
    pub(crate) request_id: String,
    pub(crate) idempotency_key: Option<String>,
}

impl Caller {
    /// Renders the intent with the fields that this caller may see.
    pub(crate) fn render(&self, intent: &PaymentIntent) -> Value {
        match self.role {
            Role::Secret => intent.render(),
            Role::Publishable => intent.render_for_browser(),
        }
    }

    /// Renders a SetupIntent with the fields that this caller may see.
    pub(crate) fn render_setup(&self, intent: &SetupIntent) -> Value {
        match self.role {
            Role::Secret => intent.render(),
            Role::Publishable => intent.render_for_browser(),
        }
    }

    /// Refuses a publishable key.
    pub(crate) fn needs_secret_key(&self) -> Result<(), ApiError> {
        match self.role {
            Role::Secret => Ok(()),
            Role::Publishable => Err(ApiError::invalid_with_status(
                StatusCode::FORBIDDEN,
                "This API call cannot be made with a publishable API key. Please use a secret API key. \
                 You can find a list of your API keys at https://dashboard.stripe.com/account/apikeys.",
            )
            .code("secret_key_required")),
        }
    }
}

/// The keys that a sandbox knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) secret: &'a str,
    pub(crate) publishable: &'a str,
    /// Whether any other key that looks like one of Stripe's test keys is accepted too.
    pub(crate) any_test_key: bool,
}

impl Keys<'_> {
    fn role_of(self, key: &str) -> Option<Role> {
        if key == self.secret {
            Some(Role::Secret)
        } else if key == self.publishable {
            Some(Role::Publishable)
        } else if self.any_test_key && is_test_key(key, &["sk_test_", "rk_test_"]) {
            Some(Role::Secret)
        } else if self.any_test_key && is_test_key(key, &["pk_test_"]) {
            Some(Role::Publishable)
        } else {
            None
        }
    }
}

/// Returns whether a key looks like a test key. Stripe's keys have letters and digits after their
/// prefix, and a few have underscores.
fn is_test_key(key: &str, prefixes: &[&str]) -> bool {
    let mut rest = prefixes
        .iter()
        .filter_map(|prefix| key.strip_prefix(prefix));
    rest.any(|rest| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// Returns the role of a request's key, if its head has one. It looks in the header, then in the
/// parameter `key` of the query, and never needs the body.
pub(crate) fn role_of_head(
    keys: Keys<'_>,
    headers: &HeaderMap,
    query: &mut Pairs,
) -> Result<Option<Role>, ApiError> {
    let parameter = take_key(query);
    match from_header(headers).or(parameter) {
        Some(key) => judge(keys, headers, &key).map(Some),
        None => Ok(None),
    }
}

/// Returns the refusal of a request without a key.
pub(crate) fn no_key() -> ApiError {
    unauthorized(
        "You did not provide an API key. You need to provide your API key in the Authorization header, \
         using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). \
         See https://stripe.com/docs/api#authentication for details, or we can help at https://support.stripe.com/.",
    )
}

/// Returns the role of a key.
pub(crate) fn judge(keys: Keys<'_>, headers: &HeaderMap, key: &str) -> Result<Role, ApiError> {
    if key.contains("_live_") {
        return Err(unauthorized(
            "This is a sandbox, not Stripe: it refuses live keys. Do not send yours here.",
        ));
    }
    let role = keys
        .role_of(key)
        .ok_or_else(|| unauthorized(format!("Invalid API Key provided: {}", masked(key))))?;
    if role == Role::Secret && host_check::is_from_page(headers) {
        // This key is public. Without this check, any page that a developer opens could use it.
        return Err(ApiError::invalid_with_status(
            StatusCode::FORBIDDEN,
            "The sandbox takes its secret key from servers only, and this request comes from a browser. Use the publishable key there.",
        ));
    }
    Ok(role)
}

fn unauthorized(message: impl Into<String>) -> ApiError {
    ApiError::invalid_with_status(StatusCode::UNAUTHORIZED, message)
}

/// Removes the parameter `key` and returns it. If there are several, the last one counts.
pub(crate) fn take_key(pairs: &mut Pairs) -> Option<String> {
    let found = pairs.extract_if(.., |(name, _)| name == "key");
    found.last().map(|(_, key)| key)
}

/// Reads the key from Bearer, or from Basic with the key as the user name and no password.
fn from_header(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Some(rest.trim().to_owned())
    } else if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(decode_base64(rest.trim())?).ok()?;
        Some(
            pair.split_once(':')
                .map_or(pair.clone(), |(user, _)| user.to_owned()),
        )
    } else {
        None
    }
}

/// Masks a key as Stripe does: the beginning and the last four characters stay visible.
fn masked(key: &str) -> String {
    let characters: Vec<char> = key.chars().collect();
    let (Some(start), Some(end)) = (
        characters.get(..8),
        characters.get(characters.len().saturating_sub(4)..),
    ) else {
        return "*".repeat(characters.len());
    };
    if characters.len() <= 12 {
        return "*".repeat(characters.len());
    }
    format!(
        "{}{}{}",
        start.iter().collect::<String>(),
        "*".repeat(characters.len() - 12),
        end.iter().collect::<String>()
    )
}

/// Decodes the standard alphabet, with or without padding. One header does not justify a
/// dependency.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = ((bits << 6) | u32::from(six)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Keys<'_> = Keys {
        secret: "sk_test_sandbox",
        publishable: "pk_test_sandbox",
        any_test_key: false,
    };

    fn ask(authorization: &str) -> Result<Role, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        role_of_head(KEYS, &headers, &mut Pairs::new())?.ok_or_else(no_key)
    }

    #[test]
    fn bearer_and_basic() {
        assert_eq!(ask("Bearer sk_test_sandbox").unwrap(), Role::Secret);
        assert_eq!(ask("bearer pk_test_sandbox").unwrap(), Role::Publishable);
        // "sk_test_sandbox:", as `curl -u` sends it.
        assert_eq!(ask("Basic c2tfdGVzdF9zYW5kYm94Og==").unwrap(), Role::Secret);
        for wrong in [
            "Bearer sk_test_other",
            "Basic ???",
            "Digest x",
            "sk_test_sandbox",
            "Bearer sk_live_sandbox",
            "Bearer ",
        ] {
            assert_eq!(ask(wrong).unwrap_err().status, 401, "{wrong}");
        }
    }

    #[test]
    fn any_well_formed_test_key_where_that_is_allowed() {
        let any = Keys {
            any_test_key: true,
            ..KEYS
        };
        for (key, role) in [
            ("sk_test_sandbox", Some(Role::Secret)),
            ("sk_test_51Hxyz", Some(Role::Secret)),
            ("sk_test_123", Some(Role::Secret)),
            ("rk_test_51Hxyz", Some(Role::Secret)),
            ("pk_test_51H_xyz", Some(Role::Publishable)),
            ("sk_test_", None),
            ("sk_test_...", None),
            ("sk_test_a b", None),
            ("sk_live_51Hxyz", None),
            ("whsec_51Hxyz", None),
            ("", None),
        ] {
            assert_eq!(any.role_of(key), role, "{key}");
        }
        assert_eq!(KEYS.role_of("sk_test_51Hxyz"), None);
    }

    #[test]
    fn a_refused_key_is_not_repeated_in_full() {
        assert_eq!(
            masked("sk_test_abcdefghijklmnop"),
            "sk_test_************mnop"
        );
        assert_eq!(masked("short"), "*****");
    }
}
