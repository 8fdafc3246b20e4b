//! The checkout page.
//!
//! A browser gets files: templates, three scripts and one style sheet. A web developer can read and
//! change them without knowing Rust. The HTML contains no script and no style, so that the
//! Content-Security-Policy can forbid both. All text for buyers is in the templates and none in a
//! script. So a shop can replace the templates and use its own language.
//!
//! Card details never pass through here: Stripe.js puts its own frames into the page, and they
//! communicate with Stripe only.

mod policy;
mod view;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

pub(crate) use self::policy::{PLAIN_POLICY, content_security_policy};
pub(crate) use self::view::{
    CheckoutView, CompleteState, CompleteView, LineView, Place, ProblemView, SetupCompleteView,
    SetupState, SetupView,
};
use crate::build_error::BuildError;
use crate::error::BoxError;

/// A script with money.js in front, in one function: the page around it has names too.
macro_rules! with_money {
    ($script:literal) => {
        concat!(
            "(() => {\n\"use strict\";\n",
            include_str!("money.js"),
            include_str!($script),
            "})();\n"
        )
    };
}

/// Runs the checkout page: Elements, the payment, its errors.
pub(crate) const CHECKOUT_JS: &str = with_money!("checkout.js");
/// Runs the page that a buyer comes back to.
pub(crate) const COMPLETE_JS: &str = with_money!("complete.js");
/// Tells buyers that their browser cannot read the other two scripts.
pub(crate) const OLD_BROWSER_JS: &str = include_str!("old-browser.js");
/// Styles all pages.
pub(crate) const CHECKOUT_CSS: &str = include_str!("checkout.css");

const TEMPLATES: [(&str, &str); 7] = [
    ("layout.html", include_str!("layout.html")),
    ("money.html", include_str!("money.html")),
    ("checkout.html", include_str!("checkout.html")),
    ("complete.html", include_str!("complete.html")),
    ("setup.html", include_str!("setup.html")),
    ("setup_complete.html", include_str!("setup_complete.html")),
    ("problem.html", include_str!("problem.html")),
];

/// The ids that checkout.js needs on each page. The first four are those of Stripe's tutorials.
const FORM_IDS: [&str; 10] = [
    "payment-form",
    "payment-element",
    "submit",
    "payment-message",
    "payment-loading",
    "payment-failure",
    "retry",
    "progress",
    "texts",
    "old-browser",
];

/// The ids of the order, which the page that only saves a card does not have.
const ORDER_IDS: [&str; 2] = ["summary", "total"];

/// The templates, compiled once.
pub(crate) struct Pages {
    environment: Environment<'static>,
}

impl Pages {
    /// Compiles the templates, with the merchant's instead of the default ones of the same name.
    ///
    /// Templates with other names are the merchant's own parts, for inclusion. Each page is also
    /// rendered once from a sample of all its data. Otherwise only the first buyer would find an
    /// unknown filter, a missing part or a misspelt variable.
    ///
    /// # Errors
    /// [`BuildError::Template`] names the template that does not compile, or whose sample fails.
    pub(crate) fn new(overrides: Vec<(String, String)>) -> Result<Self, BuildError> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, source) in TEMPLATES {
            environment
                .add_template(name, source)
                .map_err(|error| broken(name, error))?;
        }
        for (name, source) in overrides {
            environment
                .add_template_owned(name.clone(), source)
                .map_err(|error| broken(&name, error))?;
        }
        let pages = Self { environment };
        pages.try_samples()?;
        Ok(pages)
    }

    /// The page with the order's summary and the payment form.
    pub(crate) fn checkout(&self, view: &CheckoutView<'_>) -> Result<String, BoxError> {
        self.render("checkout.html", view)
    }

    /// The page that a buyer comes back to after the payment, successful or not.
    pub(crate) fn complete(&self, view: &CompleteView<'_>) -> Result<String, BoxError> {
        self.render("complete.html", view)
    }

    /// The page with the form that saves a card without a payment.
    pub(crate) fn setup(&self, view: &SetupView<'_>) -> Result<String, BoxError> {
        self.render("setup.html", view)
    }

    /// The page that a buyer comes back to after saving a card, successful or not.
    pub(crate) fn setup_complete(&self, view: &SetupCompleteView<'_>) -> Result<String, BoxError> {
        self.render("setup_complete.html", view)
    }

    /// The page that explains a problem, if there is no form to show.
    pub(crate) fn problem(&self, view: &ProblemView<'_>) -> Result<String, BoxError> {
        self.render("problem.html", view)
    }

    fn render(&self, name: &str, view: &impl Serialize) -> Result<String, BoxError> {
        Ok(self.environment.get_template(name)?.render(Serde(view))?)
    }

    fn try_samples(&self) -> Result<(), BuildError> {
        for view in view::checkout_samples() {
            let page = self
                .checkout(&view)
                .map_err(|error| broken("checkout.html", error))?;
            for id in FORM_IDS.into_iter().chain(ORDER_IDS) {
                need("checkout.html", &page, "id", Some(id))?;
            }
            need("checkout.html", &page, "data-capture-method", None)?;
            need("checkout.html", &page, "data-setup-future-usage", None)?;
        }
        for view in view::complete_samples() {
            self.complete(&view)
                .map_err(|error| broken("complete.html", error))?;
        }
        for view in view::setup_samples() {
            let page = self
                .setup(&view)
                .map_err(|error| broken("setup.html", error))?;
            for id in FORM_IDS {
                need("setup.html", &page, "id", Some(id))?;
            }
            need("setup.html", &page, "data-setup-future-usage", None)?;
        }
        for view in view::setup_complete_samples() {
            self.setup_complete(&view)
                .map_err(|error| broken("setup_complete.html", error))?;
        }
        for view in view::problem_samples() {
            self.problem(&view)
                .map_err(|error| broken("problem.html", error))?;
        }
        Ok(())
    }
}

/// Refuses a page without this attribute, or without this value of it.
fn need(template: &str, page: &str, name: &str, value: Option<&str>) -> Result<(), BuildError> {
    if attribute_values(page, name).any(|found| value.is_none_or(|value| value == found)) {
        return Ok(());
    }
    let missing = value.map_or_else(|| name.to_owned(), |value| format!("{name}=\"{value}\""));
    Err(broken(
        template,
        format!("it has no {missing}, which checkout.js needs"),
    ))
}

/// The values that a page gives to an attribute, with single, double or no quotes.
fn attribute_values<'p>(page: &'p str, name: &'p str) -> impl Iterator<Item = &'p str> {
    page.match_indices(name).filter_map(move |(at, _)| {
        let before = page.get(..at)?;
        let after = page.get(at + name.len()..)?;
        // The end of a longer name belongs to another attribute.
        before
            .ends_with(|before: char| before.is_ascii_whitespace())
            .then_some(())?;
        let value = after.trim_start().strip_prefix('=')?.trim_start();
        match value.strip_prefix(['"', '\'']) {
            Some(quoted) => quoted.split(['"', '\'']).next(),
            None => value.split([' ', '\n', '\t', '>']).next(),
        }
    })
}

fn broken(name: &str, error: impl Into<BoxError>) -> BuildError {
    BuildError::Template {
        name: name.to_owned(),
        source: error.into(),
    }
}

#[cfg(test)]
mod tests;
