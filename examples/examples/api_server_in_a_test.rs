//! A whole API server inside a unit test of a kube-rs operator: no binaries, no sockets.
//!
//! `cargo test -p kubrick-examples --example api_server_in_a_test` runs the tests below; run as a
//! program it does the same once and prints how long it took.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kapi::ApiServer;
use kapi::auth::Identity;
use kstore::MemoryStore;
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt as _};

/// The operator under test: it keeps a Secret beside every ConfigMap that asks for one.
async fn reconcile(client: Client) -> kube::Result<usize> {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let secrets: Api<Secret> = Api::default_namespaced(client);
    let mut created = 0;
    for map in maps.list(&ListParams::default().labels("wants=secret")).await? {
        let name = map.name_any();
        if secrets.get_opt(&name).await?.is_none() {
            let mut secret = Secret::default();
            secret.metadata.name = Some(name);
            secret.string_data = Some([("password".to_owned(), "made up".to_owned())].into());
            secrets.create(&PostParams::default(), &secret).await?;
            created += 1;
        }
    }
    Ok(created)
}

/// A server of its own for each test.
fn client(identity: Identity) -> Client {
    Client::new(ApiServer::new(MemoryStore::new()).service_as(identity), "default")
}

fn config_map(name: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map.metadata.labels = Some([("wants".to_owned(), "secret".to_owned())].into());
    map
}

async fn a_secret_appears_once() -> kube::Result<()> {
    let client = client(Identity::admin());
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    maps.create(&PostParams::default(), &config_map("a")).await?;
    maps.create(&PostParams::default(), &config_map("b")).await?;
    assert_eq!(reconcile(client.clone()).await?, 2);
    assert_eq!(reconcile(client.clone()).await?, 0);
    let secret = Api::<Secret>::default_namespaced(client).get("a").await?;
    assert_eq!(secret.data.unwrap_or_default()["password"].0, b"made up");
    Ok(())
}

async fn an_operator_without_a_role_is_told_so() {
    let error = reconcile(client(Identity::user("operator", [""; 0]))).await;
    let Err(kube::Error::Api(status)) = error else { panic!("it was let through: {error:?}") };
    assert_eq!(status.code, 403);
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let began = tokio::time::Instant::now();
    a_secret_appears_once().await?;
    an_operator_without_a_role_is_told_so().await;
    println!("two API servers, two tests: {:?}", began.elapsed());
    println!("api_server_in_a_test: ok");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_secret_appears_once() {
        super::a_secret_appears_once().await.unwrap();
    }

    #[tokio::test]
    async fn an_operator_without_a_role_is_told_so() {
        super::an_operator_without_a_role_is_told_so().await;
    }
}
