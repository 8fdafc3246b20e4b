//! The page of a problem.

use crate::checkout::page_settings::PageSettings;
use crate::error::Chain;
use crate::page::{PLAIN_POLICY, Place, ProblemView};
use crate::reply::{Problem, Reply};

pub(super) fn problem_page(settings: &PageSettings, place: Place, problem: &Problem) -> Reply {
    let order_url = problem
        .reference
        .as_deref()
        .and_then(|reference| settings.order_url(reference));
    let view = ProblemView {
        shop: &settings.shop,
        place,
        code: problem.code,
        title: title(problem.code, place),
        message: &problem.message,
        order_url: order_url.as_deref(),
        back_url: None,
    };
    match settings.pages.problem(&view) {
        Ok(html) => {
            Reply::html(problem.status, PLAIN_POLICY, html).with_retry_after(problem.retry_after)
        }
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
        "not_json" | "invalid_webhook" | "invalid_host" | "query_too_long" | "body_too_large" => {
            "This request could not be read"
        }
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

pub(super) fn broken(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error = %Chain(error), "a template failed");
    Problem::internal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_follows_the_code_and_not_the_status() {
        use crate::checkout::payment_error::PaymentError;

        let declines = PaymentError::TooManyDeclines { declines: 10 };
        for (error, words) in [
            (PaymentError::AlreadyPaid, "paid"),
            (PaymentError::Processing, "processed"),
            (PaymentError::InFlight, "try again"),
            (PaymentError::CalledOff, "canceled"),
            (declines, "declined"),
        ] {
            let problem = Problem::from(&error);
            let title = title(problem.code, Place::Checkout);
            assert!(title.contains(words), "{}: {title}", problem.code);
        }
    }

    /// The codes of the problems, as they stand in the source: `new(status, "code", …)`.
    fn codes() -> Vec<&'static str> {
        let sources = [
            include_str!("../../reply.rs"),
            include_str!("../payment_error.rs"),
        ];
        let calls = sources
            .iter()
            .flat_map(|source| source.split("::new(").skip(1));
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
            "order_called_off",
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
