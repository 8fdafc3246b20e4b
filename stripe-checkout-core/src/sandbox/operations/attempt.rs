//! One attempt to take the money, and what comes of it.

use http::Uri;
use serde_json::{Value, json};

use super::super::{
    caller::{Caller, Role},
    cards::{self, Behaviour, Decline},
    ids,
    objects::{
        charge::{Charge, ChargeStatus},
        dispute,
        payment_intent::{Challenge, PaymentIntent, Status},
        payment_method::PaymentMethod,
    },
    params::Params,
    refusal::Refusal,
    store::{Cause, Store},
};

/// How a confirmation wants to be handled.
#[derive(Debug)]
pub(in crate::sandbox) struct Attempt {
    return_url: Option<String>,
    use_stripe_sdk: bool,
    off_session: bool,
    error_on_requires_action: bool,
}

impl Attempt {
    pub(super) fn read(params: &mut Params) -> Result<Self, Refusal> {
        let return_url = params.text("return_url")?;
        if let Some(url) = &return_url
            && !is_absolute(url)
        {
            return Err(Refusal::invalid("Not a valid URL")
                .code("url_invalid")
                .param("return_url"));
        }
        // Besides true and false it takes two words for kinds of agreement, all of them meaning that the buyer is away.
        let off_session = match params.text("off_session")?.as_deref() {
            None | Some("false") => false,
            Some("true" | "one_off" | "recurring") => true,
            Some(other) => {
                return Err(
                    Refusal::invalid(format!("Invalid boolean: {other}")).param("off_session")
                );
            }
        };
        Ok(Self {
            return_url,
            use_stripe_sdk: params.boolean("use_stripe_sdk")?.unwrap_or(false),
            off_session,
            error_on_requires_action: params.boolean("error_on_requires_action")?.unwrap_or(false),
        })
    }

    /// At creation these parameters mean something only together with `confirm`.
    pub(super) fn needs_confirm(&self, confirm: bool) -> Result<(), Refusal> {
        let without = |name: &str| {
            Err(Refusal::invalid(format!(
                "You cannot set `{name}` unless you also set `confirm` to `true`."
            ))
            .param(name))
        };
        match self {
            _ if confirm => Ok(()),
            Self {
                return_url: Some(_),
                ..
            } => without("return_url"),
            Self {
                off_session: true, ..
            } => without("off_session"),
            Self {
                error_on_requires_action: true,
                ..
            } => without("error_on_requires_action"),
            _ => Ok(()),
        }
    }

    /// A payment method that is chosen automatically may send the buyer away: without an address to come back to, Stripe refuses. Stripe.js brings its own.
    pub(super) fn check_return_url(
        &self,
        caller: &Caller,
        intent: &PaymentIntent,
    ) -> Result<(), Refusal> {
        if caller.role == Role::Publishable
            || intent.automatic != Some("always")
            || self.return_url.is_some()
            || self.off_session
        {
            return Ok(());
        }
        Err(Refusal::invalid(
            "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of these payment methods might \
             redirect your customer off of your page, you must provide a `return_url`. If you don't want to accept redirect-based payment methods, \
             set `automatic_payment_methods[enabled]` to `true` and `automatic_payment_methods[allow_redirects]` to `never` when creating Setup \
             Intents and Payment Intents.",
        ))
    }
}

fn is_absolute(url: &str) -> bool {
    url.parse::<Uri>()
        .is_ok_and(|uri| uri.scheme().is_some() && uri.authority().is_some())
}

impl Store {
    /// Tries to take the money with the payment method that the intent has by now.
    pub(super) fn attempt(
        &mut self,
        caller: &Caller,
        id: &str,
        attempt: Attempt,
    ) -> Result<(), Refusal> {
        let cause = Cause::request(caller);
        let Some((_, method)) = self.intent_and_method(id) else {
            return Err(Refusal::no_such(
                http::StatusCode::NOT_FOUND,
                "payment_intent",
                id,
                "intent",
            ));
        };
        let decline = match method.card.behaviour {
            Behaviour::Decline(decline) => Some(decline),
            Behaviour::Authenticate if attempt.off_session || attempt.error_on_requires_action => {
                Some(&cards::AUTHENTICATION_REQUIRED)
            }
            Behaviour::Authenticate => {
                self.challenge(&cause, id, attempt);
                return Ok(());
            }
            Behaviour::Succeed | Behaviour::Dispute | Behaviour::Process => None,
        };
        let Some(decline) = decline else {
            self.take_money(&cause, id, false);
            return Ok(());
        };
        let error = self.decline(&cause, id, decline);
        let mut refusal = Refusal::card(decline.code, decline.message);
        for (name, value) in error {
            refusal = refusal.with(&name, value);
        }
        Err(refusal.with("payment_intent", self.rendered_intent(caller, id)?))
    }

