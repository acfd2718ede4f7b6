//! YAML within bounds (O1).

use serde_json::Value;

/// Nodes and depth a YAML body may expand to: an alias counts each time.
const MAX_NODES: usize = 250_000;
const MAX_DEPTH: usize = 100;
/// The stack that reading it takes at most, in bytes.
const STACK_BYTES: usize = 16 << 20;

/// Reads YAML, or JSON, which is YAML too.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn parse(body: &[u8]) -> Result<Value, String> {
    if body.first() == Some(&b'{') {
        crate::schema::weigh_anything(body).map_err(|heavy| heavy.to_string())?;
        if let Ok(value) = serde_json::from_slice(body) {
            return Ok(value);
        }
    }
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    // On a stack of its own: a level of nesting takes tens of kilobytes where nothing is
    // optimized, and the stack of whoever serves the request may be nearly used up.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let reading =
            thread.spawn_scoped(scope, || read(text)).map_err(|error| error.to_string())?;
        reading.join().unwrap_or_else(|_| Err("the document cannot be read".to_owned()))
    })
}

fn read(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: MAX_NODES, max_depth: MAX_DEPTH },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}
