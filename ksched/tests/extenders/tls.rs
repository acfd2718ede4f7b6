//! Extenders behind HTTPS.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ksched::Scheduler;
use ksched::config::SchedulerConfig;
use ksched::testing::pod;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use crate::common::World;
use crate::nodes;
use crate::stub::{Answer, Stub};

/// An authority in PEM, and a server with a certificate of it for this name.
fn authority(name: &str) -> (String, TlsAcceptor) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (authority.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn certificates_are_checked_unless_a_configuration_says_otherwise() {
    let (ca, tls) = authority("extender.example.com");
    let (stranger, _) = authority("extender.example.com");
    let [ca, stranger] = [ca, stranger].map(|pem| STANDARD.encode(pem));
    let named = |ca: &str| {
        format!("enableHTTPS: true, tlsConfig: {{caData: {ca}, serverName: extender.example.com}}")
    };
    for (extender, trusts) in [
        (named(&ca), true),
        (format!("tlsConfig: {{caData: {ca}}}"), false),
        (named(&stranger), false),
        ("tlsConfig: {insecure: true}".to_owned(), true),
        // Upstream believes everybody where it is given no authority.
        ("enableHTTPS: true".to_owned(), true),
    ] {
        let stub = Stub::with(Some(tls.clone()), |_, question| {
            Box::pin(async move { Answer::Json(json!({"NodeNames": question["NodeNames"]})) })
        })
        .await;
        let file = format!(
            "apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
extenders:
- {{urlPrefix: 'https://{}', filterVerb: filter, nodeCacheCapable: true, {extender}}}
",
            stub.address
        );
        let config = SchedulerConfig::from_yaml(&file).unwrap();
        let world = World::new();
        nodes(&world, &["a"]).await;
        let _running = world.run(Scheduler::new(world.client()).config(&config));
        world.pod(pod("p")).await;
        if trusts {
            world.bound("p").await;
        } else {
            let (reason, message) = world.told("p").await;
            let expected = "cannot be reached: invalid peer certificate";
            assert!(reason == "SchedulerError" && message.contains(expected), "{message}");
        }
    }
}
