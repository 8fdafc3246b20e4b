//! What each route answers.

use super::Checkout;
#[cfg(feature = "intent")]
use crate::call::BodyFault;
use crate::call::Call;
use crate::endpoint::Route;
use crate::reply::{Problem, Reply};
use crate::telemetry::Origin;

#[cfg(feature = "intent")]
pub(super) use payments::MERCHANT_DEADLINE;
#[cfg(feature = "checkout")]
use payments::*;

impl Checkout {
    pub(super) async fn answer(&self, call: Call) -> Reply {
        if call.has_wrong_host() {
            return Problem::wrong_host().json();
        }
        if call.has_long_query() {
            return Problem::long_query().json();
        }
        if call.body.is_too_slow() && !matches!(call.endpoint.route, Route::Webhook) {
            return Problem::too_slow().json();
        }
        // Those that need no row of the inbox would not find out.
        #[cfg(feature = "intent")]
        if matches!(
            call.endpoint.route,
            Route::CreateSetup | Route::CustomerSession
        ) && let Some(error) = self.inner.fulfillment.refused()
        {
            return Problem::from(&error).json();
        }
        match call.endpoint.route {
            Route::Webhook => self.webhook(call).await,
            #[cfg(feature = "intent")]
            Route::CreateIntent => self
                .create(call)
                .await
                .unwrap_or_else(|problem| problem.json()),
            #[cfg(feature = "sessions")]
            Route::CreateSession => self.create_session_route(call).await,
            #[cfg(feature = "intent")]
            Route::Status => self
                .status(call)
                .await
                .unwrap_or_else(|problem| problem.json()),
            #[cfg(feature = "intent")]
            Route::CreateSetup => self
                .create_setup(call)
                .await
                .unwrap_or_else(|problem| problem.json()),
            #[cfg(feature = "intent")]
            Route::CustomerSession => self
                .open_customer_session(call)
                .await
                .unwrap_or_else(|problem| problem.json()),
            #[cfg(feature = "checkout")]
            route => self.page_route(route, call).await,
        }
    }

    async fn webhook(&self, call: Call) -> Reply {
        let Call { visitor, body, .. } = call;
        match self.verify(body, visitor.headers(Self::SIGNATURE_HEADER)) {
            Ok(event) => self.take_in(event, Origin::Webhook).await.into(),
            Err(error) => error.into(),
        }
    }
}

#[cfg(feature = "intent")]
mod payments {
    use std::time::Duration;

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::call::{Body, Visitor};
    use crate::error::{Chain, GuardError, IntentError, PricingError};
    use crate::guard::Attempt;
    use crate::pricing::OrderError;
    use crate::requests::{PaymentRequest, SetupFutureUsage};
    use crate::stripe::ApiError;
    use crate::webhook::{Payment, PaymentStatus, SetupIntent, SetupStatus};

    impl Checkout {
        pub(super) async fn create(&self, call: Call) -> Result<Reply, Problem> {
            #[derive(Serialize)]
            #[serde(rename_all = "camelCase")]
            struct Created<'a> {
                client_secret: &'a str,
                amount: u64,
                currency: &'a str,
                /// For Stripe.js, which refuses an intent that differs from its Elements.
                capture_method: &'a str,
                #[serde(skip_serializing_if = "Option::is_none")]
                setup_future_usage: Option<&'a str>,
                #[serde(skip_serializing_if = "Option::is_none")]
                on_behalf_of: Option<&'a str>,
                #[serde(skip_serializing_if = "Option::is_none")]
                stripe_account: Option<&'a str>,
            }
            let Call { visitor, body, .. } = call;
            let body = self.json_body(&visitor, body)?;
            let request = self.price(&body, &visitor).await?;
            self.admit(&visitor, Attempt::Payment(&request)).await?;
            let request = self.paid_by_visitor(request, &visitor).await?;
            let payment = self
                .create_intent(&request)
                .await
                .map_err(|error| logged(&error, &request))?;
            let Some(secret) = payment.client_secret() else {
                tracing::error!(payment = payment.id(), "Stripe gave no client secret");
                return Err(Problem::internal());
            };
            Ok(Reply::json(
                200,
                &Created {
                    client_secret: secret.expose(),
                    amount: payment.amount().minor(),
                    currency: payment.amount().currency().code(),
                    capture_method: capture_method(&request),
                    setup_future_usage: request.future_usage().map(SetupFutureUsage::as_str),
                    on_behalf_of: request.business_of_record(),
                    stripe_account: payment.account(),
                },
            ))
        }

