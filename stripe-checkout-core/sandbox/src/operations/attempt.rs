//! One attempt to take the money, and its result.

use std::time::Duration;

use http::Uri;
use serde_json::{Value, json};

use super::{
    super::{
        api_error::ApiError,
        auth::{Caller, Role},
        banks::{self, Debit},
        cards::{self, Away, Behaviour, Decline},
        ids,
        objects::{
            balance_transaction::BalanceTransaction,
            charge::{Charge, ChargeStatus},
            mandate::{Acceptance, Mandate},
            payment_intent::{Challenge, PaymentIntent, Status},
            payment_method::{Instrument, PaymentMethod},
        },
        params::Params,
        scheduler::Due,
        store::{Cause, Store},
    },
    Opening,
    refund::signed,
};

/// How much longer some test accounts take.
const LATE: Duration = Duration::from_secs(180);

/// How to handle a confirmation.
#[derive(Debug)]
pub(crate) struct Attempt {
    return_url: Option<String>,
    use_stripe_sdk: bool,
    off_session: bool,
    error_on_requires_action: bool,
    /// How the buyer agreed to a debit.
    acceptance: Option<Accepted>,
}

impl Attempt {
    pub(crate) fn read(caller: &Caller, params: &mut Params) -> Result<Self, ApiError> {
        let return_url = params.text("return_url")?;
        if let Some(url) = &return_url
            && !is_absolute(url)
        {
            return Err(ApiError::invalid("Not a valid URL")
                .code("url_invalid")
                .param("return_url"));
        }
        let for_servers = match caller.role {
            Role::Secret => ForServers::read(params)?,
            Role::Publishable => ForServers::default(),
        };
        Ok(Self {
            return_url,
            use_stripe_sdk: params.boolean("use_stripe_sdk")?.unwrap_or(false),
            off_session: for_servers.off_session,
            error_on_requires_action: for_servers.error_on_requires_action,
            acceptance: read_acceptance(params)?,
        })
    }

