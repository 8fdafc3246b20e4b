//! One-click purchases: a saved card pays for the cart that the buyer sees.
//!
//! A double click buys once. The page carries a wish, which is a token of its own. The shop creates
//! one order for this wish and these articles, and the core charges an order once. The buyer pays
//! the total that the page showed: if the total has changed meanwhile, the page asks the buyer
//! again.

use minijinja::{Value, context};
use sha2::{Digest as _, Sha256};
use stripe_checkout_core::{
    PaymentError,
    requests::{OffSessionCharge, OffSessionOutcome},
};

use super::{is_over, named, shown, unanswered};
use crate::{
    account::Buyer,
    answer::Answer,
    cart::{self, Cart, CartForm},
    order::Status,
    prices,
    problem::Problem,
    random,
    shop::{Shop, cart_of},
    visit::{Visit, field},
};

impl Shop {
    /// `POST /account/buy`: orders the content of the cart, and pays for it with a saved card.
    pub async fn buy(&self, visit: &Visit) -> Answer {
        let (buyer, form) = match self.buyers_form(visit).await {
            Ok(found) => found,
            Err(refused) => return refused,
        };
        // The form has the quantities that the buyer sees. Another tab may have changed the cookie.
        let cart = CartForm::from_fields(&form).apply(cart_of(visit));
        if cart.is_empty() {
            return Answer::see_other("/cart");
        }
        if let Err(wait) = self.inner.lock.count_purchase(&buyer.account) {
            return self.problem_at(Problem::TooMany(wait), "/cart", "Back to the cart");
        }
        if let Err(problem) = self.count_order(visit) {
            return self.problem_at(problem, "/cart", "Back to the cart");
        }
        self.page(self.buy_now(visit, &buyer, &form, &cart).await)
    }

    /// The values that the cart's page needs for it. `None` if no saved card can pay.
    pub(crate) async fn one_click(
        &self,
        visit: &Visit,
        buyer: &Buyer,
    ) -> Result<Option<Value>, Problem> {
        let Some((_, methods)) = self.cards_of(visit, buyer).await else {
            return Ok(None);
        };
        let cards: Vec<Value> = methods
            .iter()
            .filter(|method| {
                let card = method.card();
                card.is_some_and(|card| !is_over(card.exp_year(), card.exp_month()))
            })
            .map(shown)
            .collect();
        if cards.is_empty() {
            return Ok(None);
        }
        let (csrf, wish) = (&buyer.csrf, random::token()?);
        Ok(Some(context! { csrf, wish, cards }))
    }

    async fn buy_now(
        &self,
        visit: &Visit,
        buyer: &Buyer,
        form: &[(String, String)],
        cart: &Cart,
    ) -> Result<Answer, Problem> {
        let (store, checkout) = (&self.inner.store, self.till_of(visit));
        let total = cart::total(&cart.lines()?)?;
        if field(form, "seen") != total.minor().to_string() {
            let message = "The total has changed. Please look at it, and press again.";
            let page = self
                .cart_page(visit, Some(buyer), cart, 409, Some(message))
                .await?;
            return Ok(self.with_cart(page, cart));
        }
        let (wish, card) = (field(form, "wish"), field(form, "card"));
        if !random::is_token(wish) {
            return Err(Problem::Malformed);
        }
        // Stripe is asked first: no order is created for a card that is not the buyer's own.
        let asked = async {
            let customer = checkout.customer(&buyer.customer()).await?;
            let methods = checkout.payment_methods(&customer).await?;
            Ok::<_, stripe_checkout_core::PaymentError>((customer, methods))
        };
        let (customer, methods) = asked.await.map_err(unanswered)?;
        let Some(method) = methods.iter().find(|method| method.id() == card) else {
            return Err(Problem::UnknownCard);
        };

        // Other articles on a page that was kept are another wish.
        let wish = Sha256::new()
            .chain_update(wish)
            .chain_update(cart.to_cookie());
        let wish = random::hex(&wish.finalize());
        let account = Some(buyer.account.clone());
        let id = store.create_order_of(cart, account, Some(wish)).await?;
        let order = store.order(&id).await?.ok_or(Problem::NotFound)?;
        let at_order = Answer::see_other(format!("/orders/{id}"));
        if !matches!(order.status, Status::Pending | Status::Failed) {
            return Ok(self.remember(at_order, cart, &id));
        }
        let charge = OffSessionCharge::new(prices::request(&order)?, &customer, card);
        let answer = match checkout.charge_off_session(&charge).await {
            Ok(OffSessionOutcome::Declined(_, failure)) => {
                let message = failure.message_for_buyer();
                self.unpaid(cart, &id, &named(method), message)?
            }
            Ok(OffSessionOutcome::AuthenticationRequired(_)) => {
                // The same PaymentIntent waits there, with the same card to choose. The bank asks
                // the buyer there, and the buyer answers.
                Answer::see_other(format!("/checkout?order={id}"))
            }
            Ok(_)
            | Err(PaymentError::AlreadyPaid | PaymentError::Processing | PaymentError::InFlight) => {
                at_order
            }
            Err(PaymentError::NotTheirs) => return Err(Problem::UnknownCard),
            Err(PaymentError::TooManyDeclines { .. }) => {
                let message = "It was declined too often. Please order again.";
                self.unpaid(cart, &id, &named(method), message)?
            }
            Err(error) => {
                // The order may be paid. Its page says so as soon as the shop knows, and does not
                // charge twice.
                tracing::error!(order = crate::order::short(&id), error = %crate::causes(&error), "a saved card could not be charged");
                at_order
            }
        };
        Ok(self.remember(answer, cart, &id))
    }

    fn unpaid(&self, cart: &Cart, id: &str, card: &str, message: &str) -> Result<Answer, Problem> {
        self.render(402, "unpaid.html", cart, context! { id, card, message })
    }
}
