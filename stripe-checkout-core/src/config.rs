//! The configuration: the keys, and the addresses of Stripe.
//!
//! A mistake in it is found at start and not by the first buyer. No default is unsafe. Without a
//! signing secret there is no configuration, because an unverified webhook must not be accepted.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use zeroize::Zeroizing;

#[cfg(feature = "dotenv")]
pub use self::dotenv::DotEnv;
use crate::error::ConfigError;
use crate::secret::{
    Mode, PUBLISHABLE_KEY_VARIABLE, PublishableKey, SECRET_KEY_VARIABLE, SecretKey,
    WEBHOOK_SECRET_VARIABLE, WebhookSecret,
};

/// The version of Stripe's API that this crate uses.
///
/// Every request contains it as `Stripe-Version`. See Stripe's
/// [versioning](https://docs.stripe.com/api/versioning). Events may have any version: that of the
/// webhook endpoint.
pub const API_VERSION: &str = "2026-09-30.endive";

/// The address of Stripe's API.
pub const DEFAULT_API_BASE: &str = "https://api.stripe.com";

/// The address of Stripe.js, in the release for [`API_VERSION`].
pub const DEFAULT_STRIPE_JS_URL: &str = "https://js.stripe.com/endive/stripe.js";

const API_BASE_VARIABLE: &str = "STRIPE_API_BASE";
const STRIPE_JS_VARIABLE: &str = "STRIPE_JS_URL";
const PLAIN_HTTP_VARIABLE: &str = "STRIPE_ALLOW_PLAIN_HTTP";
const OTHER_HOSTS_VARIABLE: &str = "STRIPE_ALLOW_OTHER_HOSTS";

/// The keys, and the addresses of Stripe.
///
/// | variable | content | if it is not set |
/// | --- | --- | --- |
/// | `STRIPE_WEBHOOK_SECRET` | the signing secret of the webhook endpoint | an error |
/// | `STRIPE_SECRET_KEY` | a secret or restricted key | webhooks only |
/// | `STRIPE_PUBLISHABLE_KEY` | the publishable key of the same mode | webhooks only |
/// | `STRIPE_API_BASE` | the address of Stripe's API, without `/v1` | [`DEFAULT_API_BASE`] |
/// | `STRIPE_JS_URL` | the address of Stripe.js | [`DEFAULT_STRIPE_JS_URL`] |
/// | `STRIPE_ALLOW_PLAIN_HTTP` | `1`: allows plain `http` to another machine | this machine only |
/// | `STRIPE_ALLOW_OTHER_HOSTS` | `1`: allows live keys on other hosts | Stripe only |
///
/// `STRIPE_WEBHOOK_SECRET` can contain several secrets, separated by commas, while you roll a
/// secret. One of the two keys without the other is an error. `STRIPE_ALLOW_PLAIN_HTTP` applies to
/// `STRIPE_API_BASE`, with test keys only.
///
/// An empty variable counts as absent. The connection to Stripe reads more variables: see
/// [`PooledTransport`](crate::stripe::PooledTransport).
///
/// `Debug` shows the mode and the addresses, but no key.
///
/// ```
/// use stripe_checkout_core::{Config, Mode, PublishableKey, SecretKey, WebhookSecret};
///
/// // Config::from_env()? reads the variables above. The same by hand:
/// let config = Config::new([WebhookSecret::new("whsec_123")?])?
///     .with_keys(SecretKey::new("sk_test_123")?, PublishableKey::new("pk_test_123")?)?
///     .with_api_base("http://127.0.0.1:12111")?;
///
/// assert_eq!(config.mode(), Some(Mode::Test));
/// assert_eq!(config.api_base(), "http://127.0.0.1:12111");
/// # Ok::<(), stripe_checkout_core::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Config {
    webhook_secrets: Vec<WebhookSecret>,
    keys: Option<(SecretKey, PublishableKey)>,
    api_base: String,
    stripe_js_url: String,
}

