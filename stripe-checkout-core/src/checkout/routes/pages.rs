//! The ready-made pages: to pay an order, to come back to, and to save a card.

use super::customers::SETUP_USAGE;
use super::payments::{capture_method, logged};
use super::problem_page::{broken, problem_page};
use super::status::{
    ReturnQuery, ReturnedPayment, ReturnedSetup, message_for_buyer, setup_message_for_buyer,
};
use crate::call::{Call, Visitor};
use crate::checkout::page_settings::PageSettings;
use crate::checkout::state::Checkout;
use crate::endpoint::Route;
use crate::guard::GuardedAction;
use crate::page::{
    self, CheckoutView, CompleteState, CompleteView, LineView, PLAIN_POLICY, Place,
    SetupCompleteView, SetupState, SetupView,
};
use crate::reply::{Problem, Reply};
use crate::requests::SetupFutureUsage;
use crate::webhook::{Payment, PaymentStatus, SetupIntent, SetupStatus};

impl Checkout {
    pub(super) async fn page_route(&self, route: Route, call: Call) -> Reply {
        let visitor = &call.visitor;
        let Ok(payments) = self.payments() else {
            return Problem::internal().json();
        };
        let settings = &payments.page;
        let known = visitor.header_str("if-none-match");
        const SCRIPT: &str = "text/javascript; charset=utf-8";
        match route {
            Route::CheckoutScript => Reply::asset(SCRIPT, page::CHECKOUT_JS, known),
            Route::CompleteScript => Reply::asset(SCRIPT, page::COMPLETE_JS, known),
            Route::OldBrowserScript => Reply::asset(SCRIPT, page::OLD_BROWSER_JS, known),
            Route::Style => Reply::asset("text/css; charset=utf-8", page::CHECKOUT_CSS, known),
            Route::PageSlash => Reply::redirect(with_query("../checkout", visitor.query())),
            Route::Complete => self
                .complete_page(settings, visitor)
                .await
                .unwrap_or_else(|problem| problem_page(settings, Place::Complete, &problem)),
            Route::Setup => self
                .setup_page(settings, visitor)
                .await
                .unwrap_or_else(|problem| problem_page(settings, Place::Setup, &problem)),
            Route::SetupComplete => self
                .setup_complete_page(settings, visitor)
                .await
                .unwrap_or_else(|problem| problem_page(settings, Place::SetupComplete, &problem)),
            _ => self
                .checkout_page(settings, visitor)
                .await
                .unwrap_or_else(|problem| problem_page(settings, Place::Checkout, &problem)),
        }
    }

    async fn checkout_page(
        &self,
        settings: &PageSettings,
        visitor: &Visitor,
    ) -> Result<Reply, Problem> {
        let payments = self.payments().map_err(|error| Problem::from(&error))?;
        let request = self.price(b"", visitor).await?;
        // This may look up an earlier payment of the order.
        self.check_guard(visitor, GuardedAction::LookUp).await?;
        // No form that would only fail.
        self.check_payable(&request)
            .await
            .map_err(|error| Problem {
                reference: Some(request.reference().to_owned()),
                ..logged(&error, &request)
            })?;
        let order_url = settings.order_url(request.reference());
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
            shop: &settings.shop,
            amount: request.amount(),
            lines: &lines,
            publishable_key: settings.publishable_key.expose(),
            stripe_js_url: &settings.stripe_js_url,
            order_url: order_url.as_deref(),
            back_url: order_url.as_deref(),
            stripe_account: request.account(),
            // The platform's customers are none of a connected account's.
            saved_cards: payments.customers.is_some() && request.account().is_none(),
            capture_method: capture_method(&request),
            setup_future_usage: request.future_usage().map(SetupFutureUsage::as_str),
            on_behalf_of: request.business_of_record(),
        };
        let html = settings
            .pages
            .checkout(&view)
            .map_err(|error| broken(&*error))?;
        Ok(Reply::html(200, &settings.policy, html))
    }

    async fn setup_page(
        &self,
        settings: &PageSettings,
        visitor: &Visitor,
    ) -> Result<Reply, Problem> {
        if self.user(visitor).await?.is_none() {
            return Err(Problem::not_signed_in());
        }
        let view = SetupView {
            shop: &settings.shop,
            publishable_key: settings.publishable_key.expose(),
            stripe_js_url: &settings.stripe_js_url,
            account_url: settings.account_url.as_deref(),
            usage: SETUP_USAGE.as_str(),
        };
        let html = settings
            .pages
            .setup(&view)
            .map_err(|error| broken(&*error))?;
        Ok(Reply::html(200, &settings.policy, html))
    }

    async fn setup_complete_page(
        &self,
        settings: &PageSettings,
        visitor: &Visitor,
    ) -> Result<Reply, Problem> {
        let query = visitor.query();
        let retry_url = retry_url("../setup", query);
        let show = |status, state, message| {
            settings.setup_complete(status, state, message, retry_url.as_deref())
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

    async fn complete_page(
        &self,
        settings: &PageSettings,
        visitor: &Visitor,
    ) -> Result<Reply, Problem> {
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
                return settings.look_it_up(200, retry_url.as_deref());
            }
            None => return Err(Problem::malformed()),
        };
        let payment = match self.looked_up(visitor, &asked).await {
            Ok(payment) => payment,
            Err(problem) => {
                let page = settings.look_it_up(problem.status, retry_url.as_deref())?;
                return Ok(page.with_retry_after(problem.retry_after));
            }
        };
        let order_url = payment
            .order_id()
            .and_then(|reference| settings.order_url(reference));
        settings.complete(
            200,
            &CompleteView {
                shop: &settings.shop,
                state: state_of(&payment),
                amount: Some(payment.amount()),
                reference: payment.order_id(),
                message: message_for_buyer(&payment),
                order_url: order_url.as_deref(),
                retry_url: retry_url.as_deref(),
            },
        )
    }

    async fn looked_up(
        &self,
        visitor: &Visitor,
        asked: &ReturnedPayment<'_>,
    ) -> Result<Payment, Problem> {
        self.check_guard(visitor, GuardedAction::LookUp).await?;
        self.returned(asked).await
    }

    async fn looked_up_setup(
        &self,
        visitor: &Visitor,
        asked: &ReturnedSetup<'_>,
    ) -> Result<SetupIntent, Problem> {
        self.check_guard(visitor, GuardedAction::LookUp).await?;
        self.returned_setup(asked).await
    }
}

impl PageSettings {
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

    /// Tells nothing: the page's script takes the client secret out of the address, and asks with
    /// the one that it has.
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
    // A query comes from the request line, so it has no characters that could end a header. The
    // rest is the visitor's own affair.
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
}
