//! A request from a framework as plain values, so that the shop depends on no framework.

use std::{net::IpAddr, time::Duration};

/// A request whose body has been read completely.
#[derive(Default)]
pub struct Visit {
    host: Option<String>,
    origin: Option<String>,
    fetch_site: Option<String>,
    content_type: Option<String>,
    authorization: Option<String>,
    cookies: String,
    address: Option<IpAddr>,
    body: Vec<u8>,
}

impl Visit {
    /// The largest body, in bytes. Adapters read no more, and answer
    /// [`Problem::TooLarge`](crate::Problem::TooLarge).
    pub const BODY_LIMIT: usize = 16 * 1024;

    /// How long the whole body may take to arrive. After that, adapters answer
    /// [`Problem::TooSlow`](crate::Problem::TooSlow).
    pub const BODY_DEADLINE: Duration = Duration::from_secs(15);

    /// Reads the parts of a request that the shop needs.
    ///
    /// `header` returns the first header of a name in lower case, if there is one. A value that is
    /// not text counts as absent. `address` comes from
    /// [`Shop::visitors_address`](crate::Shop::visitors_address).
    pub fn new<'a>(
        header: impl Fn(&str) -> Option<&'a [u8]>,
        address: Option<IpAddr>,
        body: Vec<u8>,
    ) -> Self {
        let header = |name| str::from_utf8(header(name)?).ok().map(str::to_owned);
        Self {
            host: header("host"),
            origin: header("origin"),
            fetch_site: header("sec-fetch-site"),
            content_type: header("content-type"),
            authorization: header("authorization"),
            cookies: header("cookie").unwrap_or_default(),
            address,
            body,
        }
    }

    pub(crate) fn cookie(&self, name: &str) -> &str {
        cookie(&self.cookies, name)
    }

    /// The visitor's IP address, if it is known.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The token of `Authorization: Bearer …`; empty if there is none.
    pub(crate) fn bearer(&self) -> &str {
        let value = self.authorization.as_deref().unwrap_or_default();
        match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => "",
        }
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn is_json(&self) -> bool {
        let essence = self
            .content_type
            .as_deref()
            .and_then(|value| value.split(';').next())
            .unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("application/json")
    }

    /// The fields of a form; none if the body is not one.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        serde_html_form::from_bytes(&self.body).unwrap_or_default()
    }

    /// Whether another site's page made the browser send this.
    ///
    /// Programs that are not browsers send neither header, and carry no other person's cookies.
    pub(crate) fn is_cross_site(&self) -> bool {
        if let Some(site) = &self.fetch_site {
            return !matches!(site.as_str(), "same-origin" | "none");
        }
        match &self.origin {
            Some(origin) => origin.split_once("://").map(|(_, host)| host) != self.host.as_deref(),
            None => false,
        }
    }
}

/// A form's field; empty if it is not there.
pub(crate) fn field<'a>(form: &'a [(String, String)], name: &str) -> &'a str {
    form.iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
        .unwrap_or_default()
}

/// The value of a cookie in the header; empty if it is not there.
pub(crate) fn cookie<'a>(cookies: &'a str, name: &str) -> &'a str {
    let pairs = cookies
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .filter(|(known, _)| *known == name)
        .map(|(_, value)| value)
        .next()
        .unwrap_or_default()
}

impl std::fmt::Debug for Visit {
    // The request contains cookies and passwords.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Visit")
            .field("address", &self.address)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(headers: &[(&str, &str)]) -> Visit {
        let header = |name: &str| {
            headers
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.as_bytes())
        };
        Visit::new(header, None, Vec::new())
    }

    #[test]
    fn forms_of_other_sites_are_recognised() {
        let host = ("host", "shop.example:3000");
        for (headers, cross_site) in [
            (vec![host], false),
            (vec![host, ("origin", "http://shop.example:3000")], false),
            (vec![host, ("origin", "https://shop.example:3000")], false),
            (vec![host, ("origin", "http://shop.example")], true),
            (vec![host, ("origin", "http://evil.example")], true),
            (vec![host, ("origin", "null")], true),
            (vec![("origin", "http://shop.example")], true),
            (vec![host, ("sec-fetch-site", "same-origin")], false),
            (vec![host, ("sec-fetch-site", "none")], false),
            (vec![host, ("sec-fetch-site", "same-site")], true),
            (
                vec![
                    host,
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://shop.example:3000"),
                ],
                true,
            ),
        ] {
            assert_eq!(visit(&headers).is_cross_site(), cross_site, "{headers:?}");
        }
    }

    #[test]
    fn cookies_and_content_types_are_found() {
        let visit = visit(&[
            ("cookie", "other=1; cart=mug-1;admin=abc"),
            ("content-type", "Application/JSON; charset=utf-8"),
        ]);
        assert_eq!(
            (
                visit.cookie("cart"),
                visit.cookie("admin"),
                visit.cookie("art")
            ),
            ("mug-1", "abc", "")
        );
        assert!(visit.is_json());
        assert!(!Visit::default().is_json());
    }

    #[test]
    fn a_bearers_token_is_found() {
        for (value, token) in [
            ("Bearer abc", "abc"),
            ("bearer  abc ", "abc"),
            ("Basic abc", ""),
            ("Bearer", ""),
            ("", ""),
        ] {
            assert_eq!(
                visit(&[("authorization", value)]).bearer(),
                token,
                "{value}"
            );
        }
        assert_eq!(Visit::default().bearer(), "");
    }

    #[test]
    fn debug_shows_no_cookie() {
        for header in ["cookie", "authorization"] {
            let visit = visit(&[(header, "admin=s3cr3t")]);
            assert!(!format!("{visit:?}").contains("s3cr3t"));
        }
    }
}
