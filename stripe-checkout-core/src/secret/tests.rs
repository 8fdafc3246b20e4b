use proptest::prelude::*;

use super::*;

/// Fails to compile if the type has the trait, because then there are two ways to call `probe`.
macro_rules! assert_lacks {
    ($trait:path: $($type:ty),*) => {
        const _: fn() = || {
            trait Probe<A> { fn probe() {} }
            impl<T: ?Sized> Probe<()> for T {}
            struct Has;
            impl<T: ?Sized + $trait> Probe<Has> for T {}
            $(let _ = <$type as Probe<_>>::probe;)*
        };
    };
}

assert_lacks!(fmt::Display: SecretKey, PublishableKey, WebhookSecret, ClientSecret);
assert_lacks!(serde::Serialize: SecretKey, PublishableKey, WebhookSecret, ClientSecret);
assert_lacks!(std::ops::Deref: SecretKey, PublishableKey, WebhookSecret, ClientSecret);
assert_lacks!(AsRef<str>: SecretKey, PublishableKey, WebhookSecret, ClientSecret);

const CANARY: &str = "Zq9canary";

fn found(error: ConfigError) -> (&'static str, &'static str) {
    match error {
        ConfigError::WrongKind {
            variable, found, ..
        } => (variable, found),
        other => panic!("{other:?}"),
    }
}

#[test]
fn secret_and_restricted_keys_of_any_length() {
    for (key, mode) in [
        ("sk_test_123", Mode::Test),
        ("sk_test_1", Mode::Test),
        ("sk_live_51H8x", Mode::Live),
        ("rk_test_abc", Mode::Test),
        ("rk_live_abc", Mode::Live),
        ("sk_test_sandbox-1.x", Mode::Test),
    ] {
        let secret = SecretKey::new(key).unwrap();
        assert_eq!((secret.expose(), secret.mode()), (key, mode));
    }
    let long = format!("sk_live_{}", "a".repeat(1000));
    assert_eq!(SecretKey::new(long.as_str()).unwrap().expose(), long);
}

#[test]
fn publishable_keys() {
    for (key, mode) in [("pk_test_123", Mode::Test), ("pk_live_123", Mode::Live)] {
        let publishable = PublishableKey::new(key).unwrap();
        assert_eq!((publishable.expose(), publishable.mode()), (key, mode));
    }
}

#[test]
fn webhook_secrets_need_no_prefix_but_are_no_key() {
    for text in [
        "whsec_123",
        "whsec_/+=",
        "anything-else",
        "my_secret_of_1990",
        "test",
    ] {
        assert_eq!(WebhookSecret::new(text).unwrap().expose(), text);
    }
    for (text, name) in [
        ("sk_test_1", "a secret key"),
        ("sk_live_1", "a secret key"),
        ("rk_test_1", "a restricted key"),
        ("pk_live_1", "a publishable key"),
        ("sk_1", "a key that is neither a test nor a live one"),
        ("rk_1", "a key that is neither a test nor a live one"),
        ("pk_1", "a key that is neither a test nor a live one"),
        (
            "we_1N",
            "the id of a webhook endpoint, which is not its secret",
        ),
        ("pi_1_secret_2", "a client secret"),
        ("whsec_", "a prefix with nothing behind it"),
    ] {
        assert_eq!(
            found(WebhookSecret::new(text).unwrap_err()),
            ("STRIPE_WEBHOOK_SECRET", name),
            "{text}"
        );
    }
}

#[test]
fn a_secret_key_is_no_other_kind() {
    for (text, name) in [
        ("pk_test_1", "a publishable key"),
        ("pk_live_1", "a publishable key"),
        ("whsec_1", "a webhook signing secret"),
        ("pi_1_secret_2", "a client secret"),
        ("seti_1_secret_2", "a client secret"),
        ("cs_test_1_secret_2", "a client secret"),
        ("sk_org_live_1", "an organization's key"),
        ("sk_test_", "a prefix with nothing behind it"),
        ("sk_", "a prefix with nothing behind it"),
        ("sk_123", "a key that is neither a test nor a live one"),
        ("sk_Test_123", "a key that is neither a test nor a live one"),
        ("SK_TEST_123", "something else"),
        ("hunter2", "something else"),
        ("xsk_test_1", "something else"),
    ] {
        assert_eq!(
            found(SecretKey::new(text).unwrap_err()),
            ("STRIPE_SECRET_KEY", name),
            "{text}"
        );
    }
    assert_eq!(
        SecretKey::new("pk_test_1").unwrap_err().to_string(),
        "STRIPE_SECRET_KEY holds a publishable key; it needs a secret key (sk_test_… or sk_live_…) or a restricted key (rk_test_… or rk_live_…)"
    );
}

#[test]
fn a_publishable_key_is_never_a_secret_one() {
    for (text, name) in [
        ("sk_test_1", "a secret key"),
        ("sk_live_1", "a secret key"),
        ("rk_live_1", "a restricted key"),
        ("whsec_1", "a webhook signing secret"),
        ("pk_live_", "a prefix with nothing behind it"),
        ("pk_1", "a key that is neither a test nor a live one"),
        ("acct_1", "something else"),
    ] {
        assert_eq!(
            found(PublishableKey::new(text).unwrap_err()),
            ("STRIPE_PUBLISHABLE_KEY", name),
            "{text}"
        );
    }
}

