//! The payment that the merchant requests, checked before the request goes to Stripe.
//!
//! Stripe would refuse most of these mistakes too, but only after the buyer has typed in the card.

use std::fmt;

use super::capture_method::CaptureMethod;
use super::connect::Connect;
use super::descriptor::is_suffix;
use super::error::RequestError;
use super::future_usage::SetupFutureUsage;
use super::intent_params::IntentParams;
use super::limits::{check_reference, is_email};
use super::line::Line;
use crate::amount::Amount;
use crate::amount::AmountError;
use crate::marks::marked;
use crate::metadata::Metadata;

/// Stripe's limit for a description, in characters.
const MAX_DESCRIPTION: usize = 1000;

/// One payment for an order, as returned by [`Pricing`](crate::Pricing).
///
/// The reference is the order's id, unique among the merchant's orders. It makes sure that an order
/// is paid once, however often its page is opened. The amount is the total, including taxes and
/// shipping. Lines are for display only.
///
/// ```
/// use stripe_checkout_core::requests::PaymentRequest;
/// use stripe_checkout_core::{Amount, Currency, DEFAULT_CAP};
///
/// let request = PaymentRequest::new("order-1042", Amount::new(1999, Currency::EUR))
///     .line("Darjeeling, 100 g", 2, Amount::new(1500, Currency::EUR))
///     .line("Shipping", 1, Amount::new(499, Currency::EUR))
///     .receipt_email("jane@example.com")
///     .description("Tea");
///
/// assert!(request.validate(DEFAULT_CAP).is_ok());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentRequest {
    reference: String,
    amount: Amount,
    lines: Vec<Line>,
    metadata: Metadata,
    receipt_email: Option<String>,
    description: Option<String>,
    statement_descriptor_suffix: Option<String>,
    customer: Option<String>,
    setup_future_usage: Option<SetupFutureUsage>,
    manual_capture: bool,
    reopen: bool,
    account: Option<String>,
    connect: Connect,
}

impl PaymentRequest {
    /// A payment of `amount` for the order `reference`.
    ///
    /// The reference has 1 to 200 characters and no control character. It is unique among the
    /// merchant's orders.
    pub fn new(reference: impl Into<String>, amount: Amount) -> Self {
        Self {
            reference: reference.into(),
            amount,
            lines: Vec::new(),
            metadata: Metadata::new(),
            receipt_email: None,
            description: None,
            statement_descriptor_suffix: None,
            customer: None,
            setup_future_usage: None,
            manual_capture: false,
            reopen: false,
            account: None,
            connect: Connect::default(),
        }
    }

    /// Adds a line to the summary that the buyer sees.
    ///
    /// `amount` is the price of the whole line, not of one piece. All lines must add up to the
    /// payment's amount.
    #[must_use]
    pub fn line(self, name: impl Into<String>, quantity: u64, amount: Amount) -> Self {
        self.line_item(Line::new(name, quantity, amount))
    }

    /// Adds a line with its tax settings.
    ///
    /// ```
    /// use stripe_checkout_core::requests::{Line, PaymentRequest, TaxBehavior};
    /// use stripe_checkout_core::{Amount, Currency};
    ///
    /// let price = Amount::new(1500, Currency::EUR);
    /// let book = Line::new("The Book of Tea", 1, price)
    ///     .tax_code("txcd_35010000")
    ///     .tax_behavior(TaxBehavior::Inclusive);
    /// let request = PaymentRequest::new("order-1042", price).line_item(book);
    /// ```
    #[must_use]
    pub fn line_item(mut self, line: Line) -> Self {
        self.lines.push(line);
        self
    }

    /// Sets the merchant's own metadata, which comes back in every event of the payment.
    ///
    /// This crate adds `order_id` (the reference) and up to four keys that begin with `checkout_`.
    /// They replace the merchant's own keys of the same name.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Sets the address to which Stripe sends its receipt.
    ///
    /// In live mode Stripe sends it even if receipts are switched off in the Dashboard. If Stripe
    /// refuses the address, the checkout logs that and creates the payment without a receipt.
    #[must_use]
    pub fn receipt_email(mut self, address: impl Into<String>) -> Self {
        self.receipt_email = Some(address.into());
        self
    }

    /// Sets a description of the payment: at most 1000 characters.
    ///
    /// The Dashboard and Stripe's receipt show it.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Sets the end of the line on the buyer's card statement.
    ///
    /// It follows the account's prefix and `* `, like `O #7`. All three have 5 to 22 characters
    /// together. The suffix has ASCII characters only, at least one letter, and none of `< > \ ' "
    /// *`. If the [builder](crate::CheckoutBuilder::statement_descriptor_prefix) knows the prefix,
    /// the length is checked exactly. See Stripe's [statement
    /// descriptors](https://docs.stripe.com/get-started/account/statement-descriptors).
    #[must_use]
    pub fn statement_descriptor_suffix(mut self, text: impl Into<String>) -> Self {
        self.statement_descriptor_suffix = Some(text.into());
        self
    }