        pub(super) async fn status(&self, call: Call) -> Result<Reply, Problem> {
            #[derive(Serialize)]
            struct Status<'a> {
                status: &'a str,
                #[serde(skip_serializing_if = "Option::is_none")]
                message: Option<&'a str>,
            }
            let Call { visitor, body, .. } = call;
            let body = self.json_body(&visitor, body)?;
            self.admit(&visitor, Attempt::LookUp).await?;
            let asked: ReturnQuery =
                serde_json::from_slice(&body).map_err(|_| Problem::malformed())?;
            if let Some(asked) = asked.setup() {
                let setup = self.returned_setup(&asked).await?;
                let status = Status {
                    status: setup.status().as_str(),
                    message: setup_message_for_buyer(&setup),
                };
                return Ok(Reply::json(200, &status));
            }
            let asked = asked.payment().ok_or_else(Problem::malformed)?;
            let payment = self.returned(&asked).await?;
            Ok(Reply::json(
                200,
                &Status {
                    status: payment.status().as_str(),
                    message: message_for_buyer(&payment),
                },
            ))
        }

        /// A JSON body from this site's own page.
        pub(in crate::checkout) fn json_body(
            &self,
            visitor: &Visitor,
            body: Body,
        ) -> Result<bytes::Bytes, Problem> {
            self.same_site(visitor)?;
            if !is_type(visitor, b"application/json") {
                return Err(Problem::not_json());
            }
            self.whole(body)
        }

        fn same_site(&self, visitor: &Visitor) -> Result<(), Problem> {
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

        fn whole(&self, body: Body) -> Result<bytes::Bytes, Problem> {
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
        pub(in crate::checkout) async fn admit(
            &self,
            visitor: &Visitor,
            attempt: Attempt<'_>,
        ) -> Result<(), Problem> {
            let payments = self.payments().map_err(|error| Problem::from(&error))?;
            let Some(guard) = &payments.guard else {
                return Ok(());
            };
            let asked = tokio::time::timeout(MERCHANT_DEADLINE, guard.admit(visitor, attempt));
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

        /// The payment of a buyer who comes back with its id and client secret.
        pub(super) async fn returned(
            &self,
            asked: &ReturnedPayment<'_>,
        ) -> Result<Payment, Problem> {
            let found = match asked {
                ReturnedPayment::Session { id } => self.retrieve_session(id).await,
                ReturnedPayment::Intent { id, secret } => self.retrieve_intent(id, secret).await,
            };
            let found = found.map_err(|error| {
                if !error.is_expected() {
                    tracing::error!(error = %Chain(&error), "a payment could not be looked up");
                }
                Problem::from(&error)
            })?;
            found.ok_or_else(Problem::unknown_payment)
        }
    }

    impl Checkout {
        /// The SetupIntent of a buyer who comes back with its id and client secret.
        pub(super) async fn returned_setup(
            &self,
            asked: &ReturnedSetup<'_>,
        ) -> Result<SetupIntent, Problem> {
            let found = self
                .retrieve_setup_intent(asked.id, asked.secret)
                .await
                .map_err(|error| {
                    if !error.is_expected() {
                        tracing::error!(error = %Chain(&error), "a SetupIntent could not be looked up");
                    }
                    Problem::from(&error)
                })?;
            found.ok_or_else(Problem::unknown_payment)
        }
    }

    pub(super) fn setup_message_for_buyer(setup: &SetupIntent) -> Option<&'static str> {
        let failed = *setup.status() == SetupStatus::RequiresPaymentMethod;
        setup
            .last_error()
            .filter(|_| failed)
            .map(|failure| failure.message_for_buyer())
    }

    /// How long the merchant's prices, or the guard, may take: a hung look-up must not pile up requests.
    pub(in crate::checkout) const MERCHANT_DEADLINE: Duration = Duration::from_secs(20);

    /// When the money of an order is taken, in Stripe's words.
    pub(super) fn capture_method(request: &PaymentRequest) -> &'static str {
        if request.captures_manually() {
            "manual"
        } else {
            "automatic"
        }
    }

    /// The parameters that Stripe adds to a return address, and that the page sends on. They name a
    /// payment or a saved card. One pass reads all of them, because strangers choose the text.
    #[derive(Deserialize)]
    pub(super) struct ReturnQuery {
        payment_intent: Option<String>,
        payment_intent_client_secret: Option<String>,
        setup_intent: Option<String>,
        setup_intent_client_secret: Option<String>,
        /// From Stripe's own page.
        session_id: Option<String>,
    }

    /// The payment that a buyer who comes back asks about.
    pub(super) enum ReturnedPayment<'a> {
        Intent { id: &'a str, secret: &'a str },
        Session { id: &'a str },
    }

    /// The saved card that a buyer who comes back asks about.
    pub(super) struct ReturnedSetup<'a> {
        id: &'a str,
        secret: &'a str,
    }

    impl ReturnQuery {
        pub(super) fn payment(&self) -> Option<ReturnedPayment<'_>> {
            match (&self.payment_intent, &self.payment_intent_client_secret) {
                (Some(id), Some(secret)) => Some(ReturnedPayment::Intent { id, secret }),
                _ => {
                    let id = self.session_id.as_deref()?;
                    Some(ReturnedPayment::Session { id })
                }
            }
        }

        pub(super) fn setup(&self) -> Option<ReturnedSetup<'_>> {
            let id = self.setup_intent.as_deref()?;
            let secret = self.setup_intent_client_secret.as_deref()?;
            Some(ReturnedSetup { id, secret })
        }
    }

    /// The buyer's sentence about the last attempt, if it is what the status means.
    pub(super) fn message_for_buyer(payment: &Payment) -> Option<&'static str> {
        let failed = *payment.status() == PaymentStatus::RequiresPaymentMethod;
        payment
            .last_error()
            .filter(|_| failed)
            .map(|failure| failure.message_for_buyer())
    }

    /// Logs once what the buyer is not told.
    pub(super) fn logged(error: &IntentError, request: &PaymentRequest) -> Problem {
        let order = request.reference();
        match error {
            error if error.is_expected() => tracing::debug!(order, %error, "no PaymentIntent"),
            IntentError::AlreadyPaid
            | IntentError::Processing
            | IntentError::InFlight
            | IntentError::CalledOff => {
                tracing::info!(order, %error, "no PaymentIntent");
            }
            IntentError::Api(ApiError::Declined { .. }) => {
                tracing::info!(order, %error, "no PaymentIntent");
            }
            IntentError::TooManyDeclines { .. } => {
                tracing::warn!(order, %error, "no PaymentIntent");
            }
            _ => tracing::error!(order, error = %Chain(error), "no PaymentIntent"),
        }
        Problem::from(error)
    }

    /// Whether the request comes from a page of this site: by `Sec-Fetch-Site`, which no page can forge, or by `Origin` where the browser is too old for it.
    ///
    /// What is no browser sends neither; it carries no cookies of a buyer's either, so nobody can be tricked into it.
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

    /// A content type, with or without parameters. JSON is also what makes a cross-site form impossible.
    fn is_type(visitor: &Visitor, wanted: &[u8]) -> bool {
        let mut types = visitor.headers("content-type");
        let essence = types
            .next()
            .and_then(|value| value.split(|byte| *byte == b';').next());
        types.next().is_none()
            && essence.is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(wanted))
    }

    #[cfg(feature = "sessions")]
    mod hosted {
        use super::*;

        const FORM: &[u8] = b"application/x-www-form-urlencoded";

        impl Checkout {
            /// To a script the address of Stripe's page, or the secret to show it in a frame; a form is sent there.
            pub(in super::super) async fn create_session_route(&self, call: Call) -> Reply {
                let is_form = is_type(&call.visitor, FORM);
                match self.session_reply(call, is_form).await {
                    Ok(reply) => reply,
                    Err(problem) => self.problem_reply(&problem, is_form),
                }
            }

            async fn session_reply(&self, call: Call, is_form: bool) -> Result<Reply, Problem> {
                #[derive(Serialize)]
                #[serde(untagged, rename_all_fields = "camelCase")]
                enum Created<'a> {
                    Hosted {
                        url: &'a str,
                    },
                    Embedded {
                        client_secret: &'a str,
                        /// For Stripe.js.
                        #[serde(skip_serializing_if = "Option::is_none")]
                        stripe_account: Option<&'a str>,
                    },
                }
                let Call {
                    mut visitor, body, ..
                } = call;
                let body = if is_form {
                    self.same_site(&visitor)?;
                    let form = self.whole(body)?;
                    visitor.set_form(&form);
                    bytes::Bytes::new()
                } else {
                    self.json_body(&visitor, body)?
                };
                let hosted = self.payments().ok().and_then(|of| of.hosted.as_ref());
                let embedded = hosted.is_some_and(|hosted| hosted.is_embedded());
                if is_form && embedded {
                    // There is no page to send a browser to.
                    return Err(Problem::not_json());
                }
                let request = self.price(&body, &visitor).await?;
                self.admit(&visitor, Attempt::Payment(&request)).await?;
                let request = self.paid_by_visitor(request, &visitor).await?;
                let session = self
                    .create_session(&request)
                    .await
                    .map_err(|error| logged(&error, &request))?;
                let (url, secret) = (session.url(), session.client_secret());
                let url = url.filter(|url| url.bytes().all(|byte| byte.is_ascii_graphic()));
                match (url, secret) {
                    (_, Some(secret)) if embedded => {
                        let (client_secret, stripe_account) = (secret.expose(), request.account());
                        Ok(Reply::json(
                            200,
                            &Created::Embedded {
                                client_secret,
                                stripe_account,
                            },
                        ))
                    }
                    (Some(url), _) if is_form => Ok(Reply::see_other(url)),
                    (Some(url), _) if !embedded => Ok(Reply::json(200, &Created::Hosted { url })),
                    _ => {
                        tracing::error!(
                            session = session.id(),
                            "Stripe gave neither an address nor a client secret"
                        );
                        Err(Problem::internal())
                    }
                }
            }

            /// Who posted a form looks at a page.
            fn problem_reply(&self, problem: &Problem, is_form: bool) -> Reply {
                #[cfg(feature = "checkout")]
                if let (true, Ok(payments)) = (is_form, self.payments()) {
                    let place = crate::page::Place::Checkout;
                    return super::super::pages::problem_page(&payments.front, place, problem);
                }
                let _ = is_form;
                problem.json()
            }
        }
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
}