    fn intent_and_method(&self, id: &str) -> Option<(PaymentIntent, PaymentMethod)> {
        let intent = self.intents.find(id)?;
        let method = self.payment_methods.find(intent.payment_method.as_ref()?)?;
        Some((intent.clone(), method.clone()))
    }

    /// Asks the buyer for 3-D Secure.
    fn challenge(&mut self, cause: &Cause, id: &str, attempt: Attempt) {
        let challenge = ids::id("src");
        let page = format!("{}/sandbox/3ds/{id}", self.url);
        let next_action = match &attempt.return_url {
            Some(return_url) if !attempt.use_stripe_sdk => json!({
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
        let Some(intent) = self.intents.find_mut(id) else {
            return;
        };
        intent.status = Status::RequiresAction;
        intent.next_action = Some(next_action);
        intent.challenge = Some(Challenge {
            id: challenge,
            return_url: attempt.return_url,
        });
        let object = intent.render();
        self.emit(cause, "payment_intent.requires_action", object);
    }

    /// What the buyer made of the challenge.
    pub(in crate::sandbox) fn answer_challenge(&mut self, cause: &Cause, id: &str, passed: bool) {
        if passed {
            self.take_money(cause, id, true);
            return;
        }
        let Some((mut intent, method)) = self.intent_and_method(id) else {
            return;
        };
        intent.last_payment_error = Some(json!({
            "code": "payment_intent_authentication_failure",
            "doc_url": "https://stripe.com/docs/error-codes/payment-intent-authentication-failure",
            "message": "We are unable to authenticate your payment method. Please choose a different payment method and try again.",
            "payment_method": method.render(),
            "type": "invalid_request_error",
        }));
        intent.status = Status::RequiresPaymentMethod;
        intent.payment_method = None;
        self.replace(intent);
        self.emit_intent(cause, "payment_intent.payment_failed", id);
    }

    /// Charges the card, or authorizes it where the merchant captures later, or leaves the payment under way.
    fn take_money(&mut self, cause: &Cause, id: &str, authenticated: bool) {
        let Some((mut intent, method)) = self.intent_and_method(id) else {
            return;
        };
        let manual = intent.capture_method == "manual";
        let pending = matches!(method.card.behaviour, Behaviour::Process);
        let status = if pending {
            ChargeStatus::Pending
        } else {
            ChargeStatus::Succeeded
        };
        let mut charge = new_charge(&intent, &method, status, authenticated);
        charge.captured = !manual && !pending;
        intent.latest_charge = Some(charge.id.clone());
        intent.last_payment_error = None;
        if pending {
            intent.status = Status::Processing;
        } else if manual {
            intent.status = Status::RequiresCapture;
            intent.amount_capturable = intent.amount;
        }
        let charge_id = charge.id.clone();
        self.charges.insert(charge);
        self.replace(intent);
        if pending {
            self.emit_charge(cause, "charge.pending", &charge_id);
            self.emit_intent(cause, "payment_intent.processing", id);
        } else if manual {
            self.emit_charge(cause, "charge.succeeded", &charge_id);
            self.emit_intent(cause, "payment_intent.amount_capturable_updated", id);
        } else {
            self.capture_charge(&charge_id, None);
            self.emit_charge(cause, "charge.succeeded", &charge_id);
            self.succeed(cause, id, &charge_id);
        }
    }

    /// The money is there.
    pub(super) fn succeed(&mut self, cause: &Cause, id: &str, charge_id: &str) {
        let received = self
            .charges
            .find(charge_id)
            .map_or(0, |charge| charge.amount_captured);
        let Some((mut intent, method)) = self.intent_and_method(id) else {
            return;
        };
        intent.status = Status::Succeeded;
        intent.amount_received = received;
        intent.amount_capturable = 0;
        self.replace(intent);
        self.emit_intent(cause, "payment_intent.succeeded", id);
        if matches!(method.card.behaviour, Behaviour::Dispute) {
            self.dispute(charge_id);
        }
    }

    /// Marks a charge as captured, wholly or in part, and books it.
    pub(super) fn capture_charge(&mut self, charge_id: &str, amount: Option<u64>) {
        let booking = ids::id("txn");
        if let Some(charge) = self.charges.find_mut(charge_id) {
            charge.captured = true;
            charge.amount_captured = amount.unwrap_or(charge.amount);
            // What is not captured is given back to the buyer at once.
            charge.amount_refunded = charge.amount.saturating_sub(charge.amount_captured);
            charge.balance_transaction = Some(booking.clone());
            self.balance_transactions
                .insert(booking, charge_id.to_owned());
        }
    }

    /// The issuer says no. Returns the error's fields besides type, code and message.
    fn decline(
        &mut self,
        cause: &Cause,
        id: &str,
        decline: &'static Decline,
    ) -> Vec<(String, Value)> {
        let Some((intent, method)) = self.intent_and_method(id) else {
            return Vec::new();
        };
        let charge = new_charge(&intent, &method, ChargeStatus::Failed(decline), false);
        let charge_id = charge.id.clone();
        self.charges.insert(charge);
        self.fail(cause, id, &charge_id, decline)
    }

    /// Ends an attempt without money: the intent waits for another payment method.
    fn fail(
        &mut self,
        cause: &Cause,
        id: &str,
        charge_id: &str,
        decline: &'static Decline,
    ) -> Vec<(String, Value)> {
        let Some((mut intent, method)) = self.intent_and_method(id) else {
            return Vec::new();
        };
        let mut fields = vec![
            ("charge".to_owned(), json!(charge_id)),
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
        intent.last_payment_error = Some(error);
        intent.status = Status::RequiresPaymentMethod;
        intent.latest_charge = Some(charge_id.to_owned());
        intent.payment_method = None;
        self.replace(intent);
        self.emit_charge(cause, "charge.failed", charge_id);
        self.emit_intent(cause, "payment_intent.payment_failed", id);
        fields
    }

    /// Ends a payment that was processing. Whether there was one.
    pub(in crate::sandbox) fn settle(&mut self, id: &str, paid: bool) -> bool {
        let Some(intent) = self
            .intents
            .find(id)
            .filter(|intent| intent.status == Status::Processing)
        else {
            return false;
        };
        let cause = Cause::outside(intent.account.clone());
        let Some(charge_id) = intent.latest_charge.clone() else {
            return false;
        };
        let manual = intent.capture_method == "manual";
        let status = if paid {
            ChargeStatus::Succeeded
        } else {
            ChargeStatus::Failed(&cards::GENERIC)
        };
        if let Some(charge) = self.charges.find_mut(&charge_id) {
            charge.status = status;
        }
        if !paid {
            self.fail(&cause, id, &charge_id, &cards::GENERIC);
        } else if manual {
            if let Some(intent) = self.intents.find_mut(id) {
                intent.status = Status::RequiresCapture;
                intent.amount_capturable = intent.amount;
            }
            self.emit_charge(&cause, "charge.succeeded", &charge_id);
            self.emit_intent(&cause, "payment_intent.amount_capturable_updated", id);
        } else {
            self.capture_charge(&charge_id, None);
            self.emit_charge(&cause, "charge.succeeded", &charge_id);
            self.succeed(&cause, id, &charge_id);
        }
        true
    }

    /// The buyer's bank wants a charge's money back. Whether the charge can be disputed.
    pub(in crate::sandbox) fn dispute(&mut self, charge_id: &str) -> bool {
        let Some(charge) = self
            .charges
            .find_mut(charge_id)
            .filter(|charge| charge.captured && !charge.disputed)
        else {
            return false;
        };
        charge.disputed = true;
        let cause = Cause::outside(charge.account.clone());
        let object = dispute::render(&ids::id("du"), ids::now(), charge);
        self.emit(&cause, "charge.dispute.created", object.clone());
        self.emit(&cause, "charge.dispute.funds_withdrawn", object);
        true
    }

    /// Puts a changed intent back. Whatever it waited for, it waits no longer.
    pub(super) fn replace(&mut self, mut changed: PaymentIntent) {
        changed.next_action = None;
        changed.challenge = None;
        if let Some(intent) = self.intents.find_mut(&changed.id) {
            *intent = changed;
        }
    }

    pub(super) fn emit_intent(&mut self, cause: &Cause, event_type: &'static str, id: &str) {
        if let Some(object) = self.intents.find(id).map(PaymentIntent::render) {
            self.emit(cause, event_type, object);
            self.session_follows(cause, id);
        }
    }

    pub(super) fn emit_charge(&mut self, cause: &Cause, event_type: &'static str, id: &str) {
        if let Some(object) = self.charges.find(id).map(Charge::render) {
            self.emit(cause, event_type, object);
        }
    }
}

fn new_charge(
    intent: &PaymentIntent,
    method: &PaymentMethod,
    status: ChargeStatus,
    authenticated: bool,
) -> Charge {
    Charge {
        id: ids::id("ch"),
        account: intent.account.clone(),
        created: ids::now(),
        amount: intent.amount,
        amount_captured: 0,
        amount_refunded: 0,
        currency: intent.currency,
        status,
        captured: false,
        disputed: false,
        payment_intent: intent.id.clone(),
        payment_method: method.id.clone(),
        payment_method_details: method.details(intent.amount, authenticated),
        billing_details: method.billing_details.clone(),
        balance_transaction: None,
        metadata: intent.metadata.clone(),
        description: intent.description.clone(),
        receipt_email: intent.receipt_email.clone(),
        customer: intent.customer.clone(),
        on_behalf_of: intent.on_behalf_of.clone(),
        transfer_group: intent.transfer_group.clone(),
        application_fee_amount: intent.application_fee_amount,
        shipping: intent.shipping.clone(),
        statement_descriptor: intent.statement_descriptor.clone(),
        statement_descriptor_suffix: intent.statement_descriptor_suffix.clone(),
    }
}
