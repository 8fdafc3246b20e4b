//! Our requests in async-stripe's types. No other file names async-stripe.
//!
//! async-stripe knows the names of all parameters and how Stripe nests them. It keeps metadata in a
//! hash map, so its forms have another order in every process. Here each becomes a [`form`] of
//! ours.

use std::collections::HashMap;

use stripe_client_core::{RequestBuilder, StripeRequest};
use stripe_core::payment_intent::{
    CancelPaymentIntent, CancelPaymentIntentCancellationReason, CapturePaymentIntent,
    CreatePaymentIntent, CreatePaymentIntentAutomaticPaymentMethods,
    CreatePaymentIntentTransferData, UpdatePaymentIntent,
};
use stripe_core::refund::{CreateRefund, CreateRefundReason};
use stripe_shared::{PaymentIntentCaptureMethod, PaymentIntentSetupFutureUsage};

use super::form::{Post, form};
use crate::amount::Amount;
use crate::amount::AmountError;
use crate::marks::{CAPTURE, marked_operation};
use crate::metadata::Metadata;
use crate::requests::{
    CancelReason, CancelRequest, CaptureRequest, IntentParams, RefundReason, RefundRequest,
    RequestError, SetupFutureUsage,
};

/// Parameters that creating and updating have in common: async-stripe has a type for each, with
/// setters of the same names.
macro_rules! fill {
    ($request:expr, $params:expr) => {{
        let (mut request, params) = ($request, $params);
        if !params.metadata.is_empty() {
            request = request.metadata(metadata(&params.metadata));
        }
        if let Some(address) = &params.receipt_email {
            request = request.receipt_email(address);
        }
        if let Some(text) = &params.description {
            request = request.description(text);
        }
        if let Some(text) = &params.statement_descriptor_suffix {
            request = request.statement_descriptor_suffix(text);
        }
        if let Some(fee) = params.connect.fee {
            request = request.application_fee_amount(minor(fee)?);
        }
        if let Some(customer) = &params.customer {
            request = request.customer(customer);
        }
        if let Some(usage) = params.setup_future_usage {
            request = request.setup_future_usage(match usage {
                SetupFutureUsage::OnSession => PaymentIntentSetupFutureUsage::OnSession,
                SetupFutureUsage::OffSession => PaymentIntentSetupFutureUsage::OffSession,
            });
        }
        if params.manual_capture {
            request = request.capture_method(PaymentIntentCaptureMethod::Manual);
        }
        post(&request)
    }};
}

impl IntentParams {
    /// The body that creates a PaymentIntent: what an idempotency key of a `create` is derived
    /// from.
    ///
    /// # Errors
    /// [`AmountError::OutOfRange`] where the amount is more than Stripe's integers hold (2⁶³ − 1).
    pub fn create_form(&self) -> Result<String, RequestError> {
        Ok(self.create()?.form)
    }

    /// The body that brings an open PaymentIntent to these parameters: what an idempotency key of
    /// an `update` is derived from. What they leave out stays as it was, but not the receipt:
    /// without [`PaymentRequest::receipt_email`](crate::requests::PaymentRequest::receipt_email),
    /// Stripe forgets the address.
    ///
    /// # Errors
    /// As [`create_form`](Self::create_form).
    pub fn update_form(&self) -> Result<String, RequestError> {
        // The id is part of the path and not of the body.
        Ok(self.update("")?.form)
    }

    pub(super) fn create(&self) -> Result<Post, AmountError> {
        let mut request = CreatePaymentIntent::new(minor(self.amount)?, currency(self.amount))
            .automatic_payment_methods(CreatePaymentIntentAutomaticPaymentMethods::new(true));
        if let Some(destination) = &self.connect.destination {
            request = request.transfer_data(CreatePaymentIntentTransferData::new(destination));
        }
        if let Some(account) = &self.connect.on_behalf_of {
            request = request.on_behalf_of(account);
        }
        Ok(fill!(request, self))
    }

