//! The buyer, the merchant and the bank of one case act here.

use std::time::Duration;

use serde_json::Value;
use stripe_checkout_core::requests::{
    CancelRequest, CaptureMethod, CaptureRequest, PaymentRequest, RefundRequest,
};
use stripe_checkout_core::{Checkout, OrderCancellation, PaymentError};
use stripe_checkout_sandbox::Sandbox;

use crate::dimensions::{
    Account, After, Buyer, Capture, Case, Discount, Extra, Page, PaysWith, Store,
};
use crate::post::Post;
use crate::shop::{Databases, Open, PRICE, Shop, eur, open};
use crate::stripe::Stripe;

const CONNECTED: &str = "acct_1";
const STRANGER: &str = "acct_2";
/// How long Stripe takes to book a payment: longer than a case runs.
pub(crate) const BOOKED_AFTER: Duration = Duration::from_secs(60);
const BACK: &str = "return_url=https://shop.example/back";

/// One order with all that happens to it.
pub(crate) struct Life {
    pub(crate) case: Case,
    pub(crate) sandbox: Sandbox,
    pub(crate) stripe: Stripe,
    pub(crate) shop: Shop,
    pub(crate) reference: String,
    /// The connected account whose payment it is.
    pub(crate) account: Option<&'static str>,
    pub(crate) intent: Option<String>,
    pub(crate) session: Option<String>,
    /// Whether the shop itself canceled the payment.
    pub(crate) called_off: bool,
    secret: String,
    application: String,
    open: Open,
}

/// A sentence about something that is wrong.
pub(crate) type Fault = String;

impl Life {
    pub(crate) async fn new(case: &Case, number: usize, databases: &Databases) -> Self {
        let sandbox = Sandbox::start().await.unwrap();
        sandbox.banks().wait_to_be_told();
        sandbox.banks().book_payments_after(BOOKED_AFTER);
        if case.is_doubled() {
            sandbox.webhooks().double_events(usize::MAX);
        }
        let stripe = Stripe::of(&sandbox);
        let shop = Shop::new(case);
        let application = format!("shop{number}");
        let open = open(case, &application, &sandbox, &stripe, &shop, databases).await;
        Self {
            case: case.clone(),
            sandbox,
            stripe,
            shop,
            reference: format!("order-{number}"),
            account: (case.account() == Account::Direct).then_some(CONNECTED),
            intent: None,
            session: None,
            called_off: false,
            secret: String::new(),
            application,
            open,
        }
    }

    /// Whether webhooks are answered at once and a worker runs their events.
    pub(crate) fn queues(&self) -> bool {
        self.case.queues()
    }

    pub(crate) fn checkout(&self) -> &Checkout {
        &self.open.checkout
    }

    /// Lets everything happen at Stripe. Events that arrive in order are delivered meanwhile.
    pub(crate) async fn pass(&mut self, post: &mut Post) -> Result<(), Fault> {
        let case = self.case.clone();
        let cancels = case.after() == After::Cancel;
        let automatic = case.capture() == Capture::Automatic;
        self.begin().await?;
        self.strangers().await;
        post.as_it_happens(self).await?;
        let is_card = matches!(case.pays_with(), PaysWith::Card | PaysWith::ThreeDSecure);
        if cancels && automatic && case.pays_with() == PaysWith::Card {
            self.call_off(true).await?;
            return post.as_it_happens(self).await;
        }
        self.pay().await?;
        post.as_it_happens(self).await?;
        if case.is_free() {
            if cancels {
                self.call_off(false).await?;
            }
            return post.as_it_happens(self).await;
        }
        match case.pays_with() {
            PaysWith::Card => {}
            PaysWith::ThreeDSecure => {
                if cancels && automatic {
                    self.call_off(true).await?;
                    return post.as_it_happens(self).await;
                }
                self.authenticate().await?;
            }
            PaysWith::Debit | PaysWith::DebitFails => {
                if cancels {
                    self.call_off(false).await?;
                }
                let intent = self.intent()?.to_owned();
                let paid = case.pays_with() == PaysWith::Debit;
                check(
                    self.sandbox.settle(&intent, paid),
                    "the debit is not on its way",
                )?;
            }
        }
        post.as_it_happens(self).await?;
        self.capture().await?;
        post.as_it_happens(self).await?;
        match case.after() {
            After::Nothing => {}
            After::PartRefund => self.refund(false).await?,
            After::FullRefund => self.refund(true).await?,
            After::Dispute => {
                let intent = self.intent()?;
                check(
                    self.sandbox.dispute(intent),
                    "the payment cannot be disputed",
                )?;
            }
            After::Cancel if is_card => {
                let authorised = case.capture() == Capture::None;
                self.call_off(authorised).await?;
            }
            After::Cancel => {}
        }
        post.as_it_happens(self).await
    }

