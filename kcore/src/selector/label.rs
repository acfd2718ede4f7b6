//! Label selectors: `app=web,tier in (a, b),!debug`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use super::ParseError;

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelOperator {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or is absent.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is a number above the value.
    GreaterThan,
    /// The label is a number below the value.
    LessThan,
}

/// One comparison of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRequirement {
    /// The label's key.
    pub key: String,
    /// How it is compared.
    pub operator: LabelOperator,
    /// What it is compared with.
    pub values: BTreeSet<String>,
}

/// A conjunction of comparisons of labels.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    requirements: Vec<LabelRequirement>,
    nothing: bool,
}

impl LabelSelector {
    /// Selects every object.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects no object.
    #[must_use]
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Selects objects that carry all of `labels`.
    #[must_use]
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let requirements = labels
            .into_iter()
            .map(|(key, value)| LabelRequirement {
                key: key.clone(),
                operator: LabelOperator::In,
                values: [value.clone()].into(),
            })
            .collect();
        Self { requirements, nothing: false }
    }

    /// Reads the object form. An absent selector selects nothing, an empty one everything.
    ///
    /// # Errors
    /// If an operator is unknown or has the wrong number of values.
    pub fn from_api(selector: Option<&meta::LabelSelector>) -> Result<Self, ParseError> {
        let Some(selector) = selector else { return Ok(Self::nothing()) };
        let mut this = Self::from_labels(selector.match_labels.iter().flatten());
        for expression in selector.match_expressions.iter().flatten() {
            let values: BTreeSet<String> = expression.values.iter().flatten().cloned().collect();
            let operator = match expression.operator.as_str() {
                "In" => LabelOperator::In,
                "NotIn" => LabelOperator::NotIn,
                "Exists" => LabelOperator::Exists,
                "DoesNotExist" => LabelOperator::DoesNotExist,
                other => {
                    return Err(ParseError(format!(
                        "{other:?} is not a valid label selector operator"
                    )));
                }
            };
            this.push(expression.key.clone(), operator, values)?;
        }
        Ok(this)
    }

    /// Narrows the selector by one comparison.
    ///
    /// # Errors
    /// If the operator does not go with the number or form of the values.
    pub fn push(
        &mut self,
        key: String,
        operator: LabelOperator,
        values: BTreeSet<String>,
    ) -> Result<(), ParseError> {
        use LabelOperator::{DoesNotExist, Exists, GreaterThan, In, LessThan, NotIn};
        let fine = match operator {
            In | NotIn => !values.is_empty(),
            Exists | DoesNotExist => values.is_empty(),
            GreaterThan | LessThan => {
                values.len() == 1 && values.iter().all(|value| value.parse::<i64>().is_ok())
            }
        };
        if !fine {
            let need = match operator {
                In | NotIn => "for 'in', 'notin' operators, values set can't be empty",
                Exists | DoesNotExist => "values set must be empty for exists and does not exist",
                _ => "for 'Gt', 'Lt' operators, exactly one integer value is required",
            };
            return Err(ParseError(format!("values of {key:?}: {need}")));
        }
        self.requirements.push(LabelRequirement { key, operator, values });
        Ok(())
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// Its comparisons, all of which must hold.
    #[must_use]
    pub fn requirements(&self) -> &[LabelRequirement] {
        &self.requirements
    }

    /// Whether an object with `labels` is selected.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.nothing && self.requirements.iter().all(|requirement| requirement.matches(labels))
    }
}

impl LabelRequirement {
    /// Whether `labels` satisfy it.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        let bound = || self.values.first().and_then(|value| value.parse::<i64>().ok());
        match self.operator {
            LabelOperator::In => value.is_some_and(|value| self.values.contains(value)),
            LabelOperator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
            LabelOperator::GreaterThan => number().zip(bound()).is_some_and(|(n, b)| n > b),
            LabelOperator::LessThan => number().zip(bound()).is_some_and(|(n, b)| n < b),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.requirements.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            let values: Vec<&str> = requirement.values.iter().map(String::as_str).collect();
            let key = &requirement.key;
            match (requirement.operator, values.as_slice()) {
                (LabelOperator::In, [one]) => write!(f, "{key}={one}")?,
                (LabelOperator::NotIn, [one]) => write!(f, "{key}!={one}")?,
                (LabelOperator::In, many) => write!(f, "{key} in ({})", many.join(","))?,
                (LabelOperator::NotIn, many) => write!(f, "{key} notin ({})", many.join(","))?,
                (LabelOperator::Exists, _) => f.write_str(key)?,
                (LabelOperator::DoesNotExist, _) => write!(f, "!{key}")?,
                (LabelOperator::GreaterThan, many) => write!(f, "{key}>{}", many.join(","))?,
                (LabelOperator::LessThan, many) => write!(f, "{key}<{}", many.join(","))?,
            }
        }
        Ok(())
    }
}

impl FromStr for LabelSelector {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Parser { text, rest: text }.selector()
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn selector(mut self) -> Result<LabelSelector, ParseError> {
        let mut selector = LabelSelector::default();
        self.skip_space();
        while !self.rest.is_empty() {
            let (key, operator, values) = self.requirement()?;
            selector.push(key, operator, values)?;
            self.skip_space();
            if self.rest.is_empty() {
                break;
            }
            self.expect(',')?;
            self.skip_space();
            if self.rest.is_empty() {
                return Err(self.error("identifier after ','"));
            }
        }
        Ok(selector)
    }

