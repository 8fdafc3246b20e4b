use super::*;
use crate::amount::Amount;
use crate::build_error::BuildError;
use crate::currency::Currency;

const JS: &str = "https://js.stripe.com/endive/stripe.js";
const HOSTILE: &str = r#"<script>alert(1)</script>" onload='x' {{ shop }} & Söhne"#;

fn pages() -> Pages {
    Pages::new(Vec::new()).expect("our own templates")
}

fn overridden(name: &str, source: &str) -> Result<Pages, BuildError> {
    Pages::new(vec![(name.to_owned(), source.to_owned())])
}

fn checkout<'a>(shop: &'a str, lines: &'a [LineView<'a>]) -> CheckoutView<'a> {
    let amount = Amount::new(1999, Currency::EUR);
    CheckoutView {
        shop,
        amount,
        lines,
        publishable_key: "pk_test_x",
        stripe_account: None,
        stripe_js_url: JS,
        order_url: None,
        back_url: None,
        saved_cards: false,
        capture_method: "automatic",
        setup_future_usage: None,
        on_behalf_of: None,
    }
}

fn complete(state: CompleteState) -> CompleteView<'static> {
    CompleteView {
        shop: "Shop",
        state,
        amount: None,
        reference: None,
        message: None,
        order_url: None,
        retry_url: None,
    }
}

/// The outcomes that are not hidden.
fn shown(page: &str) -> Vec<&str> {
    let sections = page.split("<section data-outcome=\"").skip(1);
    sections
        .filter_map(|section| section.split_once('>'))
        .filter_map(|(tag, _)| tag.strip_suffix('"'))
        .collect()
}

#[test]
fn the_form_has_the_ids_of_stripes_tutorials() {
    let page = pages().checkout(&checkout("Shop", &[])).expect("page");
    for id in [
        "payment-form",
        "payment-element",
        "submit",
        "payment-message",
    ] {
        assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
    }
}

