use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const ALL: [(&str, &str); 5] = [
    ("STRIPE_WEBHOOK_SECRET", "whsec_1"),
    ("STRIPE_SECRET_KEY", "sk_test_1"),
    ("STRIPE_PUBLISHABLE_KEY", "pk_test_1"),
    ("STRIPE_API_BASE", "https://proxy.example"),
    ("STRIPE_JS_URL", "https://js.stripe.com/v3/"),
];

/// A configuration from the complete set with some variables changed or removed.
fn with(changes: &[(&str, Option<&str>)]) -> Result<Config, ConfigError> {
    let mut variables: HashMap<&str, &str> = ALL.into();
    for (name, value) in changes {
        match value {
            Some(value) => variables.insert(name, value),
            None => variables.remove(name),
        };
    }
    Config::from_vars(|name| variables.get(name).map(OsString::from))
}

fn secrets(config: &Config) -> Vec<&str> {
    config
        .webhook_secrets()
        .iter()
        .map(WebhookSecret::expose)
        .collect()
}

fn base(address: &str) -> Result<String, ConfigError> {
    let config = Config::new([WebhookSecret::new("whsec_1")?])?;
    Ok(config.with_api_base(address)?.api_base().to_owned())
}

#[test]
fn everything_set() {
    let config = with(&[]).unwrap();
    assert_eq!(secrets(&config), ["whsec_1"]);
    assert_eq!(config.secret_key().unwrap().expose(), "sk_test_1");
    assert_eq!(config.publishable_key().unwrap().expose(), "pk_test_1");
    assert_eq!(config.api_base(), "https://proxy.example");
    assert_eq!(config.stripe_js_url(), "https://js.stripe.com/v3/");
    assert_eq!(config.mode(), Some(Mode::Test));
    let (secret, publishable) = config.require_keys().unwrap();
    assert_eq!(
        (secret.expose(), publishable.expose()),
        ("sk_test_1", "pk_test_1")
    );
}

#[test]
fn addresses_default_to_stripes() {
    let config = with(&[("STRIPE_API_BASE", None), ("STRIPE_JS_URL", None)]).unwrap();
    assert_eq!(config.api_base(), "https://api.stripe.com");
    assert_eq!(
        config.stripe_js_url(),
        "https://js.stripe.com/endive/stripe.js"
    );
    assert_eq!(API_VERSION, "2026-09-30.endive");
    // The defaults pass the same checks as other values.
    assert_eq!(base(DEFAULT_API_BASE).as_deref(), Ok(DEFAULT_API_BASE));
    assert_eq!(
        base(DEFAULT_STRIPE_JS_URL).as_deref(),
        Ok(DEFAULT_STRIPE_JS_URL)
    );
}

#[test]
fn only_webhooks() {
    let config = with(&[
        ("STRIPE_SECRET_KEY", None),
        ("STRIPE_PUBLISHABLE_KEY", None),
    ])
    .unwrap();
    assert!(config.secret_key().is_none() && config.publishable_key().is_none());
    assert_eq!(config.mode(), None);
    assert_eq!(
        config.require_keys().unwrap_err(),
        ConfigError::Missing {
            variable: "STRIPE_SECRET_KEY"
        }
    );
}

#[test]
fn what_is_missing_is_named() {
    for variable in [
        "STRIPE_WEBHOOK_SECRET",
        "STRIPE_SECRET_KEY",
        "STRIPE_PUBLISHABLE_KEY",
    ] {
        let error = with(&[(variable, None)]).unwrap_err();
        assert_eq!(error, ConfigError::Missing { variable });
        assert_eq!(error.to_string(), format!("{variable} is not set"));
    }
    assert_eq!(
        Config::from_vars(|_| None).unwrap_err(),
        ConfigError::Missing {
            variable: "STRIPE_WEBHOOK_SECRET"
        }
    );
    assert_eq!(
        Config::new([]).unwrap_err(),
        ConfigError::Missing {
            variable: "STRIPE_WEBHOOK_SECRET"
        }
    );
}

#[test]
fn an_empty_variable_counts_as_absent() {
    let switches = [
        ("STRIPE_ALLOW_PLAIN_HTTP", ""),
        ("STRIPE_ALLOW_OTHER_HOSTS", ""),
    ];
    for (variable, _) in ALL.into_iter().chain(switches) {
        let absent = with(&[(variable, None)]);
        for value in ["", "  ", "\n"] {
            let empty = with(&[(variable, Some(value))]);
            assert_eq!(
                empty.map(|config| format!("{config:?}")),
                absent.clone().map(|config| format!("{config:?}")),
                "{variable}"
            );
        }
    }
    let config = with(&[
        ("STRIPE_SECRET_KEY", Some("")),
        ("STRIPE_PUBLISHABLE_KEY", None),
    ]);
    assert_eq!(config.unwrap().mode(), None);
}

