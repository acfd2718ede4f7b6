//! Field selectors: `status.phase=Running,metadata.name!=a`.

use std::fmt;
use std::str::FromStr;

use super::ParseError;

/// One comparison of a field selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field's path.
    pub path: String,
    /// The value it is compared with.
    pub value: String,
    /// Whether it must differ from the value.
    pub negated: bool,
}

/// A conjunction of comparisons of fields.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/>
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// The selector that a field has a value.
    #[must_use]
    pub fn equals(path: impl Into<String>, value: impl Into<String>) -> Self {
        Self::default().and(path, value)
    }

    /// The same selector, narrowed to objects whose field has a value.
    #[must_use]
    pub fn and(mut self, path: impl Into<String>, value: impl Into<String>) -> Self {
        self.requirements.push(FieldRequirement {
            path: path.into(),
            value: value.into(),
            negated: false,
        });
        self
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Its comparisons, all of which must hold.
    #[must_use]
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// The value that `path` must have, if the selector demands one.
    #[must_use]
    pub fn required(&self, path: &str) -> Option<&str> {
        self.requirements.iter().find(|r| r.path == path && !r.negated).map(|r| r.value.as_str())
    }

    /// Whether an object matches whose fields `field` reads; an unset one is empty.
    pub fn matches<'a>(&self, mut field: impl FnMut(&str) -> &'a str) -> bool {
        self.requirements.iter().all(|r| (field(&r.path) == r.value) != r.negated)
    }
}

impl FromStr for FieldSelector {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut requirements = Vec::new();
        for term in split(text) {
            if term.is_empty() {
                continue;
            }
            let (path, operator, value) = cut(&term).ok_or_else(|| {
                ParseError(format!("invalid selector: {text:?}; can't understand {term:?}"))
            })?;
            requirements.push(FieldRequirement {
                path: path.to_owned(),
                value: unescape(value, text)?,
                negated: operator == "!=",
            });
        }
        Ok(Self { requirements })
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.requirements.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            f.write_str(&requirement.path)?;
            f.write_str(if requirement.negated { "!=" } else { "=" })?;
            for letter in requirement.value.chars() {
                if matches!(letter, '\\' | ',' | '=') {
                    f.write_str("\\")?;
                }
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// Splits at the commas that are not escaped.
fn split(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut escaped = false;
    for letter in text.chars() {
        if letter == ',' && !escaped {
            terms.push(String::new());
            continue;
        }
        escaped = letter == '\\' && !escaped;
        if let Some(term) = terms.last_mut() {
            term.push(letter);
        }
    }
    terms
}

/// Cuts a term at its first operator.
fn cut(term: &str) -> Option<(&str, &str, &str)> {
    let at = term.find(['=', '!'])?;
    let rest = &term[at..];
    let operator = ["!=", "==", "="].into_iter().find(|operator| rest.starts_with(operator))?;
    Some((&term[..at], operator, &rest[operator.len()..]))
}

fn unescape(value: &str, selector: &str) -> Result<String, ParseError> {
    let mut out = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => out.push(escaped),
                other => {
                    let sequence: String = ['\\'].into_iter().chain(other).collect();
                    return Err(ParseError(format!(
                        "invalid field selector {selector:?}: invalid escape sequence {sequence:?}"
                    )));
                }
            },
            ',' | '=' => {
                return Err(ParseError(format!(
                    "invalid field selector {selector:?}: unescaped character {letter:?} in value"
                )));
            }
            other => out.push(other),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_matches_and_displays() {
        let selector: FieldSelector = "status.phase!=Failed,spec.nodeName==n1".parse().unwrap();
        assert_eq!(selector.to_string(), "status.phase!=Failed,spec.nodeName=n1");
        assert_eq!(selector.required("spec.nodeName"), Some("n1"));
        assert_eq!(selector.required("status.phase"), None);
        let field = |path: &str| if path == "spec.nodeName" { "n1" } else { "" };
        assert!(selector.matches(field));
        assert!(!selector.matches(|_| "Failed"));
    }

    #[test]
    fn escapes_round_trip() {
        let selector = FieldSelector::equals("a", "x,y=z\\");
        assert_eq!(selector.to_string().parse::<FieldSelector>().unwrap(), selector);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["novalue", "a=b=c", "a=b\\q", "a!b"] {
            assert!(text.parse::<FieldSelector>().is_err(), "{text}");
        }
        assert!("".parse::<FieldSelector>().unwrap().is_empty());
    }
}
