//! The proxy between this machine and Stripe, where a network has one.

use std::ffi::OsString;
use std::net::IpAddr;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::error::BoxError;

/// The variables that name the proxy: the first that is set counts.
const PROXY: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// The variables that name the exceptions.
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// A proxy, and the hosts that are reached without it. It holds a password, so it has no `Debug`.
pub(super) struct Proxy(Matcher);

impl Proxy {
    /// Reads the variables; an empty one counts as absent.
    pub(super) fn from_vars(
        variables: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Self>, BoxError> {
        let first = |names: &[&'static str]| {
            let set = names
                .iter()
                .filter_map(|name| Some((*name, variables(name)?.into_string())));
            set.map(|(name, value)| match value {
                Ok(value) => Ok((name, value.trim().to_owned())),
                Err(_) => Err(BoxError::from(format!("{name} is not UTF-8"))),
            })
            .find(|set| !set.as_ref().is_ok_and(|(_, value)| value.is_empty()))
            .transpose()
        };
        let Some((name, address)) = first(&PROXY)? else {
            return Ok(None);
        };
        let exceptions = first(&NO_PROXY)?.map_or_else(String::new, |(_, value)| value);
        let everything = Matcher::builder().https(address.as_str()).build();
        let is_usable = everything
            .intercept(&Uri::from_static("https://api.stripe.com"))
            .is_some_and(|proxy| {
                let scheme = proxy.uri().scheme();
                scheme == Some(&Scheme::HTTP) || scheme == Some(&Scheme::HTTPS)
            });
        if !is_usable {
            // The value may hold a password.
            return Err(format!("{name} is not an http or https address of a proxy").into());
        }
        let matcher = Matcher::builder().https(address).no(exceptions).build();
        Ok(Some(Self(matcher)))
    }

    /// The proxy, if the way to this address leads through it.
    pub(super) fn on_the_way_to(&self, target: &Uri) -> Option<OnTheWay> {
        match target.host() {
            Some(host) if !is_this_machine(host) => self.0.intercept(target).map(OnTheWay),
            _ => None,
        }
    }
}

/// A proxy on the way to an address.
pub(super) struct OnTheWay(Intercept);

impl OnTheWay {
    /// Asks the proxy for a tunnel first. The caller encrypts everything that goes through it.
    pub(super) fn tunnel<C>(&self, connector: C) -> Tunnel<C> {
        let tunnel = Tunnel::new(self.0.uri().clone(), connector);
        match self.0.basic_auth() {
            Some(auth) => tunnel.with_auth(auth.clone()),
            None => tunnel,
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(variables: &[(&str, &str)]) -> Result<Option<Proxy>, BoxError> {
        Proxy::from_vars(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    /// The proxy's address, if the way to `target` leads through it.
    fn way(variables: &[(&str, &str)], target: &'static str) -> Option<String> {
        let on_the_way = proxy(variables)
            .unwrap()?
            .on_the_way_to(&Uri::from_static(target))?;
        Some(on_the_way.0.uri().to_string())
    }

    const STRIPE: &str = "https://api.stripe.com/v1/events";

    #[test]
    fn the_first_variable_that_is_set_names_the_proxy() {
        for names in [&PROXY[..], &PROXY[1..], &PROXY[2..], &PROXY[3..]] {
            let set: Vec<_> = names
                .iter()
                .map(|name| {
                    (
                        *name,
                        format!("http://{}.example:3128", name.replace('_', "-")),
                    )
                })
                .collect();
            let set: Vec<_> = set.iter().map(|(name, value)| (*name, &**value)).collect();
            let expected = names.first().map(|name| name.replace('_', "-"));
            assert_eq!(
                way(&set, STRIPE),
                expected.map(|name| format!("http://{name}.example:3128/"))
            );
        }
        assert_eq!(way(&[], STRIPE), None);
        // Empty counts as absent.
        assert_eq!(way(&[("HTTPS_PROXY", " ")], STRIPE), None);
        let second = [("HTTPS_PROXY", ""), ("https_proxy", "proxy.example:3128")];
        assert_eq!(
            way(&second, STRIPE).as_deref(),
            Some("http://proxy.example:3128/")
        );
        // It is for another kind of address.
        assert_eq!(way(&[("HTTP_PROXY", "http://proxy.example")], STRIPE), None);
    }

    #[test]
    fn some_hosts_are_reached_without_it() {
        let proxy = ("HTTPS_PROXY", "http://proxy.example:3128");
        for (exceptions, is_used) in [
            ("", true),
            ("example.com", true),
            ("api.stripe.com", false),
            ("stripe.com", false),
            (".stripe.com", false),
            ("a.example, stripe.com", false),
            ("*", false),
        ] {
            for name in NO_PROXY {
                let set = [proxy, (name, exceptions)];
                assert_eq!(way(&set, STRIPE).is_some(), is_used, "{exceptions}");
            }
        }
        let network = [proxy, ("NO_PROXY", "10.0.0.0/8")];
        assert_eq!(way(&network, "https://10.1.2.3:8443/"), None);
        assert!(way(&network, "https://11.1.2.3:8443/").is_some());
    }

    #[test]
    fn this_machine_and_plain_http_never_go_through_it() {
        let everywhere = [
            ("HTTPS_PROXY", "http://proxy.example:3128"),
            ("HTTP_PROXY", "http://proxy.example:3128"),
            ("ALL_PROXY", "http://proxy.example:3128"),
        ];
        for target in [
            "http://127.0.0.1:12111/v1",
            "https://127.0.0.1:12111/v1",
            "https://127.1.2.3/v1",
            "https://[::1]:12111/v1",
            "https://localhost/v1",
            "https://LOCALHOST/v1",
            "http://sandbox:12111/v1",
        ] {
            assert_eq!(way(&everywhere, target), None, "{target}");
        }
        assert!(way(&everywhere, STRIPE).is_some());
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_found_at_start_and_its_password_not_shown() {
        for value in [
            "socks5://user:hush@proxy.example:1080",
            "ftp://user:hush@proxy.example",
            "http://user:hush@",
            "http://user:hush@proxy example",
        ] {
            let Err(error) = proxy(&[("https_proxy", value)]) else {
                panic!("{value}");
            };
            let text = format!("{error} {error:?}");
            assert!(text.contains("https_proxy"), "{text}");
            assert!(
                !text.contains("hush") && !text.contains("example"),
                "{text}"
            );
        }
    }
}