#[cfg(feature = "checkout")]
mod pages {
    use super::*;
    use crate::call::Visitor;
    use crate::checkout::builder::Front;
    use crate::checkout::customer_routes::SETUP_USAGE;
    use crate::guard::Attempt;
    use crate::page::{
        self, CheckoutView, CompleteState, CompleteView, LineView, PLAIN_POLICY, Place,
        ProblemView, SetupCompleteView, SetupState, SetupView,
    };
    use crate::reply::Problem;
    use crate::requests::SetupFutureUsage;
    use crate::webhook::{Payment, PaymentStatus, SetupIntent, SetupStatus};

    impl Checkout {
        pub(super) async fn page_route(&self, route: Route, call: Call) -> Reply {
            let visitor = &call.visitor;
            let Ok(payments) = self.payments() else {
                return Problem::internal().json();
            };
            let front = &payments.front;
            let known = visitor.header_str("if-none-match");
            const SCRIPT: &str = "text/javascript; charset=utf-8";
            match route {
                Route::CheckoutScript => Reply::asset(SCRIPT, page::CHECKOUT_JS, known),
                Route::CompleteScript => Reply::asset(SCRIPT, page::COMPLETE_JS, known),
                Route::OldBrowserScript => Reply::asset(SCRIPT, page::OLD_BROWSER_JS, known),
                Route::Style => Reply::asset("text/css; charset=utf-8", page::CHECKOUT_CSS, known),
                Route::PageSlash => Reply::redirect(with_query("../checkout", visitor.query())),
                Route::Complete => self
                    .complete_page(front, visitor)
                    .await
                    .unwrap_or_else(|problem| problem_page(front, Place::Complete, &problem)),
                Route::Setup => self
                    .setup_page(front, visitor)
                    .await
                    .unwrap_or_else(|problem| problem_page(front, Place::Setup, &problem)),
                Route::SetupComplete => self
                    .setup_complete_page(front, visitor)
                    .await
                    .unwrap_or_else(|problem| problem_page(front, Place::SetupComplete, &problem)),
                _ => self
                    .checkout_page(front, visitor)
                    .await
                    .unwrap_or_else(|problem| problem_page(front, Place::Checkout, &problem)),
            }
        }

