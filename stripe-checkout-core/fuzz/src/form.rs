//! Nested forms: the sandbox's parser against a slow one, and the library's encoder against both.

use std::collections::BTreeMap;

use stripe_checkout_core::{
    Amount, Currency, Metadata,
    requests::{CaptureMethod, IntentParams, PaymentRequest, SetupFutureUsage},
};

use crate::sandbox_form::{Node, Tree, decode};

const MAX_DEPTH: usize = 10;

/// Parses a form, writes what it found, and parses that again. Its metadata make a request of the
/// library's, whose form is parsed too.
pub fn check(input: &[u8]) {
    let found = decode(input).ok();
    let expected = Slow::decode(input).map(Slow::into_tree);
    assert_eq!(found, expected);
    let Some(tree) = found else {
        return;
    };
    let mut pairs = Vec::new();
    flatten("", &tree, &mut pairs);
    let written = serde_html_form::to_string(&pairs).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        decode(written.as_bytes()).ok(),
        Some(tree.clone()),
        "{written}"
    );
    check_request(&tree);
}

fn flatten(prefix: &str, tree: &Tree, pairs: &mut Vec<(String, String)>) {
    for (name, node) in tree {
        let name = match prefix {
            "" => name.clone(),
            prefix => format!("{prefix}[{name}]"),
        };
        match node {
            Node::Text(text) => pairs.push((name, text.clone())),
            Node::Group(tree) => flatten(&name, tree, pairs),
        }
    }
}

/// The text of a parameter, such as `amount` or `transfer_data[destination]`.
fn text_at<'a>(tree: &'a Tree, name: &str) -> Option<&'a str> {
    let (group, name) = match name.split_once('[') {
        Some((group, name)) => match tree.get(group) {
            Some(Node::Group(group)) => (group, name.trim_end_matches(']')),
            _ => return None,
        },
        None => (tree, name),
    };
    match group.get(name) {
        Some(Node::Text(text)) => Some(text),
        _ => None,
    }
}

/// Builds a payment of the parameters that are there, and reads it as Stripe would.
fn check_request(tree: &Tree) {
    let text = |name: &str| text_at(tree, name);
    let mut metadata = Metadata::new();
    if let Some(Node::Group(group)) = tree.get("metadata") {
        for (key, node) in group {
            if let Node::Text(value) = node {
                // A key that Stripe would refuse is left out.
                let _ = metadata.insert(key, value);
            }
        }
    }
    let minor = text("amount").and_then(|amount| amount.parse().ok());
    let amount = Amount::new(minor.unwrap_or(1), Currency::EUR);
    let plain = IntentParams::new(amount).metadata(metadata.clone());
    check_form(plain.create_form().ok(), amount, &metadata, None);
    check_form(plain.update_form().ok(), amount, &metadata, None);

    let mut request = PaymentRequest::new(text("order").unwrap_or("order-1"), amount);
    request = request.metadata(metadata.clone());
    let (description, address) = (text("description"), text("receipt_email"));
    if let Some(description) = description {
        request = request.description(description);
    }
    if let Some(address) = address {
        request = request.receipt_email(address);
    }
    if let Some(suffix) = text("statement_descriptor_suffix") {
        request = request.statement_descriptor_suffix(suffix);
    }
    if let Some(customer) = text("customer") {
        request = request.customer(customer);
    }
    if let Some(account) = text("on_behalf_of") {
        request = request.on_behalf_of(account);
    }
    if let Some(account) = text("transfer_data[destination]") {
        request = request.transfer_destination(account);
    }
    if let Some(fee) = text("application_fee_amount").and_then(|fee| fee.parse().ok()) {
        request = request.application_fee_amount(Amount::new(fee, Currency::EUR));
    }
    if text("capture_method") == Some("manual") {
        request = request.capture_method(CaptureMethod::Manual);
    }
    if text("setup_future_usage") == Some("off_session") {
        request = request.setup_future_usage(SetupFutureUsage::OffSession);
    }
    if let Some(Node::Group(lines)) = tree.get("lines") {
        for name in lines.keys() {
            request = request.line(name, 1, amount);
        }
    }
    if request.validate(u64::MAX).is_err() {
        return;
    }
    if let Ok(params) = request.intent_params("fuzz") {
        // The library sets these itself.
        let is_own = |key: &str| key == Metadata::ORDER_ID || key.starts_with("checkout_");
        let own: Vec<String> = metadata.iter().map(|(key, _)| key.to_owned()).collect();
        for key in own.iter().filter(|key| is_own(key)) {
            metadata.remove(key);
        }
        let _ = metadata.insert(Metadata::ORDER_ID, request.reference());
        let form = params.create_form().ok();
        let sent = form.as_ref().and_then(|form| decode(form.as_bytes()).ok());
        check_form(form, amount, &metadata, description);
        for name in [
            "receipt_email",
            "statement_descriptor_suffix",
            "customer",
            "on_behalf_of",
            "transfer_data[destination]",
        ] {
            if let Some(sent) = &sent {
                assert_eq!(text_at(sent, name), text(name), "{name}");
            }
        }
    }
}