impl Config {
    /// Reads the environment variables in the table above.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the variable and never its value. The reasons are:
    ///
    /// - a mandatory variable is missing;
    /// - a key is of another kind;
    /// - a test key stands beside a live key;
    /// - an address is malformed;
    /// - an address is plain `http` to another machine;
    /// - an address would send a live key to another host.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_vars(|name| std::env::var_os(name))
    }

    /// Reads variables from any source, as [`from_env`](Self::from_env) does from the environment.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_vars(variables: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let read = |variable: &'static str| -> Result<Option<Zeroizing<String>>, ConfigError> {
            let Some(value) = variables(variable) else {
                return Ok(None);
            };
            let text = value
                .into_string()
                .map_err(|_| ConfigError::Malformed { variable })?;
            // Empty counts as absent: Compose files and CI write "not set" this way.
            let text = Zeroizing::new(text);
            Ok((!text.trim().is_empty()).then_some(text))
        };

        let webhook_secrets = read(WEBHOOK_SECRET_VARIABLE)?
            .ok_or(ConfigError::Missing {
                variable: WEBHOOK_SECRET_VARIABLE,
            })?
            .split(',')
            .map(WebhookSecret::new)
            .collect::<Result<Vec<_>, _>>()?;
        let mut config = Self::new(webhook_secrets)?;

        let secret_key = read(SECRET_KEY_VARIABLE)?
            .map(|key| SecretKey::new(key.as_str()))
            .transpose()?;
        let publishable_key = read(PUBLISHABLE_KEY_VARIABLE)?
            .map(|key| PublishableKey::new(key.as_str()))
            .transpose()?;
        config = match (secret_key, publishable_key) {
            (Some(secret), Some(publishable)) => config.with_keys(secret, publishable)?,
            (Some(_), None) => {
                return Err(ConfigError::Missing {
                    variable: PUBLISHABLE_KEY_VARIABLE,
                });
            }
            (None, Some(_)) => {
                return Err(ConfigError::Missing {
                    variable: SECRET_KEY_VARIABLE,
                });
            }
            (None, None) => config,
        };

        let switch = |variable: &'static str| match read(variable)?.as_ref().map(|text| text.trim())
        {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(_) => Err(ConfigError::NotASwitch { variable }),
        };
        let plain_http = switch(PLAIN_HTTP_VARIABLE)?;
        let other_hosts = switch(OTHER_HOSTS_VARIABLE)?;
        if let Some(address) = read(API_BASE_VARIABLE)? {
            config = match plain_http {
                true => config.with_plain_http_api_base(&address)?,
                false => config.with_api_base(&address)?,
            };
        }
        if let Some(address) = read(STRIPE_JS_VARIABLE)? {
            config = config.with_stripe_js_url(&address)?;
        }
        if !other_hosts {
            config.no_live_key_to_other_hosts()?;
        }
        Ok(config)
    }

    /// Reads the environment, and a `.env` file in the working folder.
    ///
    /// If both set a variable, the environment counts. It logs the name of the file. It never reads
    /// a file in a parent folder, and does not change the environment. [`DotEnv`] reads your own
    /// variables from the same file. `STRIPE_ALLOW_OTHER_HOSTS` counts in the environment only: a
    /// file that others can write must not allow another host.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env), and as [`DotEnv::read`].
    #[cfg(feature = "dotenv")]
    pub fn from_dotenv() -> Result<Self, ConfigError> {
        let variables = DotEnv::read()?;
        Self::from_vars(|name| match name {
            OTHER_HOSTS_VARIABLE => std::env::var_os(name),
            name => variables.get(name),
        })
    }

    /// Refuses other hosts with a live key.
    ///
    /// A file that others can write must not send a live key, or a buyer's card, to another host.
    fn no_live_key_to_other_hosts(&self) -> Result<(), ConfigError> {
        if self.mode() != Some(Mode::Live) {
            return Ok(());
        }
        for (variable, address) in [
            (API_BASE_VARIABLE, &self.api_base),
            (STRIPE_JS_VARIABLE, &self.stripe_js_url),
        ] {
            if !is_stripes(address) {
                return Err(ConfigError::OtherHost { variable });
            }
        }
        Ok(())
    }

    /// A configuration that can verify webhooks.
    ///
    /// It has one signing secret or several: while you roll a secret, the old and the new one.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] without any secret.
    pub fn new(
        webhook_secrets: impl IntoIterator<Item = WebhookSecret>,
    ) -> Result<Self, ConfigError> {
        let webhook_secrets: Vec<_> = webhook_secrets.into_iter().collect();
        if webhook_secrets.is_empty() {
            return Err(ConfigError::Missing {
                variable: WEBHOOK_SECRET_VARIABLE,
            });
        }
        Ok(Self {
            webhook_secrets,
            keys: None,
            api_base: DEFAULT_API_BASE.to_owned(),
            stripe_js_url: DEFAULT_STRIPE_JS_URL.to_owned(),
        })
    }

    /// Adds the keys that payments need.
    ///
    /// # Errors
    /// [`ConfigError::ModesDiffer`] if one is a test key and the other a live key;
    /// [`ConfigError::PlainHttp`] for live keys if they would travel unencrypted to the
    /// [address](Self::with_plain_http_api_base).
    pub fn with_keys(
        mut self,
        secret_key: SecretKey,
        publishable_key: PublishableKey,
    ) -> Result<Self, ConfigError> {
        if secret_key.mode() != publishable_key.mode() {
            return Err(ConfigError::ModesDiffer {
                left: SECRET_KEY_VARIABLE,
                right: PUBLISHABLE_KEY_VARIABLE,
            });
        }
        self.keys = Some((secret_key, publishable_key));
        self.no_live_key_over_plain_http()
    }

    /// Sets another address of Stripe's API: a proxy, a sandbox.
    ///
    /// The address has no `/v1`. Slashes at its end are removed.
    ///
    /// # Errors
    /// [`ConfigError::Empty`], [`ConfigError::NotAnAddress`], or [`ConfigError::PlainHttp`] for
    /// `http` to anything but this machine, each with the variable `STRIPE_API_BASE`.
    pub fn with_api_base(mut self, address: &str) -> Result<Self, ConfigError> {
        let address = checked_address(API_BASE_VARIABLE, address, PlainHttp::ToThisMachine)?;
        self.api_base = address.trim_end_matches('/').to_owned();
        Ok(self)
    }

    /// Sets another address, which may be plain `http` to another machine.
    ///
    /// Use it for a sandbox beside the application in the same private network, as in Compose. Only
    /// test keys are allowed. The keys travel through that network unencrypted. Otherwise as
    /// [`with_api_base`](Self::with_api_base).
    ///
    /// # Errors
    /// As [`with_api_base`](Self::with_api_base); [`ConfigError::PlainHttp`] with live keys.
    pub fn with_plain_http_api_base(mut self, address: &str) -> Result<Self, ConfigError> {
        let address = checked_address(API_BASE_VARIABLE, address, PlainHttp::Anywhere)?;
        self.api_base = address.trim_end_matches('/').to_owned();
        self.no_live_key_over_plain_http()
    }

    fn no_live_key_over_plain_http(self) -> Result<Self, ConfigError> {
        if self.mode() == Some(Mode::Live) {
            checked_address(API_BASE_VARIABLE, &self.api_base, PlainHttp::ToThisMachine)?;
        }
        Ok(self)
    }

    /// Sets another address of Stripe.js: another release of Stripe's, or a sandbox's replacement.
    ///
    /// With live keys, Stripe requires that you load it [from
    /// `https://js.stripe.com`](https://docs.stripe.com/js/including). The address may have a
    /// query, like `?advancedFraudSignals=false`: see
    /// <https://docs.stripe.com/disputes/prevention/advanced-fraud-detection>.
    ///
    /// # Errors
    /// As [`with_api_base`](Self::with_api_base), with the variable `STRIPE_JS_URL`.
    pub fn with_stripe_js_url(mut self, address: &str) -> Result<Self, ConfigError> {
        let (place, query) = match address.trim().split_once('?') {
            Some((place, query)) => (place, Some(query)),
            None => (address, None),
        };
        self.stripe_js_url = checked_address(STRIPE_JS_VARIABLE, place, PlainHttp::ToThisMachine)?;
        if let Some(query) = query {
            // No underscores: each of Stripe's keys contains one, and the page shows this address
            // to everyone.
            let is_plain = query
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.~%+=&".contains(&byte));
            if !is_plain {
                return Err(ConfigError::NotAnAddress {
                    variable: STRIPE_JS_VARIABLE,
                });
            }
            self.stripe_js_url.push('?');
            self.stripe_js_url.push_str(query);
        }
        Ok(self)
    }

    /// The secret key, if there is one.
    pub fn secret_key(&self) -> Option<&SecretKey> {
        self.keys.as_ref().map(|(secret, _)| secret)
    }

    /// The publishable key, if there is one.
    pub fn publishable_key(&self) -> Option<&PublishableKey> {
        self.keys.as_ref().map(|(_, publishable)| publishable)
    }

    /// Both keys, for code that needs them.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] with the variable `STRIPE_SECRET_KEY`.
    pub fn require_keys(&self) -> Result<(&SecretKey, &PublishableKey), ConfigError> {
        match &self.keys {
            Some((secret, publishable)) => Ok((secret, publishable)),
            None => Err(ConfigError::Missing {
                variable: SECRET_KEY_VARIABLE,
            }),
        }
    }

    /// The Stripe account that the keys belong to, if the keys contain it.
    pub(crate) fn account(&self) -> Option<String> {
        let (secret, publishable) = self.keys.as_ref()?;
        secret.account().or_else(|| publishable.account())
    }

    /// The signing secrets, at least one.
    pub fn webhook_secrets(&self) -> &[WebhookSecret] {
        &self.webhook_secrets
    }

    /// The address of Stripe's API, without a slash at its end.
    pub fn api_base(&self) -> &str {
        &self.api_base
    }

    /// The address of Stripe.js.
    pub fn stripe_js_url(&self) -> &str {
        &self.stripe_js_url
    }

    /// Whether the keys belong to this account.
    ///
    /// Stripe's keys begin with their account's id: the keys of `acct_1H8…` begin with
    /// `sk_test_51H8…`. Older keys do not contain it.
    pub(crate) fn is_of_keys(&self, account: &str) -> bool {
        self.account().is_some_and(|known| known == account)
    }

    /// Whether the keys move real money; `None` without keys.
    pub fn mode(&self) -> Option<Mode> {
        self.secret_key().map(SecretKey::mode)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("mode", &self.mode())
            .field("webhook_secrets", &self.webhook_secrets)
            .field("api_base", &self.api_base)
            .field("stripe_js_url", &self.stripe_js_url)
            .finish_non_exhaustive()
    }
}

