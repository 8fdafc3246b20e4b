//! Results that must never happen: a wrong success, a panic, a refused genuine event, a secret in a
//! message.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use serde_json::{Value, json};
use stripe_checkout_core::{
    EventError, SignatureError, WebhookSecret,
    webhook::{
        Dispute, DisputeStatus, Event, Failure, Outcome, Payment, PaymentStatus, Refund, Verifier,
    },
};

const BODY: &[u8] = br#"{"id":"evt_1","object":"event","type":"payment_intent.succeeded"}"#;
/// Signed with `whsec_old` and with `whsec_new` at 1,790,000,000.
const HEADER: &[u8] = b"t=1790000000,v1=343773457db0578bd1fa2ea8358bb438f7f9e07eb2015f6e60ca40824c66b6f7,v1=b7e4f4695a28cd28b90dd1e0c3e7dbaa49088cda2a52c526d9c2a7c4f72fc6a3";
const SIGNED_AT: u64 = 1_790_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn secret(text: &str) -> WebhookSecret {
    WebhookSecret::new(text).unwrap()
}

// --- Signatures

#[test]
fn while_a_secret_is_rolled_either_one_is_enough() {
    for secrets in [
        &["whsec_old", "whsec_new"][..],
        &["whsec_old"],
        &["whsec_new"],
        &["whsec_other", "whsec_new"],
    ] {
        let secrets: Vec<_> = secrets.iter().map(|text| secret(text)).collect();
        let signed = Verifier::new(&secrets)
            .verify_at(BODY, HEADER, at(SIGNED_AT))
            .unwrap();
        assert_eq!(signed.timestamp, 1_790_000_000);
    }
}

#[test]
fn no_secret_and_another_secret_fit_nothing() {
    for secrets in [
        vec![],
        vec![secret("whsec_other")],
        vec![secret("whsec_a"), secret("whsec_b")],
    ] {
        let refused = Verifier::new(&secrets).verify_ignoring_timestamp(BODY, HEADER);
        assert_eq!(refused, Err(SignatureError::Mismatch));
    }
}

#[test]
fn any_change_of_one_byte_is_refused() {
    let verifier = Verifier::new([&secret("whsec_old")]);
    for position in 0..BODY.len() {
        for bit in 0..8 {
            let mut body = BODY.to_vec();
            body[position] ^= 1 << bit;
            assert_eq!(
                verifier.verify_ignoring_timestamp(&body, HEADER),
                Err(SignatureError::Mismatch)
            );
        }
    }
    for body in [&BODY[1..], &BODY[..BODY.len() - 1], b""] {
        assert_eq!(
            verifier.verify_ignoring_timestamp(body, HEADER),
            Err(SignatureError::Mismatch)
        );
    }
}

#[test]
fn the_tolerance_is_exact() {
    let verifier = Verifier::new([&secret("whsec_old")]);
    let too_old = |age_seconds, tolerance_seconds| {
        Err(SignatureError::TooOld {
            age_seconds,
            tolerance_seconds,
        })
    };
    assert!(
        verifier
            .verify_at(BODY, HEADER, at(SIGNED_AT + 300))
            .is_ok()
    );
    assert_eq!(
        verifier.verify_at(BODY, HEADER, at(SIGNED_AT + 300) + Duration::from_nanos(1)),
        too_old(300, 300)
    );
    assert_eq!(
        verifier.verify_at(BODY, HEADER, at(SIGNED_AT + 301)),
        too_old(301, 300)
    );

    let strict = verifier.clone().tolerance(Duration::ZERO);
    assert!(strict.verify_at(BODY, HEADER, at(SIGNED_AT)).is_ok());
    assert_eq!(
        strict.verify_at(BODY, HEADER, at(SIGNED_AT + 1)),
        too_old(1, 0)
    );
    assert!(
        verifier
            .tolerance(Duration::MAX)
            .verify_at(BODY, HEADER, at(SIGNED_AT * 2))
            .is_ok()
    );
}

#[test]
fn the_future_is_taken_and_so_is_a_clock_before_1970() {
    let verifier = Verifier::new([&secret("whsec_old")]);
    assert!(verifier.verify_at(BODY, HEADER, at(0)).is_ok());
    assert!(
        verifier
            .verify_at(BODY, HEADER, UNIX_EPOCH - Duration::from_secs(1))
            .is_ok()
    );
}

