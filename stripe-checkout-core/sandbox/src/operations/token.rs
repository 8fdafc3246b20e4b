//! `/v1/tokens`: <https://docs.stripe.com/api/tokens>. The sandbox makes tokens of cards only.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    super::{
        api_error::ApiError,
        auth::{Caller, Role},
        ids,
        objects::token::Token,
        params::Params,
        store::Store,
    },
    payment_method_data::card_from_number,
};

impl Store {
    pub(crate) fn create_token(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let Some(Some(mut card)) = params.group("card")? else {
            return Err(params.missing("card"));
        };
        let number = card.required_text("number")?;
        let exp_month = card.required_integer("exp_month", 0)?;
        let exp_year = card.required_integer("exp_year", 0)?;
        let cvc = card.setting("cvc")?.flatten();
        let billing_details = json!({
            "address": {
                "city": card.setting("address_city")?.flatten(),
                "country": card.setting("address_country")?.flatten(),
                "line1": card.setting("address_line1")?.flatten(),
                "line2": card.setting("address_line2")?.flatten(),
                "postal_code": card.setting("address_zip")?.flatten(),
                "state": card.setting("address_state")?.flatten(),
            },
            "email": null,
            "name": card.setting("name")?.flatten(),
            "phone": null,
            "tax_id": null,
        });
        card.finish()?;
        params.finish()?;
        let card = card_from_number(caller, &number, exp_month, exp_year, cvc.as_deref())?;
        let token = Token {
            id: ids::id("tok"),
            account: caller.account.clone(),
            created: ids::now(),
            card_id: ids::id("card"),
            card,
            billing_details,
            used: false,
        };
        let rendered = match caller.role {
            Role::Secret => token.render(),
            Role::Publishable => token.render_for_browser(),
        };
        self.tokens.insert(token);
        Ok(rendered)
    }

    pub(crate) fn retrieve_token(
        &mut self,
        caller: &Caller,
        id: &str,
        params: Params,
    ) -> Result<Value, ApiError> {
        params.finish()?;
        self.tokens
            .get(caller.account.as_deref(), id)
            .map(Token::render)
            .ok_or_else(|| ApiError::no_such(StatusCode::NOT_FOUND, "token", id, "token"))
    }

    /// Takes the card out of a token, once.
    pub(crate) fn spend_token(
        &mut self,
        caller: &Caller,
        id: &str,
    ) -> Result<Option<Token>, ApiError> {
        if self.tokens.get(caller.account.as_deref(), id).is_none() {
            return Ok(None);
        }
        let Some(token) = self.tokens.find_mut(id) else {
            return Ok(None);
        };
        if token.used {
            return Err(ApiError::invalid(format!(
                "You cannot use a Stripe token more than once: {id}."
            ))
            .code("token_already_used")
            .param("payment_method_data[card][token]"));
        }
        token.used = true;
        Ok(Some(token.clone()))
    }
}
