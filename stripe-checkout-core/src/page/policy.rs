//! The Content-Security-Policy: the hosts that the page may use, and nothing else.

/// The policy of pages without Stripe.js: only our own files.
pub(crate) const PLAIN_POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     connect-src 'self'; img-src 'self' data:; script-src 'self'; style-src 'self'";

const STRIPE: &str = "https://js.stripe.com";

/// The policy of the checkout page, for an address of Stripe.js and an address of Stripe's API.
///
/// For Stripe's own Stripe.js, the hosts are [those that Stripe lists][hosts], without
/// `maps.googleapis.com`: only an Address Element needs it, and the page has none. Another
/// implementation of Stripe.js gets its own origin and the origin of its API.
///
/// [hosts]: https://docs.stripe.com/security/guide#content-security-policy
pub(crate) fn content_security_policy(stripe_js_url: &str, api_base: &str) -> String {
    let script_origin = origin(stripe_js_url);
    let (script, frame, connect) = if script_origin == STRIPE {
        (
            "https://js.stripe.com https://*.js.stripe.com".to_owned(),
            "https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com".to_owned(),
            "https://api.stripe.com".to_owned(),
        )
    } else {
        let api_origin = origin(api_base);
        let both = if script_origin == api_origin {
            script_origin.to_owned()
        } else {
            format!("{script_origin} {api_origin}")
        };
        (script_origin.to_owned(), both.clone(), both)
    };
    format!(
        "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
         connect-src 'self' {connect}; frame-src {frame}; img-src 'self' data:; script-src 'self' {script}; style-src 'self'"
    )
}

/// The scheme, host and port of an address.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + "://".len());
    let end = url
        .get(host..)
        .and_then(|rest| rest.find(['/', '?', '#']))
        .map_or(url.len(), |length| host + length);
    url.get(..end).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_own_hosts_and_no_others() {
        assert_eq!(
            content_security_policy(
                "https://js.stripe.com/endive/stripe.js",
                "https://api.stripe.com"
            ),
            "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
             connect-src 'self' https://api.stripe.com; \
             frame-src https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com; img-src 'self' data:; \
             script-src 'self' https://js.stripe.com https://*.js.stripe.com; style-src 'self'"
        );
    }

    #[test]
    fn a_sandbox_gets_its_own_origin_once() {
        let policy =
            content_security_policy("http://127.0.0.1:4242/stripe.js", "http://127.0.0.1:4242");
        assert!(
            policy.contains("script-src 'self' http://127.0.0.1:4242;"),
            "{policy}"
        );
        assert!(
            policy.contains("connect-src 'self' http://127.0.0.1:4242;"),
            "{policy}"
        );
        assert!(!policy.contains("stripe.com"), "{policy}");
    }

    #[test]
    fn another_script_host_may_talk_to_the_api() {
        let policy = content_security_policy(
            "https://js.example/v1/stripe.js",
            "https://api.example/stripe",
        );
        assert!(
            policy.contains("script-src 'self' https://js.example;"),
            "{policy}"
        );
        assert!(
            policy.contains("connect-src 'self' https://js.example https://api.example;"),
            "{policy}"
        );
    }

    #[test]
    fn nothing_inline_is_ever_allowed() {
        for policy in [
            PLAIN_POLICY.to_owned(),
            content_security_policy("https://js.stripe.com/v3/", "https://api.stripe.com"),
        ] {
            assert!(!policy.contains("unsafe"), "{policy}");
            assert!(policy.starts_with("default-src 'none';"), "{policy}");
        }
    }

    #[test]
    fn an_origin_ends_where_the_path_begins() {
        assert_eq!(origin("https://js.stripe.com/v3/"), "https://js.stripe.com");
        assert_eq!(origin("http://[::1]:80?a"), "http://[::1]:80");
        assert_eq!(origin("http://localhost"), "http://localhost");
    }
}