        async fn checkout_page(&self, front: &Front, visitor: &Visitor) -> Result<Reply, Problem> {
            let payments = self.payments().map_err(|error| Problem::from(&error))?;
            let request = self.price(b"", visitor).await?;
            // This may look up an earlier payment of the order.
            self.admit(visitor, Attempt::LookUp).await?;
            // No form that would only fail.
            self.check_payable(&request)
                .await
                .map_err(|error| Problem {
                    reference: Some(request.reference().to_owned()),
                    ..logged(&error, &request)
                })?;
            let order_url = front.order_url(request.reference());
            let lines: Vec<_> = request
                .lines()
                .iter()
                .map(|line| LineView {
                    name: line.name(),
                    quantity: line.quantity(),
                    amount: line.amount(),
                })
                .collect();
            let view = CheckoutView {
                shop: &front.shop,
                amount: request.amount(),
                lines: &lines,
                publishable_key: front.publishable_key.expose(),
                stripe_js_url: &front.stripe_js_url,
                order_url: order_url.as_deref(),
                back_url: order_url.as_deref(),
                stripe_account: request.account(),
                // The platform's customers are none of a connected account's.
                saved_cards: payments.customers.is_some() && request.account().is_none(),
                capture_method: capture_method(&request),
                setup_future_usage: request.future_usage().map(SetupFutureUsage::as_str),
                on_behalf_of: request.business_of_record(),
            };
            let html = front
                .pages
                .checkout(&view)
                .map_err(|error| broken(&*error))?;
            Ok(Reply::html(200, &front.policy, html))
        }

