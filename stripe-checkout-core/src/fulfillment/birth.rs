//! The birth of an inbox: when an application of one mode first started on it, and with the keys of
//! which Stripe account.
//!
//! The reconciler goes back to the birth and no further. An inbox that is new, or was moved without
//! its rows, does not know what was fulfilled before.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::inbox::Inbox;
use super::inbox_ext::InboxExt as _;
use super::records::Scope;
use crate::error::InboxError;
use crate::secret::Mode;

/// The name of the note.
const BIRTH: &str = "birth";

/// How often processes that start at once may get into each other's way.
const TRIES: u32 = 10;

#[derive(Serialize, Deserialize)]
struct Birth {
    /// In seconds since 1970, by the clock of the machine that wrote it.
    at: u64,
    /// The Stripe account, if the keys told it.
    account: Option<String>,
}

/// The keys are of another account than the inbox knows.
#[derive(Clone)]
struct OtherAccount {
    application: String,
    known: String,
    given: String,
}

impl From<OtherAccount> for InboxError {
    fn from(refused: OtherAccount) -> Self {
        let OtherAccount {
            application,
            known,
            given,
        } = refused;
        Self::OtherAccount {
            application,
            known,
            given,
        }
    }
}

/// The births of an application, by mode. Each is read once in a process. A failure of the inbox is
/// not remembered: the next call tries again.
pub(super) struct Births {
    /// The Stripe account of the keys, where they tell.
    account: Option<String>,
    live: OnceLock<Result<SystemTime, OtherAccount>>,
    test: OnceLock<Result<SystemTime, OtherAccount>>,
}

impl Births {
    pub(super) fn new(account: Option<String>) -> Self {
        Self {
            account,
            live: OnceLock::new(),
            test: OnceLock::new(),
        }
    }

    /// When the application was born in this mode: now, if this is its first start.
    ///
    /// # Errors
    /// [`InboxError::OtherAccount`], and whatever the inbox fails with.
    pub(super) async fn of(
        &self,
        inbox: &impl Inbox,
        scope: &Scope,
    ) -> Result<SystemTime, InboxError> {
        let known = match scope.mode {
            Mode::Live => &self.live,
            Mode::Test => &self.test,
        };
        if let Some(known) = known.get() {
            return Ok(known.clone()?);
        }
        // At the same time: no caller waits behind another one if the inbox does not answer.
        let found = self.look(inbox, scope).await?;
        if known.set(found.clone()).is_ok()
            && let Err(refused) = &found
        {
            let error = InboxError::from(refused.clone());
            tracing::error!(%error, "this checkout answers every call that reads or writes an order with an error");
        }
        Ok(found?)
    }

    /// The error of every call, once it is known that the inbox is that of another account.
    #[cfg(feature = "intent")]
    pub(super) fn refused(&self) -> Option<InboxError> {
        let known = [&self.live, &self.test]
            .into_iter()
            .filter_map(OnceLock::get);
        let refused = known.filter_map(|birth| birth.as_ref().err()).next();
        refused.cloned().map(InboxError::from)
    }

    async fn look(
        &self,
        inbox: &impl Inbox,
        scope: &Scope,
    ) -> Result<Result<SystemTime, OtherAccount>, InboxError> {
        for _ in 0..TRIES {
            let Some(text) = inbox.bookmark(scope, BIRTH).await? else {
                let at = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
                let account = self.account.clone();
                if put(inbox, scope, None, &Birth { at, account }).await? {
                    tell_of_others(inbox, scope).await;
                    return Ok(Ok(time(at)));
                }
                continue;
            };
            let birth: Birth =
                serde_json::from_str(&text).map_err(|error| unreadable(scope, &error))?;
            let at = time(birth.at);
            return Ok(match (birth.account, &self.account) {
                (Some(known), Some(given)) if known != *given => Err(OtherAccount {
                    application: scope.application.clone(),
                    known,
                    given: given.clone(),
                }),
                // The first keys that tell their account.
                (None, Some(given)) => {
                    let birth = Birth {
                        account: Some(given.clone()),
                        ..birth
                    };
                    match put(inbox, scope, Some(&text), &birth).await? {
                        true => Ok(at),
                        false => continue,
                    }
                }
                _ => Ok(at),
            });
        }
        Err(InboxError::Busy)
    }
}

/// Without the birth, nothing tells whose orders these are and since when.
fn unreadable(scope: &Scope, error: &serde_json::Error) -> InboxError {
    let Scope { application, mode } = scope;
    let message = format!(
        "the note {BIRTH:?} of the application {application:?} ({mode}) cannot be read: {error}. \
         Restore its row in the table stripe_checkout_bookmarks, or delete it: the next call \
         writes a new one, and the reconciler then begins one hour before that time"
    );
    tracing::error!("{message}");
    InboxError::Unavailable(message.into())
}

async fn put(
    inbox: &impl Inbox,
    scope: &Scope,
    expected: Option<&str>,
    birth: &Birth,
) -> Result<bool, InboxError> {
    let text =
        serde_json::to_string(birth).map_err(|error| InboxError::Unavailable(error.into()))?;
    inbox.put_bookmark(scope, BIRTH, expected, &text).await
}

/// A new name beside another one is another application, or a name that was changed.
async fn tell_of_others(inbox: &impl Inbox, scope: &Scope) {
    let Scope { application, mode } = scope;
    tracing::info!(application, %mode, "first start of this application on this inbox");
    let scopes = match inbox.scopes_with_bookmark(BIRTH).await {
        Ok(scopes) => scopes,
        Err(error) => {
            tracing::warn!(error = %crate::error::Chain(&error), "the names of other applications in this inbox cannot be read");
            return;
        }
    };
    let others = scopes.iter().filter(|other| other.mode == *mode);
    let others: Vec<_> = others
        .map(|other| other.application.as_str())
        .filter(|other| other != application)
        .collect();
    if !others.is_empty() {
        tracing::warn!(
            application,
            ?others,
            %mode,
            "this inbox has other applications too. If this application had one of these names before, name it with .former_application(…), so that its open payments stay its own"
        );
    }
}

fn time(at: u64) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_secs(at))
        .unwrap_or(UNIX_EPOCH)
}