/// The machines that plain `http` may reach.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PlainHttp {
    ToThisMachine,
    Anywhere,
}

/// Checks an absolute `http` or `https` address, and returns it with scheme and host in lower case.
///
/// A check of this size needs no URL crate, which the webhook-only build would otherwise include.
/// The characters of the path are a short list, because the address of Stripe.js is part of a
/// header (the page's Content-Security-Policy) and of HTML.
fn checked_address(
    variable: &'static str,
    value: &str,
    plain_http: PlainHttp,
) -> Result<String, ConfigError> {
    let not_an_address = ConfigError::NotAnAddress { variable };
    let value = value.trim();
    if value.is_empty() {
        return Err(ConfigError::Empty { variable });
    }
    let Some((scheme, rest)) = value.split_once("://") else {
        return Err(not_an_address);
    };
    let scheme = scheme.to_ascii_lowercase();
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let path_is_plain = path
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~/%+:@".contains(&byte));
    let Some(host) = Host::of(authority) else {
        return Err(not_an_address);
    };
    if !path_is_plain {
        return Err(not_an_address);
    }
    match scheme.as_str() {
        "https" => {}
        "http" if host.is_loopback() || plain_http == PlainHttp::Anywhere => {}
        "http" => return Err(ConfigError::PlainHttp { variable }),
        _ => return Err(not_an_address),
    }
    Ok(format!(
        "{scheme}://{}{path}",
        authority.to_ascii_lowercase()
    ))
}

