//! Form bodies with bracketed keys, as every Stripe client sends them: `metadata[order_id]=7&expand[]=latest_charge`.

use std::collections::BTreeMap;

use super::api_error::ApiError;

/// Deeper than any parameter that Stripe has; a bound for what a stranger may send.
const MAX_DEPTH: usize = 10;

/// A value, or a group of named values. A list is a group whose names are numbers, so `a[]=x` and `a[0]=x` are the same request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Text(String),
    Group(Tree),
}

/// Named values in a fixed order, so that two requests can be compared whatever order their parameters came in.
pub(crate) type Tree = BTreeMap<String, Node>;

/// Reads a body or a query.
pub(crate) fn decode(bytes: &[u8]) -> Result<Tree, ApiError> {
    let pairs: Vec<(String, String)> = serde_html_form::from_bytes(bytes).map_err(|_| {
        ApiError::invalid(
            "Invalid request (check that your POST content type is application/x-www-form-urlencoded).",
        )
    })?;
    let mut tree = Tree::new();
    for (key, value) in pairs {
        // The paginator of async-stripe sends one pair without name and value.
        if key.is_empty() && value.is_empty() {
            continue;
        }
        let path = segments(&key).ok_or_else(|| malformed(&key))?;
        insert(&mut tree, &path, value).ok_or_else(|| malformed(&key))?;
    }
    Ok(tree)
}

fn malformed(key: &str) -> ApiError {
    ApiError::invalid(format!("Invalid parameter name: {key}")).param(key)
}

/// `a[b][]` is `a`, `b`, and an empty segment.
fn segments(key: &str) -> Option<Vec<&str>> {
    let (first, mut rest) = match key.find('[') {
        Some(at) => key.split_at_checked(at)?,
        None => (key, ""),
    };
    if first.is_empty() {
        return None;
    }
    let mut path = vec![first];
    while !rest.is_empty() {
        let (segment, after) = rest.strip_prefix('[')?.split_once(']')?;
        path.push(segment);
        rest = after;
    }
    (path.len() <= MAX_DEPTH).then_some(path)
}

/// Refuses a name that is both a value and a group. Of two values with one name the last counts.
fn insert(tree: &mut Tree, path: &[&str], value: String) -> Option<()> {
    let (first, rest) = path.split_first()?;
    let name = if first.is_empty() {
        next_index(tree).to_string()
    } else {
        (*first).to_owned()
    };
    if rest.is_empty() {
        return match tree.insert(name, Node::Text(value)) {
            None | Some(Node::Text(_)) => Some(()),
            Some(Node::Group(_)) => None,
        };
    }
    match tree.entry(name).or_insert_with(|| Node::Group(Tree::new())) {
        Node::Group(group) => insert(group, rest, value),
        Node::Text(_) => None,
    }
}

fn next_index(tree: &Tree) -> usize {
    tree.keys()
        .filter_map(|key| key.parse::<usize>().ok())
        .max()
        .map_or(0, |last| last.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Node {
        Node::Text(value.to_owned())
    }

    #[test]
    fn brackets_make_a_tree() {
        let tree = decode(b"amount=1999&metadata[order_id]=7&metadata[a%20b]=c%26d&expand[]=x&expand[]=y&deep[a][0][b]=1").unwrap();
        assert_eq!(tree["amount"], text("1999"));
        let Node::Group(metadata) = &tree["metadata"] else {
            panic!()
        };
        assert_eq!(metadata["order_id"], text("7"));
        assert_eq!(metadata["a b"], text("c&d"));
        let Node::Group(expand) = &tree["expand"] else {
            panic!()
        };
        assert_eq!(expand["0"], text("x"));
        assert_eq!(expand["1"], text("y"));
    }

    #[test]
    fn order_and_the_way_a_list_is_written_do_not_matter() {
        assert_eq!(
            decode(b"a=1&list[]=x&list[]=y").unwrap(),
            decode(b"list[0]=x&list[1]=y&a=1").unwrap()
        );
    }

    #[test]
    fn encoded_brackets_are_brackets() {
        assert_eq!(
            decode(b"metadata%5Ba%5D=1").unwrap(),
            decode(b"metadata[a]=1").unwrap()
        );
    }

    #[test]
    fn malformed_names_are_refused() {
        for body in [
            "a[b=1",
            "[a]=1",
            "a]b[=1",
            "a[b]c=1",
            "a=1&a[b]=2",
            "a[b]=2&a=1",
            "=1",
        ] {
            assert!(decode(body.as_bytes()).is_err(), "{body}");
        }
        let deep = format!("a{}=1", "[b]".repeat(MAX_DEPTH));
        assert!(decode(deep.as_bytes()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_body_is_too_strange(body: Vec<u8>, names in "[a\\[\\]=&0-9%]{0,60}") {
            let _ = decode(&body);
            let _ = decode(names.as_bytes());
        }
    }

    #[test]
    fn a_pair_without_name_and_value_is_nothing() {
        assert_eq!(decode(b"=&limit=3&=").unwrap(), decode(b"limit=3").unwrap());
    }

    #[test]
    fn nothing_is_nothing() {
        assert!(decode(b"").unwrap().is_empty());
    }
}