    pub(crate) async fn request(&self) -> PaymentRequest {
        let request = PaymentRequest::new(&self.reference, eur(PRICE))
            .line("Tea", 3, eur(15_00))
            .line("Cup", 1, eur(5_00));
        let request = match self.case.capture() {
            Capture::Automatic => request,
            _ => request.capture_method(CaptureMethod::Manual),
        };
        let has_fee = self.case.discount() != Discount::Whole && self.case.choose("fee", 2) == 1;
        let request = match self.case.account() {
            Account::Own => request,
            Account::Direct => request.connected_account(CONNECTED),
            Account::Destination => request.transfer_destination(CONNECTED),
        };
        let request = match self.case.account() {
            Account::Own => request,
            _ if has_fee => request.application_fee_amount(eur(1_00)),
            _ => request,
        };
        match self.case.buyer() {
            Buyer::Guest => request,
            Buyer::Customer => {
                let form = format!("email=jane@example.com&metadata[user]={}", self.reference);
                let known = self.stripe.list("/customers", self.account).await;
                let customer = match known.into_iter().next() {
                    Some(customer) => customer,
                    None => self.stripe.post("/customers", self.account, &form).await,
                };
                request.customer(text(&customer, "id"))
            }
        }
    }

    /// The order gets its payment, and the buyer chooses what Stripe's page offers.
    async fn begin(&mut self) -> Result<(), Fault> {
        let request = self.request().await;
        if self.case.page() == Page::Own {
            let made = self.checkout().create_intent(&request).await;
            let made = made.map_err(|error| format!("no PaymentIntent ({error})"))?;
            self.secret = made.client_secret().unwrap().expose().to_owned();
            self.intent = Some(made.id().to_owned());
            return Ok(());
        }
        let made = self.checkout().create_session(&request).await;
        let made = made.map_err(|error| format!("no Checkout Session ({error})"))?;
        self.session = Some(made.id().to_owned());
        if let Some(secret) = made.client_secret() {
            self.secret = secret.expose().to_owned();
        }
        match self.case.discount() {
            Discount::None => {}
            Discount::Code => self.enter_code(10).await?,
            Discount::Whole => self.enter_code(100).await?,
        }
        if self.case.extra() == Extra::Shipping {
            self.on_page("shipping", "shipping=0").await?;
        }
        Ok(())
    }

    /// Each account has promotion codes of its own.
    async fn enter_code(&self, percent: u8) -> Result<(), Fault> {
        let form = format!("percent_off={percent}&duration=once");
        let coupon = self.stripe.post("/coupons", self.account, &form).await;
        let form = format!(
            "code=OFF{percent}&promotion[type]=coupon&promotion[coupon]={}",
            text(&coupon, "id")
        );
        let path = "/promotion_codes";
        let code = accepted(self.stripe.post(path, self.account, &form).await)?;
        let form = format!("code={}", text(&code, "code"));
        self.on_page("code", &form).await.map(drop)
    }

    /// Posts to the page of the session, as the buyer's browser does.
    async fn on_page(&self, action: &str, form: &str) -> Result<Value, Fault> {
        let name = match self.case.page() {
            Page::Embedded => &self.secret,
            _ => self.session.as_ref().unwrap(),
        };
        let path = format!("/checkout/{name}/{action}");
        accepted(self.stripe.browse(&path, form).await)
    }

