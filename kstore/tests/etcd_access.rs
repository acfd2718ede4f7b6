//! Who gets at real etcd: certificates on both sides, users, and what is said when they are wrong.
#![cfg(feature = "etcd")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod real_etcd;

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use kstore::{Error, EtcdOptions, EtcdStore, KeyRange, Leases as _, Store, StoreExt, WatchOptions};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use real_etcd::{Etcd, Tls, tool};

/// An authority of its own for each test.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "etcd-ca");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate and its key; one for an address can serve, too.
    fn sign(&self, address: Option<&str>, until: i32) -> (String, String) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "kubrick");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let address = address.map(|address| address.parse::<IpAddr>().unwrap());
        params.subject_alt_names = address.into_iter().map(SanType::IpAddress).collect();
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        (cert.pem(), key.serialize_pem())
    }

    /// What a client needs that shows a certificate good until that year.
    fn client(&self, until: i32) -> Tls {
        let (cert, key) = self.sign(None, until);
        Tls { ca: self.pem.clone(), cert, key }
    }
}

/// The error with everything below it.
fn whole(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

/// Options that give up soon.
fn quick(endpoint: &str, tls: &Tls) -> EtcdOptions {
    EtcdOptions::new([endpoint])
        .timeout(Duration::from_secs(2))
        .ca_pem(&tls.ca)
        .identity_pem(&tls.cert, &tls.key)
}

#[tokio::test]
async fn certificates_are_shown_and_asked_for() {
    let authority = Authority::new();
    let certify = |host: &str| authority.sign(Some(host), 2100);
    let Some(mut etcd) = Etcd::secured(authority.client(2100), certify) else { return };
    etcd.start().await;
    let store = EtcdStore::connect(etcd.options()).await.unwrap();
    let revision = store.put("a", "1").await.unwrap();
    assert_eq!(store.get("a").await.unwrap().unwrap().modified, revision);
    store.watch(KeyRange::all(), WatchOptions::default()).await.unwrap();
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    store.keep_alive(lease).await.unwrap();
    // Its metrics are behind the certificate, too: whole writes say how slow its disk is at most.
    let health = store.health().await.unwrap();
    assert!(!health.sync_is_measured && health.sync_p99.is_some(), "{health:?}");

    let endpoint = &etcd.endpoints()[0];
    let stranger = Authority::new();
    let mut foreign_ca = authority.client(2100);
    foreign_ca.ca.clone_from(&stranger.pem);
    let mut foreign_client = stranger.client(2100);
    foreign_client.ca.clone_from(&authority.pem);
    for (what, tls) in [
        ("a server that nobody vouches for", foreign_ca),
        ("a client that nobody vouches for", foreign_client),
        ("a client whose certificate has expired", authority.client(2021)),
    ] {
        let error = EtcdStore::connect(quick(endpoint, &tls)).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{what}: {error:?}");
        let text = whole(&error);
        assert!(text.contains(&endpoint[..]), "{what}: {text}");
        assert!(!text.contains("PRIVATE"), "X8: {text}");
    }
}

#[tokio::test]
async fn an_expired_certificate_of_the_server_is_named() {
    let authority = Authority::new();
    let certify = |host: &str| authority.sign(Some(host), 2021);
    let Some(mut etcd) = Etcd::secured(authority.client(2100), certify) else { return };
    etcd.spawn(0);
    let endpoint = etcd.endpoints()[0].clone();
    let tls = authority.client(2100);
    let named = async {
        loop {
            let error = EtcdStore::connect(quick(&endpoint, &tls)).await.unwrap_err();
            let text = whole(&error);
            // Until it listens the connection is refused.
            if text.contains("expired") {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let text = tokio::time::timeout(Duration::from_secs(30), named).await.expect("it is named");
    assert!(text.contains(&endpoint), "{text}");
}

#[tokio::test]
async fn users_are_authenticated() {
    let Some(program) = tool("KUBRICK_ETCDCTL") else { return };
    let Some(etcd) = Etcd::one().await else { return };
    let endpoint = etcd.endpoints()[0].clone();
    for arguments in [
        &["user", "add", "root:hush-hush"][..],
        &["user", "grant-role", "root", "root"],
        &["auth", "enable"],
    ] {
        let mut command = Command::new(&program);
        command.env("ETCDCTL_API", "3").args(["--endpoints", &endpoint]).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    let options = EtcdOptions::new([&endpoint[..]]).timeout(Duration::from_secs(5));
    let store = EtcdStore::connect(options.clone().user("root", "hush-hush")).await.unwrap();
    let revision = store.put("a", "1").await.unwrap();
    let mut watch = store.watch(KeyRange::all(), WatchOptions::default()).await.unwrap();
    store.put("a", "2").await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(10), futures::StreamExt::next(&mut watch));
    assert!(told.await.expect("the watch tells").unwrap().unwrap().revision() > revision);
    for options in [options.clone(), options.clone().user("root", "wrong-word")] {
        let error = EtcdStore::connect(options).await.unwrap_err();
        let text = format!("{} {error:?}", whole(&error));
        assert!(matches!(error, Error::Unavailable { .. }), "{text}");
        assert!(!text.contains("wrong-word"), "X8: {text}");
    }
}