#[test]
fn a_test_key_may_travel_over_plain_http_where_it_is_allowed() {
    const ELSEWHERE: &str = "http://sandbox:12111/";
    let refused = ConfigError::PlainHttp {
        variable: "STRIPE_API_BASE",
    };
    let asked = |allowed: Option<&'static str>, prefix: &str| {
        with(&[
            ("STRIPE_API_BASE", Some(ELSEWHERE)),
            ("STRIPE_ALLOW_PLAIN_HTTP", allowed),
            ("STRIPE_SECRET_KEY", Some(&format!("sk_{prefix}_1"))),
            ("STRIPE_PUBLISHABLE_KEY", Some(&format!("pk_{prefix}_1"))),
        ])
    };
    for allowed in ["1", "true", " 1 "] {
        let config = asked(Some(allowed), "test").unwrap();
        assert_eq!(config.api_base(), "http://sandbox:12111");
        assert_eq!(asked(Some(allowed), "live").unwrap_err(), refused);
    }
    for allowed in [None, Some("0"), Some("false"), Some("")] {
        assert_eq!(asked(allowed, "test").unwrap_err(), refused);
    }
    assert_eq!(
        asked(Some("yes"), "test").unwrap_err(),
        ConfigError::NotASwitch {
            variable: "STRIPE_ALLOW_PLAIN_HTTP"
        }
    );
    // Stripe.js differs: a buyer's browser loads it.
    let script = with(&[
        ("STRIPE_JS_URL", Some("http://sandbox:12111/v3/")),
        ("STRIPE_ALLOW_PLAIN_HTTP", Some("1")),
    ]);
    assert_eq!(
        script.unwrap_err(),
        ConfigError::PlainHttp {
            variable: "STRIPE_JS_URL"
        }
    );
}

#[test]
fn a_live_key_goes_to_other_hosts_only_where_it_is_allowed() {
    let asked = |prefix: &str, api: &str, script: &str, allowed: Option<&'static str>| {
        with(&[
            ("STRIPE_SECRET_KEY", Some(&format!("sk_{prefix}_1"))),
            ("STRIPE_PUBLISHABLE_KEY", Some(&format!("pk_{prefix}_1"))),
            ("STRIPE_API_BASE", Some(api)),
            ("STRIPE_JS_URL", Some(script)),
            ("STRIPE_ALLOW_OTHER_HOSTS", allowed),
        ])
        .map(|config| config.api_base().to_owned())
    };
    const API: &str = DEFAULT_API_BASE;
    const SCRIPT: &str = DEFAULT_STRIPE_JS_URL;
    for (api, script, variable) in [
        ("https://proxy.example", SCRIPT, "STRIPE_API_BASE"),
        ("http://127.0.0.1:12111", SCRIPT, "STRIPE_API_BASE"),
        ("https://api.stripe.com.example", SCRIPT, "STRIPE_API_BASE"),
        ("https://apistripe.com", SCRIPT, "STRIPE_API_BASE"),
        ("https://api.stripe.com:8443", SCRIPT, "STRIPE_API_BASE"),
        (API, "https://cdn.example/stripe.js", "STRIPE_JS_URL"),
        (API, "https://x.example/js.stripe.com/", "STRIPE_JS_URL"),
    ] {
        for refused in [None, Some("0"), Some("")] {
            assert_eq!(
                asked("live", api, script, refused),
                Err(ConfigError::OtherHost { variable }),
                "{api} {script}"
            );
        }
        assert_eq!(asked("live", api, script, Some("1")).as_deref(), Ok(api));
        assert_eq!(asked("test", api, script, None).as_deref(), Ok(api));
    }
    for api in [API, "https://API.stripe.com/", "https://api.stripe.com:443"] {
        assert!(asked("live", api, SCRIPT, None).is_ok(), "{api}");
        let query = "https://js.stripe.com/v3/?advancedFraudSignals=false";
        assert!(asked("live", api, query, None).is_ok());
    }
    assert_eq!(
        asked("live", API, SCRIPT, Some("yes")),
        Err(ConfigError::NotASwitch {
            variable: "STRIPE_ALLOW_OTHER_HOSTS"
        })
    );
}