#[test]
fn now_is_this_machines_clock() {
    // The header was signed in September 2026: either in the future or too old, never refused for
    // another reason.
    let verdict = Verifier::new([&secret("whsec_old")]).verify(BODY, HEADER);
    assert!(
        matches!(
            verdict,
            Ok(_)
                | Err(SignatureError::TooOld {
                    tolerance_seconds: 300,
                    ..
                })
        ),
        "{verdict:?}"
    );
    assert!(
        Verifier::new([&secret("whsec_old")])
            .tolerance(Duration::MAX)
            .verify(BODY, HEADER)
            .is_ok()
    );
}

#[test]
fn a_refusal_says_what_is_wrong_with_the_header() {
    let verifier = Verifier::new([&secret("whsec_old")]);
    for (header, error) in [
        (&b""[..], SignatureError::Missing),
        (b"  ", SignatureError::Missing),
        (b"v1=00", SignatureError::Timestamp),
        (b"t=,v1=00", SignatureError::Timestamp),
        (b"t,v1=00", SignatureError::Timestamp),
        (b"t=1,t=2,v1=00", SignatureError::Timestamp),
        (b"t=-1,v1=00", SignatureError::Timestamp),
        (
            b"t=99999999999999999999999999,v1=00",
            SignatureError::Timestamp,
        ),
        (b"t=\xff,v1=00", SignatureError::Timestamp),
        (b"t=1790000000", SignatureError::NoSignature),
        (b"t=1790000000,v0=00", SignatureError::NoSignature),
        (b"t=1790000000,v1", SignatureError::NoSignature),
        (b"t=1790000000,v1=", SignatureError::Mismatch),
        (b"t=1790000000,v1=\xff\xfe", SignatureError::Mismatch),
    ] {
        assert_eq!(
            verifier.verify_at(BODY, header, at(SIGNED_AT)),
            Err(error),
            "{}",
            header.escape_ascii()
        );
    }
}

#[test]
fn an_old_signature_that_is_wrong_is_wrong_first() {
    let verifier = Verifier::new([&secret("whsec_other")]);
    assert_eq!(
        verifier.verify_at(BODY, HEADER, at(SIGNED_AT + 9999)),
        Err(SignatureError::Mismatch)
    );
}

// --- Success

/// Makes an event of this type about this object.
fn event(event_type: &str, object: Value) -> Event {
    let body = json!({"id": "evt_1", "object": "event", "type": event_type, "livemode": false, "data": {"object": object}});
    Event::parse(body.to_string()).unwrap()
}

fn intent(status: &str) -> Value {
    json!({
        "id": "pi_1", "object": "payment_intent", "amount": 1999, "amount_received": 1999, "currency": "eur",
        "status": status, "livemode": false, "metadata": {"order_id": "42"},
    })
}

fn with(mut object: Value, field: &str, value: Value) -> Value {
    object[field] = value;
    object
}

fn without(mut object: Value, field: &str) -> Value {
    object.as_object_mut().unwrap().remove(field);
    object
}

/// Whether the event is unreadable: neither a success nor another event on which a shop would act.
fn unreadable(event: &Event) -> bool {
    matches!(
        Outcome::of(event),
        Outcome::Unreadable(EventError::UnexpectedObject { .. })
    )
}

const SUCCEEDED: &str = "payment_intent.succeeded";

#[test]
fn a_success_is_a_success() {
    assert!(matches!(
        Outcome::of(&event(SUCCEEDED, intent("succeeded"))),
        Outcome::Succeeded(_)
    ));
}

#[test]
fn the_name_and_the_status_must_agree() {
    const STATUSES: [&str; 9] = [
        "requires_payment_method",
        "requires_confirmation",
        "requires_action",
        "processing",
        "requires_capture",
        "canceled",
        "succeeded",
        "SUCCEEDED",
        "succeeded ",
    ];
    for (event_type, fitting) in [
        (SUCCEEDED, &["succeeded"][..]),
        ("payment_intent.processing", &["processing"]),
        ("payment_intent.canceled", &["canceled"]),
        ("payment_intent.requires_action", &["requires_action"]),
        (
            "payment_intent.amount_capturable_updated",
            &["requires_capture"],
        ),
        (
            "payment_intent.payment_failed",
            &[
                "requires_payment_method",
                "requires_confirmation",
                "requires_action",
                "canceled",
                "SUCCEEDED",
                "succeeded ",
            ],
        ),
    ] {
        for status in STATUSES {
            let event = event(event_type, intent(status));
            assert_eq!(
                unreadable(&event),
                !fitting.contains(&status),
                "{event_type} with {status}"
            );
            let success = matches!(Outcome::of(&event), Outcome::Succeeded(_));
            assert_eq!(
                success,
                event_type == SUCCEEDED && status == "succeeded",
                "{event_type} with {status}"
            );
        }
    }
}

