//! Finds every operation and option in the sources. A new one has to be sent by this test too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use stripe_checkout_sandbox::LoggedRequest;

/// Each place in the sources that makes a request, and the request: `_` stands for an id.
const OPERATIONS: &[(&str, &str)] = &[
    ("CreatePaymentIntent", "POST /v1/payment_intents"),
    ("UpdatePaymentIntent", "POST /v1/payment_intents/_"),
    ("CancelPaymentIntent", "POST /v1/payment_intents/_/cancel"),
    ("CapturePaymentIntent", "POST /v1/payment_intents/_/capture"),
    ("/payment_intents/{id}", "GET /v1/payment_intents/_"),
    (
        "path_of payment_intents",
        "POST /v1/payment_intents/_/confirm",
    ),
    ("CreateRefund", "POST /v1/refunds"),
    ("/refunds", "GET /v1/refunds"),
    ("/refunds/{id}", "GET /v1/refunds/_"),
    ("/charges", "GET /v1/charges"),
    ("/charges/{id}", "GET /v1/charges/_"),
    ("/disputes", "GET /v1/disputes"),
    ("/events", "GET /v1/events"),
    ("CreateCheckoutSession", "POST /v1/checkout/sessions"),
    ("/checkout/sessions", "GET /v1/checkout/sessions"),
    ("/checkout/sessions/{id}", "GET /v1/checkout/sessions/_"),
    (
        "/checkout/sessions/{id}/expire",
        "POST /v1/checkout/sessions/_/expire",
    ),
    ("/customers", "POST /v1/customers"),
    ("path_of customers", "POST /v1/customers/_"),
    ("path_of customers", "GET /v1/customers/_"),
    ("path_of customers", "GET /v1/customers/_/payment_methods"),
    ("path_of customers", "GET /v1/customers/_/payment_methods/_"),
    ("/customers/search", "GET /v1/customers/search"),
    (
        "path_of payment_methods",
        "POST /v1/payment_methods/_/detach",
    ),
    ("/customer_sessions", "POST /v1/customer_sessions"),
    ("/setup_intents", "POST /v1/setup_intents"),
    ("path_of setup_intents", "GET /v1/setup_intents/_"),
];

