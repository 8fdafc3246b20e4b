//! `/v1/setup_intents`: <https://docs.stripe.com/api/setup_intents>.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    super::{
        api_error::ApiError,
        auth::{Caller, Role},
        cards::{Behaviour, Decline},
        ids,
        objects::{
            payment_intent::{Challenge, Status},
            payment_method::PaymentMethod,
            setup_intent::SetupIntent,
        },
        params::Params,
        store::{Cause, Store},
    },
    attempt::is_absolute,
    create::{card_only, read_automatic},
    list::Page,
    payment_method_data,
    shared_params::merge_metadata,
};

const REASONS: &[&str] = &["abandoned", "duplicate", "requested_by_customer"];

/// How to handle a confirmation.
struct Confirmation {
    return_url: Option<String>,
    use_stripe_sdk: bool,
}

impl Confirmation {
    fn read(params: &mut Params) -> Result<Self, ApiError> {
        let return_url = params.text("return_url")?;
        if return_url.as_ref().is_some_and(|url| !is_absolute(url)) {
            return Err(ApiError::invalid("Not a valid URL")
                .code("url_invalid")
                .param("return_url"));
        }
        Ok(Self {
            return_url,
            use_stripe_sdk: params.boolean("use_stripe_sdk")?.unwrap_or(false),
        })
    }

    fn check_return_url(&self, caller: &Caller, intent: &SetupIntent) -> Result<(), ApiError> {
        if caller.role == Role::Publishable
            || intent.automatic != Some("always")
            || self.return_url.is_some()
        {
            return Ok(());
        }
        Err(ApiError::invalid(
            "This SetupIntent is configured to accept payment methods enabled in your Dashboard. Because some of these payment methods might \
             redirect your customer off of your page, you must provide a `return_url`. If you don't want to accept redirect-based payment methods, \
             set `automatic_payment_methods[enabled]` to `true` and `automatic_payment_methods[allow_redirects]` to `never` when creating Setup \
             Intents and Payment Intents.",
        ))
    }
}

impl Store {
    pub(crate) fn create_setup_intent(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let listed_types = params.list("payment_method_types")?;
        let automatic = read_automatic(&mut params)?;
        let usage = params.choice("usage", &["off_session", "on_session"])?;
        let metadata = params.metadata()?;
        let description = params.setting_up_to("description", 1000)?.flatten();
        let customer = params.text("customer")?;
        let on_behalf_of = super::shared_params::on_behalf_of(&mut params)?;
        let wanted = payment_method_data::read(&mut params)?.flatten();
        let confirm = params.boolean("confirm")?.unwrap_or(false);
        let confirmation = Confirmation::read(&mut params)?;
        params.finish()?;

        let (automatic, payment_method_types) = match (automatic, listed_types) {
            (Some(Some(_)), Some(_)) => {
                return Err(ApiError::invalid(
                    "You may only specify one of these parameters: automatic_payment_methods, payment_method_types.",
                )
                .param("automatic_payment_methods"));
            }
            (_, Some(types)) => (None, only_cards(types)?),
            (Some(automatic), None) => (automatic, card_only()),
            (None, None) => (Some("always"), card_only()),
        };
        if confirmation.return_url.is_some() && !confirm {
            return Err(ApiError::invalid(
                "You cannot set `return_url` unless you also set `confirm` to `true`.",
            )
            .param("return_url"));
        }
        self.must_be_customer(caller, customer.as_deref())?;
        let mut intent = SetupIntent {
            id: ids::id("seti"),
            client_secret: String::new(),
            account: caller.account.clone(),
            created: ids::now(),
            status: Status::RequiresPaymentMethod,
            automatic,
            payment_method_types,
            usage: usage.unwrap_or("off_session"),
            cancellation_reason: None,
            metadata: BTreeMap::new(),
            description,
            customer,
            on_behalf_of,
            payment_method: None,
            latest_attempt: None,
            last_setup_error: None,
            next_action: None,
            challenge: None,
        };
        intent.client_secret = format!("{}_secret_{}", intent.id, ids::random(25));
        if let Some(change) = metadata {
            merge_metadata(&mut intent.metadata, change)?;
        }
        if confirm {
            confirmation.check_return_url(caller, &intent)?;
        }
        intent.payment_method = self.method_for_setup(caller, wanted, &intent)?;
        if intent.payment_method.is_some() {
            intent.status = Status::RequiresConfirmation;
        }
        let id = intent.id.clone();
        let created = intent.render();
        self.setup_intents.insert(intent);
        self.emit(&Cause::request(caller), "setup_intent.created", created);
        if confirm {
            self.set_up(caller, &id, confirmation)?;
        }
        self.rendered_setup(caller, &id)
    }

