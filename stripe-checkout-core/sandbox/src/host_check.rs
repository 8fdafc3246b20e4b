//! Checks which requests may be answered.
//!
//! The sandbox listens on loopback, but every page that a developer opens in a browser can send
//! requests there. A name that points to this machine by DNS rebinding must not give access, and no
//! other origin may see or change more than it should.

use http::{HeaderMap, StatusCode, Uri, header};

use super::{api_error::ApiError, endpoint::is_this_machine};

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Refuses a request to any name other than this machine's own. A target such as
/// `http://localhost/v1/events` also names a host.
pub(crate) fn host(target: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    let target = target.authority();
    if target.is_none_or(|target| is_this_machine(target.as_str())) && named(headers).is_some() {
        return Ok(());
    }
    Err(refused(
        "The sandbox answers to localhost and to addresses like 127.0.0.1 only, and this request names something else.",
    ))
}

/// Returns whether a page in a browser sent the request. If a user types the address, no page sent
/// it.
pub(crate) fn is_from_page(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    headers.contains_key(header::ORIGIN) || sites.any(|site| site.as_bytes() != b"none")
}

/// Refuses requests from other pages to the sandbox's own page: its keys and switches are for that
/// page alone. A program that is not a browser sends neither header.
pub(crate) fn own_page(headers: &HeaderMap) -> Result<(), ApiError> {
    let own = named(headers).map(|host| format!("http://{host}"));
    let origin = headers.get_all(header::ORIGIN).iter().all(|origin| {
        own.as_deref()
            .is_some_and(|own| origin.as_bytes() == own.as_bytes())
    });
    let site = headers
        .get_all(SEC_FETCH_SITE)
        .iter()
        .all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    if origin && site {
        Ok(())
    } else {
        Err(refused("Only the sandbox's own page may ask this."))
    }
}

/// Returns the request's only host, as it was written, if it is this machine.
fn named(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return None;
    };
    let host = host.to_str().ok()?;
    is_this_machine(host).then_some(host)
}

fn refused(why: &str) -> ApiError {
    ApiError::invalid_with_status(StatusCode::FORBIDDEN, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn host(headers: &HeaderMap) -> Result<(), ApiError> {
        super::host(&Uri::from_static("/v1/events"), headers)
    }

    #[test]
    fn names_of_this_machine() {
        for good in [
            "127.0.0.1:12111",
            "127.0.0.1",
            "localhost:1",
            "LocalHost",
            "[::1]",
            "[::1]:80",
            "[0:0::1]:65535",
            "127.9.9.9:3",
        ] {
            assert!(host(&headers(&[("host", good)])).is_ok(), "{good}");
        }
        for bad in [
            "rebound.example:12111",
            "localhost.rebound.example",
            "127.0.0.1.rebound.example",
            "10.0.0.1",
            "0.0.0.0:12111",
            "user@localhost",
            "localhost, rebound.example",
            "127.0.0.1:41380.evil.example",
            "127.0.0.1:41380:evil.example",
            "localhost:41380.evil.example",
            "[::1]:41380.evil.example",
            "[::1].evil.example",
            "[::1]evil.example",
            "localhost:",
            "localhost:80a",
            "localhost:+80",
            "localhost:65536",
            "localhost: 80",
            "localhost.",
            "localhost.:80",
            "127.0.0.1.",
            "127.1",
            "127.0.0.01",
            "0x7f.0.0.1",
            "2130706433",
            "user:pass@127.0.0.1",
            "evil.example@127.0.0.1",
            "127.0.0.1@evil.example",
            "127.0.0.1/",
            "127.0.0.1?",
            "127.0.0.1#",
            "http://127.0.0.1",
            "::1",
            "::1:80",
            "[::1",
            "[[::1]]",
            "[127.0.0.1]",
            "[::1%lo]:80",
            "[::2]",
            "[::ffff:127.0.0.1]",
            "[]",
            ":80",
            "",
        ] {
            assert!(host(&headers(&[("host", bad)])).is_err(), "{bad}");
        }
        assert!(host(&headers(&[])).is_err());
        let local = headers(&[("host", "localhost")]);
        for (target, good) in [
            ("http://127.0.0.1:1/v1/events", true),
            ("http://evil.example/v1/events", false),
            ("http://127.0.0.1:1.evil.example/v1/events", false),
        ] {
            // The parser of targets may refuse the target first.
            if let Ok(uri) = target.parse::<Uri>() {
                assert_eq!(super::host(&uri, &local).is_ok(), good, "{target}");
            }
        }
        let two = headers(&[("host", "localhost"), ("host", "rebound.example")]);
        assert!(host(&two).is_err());
    }

    #[test]
    fn the_own_page_and_no_other() {
        let ask = |more: &[(&'static str, &str)]| {
            let mut all = vec![("host", "localhost:12111")];
            all.extend(more);
            own_page(&headers(&all))
        };
        for good in [
            &[][..],
            &[("origin", "http://localhost:12111")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("origin", "http://localhost:12111"),
            ],
            &[("sec-fetch-site", "none")],
        ] {
            assert!(ask(good).is_ok(), "{good:?}");
        }
        for bad in [
            &[("origin", "http://localhost:3000")][..],
            &[("origin", "http://127.0.0.1:12111")],
            &[("origin", "https://localhost:12111")],
            &[("origin", "null")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "cross-site")],
            &[
                ("origin", "http://localhost:12111"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[
                ("origin", "http://localhost:12111"),
                ("origin", "https://other.example"),
            ],
        ] {
            assert!(ask(bad).is_err(), "{bad:?}");
        }
    }
}