#[test]
fn another_object_is_no_payment() {
    for object in [
        "charge",
        "checkout.session",
        "setup_intent",
        "invoice",
        "PAYMENT_INTENT",
        "payment_intent ",
        "",
    ] {
        assert!(
            unreadable(&event(
                SUCCEEDED,
                with(intent("succeeded"), "object", object.into())
            )),
            "{object}"
        );
    }
    for object in [
        json!(null),
        json!([]),
        json!({}),
        json!("pi_1"),
        json!(1),
        json!([intent("succeeded")]),
    ] {
        assert!(unreadable(&event(SUCCEEDED, object)));
    }
}

#[test]
fn an_array_is_not_read_as_an_object() {
    let as_array = json!([
        "pi_1",
        "payment_intent",
        1999,
        1999,
        0,
        "eur",
        "succeeded",
        {},
        false
    ]);
    assert!(unreadable(&event(SUCCEEDED, as_array)));
    let data = format!(
        r#"{{"id":"evt_1","object":"event","type":"{SUCCEEDED}","data":[{}]}}"#,
        intent("succeeded")
    );
    assert!(Event::parse(data).is_err());
    assert!(
        Event::parse(
            r#"["evt_1","event","charge.succeeded",1,false,null,null,null,null,null,null]"#
        )
        .is_err()
    );
}

#[test]
fn what_decides_about_money_must_be_there() {
    for field in ["id", "object", "amount", "currency", "status"] {
        assert!(
            unreadable(&event(SUCCEEDED, without(intent("succeeded"), field))),
            "{field}"
        );
        assert!(
            unreadable(&event(
                SUCCEEDED,
                with(intent("succeeded"), field, Value::Null)
            )),
            "{field}"
        );
    }
    assert!(unreadable(&event(
        SUCCEEDED,
        with(intent("succeeded"), "id", "".into())
    )));
}

