//! `POST /create-checkout-session`: opens the payment of an order on Stripe's own page.

use bytes::Bytes;
use serde::Serialize;

use super::payments::logged;
use super::request::is_type;
use crate::call::Call;
use crate::checkout::state::Checkout;
use crate::guard::GuardedAction;
use crate::reply::{Problem, Reply};

const FORM: &[u8] = b"application/x-www-form-urlencoded";

impl Checkout {
    /// Gives a script the address of Stripe's page, or the secret to show it in a frame. Sends a
    /// browser that posted a form there.
    pub(super) async fn create_session_route(&self, call: Call) -> Reply {
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
            Bytes::new()
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
        self.check_guard(&visitor, GuardedAction::Payment(&request))
            .await?;
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

    /// A browser that posted a form shows a page.
    fn problem_reply(&self, problem: &Problem, is_form: bool) -> Reply {
        #[cfg(feature = "checkout")]
        if let (true, Ok(payments)) = (is_form, self.payments()) {
            let place = crate::page::Place::Checkout;
            return super::problem_page::problem_page(&payments.page, place, problem);
        }
        let _ = is_form;
        problem.json()
    }
}