/// Each option of each request, and the parameters that it leads to. `header` is the header
/// `Stripe-Account`; none is an option that stays here.
const OPTIONS: &[(&str, &[&str])] = &[
    ("PaymentRequest::line", &["line_items[_][quantity]"]),
    (
        "PaymentRequest::line_item",
        &["line_items[_][price_data][product_data][name]"],
    ),
    (
        "Line::tax_code",
        &["line_items[_][price_data][product_data][tax_code]"],
    ),
    (
        "Line::tax_behavior",
        &["line_items[_][price_data][tax_behavior]"],
    ),
    (
        "PaymentRequest::metadata",
        &["metadata[note]", "payment_intent_data[metadata][note]"],
    ),
    (
        "PaymentRequest::receipt_email",
        &[
            "receipt_email",
            "payment_intent_data[receipt_email]",
            "customer_email",
        ],
    ),
    (
        "PaymentRequest::description",
        &["description", "payment_intent_data[description]"],
    ),
    (
        "PaymentRequest::statement_descriptor_suffix",
        &[
            "statement_descriptor_suffix",
            "payment_intent_data[statement_descriptor_suffix]",
        ],
    ),
    (
        "PaymentRequest::customer",
        &["customer", "customer_update[address]"],
    ),
    (
        "PaymentRequest::setup_future_usage",
        &[
            "setup_future_usage",
            "payment_intent_data[setup_future_usage]",
        ],
    ),
    (
        "PaymentRequest::capture_method",
        &["capture_method", "payment_intent_data[capture_method]"],
    ),
    ("PaymentRequest::connected_account", &["header"]),
    (
        "PaymentRequest::transfer_destination",
        &[
            "transfer_data[destination]",
            "payment_intent_data[transfer_data][destination]",
        ],
    ),
    (
        "PaymentRequest::on_behalf_of",
        &["on_behalf_of", "payment_intent_data[on_behalf_of]"],
    ),
    (
        "PaymentRequest::application_fee_amount",
        &[
            "application_fee_amount",
            "payment_intent_data[application_fee_amount]",
        ],
    ),
    ("PaymentRequest::reopen", &[]),
    ("IntentParams::metadata", &["metadata[note]"]),
    ("HostedCheckout::success_url", &["success_url"]),
    ("HostedCheckout::cancel_url", &["cancel_url"]),
    ("HostedCheckout::embedded", &["ui_mode", "return_url"]),
    (
        "HostedCheckout::promotion_codes",
        &["allow_promotion_codes"],
    ),
    (
        "HostedCheckout::automatic_tax",
        &[
            "automatic_tax[enabled]",
            "customer_update[address]",
            "customer_update[shipping]",
        ],
    ),
    (
        "HostedCheckout::tax_behavior",
        &["line_items[_][price_data][tax_behavior]"],
    ),
    (
        "HostedCheckout::shipping_option",
        &["shipping_options[_][shipping_rate_data][fixed_amount][amount]"],
    ),
    (
        "HostedCheckout::offer_shipping",
        &["shipping_options[_][shipping_rate_data][display_name]"],
    ),
    (
        "ShippingOption::tax_code",
        &["shipping_options[_][shipping_rate_data][tax_code]"],
    ),
    (
        "ShippingOption::tax_behavior",
        &["shipping_options[_][shipping_rate_data][tax_behavior]"],
    ),
    (
        "HostedCheckout::shipping_to",
        &["shipping_address_collection[allowed_countries][_]"],
    ),
    ("CustomerRequest::email", &["email"]),
    ("CustomerRequest::name", &["name"]),
    ("CustomerRequest::connected_account", &["header"]),
    ("SetupRequest::usage", &["usage"]),
    ("SetupRequest::metadata", &["metadata[note]"]),
    ("OffSessionCharge::attempt", &[]),
    ("CaptureRequest::amount", &["amount_to_capture"]),
    ("CaptureRequest::connected_account", &["header"]),
    ("CancelRequest::reason", &["cancellation_reason"]),
    ("CancelRequest::connected_account", &["header"]),
    ("RefundRequest::amount", &["amount"]),
    ("RefundRequest::reason", &["reason"]),
    ("RefundRequest::metadata", &["metadata[note]"]),
    ("RefundRequest::reverse_transfer", &["reverse_transfer"]),
    (
        "RefundRequest::refund_application_fee",
        &["refund_application_fee"],
    ),
    ("RefundRequest::connected_account", &["header"]),
];

/// Everything in the sources is named above, and everything named above was sent.
pub(crate) fn must_be_complete(requests: &[LoggedRequest]) {
    let named = |table: BTreeSet<&str>| table.into_iter().map(str::to_owned).collect();
    let operations: BTreeSet<String> = named(OPERATIONS.iter().map(|(place, _)| *place).collect());
    let options: BTreeSet<String> = named(OPTIONS.iter().map(|(option, _)| *option).collect());
    let sources = sources();
    assert_eq!(
        operations,
        operations_in(&sources),
        "operations: named here, and in the sources"
    );
    assert_eq!(
        options,
        options_in(&sources),
        "options: named here, and in the sources"
    );

    let sent: BTreeSet<String> = requests
        .iter()
        .map(|request| format!("{} {}", request.method, without_ids(&request.path)))
        .collect();
    for (place, operation) in OPERATIONS {
        assert!(
            sent.contains(*operation),
            "{operation} of {place} is not sent by this test: {sent:#?}"
        );
    }
    let mut parameters: BTreeSet<String> = requests.iter().flat_map(parameters_of).collect();
    if requests.iter().any(|request| request.account.is_some()) {
        parameters.insert("header".into());
    }
    for (option, names) in OPTIONS {
        for name in *names {
            assert!(
                parameters.contains(*name),
                "{name} of {option} is not sent by this test"
            );
        }
    }
}

