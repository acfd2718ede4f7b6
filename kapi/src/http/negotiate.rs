//! Which form a reply takes.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources>

use http::HeaderMap;
use http::header::ACCEPT;
use kcore::status::{Reason, Status};

use crate::server::Result;

/// What a reply holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The objects themselves.
    Whole,
    /// Kind and metadata alone.
    Metadata,
    /// Rows for people.
    Table,
}

/// How a reply is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Json,
    Yaml,
}

/// The form of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) shape: Shape,
    pub(super) syntax: Syntax,
}

impl Form {
    pub(super) const JSON: Self = Self { shape: Shape::Whole, syntax: Syntax::Json };

    pub(super) fn content_type(self) -> &'static str {
        match self.syntax {
            Syntax::Json => "application/json",
            Syntax::Yaml => "application/yaml",
        }
    }
}

/// Picks the first form accepted that the server has.
pub(super) fn negotiate(headers: &HeaderMap) -> Result<Form> {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut any = false;
    for clause in accepted.flat_map(|value| value.split(',')) {
        any |= !clause.trim().is_empty();
        if let Some(form) = form_of(clause) {
            return Ok(form);
        }
    }
    if !any {
        return Ok(Form::JSON);
    }
    Err(Status::failure(
        406,
        Reason::NotAcceptable,
        "only the following media types are accepted: application/json, application/yaml, \
         application/json;as=Table;v=v1;g=meta.k8s.io, \
         application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    )
    .into())
}

fn form_of(clause: &str) -> Option<Form> {
    let mut parts = clause.split(';').map(str::trim);
    let syntax = match parts.next()? {
        "application/json" | "*/*" | "application/*" => Syntax::Json,
        "application/yaml" => Syntax::Yaml,
        _ => return None,
    };
    let parameter = |name: &str| {
        let mut all = clause.split(';').map(str::trim).skip(1);
        all.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
    };
    let version = parameter("v");
    let group = parameter("g");
    let shape = match parameter("as") {
        None => Shape::Whole,
        Some(_) if version != Some("v1") || group != Some("meta.k8s.io") => return None,
        Some("Table") => Shape::Table,
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Shape::Metadata,
        Some(_) => return None,
    };
    Some(Form { shape, syntax })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_fits_is_taken() {
        let check = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            negotiate(&headers).map(|form| (form.shape, form.syntax)).ok()
        };
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(check(kubectl), Some((Shape::Table, Syntax::Json)));
        let typed = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(check(typed), Some((Shape::Whole, Syntax::Json)));
        assert_eq!(check("application/yaml"), Some((Shape::Whole, Syntax::Yaml)));
        assert_eq!(check("*/*"), Some((Shape::Whole, Syntax::Json)));
        assert_eq!(check("application/xml"), None, "A8");
        assert_eq!(check("application/json;as=Table;v=v9;g=meta.k8s.io"), None);
    }
}