    /// Sets the customer who pays (`cus_…`).
    ///
    /// They can use their saved payment methods and save new ones. The checkout page needs only
    /// [`customers`](crate::CheckoutBuilder::customers).
    ///
    /// An open payment of a customer is only for this customer. If a guest or another customer
    /// requests the order, the checkout cancels the payment and creates another one.
    #[must_use]
    pub fn customer(mut self, id: impl Into<String>) -> Self {
        self.customer = Some(id.into());
        self
    }

    /// Saves the payment method for the customer when they pay, for this usage.
    ///
    /// Without a customer, nothing is saved. Do not set it if the buyer should choose: the page
    /// asks buyers who are [known customers](crate::CheckoutBuilder::customers).
    #[must_use]
    pub fn setup_future_usage(mut self, usage: SetupFutureUsage) -> Self {
        self.setup_future_usage = Some(usage);
        self
    }

    /// Sets when the money is collected. By default Stripe collects it as soon as the buyer pays.
    ///
    /// [`CaptureMethod::Manual`] only authorises the amount. You collect the money with
    /// [`capture`](crate::Checkout::capture), in full or in part. The money is released if you
    /// [cancel the payment](crate::Checkout::cancel_payment), or if the authorisation expires (most
    /// cards: after 7 days, see [`PaymentTotals::capture_before`]). The handler receives
    /// [`RequiresCapture`] when the amount is authorised. Not every payment method supports this:
    /// Stripe leaves out the others. See Stripe's [place a hold].
    ///
    /// [`PaymentTotals::capture_before`]: crate::PaymentTotals::capture_before
    /// [place a hold]: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method
    /// [`RequiresCapture`]: crate::fulfillment::PaymentEvent::RequiresCapture
    #[must_use]
    pub fn capture_method(mut self, method: CaptureMethod) -> Self {
        self.manual_capture = method == CaptureMethod::Manual;
        self
    }

    /// Makes the payment on this connected account (`acct_…`), as a [direct charge].
    ///
    /// The order then belongs to that account. The same reference on another account is another
    /// order, and only events of this account fulfil the order. The page and the response of
    /// `create-payment-intent` contain the account for Stripe.js. A customer must belong to that
    /// account.
    ///
    /// Events of connected accounts arrive at a webhook endpoint of the kind "Connected accounts".
    /// The inbox must remember the order, because a connected account can write any metadata. A
    /// [`MemoryInbox`](crate::fulfillment::MemoryInbox) forgets at a restart, so with it you need
    /// [`connect_application`](crate::CheckoutBuilder::connect_application).
    ///
    /// [direct charge]: https://docs.stripe.com/connect/direct-charges
    #[must_use]
    pub fn connected_account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Transfers the money to this connected account (`acct_…`).
    ///
    /// The platform keeps the [fee](Self::application_fee_amount). This is a [destination
    /// charge](https://docs.stripe.com/connect/destination-charges). The payment, its events and
    /// its disputes stay with the platform.
    #[must_use]
    pub fn transfer_destination(mut self, account: impl Into<String>) -> Self {
        self.connect.destination = Some(account.into());
        self
    }

    /// Sets the connected account (`acct_…`) that is the business of record.
    ///
    /// This is for a destination charge. That account's country, fees and name on the buyer's
    /// statement apply. Only with [`transfer_destination`](Self::transfer_destination), and usually
    /// the same account.
    /// See <https://docs.stripe.com/connect/destination-charges#settlement-merchant>.
    #[must_use]
    pub fn on_behalf_of(mut self, account: impl Into<String>) -> Self {
        self.connect.on_behalf_of = Some(account.into());
        self
    }

    /// Sets the fee that the platform keeps.
    ///
    /// It is in the payment's currency, more than zero and not more than the amount. Only with
    /// [`connected_account`](Self::connected_account) or
    /// [`transfer_destination`](Self::transfer_destination).
    #[must_use]
    pub fn application_fee_amount(mut self, fee: Amount) -> Self {
        self.connect.fee = Some(fee);
        self
    }

    /// The connected account on which the payment is made, if any.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// The business of record, if it is not the platform.
    pub(crate) fn business_of_record(&self) -> Option<&str> {
        self.connect.on_behalf_of.as_deref()
    }

    /// Lets the buyer pay an order that was [canceled](crate::Checkout::cancel_order).
    ///
    /// Use it when the order's goods are available again.
    #[must_use]
    pub fn reopen(mut self) -> Self {
        self.reopen = true;
        self
    }

