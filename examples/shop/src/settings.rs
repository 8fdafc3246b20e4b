//! The settings: environment variables, and a `.env` file beside them.
//!
//! The shop reads them once, at the start. It does not start if a value is invalid.

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr, TcpListener},
    num::NonZeroU32,
};

use stripe_checkout_core::{Config, ConfigError, DotEnv, Mode};

/// All settings. An empty variable counts as absent. `Debug` shows no password.
pub struct Settings {
    /// `BIND_ADDRESS` (default `127.0.0.1`) and `PORT` (default 3000; 0 takes any free port).
    pub address: SocketAddr,
    /// `DATABASE_URL`: `sqlite://…` or `postgres://…`; default `sqlite://shop.db`.
    ///
    /// SQLite's file is created if it does not exist. PostgreSQL's database has to exist.
    pub database_url: String,
    /// `QUEUED`: whether a webhook is answered as soon as its event is stored; default no.
    ///
    /// The worker then runs the event. By default, the shop answers after it ran the event.
    pub queued: bool,
    /// `RECONCILE`: whether the shop asks Stripe for missed events and payments; default yes.
    ///
    /// It asks at the start, and each hour.
    pub reconcile: bool,
    /// `ADMIN_PASSWORD`. If it is not set, the shop generates a password and prints it.
    pub admin_password: Option<Password>,
    /// `METRICS_TOKEN`: the token that reads `/metrics`. If it is not set, the route is 404.
    pub metrics_token: Option<Password>,
    /// `PAYMENTS_PER_MINUTE`: how many payments one network may begin in a minute; default 20.
    ///
    /// It also limits how many orders the network may create. `None` (0) is no limit.
    pub payments_per_minute: Option<NonZeroU32>,
    /// `PROXY_HEADER`: the header in which a proxy writes the visitor's address.
    ///
    /// An example is `X-Forwarded-For`. Without it, the connection's address counts.
    pub proxy_header: Option<String>,
    /// `BEHIND_PROXY`: whether buyers reach the shop only through a proxy. It needs `PROXY_HEADER`.
    ///
    /// The proxy then bounds connections and request heads.
    pub behind_proxy: bool,
    /// `SITE_URL`: the shop's address as buyers know it, like `https://shop.example`. Stripe's own
    /// page sends buyers back there.
    ///
    /// If it is not set, the shop uses the address that it listens at. With live keys, no buyer is
    /// then sent to Stripe's page.
    pub site: Option<String>,
    /// Stripe itself, or the sandbox.
    pub stripe: Stripe,
}

/// Stripe itself, or the sandbox.
#[derive(Debug)]
pub enum Stripe {
    /// The Stripe account, or the server, that these keys and addresses belong to.
    Keys(Box<Config>),
    /// A sandbox in this process.
    Sandbox,
}

/// A password or token that does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub(crate) String);

impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// A mistake in the settings. It names the variable, never its value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The value is not valid for this variable.
    #[error("{variable} must be {expected}")]
    Invalid {
        /// The variable.
        variable: &'static str,
        /// The values that are valid.
        expected: &'static str,
    },
    /// The keys are wrong or incomplete.
    #[error(transparent)]
    Stripe(#[from] ConfigError),
    /// Both the sandbox and keys are set. The shop does not guess where money is concerned.
    #[error("STRIPE_SANDBOX=1 and STRIPE_SECRET_KEY are both set: choose the sandbox or the keys")]
    SandboxAndKeys,
    /// All visitors would look like one visitor, and share one limit.
    #[error(
        "BEHIND_PROXY=1 needs PROXY_HEADER: the header in which the proxy writes the visitor's address"
    )]
    ProxyWithoutHeader,
    /// Without a proxy, strangers could take all connections.
    #[error(
        "with live keys this shop needs a proxy in front, because its framework bounds neither connections nor the heads of requests: see examples/rocket/README.md, and set BEHIND_PROXY=1 and PROXY_HEADER"
    )]
    NeedsProxy,
    /// Without keys, a deployment must not hand out goods for play money.
    #[error(
        "STRIPE_SECRET_KEY is not set. Set it, STRIPE_PUBLISHABLE_KEY and STRIPE_WEBHOOK_SECRET to take payments, or STRIPE_SANDBOX=1 to try the shop without Stripe (debug builds do that by themselves)"
    )]
    NoKeys,
}