/// Whether a checked address leads to one of Stripe's hosts.
fn is_stripes(address: &str) -> bool {
    let Some(rest) = address.strip_prefix("https://") else {
        return false;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.strip_suffix(":443").unwrap_or(authority);
    host.ends_with(".stripe.com")
}

/// The host of an address, as far as the checks need it.
enum Host<'a> {
    Name(&'a str),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Parses `host`, `host:port` or `[v6]:port`.
    ///
    /// User names are not allowed: a key might be written as one, and would be printed with the
    /// address.
    fn of(authority: &'a str) -> Option<Self> {
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (address, port) = bracketed.split_once(']')?;
                (Self::V6(address.parse().ok()?), port)
            }
            None => {
                let (name, port) =
                    authority.split_at(authority.find(':').unwrap_or(authority.len()));
                let host = match name.parse() {
                    Ok(address) => Self::V4(address),
                    Err(_) if is_host_name(name) => Self::Name(name),
                    Err(_) => return None,
                };
                (host, port)
            }
        };
        match port.strip_prefix(':') {
            Some(digits) => is_port(digits).then_some(host),
            None => port.is_empty().then_some(host),
        }
    }

    fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name.eq_ignore_ascii_case("localhost"),
            Self::V4(address) => address.is_loopback(),
            Self::V6(address) => address.is_loopback(),
        }
    }
}

fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.split('.').all(is_label)
}

fn is_port(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit())
        && digits.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(feature = "dotenv")]
mod dotenv;

#[cfg(test)]
mod tests;
