//! The calls to Stripe about SetupIntents.

use super::api_error::ApiError;
use super::gateway::Gateway;
use super::id::path_of;
use super::idempotency::IdempotencyKey;
use crate::webhook::SetupIntent;

impl Gateway {
    pub(crate) async fn create_setup_intent(
        &self,
        form: &str,
        key: &IdempotencyKey,
        account: Option<&str>,
    ) -> Result<SetupIntent, ApiError> {
        let (setup, replayed) = self
            .operate::<SetupIntent>("/setup_intents", form, key, account)
            .await
            .map_err(|unsuccessful| unsuccessful.error)?;
        // It may have succeeded since.
        match replayed {
            true => match self.setup_intent(setup.id(), account).await? {
                Some(now) => Ok(now),
                None => Ok(setup.connected_account(account)),
            },
            false => Ok(setup.connected_account(account)),
        }
    }

    /// The SetupIntent; `None` if there is none.
    pub(crate) async fn setup_intent(
        &self,
        id: &str,
        account: Option<&str>,
    ) -> Result<Option<SetupIntent>, ApiError> {
        let Ok(path) = path_of("setup_intents", id, "seti_") else {
            return Ok(None);
        };
        match self.fetch::<SetupIntent>(&path, &[], account).await {
            Ok(setup) => Ok(Some(setup.connected_account(account))),
            Err(ApiError::InvalidRequest { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