#[test]
fn the_total_is_there_as_text_and_as_exact_parts() {
    let page = pages().checkout(&checkout("Shop", &[])).expect("page");
    assert!(page.contains(r#"<data class="money" value="1999" data-currency="eur" data-decimals="2">19.99 EUR</data>"#), "{page}");
}

#[test]
fn lines_show_their_quantity_only_above_one() {
    let line = |name, quantity| LineView {
        name,
        quantity,
        amount: Amount::new(500, Currency::JPY),
    };
    let page = pages()
        .checkout(&checkout("Shop", &[line("Mug", 1), line("Tea", 3)]))
        .expect("page");
    assert!(page.contains("Mug</span>"), "{page}");
    assert!(page.contains("Quantity 3"), "{page}");
    assert!(!page.contains("Quantity 1<"), "{page}");
    assert!(page.contains("500 JPY</data>"), "{page}");
}

#[test]
fn a_long_order_is_folded_on_small_screens() {
    let line = LineView {
        name: "Mug",
        quantity: 1,
        amount: Amount::new(500, Currency::EUR),
    };
    assert!(
        pages()
            .checkout(&checkout("Shop", &[line; 3]))
            .expect("page")
            .contains("summary-toggle")
    );
    assert!(
        !pages()
            .checkout(&checkout("Shop", &[line; 2]))
            .expect("page")
            .contains("summary-toggle")
    );
}

#[test]
fn only_test_keys_show_the_badge() {
    let mut view = checkout("Shop", &[]);
    assert!(pages().checkout(&view).expect("page").contains("Test mode"));
    view.publishable_key = "pk_live_x";
    assert!(!pages().checkout(&view).expect("page").contains("Test mode"));
}

#[test]
fn hostile_names_stay_text() {
    let lines = [LineView {
        name: HOSTILE,
        quantity: 1,
        amount: Amount::new(1, Currency::EUR),
    }];
    let view = CheckoutView {
        publishable_key: HOSTILE,
        stripe_account: Some(HOSTILE),
        order_url: Some(HOSTILE),
        back_url: Some(HOSTILE),
        ..checkout(HOSTILE, &lines)
    };
    let amount = Some(Amount::new(1, Currency::EUR));
    let outcome = CompleteView {
        shop: HOSTILE,
        amount,
        reference: Some(HOSTILE),
        message: Some(HOSTILE),
        order_url: Some(HOSTILE),
        retry_url: Some(HOSTILE),
        ..complete(CompleteState::RequiresPaymentMethod)
    };
    let problem = ProblemView {
        shop: HOSTILE,
        place: Place::Checkout,
        code: "code",
        title: HOSTILE,
        message: HOSTILE,
        order_url: Some(HOSTILE),
        back_url: Some(HOSTILE),
    };
    let pages = pages();
    for page in [
        pages.checkout(&view),
        pages.complete(&outcome),
        pages.problem(&problem),
    ] {
        let page = page.expect("page");
        assert!(!page.contains("<script>"), "{page}");
        assert!(!page.contains("onload='"), "{page}");
        assert!(!page.contains(r#"" onload"#), "{page}");
        assert!(page.contains("{{ shop }} &amp; Söhne"), "{page}");
    }
}

#[test]
fn no_page_holds_a_script_or_a_style_or_an_absolute_path() {
    let pages = pages();
    let problem = ProblemView {
        shop: "Shop",
        place: Place::Complete,
        code: "code",
        title: "Title",
        message: "Message.",
        order_url: None,
        back_url: None,
    };
    let rendered = [
        pages.checkout(&checkout("Shop", &[])),
        pages.complete(&complete(CompleteState::Processing)),
        pages.problem(&problem),
    ];
    for page in rendered {
        let page = page.expect("page");
        assert!(!page.contains("<style"), "{page}");
        assert!(!page.contains(" style="), "{page}");
        assert!(!page.contains("<script>"), "{page}");
        assert!(
            !page.contains("src=\"/") && !page.contains("href=\"/"),
            "{page}"
        );
    }
}

#[test]
fn one_outcome_is_shown_in_each_state() {
    let pages = pages();
    for (state, name) in [
        (CompleteState::Succeeded, "succeeded"),
        (CompleteState::Processing, "processing"),
        (
            CompleteState::RequiresPaymentMethod,
            "requires_payment_method",
        ),
        (CompleteState::RequiresAction, "requires_action"),
        (CompleteState::RequiresCapture, "requires_capture"),
        (CompleteState::Canceled, "canceled"),
        (CompleteState::Unknown, "unknown"),
    ] {
        let page = pages.complete(&complete(state)).expect("page");
        assert_eq!(shown(&page), [name]);
        assert!(page.contains(&format!("data-state=\"{name}\"")), "{page}");
    }
}

#[test]
fn another_try_is_offered_only_where_one_makes_sense() {
    let pages = pages();
    let page = |state| {
        pages
            .complete(&CompleteView {
                retry_url: Some("../checkout?order=1"),
                ..complete(state)
            })
            .expect("page")
    };
    assert!(
        page(CompleteState::RequiresPaymentMethod)
            .contains("id=\"try-again\" class=\"button\" href=\"..&#x2f;checkout?order=1\">")
    );
    for state in [
        CompleteState::Succeeded,
        CompleteState::Processing,
        CompleteState::RequiresCapture,
        CompleteState::Unknown,
    ] {
        assert!(
            page(state).contains("href=\"..&#x2f;checkout?order=1\" hidden>"),
            "{state:?}"
        );
    }
}

#[test]
fn the_reason_of_a_failure_is_shown() {
    let view = CompleteView {
        message: Some("Your card was declined."),
        ..complete(CompleteState::RequiresPaymentMethod)
    };
    assert!(
        pages()
            .complete(&view)
            .expect("page")
            .contains("<p data-message>Your card was declined.</p>")
    );
}

#[test]
fn a_problem_finds_its_style_sheet_from_both_addresses() {
    let pages = pages();
    let page = |place| {
        pages
            .problem(&ProblemView {
                shop: "Shop",
                place,
                code: "code",
                title: "Title",
                message: "M.",
                order_url: None,
                back_url: None,
            })
            .expect("page")
    };
    assert!(page(Place::Checkout).contains("href=\"checkout&#x2f;checkout.css\""));
    assert!(page(Place::Complete).contains("href=\"checkout.css\""));
}

#[test]
fn a_merchant_replaces_a_template_and_includes_parts() {
    let overrides = vec![
        (
            "problem.html".to_owned(),
            "<p>{% include \"logo.html\" %}{{ message }}</p>".to_owned(),
        ),
        ("logo.html".to_owned(), "<b>{{ shop }}</b> ".to_owned()),
    ];
    let pages = Pages::new(overrides).expect("pages");
    let view = ProblemView {
        shop: "A & B",
        place: Place::Checkout,
        code: "code",
        title: "Title",
        message: "Gone.",
        order_url: None,
        back_url: None,
    };
    assert_eq!(
        pages.problem(&view).expect("page"),
        "<p><b>A &amp; B</b> Gone.</p>"
    );
}

#[test]
fn a_broken_template_is_found_at_start() {
    for (name, source) in [
        ("problem.html", "{% if %}"),
        ("problem.html", "{{ mesage }}"),
        ("problem.html", "{{ message|shout }}"),
        ("problem.html", "{% include \"logo.html\" %}"),
        (
            "complete.html",
            "{% if state == \"canceled\" %}{{ oops }}{% endif %}",
        ),
        ("checkout.html", "<form id=\"payment-form\"></form>"),
        ("part.html", "{{"),
    ] {
        match overridden(name, source) {
            Err(BuildError::Template { name: named, .. }) => assert_eq!(named, name),
            Err(other) => panic!("{source}: {other}"),
            Ok(_) => panic!("{source}: accepted"),
        }
    }
}

#[test]
fn a_missing_id_is_named() {
    let Err(BuildError::Template { source, .. }) =
        overridden("checkout.html", "<form id=\"payment-form\"></form>")
    else {
        panic!("accepted")
    };
    assert!(source.to_string().contains("payment-element"), "{source}");
}

/// Each name also stands elsewhere in the page: in the address of a script, a class, a type.
#[test]
fn a_name_elsewhere_in_the_page_is_no_id() {
    for (template, source, ids) in [
        (
            "checkout.html",
            include_str!("checkout.html"),
            FORM_IDS.into_iter().chain(ORDER_IDS).collect::<Vec<_>>(),
        ),
        ("setup.html", include_str!("setup.html"), FORM_IDS.to_vec()),
    ] {
        for id in ids {
            let attribute = format!(" id=\"{id}\"");
            assert!(source.contains(&attribute), "{template}: {id}");
            let without = source.replace(&attribute, &format!(" data-id=\"{id}\""));
            let Err(BuildError::Template { source, .. }) = overridden(template, &without) else {
                panic!("{template} without {id}: accepted")
            };
            let told = source.to_string();
            assert!(told.contains(&format!("id=\"{id}\"")), "{id}: {told}");
        }
    }
}

#[test]
fn a_missing_attribute_is_named() {
    for name in ["data-capture-method", "data-setup-future-usage"] {
        let page = include_str!("checkout.html");
        let without = page.replace(&format!(" {name}="), &format!(" data-old{name}="));
        assert_ne!(page, without, "{name}");
        let Err(BuildError::Template { source, .. }) = overridden("checkout.html", &without) else {
            panic!("without {name}: accepted")
        };
        assert!(source.to_string().contains(name), "{name}: {source}");
    }
}

#[test]
fn an_attribute_is_read_as_html_allows() {
    for page in [
        "<p id=\"a\" class=b>",
        "<p id='a'>",
        "<p\n  id = \"a\">",
        "<p id=a>",
        "<p class=b id=a hidden>",
    ] {
        assert_eq!(
            attribute_values(page, "id").collect::<Vec<_>>(),
            ["a"],
            "{page}"
        );
    }
    for page in ["<p data-id=\"a\">", "<p class=\"id\">", "<p>id</p>"] {
        assert_eq!(attribute_values(page, "id").next(), None, "{page}");
    }
}
