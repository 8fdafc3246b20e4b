//! The response for a framework to send: status, headers and body, the same for every framework.

use serde_json::Value;

/// A response that every framework can send.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, values in visible ASCII. A name may be there twice (`set-cookie`).
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// The pages load only the shop's own style sheet, script and pictures. They cannot be framed, and
/// their forms lead to the shop only.
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
            // An order's address is its key, so other sites do not get it. (`no-referrer` would
            // also remove the origin from our own forms.)
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

    /// Text in Prometheus's format.
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

    /// A static file. Browsers keep it for a year if its address has a fingerprint, or for 5
    /// minutes.
    pub(crate) fn asset(content_type: &str, body: &'static str, fingerprinted: bool) -> Self {
        let cache = if fingerprinted {
            "public, max-age=31536000, immutable"
        } else {
            "public, max-age=300"
        };
        Self::new(200, content_type, NOTHING, cache, body)
    }

    /// A redirect to another page, by GET.
    pub(crate) fn see_other(location: impl Into<String>) -> Self {
        Self::new(303, "text/plain; charset=utf-8", NOTHING, "no-store", "")
            .with("location", location)
    }

    /// A redirect to another page, by the same POST.
    pub(crate) fn post_again(location: impl Into<String>) -> Self {
        Self::new(307, "text/plain; charset=utf-8", NOTHING, "no-store", "")
            .with("location", location)
    }

    /// Lets the page's forms also lead to this origin.
    pub(crate) fn with_forms_to(mut self, origin: &str) -> Self {
        for (name, value) in &mut self.headers {
            if *name == "content-security-policy" {
                *value = value.replace(FORMS, &format!("{FORMS} {origin}"));
            }
        }
        self
    }

    /// Tells browsers to use HTTPS only, for a year.
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

/// A cookie of the shop. No script can read it. If `strict` is false, links from other sites carry
/// it along.
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