impl Settings {
    /// Reads the environment, and then a `.env` file in the working folder.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn from_env() -> Result<Self, SettingsError> {
        let variables = DotEnv::read()?;
        Self::from_vars(|name| variables.get(name), cfg!(debug_assertions))
    }

    /// Refuses live keys without a proxy, for a framework that leaves connections unbounded.
    ///
    /// # Errors
    /// [`SettingsError::NeedsProxy`].
    pub fn require_proxy(&self) -> Result<(), SettingsError> {
        let live =
            matches!(&self.stripe, Stripe::Keys(config) if config.mode() == Some(Mode::Live));
        match live && !self.behind_proxy {
            true => Err(SettingsError::NeedsProxy),
            false => Ok(()),
        }
    }

    /// Reads the variables that `variable` returns. With `debug`, the sandbox also starts if
    /// neither keys nor `STRIPE_SANDBOX` are set.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn from_vars(
        variable: impl Fn(&str) -> Option<OsString>,
        debug: bool,
    ) -> Result<Self, SettingsError> {
        let text =
            |name: &'static str, expected: &'static str| -> Result<Option<String>, SettingsError> {
                let Some(value) = variable(name) else {
                    return Ok(None);
                };
                let invalid = |_| SettingsError::Invalid {
                    variable: name,
                    expected,
                };
                let value = value.into_string().map_err(invalid)?;
                // Empty counts as absent: Compose files and CI write "not set" like this.
                Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty()))
            };
        let port: u16 = parse(text("PORT", PORT)?, "PORT", PORT)?.unwrap_or(3000);
        let host: IpAddr = parse(text("BIND_ADDRESS", BIND)?, "BIND_ADDRESS", BIND)?
            .unwrap_or(IpAddr::from([127, 0, 0, 1]));
        let switch = |variable: &'static str| match text(variable, SWITCH)?.as_deref() {
            None => Ok(None),
            Some("1" | "true") => Ok(Some(true)),
            Some("0" | "false") => Ok(Some(false)),
            Some(_) => Err(SettingsError::Invalid {
                variable,
                expected: SWITCH,
            }),
        };
        let sandbox = switch("STRIPE_SANDBOX")?;
        let has_keys = variable("STRIPE_SECRET_KEY")
            .is_some_and(|key| key.to_str().is_none_or(|key| !key.trim().is_empty()));
        let stripe = match (has_keys, sandbox) {
            (true, Some(true)) => return Err(SettingsError::SandboxAndKeys),
            (true, _) => Stripe::Keys(Box::new(Config::from_vars(&variable)?)),
            (false, Some(true)) => Stripe::Sandbox,
            (false, None) if debug => Stripe::Sandbox,
            (false, _) => return Err(SettingsError::NoKeys),
        };
        let proxy_header = text("PROXY_HEADER", HEADER)?;
        let behind_proxy = switch("BEHIND_PROXY")?.unwrap_or(false);
        if behind_proxy && proxy_header.is_none() {
            return Err(SettingsError::ProxyWithoutHeader);
        }
        Ok(Self {
            address: SocketAddr::new(host, port),
            database_url: text("DATABASE_URL", DATABASE)?
                .unwrap_or_else(|| "sqlite://shop.db".to_owned()),
            queued: switch("QUEUED")?.unwrap_or(false),
            reconcile: switch("RECONCILE")?.unwrap_or(true),
            admin_password: text("ADMIN_PASSWORD", PASSWORD)?.map(Password),
            metrics_token: text("METRICS_TOKEN", TOKEN)?.map(Password),
            payments_per_minute: match parse(
                text("PAYMENTS_PER_MINUTE", LIMIT)?,
                "PAYMENTS_PER_MINUTE",
                LIMIT,
            )? {
                None => NonZeroU32::new(20),
                Some(limit) => NonZeroU32::new(limit),
            },
            proxy_header,
            behind_proxy,
            site: text("SITE_URL", SITE)?,
            stripe,
        })
    }

    /// Chooses a free port if the port is 0.
    ///
    /// It is for a framework that binds its address itself and reports the port only then. For a
    /// short moment, another program may take the port.
    ///
    /// # Errors
    /// The system's error, if it is not possible to listen at this address.
    pub fn choose_port(&mut self) -> std::io::Result<()> {
        if self.address.port() == 0 {
            self.address = TcpListener::bind(self.address)?.local_addr()?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            address,
            database_url,
            queued,
            reconcile,
            admin_password,
            metrics_token,
            payments_per_minute,
            proxy_header,
            behind_proxy,
            site,
            stripe,
        } = self;
        // The rest of the address may have a password in it.
        let database = database_url.split_once(':').map(|(kind, _)| kind);
        formatter
            .debug_struct("Settings")
            .field("address", address)
            .field("database", &database)
            .field("queued", queued)
            .field("reconcile", reconcile)
            .field("admin_password", admin_password)
            .field("metrics_token", metrics_token)
            .field("payments_per_minute", payments_per_minute)
            .field("proxy_header", proxy_header)
            .field("behind_proxy", behind_proxy)
            .field("site", site)
            .field("stripe", stripe)
            .finish()
    }
}

