//! Queries and paths of URLs, decoded.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The parts of a path, decoded; none if a part is no text.
pub(super) fn segments(path: &str) -> Option<Vec<String>> {
    let parts = path.split('/').filter(|part| !part.is_empty());
    parts.map(|part| Some(percent_decode_str(part).decode_utf8().ok()?.into_owned())).collect()
}

/// A decoded query; of a name that comes twice the first value counts, as upstream has it.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            let decoded: Cow<'_, str> = percent_decode_str(&text).decode_utf8_lossy();
            decoded.into_owned()
        };
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A flag: absent, `false` and `0` are no, all else is yes.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !value.eq_ignore_ascii_case("false") && value != "0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("a=1&b=x+y%2Fz&a=2&flag&no=false&zero=0&yes=TRUE&&e=");
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("b"), Some("x y/z"));
        let flags = ["flag", "no", "zero", "yes", "e", "absent"].map(|name| query.flag(name));
        assert_eq!(flags, [true, false, false, true, true, false]);
    }

    #[test]
    fn paths_are_decoded_part_by_part() {
        let check = |path: &str, expect: &[&str]| {
            assert_eq!(segments(path).unwrap(), expect, "{path}");
        };
        check("/", &[]);
        check("/runningpods/", &["runningpods"]);
        check("/containerLogs/ns/p%2Fq/c", &["containerLogs", "ns", "p/q", "c"]);
        assert_eq!(segments("/%ff"), None);
    }

    proptest::proptest! {
        #[test]
        fn strangers_text_never_panics_x10(text in ".*", number in -3i64..100) {
            let _ = segments(&text);
            let _ = Query::parse(&text).flag(&text);
            for name in ["tail", "tailLines", "limitBytes", "sinceSeconds", "sinceTime", "stream"] {
                for value in [&text, &number.to_string(), &i64::MAX.to_string()] {
                    let query = Query::parse(&format!("{name}={value}"));
                    let _ = super::super::logs::compute_log_request(&query, Default::default());
                }
            }
        }
    }
}
