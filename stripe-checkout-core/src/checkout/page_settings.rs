//! The settings of the ready-made pages.

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

/// RFC 3986: everything but unreserved characters.
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut encoded, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                encoded.push(char::from(byte));
            } else {
                encoded.push_str(&format!("%{byte:02X}"));
            }
            encoded
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_cannot_leave_its_place_in_the_address() {
        assert_eq!(
            percent_encoded("a/../b?c#d e\u{e4}"),
            "a%2F..%2Fb%3Fc%23d%20e%C3%A4"
        );
    }
}
