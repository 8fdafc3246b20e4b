//! A log-in for step 6, as small as can be: who types in a name is that user. Yours asks for a password; the rest is the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, header};
use serde::Deserialize;
use uuid::Uuid;

/// Somebody who has logged in.
#[derive(Debug, Clone, Deserialize)]
pub struct User {
    /// Your own id of the user.
    pub id: String,
}

/// Who is logged in, by the random number in the browser's cookie.
#[derive(Debug, Clone, Default)]
pub struct LogIn(Arc<Mutex<HashMap<Uuid, User>>>);

impl LogIn {
    /// Lets a user in. What it gives is for the header `Set-Cookie`.
    pub fn open(&self, user: User) -> String {
        let session = Uuid::new_v4();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(session, user);
        format!("session={session}; HttpOnly; SameSite=Lax; Path=/")
    }

    /// Who sent a request with these headers.
    pub fn user(&self, headers: &HeaderMap) -> Option<User> {
        let cookies = headers.get(header::COOKIE)?.to_str().ok()?.split("; ");
        let mut sessions = cookies.filter_map(|cookie| cookie.strip_prefix("session="));
        let session = sessions.next()?.parse().ok()?;
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&session).cloned()
    }
}
