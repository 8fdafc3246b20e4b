//! What a framework is given to send: status, headers and body, decided once for all three.

use serde_json::Value;

/// An answer that every framework can send.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, values in visible ASCII. A name may come twice (`set-cookie`).
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// The pages load their own style, script and pictures, and nothing else; nobody frames them; forms go home only.
const PAGE: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const FORMS: &str = "form-action 'self'";
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

impl Answer {
    fn new(
        status: u16,
        content_type: &str,
        policy: &str,
        cache: &str,
        body: impl Into<Vec<u8>>,
    ) -> Self {
        let headers = vec![
            ("content-type", content_type.to_owned()),
            ("cache-control", cache.to_owned()),
            ("content-security-policy", policy.to_owned()),
            // An order's address is its key, so other sites do not get it. (`no-referrer` would take the origin from our own forms, too.)
            ("referrer-policy", "same-origin".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
            // For browsers that do not know `frame-ancestors`.
            ("x-frame-options", "DENY".to_owned()),
        ];
        Self {
            status,
            headers,
            body: body.into(),
        }
    }

    pub(crate) fn html(status: u16, html: String) -> Self {
        Self::new(status, "text/html; charset=utf-8", PAGE, "no-store", html)
    }

    /// Prometheus's own type of text.
    pub(crate) fn text(text: String) -> Self {
        let content_type = "text/plain; version=0.0.4; charset=utf-8";
        Self::new(200, content_type, NOTHING, "no-store", text)
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(
            status,
            "application/json",
            NOTHING,
            "no-store",
            body.to_string(),
        )
    }

    /// A part of the program: it may be kept for as long as its address stays the same.
    pub(crate) fn asset(content_type: &str, body: &'static str, fingerprinted: bool) -> Self {
        let cache = if fingerprinted {
            "public, max-age=31536000, immutable"
        } else {
            "public, max-age=300"
        };
        Self::new(200, content_type, NOTHING, cache, body)
    }

    /// To another page, by GET.
    pub(crate) fn see_other(location: impl Into<String>) -> Self {
        Self::new(303, "text/plain; charset=utf-8", NOTHING, "no-store", "")
            .with("location", location)
    }

    /// To another page, by the same POST.
    pub(crate) fn post_again(location: impl Into<String>) -> Self {
        Self::new(307, "text/plain; charset=utf-8", NOTHING, "no-store", "")
            .with("location", location)
    }

    /// Lets the page's forms lead to this origin, too.
    pub(crate) fn with_forms_to(mut self, origin: &str) -> Self {
        for (name, value) in &mut self.headers {
            if *name == "content-security-policy" {
                *value = value.replace(FORMS, &format!("{FORMS} {origin}"));
            }
        }
        self
    }

    /// Tells browsers to come by HTTPS only, for a year.
    pub(crate) fn by_https_only(self) -> Self {
        self.with("strict-transport-security", "max-age=31536000")
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn with_cookie(self, cookie: &Cookie<'_>) -> Self {
        self.with("set-cookie", cookie.to_string())
    }
}

/// A cookie of ours. No script can read it; whether other sites' links carry it along is `strict`.
pub(crate) struct Cookie<'a> {
    pub(crate) name: &'static str,
    /// Letters, digits, `-` and `.` only.
    pub(crate) value: &'a str,
    pub(crate) path: &'static str,
    pub(crate) seconds: u64,
    pub(crate) strict: bool,
    pub(crate) secure: bool,
}

impl std::fmt::Display for Cookie<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            value,
            path,
            seconds,
            strict,
            secure,
        } = self;
        let same_site = if *strict { "Strict" } else { "Lax" };
        write!(
            formatter,
            "{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite={same_site}"
        )?;
        if *secure {
            formatter.write_str("; Secure")
        } else {
            Ok(())
        }
    }
}