    pub(super) fn update(&self, id: &str) -> Result<Post, AmountError> {
        let request = UpdatePaymentIntent::new(id)
            .amount(minor(self.amount)?)
            .currency(currency(self.amount))
            // An address of an earlier request would get the receipt. Empty removes it.
            .receipt_email("");
        Ok(fill!(request, self))
    }
}

impl CaptureRequest {
    /// The request, with the mark by which the capture is known in the PaymentIntent.
    pub(crate) fn post(&self) -> Result<Post, AmountError> {
        let mark = [(CAPTURE.to_owned(), self.reference().to_owned())];
        let mut request = CapturePaymentIntent::new(self.payment()).metadata(HashMap::from(mark));
        if let Some(amount) = self.partial_amount() {
            request = request.amount_to_capture(minor(amount)?);
        }
        Ok(post(&request))
    }
}

impl CancelRequest {
    pub(crate) fn post(&self) -> Post {
        cancel(self.payment(), self.why())
    }
}

pub(super) fn cancel(id: &str, reason: Option<CancelReason>) -> Post {
    use CancelPaymentIntentCancellationReason as Stripes;
    let mut request = CancelPaymentIntent::new(id);
    if let Some(reason) = reason {
        request = request.cancellation_reason(match reason {
            CancelReason::Duplicate => Stripes::Duplicate,
            CancelReason::Fraudulent => Stripes::Fraudulent,
            CancelReason::RequestedByCustomer => Stripes::RequestedByCustomer,
            CancelReason::Abandoned => Stripes::Abandoned,
        });
    }
    post(&request)
}

impl RefundRequest {
    /// The request, with the marks by which the refund is found again.
    pub(crate) fn post(&self, application: &str) -> Result<Post, RequestError> {
        let marked = marked_operation(self.metadata.clone(), application, self.reference())?;
        let mut request = CreateRefund::new()
            .payment_intent(self.payment())
            .metadata(metadata(&marked));
        if let Some(amount) = self.partial_amount() {
            request = request.amount(minor(amount)?);
        }
        if let Some(reason) = self.reason {
            request = request.reason(match reason {
                RefundReason::Duplicate => CreateRefundReason::Duplicate,
                RefundReason::Fraudulent => CreateRefundReason::Fraudulent,
                RefundReason::RequestedByCustomer => CreateRefundReason::RequestedByCustomer,
            });
        }
        if self.reverse_transfer {
            request = request.reverse_transfer(true);
        }
        if self.refund_application_fee {
            request = request.refund_application_fee(true);
        }
        Ok(post(&request))
    }
}

#[cfg(feature = "sessions")]
mod session {
    use stripe_checkout::checkout_session::{
        CreateCheckoutSession, CreateCheckoutSessionAutomaticTax,
        CreateCheckoutSessionCustomerUpdate,
        CreateCheckoutSessionCustomerUpdateAddress as SaveAddress,
        CreateCheckoutSessionCustomerUpdateShipping as SaveShipping,
        CreateCheckoutSessionLineItems, CreateCheckoutSessionLineItemsPriceData,
        CreateCheckoutSessionLineItemsPriceDataTaxBehavior as LineTax,
        CreateCheckoutSessionPaymentIntentData,
        CreateCheckoutSessionPaymentIntentDataCaptureMethod as CaptureMethod,
        CreateCheckoutSessionPaymentIntentDataSetupFutureUsage as SavesFor,
        CreateCheckoutSessionPaymentIntentDataTransferData,
        CreateCheckoutSessionShippingAddressCollection, CreateCheckoutSessionShippingOptions,
        CreateCheckoutSessionShippingOptionsShippingRateData,
        CreateCheckoutSessionShippingOptionsShippingRateDataFixedAmount,
        CreateCheckoutSessionShippingOptionsShippingRateDataTaxBehavior as ShippingTax,
        CreateCheckoutSessionShippingOptionsShippingRateDataType, ProductData,
    };
    use stripe_checkout::{CheckoutSessionMode, CheckoutSessionUiMode};