#[test]
fn a_live_key_never_travels_over_plain_http_whatever_comes_first() {
    let bare = || Config::new([WebhookSecret::new("whsec_1").unwrap()]).unwrap();
    let keys = |config: Config| {
        config.with_keys(
            SecretKey::new("rk_live_1").unwrap(),
            PublishableKey::new("pk_live_1").unwrap(),
        )
    };
    let elsewhere = |config: Config| config.with_plain_http_api_base("http://sandbox:12111");
    let refused = ConfigError::PlainHttp {
        variable: "STRIPE_API_BASE",
    };
    assert_eq!(keys(elsewhere(bare()).unwrap()).unwrap_err(), refused);
    assert_eq!(elsewhere(keys(bare()).unwrap()).unwrap_err(), refused);
    // This machine and TLS work as before.
    for address in ["http://127.0.0.1:12111", "https://proxy.example"] {
        let config = bare().with_plain_http_api_base(address).unwrap();
        assert!(keys(config).is_ok(), "{address}");
    }
}

#[test]
fn several_webhook_secrets_in_their_order() {
    let config = with(&[("STRIPE_WEBHOOK_SECRET", Some(" whsec_new , whsec_old\n"))]).unwrap();
    assert_eq!(secrets(&config), ["whsec_new", "whsec_old"]);
    for value in [
        ",",
        " , ",
        "whsec_1,",
        ",whsec_1",
        "whsec_1,,whsec_2",
        "whsec_1, ,whsec_2",
    ] {
        let error = with(&[("STRIPE_WEBHOOK_SECRET", Some(value))]).unwrap_err();
        assert_eq!(
            error,
            ConfigError::Empty {
                variable: "STRIPE_WEBHOOK_SECRET"
            },
            "{value}"
        );
    }
    let error = with(&[("STRIPE_WEBHOOK_SECRET", Some("whsec_1,sk_test_1"))]).unwrap_err();
    assert!(matches!(
        error,
        ConfigError::WrongKind {
            variable: "STRIPE_WEBHOOK_SECRET",
            ..
        }
    ));
}

#[test]
fn keys_that_changed_places() {
    for (variable, value) in [
        ("STRIPE_SECRET_KEY", "pk_test_1"),
        ("STRIPE_SECRET_KEY", "whsec_1"),
        ("STRIPE_PUBLISHABLE_KEY", "sk_test_1"),
        ("STRIPE_WEBHOOK_SECRET", "sk_test_1"),
        ("STRIPE_WEBHOOK_SECRET", "pk_test_1"),
    ] {
        let error = with(&[(variable, Some(value))]).unwrap_err();
        assert!(
            matches!(error, ConfigError::WrongKind { variable: named, .. } if named == variable),
            "{error}"
        );
    }
}

#[test]
fn test_and_live_do_not_mix() {
    let differ = ConfigError::ModesDiffer {
        left: "STRIPE_SECRET_KEY",
        right: "STRIPE_PUBLISHABLE_KEY",
    };
    for (secret, publishable) in [
        ("sk_live_1", "pk_test_1"),
        ("sk_test_1", "pk_live_1"),
        ("rk_live_1", "pk_test_1"),
    ] {
        let changes = [
            ("STRIPE_SECRET_KEY", Some(secret)),
            ("STRIPE_PUBLISHABLE_KEY", Some(publishable)),
        ];
        assert_eq!(with(&changes).unwrap_err(), differ);
    }
    let live = [
        ("STRIPE_SECRET_KEY", Some("rk_live_1")),
        ("STRIPE_PUBLISHABLE_KEY", Some("pk_live_1")),
        ("STRIPE_API_BASE", None),
    ];
    assert_eq!(with(&live).unwrap().mode(), Some(Mode::Live));
    assert_eq!(
        differ.to_string(),
        "STRIPE_SECRET_KEY and STRIPE_PUBLISHABLE_KEY are of different modes: one is a test key and the other a live key"
    );
}

#[cfg(unix)]
#[test]
fn what_is_not_utf_8_is_malformed() {
    use std::os::unix::ffi::OsStringExt;

    for (variable, _) in ALL {
        let error = Config::from_vars(|name| match name {
            name if name == variable => Some(OsString::from_vec(b"sk_test_\xff".to_vec())),
            name => ALL
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into()),
        })
        .unwrap_err();
        assert_eq!(error, ConfigError::Malformed { variable });
    }
}

#[test]
fn white_space_around_values_is_dropped() {
    let config = with(&[
        ("STRIPE_SECRET_KEY", Some(" sk_test_1\n")),
        ("STRIPE_PUBLISHABLE_KEY", Some("pk_test_1\r\n")),
        ("STRIPE_API_BASE", Some(" https://proxy.example/ ")),
        ("STRIPE_JS_URL", Some("\thttps://js.example/v3/\n")),
    ])
    .unwrap();
    assert_eq!(config.secret_key().unwrap().expose(), "sk_test_1");
    assert_eq!(config.publishable_key().unwrap().expose(), "pk_test_1");
    assert_eq!(config.api_base(), "https://proxy.example");
    assert_eq!(config.stripe_js_url(), "https://js.example/v3/");
}

