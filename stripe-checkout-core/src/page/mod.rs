//! The checkout page.
//!
//! A browser gets files: templates, three scripts and one style sheet. A web developer can read and
//! change them without knowing Rust. No script and
//! no style stands inside the HTML, so that the Content-Security-Policy can forbid both; and every word that a buyer reads stands in a template, none in a
//! script, so that a shop that replaces the templates can speak its own language.
//!
//! Card details never pass through here: Stripe.js puts its own frames into the page, and they talk to Stripe alone.

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
use crate::error::{BoxError, BuildError};

/// Runs the checkout page: Elements, the payment, its errors.
pub(crate) const CHECKOUT_JS: &str = include_str!("checkout.js");
/// Runs the page that a buyer comes back to.
pub(crate) const COMPLETE_JS: &str = include_str!("complete.js");
/// Tells a buyer whose browser cannot read the other two.
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

/// The ids and attributes that the scripts need. The first four are those of Stripe's tutorials.
const CHECKOUT_IDS: [&str; 12] = [
    "payment-form",
    "payment-element",
    "submit",
    "payment-message",
    "payment-loading",
    "payment-failure",
    "summary",
    "total",
    "texts",
    "old-browser",
    "data-capture-method",
    "data-setup-future-usage",
];

/// The same where a card is only saved.
const SETUP_IDS: [&str; 9] = [
    "payment-form",
    "payment-element",
    "submit",
    "payment-message",
    "payment-loading",
    "payment-failure",
    "texts",
    "old-browser",
    "data-setup-future-usage",
];

/// The templates, compiled once.
pub(crate) struct Pages {
    environment: Environment<'static>,
}

impl Pages {
    /// Compiles the templates, the merchant's in place of ours where the names are the same. Other names are the merchant's own parts, to be included.
    ///
    /// Each page is also made once from a sample of everything that it can show: an unknown filter, a part that is not there, a misspelt variable would
    /// otherwise wait for the first buyer.
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

    /// The page that a buyer comes back to after paying, or not paying.
    pub(crate) fn complete(&self, view: &CompleteView<'_>) -> Result<String, BoxError> {
        self.render("complete.html", view)
    }

    /// The page with the form that saves a card without a payment.
    pub(crate) fn setup(&self, view: &SetupView<'_>) -> Result<String, BoxError> {
        self.render("setup.html", view)
    }

    /// The page that a buyer comes back to after saving a card, or not.
    pub(crate) fn setup_complete(&self, view: &SetupCompleteView<'_>) -> Result<String, BoxError> {
        self.render("setup_complete.html", view)
    }

    /// The page that says what is wrong, where there is no form to show.
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
            if let Some(id) = CHECKOUT_IDS.into_iter().find(|id| !page.contains(id)) {
                return Err(broken(
                    "checkout.html",
                    format!("it has no {id:?}, which checkout.js needs"),
                ));
            }
        }
        for view in view::complete_samples() {
            self.complete(&view)
                .map_err(|error| broken("complete.html", error))?;
        }
        for view in view::setup_samples() {
            let page = self
                .setup(&view)
                .map_err(|error| broken("setup.html", error))?;
            if let Some(id) = SETUP_IDS.into_iter().find(|id| !page.contains(id)) {
                return Err(broken(
                    "setup.html",
                    format!("it has no {id:?}, which checkout.js needs"),
                ));
            }
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

fn broken(name: &str, error: impl Into<BoxError>) -> BuildError {
    BuildError::Template {
        name: name.to_owned(),
        source: error.into(),
    }
}

#[cfg(test)]
mod tests;
