//! An independent judge of what the gateway sends: the parameter types and the paths of Stripe's
//! official Python SDK.
//!
//! Every operation runs against the sandbox with every option set. The sandbox writes the requests
//! down, and `judge.py` holds them against the SDK. An operation or an option that is new in the
//! sources, and is not named here, fails the test `nothing_is_left_out`.

mod everything;
mod judge;
mod sources;

use stripe_checkout_sandbox::LoggedRequest;

use everything::requests;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_one_that_the_official_sdk_can_send() {
    let requests = requests().await;
    if let Some((is_good, said)) = judge::judge(&requests) {
        assert!(is_good, "{said}");
        println!("{said}");
    }
}

/// The judge itself is judged: each of these requests has one fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_sees_what_is_wrong() {
    let requests = requests().await;
    let first = |method: &str, path: &str, part: &str| -> LoggedRequest {
        let fits = |request: &&LoggedRequest| {
            let body = String::from_utf8_lossy(&request.body);
            request.method == method
                && request.path == path
                && (body.contains(part) || request.query.contains(part))
        };
        requests.iter().find(fits).expect(part).clone()
    };
    let mut faulty = Vec::new();
    for (method, path, right, wrong, complaint) in [
        (
            "POST",
            "/v1/payment_intents",
            "receipt_email",
            "recept_email",
            "recept_email: there is no such parameter",
        ),
        (
            "POST",
            "/v1/payment_intents",
            "capture_method=manual",
            "capture_method=by_hand",
            "capture_method: 'by_hand' is none of",
        ),
        (
            "POST",
            "/v1/payment_intents",
            "amount=1999",
            "amount=19.99",
            "amount: '19.99' is no int",
        ),
        (
            "POST",
            "/v1/payment_intents",
            "currency=eur",
            "metadata[x]=eur",
            "currency: must be given",
        ),
        (
            "POST",
            "/v1/checkout/sessions",
            "[product_data][tax_code]",
            "[product_data][tax_cod]",
            "line_items[1][price_data][product_data][tax_cod]: there is no such parameter",
        ),
        (
            "POST",
            "/v1/checkout/sessions",
            "customer_update[address]=auto",
            "customer_update[address]=always",
            "customer_update[address]: 'always' is none of",
        ),
        (
            "POST",
            "/v1/checkout/sessions",
            "line_items[0]",
            "line_items[7]",
            "line_items: ",
        ),
        (
            "GET",
            "/v1/events",
            "created%5Bgte%5D",
            "created%5Bfrom%5D",
            "created[from]: there is no such parameter",
        ),
    ] {
        let mut request = first(method, path, right);
        request.query = request.query.replace(right, wrong);
        let body = String::from_utf8_lossy(&request.body).replace(right, wrong);
        request.body = body.into();
        let complaint = format!("FAULT {method} {path}: {complaint}");
        faulty.push((request, complaint));
    }
    let mut elsewhere = first("POST", "/v1/payment_intents", "");
    elsewhere.path = "/v1/payment_intent".into();
    let complaint = "FAULT POST /v1/payment_intent: the SDK has no such operation";
    faulty.push((elsewhere, complaint.into()));
    let asked: Vec<_> = faulty.iter().map(|(request, _)| request.clone()).collect();
    let Some((is_good, said)) = judge::judge(&asked) else {
        return;
    };
    assert!(!is_good);
    for (_, complaint) in faulty {
        assert!(said.contains(&complaint), "{complaint}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_out() {
    sources::must_be_complete(&requests().await);
}
