//! The calls to Stripe about PaymentIntents.

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::answer::read_as;
use super::api_error::{ApiError, Unsuccessful, unsendable};
use super::call::Call;
use super::form::{form, metadata_name};
use super::gateway::Gateway;
use super::id::{check_id, path_of};
use super::idempotency::IdempotencyKey;
use super::retry::is_replayed;
use super::transport::TransportResponse;
use super::wire::cancel;
use crate::requests::IntentParams;
use crate::webhook::Payment;

impl Gateway {
    /// Creates a PaymentIntent with automatic payment methods: [`POST
    /// /v1/payment_intents`](https://docs.stripe.com/api/payment_intents/create).
    ///
    /// Where Stripe only repeats its answer to an earlier request with this key, the PaymentIntent
    /// is retrieved, so that it is as it stands now.
    ///
    /// `account` is the connected account on which the payment is made (`acct_…`, a direct charge);
    /// `None` is the merchant's own.
    ///
    /// # Errors Any [`ApiError`]. After [`Timeout`](ApiError::Timeout) and after
    /// [`Unavailable`](ApiError::Unavailable) without `replayed` it is not known whether the
    /// PaymentIntent exists: ask again with the same key.
    pub async fn create_intent(
        &self,
        params: &IntentParams,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<Payment, ApiError> {
        Ok(self.create(params, key, account).await?.0)
    }

    /// As [`create_intent`](Self::create_intent), and whether Stripe only repeated an earlier
    /// answer: then the PaymentIntent may have been changed since, and the parameters sent now
    /// changed nothing.
    pub(crate) async fn create(
        &self,
        params: &IntentParams,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<(Payment, bool), ApiError> {
        let request = params.create().map_err(|_| unsendable("amount"))?;
        let answer = self.send(Call::of(&request, key, account)).await?;
        let replayed = is_replayed(&answer);
        let payment = read(&answer, account)?;
        if !replayed {
            return Ok((payment, false));
        }
        // It may have been paid since.
        Ok((self.retrieve_intent(payment.id(), account).await?, true))
    }

    /// Changes a PaymentIntent that is not paid yet to these parameters: [`POST
    /// /v1/payment_intents/{id}`](https://docs.stripe.com/api/payment_intents/update).
    ///
    /// # Errors Any [`ApiError`]; [`InvalidRequest`](ApiError::InvalidRequest) with the code
    /// `payment_intent_unexpected_state` where it is too late to change the amount.
    pub async fn update_intent(
        &self,
        id: &str,
        params: &IntentParams,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<Payment, ApiError> {
        check_id(id, "pi_")?;
        let request = params.update(id).map_err(|_| unsendable("amount"))?;
        self.payment(Call::of(&request, key, account)).await
    }

    /// Cancels a PaymentIntent that is not paid yet: [`POST
    /// /v1/payment_intents/{id}/cancel`](https://docs.stripe.com/api/payment_intents/cancel).
    ///
    /// # Errors Any [`ApiError`]; [`InvalidRequest`](ApiError::InvalidRequest) with the code
    /// `payment_intent_unexpected_state` where it is paid, being processed, or canceled already.
    pub async fn cancel_intent(
        &self,
        id: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<Payment, ApiError> {
        check_id(id, "pi_")?;
        let request = cancel(id, None);
        self.payment(Call::of(&request, key, account)).await
    }

    /// Retrieves a PaymentIntent: [`GET
    /// /v1/payment_intents/{id}`](https://docs.stripe.com/api/payment_intents/retrieve).
    ///
    /// # Errors Any [`ApiError`]; [`InvalidRequest`](ApiError::InvalidRequest) with the status 404
    /// and the code `resource_missing` where there is none. An id that cannot be one, as a browser
    /// might send, gives the same without asking Stripe.
    pub async fn retrieve_intent(
        &self,
        id: &str,
        account: Option<&str>,
    ) -> Result<Payment, ApiError> {
        Ok(self.retrieve_intent_whole(id, account).await?.0)
    }

    /// The same, with all that Stripe says of it.
    pub(crate) async fn retrieve_intent_whole(
        &self,
        id: &str,
        account: Option<&str>,
    ) -> Result<(Payment, Bytes), ApiError> {
        self.retrieve(id, None, account).await
    }

    /// The same, with its latest charge expanded: what went back of the money stands there, and not
    /// in the PaymentIntent.
    pub(crate) async fn retrieve_intent_with_charge(
        &self,
        id: &str,
        account: Option<&str>,
    ) -> Result<(Payment, Bytes), ApiError> {
        self.retrieve(id, Some("expand[0]=latest_charge"), account)
            .await
    }

    /// The same. Where a restricted key may not read charges, the payment comes without its charge.
    pub(crate) async fn retrieve_intent_and_charge(
        &self,
        id: &str,
        account: Option<&str>,
    ) -> Result<(Payment, Bytes), ApiError> {
        match self.retrieve_intent_with_charge(id, account).await {
            Err(ApiError::Permission { .. }) => self.retrieve_intent_whole(id, account).await,
            answered => answered,
        }
    }

    /// Confirms a PaymentIntent with a saved payment method while the buyer is away. Also returns
    /// whether Stripe repeated an earlier answer.
    pub(crate) async fn confirm_off_session(
        &self,
        payment: &str,
        form: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<(Payment, bool), Unsuccessful> {
        let path = format!("{}/confirm", path_of("payment_intents", payment, "pi_")?);
        let (payment, replayed) = self.operate::<Payment>(&path, form, key, account).await?;
        Ok((payment.connected_account(account), replayed))
    }

    /// Adds metadata to a PaymentIntent.
    pub(crate) async fn add_metadata(
        &self,
        payment: &str,
        metadata: &[(&str, &str)],
        account: Option<&str>,
    ) -> Result<(), ApiError> {
        let path = path_of("payment_intents", payment, "pi_")?;
        let metadata = metadata.iter();
        let form = form(metadata.map(|(key, value)| (metadata_name(key), *value)));
        // Twice the same is as good as once.
        self.operate::<IgnoredAny>(&path, &form, &IdempotencyKey::once(), account)
            .await
            .map_err(|unsuccessful| unsuccessful.error)?;
        Ok(())
    }

    async fn retrieve(
        &self,
        id: &str,
        query: Option<&str>,
        account: Option<&str>,
    ) -> Result<(Payment, Bytes), ApiError> {
        check_id(id, "pi_")?;
        let path = format!("/payment_intents/{id}");
        let answer = self.send(Call::get(&path, query, account)).await?;
        Ok((read(&answer, account)?, answer.body))
    }

    async fn payment(&self, call: Call<'_>) -> Result<Payment, ApiError> {
        let account = call.account;
        read(&self.send(call).await?, account)
    }
}

fn read(answer: &TransportResponse, account: Option<&str>) -> Result<Payment, ApiError> {
    read_as::<Payment>(answer).map(|payment| payment.connected_account(account))
}
