//! Forms as they are sent. Fingerprints and idempotency keys are derived from them.

use std::borrow::Borrow;

use form_urlencoded::Serializer;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Characters that are escaped in names. async-stripe escapes the same, and Stripe's own libraries
/// leave the brackets of names as they are too.
const NAME: &AsciiSet = &CONTROLS
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'<')
    .add(b'=')
    .add(b'>');
/// Characters that are escaped in values.
const VALUE: &AsciiSet = &NAME.add(b'[').add(b']');

/// A POST request: the path after `/v1`, and the form.
pub(crate) struct Post {
    pub(crate) path: String,
    pub(crate) form: String,
}

/// The form of these parameters. The order of their names is the only order that it can have.
pub(crate) fn form<N, V>(parameters: impl IntoIterator<Item = (N, V)>) -> String
where
    N: Into<String>,
    V: Into<String>,
{
    let parameters = parameters.into_iter();
    let mut ordered: Vec<(String, String)> = parameters
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    // A name that repeats keeps all its values, in their order.
    ordered.sort_by(|(one, _), (other, _)| one.cmp(other));
    let pairs = ordered.iter();
    let pairs =
        pairs.map(|(name, value)| format!("{}={}", escaped(name, NAME), escaped(value, VALUE)));
    pairs.collect::<Vec<_>>().join("&")
}

fn escaped(text: &str, escapes: &'static AsciiSet) -> String {
    utf8_percent_encode(text, escapes)
        .to_string()
        .replace(' ', "+")
}

/// The parameters as they stand, for a query.
pub(super) fn encoded<P, N, V>(parameters: impl IntoIterator<Item = P>) -> String
where
    P: Borrow<(N, V)>,
    N: AsRef<str>,
    V: AsRef<str>,
{
    Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}

/// The name of a metadata key's parameter.
pub(crate) fn metadata_name(key: &str) -> String {
    format!("metadata[{key}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_parameters_does_not_count() {
        let [there, back] = [["b", "a[1]", "a[0]"], ["a[0]", "a[1]", "b"]]
            .map(|names| form(names.map(|name| (name, format!("{name} &=ä")))));
        assert_eq!(there, back);
        assert_eq!(
            there,
            "a[0]=a%5B0%5D+%26%3D%C3%A4&a[1]=a%5B1%5D+%26%3D%C3%A4&b=b+%26%3D%C3%A4"
        );
        assert_eq!(form([("b", "2"), ("a", "1"), ("b", "0")]), "a=1&b=2&b=0");
    }
}