    pub(crate) fn reopens(&self) -> bool {
        self.reopen
    }

    /// The customer, if the request names one.
    pub(crate) fn customer_id(&self) -> Option<&str> {
        self.customer.as_deref()
    }

    /// Whether the payment is authorised now and captured later.
    pub(crate) fn captures_manually(&self) -> bool {
        self.manual_capture
    }

    /// How the payment method is used later, if it is saved.
    pub(crate) fn future_usage(&self) -> Option<SetupFutureUsage> {
        self.setup_future_usage
    }

    /// The same request, without saving the payment method.
    pub(crate) fn saving_nothing(mut self) -> Self {
        self.setup_future_usage = None;
        self
    }

    /// The same request, without a receipt.
    pub(crate) fn without_receipt(mut self) -> Self {
        self.receipt_email = None;
        self
    }

    /// Whether the request asks for a receipt.
    pub(crate) fn has_receipt(&self) -> bool {
        self.receipt_email.is_some()
    }

    /// Whether the receipt's address is invalid.
    pub(crate) fn has_bad_receipt(&self) -> bool {
        let address = self.receipt_email.as_deref();
        address.is_some_and(|address| !is_email(address))
    }

    /// The order's id.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The amount of the payment.
    pub fn amount(&self) -> Amount {
        self.amount
    }

    /// The lines of the summary; there may be none.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Checks the request against Stripe's limits.
    ///
    /// `cap` is the largest allowed amount, in minor units. The account's prefix of statement
    /// descriptors is not known here: a suffix that fits after the shortest prefix passes.
    ///
    /// # Errors
    /// The first [`RequestError`] found.
    pub fn validate(&self, cap: u64) -> Result<(), RequestError> {
        self.validate_behind(None, cap)
    }

    /// The same, with the account's prefix of statement descriptors.
    pub(crate) fn validate_behind(
        &self,
        descriptor_prefix: Option<&str>,
        cap: u64,
    ) -> Result<(), RequestError> {
        check_reference(&self.reference)?;
        self.amount.chargeable(cap)?;
        self.connect.check(self.amount, self.account.as_deref())?;
        if !self.lines.is_empty() {
            let total = Amount::sum(self.amount.currency(), self.lines.iter().map(Line::amount));
            match total {
                Ok(total) if total == self.amount => {}
                Err(mixed @ AmountError::CurrencyMismatch { .. }) => return Err(mixed.into()),
                _ => return Err(RequestError::Lines),
            }
            self.lines.iter().try_for_each(|line| line.tax().check())?;
        }
        if self.has_bad_receipt() {
            return Err(RequestError::ReceiptEmail);
        }
        if self
            .description
            .as_deref()
            .is_some_and(|text| text.chars().count() > MAX_DESCRIPTION)
        {
            return Err(RequestError::Description);
        }
        if self
            .statement_descriptor_suffix
            .as_deref()
            .is_some_and(|text| !is_suffix(text, descriptor_prefix))
        {
            return Err(RequestError::StatementDescriptorSuffix);
        }
        Ok(())
    }

    /// The parameters that Stripe receives for this payment.
    ///
    /// They are the request, with this crate's marks in its metadata, for the named application.
    ///
    /// # Errors
    /// [`RequestError::Metadata`] if the merchant's metadata leaves no room for the marks, or if
    /// the application's name is longer than 500 characters.
    pub fn intent_params(&self, application: &str) -> Result<IntentParams, RequestError> {
        let metadata = marked(
            self.metadata.clone(),
            application,
            &self.reference,
            self.amount,
        )?;
        let params = IntentParams {
            amount: self.amount,
            metadata,
            receipt_email: self.receipt_email.clone(),
            description: self.description.clone(),
            statement_descriptor_suffix: self.statement_descriptor_suffix.clone(),
            customer: self.customer.clone(),
            setup_future_usage: self.setup_future_usage,
            manual_capture: self.manual_capture,
            connect: self.connect.clone(),
        };
        // A capture also adds a mark to the metadata.
        params.check_room(usize::from(self.manual_capture))?;
        Ok(params)
    }
}