/// The files of the library that can talk to Stripe, without their tests and comments.
fn sources() -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    for folder in ["src/stripe", "src/requests", "src/checkout"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            // Their paths are those of the checkout's own routes.
            if path.is_dir() || ["routes.rs", "builder.rs"].contains(&&*name) {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let lines = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            sources.insert(
                path.display().to_string(),
                lines.collect::<Vec<_>>().join("\n"),
            );
        }
    }
    assert!(sources.len() > 20, "{sources:?}");
    sources
}

/// Paths in quotation marks, paths that are put together, and the request types of async-stripe.
fn operations_in(sources: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut types = BTreeSet::new();
    for code in sources.values() {
        for quoted in code.split('"').skip(1).step_by(2) {
            let is_path = quoted
                .strip_prefix('/')
                .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_lowercase()));
            if is_path {
                found.insert(quoted.split('?').next().unwrap_or_default().to_owned());
            }
        }
        for call in code.split("path_of(").skip(1) {
            let kind = call.trim_start().strip_prefix('"');
            if let Some(kind) = kind.and_then(|kind| kind.split('"').next()) {
                found.insert(format!("path_of {kind}"));
            }
        }
        for before in code
            .split("::new(")
            .collect::<Vec<_>>()
            .split_last()
            .unwrap()
            .1
        {
            let start = before
                .rfind(|last: char| !last.is_alphanumeric())
                .map_or(0, |at| at + 1);
            let name = &before[start..];
            let verbs = [
                "Create", "Update", "Cancel", "Capture", "Retrieve", "Confirm", "List", "Search",
                "Expire",
            ];
            if verbs.iter().any(|verb| name.starts_with(verb)) && !name.ends_with("Request") {
                types.insert(name.to_owned());
            }
        }
    }
    // Of `CreateRefund` and `CreateRefundReason` the first one is a request.
    let is_part = |name: &String| {
        types
            .iter()
            .any(|whole| name != whole && name.starts_with(whole.as_str()))
    };
    found.extend(types.iter().filter(|name| !is_part(name)).cloned());
    found
}

/// Every public method that takes a request and returns it changed.
fn options_in(sources: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for code in sources.values() {
        for block in code.split("\nimpl ").skip(1) {
            let of = block.split([' ', '{']).next().unwrap_or_default();
            // These are of the library and not of a request.
            if ["Gateway", "Checkout", "Reconciler", "Upkeep", "Worker"].contains(&of) {
                continue;
            }
            for method in block.split("pub fn ").skip(1) {
                let signature = method.split('{').next().unwrap_or_default();
                let takes_itself = ["(mut self", "(self", " mut self,", " self,"]
                    .iter()
                    .any(|own| signature.contains(own));
                if takes_itself && signature.contains("-> Self") {
                    let name = signature.split(['(', '<']).next().unwrap_or_default();
                    found.insert(format!("{of}::{name}"));
                }
            }
        }
    }
    found
}

/// `/v1/payment_intents/pi_1/cancel` is `/v1/payment_intents/_/cancel`.
fn without_ids(path: &str) -> String {
    let is_id = |part: &str| {
        let prefix = part.split('_').next().unwrap_or_default();
        ["pi", "ch", "re", "cs", "cus", "pm", "seti"].contains(&prefix) && part.contains('_')
    };
    let parts: Vec<_> = path
        .split('/')
        .map(|part| if is_id(part) { "_" } else { part })
        .collect();
    parts.join("/")
}

/// The names of a request's parameters; `_` stands for a place in a list.
fn parameters_of(request: &LoggedRequest) -> Vec<String> {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let pairs = body.split('&').chain(request.query.split('&'));
    pairs
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, _)| {
            let name = name.replace("%5B", "[").replace("%5D", "]");
            let parts: Vec<_> = name
                .split('[')
                .map(|part| match part.trim_end_matches(']').parse::<usize>() {
                    Ok(_) => "_]",
                    Err(_) => part,
                })
                .collect();
            parts.join("[")
        })
        .collect()
}