#[test]
fn empty_and_malformed_name_the_variable() {
    for text in ["", " ", "\n", "\t \r\n"] {
        assert_eq!(
            SecretKey::new(text),
            Err(ConfigError::Empty {
                variable: "STRIPE_SECRET_KEY"
            })
        );
        assert_eq!(
            PublishableKey::new(text),
            Err(ConfigError::Empty {
                variable: "STRIPE_PUBLISHABLE_KEY"
            })
        );
        assert_eq!(
            WebhookSecret::new(text),
            Err(ConfigError::Empty {
                variable: "STRIPE_WEBHOOK_SECRET"
            })
        );
    }
    for junk in [
        "1 2",
        "1\n2",
        "1\t2",
        "1\u{0}2",
        "1\u{7f}2",
        "1é",
        "1\u{200b}",
        "“1”",
    ] {
        assert_eq!(
            SecretKey::new(format!("sk_test_{junk}")),
            Err(ConfigError::Malformed {
                variable: "STRIPE_SECRET_KEY"
            })
        );
        assert_eq!(
            PublishableKey::new(format!("pk_test_{junk}")),
            Err(ConfigError::Malformed {
                variable: "STRIPE_PUBLISHABLE_KEY"
            })
        );
        assert_eq!(
            WebhookSecret::new(format!("whsec_{junk}")),
            Err(ConfigError::Malformed {
                variable: "STRIPE_WEBHOOK_SECRET"
            })
        );
    }
}

#[test]
fn white_space_around_is_dropped() {
    assert_eq!(
        SecretKey::new(" sk_test_1\r\n").unwrap().expose(),
        "sk_test_1"
    );
    assert_eq!(
        PublishableKey::new("\tpk_test_1 ").unwrap().expose(),
        "pk_test_1"
    );
    assert_eq!(WebhookSecret::new("whsec_1\n").unwrap().expose(), "whsec_1");
    // Stripe's secret stays unchanged.
    assert_eq!(
        ClientSecret::new(" pi_1_secret_2 ").expose(),
        " pi_1_secret_2 "
    );
}

#[test]
fn debug_is_redacted() {
    assert_eq!(
        format!("{:?}", SecretKey::new("sk_test_1").unwrap()),
        "[redacted]"
    );
    assert_eq!(
        format!("{:#?}", PublishableKey::new("pk_test_1").unwrap()),
        "[redacted]"
    );
    assert_eq!(
        format!("{:?}", WebhookSecret::new("whsec_1").unwrap()),
        "[redacted]"
    );
    assert_eq!(
        format!("{:?}", Some(ClientSecret::new("pi_1_secret_2"))),
        "Some([redacted])"
    );
}

#[test]
fn equality_is_that_of_the_whole_text() {
    let key = |text: &str| WebhookSecret::new(text).unwrap();
    assert_eq!(key("whsec_12"), key("whsec_12"));
    for other in ["whsec_13", "whsec_1", "whsec_123", "xhsec_12"] {
        assert_ne!(key("whsec_12"), key(other));
    }
    assert_eq!(SecretKey::new("sk_test_1"), SecretKey::new(" sk_test_1"));
    assert_ne!(SecretKey::new("sk_test_1"), SecretKey::new("rk_test_1"));
    assert_ne!(
        PublishableKey::new("pk_test_1"),
        PublishableKey::new("pk_test_2")
    );
}

#[test]
fn a_client_secret_matches_itself_only() {
    let secret = ClientSecret::new("pi_1_secret_2");
    assert!(secret.matches("pi_1_secret_2"));
    for presented in [
        "",
        "pi_1_secret_",
        "pi_1_secret_3",
        "pi_1_secret_22",
        "PI_1_SECRET_2",
    ] {
        assert!(!secret.matches(presented), "{presented}");
    }
    assert_eq!(secret, secret.clone());
    assert_ne!(secret, ClientSecret::new("pi_1_secret_3"));
}

#[test]
fn a_client_secret_is_read_from_json() {
    let secret: ClientSecret = serde_json::from_str("\"pi_1_secret_2\"").unwrap();
    assert_eq!(secret.expose(), "pi_1_secret_2");
    assert_eq!(
        serde_json::from_str::<Option<ClientSecret>>("null").unwrap(),
        None
    );
    assert!(serde_json::from_str::<ClientSecret>("3").is_err());
}

#[test]
fn modes() {
    assert_eq!(
        (Mode::from_livemode(true), Mode::from_livemode(false)),
        (Mode::Live, Mode::Test)
    );
    assert!(Mode::Live.is_live() && !Mode::Test.is_live());
    assert_eq!(format!("{} {}", Mode::Test, Mode::Live), "test live");
}

proptest! {
    #[test]
    fn nothing_that_is_printed_holds_the_text(
        prefix in "|sk_test_|sk_live_|sk_|rk_live_|pk_test_|whsec_|we_|pi_1_secret_",
        junk in "\\PC{0,10}",
    ) {
        let text = format!("{prefix}{CANARY}{junk}");
        let printed = [
            format!("{:?}", SecretKey::new(text.as_str())),
            format!("{:?}", PublishableKey::new(text.as_str())),
            format!("{:?}", WebhookSecret::new(text.as_str())),
            format!("{:?}", ClientSecret::new(text.as_str())),
            SecretKey::new(text.as_str()).map_err(|error| error.to_string()).err().unwrap_or_default(),
            PublishableKey::new(text.as_str()).map_err(|error| error.to_string()).err().unwrap_or_default(),
            WebhookSecret::new(text.as_str()).map_err(|error| error.to_string()).err().unwrap_or_default(),
        ];
        for line in printed {
            prop_assert!(!line.contains(CANARY), "{}", line);
        }
    }

    #[test]
    fn no_text_fits_two_kinds(text in "(sk|rk|pk|whsec)_(test_|live_|)[a-zA-Z0-9]{0,5}") {
        let fits = [
            SecretKey::new(text.as_str()).is_ok(),
            PublishableKey::new(text.as_str()).is_ok(),
            WebhookSecret::new(text.as_str()).is_ok(),
        ];
        prop_assert!(fits.into_iter().filter(|fits| *fits).count() <= 1);
    }
}
