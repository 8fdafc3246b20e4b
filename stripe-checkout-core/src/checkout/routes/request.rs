//! The checks of a request before Stripe is called: the site it comes from, its body, the price and
//! the merchant's guard.

use std::time::Duration;

use crate::call::{Body, BodyFault, Visitor};
use crate::checkout::state::Checkout;
use crate::error::Chain;
use crate::guard::{GuardError, GuardedAction};
use crate::pricing::{OrderError, PricingError};
use crate::reply::Problem;
use crate::requests::PaymentRequest;

/// How long the merchant's prices, or the guard, may take: a look-up that hangs must not pile up
/// requests.
pub(super) const MERCHANT_DEADLINE: Duration = Duration::from_secs(20);

impl Checkout {
    /// A JSON body from this site's own page.
    pub(super) fn json_body(&self, visitor: &Visitor, body: Body) -> Result<bytes::Bytes, Problem> {
        self.same_site(visitor)?;
        if !is_type(visitor, b"application/json") {
            return Err(Problem::not_json());
        }
        self.whole(body)
    }

    pub(super) fn same_site(&self, visitor: &Visitor) -> Result<(), Problem> {
        let origins = self
            .inner
            .payments
            .as_ref()
            .map_or(&[][..], |payments| &payments.origins);
        match is_same_site(visitor, origins) {
            true => Ok(()),
            false => Err(Problem::cross_site()),
        }
    }

    pub(super) fn whole(&self, body: Body) -> Result<bytes::Bytes, Problem> {
        body.finish().map_err(|fault| match fault {
            BodyFault::TooLarge => Problem::too_large(),
            BodyFault::TooSlow => Problem::too_slow(),
            BodyFault::Incomplete => Problem::incomplete(),
        })
    }

    pub(super) async fn price(
        &self,
        body: &[u8],
        visitor: &Visitor,
    ) -> Result<PaymentRequest, Problem> {
        let payments = self.payments().map_err(|error| Problem::from(&error))?;
        let pricing = payments.pricing.price(body, visitor);
        let priced = tokio::time::timeout(MERCHANT_DEADLINE, pricing).await;
        priced
            .unwrap_or_else(|_| Err(OrderError::Pricing("no price in time".into())))
            .map_err(|error| match error {
                OrderError::Unreadable => Problem::unreadable_order(),
                OrderError::Pricing(error) => {
                    match &error {
                        PricingError::Unavailable(cause) => {
                            tracing::error!(cause = %Chain(&**cause), "prices are not available");
                        }
                        PricingError::Refused { code, .. } => {
                            tracing::info!(code, "order refused")
                        }
                        PricingError::AlreadyPaid { reference }
                        | PricingError::Processing { reference } => {
                            tracing::debug!(order = reference, "order paid already");
                        }
                    }
                    Problem::from(&error)
                }
            })
    }

    /// Asks the merchant's guard, if there is one.
    pub(super) async fn check_guard(
        &self,
        visitor: &Visitor,
        action: GuardedAction<'_>,
    ) -> Result<(), Problem> {
        let payments = self.payments().map_err(|error| Problem::from(&error))?;
        let Some(guard) = &payments.guard else {
            return Ok(());
        };
        let asked = tokio::time::timeout(MERCHANT_DEADLINE, guard.check(visitor, action));
        let admitted = asked
            .await
            .unwrap_or_else(|_| Err("no answer in time".into()));
        admitted.map_err(|error| {
            match &error {
                GuardError::Unavailable(cause) => {
                    tracing::error!(cause = %Chain(&**cause), "the guard cannot tell who may pay");
                }
                GuardError::Refused { code, .. } => tracing::warn!(code, "visitor refused"),
                GuardError::TooMany { .. } => tracing::warn!("too many attempts of a visitor"),
            }
            Problem::from(&error)
        })
    }
}

