//! The four keys, as types that cannot be printed by accident or confused.
//!
//! Each key prints as `[redacted]`, has no `Display`, and compares in constant time. Dropping a key
//! overwrites it in memory. `expose` is the only way to its text. A search for that word finds
//! every place where a secret leaves this crate.

use std::fmt;

use serde::de::{Deserialize, Deserializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::ConfigError;

/// The environment variable of each key. Errors name the variable, never its value.
pub(crate) const SECRET_KEY_VARIABLE: &str = "STRIPE_SECRET_KEY";
pub(crate) const PUBLISHABLE_KEY_VARIABLE: &str = "STRIPE_PUBLISHABLE_KEY";
pub(crate) const WEBHOOK_SECRET_VARIABLE: &str = "STRIPE_WEBHOOK_SECRET";

/// Whether money is real. Stripe keeps test and live objects, keys and webhooks apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Test mode, Stripe's sandboxes, and the sandbox of this crate.
    Test,
    /// Real money.
    Live,
}

impl Mode {
    /// The mode of an object or event, from its `livemode` field.
    pub const fn from_livemode(livemode: bool) -> Self {
        if livemode { Self::Live } else { Self::Test }
    }

    /// Whether money is real.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Live)
    }
}

/// `test` or `live`, as in Stripe's keys.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if self.is_live() { "live" } else { "test" })
    }
}

/// Hides and wipes all four keys, and compares them in constant time. (The length is not hidden.)
macro_rules! guarded {
    ($name:ident) => {
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.text.as_bytes().ct_eq(other.text.as_bytes()).into()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[redacted]")
            }
        }
    };
}

/// The secret key (`sk_test_…`, `sk_live_…`) or restricted key (`rk_test_…`, `rk_live_…`).
///
/// This server calls Stripe's API with it. See Stripe's [API keys](https://docs.stripe.com/keys). A
/// restricted key is the better choice. It needs write access to PaymentIntents, and more
/// permissions for some features.
///
/// ```
/// use stripe_checkout_core::{Mode, SecretKey};
///
/// let key = SecretKey::new("sk_test_123")?;
/// assert_eq!(key.mode(), Mode::Test);
/// assert_eq!(format!("{key:?}"), "[redacted]");
/// assert!(SecretKey::new("pk_test_123").is_err());
/// # Ok::<(), stripe_checkout_core::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct SecretKey {
    text: Zeroizing<String>,
    mode: Mode,
}

guarded!(SecretKey);

impl SecretKey {
    /// Checks the kind of the key and removes white space around it.
    ///
    /// # Errors
    /// [`ConfigError::Empty`], [`ConfigError::Malformed`], or [`ConfigError::WrongKind`], each with
    /// the variable `STRIPE_SECRET_KEY`.
    pub fn new(key: impl Into<String>) -> Result<Self, ConfigError> {
        let text = tidy(SECRET_KEY_VARIABLE, key.into())?;
        match Kind::of(&text) {
            Kind::Secret(mode) | Kind::Restricted(mode) => Ok(Self { text, mode }),
            other => Err(ConfigError::WrongKind {
                variable: SECRET_KEY_VARIABLE,
                expected: "a secret key (sk_test_… or sk_live_…) or a restricted key (rk_test_… or rk_live_…)",
                found: other.name(),
            }),
        }
    }

    /// Whether the key moves real money.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether this is a restricted key, which needs a permission for each kind of request.
    pub(crate) fn is_restricted(&self) -> bool {
        self.text.starts_with("rk_")
    }

    /// The account that the key belongs to, if the key contains it.
    pub(crate) fn account(&self) -> Option<String> {
        account_of(&self.text)
    }

