//! Parameters, read one by one. Each reader removes its parameter, so that the remaining ones are
//! unknown at the end, and Stripe refuses those.

use std::collections::BTreeMap;

use super::{
    api_error::ApiError,
    form::{Node, Tree},
};

/// The parameters of one request, or of one group in it.
#[derive(Debug)]
pub(crate) struct Params {
    tree: Tree,
    /// The names of the enclosing groups, for error messages: `shipping[address]`.
    within: Option<String>,
}

impl Params {
    pub(crate) fn new(tree: Tree) -> Self {
        Self { tree, within: None }
    }

    /// No parameters.
    pub(crate) fn none() -> Self {
        Self::new(Tree::new())
    }

    /// The parameters of a group with this name.
    pub(crate) fn within(tree: Tree, name: &str) -> Self {
        Self {
            tree,
            within: Some(name.to_owned()),
        }
    }

    /// Reads a group as it came, or a list, whose names are numbers.
    pub(crate) fn take_group(&mut self, name: &str) -> Result<Option<Tree>, ApiError> {
        Ok(self.group(name)?.flatten().map(|group| group.tree))
    }

    /// Returns the parameter's full name as Stripe writes it.
    pub(crate) fn full_name(&self, name: &str) -> String {
        self.within
            .as_ref()
            .map_or_else(|| name.to_owned(), |outer| format!("{outer}[{name}]"))
    }

