//! Handshakes over pipes, and what is refused before one.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// An authority that issues certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn issue(&self, name: &str) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Certificate::new(certificate.pem(), key.serialize_pem())
    }
}

/// What a client gets that connects to `host`: a word from the server, and whether the server
/// saw a certificate.
async fn talk(server: &ServerTls, tls: &ClientTls, host: &str) -> Result<bool, ConnectError> {
    let (here, there) = tokio::io::duplex(1 << 16);
    let acceptor = server.acceptor();
    let serving = tokio::spawn(async move {
        let mut stream = acceptor.accept(there).await?;
        let seen = stream.get_ref().1.peer_certificates().is_some();
        stream.write_all(b"hello").await?;
        stream.shutdown().await?;
        Ok::<_, std::io::Error>(seen)
    });
    let mut stream = tls.connector().unwrap().connect(host, here).await?;
    let mut word = Vec::new();
    // In TLS 1.3 a client hears with the first data that its certificate was refused.
    stream.read_to_end(&mut word).await.map_err(ConnectError::Handshake)?;
    assert_eq!(word, b"hello");
    Ok(serving.await.unwrap().unwrap())
}

#[tokio::test]
async fn a_server_is_known_by_its_authority_and_its_name() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = ServerTls::new(&authority.issue("node-1"), None).unwrap();
    let known = ClientTls::trusting(authority.pem.clone());
    assert!(!talk(&server, &known, "node-1").await.unwrap());
    for (tls, host) in [
        (known.clone(), "node-2"),
        (known.clone(), "127.0.0.1"),
        (known.clone().server_name("node-2"), "node-1"),
        (ClientTls::trusting(stranger.pem.clone()), "node-1"),
    ] {
        let refused = talk(&server, &tls, host).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Untrusted(_)), "{tls:?} {host}: {refused}");
    }
    talk(&server, &known.server_name("node-1"), "127.0.0.1").await.unwrap();
    talk(&server, &ClientTls::trusting_anybody(), "node-2").await.unwrap();
    let both = ClientTls::trusting(stranger.pem + &authority.pem);
    talk(&server, &both, "node-1").await.unwrap();
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate_if_it_shows_one() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = ServerTls::new(&authority.issue("a"), Some(&authority.pem)).unwrap();
    let tls = ClientTls::trusting(authority.pem.clone());
    assert!(!talk(&server, &tls, "a").await.unwrap());
    assert!(talk(&server, &tls.clone().certificate(authority.issue("b")), "a").await.unwrap());
    let refused = talk(&server, &tls.certificate(stranger.issue("b")), "a").await.unwrap_err();
    assert!(matches!(refused, ConnectError::Handshake(_)), "{refused}");
}

#[tokio::test]
async fn whoever_does_not_speak_tls_is_no_stranger_with_a_bad_certificate() {
    let (here, mut there) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move { there.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await });
    let connector = ClientTls::trusting_anybody().connector().unwrap();
    let refused = connector.connect("a", here).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Handshake(_)), "{refused}");
    assert!(refused.to_string().contains("InvalidContentType"), "{refused}");
    let (here, _there) = tokio::io::duplex(1);
    let refused = connector.connect("no name", here).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Name(_)), "{refused}");
}

#[tokio::test]
async fn a_renewed_certificate_is_in_force_for_the_next_connection() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = ServerTls::new(&old.issue("a"), None).unwrap();
    let shared = server.clone();
    server.replace(&new.issue("a"), None).unwrap();
    talk(&shared, &ClientTls::trusting(new.pem.clone()), "a").await.unwrap();
    let broken = Certificate::new("nothing", new.issue("a").key_pem);
    server.replace(&broken, None).unwrap_err();
    talk(&shared, &ClientTls::trusting(new.pem), "a").await.unwrap();
}

#[test]
fn what_cannot_be_used_says_what_and_why() {
    let authority = Authority::new();
    let good = authority.issue("a");
    let server = |certificate: &str, key: &str, ca: Option<&str>| {
        ServerTls::new(&Certificate::new(certificate, key), ca).unwrap_err().to_string()
    };
    let (certificate, key) = (good.certificate_pem.as_str(), good.key_pem.as_str());
    let other = authority.issue("a").key_pem;
    let torn = &certificate[..certificate.len() / 2];
    let strange = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (found, expect) in [
        (server("", key, None), "the server's certificate cannot be used: no certificate in it"),
        (server(key, key, None), "the server's certificate cannot be used: no certificate in it"),
        (server(certificate, "", None), "the server's key cannot be used: no private key in it"),
        (
            server(torn, key, None),
            "the server's certificate cannot be used: its PEM has a beginning and no end",
        ),
        (
            server(certificate, &other, None),
            "the server's certificate cannot be used: the key is another certificate's",
        ),
        (
            server(certificate, key, Some("")),
            "the clients' authority cannot be used: no certificate in it",
        ),
    ] {
        assert_eq!(found, expect);
    }
    let refused = server(certificate, key, Some(strange));
    assert!(refused.starts_with("the clients' authority cannot be used: invalid"), "{refused}");
    let client = |tls: ClientTls| tls.connector().unwrap_err().to_string();
    let ca = ClientTls::trusting(authority.pem.clone());
    assert_eq!(
        client(ClientTls::trusting("")),
        "the authority cannot be used: no certificate in it"
    );
    let mixed = ca.clone().certificate(Certificate::new(certificate, other));
    assert_eq!(
        client(mixed),
        "the client's certificate cannot be used: the key is another certificate's"
    );
    let named = client(ca.server_name("no name"));
    assert_eq!(named, "\"no name\" is no host name or address that a certificate can have");
}

#[test]
fn keys_are_in_no_debug_and_no_error_x8() {
    let good = Authority::new().issue("a");
    let secret = good.key_pem.lines().nth(1).unwrap().to_owned();
    let tls = ClientTls::trusting_anybody().certificate(good.clone());
    let server = ServerTls::new(&good, None).unwrap();
    let connector = tls.connector().unwrap();
    let shown = format!("{good:?} {tls:?} {server:?} {connector:?}");
    assert!(!shown.contains(&secret), "{shown}");
    // A key whose line breaks were lost begins with a line that is all of it.
    let torn = good.key_pem.replace('\n', "");
    for key in [torn, good.key_pem.replace("END", "ENDE"), good.key_pem.replace('A', "!")] {
        let broken = Certificate::new(good.certificate_pem.clone(), key);
        let error = ServerTls::new(&broken, None).unwrap_err();
        let shown = format!("{error} {error:?}");
        let quoted = broken.key_pem.as_bytes().windows(12).any(|piece| {
            let piece = std::str::from_utf8(piece).unwrap();
            !piece.contains("PRIVATE") && !piece.contains("KEY") && shown.contains(piece)
        });
        assert!(!quoted, "{shown}");
    }
}
