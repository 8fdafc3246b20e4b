//! A minimal log-in for step 6: anyone who types in a name becomes that user. Yours asks for a
//! password, and the rest is the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, header};
use serde::Deserialize;
use uuid::Uuid;

/// A logged-in user.
#[derive(Debug, Clone, Deserialize)]
pub struct User {
    /// Your own id of the user.
    pub id: String,
}

/// The logged-in users, by the random number in the browser's cookie.
#[derive(Debug, Clone, Default)]
pub struct LogIn(Arc<Mutex<HashMap<Uuid, User>>>);

impl LogIn {
    /// Logs a user in, and returns the value for the header `Set-Cookie`.
    pub fn open(&self, user: User) -> String {
        let session = Uuid::new_v4();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(session, user);
        format!("session={session}; HttpOnly; SameSite=Lax; Path=/")
    }

    /// Returns the user who sent a request with these headers.
    pub fn user(&self, headers: &HeaderMap) -> Option<User> {
        let cookies = headers.get(header::COOKIE)?.to_str().ok()?.split("; ");
        let mut sessions = cookies.filter_map(|cookie| cookie.strip_prefix("session="));
        let session = sessions.next()?.parse().ok()?;
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&session).cloned()
    }
}
