//! Whose requests are answered. The sandbox listens on loopback, but every page that a developer opens in a browser can send requests there: neither a name that
//! was bent to this machine (DNS rebinding) nor another origin may see or change anything that it should not.

use http::{HeaderMap, StatusCode, header, uri::Authority};

use super::{api_error::ApiError, endpoint::is_this_machine};

/// Refuses a request that was sent to any other name than this machine's own.
pub(crate) fn host(headers: &HeaderMap) -> Result<(), ApiError> {
    named(headers).map(|_| ()).ok_or_else(|| {
        refused("The sandbox answers to localhost and to addresses like 127.0.0.1 only, and this request's Host header names something else.")
    })
}

/// Refuses what another page sends to the sandbox's own: its keys and its switches are for that page alone. A program that is no browser sends neither header.
pub(crate) fn own_page(headers: &HeaderMap) -> Result<(), ApiError> {
    let own = named(headers).map(|host| format!("http://{host}"));
    let origin = headers.get_all(header::ORIGIN).iter().all(|origin| {
        own.as_deref()
            .is_some_and(|own| origin.as_bytes() == own.as_bytes())
    });
    let site = headers
        .get_all("sec-fetch-site")
        .iter()
        .all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    if origin && site {
        Ok(())
    } else {
        Err(refused("Only the sandbox's own page may ask this."))
    }
}

/// The one host of the request, if it is this machine, as it was written.
fn named(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return None;
    };
    let host = host.to_str().ok()?;
    let authority: Authority = host.parse().ok()?;
    (!host.contains('@') && is_this_machine(authority.host())).then_some(host)
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

    #[test]
    fn names_of_this_machine() {
        for good in [
            "127.0.0.1:12111",
            "127.0.0.1",
            "localhost:1",
            "LocalHost",
            "[::1]:80",
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
            "",
        ] {
            assert!(host(&headers(&[("host", bad)])).is_err(), "{bad}");
        }
        assert!(host(&headers(&[])).is_err());
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
