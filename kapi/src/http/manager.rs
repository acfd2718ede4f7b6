//! Who a request says manages the fields that it writes.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers>

use http::header::USER_AGENT;
use http::{HeaderMap, Method};
use kcore::client::WriteOptions;
use kcore::status::Status;

use super::path::Query;
use crate::server::Result;
use crate::strategy::{FieldErrors, FieldPath};

/// Bytes that a manager's name may have.
const MAX_NAME: usize = 128;

/// The options of a write. Whoever names no manager is known by what the client calls itself; an
/// apply must name one.
pub(super) fn write_options(
    query: &Query,
    headers: &HeaderMap,
    method: &Method,
    applies: bool,
) -> Result<WriteOptions> {
    let mut options = query.write_options()?;
    let mut errors = FieldErrors::default();
    let field = FieldPath::new("fieldManager");
    let name = &options.field_manager;
    if name.len() > MAX_NAME {
        errors.too_long(&field, MAX_NAME);
    }
    if name.chars().any(|letter| letter.is_control() || (letter != ' ' && letter.is_whitespace())) {
        errors.invalid(&field, name, "should only contain printable characters");
    }
    if applies && name.is_empty() {
        errors.required(&field, "is required for apply patch");
    }
    if options.force && !applies && *method == Method::PATCH {
        errors.forbidden(&FieldPath::new("force"), "may not be specified for non-apply patch");
    }
    if !errors.is_empty() {
        let kind = match *method {
            Method::POST => "CreateOptions",
            Method::PUT => "UpdateOptions",
            _ => "PatchOptions",
        };
        return Err(Status::invalid("meta.k8s.io", kind, "", errors.into_causes()).into());
    }
    if name.is_empty() {
        let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        options.field_manager = by_agent(agent.unwrap_or_default()).to_owned();
    }
    Ok(options)
}

/// What a client calls itself, without its version.
fn by_agent(agent: &str) -> &str {
    let name = agent.split('/').next().unwrap_or_default();
    match &name[..name.floor_char_boundary(MAX_NAME)] {
        "" => "unknown",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers_are_named_or_known_by_their_agent() {
        let check = |query: &str, method, applies, expected: std::result::Result<&str, &str>| {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, "kubectl/v1.37.0 (linux/amd64)".parse().unwrap());
            let query = Query::parse(Some(query));
            let found = write_options(&query, &headers, &method, applies);
            let found = found.map(|options| options.field_manager);
            let found = found.as_deref().map_err(|status| status.message.as_str());
            assert_eq!(found, expected);
        };
        check("", Method::POST, false, Ok("kubectl"));
        check("fieldManager=me", Method::PATCH, true, Ok("me"));
        check(
            "",
            Method::PATCH,
            true,
            Err("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is \
                 required for apply patch"),
        );
        check(
            "force=true",
            Method::PATCH,
            false,
            Err(
                "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified \
                 for non-apply patch",
            ),
        );
        let long = format!("fieldManager={}", "m".repeat(MAX_NAME + 1));
        check(
            &long,
            Method::PUT,
            false,
            Err("UpdateOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be \
                 more than 128 bytes"),
        );
        assert_eq!(by_agent(""), "unknown");
    }
}