    pub(crate) fn retrieve_setup_intent(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let client_secret = params.text("client_secret")?;
        params.finish()?;
        let intent = self.admitted_setup(caller, id, client_secret.as_deref())?;
        Ok(caller.render_setup(intent))
    }

    pub(crate) fn update_setup_intent(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let metadata = params.metadata()?;
        let description = params.setting_up_to("description", 1000)?;
        let customer = params.text("customer")?;
        let wanted = payment_method_data::read(&mut params)?.flatten();
        params.finish()?;
        let mut changed = self.admitted_setup(caller, id, None)?.clone();
        self.must_be_customer(caller, customer.as_deref())?;
        if !matches!(
            changed.status,
            Status::RequiresPaymentMethod | Status::RequiresConfirmation | Status::RequiresAction
        ) && (customer.is_some() || wanted.is_some())
        {
            return Err(self.unexpected_setup(
                caller,
                id,
                format!(
                    "You cannot update this SetupIntent because it has a status of {}.",
                    changed.status.as_str()
                ),
            ));
        }
        if let Some(change) = metadata {
            merge_metadata(&mut changed.metadata, change)?;
        }
        if let Some(description) = description {
            changed.description = description;
        }
        let moved = customer.is_some() && customer != changed.customer;
        changed.customer = customer.or(changed.customer);
        let method = self.method_for_setup(caller, wanted, &changed)?;
        if method.is_some() {
            changed.payment_method = method;
            changed.status = Status::RequiresConfirmation;
            changed.next_action = None;
            changed.challenge = None;
        } else if let Some(kept) = changed.payment_method.as_ref().filter(|_| moved) {
            self.must_be_usable(caller, kept, changed.customer.as_deref())?;
        }
        if let Some(intent) = self.setup_intents.find_mut(id) {
            *intent = changed;
        }
        self.rendered_setup(caller, id)
    }

    pub(crate) fn confirm_setup_intent(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let client_secret = params.text("client_secret")?;
        let wanted = payment_method_data::read(&mut params)?.flatten();
        let confirmation = Confirmation::read(&mut params)?;
        params.finish()?;
        let intent = self
            .admitted_setup(caller, id, client_secret.as_deref())?
            .clone();
        if !matches!(
            intent.status,
            Status::RequiresPaymentMethod | Status::RequiresConfirmation | Status::RequiresAction
        ) {
            let why = match intent.status {
                Status::Succeeded => {
                    "it has already succeeded after being previously confirmed.".to_owned()
                }
                status => format!("it has a status of {}.", status.as_str()),
            };
            return Err(self.unexpected_setup(
                caller,
                id,
                format!("You cannot confirm this SetupIntent because {why}"),
            ));
        }
        confirmation.check_return_url(caller, &intent)?;
        let method = self.method_for_setup(caller, wanted, &intent)?;
        if let (Some(method), Some(intent)) = (method, self.setup_intents.find_mut(id)) {
            intent.payment_method = Some(method);
        }
        self.set_up(caller, id, confirmation)?;
        self.rendered_setup(caller, id)
    }

    pub(crate) fn cancel_setup_intent(
        &mut self,
        caller: &Caller,
        id: &str,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let reason = params.choice("cancellation_reason", REASONS)?;
        params.finish()?;
        let mut intent = self.admitted_setup(caller, id, None)?.clone();
        if matches!(intent.status, Status::Succeeded | Status::Canceled) {
            return Err(self.unexpected_setup(
                caller,
                id,
                format!(
                    "You cannot cancel this SetupIntent because it has a status of {}. Only a SetupIntent with one of the following statuses may be \
                     canceled: requires_payment_method, requires_confirmation, requires_action.",
                    intent.status.as_str()
                ),
            ));
        }
        intent.status = Status::Canceled;
        intent.cancellation_reason = reason;
        self.replace_setup(intent);
        self.emit_setup(&Cause::request(caller), "setup_intent.canceled", id);
        self.rendered_setup(caller, id)
    }

    pub(crate) fn list_setup_intents(
        &mut self,
        caller: &Caller,
        mut params: Params,
    ) -> Result<Value, ApiError> {
        let page = Page::read(&mut params)?;
        let customer = params.text("customer")?;
        let method = params.text("payment_method")?;
        params.finish()?;
        page.render(
            "/v1/setup_intents",
            "setupintent",
            caller,
            &self.setup_intents,
            |intent| {
                (customer.is_none() || intent.customer == customer)
                    && (method.is_none() || intent.payment_method == method)
            },
            |intent| caller.render_setup(intent),
        )
    }