    /// Reads a text. Refuses an empty one, as Stripe does for values that cannot be unset.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.setting(name)? {
            Some(None) => {
                let full = self.full_name(name);
                Err(ApiError::invalid(format!(
                    "You passed an empty string for '{full}'. We assume empty values are an attempt to unset a parameter; \
                     however '{full}' cannot be unset. You should remove '{full}' from your request or supply a non-empty value."
                ))
                .code("parameter_invalid_empty")
                .param(full))
            }
            given => Ok(given.flatten()),
        }
    }

    /// Reads a text. An empty one unsets the value: `Some(None)`.
    pub(crate) fn setting(&mut self, name: &str) -> Result<Option<Option<String>>, ApiError> {
        match self.tree.remove(name) {
            None => Ok(None),
            Some(Node::Text(text)) if text.is_empty() => Ok(Some(None)),
            Some(Node::Text(text)) => Ok(Some(Some(text))),
            Some(Node::Group(_)) => {
                let full = self.full_name(name);
                Err(ApiError::invalid(format!("Invalid string: {{…}} for '{full}'")).param(full))
            }
        }
    }

    /// Reads a text of at most `limit` characters. An empty one unsets the value.
    pub(crate) fn setting_up_to(
        &mut self,
        name: &str,
        limit: usize,
    ) -> Result<Option<Option<String>>, ApiError> {
        let given = self.setting(name)?;
        if let Some(Some(text)) = &given
            && text.chars().count() > limit
        {
            return Err(ApiError::invalid(format!(
                "Invalid string: {}…; must be at most {limit} characters",
                text.chars().take(20).collect::<String>()
            ))
            .code("parameter_invalid_string")
            .param(self.full_name(name)));
        }
        Ok(given)
    }

    /// Reads a required whole number, at least `least`.
    pub(crate) fn required_integer(&mut self, name: &str, least: u64) -> Result<u64, ApiError> {
        self.integer(name, least)?.ok_or_else(|| self.missing(name))
    }

    /// Reads a required text.
    pub(crate) fn required_text(&mut self, name: &str) -> Result<String, ApiError> {
        self.text(name)?.ok_or_else(|| self.missing(name))
    }

    /// Returns the refusal for a missing parameter.
    pub(crate) fn missing(&self, name: &str) -> ApiError {
        let full = self.full_name(name);
        ApiError::invalid(format!("Missing required param: {full}."))
            .code("parameter_missing")
            .param(full)
    }

    /// Reads a whole number, at least `least`.
    pub(crate) fn integer(&mut self, name: &str, least: u64) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let full = self.full_name(name);
        // Wider than an amount, so that a negative number gets its own message.
        let number: i128 = text.parse().map_err(|_| {
            ApiError::invalid(format!("Invalid integer: {text}"))
                .code("parameter_invalid_integer")
                .param(full.clone())
        })?;
        match u64::try_from(number) {
            Ok(number) if number >= least => Ok(Some(number)),
            _ => Err(ApiError::invalid(format!(
                "This value must be greater than or equal to {least}."
            ))
            .code("parameter_invalid_integer")
            .param(full)),
        }
    }

    /// Reads `true` or `false`. The Python SDK before 12.0.1 writes them with a capital letter.
    pub(crate) fn boolean(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name)?.as_deref() {
            None => Ok(None),
            Some("true" | "True") => Ok(Some(true)),
            Some("false" | "False") => Ok(Some(false)),
            Some(other) => {
                Err(ApiError::invalid(format!("Invalid boolean: {other}"))
                    .param(self.full_name(name)))
            }
        }
    }

    /// Reads one of a few words.
    pub(crate) fn choice(
        &mut self,
        name: &str,
        choices: &[&'static str],
    ) -> Result<Option<&'static str>, ApiError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        choices
            .iter()
            .find(|choice| **choice == text)
            .copied()
            .map(Some)
            .ok_or_else(|| {
                let full = self.full_name(name);
                let all = match choices.split_last() {
                    Some((last, [])) => (*last).to_owned(),
                    Some((last, [one])) => format!("{one} or {last}"),
                    Some((last, others)) => format!("{}, or {last}", others.join(", ")),
                    None => String::new(),
                };
                ApiError::invalid(format!("Invalid {full}: must be one of {all}")).param(full)
            })
    }

    /// Reads one of a few words. An empty text unsets the value.
    pub(crate) fn choice_setting(
        &mut self,
        name: &str,
        choices: &[&'static str],
    ) -> Result<Option<Option<&'static str>>, ApiError> {
        if self.is_empty_text(name) {
            self.tree.remove(name);
            return Ok(Some(None));
        }
        Ok(self.choice(name, choices)?.map(Some))
    }

    /// Accepts only the default of a parameter. The sandbox implements no other value.
    pub(crate) fn only(&mut self, name: &str, default: &str) -> Result<(), ApiError> {
        match self.setting(name)?.flatten() {
            None => Ok(()),
            Some(given) if given.eq_ignore_ascii_case(default) => Ok(()),
            Some(given) => Err(self.unimplemented(name, &given)),
        }
    }

    /// Accepts a switch only in its off position: `name[enabled]=false`.
    pub(crate) fn only_disabled(&mut self, name: &str) -> Result<(), ApiError> {
        if let Some(Some(mut group)) = self.group(name)? {
            group.only("enabled", "false")?;
            group.finish()?;
        }
        Ok(())
    }

    /// Refuses one parameter that the sandbox does not implement.
    ///
    /// For a group in which the parameter takes the place of a mandatory one.
    pub(crate) fn refuse(&self, name: &str) -> Result<(), ApiError> {
        match self.tree.get_key_value(name) {
            None => Ok(()),
            Some((name, node)) => {
                let only = Tree::from([(name.clone(), node.clone())]);
                Self {
                    tree: only,
                    within: self.within.clone(),
                }
                .finish()
            }
        }
    }

    /// Returns the refusal of a value that Stripe accepts and the sandbox does not.
    pub(crate) fn unimplemented(&self, name: &str, value: &str) -> ApiError {
        let full = self.full_name(name);
        ApiError::invalid(format!(
            "Invalid {full}: the sandbox does not implement the value '{value}'."
        ))
        .param(full)
    }

    /// Reads a list of texts, in the order of their indices.
    pub(crate) fn list(&mut self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        let not_a_list = |full: String| ApiError::invalid("Invalid array").param(full);
        match self.tree.remove(name) {
            None => Ok(None),
            Some(Node::Text(text)) if text.is_empty() => Ok(Some(Vec::new())),
            Some(Node::Text(_)) => Err(not_a_list(self.full_name(name))),
            Some(Node::Group(group)) => {
                let mut indexed = Vec::with_capacity(group.len());
                for (index, node) in group {
                    match (index.parse::<usize>(), node) {
                        (Ok(index), Node::Text(text)) => indexed.push((index, text)),
                        _ => return Err(not_a_list(self.full_name(name))),
                    }
                }
                indexed.sort_by_key(|(index, _)| *index);
                Ok(Some(indexed.into_iter().map(|(_, text)| text).collect()))
            }
        }
    }

    /// Returns whether the parameter is a plain value, where a group is possible too.
    pub(crate) fn is_text(&self, name: &str) -> bool {
        matches!(self.tree.get(name), Some(Node::Text(_)))
    }

    /// Returns whether the parameter is present and empty, which unsets it.
    fn is_empty_text(&self, name: &str) -> bool {
        matches!(self.tree.get(name), Some(Node::Text(text)) if text.is_empty())
    }

    /// Reads a group of parameters. An empty text in its place unsets it: `Some(None)`.
    pub(crate) fn group(&mut self, name: &str) -> Result<Option<Option<Params>>, ApiError> {
        let full = self.full_name(name);
        match self.tree.remove(name) {
            None => Ok(None),
            Some(Node::Text(text)) if text.is_empty() => Ok(Some(None)),
            Some(Node::Text(_)) => Err(ApiError::invalid(format!(
                "Invalid object: the sandbox takes parameters within {full} only."
            ))
            .param(full)),
            Some(Node::Group(tree)) => Ok(Some(Some(Params {
                tree,
                within: Some(full),
            }))),
        }
    }

    /// Reads metadata. `None` for a key unsets that key; `Some(None)` unsets all keys.
    pub(crate) fn metadata(&mut self) -> Result<Option<Option<MetadataChange>>, ApiError> {
        let Some(given) = self.group("metadata")? else {
            return Ok(None);
        };
        let Some(group) = given else {
            return Ok(Some(None));
        };
        let mut change = MetadataChange::new();
        for (key, node) in group.tree {
            let full = format!("metadata[{key}]");
            let Node::Text(value) = node else {
                return Err(ApiError::invalid(format!(
                    "Metadata values must be strings, but for key '{key}' you passed in a hash"
                ))
                .param(full));
            };
            if key.is_empty() || key.chars().count() > 40 {
                return Err(ApiError::invalid(format!(
                    "Metadata keys can have up to 40 characters, but you passed in a key that is {} characters. Invalid key: {key}",
                    key.chars().count()
                ))
                .param(full));
            }
            if value.chars().count() > 500 {
                return Err(ApiError::invalid(format!(
                    "Metadata values can have up to 500 characters, but you passed in a value that is {} characters. Invalid value: {}…",
                    value.chars().count(),
                    value.chars().take(40).collect::<String>()
                ))
                .param(full));
            }
            change.insert(key, (!value.is_empty()).then_some(value));
        }
        Ok(Some(Some(change)))
    }

    /// Refuses all remaining parameters. The sandbox ignores none, because Stripe would act on it
    /// or refuse it.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        let mut unknown = Vec::new();
        for (name, node) in &self.tree {
            leaves(&self.full_name(name), node, &mut unknown);
        }
        let Some(first) = unknown.first().cloned() else {
            return Ok(());
        };
        let (plural, them) = match unknown.len() {
            1 => ("", "it"),
            _ => ("s", "them"),
        };
        Err(ApiError::invalid(format!(
            "Received unknown parameter{plural}: {}. The sandbox does not implement {them}.",
            unknown.join(", ")
        ))
        .code("parameter_unknown")
        .param(first))
    }
}

/// Finds the full names of the values in a group, as Stripe writes them.
fn leaves(name: &str, node: &Node, found: &mut Vec<String>) {
    match node {
        Node::Group(group) if !group.is_empty() => {
            for (inner, node) in group {
                leaves(&format!("{name}[{inner}]"), node, found);
            }
        }
        _ => found.push(name.to_owned()),
    }
}

/// A change of metadata in a request.
pub(crate) type MetadataChange = BTreeMap<String, Option<String>>;