const PORT: &str = "a number from 0 to 65535";
const BIND: &str = "an IP address, like 127.0.0.1 or 0.0.0.0";
const SWITCH: &str = "1 or 0";
const DATABASE: &str = "a database, like sqlite://shop.db or postgres://localhost/shop";
const PASSWORD: &str = "a password, or not set at all";
const LIMIT: &str = "a number, or 0 for no limit";
const HEADER: &str = "a header's name, or not set at all";
const SITE: &str = "an address, like https://shop.example, or not set at all";
const TOKEN: &str = "a token, or not set at all";

fn parse<T: std::str::FromStr>(
    value: Option<String>,
    variable: &'static str,
    expected: &'static str,
) -> Result<Option<T>, SettingsError> {
    value
        .map(|value| {
            value
                .parse()
                .map_err(|_| SettingsError::Invalid { variable, expected })
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [(&str, &str); 3] = [
        ("STRIPE_SECRET_KEY", "sk_test_123"),
        ("STRIPE_PUBLISHABLE_KEY", "pk_test_123"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_123"),
    ];

    fn read(vars: &[(&str, &str)], debug: bool) -> Result<Settings, SettingsError> {
        let find = |name: &str| {
            vars.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        };
        Settings::from_vars(find, debug)
    }

    #[test]
    fn a_fresh_clone_needs_nothing() {
        let settings = read(&[], true).expect("the defaults are good");
        assert_eq!(settings.address, SocketAddr::from(([127, 0, 0, 1], 3000)));
        assert_eq!(settings.database_url, "sqlite://shop.db");
        assert!(!settings.queued && settings.reconcile);
        assert_eq!(settings.admin_password, None);
        assert_eq!(settings.payments_per_minute, NonZeroU32::new(20));
        assert_eq!(settings.proxy_header, None);
        assert!(matches!(settings.stripe, Stripe::Sandbox));
    }

    #[test]
    fn payments_have_the_limit_that_is_set_or_none() {
        for (value, limit) in [("7", NonZeroU32::new(7)), ("0", None)] {
            let settings = read(&[("PAYMENTS_PER_MINUTE", value)], true).expect("a value for it");
            assert_eq!(settings.payments_per_minute, limit);
        }
    }

    #[test]
    fn it_is_queued_and_reconciled_when_it_is_told_to_be() {
        for (value, queued) in [("1", true), ("true", true), ("0", false), ("false", false)] {
            let settings = read(&[("QUEUED", value)], true).expect("a value for it");
            assert_eq!(settings.queued, queued, "{value}");
            let settings = read(&[("RECONCILE", value)], true).expect("a value for it");
            assert_eq!(settings.reconcile, queued, "{value}");
        }
    }

    #[test]
    fn a_release_without_keys_does_not_start() {
        assert!(matches!(read(&[], false), Err(SettingsError::NoKeys)));
        assert!(matches!(
            read(&[("STRIPE_SANDBOX", "0")], true),
            Err(SettingsError::NoKeys)
        ));
        assert!(matches!(
            read(&[("STRIPE_SANDBOX", "1")], false),
            Ok(Settings {
                stripe: Stripe::Sandbox,
                ..
            })
        ));
        // The other keys alone are a mistake, and do not count as keys.
        assert!(matches!(
            read(&KEYS[1..], false),
            Err(SettingsError::NoKeys)
        ));
    }

    #[test]
    fn keys_are_used_and_checked() {
        assert!(matches!(
            read(&KEYS, false),
            Ok(Settings {
                stripe: Stripe::Keys(_),
                ..
            })
        ));
        assert!(matches!(
            read(&KEYS[..2], true),
            Err(SettingsError::Stripe(ConfigError::Missing {
                variable: "STRIPE_WEBHOOK_SECRET"
            }))
        ));
        for empty in ["", " "] {
            let none = [("STRIPE_SECRET_KEY", empty), ("STRIPE_SANDBOX", "1")];
            assert!(matches!(
                read(&none, false),
                Ok(Settings {
                    stripe: Stripe::Sandbox,
                    ..
                })
            ));
            assert!(matches!(
                read(&none[..1], false),
                Err(SettingsError::NoKeys)
            ));
        }
        let mut both = KEYS.to_vec();
        both.push(("STRIPE_SANDBOX", "1"));
        assert!(matches!(
            read(&both, true),
            Err(SettingsError::SandboxAndKeys)
        ));
    }

    #[test]
    fn live_keys_need_a_proxy_where_the_framework_bounds_nothing() {
        let with = |keys: &[(&'static str, &'static str)],
                    more: &[(&'static str, &'static str)]| {
            read(&[keys, more].concat(), false)
        };
        let live = [
            ("STRIPE_SECRET_KEY", "sk_live_123"),
            ("STRIPE_PUBLISHABLE_KEY", "pk_live_123"),
            ("STRIPE_WEBHOOK_SECRET", "whsec_123"),
        ];
        let behind = [("BEHIND_PROXY", "1"), ("PROXY_HEADER", "X-Real-IP")];
        for (keys, more, refused) in [
            (&live, &[][..], true),
            (&live, &behind[1..], true),
            (&live, &[("BEHIND_PROXY", "0")][..], true),
            (&live, &behind[..], false),
            (&KEYS, &[][..], false),
        ] {
            let settings = with(keys, more).expect("they are settings");
            let answer = settings.require_proxy();
            assert_eq!(answer.is_err(), refused, "{keys:?} {more:?}");
        }
        let alone = with(&live, &behind[..1]);
        assert!(matches!(alone, Err(SettingsError::ProxyWithoutHeader)));
        let sandbox = read(&[], true).expect("the defaults are good");
        assert!(sandbox.require_proxy().is_ok());
    }

    #[test]
    fn an_empty_variable_counts_as_absent() {
        let absent = format!("{:?}", read(&[], true).expect("the defaults are good"));
        for variable in [
            "PORT",
            "DATABASE_URL",
            "ADMIN_PASSWORD",
            "METRICS_TOKEN",
            "PAYMENTS_PER_MINUTE",
            "PROXY_HEADER",
            "BEHIND_PROXY",
            "SITE_URL",
            "STRIPE_SANDBOX",
            "QUEUED",
            "RECONCILE",
            "BIND_ADDRESS",
        ] {
            for empty in ["", " ", "\n"] {
                let settings = read(&[(variable, empty)], true).expect("as if it were not set");
                assert_eq!(format!("{settings:?}"), absent, "{variable}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_named_and_not_shown() {
        for variable in [
            "PORT",
            "BIND_ADDRESS",
            "STRIPE_SANDBOX",
            "QUEUED",
            "PAYMENTS_PER_MINUTE",
            "BEHIND_PROXY",
        ] {
            let error = read(&[(variable, "s3cr3t")], true).expect_err("not a value for it");
            assert!(error.to_string().starts_with(variable), "{error}");
            assert!(!format!("{error} {error:?}").contains("s3cr3t"));
        }
        for (variable, value) in [
            ("ADMIN_PASSWORD", "s3cr3t"),
            ("METRICS_TOKEN", "s3cr3t"),
            ("DATABASE_URL", "postgres://shop:s3cr3t@db.example/shop"),
            ("DATABASE_URL", "s3cr3t"),
        ] {
            let settings = read(&[(variable, value)], true).expect("it may be anything");
            assert!(!format!("{settings:?}").contains("s3cr3t"), "{variable}");
        }
    }
}
