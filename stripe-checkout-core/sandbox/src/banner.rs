//! The lines to paste into a terminal after a sandbox has started.

use stripe_checkout_core::Config;

use super::{PUBLISHABLE_KEY, SECRET_KEY};

/// Returns each line with the tool that it is for.
pub(crate) fn lines(config: &Config) -> [(&'static str, String); 3] {
    let url = config.api_base();
    let secret = first_secret(config);
    [
        (
            "curl",
            format!(
                "curl {url}/v1/payment_intents -u {SECRET_KEY}: -d amount=1999 -d currency=eur -d 'payment_method_types[]=card' -d payment_method=pm_card_visa -d confirm=true"
            ),
        ),
        (
            "Stripe's SDK for Python",
            format!(r#"import stripe; stripe.api_key = "{SECRET_KEY}"; stripe.api_base = "{url}""#),
        ),
        (
            "stripe-checkout",
            format!(
                "export STRIPE_API_BASE={url} STRIPE_JS_URL={} STRIPE_SECRET_KEY={SECRET_KEY} STRIPE_PUBLISHABLE_KEY={PUBLISHABLE_KEY} STRIPE_WEBHOOK_SECRET={secret}",
                config.stripe_js_url()
            ),
        ),
    ]
}

pub(crate) fn text(config: &Config) -> String {
    let url = config.api_base();
    let secret = first_secret(config);
    let mut text = format!(
        "A Stripe of your own. No real money moves, and everything is forgotten when it ends.

  address          {url}
  page             {url}/sandbox
  secret key       {SECRET_KEY}
  publishable key  {PUBLISHABLE_KEY}
  webhook secret   {secret}
"
    );
    for (whom, line) in lines(config) {
        text.push_str(&format!("\n# {whom}\n{line}\n"));
    }
    text
}

/// Returns the signing secret of the first endpoint to be registered.
fn first_secret(config: &Config) -> &str {
    config
        .webhook_secrets()
        .first()
        .map_or("", |secret| secret.expose())
}
