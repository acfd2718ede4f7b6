//! Kubeconfig files.
//! <https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kcore::tls::Certificate;
use serde_json::json;

use super::pki::ClusterCa;
use super::{ServeError, files};

/// Writes a kubeconfig with which `user` reaches the server at `url`, readable by its owner alone.
///
/// # Errors
/// If the file cannot be written, or is another cluster's: it is not overwritten then.
pub fn kubeconfig(
    path: &Path,
    url: &str,
    ca: &ClusterCa,
    user: &str,
    certificate: &Certificate,
) -> Result<(), ServeError> {
    let authority = STANDARD.encode(ca.certificate_pem());
    if let Some(found) = files::read(path)?
        && !found.contains(&authority)
    {
        return Err(ServeError::File {
            path: path.to_owned(),
            action: "overwritten",
            source: std::io::Error::other("it belongs to another cluster; move it away"),
        });
    }
    // JSON is YAML, and what it escapes no name can break out of (X9).
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "kubrick", "cluster": {
            "server": url, "certificate-authority-data": authority}}],
        "users": [{"name": user, "user": {
            "client-certificate-data": STANDARD.encode(&certificate.certificate_pem),
            "client-key-data": STANDARD.encode(&certificate.key_pem)}}],
        "contexts": [{"name": "kubrick", "context": {"cluster": "kubrick", "user": user}}],
        "current-context": "kubrick",
    });
    let text = serde_json::to_string_pretty(&config).unwrap_or_default();
    files::write_private(path, &text)
}
