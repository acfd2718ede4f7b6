//! YAML within bounds (O1).

use serde_json::Value;

/// Nodes and depth a YAML body may expand to: an alias counts each time.
const MAX_NODES: usize = 250_000;
const MAX_DEPTH: usize = 100;

/// Reads YAML, or JSON, which is YAML too.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn parse(body: &[u8]) -> Result<Value, String> {
    if body.first() == Some(&b'{')
        && let Ok(value) = serde_json::from_slice(body)
    {
        return Ok(value);
    }
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: MAX_NODES, max_depth: MAX_DEPTH },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}