    async fn pay(&mut self) -> Result<(), Fault> {
        if self.case.page() == Page::Own {
            let method = match self.case.pays_with() {
                PaysWith::Card => "pm_card_visa",
                PaysWith::ThreeDSecure => "pm_card_threeDSecure2Required",
                PaysWith::Debit => "pm_sepaDebit_success_at",
                PaysWith::DebitFails => "pm_sepaDebit_failed_at",
            };
            let mandate = "mandate_data[customer_acceptance][type]=online\
                           &mandate_data[customer_acceptance][online][ip_address]=203.0.113.7\
                           &mandate_data[customer_acceptance][online][user_agent]=Firefox";
            let mandate = match self.case.pays_with() {
                PaysWith::Debit | PaysWith::DebitFails => format!("&{mandate}"),
                _ => String::new(),
            };
            let form = format!("payment_method={method}&{BACK}{mandate}");
            let path = format!("/payment_intents/{}/confirm", self.intent()?);
            accepted(self.stripe.post(&path, self.account, &form).await)?;
            return Ok(());
        }
        let buyer = "email=jane%40example.com&name=Jane";
        let card = |number: &str| {
            format!(
                "{buyer}&payment_method_data[type]=card\
                 &payment_method_data[card][number]={number}\
                 &payment_method_data[card][exp_month]=12\
                 &payment_method_data[card][exp_year]=2040\
                 &payment_method_data[card][cvc]=123"
            )
        };
        let debit = |iban: &str| {
            format!(
                "{buyer}&payment_method_data[type]=sepa_debit\
                 &payment_method_data[sepa_debit][iban]={iban}"
            )
        };
        let form = match self.case.pays_with() {
            _ if self.case.is_free() => buyer.to_owned(),
            PaysWith::Card => card("4242424242424242"),
            PaysWith::ThreeDSecure => card("4000000000003220"),
            PaysWith::Debit => debit("AT611904300234573201"),
            PaysWith::DebitFails => debit("AT861904300235473202"),
        };
        self.on_page("pay", &form).await?;
        self.learn_intent().await;
        Ok(())
    }

    /// The session's PaymentIntent is there as soon as the buyer has tried to pay.
    async fn learn_intent(&mut self) {
        let Some(session) = &self.session else { return };
        let path = format!("/checkout/sessions/{session}");
        let session = self.stripe.get(&path, self.account).await;
        self.intent = session["payment_intent"].as_str().map(str::to_owned);
    }

    /// The buyer says yes to the bank.
    async fn authenticate(&self) -> Result<(), Fault> {
        let intent = self.intent()?;
        let path = format!("/payment_intents/{intent}");
        let waiting = self.stripe.get(&path, self.account).await;
        let secret = text(&waiting, "client_secret");
        let form = format!("client_secret={secret}&outcome=succeed");
        accepted(self.stripe.browse(&format!("/3ds/{intent}"), &form).await)?;
        Ok(())
    }

    /// The total of the buyer, by the test's own arithmetic.
    pub(crate) fn total(&self) -> u64 {
        let taken_off = match self.case.discount() {
            Discount::None => 0,
            Discount::Code => PRICE / 10,
            Discount::Whole => PRICE,
        };
        let lines = PRICE - taken_off;
        match self.case.extra() {
            Extra::None => lines,
            Extra::Shipping => lines + 4_90,
            Extra::Tax => lines + lines / 10,
        }
    }

    /// A partial capture: below half of the total, or above.
    pub(crate) fn part(&self) -> u64 {
        match self.case.choose("part", 2) {
            0 => self.total() * 4 / 10,
            _ => self.total() * 7 / 10,
        }
    }

    /// The amount that arrives if all goes well.
    pub(crate) fn captured(&self) -> u64 {
        match self.case.capture() {
            Capture::None => 0,
            Capture::Part | Capture::PartElsewhere => self.part(),
            _ => self.total(),
        }
    }

    async fn capture(&self) -> Result<(), Fault> {
        let intent = self.intent()?;
        let request = self.capture_request("shipped")?;
        let capture = |request| async move {
            let captured = self.checkout().capture(&request).await;
            captured
                .map(drop)
                .map_err(|error| format!("not captured ({error})"))
        };
        let path = format!("/payment_intents/{intent}/capture");
        match self.case.capture() {
            Capture::Automatic | Capture::None => Ok(()),
            Capture::All => capture(request).await,
            Capture::Part => capture(request.amount(eur(self.part()))).await,
            Capture::Over => {
                let more = self.capture_request("too-much")?;
                let more = more.amount(eur(self.total() + 1));
                let refused = self.checkout().capture(&more).await;
                let refused = matches!(refused, Err(PaymentError::MoreThanLeft));
                check(refused, "more than was authorised is not refused")?;
                capture(request).await
            }
            Capture::AllElsewhere => {
                accepted(self.stripe.post(&path, self.account, "").await).map(drop)
            }
            Capture::PartElsewhere => {
                let form = format!("amount_to_capture={}", self.part());
                accepted(self.stripe.post(&path, self.account, &form).await).map(drop)
            }
        }
    }

    fn capture_request(&self, reference: &str) -> Result<CaptureRequest, Fault> {
        let request = CaptureRequest::new(reference, self.intent()?);
        Ok(match self.account {
            Some(account) => request.connected_account(account),
            None => request,
        })
    }