    /// The key itself.
    ///
    /// # Security warning
    /// Anyone with this key can charge the merchant's customers and refund the merchant's payments.
    /// Put it into the `Authorization` header of a request to Stripe and nowhere else: no log, no
    /// error, no page.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

/// The publishable key (`pk_test_…`, `pk_live_…`), which identifies the merchant's account.
///
/// Stripe.js uses it in the browser. It is not a secret, but is kept out of logs like the others.
/// See Stripe's [API keys](https://docs.stripe.com/keys).
#[derive(Clone)]
pub struct PublishableKey {
    text: Zeroizing<String>,
    mode: Mode,
}

guarded!(PublishableKey);

impl PublishableKey {
    /// Checks the kind of the key and removes white space around it.
    ///
    /// # Errors
    /// [`ConfigError::Empty`], [`ConfigError::Malformed`], or [`ConfigError::WrongKind`], each with
    /// the variable `STRIPE_PUBLISHABLE_KEY`. It refuses a secret key, because the page would show
    /// that key to everyone.
    pub fn new(key: impl Into<String>) -> Result<Self, ConfigError> {
        let text = tidy(PUBLISHABLE_KEY_VARIABLE, key.into())?;
        match Kind::of(&text) {
            Kind::Publishable(mode) => Ok(Self { text, mode }),
            other => Err(ConfigError::WrongKind {
                variable: PUBLISHABLE_KEY_VARIABLE,
                expected: "a publishable key (pk_test_… or pk_live_…)",
                found: other.name(),
            }),
        }
    }

    /// Whether the key is for real money.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The account that the key belongs to, if the key contains it.
    pub(crate) fn account(&self) -> Option<String> {
        account_of(&self.text)
    }

    /// The key itself, for the page.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

/// The signing secret of a webhook endpoint (`whsec_…`).
///
/// Each endpoint has its own secret, in test mode and in live mode. See Stripe's [webhook
/// signatures](https://docs.stripe.com/webhooks#verify-official-libraries).
#[derive(Clone)]
pub struct WebhookSecret {
    text: Zeroizing<String>,
}

guarded!(WebhookSecret);

impl WebhookSecret {
    /// Accepts any visible ASCII text that is not another kind of key.
    ///
    /// White space around it is removed. Stripe's secrets begin with `whsec_`. This is not
    /// required, because other implementations of Stripe's API choose other formats.
    ///
    /// # Errors
    /// [`ConfigError::Empty`], [`ConfigError::Malformed`], or [`ConfigError::WrongKind`], each with
    /// the variable `STRIPE_WEBHOOK_SECRET`.
    pub fn new(secret: impl Into<String>) -> Result<Self, ConfigError> {
        let text = tidy(WEBHOOK_SECRET_VARIABLE, secret.into())?;
        match Kind::of(&text) {
            Kind::WebhookSecret | Kind::Unknown => Ok(Self { text }),
            other => Err(ConfigError::WrongKind {
                variable: WEBHOOK_SECRET_VARIABLE,
                expected: "the signing secret of a webhook endpoint (whsec_…)",
                found: other.name(),
            }),
        }
    }

    /// The secret itself, with its prefix. The whole text is the key of the signature.
    ///
    /// # Security warning
    /// Anyone with this secret can sign events, and so have unpaid orders fulfilled. Use it to
    /// verify signatures and for nothing else.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

/// The client secret of a PaymentIntent (`pi_…_secret_…`).
///
/// One buyer's browser confirms one payment with it. It is read from Stripe's responses. It has no
/// `Serialize`: only [`expose`](Self::expose) puts it into JSON.
///
/// See <https://docs.stripe.com/api/payment_intents/object#payment_intent_object-client_secret>.
#[derive(Clone)]
pub struct ClientSecret {
    text: Zeroizing<String>,
}

guarded!(ClientSecret);

impl ClientSecret {
    /// Accepts any text, because Stripe makes these secrets and browsers send them back.
    pub fn new(secret: impl Into<String>) -> Self {
        Self {
            text: Zeroizing::new(secret.into()),
        }
    }

    /// Whether this is the presented secret, compared in constant time.
    pub fn matches(&self, presented: &str) -> bool {
        self.text.as_bytes().ct_eq(presented.as_bytes()).into()
    }