    fn method_for_setup(
        &mut self,
        caller: &Caller,
        wanted: Option<payment_method_data::Wanted>,
        intent: &SetupIntent,
    ) -> Result<Option<String>, ApiError> {
        let Some(wanted) = wanted else {
            return Ok(None);
        };
        let method = self.wanted_payment_method(caller, wanted)?;
        self.must_be_usable(caller, &method, intent.customer.as_deref())?;
        let kind = self.method(caller, &method)?.kind();
        if kind != "card" {
            return Err(ApiError::invalid(format!(
                "The PaymentMethod provided ({kind}) is not allowed for this SetupIntent. The sandbox saves cards only."
            ))
            .param("payment_method"));
        }
        Ok(Some(method))
    }

    /// Sets the payment method up: asks the bank or the buyer.
    fn set_up(
        &mut self,
        caller: &Caller,
        id: &str,
        confirmation: Confirmation,
    ) -> Result<(), ApiError> {
        let Some((intent, method)) = self.setup_and_method(id) else {
            return Err(self.unexpected_setup(
                caller,
                id,
                "You cannot confirm this SetupIntent because it's missing a payment method. Update the SetupIntent with a payment method and then \
                 confirm it again."
                    .to_owned(),
            ));
        };
        self.must_be_usable(caller, &method.id, intent.customer.as_deref())?;
        let cause = Cause::request(caller);
        if let Some(intent) = self.setup_intents.find_mut(id) {
            intent.latest_attempt = Some(ids::id("setatt"));
        }
        match method.card_behaviour().unwrap_or(Behaviour::Succeed) {
            Behaviour::Decline(decline) => {
                let fields = self.fail_setup(&cause, id, &method, decline);
                let mut refusal = ApiError::card(decline.code, decline.message);
                for (name, value) in fields {
                    refusal = refusal.with(&name, value);
                }
                Err(refusal.with("setup_intent", self.rendered_setup(caller, id)?))
            }
            Behaviour::Authenticate { .. } => {
                self.challenge_setup(&cause, intent, confirmation);
                Ok(())
            }
            _ => {
                self.complete_setup(&cause, id);
                Ok(())
            }
        }
    }

    fn challenge_setup(&mut self, cause: &Cause, intent: SetupIntent, asked: Confirmation) {
        let challenge = ids::id("src");
        let page = format!("{}/sandbox/3ds/{}", self.url, intent.id);
        let next_action = match &asked.return_url {
            Some(return_url) if !asked.use_stripe_sdk => json!({
                "redirect_to_url": {
                    "return_url": return_url,
                    "url": format!("{page}?source={challenge}"),
                },
                "type": "redirect_to_url",
            }),
            _ => json!({
                "type": "use_stripe_sdk",
                "use_stripe_sdk": {
                    "source": challenge,
                    "stripe_js": page,
                    "type": "three_d_secure_redirect",
                },
            }),
        };
        let id = intent.id.clone();
        if let Some(intent) = self.setup_intents.find_mut(&id) {
            intent.status = Status::RequiresAction;
            intent.next_action = Some(next_action);
            intent.challenge = Some(Challenge {
                id: challenge,
                return_url: asked.return_url,
            });
        }
        self.emit_setup(cause, "setup_intent.requires_action", &id);
    }

    /// Applies the buyer's answer to the challenge.
    pub(crate) fn answer_setup_challenge(&mut self, cause: &Cause, id: &str, passed: bool) {
        let Some((mut intent, method)) = self.setup_and_method(id) else {
            return;
        };
        // A payment may have used the method meanwhile, or the merchant may have detached it.
        let usable = method.must_be_usable(intent.customer.as_deref());
        intent.last_setup_error = Some(match usable {
            Ok(()) if passed => {
                self.complete_setup(cause, id);
                return;
            }
            Err(refusal) if passed => refusal.fields(),
            _ => json!({
                "code": "setup_intent_authentication_failure",
                "doc_url": "https://stripe.com/docs/error-codes/setup-intent-authentication-failure",
                "message": "We are unable to authenticate your payment method. Please choose a different payment method and try again.",
                "payment_method": method.render(),
                "type": "invalid_request_error",
            }),
        });
        intent.status = Status::RequiresPaymentMethod;
        intent.payment_method = None;
        self.replace_setup(intent);
        self.emit_setup(cause, "setup_intent.setup_failed", id);
    }