        async fn setup_page(&self, front: &Front, visitor: &Visitor) -> Result<Reply, Problem> {
            if self.user(visitor).await?.is_none() {
                return Err(Problem::not_signed_in());
            }
            let view = SetupView {
                shop: &front.shop,
                publishable_key: front.publishable_key.expose(),
                stripe_js_url: &front.stripe_js_url,
                account_url: front.account_url.as_deref(),
                usage: SETUP_USAGE.as_str(),
            };
            let html = front.pages.setup(&view).map_err(|error| broken(&*error))?;
            Ok(Reply::html(200, &front.policy, html))
        }

        async fn setup_complete_page(
            &self,
            front: &Front,
            visitor: &Visitor,
        ) -> Result<Reply, Problem> {
            let query = visitor.query();
            let retry_url = retry_url("../setup", query);
            let show = |status, state, message| {
                front.setup_complete(status, state, message, retry_url.as_deref())
            };
            let unknown = |status| show(status, SetupState::Unknown, None);
            let asked = serde_html_form::from_str::<ReturnQuery>(query).ok();
            let asked = match asked.as_ref().and_then(ReturnQuery::setup) {
                Some(asked) => asked,
                // The address of a page whose script took the client secret out.
                None if query
                    .split('&')
                    .any(|pair| pair.starts_with("setup_intent=")) =>
                {
                    return unknown(200);
                }
                None => return Err(Problem::malformed()),
            };
            match self.looked_up_setup(visitor, &asked).await {
                Ok(setup) => {
                    let message = setup_message_for_buyer(&setup);
                    show(200, setup_state_of(&setup), message)
                }
                Err(problem) => Ok(unknown(problem.status)?.with_retry_after(problem.retry_after)),
            }
        }

