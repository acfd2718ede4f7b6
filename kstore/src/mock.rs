//! A store whose answers a test scripts.

use async_trait::async_trait;

use crate::{
    KeyRange, Leases, Page, RangeOptions, Result, Revision, Store, StoreStatus, Txn, TxnResult,
    WatchOptions, WatchStream,
};

mockall::mock! {
    /// A [`Store`] with scripted answers, by [mockall](https://docs.rs/mockall).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use kstore::{Error, MockStore, StoreExt};
    /// let mut store = MockStore::new();
    /// store.expect_range().returning(|_, _| Err(Error::Closed));
    /// assert!(matches!(store.get("a").await, Err(Error::Closed)));
    /// # }
    /// ```
    #[derive(Debug)]
    pub Store {}

    #[async_trait]
    impl Store for Store {
        async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Page>;
        async fn txn(&self, txn: Txn) -> Result<TxnResult>;
        async fn watch(&self, range: KeyRange, options: WatchOptions) -> Result<WatchStream>;
        async fn compact(&self, through: Revision) -> Result<()>;
        async fn status(&self) -> Result<StoreStatus>;
        fn leases<'a>(&'a self) -> Option<&'a dyn Leases>;
    }
}
