//! The CustomerSession: <https://docs.stripe.com/api/customer_sessions/object>.

use serde_json::{Value, json};

/// Lets a browser see a customer's saved payment methods for half an hour.
#[derive(Debug, Clone)]
pub(crate) struct CustomerSession {
    /// The client secret, which is its only name.
    pub(crate) id: String,
    pub(crate) account: Option<String>,
    pub(crate) created: i64,
    pub(crate) customer: String,
    /// The features of the Payment Element; `None` if it may do nothing.
    pub(crate) payment_element: Option<Features>,
}

/// The permissions of the Payment Element for saved payment methods.
#[derive(Debug, Clone)]
pub(crate) struct Features {
    pub(crate) redisplay: bool,
    pub(crate) redisplay_limit: usize,
    /// The values of `allow_redisplay` of the payment methods that it shows.
    pub(crate) filters: Vec<String>,
    pub(crate) remove: bool,
    pub(crate) save: bool,
    pub(crate) save_usage: Option<&'static str>,
}

impl Features {
    pub(crate) fn render(&self) -> Value {
        let word = |enabled: bool| if enabled { "enabled" } else { "disabled" };
        json!({
            "payment_method_allow_redisplay_filters": self.filters,
            "payment_method_redisplay": word(self.redisplay),
            "payment_method_redisplay_limit": self.redisplay_limit,
            "payment_method_remove": word(self.remove),
            "payment_method_save": word(self.save),
            "payment_method_save_usage": self.save_usage,
        })
    }
}

impl CustomerSession {
    /// How long it can be used, in seconds.
    const LIFE: i64 = 30 * 60;

    pub(crate) fn is_expired(&self, now: i64) -> bool {
        now > self.created.saturating_add(Self::LIFE)
    }

    pub(crate) fn render(&self) -> Value {
        let features = self.payment_element.as_ref().map(Features::render);
        json!({
            "object": "customer_session",
            "client_secret": self.id,
            "components": {
                "buy_button": { "enabled": false },
                "customer_sheet": { "enabled": false, "features": null },
                "active_entitlements": { "enabled": false },
                "customer_portal": { "enabled": false },
                "mobile_payment_element": { "enabled": false, "features": null },
                "payment_element": { "enabled": features.is_some(), "features": features },
                "pricing_table": { "enabled": false },
            },
            "created": self.created,
            "customer": self.customer,
            "customer_account": null,
            "expires_at": self.created.saturating_add(Self::LIFE),
            "livemode": false,
        })
    }
}