    fn requirement(&mut self) -> Result<(String, LabelOperator, BTreeSet<String>), ParseError> {
        if self.eat("!") {
            let key = self.key()?;
            return Ok((key, LabelOperator::DoesNotExist, BTreeSet::new()));
        }
        let key = self.key()?;
        self.skip_space();
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Ok((key, LabelOperator::Exists, BTreeSet::new()));
        }
        for (token, operator) in [
            ("==", LabelOperator::In),
            ("!=", LabelOperator::NotIn),
            ("=", LabelOperator::In),
            (">", LabelOperator::GreaterThan),
            ("<", LabelOperator::LessThan),
        ] {
            if self.eat(token) {
                let value = self.word();
                check_value(&key, value)?;
                return Ok((key, operator, [value.to_owned()].into()));
            }
        }
        let operator = match self.word() {
            "in" => LabelOperator::In,
            "notin" => LabelOperator::NotIn,
            other => {
                return Err(ParseError(format!(
                    "unable to parse requirement: found '{other}', expected: in, notin, =, ==, \
                     !=, gt, lt"
                )));
            }
        };
        self.set(&key).map(|values| (key, operator, values))
    }

    fn set(&mut self, key: &str) -> Result<BTreeSet<String>, ParseError> {
        self.expect('(')?;
        let mut values = BTreeSet::new();
        loop {
            let value = self.word();
            check_value(key, value)?;
            values.insert(value.to_owned());
            self.skip_space();
            if self.eat(")") {
                return Ok(values);
            }
            self.expect(',')?;
        }
    }

    fn key(&mut self) -> Result<String, ParseError> {
        let key = self.word();
        if key.is_empty() {
            return Err(self.error("a label key"));
        }
        let name = key.split_once('/').map_or(key, |(_, name)| name);
        let fine = !name.is_empty() && name.len() <= 63 && is_name(name);
        if fine && key.matches('/').count() <= 1 {
            return Ok(key.to_owned());
        }
        Err(ParseError(format!(
            "key: Invalid value: {key:?}: name part must consist of alphanumeric characters, '-', \
             '_' or '.', and must start and end with an alphanumeric character"
        )))
    }

    fn word(&mut self) -> &'a str {
        self.skip_space();
        let stop = |letter: char| letter.is_whitespace() || "(),=!<>".contains(letter);
        let end = self.rest.find(stop).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        self.rest.strip_prefix(token).map(|rest| self.rest = rest).is_some()
    }

    fn expect(&mut self, token: char) -> Result<(), ParseError> {
        let mut buffer = [0; 4];
        if self.eat(token.encode_utf8(&mut buffer)) {
            return Ok(());
        }
        Err(self.error(&format!("'{token}'")))
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn error(&self, expected: &str) -> ParseError {
        let found = self.rest.chars().next().map_or_else(|| "end".to_owned(), |c| c.to_string());
        ParseError(format!(
            "unable to parse requirement: found '{found}', expected: {expected} in {:?}",
            self.text
        ))
    }
}

fn is_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let ends = [text.as_bytes().first(), text.as_bytes().last()];
    text.bytes().all(inner) && ends.into_iter().flatten().all(u8::is_ascii_alphanumeric)
}

fn check_value(key: &str, value: &str) -> Result<(), ParseError> {
    if value.is_empty() || (value.len() <= 63 && is_name(value)) {
        return Ok(());
    }
    Err(ParseError(format!(
        "values[0][{key}]: Invalid value: {value:?}: a valid label must be an empty string or \
         consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
         alphanumeric character"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        selector.parse::<LabelSelector>().unwrap().matches(&labels)
    }

    #[test]
    fn every_form_matches_as_documented() {
        let labels = &[("app", "web"), ("tier", "a"), ("n", "5")];
        for (selector, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web, tier in (a, b)", true),
            ("app!=web", false),
            ("other!=web", true),
            ("tier notin (b,c)", true),
            ("tier notin (a)", false),
            ("app", true),
            ("!app", false),
            ("!other", true),
            ("n>4", true),
            ("n<5", false),
            ("app>1", false),
            ("app=", false),
        ] {
            assert_eq!(matches(selector, labels), expected, "{selector}");
        }
    }

    #[test]
    fn display_parses_back() {
        let text = "app=web,tier in (a,b),!x,y,z notin (q,r),n>4,m<3,k!=v";
        let selector: LabelSelector = text.parse().unwrap();
        assert_eq!(selector.to_string(), text);
    }

    #[test]
    fn nonsense_is_refused_with_words() {
        for text in ["app=web,", "a in b", "a in (b", "=x", "a ~ b", "a=-", "n>x", "a//b=c", "!"] {
            let error = text.parse::<LabelSelector>().unwrap_err();
            assert!(!error.to_string().is_empty(), "{text}");
        }
    }

    #[test]
    fn an_absent_api_selector_selects_nothing_and_an_empty_one_everything() {
        assert!(!LabelSelector::from_api(None).unwrap().matches(&BTreeMap::new()));
        let empty = meta::LabelSelector::default();
        assert!(LabelSelector::from_api(Some(&empty)).unwrap().matches(&BTreeMap::new()));
    }
}
