//! Watching collections.

use std::sync::Arc;

use futures::StreamExt as _;
use kcore::client::{Path, WatchBatch, WatchEvent, WatchOptions, WatchStream};
use kcore::object::Object;
use kcore::status::Status;

use super::decode::present_all;
use super::read::check_fields;
use super::{Identity, Result, Server};
use crate::cache::{Filter, Lagged, Watcher};
use crate::registry::Row;

impl Server {
    /// Watches a collection.
    pub(crate) async fn watch(
        &self,
        user: &Identity,
        path: Path<'_>,
        options: &WatchOptions,
    ) -> Result<WatchStream> {
        self.ready().await?;
        let row = self.row(path.resource)?;
        self.authorize_path(user, "watch", path).await?;
        let kind = self.kind(row, "watch")?;
        check_fields(row, &options.fields)?;
        let filter = Filter {
            namespace: path.namespace.map(ToOwned::to_owned),
            labels: options.labels.clone(),
            fields: options.fields.clone(),
        };
        self.fresh(options.resource_version).await?;
        let part = kind.part(path.namespace, &options.fields);
        let from_state = options.send_initial_events;
        let after = options.resource_version.filter(|version| *version > 0 && !from_state);
        let subscription = kind.subscribe(&part, after).map_err(|Lagged| {
            let version = after.unwrap_or_default();
            Status::expired(format!(
                "too old resource version: {version} ({})",
                kind.oldest_revision()
            ))
        })?;
        let subscription = match after {
            Some(after) => Watcher::resume(subscription, after),
            None => subscription,
        };
        let applied = Arc::clone(self.cache.applied());
        let watcher = Watcher::new(subscription, filter, applied, options.bookmarks, from_state);
        match &row.stored_as {
            None => Ok(WatchStream::new(watcher)),
            Some(_) => {
                let row = Arc::clone(row);
                let convert = move |batch: kcore::Result<WatchBatch>| {
                    let row = Arc::clone(&row);
                    async move { convert(&row, batch?).await }
                };
                Ok(WatchStream::new(watcher.then(convert)))
            }
        }
    }
}

/// The changes in the version that was asked for.
async fn convert(row: &Row, batch: WatchBatch) -> kcore::Result<WatchBatch> {
    let objects: Vec<Object> = batch.iter().filter_map(WatchEvent::object).cloned().collect();
    let mut converted = present_all(row, objects).await?.into_iter();
    let converted = |event: &WatchEvent| {
        let mut next = || {
            // One came back for each that went in.
            converted.next().ok_or_else(|| Box::new(Status::internal("an object is missing")))
        };
        Ok(match event {
            WatchEvent::Added(_) => WatchEvent::Added(next()?),
            WatchEvent::Modified(_) => WatchEvent::Modified(next()?),
            WatchEvent::Deleted(_) => WatchEvent::Deleted(next()?),
            mark @ WatchEvent::Bookmark { .. } => mark.clone(),
        })
    };
    batch.iter().map(converted).collect()
}