// The address is the buyer's personal data, and descriptions are the merchant's private business:
// neither belongs in logs.
impl fmt::Debug for PaymentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaymentRequest")
            .field("reference", &self.reference)
            .field("amount", &self.amount)
            .field("lines", &self.lines.len())
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::DEFAULT_CAP;
    use crate::currency::Currency;
    use crate::metadata::MetadataError;

    fn request() -> PaymentRequest {
        PaymentRequest::new("order-1", Amount::new(1999, Currency::EUR))
    }

    fn check(request: PaymentRequest) -> Result<(), RequestError> {
        request.validate(DEFAULT_CAP)
    }

    #[test]
    fn a_reference_is_short_and_printable() {
        for good in ["1", "order 1042/ä", &"x".repeat(200), &"ä".repeat(200)] {
            assert_eq!(
                check(PaymentRequest::new(good, Amount::new(1999, Currency::EUR))),
                Ok(())
            );
        }
        for bad in ["", "a\nb", "a\0", &"x".repeat(201)] {
            let request = PaymentRequest::new(bad, Amount::new(1999, Currency::EUR));
            assert_eq!(check(request), Err(RequestError::Reference), "{bad:?}");
        }
    }

    #[test]
    fn the_amount_must_be_chargeable() {
        let of = |minor, currency| PaymentRequest::new("order-1", Amount::new(minor, currency));
        assert_eq!(check(of(0, Currency::EUR)), Err(AmountError::Zero.into()));
        assert_eq!(
            of(101, Currency::EUR).validate(100),
            Err(AmountError::AboveCap { cap: 100 }.into())
        );
        assert_eq!(of(100, Currency::EUR).validate(100), Ok(()));
        assert!(matches!(
            check(of(150, Currency::ISK)),
            Err(RequestError::Amount(AmountError::NotAMultiple {
                multiple: 100,
                ..
            }))
        ));
    }

    #[test]
    fn lines_add_up() {
        let eur = |minor| Amount::new(minor, Currency::EUR);
        assert_eq!(
            check(
                request()
                    .line("Tea", 2, eur(1500))
                    .line("Post", 1, eur(499))
            ),
            Ok(())
        );
        assert_eq!(check(request().line("Tea", 2, eur(1999))), Ok(()));
        assert_eq!(
            check(request().line("Tea", 2, eur(1998))),
            Err(RequestError::Lines)
        );
        let huge = request()
            .line("a", 1, eur(u64::MAX))
            .line("b", 1, eur(2000));
        assert_eq!(check(huge), Err(RequestError::Lines));
        assert!(matches!(
            check(request().line("Tea", 1, Amount::new(1999, Currency::USD))),
            Err(RequestError::Amount(AmountError::CurrencyMismatch { .. }))
        ));
        let request = request().line("Tea", 2, eur(1999));
        let line = &request.lines()[0];
        assert_eq!(
            (line.name(), line.quantity(), line.amount()),
            ("Tea", 2, eur(1999))
        );
    }

    #[test]
    fn texts_keep_to_stripes_limits() {
        for good in ["a@b", "jane.doe+tea@example.com", "用户@例子.广告"] {
            assert_eq!(check(request().receipt_email(good)), Ok(()), "{good}");
        }
        for bad in [
            "",
            "jane",
            "@b",
            "a@",
            "a b@c",
            "a@b@c",
            "a@b\r\nBcc: c",
            &format!("{}@b", "a".repeat(320)),
        ] {
            assert_eq!(
                check(request().receipt_email(bad)),
                Err(RequestError::ReceiptEmail),
                "{bad}"
            );
        }
        assert_eq!(check(request().description("ä".repeat(1000))), Ok(()));
        assert_eq!(
            check(request().description("x".repeat(1001))),
            Err(RequestError::Description)
        );
        for good in ["O #7", "TEA SHOP"] {
            assert_eq!(check(request().statement_descriptor_suffix(good)), Ok(()));
        }
        assert_eq!(
            check(request().statement_descriptor_suffix("12345")),
            Err(RequestError::StatementDescriptorSuffix)
        );
        let long = request().statement_descriptor_suffix("TEA AND CUPS 7");
        assert_eq!(check(long.clone()), Ok(()));
        assert_eq!(
            long.validate_behind(Some("TEASHOP"), DEFAULT_CAP),
            Err(RequestError::StatementDescriptorSuffix)
        );
    }

    #[test]
    fn the_markers_need_room() {
        let of = |keys: usize| {
            let metadata = (0..keys).fold(Metadata::new(), |metadata, n| {
                metadata.with(format!("k{n}"), "v").unwrap()
            });
            request()
                .metadata(metadata)
                .intent_params("tea-shop")
                .map(|_| ())
        };
        assert_eq!(of(46), Ok(()));
        assert_eq!(of(47), Err(MetadataError::TooManyKeys { limit: 46 }.into()));
        assert!(matches!(
            request().intent_params(&"x".repeat(501)),
            Err(RequestError::Metadata(MetadataError::ValueLength { .. }))
        ));
    }

    #[test]
    fn debug_shows_nothing_of_the_buyer() {
        let request = request()
            .receipt_email("jane@hidden.example")
            .description("hidden");
        let params = request.intent_params("tea-shop").unwrap();
        let printed = format!("{request:?} {params:?}");
        assert!(!printed.contains("hidden"), "{printed}");
        assert!(printed.contains("order-1"), "{printed}");
    }
}
