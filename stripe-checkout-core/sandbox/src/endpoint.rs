//! Webhook endpoints, and Stripe's signature: <https://docs.stripe.com/webhooks/signature>.
//!
//! This module signs with its own code. If it shared the library's code, one mistake in both would
//! look like agreement.

use std::{
    collections::BTreeMap,
    fmt::Write,
    net::{Ipv4Addr, Ipv6Addr},
};

use hmac::{Hmac, KeyInit, Mac};
use http::Uri;
use serde_json::{Value, json};
use sha2::Sha256;

use super::ids;
use stripe_checkout_core::API_VERSION;

/// The accounts whose events an endpoint receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accounts {
    /// The sandbox's own account and the connected ones. The API makes no such endpoint; a test,
    /// the dashboard or the command line makes it.
    All,
    Own,
    /// The connected accounts: `connect=true`.
    Connected,
}

/// A webhook endpoint.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) id: String,
    pub(crate) url: Uri,
    /// The address as it was registered: `Uri` would add a slash.
    pub(crate) address: String,
    /// The active signing secrets, newest first. There are two for a while after one was rolled.
    pub(crate) secrets: Vec<String>,
    /// Names of event types, or `*`.
    pub(crate) enabled_events: Vec<String>,
    pub(crate) accounts: Accounts,
    /// Whether the endpoint is disabled and receives no events.
    pub(crate) disabled: bool,
    pub(crate) created: i64,
    pub(crate) description: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("id", &self.id)
            .field("address", &self.address)
            .field("secrets", &"[redacted]")
            .field("enabled_events", &self.enabled_events)
            .finish()
    }
}

impl Endpoint {
    /// Makes an endpoint that has no secret yet.
    pub(crate) fn new(url: Uri, address: String, enabled_events: Vec<String>) -> Self {
        Self {
            id: ids::id("we"),
            url,
            address,
            secrets: Vec::new(),
            enabled_events,
            accounts: Accounts::All,
            disabled: false,
            created: ids::now(),
            description: None,
            metadata: BTreeMap::new(),
        }
    }

    pub(crate) fn render(&self) -> Value {
        json!({
            "id": self.id,
            "object": "webhook_endpoint",
            "api_version": API_VERSION,
            "application": null,
            "created": self.created,
            "description": self.description,
            "enabled_events": self.enabled_events,
            "livemode": false,
            "metadata": self.metadata,
            "status": if self.disabled { "disabled" } else { "enabled" },
            "url": self.address,
        })
    }

    pub(crate) fn wants(&self, event_type: &str, account: Option<&str>) -> bool {
        let from_there = match self.accounts {
            Accounts::All => true,
            Accounts::Own => account.is_none(),
            Accounts::Connected => account.is_some(),
        };
        from_there
            && !self.disabled
            && self
                .enabled_events
                .iter()
                .any(|enabled| enabled == "*" || enabled == event_type)
    }

    /// Returns the `Stripe-Signature` of a body sent at this time.
    ///
    /// It has one `v1` for each active secret. It also has the `v0` that Stripe adds in test mode,
    /// which verifies nothing.
    pub(crate) fn signature(&self, timestamp: i64, body: &[u8]) -> String {
        let mut header = format!("t={timestamp}");
        for secret in &self.secrets {
            // Writing to a string cannot fail.
            let _ = write!(
                header,
                ",v1={}",
                hmac_hex(secret.as_bytes(), timestamp, body)
            );
        }
        let _ = write!(header, ",v0={}", hmac_hex(b"v0", timestamp, body));
        header
    }
}

fn hmac_hex(key: &[u8], timestamp: i64, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        // HMAC accepts keys of any length.
        return String::new();
    };
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let mut hex = String::with_capacity(64);
    for byte in mac.finalize().into_bytes() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Parses an address that a sandbox may send to: plain http on this machine. Test payments must
/// never reach a stranger's server.
pub(crate) fn parse(address: &str) -> Option<Uri> {
    let uri: Uri = address.parse().ok()?;
    let is_local = is_this_machine(uri.authority()?.as_str());
    (uri.scheme_str() == Some("http") && is_local).then_some(uri)
}

/// Returns whether an authority is this machine, independent of any name server.
///
/// It may be `localhost`, an IPv4 address or an IPv6 address in brackets, with or without a port.
/// Nothing else is allowed: no user, no zone, no dot after the name.
pub(crate) fn is_this_machine(authority: &str) -> bool {
    let (is_loopback, rest) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let Some((address, rest)) = bracketed.split_once(']') else {
                return false;
            };
            let address = address.parse::<Ipv6Addr>();
            (address.is_ok_and(|ip| ip.is_loopback()), rest)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, rest) = authority.split_at_checked(end).unwrap_or_default();
            let address = host.parse::<Ipv4Addr>();
            let is_loopback = address.is_ok_and(|ip| ip.is_loopback());
            (is_loopback || host.eq_ignore_ascii_case("localhost"), rest)
        }
    };
    is_loopback && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_that_openssl_made() {
        // printf '%s' '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test
        assert_eq!(
            hmac_hex(b"whsec_test", 1_700_000_000, br#"{"id":"evt_1"}"#),
            "c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925"
        );
    }

    #[test]
    fn one_v1_for_each_secret_and_a_v0() {
        let mut endpoint = Endpoint::new(
            Uri::from_static("http://localhost/"),
            "http://localhost/".to_owned(),
            vec!["*".to_owned()],
        );
        endpoint.secrets = vec!["whsec_new".to_owned(), "whsec_old".to_owned()];
        let header = endpoint.signature(7, b"{}");
        let schemes: Vec<&str> = header
            .split(',')
            .map(|part| part.split_once('=').unwrap().0)
            .collect();
        assert_eq!(schemes, ["t", "v1", "v1", "v0"]);
        assert!(!format!("{endpoint:?}").contains("whsec"));
    }

    #[test]
    fn only_this_machine() {
        for good in [
            "http://127.0.0.1:3000/webhook",
            "http://localhost/webhook?a=b",
            "http://LOCALHOST:1/",
            "http://127.9.9.9/",
            "http://[::1]:3000/webhook",
        ] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in [
            "https://127.0.0.1/webhook",
            "http://example.com/webhook",
            "http://10.0.0.1/",
            "http://127.0.0.1.example.com/",
            "http://localhost@example.com/",
            "http://user@localhost/",
            "http://0.0.0.0/",
            "http://127.0.0.1:3000.evil.example/webhook",
            "http://localhost:/webhook",
            "/webhook",
            "localhost:3000",
            "",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