    fn complete_setup(&mut self, cause: &Cause, id: &str) {
        let Some((mut intent, method)) = self.setup_and_method(id) else {
            return;
        };
        intent.status = Status::Succeeded;
        intent.last_setup_error = None;
        let customer = intent.customer.clone();
        self.replace_setup(intent);
        if let Some(method) = self.payment_methods.find_mut(&method.id) {
            method.set_up = true;
        }
        if let Some(customer) = customer {
            self.attach(cause, &method.id, &customer);
        }
        self.emit_setup(cause, "setup_intent.succeeded", id);
    }

    /// Declines the setup for the issuer. Returns the error's fields besides type, code and
    /// message.
    fn fail_setup(
        &mut self,
        cause: &Cause,
        id: &str,
        method: &PaymentMethod,
        decline: &Decline,
    ) -> Vec<(String, Value)> {
        let mut fields = vec![
            ("decline_code".to_owned(), json!(decline.decline_code)),
            ("network_decline_code".to_owned(), json!("01")),
            ("payment_method".to_owned(), method.render()),
        ];
        if let Some(advice) = decline.advice_code {
            fields.push(("advice_code".to_owned(), json!(advice)));
        }
        if let Some(param) = decline.param {
            fields.push(("param".to_owned(), json!(param)));
        }
        let mut error = json!({
            "code": decline.code,
            "doc_url": format!("https://stripe.com/docs/error-codes/{}", decline.code.replace('_', "-")),
            "message": decline.message,
            "type": "card_error",
        });
        if let Some(map) = error.as_object_mut() {
            map.extend(fields.iter().cloned());
        }
        if let Some(mut intent) = self.setup_intents.find(id).cloned() {
            intent.last_setup_error = Some(error);
            intent.status = Status::RequiresPaymentMethod;
            intent.payment_method = None;
            self.replace_setup(intent);
        }
        self.emit_setup(cause, "setup_intent.setup_failed", id);
        fields
    }

    fn setup_and_method(&self, id: &str) -> Option<(SetupIntent, PaymentMethod)> {
        let intent = self.setup_intents.find(id)?;
        let method = self.payment_methods.find(intent.payment_method.as_ref()?)?;
        Some((intent.clone(), method.clone()))
    }

    fn admitted_setup(
        &self,
        caller: &Caller,
        id: &str,
        client_secret: Option<&str>,
    ) -> Result<&SetupIntent, ApiError> {
        let intent = self
            .setup_intents
            .get(caller.account.as_deref(), id)
            .ok_or_else(|| no_such(id))?;
        match (caller.role, client_secret) {
            (Role::Secret, None) => Ok(intent),
            (Role::Publishable, None) => {
                Err(ApiError::invalid("Missing required param: client_secret.")
                    .code("parameter_missing")
                    .param("client_secret"))
            }
            (_, Some(secret)) if secret == intent.client_secret => Ok(intent),
            (_, Some(_)) => Err(ApiError::invalid(
                "The client_secret provided does not match the client_secret associated with the SetupIntent.",
            )
            .param("client_secret")),
        }
    }

    fn rendered_setup(&self, caller: &Caller, id: &str) -> Result<Value, ApiError> {
        self.setup_intents
            .find(id)
            .map(|intent| caller.render_setup(intent))
            .ok_or_else(|| no_such(id))
    }

    fn unexpected_setup(&self, caller: &Caller, id: &str, message: String) -> ApiError {
        let refusal = ApiError::invalid(message)
            .code("setup_intent_unexpected_state")
            .executed();
        match self.setup_intents.find(id) {
            Some(intent) => refusal.with("setup_intent", caller.render_setup(intent)),
            None => refusal,
        }
    }

    /// Stores a changed intent, and clears its next action and its challenge.
    fn replace_setup(&mut self, mut changed: SetupIntent) {
        changed.next_action = None;
        changed.challenge = None;
        if let Some(intent) = self.setup_intents.find_mut(&changed.id) {
            *intent = changed;
        }
    }

    fn emit_setup(&mut self, cause: &Cause, event_type: &'static str, id: &str) {
        if let Some(object) = self.setup_intents.find(id).map(SetupIntent::render) {
            self.emit(cause, event_type, object);
        }
    }
}

fn only_cards(types: Vec<String>) -> Result<Vec<String>, ApiError> {
    match types.iter().find(|kind| *kind != "card") {
        None => Ok(card_only()),
        Some(other) => Err(ApiError::invalid(format!(
            "The payment method type \"{other}\" is invalid. The sandbox saves cards only."
        ))
        .param("payment_method_types")),
    }
}

fn no_such(id: &str) -> ApiError {
    ApiError::no_such(StatusCode::NOT_FOUND, "setupintent", id, "intent")
}