#[test]
fn amounts_that_are_none() {
    let not_amounts = [
        json!(-1),
        json!(-1999),
        json!(19.99),
        json!(1999.0),
        json!("1999"),
        json!(true),
        json!([1999]),
        json!({"amount": 1999}),
        json!(i64::MAX as u64 + 1),
        json!(u64::MAX),
    ];
    for field in ["amount", "amount_received", "amount_capturable"] {
        for amount in &not_amounts {
            assert!(
                unreadable(&event(
                    SUCCEEDED,
                    with(intent("succeeded"), field, amount.clone())
                )),
                "{field}: {amount}"
            );
        }
    }
    for amount in [
        "1e3",
        "18446744073709551616",
        "99999999999999999999999999",
        "-0.0",
        "1999 ",
        "0x7cf",
        "01999",
        "NaN",
    ] {
        let object = intent("succeeded").to_string().replace(
            r#""amount_received":1999"#,
            &format!(r#""amount_received":{amount}"#),
        );
        let body = format!(r#"{{"id":"evt_1","type":"{SUCCEEDED}","data":{{"object":{object}}}}}"#);
        // `1999 ` is 1999. Text that is not JSON is not an event.
        if let Ok(event) = Event::parse(body) {
            let paid = matches!(Outcome::of(&event), Outcome::Succeeded(_));
            assert_eq!(paid, amount == "1999 ", "{amount}");
        }
    }
}

#[test]
fn the_largest_amount_of_all() {
    let object = with(
        with(intent("succeeded"), "amount", i64::MAX.into()),
        "amount_received",
        i64::MAX.into(),
    );
    let Outcome::Succeeded(payment) = Outcome::of(&event(SUCCEEDED, object)) else {
        panic!()
    };
    assert_eq!(payment.amount_received().minor(), i64::MAX.cast_unsigned());
}

#[test]
fn nothing_received_is_not_paid() {
    assert!(unreadable(&event(
        SUCCEEDED,
        with(intent("succeeded"), "amount_received", 0.into())
    )));
    assert!(unreadable(&event(
        SUCCEEDED,
        with(
            with(intent("succeeded"), "amount", 0.into()),
            "amount_received",
            Value::Null
        )
    )));
}

#[test]
fn an_amount_received_that_is_absent_is_all_after_success_and_nothing_before() {
    for absent in [
        without(intent("succeeded"), "amount_received"),
        with(intent("succeeded"), "amount_received", Value::Null),
    ] {
        let Outcome::Succeeded(payment) = Outcome::of(&event(SUCCEEDED, absent)) else {
            panic!()
        };
        assert_eq!(payment.amount_received(), payment.amount());
    }
    let waiting: Payment =
        serde_json::from_value(without(intent("processing"), "amount_received")).unwrap();
    assert!(waiting.amount_received().is_zero());
}

#[test]
fn currencies() {
    for currency in ["", "e", "eu", "euro", "€", "1eu", "e r"] {
        assert!(
            unreadable(&event(
                SUCCEEDED,
                with(intent("succeeded"), "currency", currency.into())
            )),
            "{currency}"
        );
    }
    for currency in ["EUR", "eur", "zzz"] {
        assert!(
            !unreadable(&event(
                SUCCEEDED,
                with(intent("succeeded"), "currency", currency.into())
            )),
            "{currency}"
        );
    }
}

#[test]
fn the_modes_of_event_and_object_must_agree() {
    let parse = |event: Value| Outcome::of(&Event::parse(event.to_string()).unwrap());
    let body = |livemode: Option<bool>, object: Value| json!({"id": "evt_1", "type": SUCCEEDED, "livemode": livemode, "data": {"object": object}});
    let live = with(intent("succeeded"), "livemode", true.into());
    let silent = without(intent("succeeded"), "livemode");
    assert!(matches!(
        parse(body(Some(false), live.clone())),
        Outcome::Unreadable(_)
    ));
    assert!(matches!(
        parse(body(None, live.clone())),
        Outcome::Unreadable(_)
    ));
    assert!(matches!(
        parse(body(Some(true), intent("succeeded"))),
        Outcome::Unreadable(_)
    ));
    assert!(
        matches!(parse(body(Some(true), live)), Outcome::Succeeded(payment) if payment.livemode())
    );
    assert!(
        matches!(parse(body(Some(true), silent.clone())), Outcome::Succeeded(payment) if payment.livemode())
    );
    assert!(
        matches!(parse(body(None, silent)), Outcome::Succeeded(payment) if !payment.livemode())
    );
}

#[test]
fn a_name_that_stands_twice_is_refused() {
    for twice in [
        r#""status":"succeeded","status":"processing""#,
        r#""status":"processing","status":"succeeded""#,
        r#""status":"processing","sta\u0074us":"succeeded""#,
        r#""status":"succeeded","amount_received":1,"amount_received":1999"#,
        r#""status":"succeeded","currency":"jpy""#,
        r#""status":"succeeded","id":"pi_2""#,
        r#""status":"succeeded","object":"payment_intent""#,
    ] {
        let object = format!(
            r#"{{"id":"pi_1","object":"payment_intent","amount":1999,"currency":"eur",{twice}}}"#
        );
        let body = format!(r#"{{"id":"evt_1","type":"{SUCCEEDED}","data":{{"object":{object}}}}}"#);
        assert!(unreadable(&Event::parse(body).unwrap()), "{twice}");
    }
    let paid = intent("succeeded");
    for body in [
        format!(r#"{{"id":"evt_1","id":"evt_2","type":"{SUCCEEDED}","data":{{"object":{paid}}}}}"#),
        format!(
            r#"{{"id":"evt_1","type":"charge.failed","type":"{SUCCEEDED}","data":{{"object":{paid}}}}}"#
        ),
        format!(r#"{{"id":"evt_1","type":"{SUCCEEDED}","data":{{}},"data":{{"object":{paid}}}}}"#),
        format!(
            r#"{{"id":"evt_1","type":"{SUCCEEDED}","d\u0061ta":{{}},"data":{{"object":{paid}}}}}"#
        ),
        format!(
            r#"{{"id":"evt_1","type":"{SUCCEEDED}","data":{{"object":{{}},"object":{paid}}}}}"#
        ),
        format!(
            r#"{{"id":"evt_1","type":"{SUCCEEDED}","livemode":true,"livemode":false,"data":{{"object":{paid}}}}}"#
        ),
    ] {
        assert!(
            matches!(Event::parse(body.clone()), Err(EventError::NotAnEvent(_))),
            "{body}"
        );
    }
}

#[test]
fn a_thin_notification_is_never_a_success() {
    let body =
        json!({"id": "evt_1", "object": "v2.core.event", "type": SUCCEEDED, "livemode": false});
    assert!(unreadable(&Event::parse(body.to_string()).unwrap()));
}

// --- Events that must be accepted

#[test]
fn what_is_good_to_know_may_be_anything() {
    let oddities = [
        json!(null),
        json!(-1),
        json!("x"),
        json!([[1]]),
        json!({"a": {"id": 7}}),
        json!(1.5),
        json!(true),
    ];
    for field in [
        "created",
        "client_secret",
        "latest_charge",
        "charges",
        "receipt_email",
        "description",
        "customer",
        "payment_method_types",
        "last_payment_error",
        "amount_details",
        "a_field_of_2031",
    ] {
        for oddity in &oddities {
            let event = event(SUCCEEDED, with(intent("succeeded"), field, oddity.clone()));
            assert!(
                matches!(Outcome::of(&event), Outcome::Succeeded(_)),
                "{field}: {oddity}"
            );
        }
    }
}

#[test]
fn envelopes_of_other_years() {
    for (field, value) in [
        ("created", json!("yesterday")),
        ("created", json!(null)),
        ("created", json!(1.5)),
        ("request", json!(null)),
        ("request", json!("req_1")),
        ("request", json!([])),
        ("request", json!({"id": 7})),
        ("api_version", json!(null)),
        ("account", json!(null)),
        ("account", json!("")),
        ("reason", json!("why not")),
        ("related_object", json!(7)),
        ("pending_webhooks", json!("many")),
        ("data", json!(null)),
        ("data", json!({"object": null})),
        ("context", json!([])),
    ] {
        let body = with(
            json!({"id": "evt_1", "object": "event", "type": "moon.rose", "livemode": true}),
            field,
            value.clone(),
        );
        let event = Event::parse(body.to_string())
            .unwrap_or_else(|error| panic!("{field}: {value}: {error}"));
        assert_eq!(
            (event.created(), event.account(), event.livemode()),
            (0, None, true)
        );
        assert!(matches!(Outcome::of(&event), Outcome::NotAboutPayment));
    }
}

#[test]
fn times_of_thin_notifications() {
    for (text, seconds) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T23:59:59.999Z", 951_868_799),
        ("2000-03-01T00:00:00Z", 951_868_800),
        ("2026-12-31T23:59:59Z", 1_798_761_599),
        ("2026-01-01T00:00:00+01:00", 0),
        ("2026-01-01", 0),
        ("TZ", 0),
        ("--T::Z", 0),
    ] {
        let body =
            json!({"id": "evt_1", "object": "v2.core.event", "type": "v2.x", "created": text});
        let created = Event::parse(body.to_string()).unwrap().created();
        assert_eq!(created, seconds, "{text}");
    }
}

#[test]
fn times_that_no_clock_shows() {
    for text in [
        "0000-00-00T00:00:00Z",
        "65535-65535-65535T65535:65535:65535Z",
        "99999999-01-01T00:00:00Z",
    ] {
        let body =
            json!({"id": "evt_1", "object": "v2.core.event", "type": "v2.x", "created": text});
        assert!(Event::parse(body.to_string()).is_ok(), "{text}");
    }
}

#[test]
fn what_is_no_event() {
    for body in [
        "",
        " ",
        "{",
        "null",
        "[]",
        "\"evt_1\"",
        "7",
        "{}",
        r#"{"id":"evt_1"}"#,
        r#"{"type":"charge.failed"}"#,
        r#"{"id":"","type":"x"}"#,
        r#"{"id":"evt_1","type":""}"#,
        r#"{"id":7,"type":"x"}"#,
        r#"{"id":null,"type":"x"}"#,
        r#"{"id":"evt_1","object":"payment_intent","type":"x"}"#,
        r#"{"id":"evt_1","type":"x"} {}"#,
        r#"{"id":"evt_1","type":"x",}"#,
        "\u{feff}{\"id\":\"evt_1\",\"type\":\"x\"}",
        r#"{"id":"evt_1","type":"x","data":7}"#,
    ] {
        assert!(
            matches!(Event::parse(body), Err(EventError::NotAnEvent(_))),
            "{body}"
        );
    }
}

#[test]
fn a_body_that_is_not_utf_8_is_read_around_what_is_not() {
    let body = [
        br#"{"id":"evt_1","type":"customer.created","data":{"object":{"name":"Zo"#,
        &b"\xeb"[..],
        br#""}}}"#,
    ]
    .concat();
    let event = Event::parse(body).unwrap();
    assert_eq!(event.object_json(), Some("{\"name\":\"Zo\u{fffd}\"}"));
}

#[test]
fn a_hundred_thousand_brackets_are_no_stack_overflow() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for body in [
        deep.clone(),
        format!(r#"{{"id":"evt_1","type":"x","unknown":{deep}}}"#),
        format!(r#"{{"id":"evt_1","type":"x","request":{deep}}}"#),
        format!(r#"{{"id":"evt_1","type":"{SUCCEEDED}","data":{{"object":{deep}}}}}"#),
        format!(
            r#"{{"id":"evt_1","type":"{SUCCEEDED}","data":{{"object":{{"metadata":{deep}}}}}}}"#
        ),
        format!(
            r#"{{"id":"evt_1","type":"{SUCCEEDED}","data":{{"object":{{"last_payment_error":{deep}}}}}}}"#
        ),
    ] {
        if let Ok(event) = Event::parse(body) {
            assert!(!matches!(Outcome::of(&event), Outcome::Succeeded(_)));
            let _ = event.object_id();
        }
    }
}

#[test]
fn raw_json_is_byte_for_byte() {
    let object = "{ \"id\" : \"x\\u0031\",\n \"n\": 1.0e5, \"n\":2 }";
    let event = Event::parse(format!(
        r#"{{"type":"x","id":"evt_1","data":{{"object":  {object} ,"previous_attributes":{{ }}}}}}"#
    ))
    .unwrap();
    assert_eq!(event.object_json(), Some(object));
    assert_eq!(event.previous_attributes_json(), Some("{ }"));
    assert_eq!(
        Event::parse(event.body()).unwrap().object_json(),
        Some(object)
    );
    assert_eq!(event.clone().body(), event.body());
}

#[test]
fn client_secrets_are_taken_out_and_nothing_else() {
    let kept = |object: &str| {
        let body = format!(r#"{{"id":"evt_1","type":"x","data":{{"object":{object}}}}}"#);
        let event = Event::parse(body).unwrap().without_client_secrets();
        let again = Event::parse(event.body()).unwrap();
        assert_eq!(event.object_json(), again.object_json());
        again.object_json().unwrap().to_owned()
    };
    for (object, expected) in [
        (
            r#"{"client_secret":"HUSH","n":1.0e5}"#,
            r#"{"client_secret":null  ,"n":1.0e5}"#,
        ),
        (
            r#"{"a":[{"b":{ "client_secret" :  "HUSH" }}]}"#,
            r#"{"a":[{"b":{ "client_secret" :  null   }}]}"#,
        ),
        (
            r#"{"client_secret":"HU\"SH\\","z":"\\"}"#,
            r#"{"client_secret":null      ,"z":"\\"}"#,
        ),
        (r#"{"client_secret":null}"#, r#"{"client_secret":null}"#),
        (r#"{"client_secret":"HU"}"#, r#"{"client_secret":null}"#),
        (r#"{"client_secret":"H"}"#, r#"{"client_secret":"" }"#),
        (r#"{"client_secret":""}"#, r#"{"client_secret":""}"#),
        (
            r#"{"a":"client_secret","b":"c"}"#,
            r#"{"a":"client_secret","b":"c"}"#,
        ),
        (
            r#"{"a":"\"client_secret\":\"x\"","é":"\\\""}"#,
            r#"{"a":"\"client_secret\":\"x\"","é":"\\\""}"#,
        ),
        (r#"["client_secret","x"]"#, r#"["client_secret","x"]"#),
    ] {
        assert_eq!(kept(object), expected);
    }
}

#[test]
fn escapes_in_the_envelope() {
    let event = Event::parse(r#"{"\u0069d":"evt\u005f1","type":"moon.\"rose\"","account":"acct\/1","api_version":"\u00e9"}"#).unwrap();
    assert_eq!((event.id(), event.event_type()), ("evt_1", "moon.\"rose\""));
    assert_eq!(
        (event.account(), event.api_version()),
        (Some("acct/1"), Some("é"))
    );
}

// --- Words

#[test]
fn statuses_of_today_and_of_2018() {
    let status = |text: &str| PaymentStatus::from(text.to_owned());
    assert_eq!(
        status("requires_source"),
        PaymentStatus::RequiresPaymentMethod
    );
    assert_eq!(
        status("requires_source_action"),
        PaymentStatus::RequiresAction
    );
    assert_eq!(status("requires_capture").as_str(), "requires_capture");
    assert_eq!(
        status("on_the_moon"),
        PaymentStatus::Other("on_the_moon".into())
    );
    assert_eq!(status("on_the_moon").to_string(), "on_the_moon");
    for (text, is_final) in [
        ("succeeded", true),
        ("canceled", true),
        ("processing", false),
        ("requires_capture", false),
        ("x", false),
    ] {
        assert_eq!(status(text).is_final(), is_final, "{text}");
    }
    for (text, is_closed) in [
        ("won", true),
        ("lost", true),
        ("warning_closed", true),
        ("needs_response", false),
        ("x", false),
    ] {
        assert_eq!(
            DisputeStatus::from(text.to_owned()).is_closed(),
            is_closed,
            "{text}"
        );
    }
}

#[test]
fn refunds_and_disputes_are_as_strict_about_money() {
    let refund = json!({"id": "re_1", "object": "refund", "amount": 5, "currency": "eur", "status": "pending"});
    let dispute = json!({"id": "dp_1", "object": "dispute", "amount": 5, "currency": "eur", "status": "lost", "charge": "ch_1"});
    assert!(serde_json::from_value::<Refund>(refund.clone()).is_ok());
    assert!(serde_json::from_value::<Dispute>(dispute.clone()).is_ok());
    for (field, value) in [
        ("amount", json!(-5)),
        ("currency", json!("")),
        ("object", json!("charge")),
        ("id", json!(null)),
    ] {
        assert!(
            serde_json::from_value::<Refund>(with(refund.clone(), field, value.clone())).is_err(),
            "{field}"
        );
        assert!(
            serde_json::from_value::<Dispute>(with(dispute.clone(), field, value)).is_err(),
            "{field}"
        );
    }
    for (event_type, object) in [
        ("refund.created", dispute),
        ("charge.dispute.closed", refund.clone()),
        ("charge.refunded", refund),
    ] {
        assert!(unreadable(&event(event_type, object)), "{event_type}");
    }
}

#[test]
fn a_thief_learns_nothing_from_the_sentence() {
    let sentence = |code: &str, decline: &str| {
        Failure::new(Some(code.into()), Some(decline.into())).message_for_buyer()
    };
    let general = Failure::default().message_for_buyer();
    for decline in [
        "fraudulent",
        "lost_card",
        "stolen_card",
        "merchant_blacklist",
        "pickup_card",
        "restricted_card",
        "security_violation",
        "generic_decline",
        "do_not_honor",
        "a_code_of_2031",
    ] {
        assert_eq!(sentence("card_declined", decline), general, "{decline}");
    }
    assert_ne!(sentence("card_declined", "insufficient_funds"), general);
    assert_eq!(
        sentence("expired_card", "a_code_of_2031"),
        sentence("card_declined", "expired_card")
    );
    assert_ne!(
        Failure::new(Some("processing_error".into()), None).message_for_buyer(),
        general
    );
}

#[test]
fn nothing_secret_is_printed() {
    let object = with(
        intent("succeeded"),
        "client_secret",
        "pi_1_secret_HUSH".into(),
    );
    let object = with(object, "receipt_email", "HUSH@example.com".into());
    let object = with(object, "description", "HUSH".into());
    let event = event(SUCCEEDED, object.clone());
    let outcome = Outcome::of(&event);
    assert!(matches!(&outcome, Outcome::Succeeded(payment) if payment.client_secret().is_some()));
    let mut printed = format!("{event:?} {event:#?} {outcome:?} {outcome:#?}");

    let verifier = Verifier::new([&secret("whsec_HUSH")]);
    printed += &format!("{verifier:?} {:?}", verifier.verify(BODY, b"t=1,v1=HUSH"));

    // serde_json quotes a value that it refuses.
    for field in ["amount", "currency", "status", "livemode", "object", "id"] {
        for value in [json!("HUSH"), json!(["HUSH"]), json!({"HUSH": "HUSH"})] {
            let outcome = Outcome::of(&self::event(SUCCEEDED, with(object.clone(), field, value)));
            if let Outcome::Unreadable(error) = &outcome {
                printed += &format!(
                    "{error} {error:?} {}",
                    std::error::Error::source(error).unwrap()
                );
            }
        }
    }
    for body in [
        r#"{"id":["HUSH"],"type":"x"}"#,
        r#"{"id":"x","type":"x","livemode":"HUSH"}"#,
        "HUSH",
        r#"{"object":"HUSH","id":"x","type":"x"}"#,
    ] {
        let error = Event::parse(body).unwrap_err();
        printed += &format!(
            "{error} {error:?} {}",
            std::error::Error::source(&error).unwrap()
        );
    }
    assert!(!printed.contains("HUSH"), "{printed}");
}

#[test]
fn an_error_says_which_field_is_missing() {
    let error = event(SUCCEEDED, without(intent("succeeded"), "currency"))
        .object::<Payment>()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the object of this payment_intent.succeeded event is not a Payment"
    );
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.starts_with("missing field `currency`"), "{source}");
}

proptest! {
    #[test]
    fn no_bytes_are_a_panic(body in prop::collection::vec(any::<u8>(), 0..300), header in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Verifier::new([&secret("whsec_x")]).verify(&body, &header);
        if let Ok(event) = Event::parse(body) {
            let _ = Outcome::of(&event);
        }
    }

    #[test]
    fn no_header_of_likely_parts_is_a_panic_or_a_match(header in "((t|v1|v0| |\t|[0-9]{1,25}|[0-9a-f]{64}|-|\\+)?(=|,)?){0,12}") {
        prop_assert!(Verifier::new([&secret("whsec_x")]).verify_ignoring_timestamp(BODY, header.as_bytes()).is_err());
    }

    /// One wrong byte never turns a payment that is on its way into a paid one.
    #[test]
    fn a_changed_byte_is_no_other_success(position in 0_usize..400, byte in any::<u8>()) {
        let body = event("payment_intent.processing", intent("processing")).body().to_owned();
        let mut body = body.into_bytes();
        let position = position % body.len();
        body[position] = byte;
        if let Ok(event) = Event::parse(body) {
            prop_assert!(!matches!(Outcome::of(&event), Outcome::Succeeded(_)));
        }
    }

    /// An event without its secrets is still the same event.
    #[test]
    fn an_event_without_secrets_is_the_same_event(object in any_json()) {
        let event = event("moon.rose", object);
        let stored = event.clone().without_client_secrets();
        prop_assert_eq!(stored.body(), event.body());
    }

    /// Any JSON, under any of our event types, is read or is unreadable.
    #[test]
    fn any_json_is_read_or_unreadable(object in any_json(), kind in 0_usize..6) {
        let event_type = [SUCCEEDED, "payment_intent.payment_failed", "charge.refunded", "refund.created", "charge.dispute.closed", "moon.rose"][kind];
        prop_assert!(!matches!(Outcome::of(&event(event_type, object)), Outcome::Succeeded(_)));
    }
}

/// Makes JSON that resembles Stripe's objects, but never a PaymentIntent that succeeded.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            "payment_intent",
            "refund",
            "charge",
            "dispute",
            "eur",
            "usd",
            "processing",
            "lost",
            "pi_1",
            ""
        ])
        .prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "id",
        "object",
        "amount",
        "currency",
        "status",
        "amount_received",
        "metadata",
        "charge",
        "refunded",
    ]);
    leaf.prop_recursive(3, 24, 9, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names.clone(), inner, 0..9).prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}
