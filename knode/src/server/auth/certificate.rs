//! Who a client certificate is for.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates>

use jiff::Timestamp;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::User;

/// Whoever opened a connection with a certificate whose chain was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Who: the common name, with the organizations as groups.
    pub user: User,
    /// Until when the certificate is good.
    pub not_after: Timestamp,
}

/// Reads a certificate in DER; none if it does not name anybody.
#[must_use]
pub fn read_peer(der: &[u8]) -> Option<Peer> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().find_map(|name| name.as_str().ok())?;
    if name.is_empty() {
        return None;
    }
    let mut groups: Vec<String> = subject
        .iter_organization()
        .filter_map(|group| group.as_str().ok())
        .map(str::to_owned)
        .collect();
    groups.push("system:authenticated".into());
    let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?;
    Some(Peer { user: User { name: name.to_owned(), groups, ..User::default() }, not_after })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn certificate(name: Option<&str>, groups: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        for group in groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_names_a_user_and_groups() {
        let peer = read_peer(&certificate(Some("kube-apiserver"), &["system:masters"])).unwrap();
        assert_eq!(peer.user.name, "kube-apiserver");
        assert_eq!(peer.user.groups, ["system:masters", "system:authenticated"]);
        assert_eq!(peer.not_after.to_string(), "2031-02-03T00:00:00Z");
    }

    #[test]
    fn a_certificate_without_a_name_is_nobodys() {
        assert_eq!(read_peer(&certificate(None, &["g"])), None);
        assert_eq!(read_peer(&certificate(Some(""), &["g"])), None);
        assert_eq!(read_peer(b"no certificate"), None);
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_certificate_never_panics_x10(at in 0usize..4096, byte in 0u8..=255) {
            let mut der = certificate(Some("a"), &["b"]);
            let at = at % der.len();
            der[at] = byte;
            let _ = read_peer(&der);
            let _ = read_peer(&der[..at]);
        }
    }
}
