//! `Watch`: several watches on one stream.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::super::convert::{key_value, revision, signed};
use super::super::proto::{
    self, EventType, FilterType, WatchCreateRequest, WatchRequest, WatchRequestUnion, WatchResponse,
};
use super::super::span::Span;
use super::super::text::server;
use super::Shared;
use super::refuse::status;
use crate::{
    Error, Event, EventKind, KeyRange, RangeOptions, Result, Revision, StoreExt, WatchBatch,
    WatchOptions, WatchStream,
};

/// Answers that may wait for the client to read them; then its watches wait, and the store closes
/// those that wait too long.
const ANSWERS: usize = 64;

/// How often watches that have not told their progress are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The name of no watch, and of all of a stream.
const NO_WATCH: i64 = -1;

type Answer = Result<WatchResponse, Status>;

/// A question for the progress of the whole stream.
struct Question {
    at: Revision,
    /// The watches that have not told theirs.
    waiting: BTreeSet<i64>,
}

/// What the watches of a stream share.
struct Line {
    shared: Arc<Shared>,
    answers: mpsc::Sender<Answer>,
    question: Mutex<Option<Question>>,
}

/// A watch, seen from its stream.
struct Open {
    task: JoinHandle<()>,
    after: Revision,
    ask: Arc<Notify>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A watch, seen from its task.
struct Teller {
    line: Arc<Line>,
    id: i64,
    filters: Vec<i32>,
    fragment: bool,
    notify: bool,
    ask: Arc<Notify>,
}

/// Serves one stream.
pub(super) fn serve(
    shared: Arc<Shared>,
    requests: Streaming<WatchRequest>,
) -> impl Stream<Item = Answer> + Send + 'static {
    let (answers, receiver) = mpsc::channel(ANSWERS);
    let line = Arc::new(Line { shared, answers, question: Mutex::new(None) });
    tokio::spawn(Session { line, open: BTreeMap::new(), next: 0 }.run(requests));
    ReceiverStream::new(receiver)
}

/// The task of a stream. Its watches end with it.
struct Session {
    line: Arc<Line>,
    open: BTreeMap<i64, Open>,
    next: i64,
}

impl Session {
    async fn run(mut self, mut requests: Streaming<WatchRequest>) {
        let answers = self.line.answers.clone();
        loop {
            let pending = self.line.question.lock().is_some();
            let again = async {
                match pending {
                    true => tokio::time::sleep(ASK_AGAIN).await,
                    false => std::future::pending().await,
                }
            };
            let request = kcore::select! {
                () = answers.closed() => return,
                request = requests.next() => request,
                () = again => {
                    self.ask();
                    continue;
                }
            };
            let Some(Ok(request)) = request else { return };
            let done = match request.request_union {
                Some(WatchRequestUnion::Create(create)) => self.create(create).await,
                Some(WatchRequestUnion::Cancel(cancel)) => self.cancel(cancel.watch_id).await,
                Some(WatchRequestUnion::Progress(_)) => self.progress().await,
                None => Ok(()),
            };
            if let Err(refused) = done {
                // The client is told, if it is still there.
                let _ = answers.send(Err(refused)).await;
                return;
            }
        }
    }

    async fn create(&mut self, request: WatchCreateRequest) -> Result<(), Status> {
        self.open.retain(|_, open| !open.task.is_finished());
        let shared = Arc::clone(&self.line.shared);
        let now = shared.store.revision().await.map_err(status)?;
        let header = shared.header(now);
        let taken = request.watch_id != 0 && self.open.contains_key(&request.watch_id);
        if taken || self.open.len() >= shared.options.max_watches {
            let reason = if taken { server::DUPLICATE_WATCH } else { "too many watches" };
            let refused = WatchResponse {
                header,
                watch_id: NO_WATCH,
                created: true,
                canceled: true,
                cancel_reason: reason.to_owned(),
                ..WatchResponse::default()
            };
            return self.line.tell(refused).await;
        }
        let id = match request.watch_id {
            0 => self.free_id(),
            chosen => chosen,
        };
        let start = revision(request.start_revision);
        let after = if start.0 > 0 { Revision(start.0 - 1) } else { now };
        let mut options = WatchOptions::default().after(after);
        options.previous = request.prev_kv;
        options.progress = request.progress_notify.then_some(shared.options.progress_interval);
        // etcd takes no key for the least one.
        let key = if request.key.is_empty() { vec![0].into() } else { request.key };
        let range = Span { key, range_end: request.range_end }.range();
        let begun = begin(&shared, &range, options, start).await;
        let created =
            WatchResponse { header, watch_id: id, created: true, ..WatchResponse::default() };
        self.line.tell(created).await?;
        let (first, stream) = match begun {
            Ok(begun) => begun,
            Err(error) => return self.line.end(id, now, error).await,
        };
        let ask = Arc::new(Notify::new());
        let teller = Teller {
            line: Arc::clone(&self.line),
            id,
            filters: request.filters,
            fragment: request.fragment,
            notify: request.progress_notify,
            ask: Arc::clone(&ask),
        };
        let task = tokio::spawn(teller.run(first, stream));
        self.open.insert(id, Open { task, after, ask });
        Ok(())
    }