        async fn complete_page(&self, front: &Front, visitor: &Visitor) -> Result<Reply, Problem> {
            let query = visitor.query();
            let retry_url = retry_url("../checkout", query);
            let asked = serde_html_form::from_str::<ReturnQuery>(query).ok();
            let asked = match asked.as_ref().and_then(ReturnQuery::payment) {
                Some(asked) => asked,
                // The address of a page whose script took the client secret out.
                None if query
                    .split('&')
                    .any(|pair| pair.starts_with("payment_intent=")) =>
                {
                    return front.look_it_up(200, retry_url.as_deref());
                }
                None => return Err(Problem::malformed()),
            };
            let payment = match self.looked_up(visitor, &asked).await {
                Ok(payment) => payment,
                Err(problem) => {
                    let page = front.look_it_up(problem.status, retry_url.as_deref())?;
                    return Ok(page.with_retry_after(problem.retry_after));
                }
            };
            let order_url = payment
                .order_id()
                .and_then(|reference| front.order_url(reference));
            front.complete(
                200,
                &CompleteView {
                    shop: &front.shop,
                    state: state_of(&payment),
                    amount: Some(payment.amount()),
                    reference: payment.order_id(),
                    message: message_for_buyer(&payment),
                    order_url: order_url.as_deref(),
                    retry_url: retry_url.as_deref(),
                },
            )
        }
    }

    impl Checkout {
        async fn looked_up(
            &self,
            visitor: &Visitor,
            asked: &ReturnedPayment<'_>,
        ) -> Result<Payment, Problem> {
            self.admit(visitor, Attempt::LookUp).await?;
            self.returned(asked).await
        }

        async fn looked_up_setup(
            &self,
            visitor: &Visitor,
            asked: &ReturnedSetup<'_>,
        ) -> Result<SetupIntent, Problem> {
            self.admit(visitor, Attempt::LookUp).await?;
            self.returned_setup(asked).await
        }
    }

    impl Front {
        fn order_url(&self, reference: &str) -> Option<String> {
            let template = self.order_url.as_ref()?;
            Some(template.replace("{reference}", &crate::address::percent_encoded(reference)))
        }

        fn complete(&self, status: u16, view: &CompleteView<'_>) -> Result<Reply, Problem> {
            let html = self.pages.complete(view).map_err(|error| broken(&*error))?;
            Ok(Reply::html(status, PLAIN_POLICY, html))
        }

        fn setup_complete(
            &self,
            status: u16,
            state: SetupState,
            message: Option<&str>,
            retry_url: Option<&str>,
        ) -> Result<Reply, Problem> {
            let view = SetupCompleteView {
                shop: &self.shop,
                state,
                message,
                account_url: self.account_url.as_deref(),
                retry_url: retry_url.unwrap_or("../setup"),
            };
            let html = self
                .pages
                .setup_complete(&view)
                .map_err(|error| broken(&*error))?;
            Ok(Reply::html(status, PLAIN_POLICY, html))
        }

        /// Tells nothing: the page's script takes the client secret out of the address, and asks with the one that it has.
        fn look_it_up(&self, status: u16, retry_url: Option<&str>) -> Result<Reply, Problem> {
            let view = CompleteView {
                shop: &self.shop,
                state: CompleteState::Unknown,
                amount: None,
                reference: None,
                message: None,
                order_url: None,
                retry_url,
            };
            self.complete(status, &view)
        }
    }

