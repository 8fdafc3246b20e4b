//! The four keys, as types that cannot be printed by accident or taken for one another.
//!
//! Each is shown as `[redacted]`, has no `Display`, compares in constant time, and is overwritten in memory when it is dropped. `expose` is the one way to its text,
//! so that a search for that word finds every place where a secret leaves this crate's hands.

use std::fmt;

use serde::de::{Deserialize, Deserializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::error::ConfigError;

/// Where each key stands in the environment. Errors name these, never a value.
pub(crate) const SECRET_KEY_VARIABLE: &str = "STRIPE_SECRET_KEY";
pub(crate) const PUBLISHABLE_KEY_VARIABLE: &str = "STRIPE_PUBLISHABLE_KEY";
pub(crate) const WEBHOOK_SECRET_VARIABLE: &str = "STRIPE_WEBHOOK_SECRET";

/// Whether money is real: Stripe keeps test and live objects, keys and webhooks apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Test mode, Stripe's sandboxes, and the sandbox of this crate.
    Test,
    /// Real money.
    Live,
}

impl Mode {
    /// The mode of an object or event by its `livemode` field.
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

/// What all four have in common: they are hidden, wiped, and compared in constant time. (The length is not hidden.)
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

/// The secret key (`sk_test_…`, `sk_live_…`), or a restricted one (`rk_test_…`, `rk_live_…`), with which this server calls Stripe's API.
///
/// See Stripe's [API keys](https://docs.stripe.com/keys). A restricted key with write access to PaymentIntents is enough, and is the better choice.
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
    /// Checks the kind of the key; white space around it is dropped.
    ///
    /// # Errors
    /// [`ConfigError::Empty`], [`ConfigError::Malformed`], or [`ConfigError::WrongKind`], each with the variable `STRIPE_SECRET_KEY`.
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

    /// Whether it is a restricted key, which needs a permission for each kind of request.
    pub(crate) fn is_restricted(&self) -> bool {
        self.text.starts_with("rk_")
    }

    /// The account that the key belongs to, where the key tells.
    pub(crate) fn account(&self) -> Option<String> {
        account_of(&self.text)
    }

    /// The key itself.
    ///
    /// # Security warning
    /// Whoever has it can take and send back the merchant's money. It belongs into the `Authorization` header of a request to Stripe and nowhere else: no log, no
    /// error, no page.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

/// The publishable key (`pk_test_…`, `pk_live_…`), with which Stripe.js in the browser names the merchant's account.
///
/// It is no secret, but is kept out of logs like the others. See Stripe's [API keys](https://docs.stripe.com/keys).
#[derive(Clone)]
pub struct PublishableKey {
    text: Zeroizing<String>,
    mode: Mode,
}

guarded!(PublishableKey);

impl PublishableKey {
    /// Checks the kind of the key; white space around it is dropped.
    ///
    /// # Errors
    /// [`ConfigError::Empty`], [`ConfigError::Malformed`], or [`ConfigError::WrongKind`], each with the variable `STRIPE_PUBLISHABLE_KEY`. A secret key here would be
    /// printed into a page for everyone: it is refused.
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

    /// The account that the key belongs to, where the key tells.
    pub(crate) fn account(&self) -> Option<String> {
        account_of(&self.text)
    }

    /// The key itself, for the page.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

/// The signing secret of a webhook endpoint (`whsec_…`). Each endpoint has its own, in test and in live mode.
///
/// See Stripe's [webhook signatures](https://docs.stripe.com/webhooks#verify-official-libraries).
#[derive(Clone)]
pub struct WebhookSecret {
    text: Zeroizing<String>,
}

guarded!(WebhookSecret);

impl WebhookSecret {
    /// Takes any visible ASCII text that is not another kind of key; white space around it is dropped.
    ///
    /// Stripe's begin with `whsec_`. That is not asked for, because other implementations of Stripe's API choose theirs as they like.
    ///
    /// # Errors
    /// [`ConfigError::Empty`], [`ConfigError::Malformed`], or [`ConfigError::WrongKind`], each with the variable `STRIPE_WEBHOOK_SECRET`.
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

    /// The secret itself, with its prefix: all of it is the key of the signature.
    ///
    /// # Security warning
    /// Whoever has it can sign events, and so have orders fulfilled that nobody paid. It belongs into the verification of a signature and nowhere else.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

/// The client secret of a PaymentIntent (`pi_…_secret_…`), with which one buyer's browser confirms one payment.
///
/// It is read from Stripe's answers, and there is no `Serialize`: into JSON it goes by [`expose`](Self::expose) only.
///
/// See [`client_secret`](https://docs.stripe.com/api/payment_intents/object#payment_intent_object-client_secret).
#[derive(Clone)]
pub struct ClientSecret {
    text: Zeroizing<String>,
}

guarded!(ClientSecret);

impl ClientSecret {
    /// Takes any text: it is Stripe who makes these, and a browser who sends them back.
    pub fn new(secret: impl Into<String>) -> Self {
        Self {
            text: Zeroizing::new(secret.into()),
        }
    }

    /// Whether this is the secret that somebody presented, in constant time.
    pub fn matches(&self, presented: &str) -> bool {
        self.text.as_bytes().ct_eq(presented.as_bytes()).into()
    }

    /// The secret itself.
    ///
    /// # Security warning
    /// Whoever has it can complete the payment and read what it is about. It belongs to the buyer's own browser, over TLS, and nowhere else: [no log, no URL of
    /// ours, nobody else](https://docs.stripe.com/payments/payment-intents#passing-to-client).
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl<'de> Deserialize<'de> for ClientSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// What a text looks like, by Stripe's prefixes.
#[derive(Clone, Copy)]
enum Kind {
    Secret(Mode),
    Restricted(Mode),
    Publishable(Mode),
    WebhookSecret,
    WebhookEndpoint,
    ClientSecret,
    Organization,
    /// A prefix and nothing else: what is left of a template that nobody filled in.
    Stub,
    /// `sk_`, `rk_` or `pk_` without `test_` or `live_` behind it.
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

/// The account of a key. Stripe's keys are a prefix, a `5`, the id of the account without `acct_`,
/// and a random rest; all keys of an account, also rolled ones, have this in common. Keys that are
/// older than that, and those of other implementations, do not tell.
fn account_of(key: &str) -> Option<String> {
    let rest = key.splitn(3, '_').nth(2)?;
    let id = rest.strip_prefix('5')?.get(..16)?;
    let tells = id.starts_with('1')
        && rest.len() >= 60
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    tells.then(|| format!("acct_{id}"))
}

/// Drops white space around a value and refuses what can be no key. The text is wrapped before it is looked at, so that it is wiped on every way out.
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
