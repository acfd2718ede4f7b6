//! Watching collections.

use std::sync::Arc;

use futures::StreamExt as _;
use kcore::client::{Path, WatchBatch, WatchEvent, WatchOptions, WatchStream};
use kcore::status::Status;

use super::decode::present;

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
                let convert = move |batch: kcore::Result<WatchBatch>| convert(&row, &batch?);
                Ok(WatchStream::new(watcher.map(convert)))
            }
        }
    }
}

/// The changes in the version that was asked for.
fn convert(row: &Row, batch: &WatchBatch) -> kcore::Result<WatchBatch> {
    let converted = |event: &WatchEvent| {
        Ok(match event {
            WatchEvent::Added(object) => WatchEvent::Added(present(row, object.clone())?),
            WatchEvent::Modified(object) => WatchEvent::Modified(present(row, object.clone())?),
            WatchEvent::Deleted(object) => WatchEvent::Deleted(present(row, object.clone())?),
            mark @ WatchEvent::Bookmark { .. } => mark.clone(),
        })
    };
    batch.iter().map(converted).collect()
}
