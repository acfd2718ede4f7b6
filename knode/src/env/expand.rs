//! `$(NAME)` references, as Kubernetes expands them.
//!
//! <https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/>

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Container;
use kcore::collections::HashMap;

use crate::{Error, Result};

/// Replaces each `$(NAME)` in `text` by what `lookup` knows. What it does not know stays as it
/// is, `$$` is one `$`, and any other `$` is itself. What was put in is not expanded again.
#[must_use]
pub fn expand<'a>(text: &str, mut lookup: impl FnMut(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) =
            rest.strip_prefix('(').and_then(|inner| inner.split_once(')'))
        {
            match lookup(name) {
                Some(value) => out.push_str(value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// The command and arguments of `container` with `env` put in.
/// <https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/>
#[must_use]
pub fn compute_command(
    container: &Container,
    env: &[(String, String)],
) -> (Vec<String>, Vec<String>) {
    let vars = index(env);
    let expand_all = |words: &Option<Vec<String>>| {
        let words = words.iter().flatten();
        words.map(|word| expand(word, |name| vars.get(name).copied())).collect()
    };
    (expand_all(&container.command), expand_all(&container.args))
}

/// Expands a `subPathExpr`, in which every variable must have a value.
///
/// # Errors
/// [`InvalidConfig`](Error::InvalidConfig) naming the variables that are absent or empty.
pub fn compute_sub_path(expression: &str, env: &[(String, String)], field: &str) -> Result<String> {
    let vars = index(env);
    let mut missing = BTreeSet::new();
    let expanded = expand(expression, |name| {
        let value = vars.get(name).copied();
        if value.is_none_or(str::is_empty) {
            missing.insert(name.to_owned());
        }
        value
    });
    if missing.is_empty() {
        return Ok(expanded);
    }
    let missing: Vec<_> = missing.into_iter().collect();
    let reason = format!("missing value for {}", missing.join(", "));
    Err(Error::InvalidConfig { field: field.to_owned(), reason })
}

fn index(env: &[(String, String)]) -> HashMap<&str, &str> {
    env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_as_upstream_does() {
        let check = |text: &str, expect: &str| {
            let known = [("A", "a"), ("B", "b"), ("EMPTY", ""), ("REF", "$(A)"), ("x)y", "no")];
            let lookup = |name: &str| known.iter().find(|(key, _)| *key == name).map(|(_, v)| *v);
            assert_eq!(expand(text, lookup), expect, "{text}");
        };
        check("", "");
        check("plain", "plain");
        check("$(A)", "a");
        check("x-$(A)-$(B)-y", "x-a-b-y");
        check("$(A)$(B)", "ab");
        check("[$(EMPTY)]", "[]");
        check("$(REF)", "$(A)");
        check("$(NOPE)", "$(NOPE)");
        check("$()", "$()");
        check("$$(A)", "$(A)");
        check("$$$(A)", "$a");
        check("$$$$(A)", "$$(A)");
        check("$$", "$");
        check("$$$", "$$");
        check("$", "$");
        check("a$", "a$");
        check("$(A", "$(A");
        check("$(A $(B)", "$(A $(B)");
        check("$A", "$A");
        check("$ (A)", "$ (A)");
        check("$x$(A)", "$xa");
        check("$(A))", "a)");
        check("$(x)y)", "$(x)y)");
        check("ü$ü$(A)ü", "ü$üaü");
        check("echo $(A) $$PATH ${B}", "echo a $PATH ${B}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_expanded_without_loss(text in "[$()aü ]*") {
            // With nothing known only `$$` changes, and a doubled text comes back whole.
            let doubled = text.replace('$', "$$");
            assert_eq!(expand(&doubled, |_| None), text);
            if !text.contains("$$") {
                assert_eq!(expand(&text, |_| None), text);
            }
        }
    }

    #[test]
    fn commands_and_arguments_are_expanded_apart() {
        let container = Container {
            command: Some(vec!["sh".into(), "$(A)".into()]),
            args: Some(vec!["$(B)$(NOPE)".into(), "$$(A)".into()]),
            ..Container::default()
        };
        let env = [("A".to_owned(), "old".to_owned()), ("A".into(), "a".into())];
        let (command, args) = compute_command(&container, &env);
        assert_eq!(command, ["sh", "a"]);
        assert_eq!(args, ["$(B)$(NOPE)", "$(A)"]);
    }

    #[test]
    fn a_sub_path_needs_every_variable() {
        let env = [("A".to_owned(), "a".to_owned()), ("EMPTY".into(), String::new())];
        assert_eq!(compute_sub_path("x/$(A)", &env, "f").unwrap(), "x/a");
        let error = compute_sub_path("$(Z)/$(EMPTY)/$(A)", &env, "f").unwrap_err();
        assert_eq!(error.to_string(), "f: missing value for EMPTY, Z");
    }
}
