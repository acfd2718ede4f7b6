//! A store in a pointer is a store.
#![deny(clippy::missing_trait_methods)]

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    KeyRange, Leases, Page, RangeOptions, Result, Revision, Store, StoreStatus, Txn, TxnResult,
    WatchOptions, WatchStream,
};

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<S: Store + ?Sized> Store for $pointer<S> {
            async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Page> {
                (**self).range(range, options).await
            }

            async fn txn(&self, txn: Txn) -> Result<TxnResult> {
                (**self).txn(txn).await
            }

            async fn watch(&self, range: KeyRange, options: WatchOptions) -> Result<WatchStream> {
                (**self).watch(range, options).await
            }

            async fn compact(&self, through: Revision) -> Result<()> {
                (**self).compact(through).await
            }

            async fn status(&self) -> Result<StoreStatus> {
                (**self).status().await
            }

            fn leases(&self) -> Option<&dyn Leases> {
                (**self).leases()
            }
        }
    };
}

forward!(Arc);
forward!(Box);