    use super::*;
    use crate::marks::marked_session;
    use crate::requests::{HostedCheckout, Item, SessionParams, ShippingOption, TaxBehavior};

    impl SessionParams {
        /// The form without the mark of the attempt: two attempts of the same are the same.
        pub(crate) fn form(&self) -> Result<String, RequestError> {
            Ok(self.marked(&self.params.metadata)?.form)
        }

        /// The request of this attempt. The session and its PaymentIntent bear the same marks, so
        /// that each is known by itself.
        pub(crate) fn post(&self, attempt: u32) -> Result<Post, RequestError> {
            let marked = marked_session(self.params.metadata.clone(), attempt)?;
            Ok(self.marked(&marked)?)
        }

        fn marked(&self, marked: &Metadata) -> Result<Post, AmountError> {
            let Self {
                items,
                reference,
                hosted,
                params,
            } = self;
            let items = items.iter().map(|item| line(item, hosted.tax_behavior));
            let mut request = CreateCheckoutSession::new()
                .mode(CheckoutSessionMode::Payment)
                .client_reference_id(reference)
                .line_items(items.collect::<Result<Vec<_>, _>>()?)
                .metadata(metadata(marked))
                .payment_intent_data(intent_data(params, marked)?);
            // One or the other: a customer has an address already.
            match (&params.customer, &params.receipt_email) {
                (Some(customer), _) => {
                    request = request.customer(customer);
                    // A known customer is taxed by the saved addresses: without leave to save one,
                    // Stripe refuses the session.
                    if hosted.automatic_tax {
                        request = request.customer_update(saved_addresses(hosted));
                    }
                }
                (None, Some(address)) => request = request.customer_email(address),
                (None, None) => {}
            }
            request = match hosted.embedded {
                true => request
                    .ui_mode(CheckoutSessionUiMode::EmbeddedPage)
                    .return_url(&hosted.return_url),
                false => request
                    .ui_mode(CheckoutSessionUiMode::HostedPage)
                    .success_url(&hosted.return_url),
            };
            if let Some(url) = hosted.cancel_url.as_ref().filter(|_| !hosted.embedded) {
                request = request.cancel_url(url);
            }
            if hosted.promotion_codes {
                request = request.allow_promotion_codes(true);
            }
            if hosted.automatic_tax {
                request = request.automatic_tax(CreateCheckoutSessionAutomaticTax::new(true));
            }
            if !hosted.shipping_options.is_empty() {
                let options = hosted.shipping_options.iter();
                let options = options.map(|option| shipping(option, hosted.tax_behavior));
                request = request.shipping_options(options.collect::<Result<Vec<_>, _>>()?);
            }
            if !hosted.countries.is_empty() {
                // Cannot fail: a code that async-stripe does not know is sent as it is.
                let known = hosted.countries.iter().map(|code| {
                    let Ok(country) = code.parse();
                    country
                });
                request = request.shipping_address_collection(
                    CreateCheckoutSessionShippingAddressCollection::new(known.collect::<Vec<_>>()),
                );
            }
            Ok(post(&request))
        }
    }

    /// The parameters of the session's PaymentIntent.
    fn intent_data(
        params: &IntentParams,
        marked: &Metadata,
    ) -> Result<CreateCheckoutSessionPaymentIntentData, AmountError> {
        let mut data = CreateCheckoutSessionPaymentIntentData::new();
        data.metadata = Some(metadata(marked));
        data.description.clone_from(&params.description);
        data.receipt_email.clone_from(&params.receipt_email);
        data.statement_descriptor_suffix
            .clone_from(&params.statement_descriptor_suffix);
        data.capture_method = params.manual_capture.then_some(CaptureMethod::Manual);
        data.setup_future_usage = params.setup_future_usage.map(|usage| match usage {
            SetupFutureUsage::OnSession => SavesFor::OnSession,
            SetupFutureUsage::OffSession => SavesFor::OffSession,
        });
        data.application_fee_amount = params.connect.fee.map(minor).transpose()?;
        data.on_behalf_of.clone_from(&params.connect.on_behalf_of);
        let destination = params.connect.destination.as_ref();
        data.transfer_data =
            destination.map(CreateCheckoutSessionPaymentIntentDataTransferData::new);
        Ok(data)
    }

