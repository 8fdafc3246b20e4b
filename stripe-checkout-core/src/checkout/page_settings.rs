//! The settings of the ready-made pages.

use crate::address::percent_encoded;
use crate::page::Pages;
use crate::secret::PublishableKey;

/// The shop, as the pages show it.
pub(super) struct PageSettings {
    pub(super) pages: Pages,
    pub(super) policy: String,
    pub(super) publishable_key: PublishableKey,
    pub(super) stripe_js_url: String,
    pub(super) shop: String,
    pub(super) order_url: Option<String>,
    pub(super) account_url: Option<String>,
}

impl PageSettings {
    /// The address of an order's own page in the shop.
    pub(super) fn order_url(&self, reference: &str) -> Option<String> {
        let template = self.order_url.as_ref()?;
        Some(template.replace("{reference}", &percent_encoded(reference)))
    }
}