#[test]
fn addresses_are_tidied() {
    for (given, kept) in [
        ("https://api.stripe.com", "https://api.stripe.com"),
        ("https://api.stripe.com/", "https://api.stripe.com"),
        ("https://api.stripe.com//", "https://api.stripe.com"),
        (
            "HTTPS://API.Stripe.COM/Path/",
            "https://api.stripe.com/Path",
        ),
        (
            "https://proxy.example:8443/stripe",
            "https://proxy.example:8443/stripe",
        ),
        ("https://10.0.0.7", "https://10.0.0.7"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        (
            "https://stripe_mock.internal",
            "https://stripe_mock.internal",
        ),
    ] {
        assert_eq!(base(given).as_deref(), Ok(kept));
    }
}

#[test]
fn plain_http_stays_on_this_machine() {
    for address in [
        "http://localhost",
        "http://LOCALHOST:12111",
        "http://127.0.0.1:12111",
        "http://127.9.8.7",
        "http://[::1]",
        "http://[::1]:12111",
        "http://[0:0:0:0:0:0:0:1]:1",
    ] {
        assert!(base(address).is_ok(), "{address}");
    }
    for address in [
        "http://api.stripe.com",
        "HTTP://api.stripe.com",
        "http://10.0.0.7",
        "http://0.0.0.0",
        "http://192.168.1.1:80",
        "http://128.0.0.1",
        "http://[::]",
        "http://[2001:db8::1]",
        "http://[::ffff:10.0.0.1]",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "http://notlocalhost",
        "http://127.1",
    ] {
        assert_eq!(
            base(address),
            Err(ConfigError::PlainHttp {
                variable: "STRIPE_API_BASE"
            }),
            "{address}"
        );
        let error = with(&[("STRIPE_JS_URL", Some(address))]).unwrap_err();
        assert_eq!(
            error,
            ConfigError::PlainHttp {
                variable: "STRIPE_JS_URL"
            }
        );
    }
}

#[test]
fn stripe_js_may_have_a_query() {
    let js = |address: &str| with(&[("STRIPE_JS_URL", Some(address))]);
    for address in [
        "https://js.stripe.com/v3/?advancedFraudSignals=false",
        "http://localhost:8420/js.stripe.com/v3/?a=1&b=%20+c",
        "https://js.stripe.com/v3/?",
    ] {
        let config = js(&format!(" {address} ")).unwrap();
        assert_eq!(config.stripe_js_url(), address);
    }
    for address in [
        "https://js.stripe.com?a=1#b",
        "https://js.stripe.com/?a=1#b",
        "https://js.stripe.com/?a;script-src *",
        "https://js.stripe.com/?a?b",
        "https://js.stripe.com/?key=sk_test_1",
        "https://js.stripe.com/?whsec_1",
        "https://js.stripe.com/?\"><script>",
        "https://user@js.stripe.com/?a",
        "?a",
    ] {
        let refused = js(address).unwrap_err();
        assert!(refused.to_string().contains("STRIPE_JS_URL"), "{address}");
    }
    assert_eq!(
        js("http://js.stripe.com/?a").unwrap_err(),
        ConfigError::PlainHttp {
            variable: "STRIPE_JS_URL"
        }
    );
}

#[test]
fn what_is_no_address_is_refused() {
    for address in [
        "api.stripe.com",
        "//api.stripe.com",
        "/v1",
        "https:",
        "https://",
        "https:///v1",
        "https:api.stripe.com",
        "ftp://api.stripe.com",
        "file:///etc/passwd",
        "javascript://localhost",
        "https://user@api.stripe.com",
        "https://sk_test_1:@api.stripe.com",
        "http://localhost@evil.example",
        "http://localhost:80@evil.example",
        "https://api.stripe.com?x=1",
        "https://api.stripe.com/?x=1",
        "https://api.stripe.com/#top",
        "https://api.stripe.com#top",
        "https://api.stripe.com:",
        "https://api.stripe.com:0",
        "https://api.stripe.com:65536",
        "https://api.stripe.com:+80",
        "https://api.stripe.com:80:80",
        "https://api.stripe.com:8 0",
        "https://api..stripe.com",
        "https://.stripe.com",
        "https://api.stripe.com./",
        "https://[::1",
        "https://[::1]x",
        "https://[::1]:",
        "https://[::1%25lo]",
        "https://[127.0.0.1]",
        "https://::1",
        "https://bücher.example",
        "https://api.stripe.com/ /x",
        "https://api.stripe.com\\@evil.example",
        "http://localhost\\.evil.example",
        "https://js.example/x;script-src *",
        "https://js.example/x,y",
        "https://js.example/\"><script>",
        "https://js.example/'x'",
        "https://*.example",
        "https://js.example/a\nb",
        "https://js.example/a\u{0}",
    ] {
        assert_eq!(
            base(address),
            Err(ConfigError::NotAnAddress {
                variable: "STRIPE_API_BASE"
            }),
            "{address:?}"
        );
        // Stripe.js may have a query.
        if address.ends_with("?x=1") {
            continue;
        }
        let error = with(&[("STRIPE_JS_URL", Some(address))]).unwrap_err();
        assert_eq!(
            error,
            ConfigError::NotAnAddress {
                variable: "STRIPE_JS_URL"
            },
            "{address:?}"
        );
    }
    assert_eq!(
        base(" "),
        Err(ConfigError::Empty {
            variable: "STRIPE_API_BASE"
        })
    );
}

#[test]
fn every_other_character_in_a_path_is_refused() {
    for byte in 0..=0x7f_u8 {
        let allowed = byte.is_ascii_alphanumeric() || "-._~/%+:@".contains(char::from(byte));
        let address = format!("https://js.example/a{}b", char::from(byte));
        assert_eq!(base(&address).is_ok(), allowed, "{address:?}");
    }
}

#[test]
fn debug_shows_the_mode_and_no_key() {
    let config = with(&[]).unwrap();
    assert_eq!(
        format!("{config:?}"),
        "Config { mode: Some(Test), webhook_secrets: [[redacted]], api_base: \"https://proxy.example\", \
         stripe_js_url: \"https://js.stripe.com/v3/\", .. }"
    );
}

#[test]
fn the_own_account_is_known_by_its_keys() {
    let rest = "x".repeat(82);
    let secret_key = format!("sk_test_51H8AbCdEfGhIjKlM{rest}");
    let publishable_key = format!("pk_test_51H8AbCdEfGhIjKlM{rest}");
    let secret = ("STRIPE_SECRET_KEY", Some(secret_key.as_str()));
    let publishable = ("STRIPE_PUBLISHABLE_KEY", Some(publishable_key.as_str()));
    for keys in [&[secret, publishable][..], &[secret], &[publishable]] {
        let config = with(keys).unwrap();
        assert!(config.is_of_keys("acct_1H8AbCdEfGhIjKlM"));
        for other in [
            "acct_1H8AbCdEfGhIjKlN",
            "acct_1H8",
            "acct_",
            "",
            "1H8AbCdEfGhIjKlM",
        ] {
            assert!(!config.is_of_keys(other), "{other}");
        }
    }
    let old = with(&[]).unwrap();
    assert!(!old.is_of_keys("acct_1H8AbCdEfGhIjKlM"));
}

#[test]
fn the_process_environment_is_read() {
    // A test cannot set variables safely, so this only compares the two functions.
    let expected =
        Config::from_vars(|name| std::env::var_os(name)).map(|config| format!("{config:?}"));
    assert_eq!(
        Config::from_env().map(|config| format!("{config:?}")),
        expected
    );
}

proptest! {
    #[test]
    fn no_error_holds_a_value(
        index in 0..ALL.len(),
        prefix in "|sk_live_|sk_|rk_test_|pk_live_|whsec_|,|https://|http://|http://localhost@|https://x:",
        junk in "\\PC{0,8}",
    ) {
        let canary = "zq9canary";
        let value = format!("{prefix}{canary}{junk}");
        let (variable, _) = ALL[index];
        if let Err(error) = with(&[(variable, Some(&value))]) {
            let printed = format!("{error} {error:?}");
            prop_assert!(!printed.contains(canary), "{}", printed);
            prop_assert!(error.to_string().contains(variable));
        }
    }

    #[test]
    fn any_text_as_an_address_is_judged_without_a_panic(address in "\\PC*|https?://[a-z0-9.:@\\[\\]/%?#-]{0,20}") {
        if let Ok(kept) = base(&address) {
            prop_assert!(kept.starts_with("https://") || kept.starts_with("http://"));
            prop_assert!(!kept.contains(['?', '#', ';', ',', '\'', '"', '<', '\\', ' ']));
            // An accepted value is accepted again, and does not change.
            prop_assert_eq!(base(&kept), Ok(kept.clone()));
        }
    }
}