    async fn refund(&self, whole: bool) -> Result<(), Fault> {
        let intent = self.intent()?;
        let amount = (!whole).then(|| self.captured() * 3 / 10);
        if self.case.choose("refunds", 2) == 1 {
            let made = self.sandbox.refund(intent, amount);
            return check(made.is_some(), "the Dashboard refuses the refund");
        }
        let request = RefundRequest::new("returned", intent);
        let request = match self.account {
            Some(account) => request.connected_account(account),
            None => request,
        };
        let request = match amount {
            Some(amount) => request.amount(eur(amount)),
            None => request,
        };
        let made = self.checkout().refund(&request).await;
        made.map(drop)
            .map_err(|error| format!("not refunded ({error})"))
    }

    /// The shop calls the order off. That succeeds, or is refused because the buyer has paid.
    async fn call_off(&mut self, succeeds: bool) -> Result<(), Fault> {
        let by_payment = self.case.choose("cancel", 2) == 1;
        let captures = self.case.capture() != Capture::Automatic;
        let ended = match &self.intent {
            // A PaymentIntent in an open session is Stripe's.
            Some(intent) if by_payment && (self.session.is_none() || captures) => {
                let request = CancelRequest::new("called-off", intent);
                let request = match self.account {
                    Some(account) => request.connected_account(account),
                    None => request,
                };
                match self.checkout().cancel_payment(&request).await {
                    Ok(_) => true,
                    Err(PaymentError::WrongState) => false,
                    Err(error) => return Err(format!("not canceled ({error})")),
                }
            }
            _ => {
                let ended = match self.account {
                    None => self.checkout().cancel_order(&self.reference).await,
                    Some(account) => {
                        let reference = &self.reference;
                        self.checkout()
                            .cancel_order_on_connected_account(reference, account)
                            .await
                    }
                };
                let ended = ended.map_err(|error| format!("not called off ({error})"))?;
                matches!(ended, OrderCancellation::Canceled(_))
            }
        };
        self.called_off = ended;
        match (ended, succeeds) {
            (true, false) => Err("a payment that was made is called off".to_owned()),
            (false, true) => Err("a payment that is not made cannot be called off".to_owned()),
            _ => Ok(()),
        }
    }

    /// The buyer comes back to the shop.
    pub(crate) async fn comes_back(&self) -> Result<(), Fault> {
        self.shop.next_step();
        let found = match (&self.session, &self.intent) {
            (Some(session), _) => self.checkout().retrieve_session(session).await,
            (None, Some(intent)) => self.checkout().retrieve_intent(intent, &self.secret).await,
            (None, None) => return Ok(()),
        };
        match found {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("the buyer who comes back is not known".to_owned()),
            Err(error) => Err(format!("the buyer who comes back sees an error ({error})")),
        }
    }

    /// Another application on the same account sells under the same reference, or a connected
    /// account writes our marks on a payment of its own.
    async fn strangers(&self) {
        // An inbox that forgets may know payments on connected accounts by the Connect application
        // that made them. In the sandbox that is always the shop's own, so no account forges there.
        let forgets = self.case.store() == Store::Memory && self.account.is_some();
        let (account, application) = match self.case.choose("strangers", 3) {
            0 => (self.account, "coffee"),
            1 if !forgets => (Some(STRANGER), self.application.as_str()),
            _ => return,
        };
        let form = format!(
            "amount={PRICE}&currency=eur&payment_method=pm_card_visa&confirm=true&{BACK}\
             &metadata[order_id]={}&metadata[checkout_application]={application}\
             &metadata[checkout_amount]={PRICE}&metadata[checkout_currency]=eur",
            self.reference
        );
        let paid = self.stripe.post("/payment_intents", account, &form).await;
        assert_eq!(paid["status"], "succeeded", "{paid}");
    }

    pub(crate) fn intent(&self) -> Result<&str, Fault> {
        let none = || "there is no PaymentIntent".to_owned();
        self.intent.as_deref().ok_or_else(none)
    }

    /// The accounts that events may be of.
    pub(crate) fn accounts(&self) -> [Option<&'static str>; 3] {
        [None, Some(CONNECTED), Some(STRANGER)]
    }
}

pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

fn check(holds: bool, fault: &str) -> Result<(), Fault> {
    holds.then_some(()).ok_or_else(|| fault.to_owned())
}

fn accepted(answer: Value) -> Result<Value, Fault> {
    match answer.get("error") {
        Some(error) => Err(format!("Stripe refuses ({})", error["message"])),
        None => Ok(answer),
    }
}
