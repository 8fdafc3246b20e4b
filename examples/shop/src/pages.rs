//! The pages. The templates are beside the code, and the engine escapes their values.

use minijinja::{Environment, Value, context};
use sha2::{Digest as _, Sha256};

use crate::{NAME, random};

/// The style sheet.
pub(crate) const CSS: &str = include_str!("../static/shop.css");
/// The script of the order page.
pub(crate) const ORDER_JS: &str = include_str!("../static/order.js");
/// The logo.
pub(crate) const LOGO: &str = include_str!("../pictures/logo.svg");

/// The compiled templates.
#[derive(Debug)]
pub(crate) struct Pages {
    templates: Environment<'static>,
    sandbox: bool,
    css: String,
    order_js: String,
}

impl Pages {
    /// Compiles the templates. With `sandbox`, every page says that this is a sandbox.
    pub(crate) fn new(sandbox: bool) -> Result<Self, minijinja::Error> {
        // The engine escapes values in templates whose names end in .html.
        let mut templates = Environment::new();
        for (name, source) in [
            ("base.html", include_str!("../templates/base.html")),
            ("home.html", include_str!("../templates/home.html")),
            ("cart.html", include_str!("../templates/cart.html")),
            ("order.html", include_str!("../templates/order.html")),
            ("account.html", include_str!("../templates/account.html")),
            ("enter.html", include_str!("../templates/enter.html")),
            ("unpaid.html", include_str!("../templates/unpaid.html")),
            ("problem.html", include_str!("../templates/problem.html")),
            ("login.html", include_str!("../templates/login.html")),
            ("admin.html", include_str!("../templates/admin.html")),
            ("chart.html", include_str!("../templates/chart.html")),
            ("day.html", include_str!("../templates/day.html")),
            ("event.html", include_str!("../templates/event.html")),
            ("money.html", include_str!("../templates/money.html")),
            ("payment.html", include_str!("../templates/payment.html")),
        ] {
            templates.add_template(name, source)?;
        }
        // A typing error in a template shows in the first test, not as a gap on a page.
        templates.set_undefined_behavior(minijinja::UndefinedBehavior::SemiStrict);
        Ok(Self {
            templates,
            sandbox,
            css: address("shop.css", CSS),
            order_js: address("order.js", ORDER_JS),
        })
    }

    /// Renders a template with its own values, and those that every page has.
    pub(crate) fn render(
        &self,
        template: &str,
        cart_count: u32,
        values: Value,
    ) -> Result<String, minijinja::Error> {
        let Self {
            templates,
            sandbox,
            css,
            order_js,
        } = self;
        let values = context! { shop => NAME, sandbox, css, order_js, cart_count, ..values };
        templates.get_template(template)?.render(values)
    }
}

/// A file's address with a fingerprint of its content. Browsers may keep the file until it changes.
fn address(name: &str, content: &str) -> String {
    let hash = Sha256::digest(content.as_bytes());
    format!("/static/{name}?v={}", random::hex(&hash[..6]))
}