    pub(super) fn problem_page(front: &Front, place: Place, problem: &Problem) -> Reply {
        let order_url = problem
            .reference
            .as_deref()
            .and_then(|reference| front.order_url(reference));
        let view = ProblemView {
            shop: &front.shop,
            place,
            code: problem.code,
            title: title(problem.code, place),
            message: &problem.message,
            order_url: order_url.as_deref(),
            back_url: None,
        };
        match front.pages.problem(&view) {
            Ok(html) => Reply::html(problem.status, PLAIN_POLICY, html)
                .with_retry_after(problem.retry_after),
            Err(error) => broken(&*error).json(),
        }
    }

    /// The title of a problem's page. The merchant's own refusals have codes of their own.
    fn title(code: &str, place: Place) -> &'static str {
        title_of_ours(code, place).unwrap_or(match place {
            Place::Setup | Place::SetupComplete => "Your card could not be saved",
            Place::Checkout | Place::Complete => "This order cannot be paid",
        })
    }

    /// The title of each code in `reply.rs`. The code decides: different problems share a status.
    fn title_of_ours(code: &str, place: Place) -> Option<&'static str> {
        let saving = matches!(place, Place::Setup | Place::SetupComplete);
        Some(match code {
            "not_signed_in" => "Please sign in",
            "order_paid" => "This order has already been paid",
            "payment_processing" => "Your payment is being processed",
            "order_called_off" => "This order was canceled",
            "too_many_declines" => "Too many payments were declined",
            "unknown_payment" => "We do not know this payment",
            "unknown_payment_method" => "Please choose another card",
            "declined" if saving => "Your card was declined",
            "declined" => "The payment was declined",
            "payment_refused" if saving => "Your card could not be saved",
            "payment_refused" => "The payment could not be started",
            "order_not_payable" => "This order cannot be paid",
            "invalid_order" => "This order could not be read",
            "invalid_request" => "This address is incomplete",
            "cross_site" => "Please start from the shop's own page",
            "not_json" | "invalid_webhook" | "invalid_host" | "query_too_long"
            | "body_too_large" => "This request could not be read",
            "in_flight"
            | "busy"
            | "waiting"
            | "handler_failed"
            | "body_incomplete"
            | "body_too_slow"
            | "rate_limited"
            | "too_many_attempts"
            | "unavailable"
            | "pricing_unavailable"
            | "payment_unavailable"
            | "internal_error" => "Please try again",
            _ => return None,
        })
    }

    fn broken(error: &(dyn std::error::Error + 'static)) -> Problem {
        tracing::error!(error = %crate::error::Chain(error), "a template failed");
        Problem::internal()
    }

    fn setup_state_of(setup: &SetupIntent) -> SetupState {
        match setup.status() {
            SetupStatus::Succeeded => SetupState::Succeeded,
            SetupStatus::RequiresPaymentMethod | SetupStatus::RequiresConfirmation => {
                SetupState::RequiresPaymentMethod
            }
            SetupStatus::RequiresAction => SetupState::RequiresAction,
            SetupStatus::Canceled => SetupState::Canceled,
            _ => SetupState::Processing,
        }
    }

    fn state_of(payment: &Payment) -> CompleteState {
        match payment.status() {
            PaymentStatus::Succeeded => CompleteState::Succeeded,
            PaymentStatus::RequiresPaymentMethod | PaymentStatus::RequiresConfirmation => {
                CompleteState::RequiresPaymentMethod
            }
            PaymentStatus::RequiresAction => CompleteState::RequiresAction,
            PaymentStatus::RequiresCapture => CompleteState::RequiresCapture,
            PaymentStatus::Canceled => CompleteState::Canceled,
            _ => CompleteState::Processing,
        }
    }

    /// The way back to the page that the buyer left.
    ///
    /// Stripe adds its own parameters to a return address, and new ones over time. The page's query
    /// therefore travels as the value of one parameter. A stranger can write that parameter, so it
    /// only ever becomes the query of our own page.
    fn retry_url(path: &str, query: &str) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Ours {
            checkout_query: String,
        }
        let Ours { checkout_query } = serde_html_form::from_str(query).ok()?;
        Some(with_query(path, &checkout_query))
    }

    fn with_query(path: &str, query: &str) -> String {
        // A query comes from the request line, so it has no characters that could end a header; anything else in it is the visitor's own affair.
        let visible = query.bytes().all(|byte| byte.is_ascii_graphic());
        if query.is_empty() || !visible {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_query_of_the_page_comes_back_whole_whatever_stripe_adds() {
            let stripe = "payment_intent=pi_1&payment_intent_client_secret=s&redirect_status=failed\
                          &redirect_pm_type=amazon_pay&source_type=three_d_secure&source_redirect_slug=x&tomorrow=1";
            for (carried, page) in [
                (
                    "order%3Da%2520b%26seat%3D1%26seat%3D2",
                    Some("../checkout?order=a%20b&seat=1&seat=2"),
                ),
                // An order whose own parameters have names of Stripe's.
                (
                    "redirect_pm_type%3Dcard%26payment_intent%3Dmine",
                    Some("../checkout?redirect_pm_type=card&payment_intent=mine"),
                ),
                ("", Some("../checkout")),
                // Nothing of it leaves the query.
                ("%2F%2Fevil.example", Some("../checkout?//evil.example")),
                ("a%0D%0ALocation%3A%20x", Some("../checkout")),
            ] {
                for query in [
                    format!("checkout_query={carried}&{stripe}"),
                    format!("{stripe}&checkout_query={carried}"),
                ] {
                    assert_eq!(retry_url("../checkout", &query).as_deref(), page, "{query}");
                }
            }
            assert_eq!(retry_url("../checkout", stripe), None);
            assert_eq!(
                retry_url("../checkout", "checkout_query=a&checkout_query=b"),
                None
            );
        }

        #[test]
        fn a_title_follows_the_code_and_not_the_status() {
            use crate::error::IntentError;

            let declines = IntentError::TooManyDeclines { declines: 10 };
            for (error, words) in [
                (IntentError::AlreadyPaid, "paid"),
                (IntentError::Processing, "processed"),
                (IntentError::InFlight, "try again"),
                (IntentError::CalledOff, "canceled"),
                (declines, "declined"),
            ] {
                let problem = Problem::from(&error);
                let title = title(problem.code, Place::Checkout);
                assert!(title.contains(words), "{}: {title}", problem.code);
            }
        }

        /// The codes of `reply.rs`, as they stand in its source: `new(status, "code", …)`.
        fn codes() -> Vec<&'static str> {
            let calls = include_str!("../reply.rs").split("::new(").skip(1);
            calls
                .filter_map(|call| {
                    let mut arguments = call.split(',');
                    arguments.next()?.trim().parse::<u16>().ok()?;
                    let code = arguments.next()?.trim();
                    code.strip_prefix('"')?.strip_suffix('"')
                })
                // A reply that is no problem has its content type there.
                .filter(|code| !code.contains('/'))
                .collect()
        }

        #[test]
        fn each_code_of_ours_has_a_title() {
            let codes = codes();
            for known in [
                "internal_error",
                "cross_site",
                "payment_refused",
                "declined",
            ] {
                assert!(codes.contains(&known), "{known} is not in {codes:?}");
            }
            for code in codes {
                for place in [Place::Checkout, Place::Setup] {
                    assert!(title_of_ours(code, place).is_some(), "{code}: {place:?}");
                }
            }
        }

        #[test]
        fn a_title_does_not_forbid_another_try_that_helps() {
            for code in [
                "payment_refused",
                "cross_site",
                "body_incomplete",
                "declined",
            ] {
                let title = title(code, Place::Checkout);
                assert!(!title.contains("cannot be paid"), "{code}: {title}");
            }
            assert_eq!(
                title("sold_out", Place::Checkout),
                "This order cannot be paid"
            );
            assert_eq!(
                title("no_cards_here", Place::Setup),
                "Your card could not be saved"
            );
        }
    }
}