fn check_form(
    form: Option<String>,
    amount: Amount,
    metadata: &Metadata,
    description: Option<&str>,
) {
    let Some(form) = form else {
        assert!(i64::try_from(amount.minor()).is_err());
        return;
    };
    assert!(form.bytes().all(|byte| byte.is_ascii_graphic()), "{form}");
    let Ok(tree) = decode(form.as_bytes()) else {
        panic!("unreadable: {form}");
    };
    let text = |tree: &Tree, name: &str| match tree.get(name) {
        Some(Node::Text(text)) => Some(text.clone()),
        _ => None,
    };
    assert_eq!(text(&tree, "amount"), Some(amount.minor().to_string()));
    assert_eq!(text(&tree, "currency").as_deref(), Some("eur"));
    if let Some(description) = description {
        assert_eq!(text(&tree, "description").as_deref(), Some(description));
    }
    let empty = Tree::new();
    let sent = match tree.get("metadata") {
        Some(Node::Group(sent)) => sent,
        None => &empty,
        other => panic!("{other:?}"),
    };
    for (key, value) in metadata.iter() {
        assert_eq!(text(sent, key).as_deref(), Some(value), "{key:?} in {form}");
    }
}

/// A tree whose parser searches where the sandbox's counts.
enum Slow {
    Text(String),
    Group(Vec<(String, Slow)>),
}

impl Slow {
    fn decode(input: &[u8]) -> Option<Self> {
        let mut root = Vec::new();
        for pair in input.split(|byte| *byte == b'&') {
            let end = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = match end {
                Some(end) => (&pair[..end], &pair[end + 1..]),
                None => (pair, &pair[..0]),
            };
            let (name, value) = (text(name), text(value));
            if name.is_empty() && value.is_empty() {
                continue;
            }
            let names = names(&name)?;
            let (last, groups) = names.split_last()?;
            let mut group = &mut root;
            for name in groups {
                let name = resolve(group, name)?;
                let place = group.iter().position(|(known, _)| *known == name);
                let place = place.unwrap_or_else(|| {
                    group.push((name, Self::Group(Vec::new())));
                    group.len() - 1
                });
                group = match &mut group[place].1 {
                    Self::Group(group) => group,
                    Self::Text(_) => return None,
                };
            }
            let name = resolve(group, last)?;
            match group.iter_mut().find(|(known, _)| *known == name) {
                Some((_, Self::Text(known))) => *known = value,
                Some((_, Self::Group(_))) => return None,
                None => group.push((name, Self::Text(value))),
            }
        }
        Some(Self::Group(root))
    }

    fn into_tree(self) -> Tree {
        let group = match self {
            Self::Group(group) => group,
            Self::Text(_) => Vec::new(),
        };
        let nodes = group.into_iter().map(|(name, slow)| match slow {
            Self::Text(text) => (name, Node::Text(text)),
            group => (name, Node::Group(group.into_tree())),
        });
        nodes.collect::<BTreeMap<_, _>>()
    }
}

/// The name itself, or the next index for an empty one. No name is an index without a successor.
fn resolve(group: &[(String, Slow)], name: &str) -> Option<String> {
    if !name.is_empty() {
        let is_last = name.parse() == Ok(usize::MAX);
        return (!is_last).then(|| name.to_owned());
    }
    let indices = group.iter().filter_map(|(name, _)| name.parse().ok());
    let next = indices.max().map_or(0, |last: usize| last + 1);
    (next < usize::MAX).then(|| next.to_string())
}

fn names(name: &str) -> Option<Vec<String>> {
    let mut names = vec![String::new()];
    let mut inside = false;
    let mut closed = false;
    for letter in name.chars() {
        let is_first = names.len() == 1;
        match letter {
            '[' if !inside => {
                inside = true;
                closed = false;
                names.push(String::new());
            }
            ']' if inside => {
                inside = false;
                closed = true;
            }
            _ if closed || (!inside && !is_first) => return None,
            letter => names.last_mut()?.push(letter),
        }
    }
    let is_whole = !inside && names.len() <= MAX_DEPTH && !names.first()?.is_empty();
    is_whole.then_some(names)
}

/// Undoes the percent encoding.
fn text(encoded: &[u8]) -> String {
    let hex = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut at = 0;
    while let Some(byte) = encoded.get(at) {
        let digits = (hex(encoded.get(at + 1)), hex(encoded.get(at + 2)));
        match (byte, digits) {
            (b'%', (Some(high), Some(low))) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 2;
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
