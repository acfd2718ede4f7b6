//! The cluster's certificate authority, and what it signs.
//! <https://kubernetes.io/docs/setup/best-practices/certificates/>

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kcore::tls::Certificate;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use super::{ServeError, files};

/// Years for which the authority is valid.
const CA_YEARS: i16 = 10;
/// Years for which what it signs is valid. Certificates are signed anew at each start.
const LEAF_YEARS: i16 = 1;

/// The authority that every certificate of a cluster comes from.
pub struct ClusterCa {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterCa")
    }
}

impl ClusterCa {
    /// Takes the authority out of `directory`, or makes one there: `ca.crt` and `ca.key`. The key
    /// never leaves the directory.
    ///
    /// # Errors
    /// If the directory cannot be used, or holds a damaged or half an authority.
    pub fn open(directory: &Path, now: Timestamp) -> Result<Self, ServeError> {
        files::private_dir(directory)?;
        let (certificate, key) = (directory.join("ca.crt"), directory.join("ca.key"));
        let broken = |what: &Path, why: String| ServeError::Certificate {
            what: what.display().to_string(),
            why,
        };
        match (files::read(&certificate)?, files::read(&key)?) {
            (Some(certificate_pem), Some(key_pem)) => {
                let pair =
                    KeyPair::from_pem(&key_pem).map_err(|error| broken(&key, error.to_string()))?;
                let issuer = Issuer::from_ca_cert_pem(&certificate_pem, pair)
                    .map_err(|error| broken(&certificate, error.to_string()))?;
                Ok(Self { certificate_pem, issuer })
            }
            (None, None) => {
                let (this, key_pem) = Self::generate(now)?;
                files::write_private(&key, &key_pem)?;
                files::write_private(&certificate, &this.certificate_pem)?;
                Ok(this)
            }
            (Some(_), None) => Err(broken(&certificate, "its key is missing".to_owned())),
            (None, Some(_)) => Err(broken(&key, "its certificate is missing".to_owned())),
        }
    }

    /// An authority that lives in memory alone.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn ephemeral(now: Timestamp) -> Result<Self, ServeError> {
        Self::generate(now).map(|(this, _)| this)
    }

    fn generate(now: Timestamp) -> Result<(Self, String), ServeError> {
        let mut params = params("kubernetes-ca", &[], now, CA_YEARS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let pair = KeyPair::generate().map_err(unusable)?;
        let certificate_pem = params.self_signed(&pair).map_err(unusable)?.pem();
        let key_pem = pair.serialize_pem();
        Ok((Self { certificate_pem, issuer: Issuer::new(params, pair) }, key_pem))
    }

    /// The authority's certificate, in PEM: what clients trust.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A certificate for a server under these names and addresses.
    ///
    /// # Errors
    /// If a name is none a certificate can carry.
    pub fn server(
        &self,
        name: &str,
        names: &[&str],
        addresses: &[IpAddr],
        now: Timestamp,
    ) -> Result<Certificate, ServeError> {
        let mut params = params(name, &[], now, LEAF_YEARS)?;
        add_names(&mut params, names.iter().copied(), addresses)?;
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client: the name is its user, the groups its organizations.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn client(
        &self,
        name: &str,
        groups: &[&str],
        now: Timestamp,
    ) -> Result<Certificate, ServeError> {
        let params = params(name, groups, now, LEAF_YEARS)?;
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// The certificate with which an API server is known to node agents.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn kubelet_client(&self, now: Timestamp) -> Result<Certificate, ServeError> {
        self.client("kube-apiserver-kubelet-client", &["system:masters"], now)
    }

    /// The certificate with which a node's agent is known to the API server.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn node_client(&self, node: &str, now: Timestamp) -> Result<Certificate, ServeError> {
        self.client(&format!("system:node:{node}"), &["system:nodes"], now)
    }

    /// The certificate with which a node's agent serves: under the node's name, further names and
    /// addresses.
    /// <https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/#certificate-rotation>
    ///
    /// # Errors
    /// If a name is none a certificate can carry.
    pub fn node_server(
        &self,
        node: &str,
        names: &[&str],
        addresses: &[IpAddr],
        now: Timestamp,
    ) -> Result<Certificate, ServeError> {
        let subject = format!("system:node:{node}");
        let mut params = params(&subject, &["system:nodes"], now, LEAF_YEARS)?;
        let others = names.iter().copied().filter(|name| *name != node);
        add_names(&mut params, std::iter::once(node).chain(others), addresses)?;
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Certificate, ServeError> {
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let pair = KeyPair::generate().map_err(unusable)?;
        let certificate = params.signed_by(&pair, &self.issuer).map_err(unusable)?;
        Ok(Certificate::new(certificate.pem(), pair.serialize_pem()))
    }
}

/// Adds the names and addresses under which a server is reached.
fn add_names<'a>(
    params: &mut CertificateParams,
    names: impl Iterator<Item = &'a str>,
    addresses: &[IpAddr],
) -> Result<(), ServeError> {
    for name in names {
        let name = name.try_into().map_err(unusable)?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    let addresses = addresses.iter().map(|address| SanType::IpAddress(*address));
    params.subject_alt_names.extend(addresses);
    Ok(())
}

fn params(
    name: &str,
    organizations: &[&str],
    now: Timestamp,
    years: i16,
) -> Result<CertificateParams, ServeError> {
    let mut params = CertificateParams::new(Vec::<String>::new()).map_err(unusable)?;
    let mut subject = DistinguishedName::new();
    for organization in organizations {
        subject.push(DnType::OrganizationName, *organization);
    }
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    let day = |years: i16| {
        let date = now.to_zoned(TimeZone::UTC).date();
        // The first of the month exists in every year.
        rcgen::date_time_ymd(
            i32::from(date.year() + years),
            date.month().unsigned_abs(),
            if years == 0 { date.day().unsigned_abs() } else { 1 },
        )
    };
    params.not_before = day(0);
    params.not_after = day(years);
    Ok(params)
}

fn unusable(error: impl fmt::Display) -> ServeError {
    ServeError::Certificate { what: "certificate".to_owned(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_made_once_and_taken_up_again() {
        let dir = tempfile::tempdir().unwrap();
        let now = "2026-02-28T12:00:00Z".parse().unwrap();
        let first = ClusterCa::open(dir.path(), now).unwrap();
        let second = ClusterCa::open(dir.path(), now).unwrap();
        assert_eq!(first.certificate_pem(), second.certificate_pem());
        let mode = |name: &str| {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777
        };
        assert_eq!(mode("ca.key"), 0o600, "X8");
        std::fs::remove_file(dir.path().join("ca.key")).unwrap();
        let error = ClusterCa::open(dir.path(), now).unwrap_err();
        assert!(error.to_string().contains("ca.crt"), "{error}");
    }
}
