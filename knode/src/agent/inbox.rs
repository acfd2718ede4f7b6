//! What the API says of the node's pods and nobody has dealt with yet: the newest of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kcore::informer::Change;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::pod::uid;

/// What the API says of one pod.
#[derive(Debug, Clone)]
pub(super) enum News {
    /// It is so now.
    Is(Arc<Pod>),
    /// It is there no more.
    Gone,
}

/// The newest of each pod, by uid, until it is taken. It is bounded by the pods of the node.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    news: Mutex<BTreeMap<String, News>>,
    more: Notify,
}

impl Inbox {
    /// Takes a change in.
    pub(super) fn put(&self, change: &Change<Arc<Pod>>) {
        let mut news = self.news.lock();
        let after = change.after();
        // A pod of the same name may be another one: the one before is gone then.
        let before =
            change.before().filter(|before| after.is_none_or(|after| uid(after) != uid(before)));
        if let Some(before) = before {
            news.insert(uid(before).to_owned(), News::Gone);
        }
        if change.is_deleted() {
            news.insert(uid(change.latest()).to_owned(), News::Gone);
        } else if let Some(after) = after {
            news.insert(uid(after).to_owned(), News::Is(Arc::clone(after)));
        }
        drop(news);
        self.more.notify_one();
    }

    /// Waits until there is something.
    pub(super) async fn more(&self) {
        self.more.notified().await;
    }

    /// Everything that came in.
    pub(super) fn take(&self) -> BTreeMap<String, News> {
        std::mem::take(&mut *self.news.lock())
    }
}
