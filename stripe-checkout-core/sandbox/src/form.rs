//! Form bodies with bracketed keys, as every Stripe client sends them.
//!
//! An example is `metadata[order_id]=7&expand[]=latest_charge`.

use std::collections::BTreeMap;

use super::api_error::ApiError;

/// The deepest nesting that is accepted. It is deeper than any parameter of Stripe and limits the
/// input of strangers.
const MAX_DEPTH: usize = 10;

/// A value, or a group of named values. A list is a group whose names are numbers, so `a[]=x` and
/// `a[0]=x` are the same request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Text(String),
    Group(Tree),
}

/// Named values in a fixed order. Two requests compare equal regardless of their parameters' order.
pub(crate) type Tree = BTreeMap<String, Node>;

/// Names and values in their original order, including brackets.
pub(crate) type Pairs = Vec<(String, String)>;

/// Reads a body or a query.
pub(crate) fn decode(bytes: &[u8]) -> Result<Tree, ApiError> {
    tree(pairs(bytes)?)
}

/// Reads the names and values only.
pub(crate) fn pairs(bytes: &[u8]) -> Result<Pairs, ApiError> {
    serde_html_form::from_bytes(bytes).map_err(|_| {
        ApiError::invalid(
            "Invalid request (check that your POST content type is application/x-www-form-urlencoded).",
        )
    })
}

/// Resolves the brackets, in time proportional to the length of the pairs.
pub(crate) fn tree(pairs: Pairs) -> Result<Tree, ApiError> {
    let mut group = Group::default();
    for (key, value) in pairs {
        // The paginator of async-stripe sends one pair without a name or a value.
        if key.is_empty() && value.is_empty() {
            continue;
        }
        let inserted = segments(&key).and_then(|path| group.insert(path, value));
        inserted.ok_or_else(|| malformed(&key))?;
    }
    Ok(group.into_tree())
}

fn malformed(key: &str) -> ApiError {
    ApiError::invalid(format!("Invalid parameter name: {key}")).param(key)
}

/// Splits `a[b][]` into `a`, `b`, and an empty segment.
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
        if path.len() == MAX_DEPTH {
            return None;
        }
        let (segment, after) = rest.strip_prefix('[')?.split_once(']')?;
        path.push(segment);
        rest = after;
    }
    Some(path)
}

/// A group while it is being read. It knows the next index, so that `a[]` needs no search.
#[derive(Default)]
struct Group {
    named: BTreeMap<String, Value>,
    next_index: usize,
}

enum Value {
    Text(String),
    Group(Group),
}

impl Group {
    /// Adds a value. Of two values with the same name the last one counts. Refuses a name that is
    /// both a value and a group, and an index after the largest possible one.
    fn insert(&mut self, path: Vec<&str>, value: String) -> Option<()> {
        let mut group = self;
        let (last, groups) = path.split_last()?;
        for segment in groups {
            let name = group.name(segment)?;
            let inner = group.named.entry(name);
            group = match inner.or_insert_with(|| Value::Group(Self::default())) {
                Value::Group(inner) => inner,
                Value::Text(_) => return None,
            };
        }
        let name = group.name(last)?;
        match group.named.insert(name, Value::Text(value)) {
            None | Some(Value::Text(_)) => Some(()),
            Some(Value::Group(_)) => None,
        }
    }

    /// Returns the name of a segment. An empty segment means the next index.
    fn name(&mut self, segment: &str) -> Option<String> {
        let index = match segment {
            "" => Some(self.next_index),
            name => name.parse().ok(),
        };
        if let Some(index) = index {
            let behind = index.checked_add(1)?;
            self.next_index = self.next_index.max(behind);
        }
        Some(match (segment, index) {
            ("", Some(index)) => index.to_string(),
            _ => segment.to_owned(),
        })
    }

    fn into_tree(self) -> Tree {
        let nodes = self.named.into_iter().map(|(name, value)| match value {
            Value::Text(text) => (name, Node::Text(text)),
            Value::Group(group) => (name, Node::Group(group.into_tree())),
        });
        nodes.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

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

    /// A body of 512 KiB takes half a second. With a search through the group for each pair it
    /// would take about ten minutes.
    const SOON: Duration = Duration::from_secs(60);

    /// Decodes a body, and fails if that takes too long.
    fn decode_soon(body: String) -> Result<Tree, ApiError> {
        let start = body.get(..20).unwrap_or_default().to_owned();
        let (done, decoded) = mpsc::channel();
        thread::spawn(move || done.send(decode(body.as_bytes())));
        let decoded = decoded.recv_timeout(SOON);
        decoded.unwrap_or_else(|why| panic!("{start}… is not read within {SOON:?}: {why}"))
    }

    #[test]
    fn a_large_body_of_any_shape_is_read_in_time_that_grows_with_its_length() {
        const LENGTH: usize = 1 << 19;
        let indices: String = (0..LENGTH / 11).map(|at| format!("a[{at}]=&")).collect();
        let names: String = (0..LENGTH / 11).map(|at| format!("b{at}=&")).collect();
        for (body, values) in [
            ("a[]&".repeat(LENGTH / 4), LENGTH / 4),
            ("a[]=x&".repeat(LENGTH / 6), LENGTH / 6),
            ("a[b][]&".repeat(LENGTH / 7), LENGTH / 7),
            ("a[][]&".repeat(LENGTH / 6), LENGTH / 6),
            ("a[][b]&".repeat(LENGTH / 7), LENGTH / 7),
            ("a[][][][][][][][][]&".repeat(LENGTH / 20), LENGTH / 20),
            ("a&".repeat(LENGTH / 2), 1),
            ("a[b]&".repeat(LENGTH / 5), 1),
            ("&".repeat(LENGTH), 0),
            (indices, LENGTH / 11),
            (names, LENGTH / 11),
        ] {
            let start = body.get(..20).unwrap_or_default().to_owned();
            let tree = decode_soon(body).unwrap();
            assert_eq!(count(&tree), values, "{start}");
        }
        for body in [
            "[".repeat(LENGTH),
            format!("a{}", "[]".repeat(LENGTH / 2)),
            format!("a{}", "[b".repeat(LENGTH / 2)),
            format!("a[{}]b", "9".repeat(LENGTH)),
        ] {
            assert!(decode_soon(body).is_err());
        }
        let long = format!("a[{}]=x&a[]=y", "9".repeat(LENGTH));
        assert_eq!(count(&decode_soon(long).unwrap()), 2);
    }

    fn count(tree: &Tree) -> usize {
        let inner = |node: &Node| match node {
            Node::Text(_) => 1,
            Node::Group(tree) => count(tree),
        };
        tree.values().map(inner).sum()
    }

    #[test]
    fn an_empty_index_follows_the_largest_one() {
        let same = |body: &str, other: &str| {
            let (body, other) = (decode(body.as_bytes()), decode(other.as_bytes()));
            assert_eq!(body.unwrap(), other.unwrap());
        };
        same("a[7]=x&a[2]=y&a[]=z", "a[8]=z&a[2]=y&a[7]=x");
        same("a[b]=x&a[]=y", "a[0]=y&a[b]=x");
        same("a[][b]=x&a[][b]=y", "a[0][b]=x&a[1][b]=y");
        let last = usize::MAX;
        assert!(decode(format!("a[{last}]=x").as_bytes()).is_err());
        let before = format!("a[{}]=x", last - 1);
        assert!(decode(before.as_bytes()).is_ok());
        assert!(decode(format!("{before}&a[]=y").as_bytes()).is_err());
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
