//! Bodies of fuzz targets for what requests say.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

use super::body;
use super::path::{Query, Target};

/// A request's path.
pub fn path(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Target::parse(text);
    }
}

/// A request's query, as the options of every verb.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let query = Query::parse(Some(text));
    let _ = (query.get_options(), query.list_options(), query.watch_options());
    let _ = (query.write_options(), query.delete_options(), query.flag("watch"));
}

/// A body in YAML becomes JSON.
pub fn yaml(data: &[u8]) {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
    if let Ok(json) = body::object(&headers, Bytes::copy_from_slice(data)) {
        serde_json::from_slice::<serde_json::Value>(&json).expect("what YAML becomes is JSON");
    }
}