/// Whether the request comes from a page of this site: by `Sec-Fetch-Site`, which no page can
/// forge, or by `Origin` where the browser is too old for it.
///
/// Other programs send neither. They carry no cookies of a buyer's either, so no page can trick a
/// buyer into such a request.
fn is_same_site(visitor: &Visitor, origins: &[String]) -> bool {
    let allowed = |origin: &[u8]| origins.iter().any(|known| known.as_bytes() == origin);
    let mut origin = visitor.headers("origin");
    let (first, second) = (origin.next(), origin.next());
    if second.is_some() {
        return false;
    }
    if first.is_some_and(allowed) {
        return true;
    }
    match (visitor.header("sec-fetch-site"), first) {
        (Some(site), _) => site == b"same-origin",
        (None, None) => true,
        (None, Some(origin)) => {
            let host = origin
                .strip_prefix(b"https://")
                .or_else(|| origin.strip_prefix(b"http://"))
                .unwrap_or_default();
            !host.is_empty()
                && visitor
                    .header("host")
                    .is_some_and(|here| here.eq_ignore_ascii_case(host))
        }
    }
}

/// Whether the content type is this one, with or without parameters. A form of another site cannot
/// send JSON.
pub(super) fn is_type(visitor: &Visitor, wanted: &[u8]) -> bool {
    let mut types = visitor.headers("content-type");
    let essence = types
        .next()
        .and_then(|value| value.split(|byte| *byte == b';').next());
    types.next().is_none()
        && essence.is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Call;
    use crate::endpoint::Endpoint;

    fn is_json(visitor: &Visitor) -> bool {
        is_type(visitor, b"application/json")
    }

    fn visitor(headers: &[(&str, &str)]) -> Visitor {
        let endpoint = Endpoint::table(Default::default(), "/webhook", 10, Duration::ZERO)
            .pop()
            .unwrap();
        let call = Call::new(&endpoint);
        headers
            .iter()
            .fold(call, |call, (name, value)| {
                call.header(name, value.as_bytes())
            })
            .visitor
    }

    #[test]
    fn only_this_sites_pages_may_start_a_payment() {
        let host = ("host", "shop.example:8080");
        let may = |headers: &[(&str, &str)]| is_same_site(&visitor(headers), &[]);
        assert!(may(&[host]), "no browser at all");
        assert!(may(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(
            may(&[host, ("origin", "http://shop.example:8080")]),
            "an old browser"
        );
        assert!(may(&[host, ("origin", "https://SHOP.example:8080")]));
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!may(&[host, ("sec-fetch-site", site)]), "{site}");
        }
        for origin in [
            "https://evil.example",
            "null",
            "",
            "https://",
            "shop.example:8080",
            "https://shop.example",
        ] {
            assert!(!may(&[host, ("origin", origin)]), "{origin}");
        }
        assert!(
            !may(&[("origin", "https://shop.example")]),
            "no host to compare with"
        );
        assert!(!may(&[
            host,
            ("origin", "http://shop.example:8080"),
            ("origin", "http://evil.example")
        ]));
        assert!(
            !may(&[
                host,
                ("sec-fetch-site", "cross-site"),
                ("origin", "http://shop.example:8080")
            ]),
            "the browser knows best"
        );
    }

    #[test]
    fn an_origin_can_be_allowed() {
        let origins = ["https://shop.example".to_owned()];
        let from = |origin: &str| {
            is_same_site(
                &visitor(&[
                    ("host", "10.0.0.7"),
                    ("origin", origin),
                    ("sec-fetch-site", "same-site"),
                ]),
                &origins,
            )
        };
        assert!(from("https://shop.example"));
        assert!(!from("https://shop.example.evil"));
    }

    #[test]
    fn only_json_is_json() {
        let json = |value: &str| is_json(&visitor(&[("content-type", value)]));
        assert!(json("application/json"));
        assert!(json("Application/JSON; charset=utf-8"));
        for other in [
            "",
            "text/plain",
            "application/jsonp",
            "application/x-www-form-urlencoded",
            "text/plain; application/json",
        ] {
            assert!(!json(other), "{other}");
        }
        assert!(!is_json(&visitor(&[])));
        let two = [
            ("content-type", "application/json"),
            ("content-type", "text/plain"),
        ];
        assert!(!is_json(&visitor(&two)));
    }
}