    fn free_id(&mut self) -> i64 {
        while self.open.contains_key(&self.next) {
            self.next += 1;
        }
        self.next += 1;
        self.next - 1
    }

    async fn cancel(&mut self, id: i64) -> Result<(), Status> {
        let Some(mut open) = self.open.remove(&id) else { return Ok(()) };
        open.task.abort();
        // Nothing of it follows the answer. It was aborted, so how it ended says nothing.
        let _ = (&mut open.task).await;
        self.line.settle(id, None).await?;
        let header = self.line.shared.header_now().await.map_err(status)?;
        let canceled =
            WatchResponse { header, watch_id: id, canceled: true, ..WatchResponse::default() };
        self.line.tell(canceled).await
    }

    async fn progress(&mut self) -> Result<(), Status> {
        self.open.retain(|_, open| !open.task.is_finished());
        let at = self.line.shared.store.revision().await.map_err(status)?;
        // A watch that begins later has told everything up to here: nothing.
        let waiting: BTreeSet<i64> =
            self.open.iter().filter(|(_, open)| open.after < at).map(|(id, _)| *id).collect();
        if waiting.is_empty() {
            return self.line.tell_progress(at).await;
        }
        *self.line.question.lock() = Some(Question { at, waiting });
        self.ask();
        Ok(())
    }

    /// Asks those that have not told their progress.
    fn ask(&self) {
        if let Some(question) = &*self.line.question.lock() {
            for id in &question.waiting {
                if let Some(open) = self.open.get(id) {
                    open.ask.notify_one();
                }
            }
        }
    }
}

/// Opens a watch of the store. One from exactly the compacted revision is refused by the store,
/// for deletions of that revision are forgotten, but not by etcd: what is left of the revision
/// comes first then.
async fn begin(
    shared: &Shared,
    range: &KeyRange,
    options: WatchOptions,
    start: Revision,
) -> Result<(Vec<Event>, WatchStream)> {
    match shared.store.watch(range.clone(), options.clone()).await {
        Err(Error::Compacted { compacted, .. }) if compacted == start => {
            let at = RangeOptions::default().at(start);
            let page = shared.store.range(range.clone(), at).await?;
            let left = page.records.into_iter().filter(|record| record.modified == start);
            let event = |record| Event { kind: EventKind::Put, record, previous: None };
            let left = left.map(event).collect();
            Ok((left, shared.store.watch(range.clone(), options.after(start)).await?))
        }
        opened => Ok((Vec::new(), opened?)),
    }
}

impl Line {
    /// Waits for room, and tells the client.
    async fn tell(&self, response: WatchResponse) -> Result<(), Status> {
        let gone = |_| Status::cancelled("the client is gone");
        self.answers.send(Ok(response)).await.map_err(gone)
    }

    async fn tell_progress(&self, at: Revision) -> Result<(), Status> {
        let header = self.shared.header(at);
        self.tell(WatchResponse { header, watch_id: NO_WATCH, ..WatchResponse::default() }).await
    }

    /// Tells that a watch has ended, and why.
    async fn end(&self, id: i64, now: Revision, error: Error) -> Result<(), Status> {
        self.settle(id, None).await?;
        let compacted = match &error {
            Error::Compacted { compacted, .. } => signed(*compacted),
            _ => 0,
        };
        let ended = WatchResponse {
            header: self.shared.header(now),
            watch_id: id,
            canceled: true,
            compact_revision: compacted,
            cancel_reason: match &error {
                Error::Compacted { .. } => status(error).message().to_owned(),
                other => format!("etcdserver: {other}"),
            },
            ..WatchResponse::default()
        };
        self.tell(ended).await
    }

