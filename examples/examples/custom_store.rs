//! A `Store` from scratch, with a whole API server over it.
//!
//! `cargo test -p kubrick-examples --example custom_store` runs the seam's whole suite against
//! [`LogStore`]; run as a program it creates, lists and watches objects that are kept in it.

use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kapi::ApiServer;
use kapi::auth::Identity;
use kcore::client::{Api, DeleteOptions, DynClient, ListOptions, WatchEvent, WatchOptions};
use kubrick_examples::log_store::{LogOptions, LogStore};

fn config_map(name: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.name = Some(name.to_owned());
    map
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let api = ApiServer::new(LogStore::new(LogOptions::default()));
    let client: DynClient = Arc::new(api.client(Identity::admin()));
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");

    maps.create(config_map("before")).await?;
    let list = maps.list(&ListOptions::default()).await?;
    println!("{} object at resource version {}", list.items.len(), list.resource_version);

    let mut watch = maps.watch(&WatchOptions::default().after(list.resource_version)).await?;
    let mut map = config_map("after");
    map.data = Some([("greeting".to_owned(), "hello".to_owned())].into());
    let mut map = (*maps.create(map).await?).clone();
    map.data = Some([("greeting".to_owned(), "good evening".to_owned())].into());
    maps.update(map).await?;
    maps.delete("after", &DeleteOptions::default()).await?;

    let mut told = Vec::new();
    while !told.contains(&"deleted") {
        let Some(batch) = watch.next().await else { anyhow::bail!("the watch ended") };
        for event in batch?.iter() {
            let (what, object) = match event {
                WatchEvent::Added(object) => ("added", object),
                WatchEvent::Modified(object) => ("modified", object),
                WatchEvent::Deleted(object) => ("deleted", object),
                WatchEvent::Bookmark { .. } => continue,
            };
            println!("{what} {} at {}", object.meta().name, object.resource_version());
            told.push(what);
        }
    }
    anyhow::ensure!(told == ["added", "modified", "deleted"], "told {told:?}");
    println!("custom_store: ok");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use kstore::conformance::{CASES, Capabilities, Suite, suite};
    use kstore::{
        KeyRange, Leases, Page, RangeOptions, Result, Revision, Store, StoreStatus, Txn, TxnResult,
        WatchStream,
    };

    const QUOTA: u64 = 1 << 20;

    // It has no leases, takes values of any size, and its bound on watchers is its history's.
    fn capabilities() -> Capabilities {
        Capabilities::default().virtual_time().quota(QUOTA)
    }

    fn store() -> LogStore {
        LogStore::new(LogOptions { quota_bytes: QUOTA, ..LogOptions::default() })
    }

    suite!(log_store, capabilities(), || async { ((), store()) });

    /// The same store with a mistake: it returns the values that nobody asked for.
    #[derive(Debug)]
    struct Talkative(LogStore);

    #[async_trait::async_trait]
    impl Store for Talkative {
        async fn range(&self, range: KeyRange, mut options: RangeOptions) -> Result<Page> {
            options.keys_only = false;
            self.0.range(range, options).await
        }

        async fn txn(&self, txn: Txn) -> Result<TxnResult> {
            self.0.txn(txn).await
        }

        async fn watch(
            &self,
            range: KeyRange,
            options: kstore::WatchOptions,
        ) -> Result<WatchStream> {
            self.0.watch(range, options).await
        }

        async fn compact(&self, through: Revision) -> Result<()> {
            self.0.compact(through).await
        }

        async fn status(&self) -> Result<StoreStatus> {
            self.0.status().await
        }

        fn leases(&self) -> Option<&dyn Leases> {
            self.0.leases()
        }
    }

    #[test]
    fn a_mistake_fails_exactly_the_case_that_names_it() {
        let suite = Suite::new(capabilities(), || async { ((), Talkative(store())) });
        let fails = |name| {
            let run = std::panic::AssertUnwindSafe(|| suite.run(name));
            std::panic::catch_unwind(run).is_err()
        };
        let failed: Vec<_> = CASES.iter().map(|case| case.name).filter(|n| fails(n)).collect();
        assert_eq!(failed, ["range_keys_only_has_no_values"]);
    }
}
