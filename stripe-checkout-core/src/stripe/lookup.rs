//! The look-ups of the inbox: see [`Lookup`].

use serde::Deserialize;

use super::api_error::ApiError;
use super::gateway::Gateway;
use super::id::check_id;
use crate::error::BoxError;
use crate::fulfillment::{Answer, Lookup, PendingNote, Standing};
use crate::webhook::{CheckoutSession, Payment};

impl Lookup for Gateway {
    fn payment<'a>(&'a self, id: &'a str, account: Option<&'a str>) -> Answer<'a, Option<Payment>> {
        Box::pin(async move { or_gone(self.retrieve_intent(id, account).await) })
    }

    fn session<'a>(
        &'a self,
        id: &'a str,
        account: Option<&'a str>,
    ) -> Answer<'a, Option<CheckoutSession>> {
        Box::pin(async move { Ok(or_gone(self.session_of(id, account).await)?.flatten()) })
    }

    fn standing<'a>(&'a self, id: &'a str, account: Option<&'a str>) -> Answer<'a, Standing> {
        Box::pin(async move {
            let (mut payment, _) = self.retrieve_intent_with_charge(id, account).await?;
            let Some(returned) = payment.returned() else {
                return Err("Stripe does not tell of its charge".into());
            };
            let mut notes = vec![PendingNote::RefundedTotal(returned.refunded)];
            // The charge of a dispute that was won says `disputed` for ever.
            if returned.disputed {
                let disputes = self.disputes_of(id, account).await?;
                if disputes.is_empty() {
                    return Err("its charge is disputed, and Stripe lists no dispute".into());
                }
                notes.extend(disputes.iter().map(|dispute| PendingNote::Dispute {
                    id: dispute.id().to_owned(),
                    status: dispute.status().clone(),
                }));
            }
            if payment.is_told_by_session()
                && let Some(session) = self.session_of(id, account).await?
            {
                payment = payment.in_session(session);
            }
            Ok(Standing { payment, notes })
        })
    }
}

impl Gateway {
    async fn session_of(
        &self,
        payment: &str,
        account: Option<&str>,
    ) -> Result<Option<CheckoutSession>, ApiError> {
        #[derive(Deserialize)]
        struct List {
            data: Vec<CheckoutSession>,
        }
        check_id(payment, "pi_")?;
        let query = [("limit", "1"), ("payment_intent", payment)];
        let list: List = self.fetch("/checkout/sessions", &query, account).await?;
        Ok(list.data.into_iter().next())
    }
}

/// `None` if no later call finds it either: Stripe does not know it, or the account has left.
fn or_gone<T>(answer: Result<T, ApiError>) -> Result<Option<T>, BoxError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(
            ApiError::InvalidRequest { status: 404, .. }
            | ApiError::Permission {
                account_is_gone: true,
                ..
            },
        ) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