    /// A watch has told everything up to `progress`, or has ended; if it was the last one that a
    /// question waited for, that is answered.
    async fn settle(&self, id: i64, progress: Option<Revision>) -> Result<(), Status> {
        let answered = {
            let mut question = self.question.lock();
            let Some(pending) = &mut *question else { return Ok(()) };
            if progress.is_none_or(|progress| progress >= pending.at) {
                pending.waiting.remove(&id);
            }
            let at = pending.at;
            pending.waiting.is_empty().then(|| *question = None).map(|()| at)
        };
        match answered {
            Some(at) => self.tell_progress(at).await,
            None => Ok(()),
        }
    }
}

impl Teller {
    async fn run(self, first: Vec<Event>, mut stream: WatchStream) {
        let mut last = Revision(0);
        if self.tell(first).await.is_err() {
            return;
        }
        loop {
            let batch = kcore::select! {
                batch = stream.next() => batch,
                () = self.ask.notified() => {
                    stream.request_progress();
                    continue;
                }
            };
            let told = match batch {
                Some(Ok(WatchBatch::Events { revision, events })) => {
                    last = revision;
                    self.tell(events).await
                }
                Some(Ok(WatchBatch::Progress(revision))) => {
                    last = revision;
                    self.progress(revision).await
                }
                Some(Err(error)) => {
                    let _ = self.line.end(self.id, last, error).await;
                    return;
                }
                None => {
                    let _ = self.line.end(self.id, last, Error::Closed).await;
                    return;
                }
            };
            if told.is_err() {
                return;
            }
        }
    }

    async fn progress(&self, at: Revision) -> Result<(), Status> {
        let asked = self
            .line
            .question
            .lock()
            .as_ref()
            .is_some_and(|question| question.waiting.contains(&self.id));
        if self.notify && !asked {
            let header = self.line.shared.header(at);
            let told = WatchResponse { header, watch_id: self.id, ..WatchResponse::default() };
            return self.line.tell(told).await;
        }
        self.line.settle(self.id, Some(at)).await
    }

    async fn tell(&self, events: Vec<Event>) -> Result<(), Status> {
        let Some(last) = events.last().map(|event| event.record.modified) else { return Ok(()) };
        let header = self.line.shared.header(last);
        let events: Vec<proto::Event> =
            events.into_iter().filter(|event| self.wants(event.kind)).map(event).collect();
        let most = self.line.shared.options.fragment_bytes;
        let mut parts = if self.fragment { split(events, most) } else { vec![events] };
        parts.retain(|part| !part.is_empty());
        let count = parts.len();
        for (n, events) in parts.into_iter().enumerate() {
            let fragment = n + 1 < count;
            let watch_id = self.id;
            let part =
                WatchResponse { header, watch_id, fragment, events, ..WatchResponse::default() };
            self.line.tell(part).await?;
        }
        Ok(())
    }

    fn wants(&self, kind: EventKind) -> bool {
        let left_out = match kind {
            EventKind::Put => FilterType::NoPut,
            EventKind::Delete => FilterType::NoDelete,
        };
        !self.filters.contains(&i32::from(left_out))
    }
}

fn event(event: Event) -> proto::Event {
    let kind = match event.kind {
        EventKind::Put => EventType::Put,
        EventKind::Delete => EventType::Delete,
    };
    proto::Event {
        r#type: kind.into(),
        kv: Some(key_value(event.record)),
        prev_kv: event.previous.map(key_value),
    }
}

/// Parts of at most so many bytes, or of one event.
fn split(events: Vec<proto::Event>, most: usize) -> Vec<Vec<proto::Event>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for event in events {
        let size = event.encoded_len();
        if let Some(part) = parts.last()
            && !part.is_empty()
            && bytes + size > most
        {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(part) = parts.last_mut() {
            part.push(event);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_split_by_their_bytes() {
        let event = |size: usize| {
            let kv = proto::KeyValue { value: vec![0; size].into(), ..Default::default() };
            proto::Event { kv: Some(kv), ..proto::Event::default() }
        };
        let sizes = |events: &[usize]| -> Vec<usize> {
            let events = events.iter().map(|size| event(*size)).collect();
            split(events, 1000).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&[400, 400, 400, 5000, 10]), [2, 1, 1, 1]);
        assert_eq!(sizes(&[10]), [1]);
    }
}