    fn saved_addresses(hosted: &HostedCheckout) -> CreateCheckoutSessionCustomerUpdate {
        let mut saves = CreateCheckoutSessionCustomerUpdate::new();
        saves.address = Some(SaveAddress::Auto);
        saves.shipping = (!hosted.countries.is_empty()).then_some(SaveShipping::Auto);
        saves
    }

    fn line(
        item: &Item,
        by_default: Option<TaxBehavior>,
    ) -> Result<CreateCheckoutSessionLineItems, AmountError> {
        let mut product = ProductData::new(&item.name);
        product.tax_code.clone_from(&item.tax.code);
        let mut price = CreateCheckoutSessionLineItemsPriceData::new(currency(item.unit));
        price.unit_amount = Some(minor(item.unit)?);
        price.product_data = Some(product);
        let behavior = item.tax.behavior.or(by_default);
        price.tax_behavior = behavior.map(|behavior| match behavior {
            TaxBehavior::Inclusive => LineTax::Inclusive,
            TaxBehavior::Exclusive => LineTax::Exclusive,
        });
        let mut line = CreateCheckoutSessionLineItems::new();
        line.price_data = Some(price);
        line.quantity = Some(item.quantity);
        Ok(line)
    }

    fn shipping(
        option: &ShippingOption,
        by_default: Option<TaxBehavior>,
    ) -> Result<CreateCheckoutSessionShippingOptions, AmountError> {
        let mut rate = CreateCheckoutSessionShippingOptionsShippingRateData::new(&option.name);
        rate.type_ = Some(CreateCheckoutSessionShippingOptionsShippingRateDataType::FixedAmount);
        let fixed = CreateCheckoutSessionShippingOptionsShippingRateDataFixedAmount::new(
            minor(option.price)?,
            currency(option.price),
        );
        rate.fixed_amount = Some(fixed);
        rate.tax_code.clone_from(&option.tax.code);
        let behavior = option.tax.behavior.or(by_default);
        rate.tax_behavior = behavior.map(|behavior| match behavior {
            TaxBehavior::Inclusive => ShippingTax::Inclusive,
            TaxBehavior::Exclusive => ShippingTax::Exclusive,
        });
        let mut shipping = CreateCheckoutSessionShippingOptions::new();
        shipping.shipping_rate_data = Some(rate);
        Ok(shipping)
    }
}

fn post(request: &impl StripeRequest) -> Post {
    let RequestBuilder { path, body, .. } = request.build();
    let parameters = body.unwrap_or_default();
    Post {
        path,
        form: form(form_urlencoded::parse(parameters.as_bytes())),
    }
}