    /// Refuses parameters that need `confirm` when an intent is created without it.
    pub(crate) fn needs_confirm(&self, confirm: bool) -> Result<(), ApiError> {
        let without = |name: &str| {
            Err(ApiError::invalid(format!(
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
            Self {
                acceptance: Some(_),
                ..
            } => without("mandate_data"),
            _ => Ok(()),
        }
    }

    /// Refuses a confirmation that needs a return address and has none.
    ///
    /// A payment method that is chosen automatically may redirect the buyer. Stripe.js brings its
    /// own return address.
    pub(crate) fn check_return_url(
        &self,
        caller: &Caller,
        intent: &PaymentIntent,
    ) -> Result<(), ApiError> {
        if caller.role == Role::Publishable
            || intent.automatic != Some("always")
            || self.return_url.is_some()
            || self.off_session
        {
            return Ok(());
        }
        Err(ApiError::invalid(
            "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of these payment methods might \
             redirect your customer off of your page, you must provide a `return_url`. If you don't want to accept redirect-based payment methods, \
             set `automatic_payment_methods[enabled]` to `true` and `automatic_payment_methods[allow_redirects]` to `never` when creating Setup \
             Intents and Payment Intents.",
        ))
    }
}

/// The parameters that a publishable key cannot send. For such a key they are unknown parameters.
#[derive(Debug, Default)]
struct ForServers {
    off_session: bool,
    error_on_requires_action: bool,
}

impl ForServers {
    fn read(params: &mut Params) -> Result<Self, ApiError> {
        // Besides true and false Stripe accepts two kinds of agreement. Both mean that the buyer is
        // away.
        let off_session = match params.text("off_session")?.as_deref() {
            None | Some("false" | "False") => false,
            Some("true" | "True" | "one_off" | "recurring") => true,
            Some(other) => {
                return Err(
                    ApiError::invalid(format!("Invalid boolean: {other}")).param("off_session")
                );
            }
        };
        Ok(Self {
            off_session,
            error_on_requires_action: params.boolean("error_on_requires_action")?.unwrap_or(false),
        })
    }
}

/// How and when the buyer agreed.
type Accepted = (Acceptance, Option<i64>);

/// The buyer's permission for a debit.
enum Permission {
    New(Accepted),
    /// The id of a mandate.
    Known(String),
}

/// Reads `mandate_data`: whether the buyer has agreed, and where.
fn read_acceptance(params: &mut Params) -> Result<Option<Accepted>, ApiError> {
    let Some(Some(mut data)) = params.group("mandate_data")? else {
        return Ok(None);
    };
    let Some(Some(mut acceptance)) = data.group("customer_acceptance")? else {
        return Err(data.missing("customer_acceptance"));
    };
    let kind = acceptance
        .choice("type", &["online", "offline"])?
        .ok_or_else(|| acceptance.missing("type"))?;
    let accepted_at = acceptance
        .integer("accepted_at", 0)?
        .and_then(|seconds| i64::try_from(seconds).ok());
    let accepted = match kind {
        // A group `online` stays unread, so `finish` refuses it.
        "offline" => Acceptance::Offline,
        _ => {
            let Some(mut online) = acceptance.group("online")?.flatten() else {
                return Err(acceptance.missing("online"));
            };
            // Stripe.js lets Stripe look the values up.
            let inferred = online.boolean("infer_from_client")?.unwrap_or(false);
            let mut told = |name: &str| match online.text(name)? {
                None if !inferred => Err(online.missing(name)),
                told => Ok(told),
            };
            let accepted = Acceptance::Online {
                ip_address: told("ip_address")?,
                user_agent: told("user_agent")?,
            };
            online.finish()?;
            accepted
        }
    };
    acceptance.finish()?;
    data.finish()?;
    Ok(Some((accepted, accepted_at)))
}

pub(crate) fn is_absolute(url: &str) -> bool {
    url.parse::<Uri>()
        .is_ok_and(|uri| uri.scheme().is_some() && uri.authority().is_some())
}

impl Store {
    /// Tries to take the money with the intent's current payment method.
    pub(crate) fn attempt(
        &mut self,
        caller: &Caller,
        id: &str,
        attempt: Attempt,
    ) -> Result<(), ApiError> {
        let cause = Cause::request(caller);
        let Some((intent, method)) = self.intent_and_method(id) else {
            return Err(ApiError::no_such(
                http::StatusCode::NOT_FOUND,
                "payment_intent",
                id,
                "intent",
            ));
        };
        let Some(behaviour) = method.card_behaviour() else {
            let acceptance = self.acceptance_for(caller, &intent, &method, attempt.acceptance)?;
            let mandate = self.mandate_for(&intent, &method, acceptance);
            self.take_money(&cause, id, false, Some(mandate));
            return Ok(());
        };
        let authenticated = intent.authenticated.as_ref() == Some(&method.id);
        let decline = match behaviour {
            Behaviour::Authenticate { then, .. } if authenticated => then,
            Behaviour::Decline(decline) | Behaviour::DeclineCharges(decline) => Some(decline),
            Behaviour::Authenticate { away, then } if attempt.off_session => match away {
                Away::Accepted => then,
                Away::IfSetUp if method.set_up => then,
                Away::IfSetUp | Away::Refused => Some(&cards::AUTHENTICATION_REQUIRED),
            },
            Behaviour::Authenticate { .. } if attempt.error_on_requires_action => {
                Some(&cards::AUTHENTICATION_REQUIRED)
            }
            Behaviour::Authenticate { .. } => {
                self.challenge(&cause, id, attempt);
                return Ok(());
            }
            Behaviour::Succeed
            | Behaviour::AvailableAtOnce
            | Behaviour::Dispute
            | Behaviour::DisputeNotReceived
            | Behaviour::Inquiry
            | Behaviour::RefundLater
            | Behaviour::RefundComesBack
            | Behaviour::Process => None,
        };
        let Some(decline) = decline else {
            self.take_money(&cause, id, authenticated, None);
            return Ok(());
        };
        let error = self.decline(&cause, id, decline);
        let mut refusal = ApiError::card(decline.code, decline.message);
        for (name, value) in error {
            refusal = refusal.with(&name, value);
        }
        Err(refusal.with("payment_intent", self.rendered_intent(caller, id)?))
    }

    /// Refuses an attempt that cannot begin. It checks the intent as it will be, so that a refusal
    /// changes nothing.
    pub(crate) fn must_be_attemptable(
        &self,
        caller: &Caller,
        intent: &PaymentIntent,
        attempt: &Attempt,
    ) -> Result<(), ApiError> {
        let Some(id) = &intent.payment_method else {
            return Ok(());
        };
        self.must_be_usable(caller, id, intent.customer.as_deref())?;
        let method = self.method(caller, id)?;
        let kind = method.kind();
        if !intent
            .payment_method_types
            .iter()
            .any(|known| known == kind)
        {
            return Err(ApiError::invalid(format!(
                "The PaymentMethod provided ({kind}) is not allowed for this PaymentIntent. Please attach a PaymentMethod of one of these types: {}.",
                intent.payment_method_types.join(", ")
            ))
            .code("payment_intent_incompatible_payment_method")
            .param("payment_method"));
        }
        if kind != "card" {
            self.acceptance_for(caller, intent, method, attempt.acceptance.clone())?;
        }
        Ok(())
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

    /// Applies the buyer's answer to the challenge.
    pub(crate) fn answer_challenge(&mut self, cause: &Cause, id: &str, passed: bool) {
        let Some((mut intent, method)) = self.intent_and_method(id) else {
            return;
        };
        // Another payment may have used the method meanwhile, or the merchant may have detached it.
        if passed && let Err(refusal) = method.must_be_usable(intent.customer.as_deref()) {
            intent.last_payment_error = Some(refusal.fields());
            self.await_another_method(cause, intent);
            return;
        }
        match method.card_behaviour() {
            // With manual confirmation the merchant's server decides when to take the money.
            _ if passed && intent.confirmation_method == "manual" => {
                intent.status = Status::RequiresConfirmation;
                intent.authenticated = intent.payment_method.clone();
                self.replace(intent);
                return;
            }
            Some(Behaviour::Authenticate {
                then: Some(decline),
                ..
            }) if passed => {
                self.decline(cause, id, decline);
                return;
            }
            _ if passed => {
                self.take_money(cause, id, true, None);
                return;
            }
            _ => {}
        }
        intent.last_payment_error = Some(json!({
            "code": "payment_intent_authentication_failure",
            "doc_url": "https://stripe.com/docs/error-codes/payment-intent-authentication-failure",
            "message": "We are unable to authenticate your payment method. Please choose a different payment method and try again.",
            "payment_method": method.render(),
            "type": "invalid_request_error",
        }));
        self.await_another_method(cause, intent);
    }

    fn await_another_method(&mut self, cause: &Cause, mut intent: PaymentIntent) {
        let id = intent.id.clone();
        intent.status = Status::RequiresPaymentMethod;
        intent.payment_method = None;
        self.replace(intent);
        self.emit_intent(cause, "payment_intent.payment_failed", &id);
    }

    /// Returns the buyer's permission for a debit: a new one, or a mandate from before. For
    /// Stripe.js the permission is implied.
    fn acceptance_for(
        &self,
        caller: &Caller,
        intent: &PaymentIntent,
        method: &PaymentMethod,
        acceptance: Option<Accepted>,
    ) -> Result<Permission, ApiError> {
        let known = self
            .mandates
            .iter()
            .find(|mandate| mandate.payment_method == method.id && mandate.single_use.is_none())
            .map(|mandate| mandate.id.clone());
        match (acceptance, known, caller.role) {
            (Some(given), _, _) => Ok(Permission::New(given)),
            (None, Some(known), _) => Ok(Permission::Known(known)),
            (None, None, Role::Publishable) => Ok(Permission::New((
                Acceptance::Online {
                    ip_address: None,
                    user_agent: None,
                },
                None,
            ))),
            (None, None, Role::Secret) => Err(self.unexpected_mandate(caller, &intent.id)),
        }
    }

    /// Returns the mandate of a debit, and makes one for a new permission.
    fn mandate_for(
        &mut self,
        intent: &PaymentIntent,
        method: &PaymentMethod,
        permission: Permission,
    ) -> String {
        let (acceptance, accepted_at) = match permission {
            Permission::Known(id) => return id,
            Permission::New(accepted) => accepted,
        };
        // Stripe.js lets Stripe look up the origin of the request, which is this machine.
        let acceptance = match acceptance {
            Acceptance::Online {
                ip_address,
                user_agent,
            } => Acceptance::Online {
                ip_address: ip_address.or_else(|| Some("127.0.0.1".to_owned())),
                user_agent: user_agent.or_else(|| Some("sandbox".to_owned())),
            },
            Acceptance::Offline => Acceptance::Offline,
        };
        let id = ids::id("mandate");
        self.mandates.insert(Mandate {
            id: id.clone(),
            account: intent.account.clone(),
            created: ids::now(),
            payment_method: method.id.clone(),
            reference: ids::random(16).to_uppercase(),
            acceptance,
            accepted_at,
            single_use: intent
                .usage_of("sepa_debit")
                .is_none()
                .then_some((intent.amount, intent.currency)),
        });
        id
    }

    fn unexpected_mandate(&self, caller: &Caller, id: &str) -> ApiError {
        let refusal = ApiError::invalid(
            "This PaymentIntent requires a mandate, but no existing mandate was found. Collect mandate acceptance from the customer and try \
             again, providing acceptance data in the mandate_data parameter.",
        );
        match self.intents.find(id) {
            Some(intent) => refusal.with("payment_intent", caller.render(intent)),
            None => refusal,
        }
    }

    /// Charges the card, or authorises it if the merchant captures later. Every debit of a bank
    /// account stays in progress.
    fn take_money(
        &mut self,
        cause: &Cause,
        id: &str,
        authenticated: bool,
        mandate: Option<String>,
    ) {
        let Some((mut intent, method)) = self.intent_and_method(id) else {
            return;
        };
        let manual = intent.captures_manually(method.kind());
        let pending = matches!(method.card_behaviour(), None | Some(Behaviour::Process));
        let status = if pending {
            ChargeStatus::Pending
        } else {
            ChargeStatus::Succeeded
        };
        let mut charge = new_charge(&intent, &method, status, authenticated, mandate.as_deref());
        self.save_or_spend(cause, &intent, &method.id);
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
        let at_once = intent.capture_method != "automatic_async";
        self.replace(intent);
        if pending {
            self.emit_charge(cause, "charge.pending", &charge_id);
            self.emit_intent(cause, "payment_intent.processing", id);
            self.expect_debit(charge_id, &method);
        } else if manual {
            self.emit_charge(cause, "charge.succeeded", &charge_id);
            self.emit_intent(cause, "payment_intent.amount_capturable_updated", id);
        } else {
            self.capture_charge(&charge_id, None, at_once);
            self.emit_charge(cause, "charge.succeeded", &charge_id);
            self.succeed(cause, id, &charge_id);
        }
    }

    /// Keeps a charged payment method for its customer if the buyer agreed. Otherwise nothing can
    /// use it again.
    fn save_or_spend(&mut self, cause: &Cause, intent: &PaymentIntent, method: &str) {
        let kind = self
            .payment_methods
            .find(method)
            .map_or("", PaymentMethod::kind);
        let saved = match (&intent.customer, intent.usage_of(kind)) {
            (Some(customer), Some(_)) => {
                self.attach(cause, method, customer);
                true
            }
            // The merchant can attach it later.
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if let Some(method) = self.payment_methods.find_mut(method) {
            method.set_up |= saved;
            method.spent |= !saved && method.customer.is_none();
        }
    }

    /// Schedules the end of a bank account's debit.
    fn expect_debit(&mut self, charge: String, method: &PaymentMethod) {
        let (Instrument::SepaDebit(account), Some(wait)) = (method.instrument, self.patience.debit)
        else {
            return;
        };
        let (end, late) = account.debit().end();
        let wait = wait.saturating_add(if late { LATE } else { Duration::ZERO });
        let paid = end.is_ok();
        self.agenda.add(wait, Due::Debit { charge, paid });
    }

    /// Ends a debit that has not ended yet.
    pub(crate) fn end_debit(&mut self, charge_id: &str, paid: bool) {
        let intent = self
            .charges
            .find(charge_id)
            .filter(|charge| matches!(charge.status, ChargeStatus::Pending))
            .map(|charge| charge.payment_intent.clone());
        if let Some(intent) = intent {
            self.settle(&intent, paid);
        }
    }

    /// Completes a payment after the money has arrived.
    pub(crate) fn succeed(&mut self, cause: &Cause, id: &str, charge_id: &str) {
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
        let dispute = match (method.instrument, method.card_behaviour()) {
            (_, Some(Behaviour::Dispute)) => Some(Opening::Chargeback("fraudulent")),
            (_, Some(Behaviour::DisputeNotReceived)) => {
                Some(Opening::Chargeback("product_not_received"))
            }
            (_, Some(Behaviour::Inquiry)) => Some(Opening::Inquiry),
            (Instrument::SepaDebit(account), _) if matches!(account.debit(), Debit::Dispute) => {
                Some(Opening::Chargeback("debit_not_authorized"))
            }
            _ => None,
        };
        if let Some(opening) = dispute {
            self.dispute(charge_id, opening);
        }
    }

    /// Marks a charge as captured, fully or partly, and books it now or later.
    pub(crate) fn capture_charge(&mut self, charge_id: &str, amount: Option<u64>, at_once: bool) {
        let method = self
            .charges
            .find(charge_id)
            .and_then(|charge| self.payment_methods.find(&charge.payment_method));
        let behaviour = method.and_then(PaymentMethod::card_behaviour);
        let from_card = method.is_none() || behaviour.is_some();
        if let Some(charge) = self.charges.find_mut(charge_id) {
            charge.captured = true;
            let taken = amount.unwrap_or(charge.amount);
            charge.amount_captured = charge.amount_captured.saturating_add(taken);
            // Example fees: 2.9 % and 30 minor units for a card, 35 minor units for a debit. No
            // contract has them.
            let fee = if from_card {
                (taken.saturating_mul(29) / 1000).saturating_add(30)
            } else {
                35
            };
            charge.coming_booking = Some(BalanceTransaction {
                id: ids::id("txn"),
                account: charge.account.clone(),
                created: ids::now(),
                amount: signed(taken),
                fee: signed(fee.min(taken)),
                currency: charge.currency,
                kind: if from_card { "charge" } else { "payment" },
                category: "charge",
                description: charge.description.clone(),
                source: charge.id.clone(),
                available: matches!(behaviour, Some(Behaviour::AvailableAtOnce)),
            });
        }
        if at_once {
            self.book_charge(charge_id);
        } else if let Some(wait) = self.patience.booking {
            let charge = charge_id.to_owned();
            self.agenda.add(wait, Due::Booking { charge });
        }
    }

    /// Adds the balance transaction of a captured charge. Returns whether it was still missing.
    pub(crate) fn book_charge(&mut self, charge_id: &str) -> bool {
        let Some(charge) = self.charges.find_mut(charge_id) else {
            return false;
        };
        let Some(booking) = charge.coming_booking.take() else {
            return false;
        };
        charge.balance_transaction = Some(booking.id.clone());
        self.balance_transactions.insert(booking);
        true
    }

    /// Adds the balance transaction that `automatic_async` shows late, and sends its event. Returns
    /// whether it was still missing.
    pub(crate) fn book_later(&mut self, charge_id: &str) -> bool {
        let booked = self.book_charge(charge_id);
        if let Some(charge) = self.charges.find(charge_id).filter(|_| booked) {
            let cause = Cause::outside(charge.account.clone());
            let object = charge.render();
            let before = json!({ "balance_transaction": null });
            self.emit_change(&cause, "charge.updated", object, Some(before));
        }
        booked
    }

    /// Declines the payment for the issuer. Returns the error's fields besides type, code and
    /// message.
    fn decline(
        &mut self,
        cause: &Cause,
        id: &str,
        decline: &'static Decline,
    ) -> Vec<(String, Value)> {
        let Some((intent, method)) = self.intent_and_method(id) else {
            return Vec::new();
        };
        let charge = new_charge(&intent, &method, ChargeStatus::Failed(decline), false, None);
        let charge_id = charge.id.clone();
        self.charges.insert(charge);
        self.fail(cause, id, &charge_id, decline)
    }

    /// Ends an attempt without money. The intent then waits for another payment method.
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
            ("payment_method".to_owned(), method.render()),
        ];
        if let Some(decline_code) = decline.decline_code {
            fields.push(("decline_code".to_owned(), json!(decline_code)));
            fields.push(("network_decline_code".to_owned(), json!("01")));
        }
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
            "type": decline.kind,
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

    /// Ends a payment that was processing. Returns whether there was one.
    pub(crate) fn settle(&mut self, id: &str, paid: bool) -> bool {
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
        let kind = intent
            .payment_method
            .as_ref()
            .and_then(|method| self.payment_methods.find(method))
            .map_or("card", PaymentMethod::kind);
        let manual = intent.captures_manually(kind);
        let account = self
            .intent_and_method(id)
            .and_then(|(_, method)| match method.instrument {
                Instrument::SepaDebit(account) => Some(account),
                Instrument::Card(_) => None,
            });
        let why = match account.map(|account| account.debit().end()) {
            Some((Err(why), _)) => why,
            Some((Ok(()), _)) => &banks::FAILED,
            None => &cards::GENERIC,
        };
        let status = if paid {
            ChargeStatus::Succeeded
        } else {
            ChargeStatus::Failed(why)
        };
        if let Some(charge) = self.charges.find_mut(&charge_id) {
            charge.status = status;
        }
        if !paid {
            self.fail(&cause, id, &charge_id, why);
        } else if manual {
            if let Some(intent) = self.intents.find_mut(id) {
                intent.status = Status::RequiresCapture;
                intent.amount_capturable = intent.amount;
            }
            self.emit_charge(&cause, "charge.succeeded", &charge_id);
            self.emit_intent(&cause, "payment_intent.amount_capturable_updated", id);
        } else {
            self.capture_charge(&charge_id, None, true);
            self.emit_charge(&cause, "charge.succeeded", &charge_id);
            self.succeed(&cause, id, &charge_id);
        }
        true
    }

    /// Stores a changed intent, and clears its next action and its challenge.
    pub(crate) fn replace(&mut self, mut changed: PaymentIntent) {
        changed.next_action = None;
        changed.challenge = None;
        if let Some(intent) = self.intents.find_mut(&changed.id) {
            *intent = changed;
        }
    }

    pub(crate) fn emit_intent(&mut self, cause: &Cause, event_type: &'static str, id: &str) {
        if let Some(object) = self.intents.find(id).map(PaymentIntent::render) {
            self.emit(cause, event_type, object);
            self.session_follows(cause, id);
        }
    }

    pub(crate) fn emit_charge(&mut self, cause: &Cause, event_type: &'static str, id: &str) {
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
    mandate: Option<&str>,
) -> Charge {
    Charge {
        // Stripe uses `py` for a charge of anything but a card.
        id: ids::id(if method.kind() == "card" { "ch" } else { "py" }),
        account: intent.account.clone(),
        created: ids::now(),
        amount: intent.amount,
        amount_captured: 0,
        amount_refunded: 0,
        currency: intent.currency,
        status,
        captured: false,
        released: false,
        disputed: false,
        payment_intent: intent.id.clone(),
        payment_method: method.id.clone(),
        payment_method_details: method.details(intent.amount, authenticated, mandate),
        billing_details: method.billing_details.clone(),
        balance_transaction: None,
        coming_booking: None,
        metadata: intent.metadata.clone(),
        description: intent.description.clone(),
        receipt_email: intent.receipt_email.clone(),
        customer: intent.customer.clone(),
        on_behalf_of: intent.on_behalf_of.clone(),
        transfer_group: intent.transfer_group.clone(),
        application_fee_amount: intent.application_fee_amount,
        transfer_data: intent.transfer_data.clone(),
        shipping: intent.shipping.clone(),
        statement_descriptor: intent.statement_descriptor.clone(),
        statement_descriptor_suffix: intent.statement_descriptor_suffix.clone(),
    }
}