    /// The secret itself.
    ///
    /// # Security warning
    /// Anyone with this secret can complete the payment and read its details. Give it only to the
    /// buyer's own browser, over TLS. [Do not log it, put it into a URL of your own, or expose it
    /// to anyone else](https://docs.stripe.com/payments/payment-intents#passing-to-client).
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl<'de> Deserialize<'de> for ClientSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// The kind of a text, by Stripe's prefixes.
#[derive(Clone, Copy)]
enum Kind {
    Secret(Mode),
    Restricted(Mode),
    Publishable(Mode),
    WebhookSecret,
    WebhookEndpoint,
    ClientSecret,
    Organization,
    /// A prefix and nothing else: the rest of a template that was never filled in.
    Stub,
    /// `sk_`, `rk_` or `pk_` without `test_` or `live_` after it.
    NoMode,
    Unknown,
}

impl Kind {
    fn of(text: &str) -> Self {
        const PREFIXES: [(&str, Kind); 12] = [
            ("sk_test_", Kind::Secret(Mode::Test)),
            ("sk_live_", Kind::Secret(Mode::Live)),
            ("rk_test_", Kind::Restricted(Mode::Test)),
            ("rk_live_", Kind::Restricted(Mode::Live)),
            ("pk_test_", Kind::Publishable(Mode::Test)),
            ("pk_live_", Kind::Publishable(Mode::Live)),
            ("whsec_", Kind::WebhookSecret),
            ("we_", Kind::WebhookEndpoint),
            ("sk_org_", Kind::Organization),
            ("sk_", Kind::NoMode),
            ("rk_", Kind::NoMode),
            ("pk_", Kind::NoMode),
        ];
        for (prefix, kind) in PREFIXES {
            match text.strip_prefix(prefix) {
                Some("") => return Self::Stub,
                Some(_) => return kind,
                None => {}
            }
        }
        let of_an_object = ["pi_", "seti_", "cs_"]
            .iter()
            .any(|prefix| text.starts_with(prefix));
        if of_an_object && text.contains("_secret_") {
            Self::ClientSecret
        } else {
            Self::Unknown
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Secret(_) => "a secret key",
            Self::Restricted(_) => "a restricted key",
            Self::Publishable(_) => "a publishable key",
            Self::WebhookSecret => "a webhook signing secret",
            Self::WebhookEndpoint => "the id of a webhook endpoint, which is not its secret",
            Self::ClientSecret => "a client secret",
            Self::Organization => "an organization's key",
            Self::Stub => "a prefix with nothing behind it",
            Self::NoMode => "a key that is neither a test nor a live one",
            Self::Unknown => "something else",
        }
    }
}

/// The account of a key, if the key contains it.
///
/// Stripe's keys consist of a prefix, a `5`, the account's id without `acct_`, and a random rest.
/// All keys of an account have this in common, also rolled ones. Older keys and those of other
/// implementations do not contain the account.
fn account_of(key: &str) -> Option<String> {
    let rest = key.splitn(3, '_').nth(2)?;
    let id = rest.strip_prefix('5')?.get(..16)?;
    let tells = id.starts_with('1')
        && rest.len() >= 60
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    tells.then(|| format!("acct_{id}"))
}

/// Removes white space around a value and refuses text that cannot be a key.
///
/// The text is wrapped before any check, so that every return path wipes it.
fn tidy(variable: &'static str, value: String) -> Result<Zeroizing<String>, ConfigError> {
    let value = Zeroizing::new(value);
    let trimmed = value.trim();
    if trimmed.is_empty() {
        return Err(ConfigError::Empty { variable });
    }
    if !trimmed.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ConfigError::Malformed { variable });
    }
    Ok(if trimmed.len() == value.len() {
        value
    } else {
        Zeroizing::new(trimmed.to_owned())
    })
}

#[cfg(test)]
mod tests;