fn metadata(metadata: &Metadata) -> HashMap<String, String> {
    let pairs = metadata.iter();
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn currency(amount: Amount) -> stripe_types::Currency {
    // Cannot fail: a code that async-stripe does not know is sent as it is.
    let Ok(currency) = amount.currency().code().parse();
    currency
}

fn minor(amount: Amount) -> Result<i64, AmountError> {
    amount
        .minor()
        .try_into()
        .map_err(|_| AmountError::OutOfRange)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::config::API_VERSION;
    use crate::currency::Currency;
    use crate::requests::PaymentRequest;

    fn request() -> PaymentRequest {
        PaymentRequest::new("order-1", Amount::new(1999, Currency::EUR))
    }

    fn pairs(form: &str) -> BTreeMap<String, String> {
        let pairs = form_urlencoded::parse(form.as_bytes());
        pairs.into_owned().collect()
    }

    proptest! {
        /// Stripe receives what async-stripe would send, and nothing depends on a hash map's order.
        #[test]
        fn a_form_is_async_stripes_own_in_the_order_of_names(
            pairs in proptest::collection::hash_map("[^\\[\\]]{1,40}", ".{0,50}", 0..20),
            description in ".{0,100}",
        ) {
            let request = CreateRefund::new()
                .amount(1999)
                .payment_intent(description)
                .metadata(pairs);
            let own = request.build().body.unwrap();
            let names = |form: &str| -> Vec<String> {
                let pairs = form_urlencoded::parse(form.as_bytes());
                pairs.map(|(name, _)| name.into_owned()).collect()
            };
            let post = post(&request);
            let (mut own, mut sent): (Vec<_>, Vec<_>) =
                (own.split('&').collect(), post.form.split('&').collect());
            own.sort_unstable();
            sent.sort_unstable();
            prop_assert_eq!(own, sent);
            prop_assert!(names(&post.form).is_sorted());
        }
    }

    #[test]
    fn the_version_sent_is_the_one_that_the_request_types_are_made_for() {
        assert_eq!(API_VERSION, stripe_client_core::VERSION.to_string());
    }

    #[test]
    fn what_is_sent() {
        let params = request()
            .metadata(
                Metadata::new()
                    .with("seats", "3")
                    .unwrap()
                    .with("order_id", "another")
                    .unwrap(),
            )
            .receipt_email("jane+tea@example.com")
            .description("Tea & cups = nice")
            .statement_descriptor_suffix("TEA SHOP")
            .intent_params("tea-shop")
            .unwrap();
        let common = [
            ("amount", "1999"),
            ("currency", "eur"),
            ("description", "Tea & cups = nice"),
            ("metadata[checkout_amount]", "1999"),
            ("metadata[checkout_application]", "tea-shop"),
            ("metadata[checkout_currency]", "eur"),
            ("metadata[order_id]", "order-1"),
            ("metadata[seats]", "3"),
            ("receipt_email", "jane+tea@example.com"),
            ("statement_descriptor_suffix", "TEA SHOP"),
        ];
        let common: BTreeMap<_, _> = common
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(pairs(&params.update_form().unwrap()), common);

        let mut create = common;
        create.insert("automatic_payment_methods[enabled]".into(), "true".into());
        assert_eq!(pairs(&params.create_form().unwrap()), create);

        let bare = IntentParams::new(Amount::new(1, Currency::JPY));
        assert_eq!(bare.create_form().unwrap().matches("receipt").count(), 0);
        assert_eq!(
            bare.update_form().unwrap(),
            "amount=1&currency=jpy&receipt_email="
        );
    }

    #[test]
    fn the_same_parameters_are_the_same_bytes() {
        // Each hash map has an order of its own: fifty keys would not come out alike twice.
        let metadata = (0..46).fold(Metadata::new(), |metadata, n| {
            metadata
                .with(format!("key {n} &=%"), format!("value {n} ä&=%"))
                .unwrap()
        });
        let params = request()
            .metadata(metadata)
            .intent_params("tea-shop")
            .unwrap();
        let form = params.create_form().unwrap();
        assert_eq!(pairs(&form).len(), 50 + 3);
        assert_eq!(pairs(&form)["metadata[key 7 &=%]"], "value 7 ä&=%");
        for _ in 0..10 {
            assert_eq!(params.create_form().unwrap(), form);
            assert_ne!(params.update_form().unwrap(), form);
        }
    }

    #[test]
    fn every_currency_is_sent_by_its_own_code() {
        for currency in Currency::KNOWN
            .iter()
            .copied()
            .chain(["zzz".parse().unwrap()])
        {
            let form = IntentParams::new(Amount::new(100, currency))
                .create_form()
                .unwrap();
            assert_eq!(pairs(&form)["currency"], currency.code());
        }
    }

    #[test]
    fn an_amount_beyond_stripes_integers_is_an_error() {
        let params = IntentParams::new(Amount::new(u64::MAX, Currency::EUR));
        assert_eq!(params.create_form(), Err(AmountError::OutOfRange.into()));
        assert_eq!(params.update_form(), Err(AmountError::OutOfRange.into()));
    }
}
