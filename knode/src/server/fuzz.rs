//! Bodies of fuzz targets for what requests say.

use jiff::Timestamp;

use super::logs::compute_log_request;
use super::query::{Query, segments};

/// A query of container logs, and the path before it.
pub fn log_query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('?').unwrap_or((text, text));
    let _ = segments(path);
    let query = Query::parse(query);
    let _ = query.all("command").count();
    let _ = compute_log_request(&query, Timestamp::UNIX_EPOCH);
}
