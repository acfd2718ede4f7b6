//! The task of a watch: it follows one member, and another one when that fails.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::super::super::convert::revision;
use super::super::super::proto::{self, path};
use super::super::failure::{EtcdError, Failure, Kind};
use super::super::{Answer, Shared, version};
use super::cursor::{Cursor, Progress, Step};
use super::queue::{Bounds, Queue};
use crate::{Error, Result, Revision, WatchBatch};

/// The largest message of a watch: etcd sends fragments of about its request limit, but one event
/// with its previous record is never split.
const MAX_MESSAGE: usize = 64 << 20;

/// Requests that may wait for the member to read them.
const REQUESTS: usize = 8;

/// How often a progress that was not told is asked for again: a member that is behind with a watch
/// lets the question fall.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The pause before another member is tried; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// As good as never.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A stream from a member.
struct Line {
    at: usize,
    url: String,
    mode: Progress,
    requests: mpsc::Sender<proto::WatchRequest>,
    responses: Streaming<proto::WatchResponse>,
}

/// Why a line is given up.
enum Lost {
    /// Another member may do better.
    Line(EtcdError),
    /// The watch is over.
    Watch(Option<Error>),
}

/// The task.
pub(super) struct Feed {
    shared: Arc<Shared>,
    cursor: Cursor,
    queue: Arc<Queue>,
    bounds: Bounds,
    period: Option<Duration>,
    /// Somebody wants to know the progress.
    asked: bool,
    told: Instant,
    lost: Option<Instant>,
    pause: Duration,
}

impl Feed {
    pub(super) fn new(
        shared: Arc<Shared>,
        cursor: Cursor,
        (queue, bounds): (Arc<Queue>, Bounds),
        period: Option<Duration>,
    ) -> Self {
        let period = period.filter(|period| !period.is_zero());
        Self {
            shared,
            cursor,
            queue,
            bounds,
            period,
            asked: false,
            told: Instant::now(),
            lost: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Follows the cluster, which was at `now`, until the watch ends.
    pub(super) async fn run(mut self, now: Revision) {
        let mut now = Some(now);
        let end = loop {
            let lost = match self.open(now.take()).await {
                Ok(line) => self.follow(line).await,
                Err(lost) => lost,
            };
            match lost {
                Lost::Watch(error) => break error,
                Lost::Line(error) => {
                    let since = *self.lost.get_or_insert_with(Instant::now);
                    if since.elapsed() >= self.shared.options.watch_patience {
                        break Some(error.into());
                    }
                    let queue = Arc::clone(&self.queue);
                    let pause = timeout(self.pause, queue.abandoned());
                    self.pause = LONGEST_PAUSE.min(self.pause * 2);
                    if pause.await.is_ok() {
                        break None;
                    }
                }
            }
        };
        self.queue.end(end);
    }

    /// Opens a line to the current member.
    async fn open(&mut self, now: Option<Revision>) -> Result<Line, Lost> {
        let queue = Arc::clone(&self.queue);
        kcore::select! {
            () = queue.abandoned() => Err(Lost::Watch(None)),
            line = self.connect(now) => line,
        }
    }

    async fn connect(&mut self, now: Option<Revision>) -> Result<Line, Lost> {
        let shared = Arc::clone(&self.shared);
        let (at, member) = shared.members.current();
        let lost = |failure: Failure| {
            shared.members.turn_from(at);
            match failure.kind {
                Kind::Refused(_) => Lost::Watch(Some(failure.error.into())),
                _ => Lost::Line(failure.error),
            }
        };
        let patience = shared.options.attempt_timeout;
        let status = shared.status_of(member).await.map_err(lost)?;
        let mode = match version::native_progress(&status.version) {
            true => Progress::Native,
            false => Progress::Passing,
        };
        let now = match now {
            Some(now) => now,
            None => timeout(patience, shared.revision())
                .await
                .unwrap_or_else(|_| Err(Failure::late(&member.url).error.into()))
                .map_err(|error| {
                    Lost::Line(EtcdError::new(&member.url, format!("has no leader: {error}")))
                })?,
        };
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let create = proto::WatchRequestUnion::Create(self.cursor.request(now, mode));
        // There is room: nothing was sent yet.
        let _ = requests.try_send(proto::WatchRequest { request_union: Some(create) });
        let opening = stream(&shared, at, receiver);
        let answer = timeout(patience, opening).await;
        let responses = answer.unwrap_or_else(|_| Err(Failure::late(&member.url))).map_err(lost)?;
        let url = member.url.clone();
        Ok(Line { at, url, mode, requests, responses })
    }

    /// Passes on what a line tells, until it is lost.
    async fn follow(&mut self, mut line: Line) -> Lost {
        let queue = Arc::clone(&self.queue);
        let mut reading: Option<BoxFuture<'static, Result<Revision>>> = None;
        let mut ask_at = Instant::now();
        loop {
            if queue.is_abandoned() {
                return Lost::Watch(None);
            }
            self.asked |= queue.take_question();
            let now = Instant::now();
            if self.period.is_some_and(|period| self.told + period <= now) {
                self.asked = true;
            }
            if self.asked && reading.is_none() && ask_at <= now {
                match line.mode {
                    Progress::Native => line.ask(),
                    Progress::Passing => {
                        let shared = Arc::clone(&self.shared);
                        reading = Some(async move { shared.revision().await }.boxed());
                        self.asked = false;
                    }
                }
                ask_at = now + ASK_AGAIN;
            }
            let wake = match self.asked {
                true if reading.is_none() => ask_at,
                _ => self.period.map_or(now + NEVER, |period| (self.told + period).max(ask_at)),
            };
            let read = async {
                match &mut reading {
                    Some(reading) => reading.await,
                    None => std::future::pending().await,
                }
            };
            kcore::select! {
                response = line.responses.next() => {
                    if let Err(lost) = self.take(&line, response).await {
                        return lost;
                    }
                }
                now = read => {
                    reading = None;
                    match now {
                        Ok(now) => self.cursor.want(now),
                        // Asked again, for as long as somebody wants to know.
                        Err(_) => self.asked = true,
                    }
                }
                () = queue.bell.notified() => ask_at = ask_at.min(Instant::now()),
                () = sleep_until(wake) => {}
            }
            if let Some(progress) = self.cursor.due()
                && !self.tell(progress)
            {
                return Lost::Watch(None);
            }
        }
    }

    async fn take(
        &mut self,
        line: &Line,
        response: Option<Result<proto::WatchResponse, Status>>,
    ) -> Result<(), Lost> {
        let response = match response {
            Some(Ok(response)) => response,
            Some(Err(status)) => {
                self.shared.members.turn_from(line.at);
                return Err(Lost::Line(Failure::of(&line.url, status).error));
            }
            None => {
                self.shared.members.turn_from(line.at);
                return Err(Lost::Line(EtcdError::new(&line.url, "ended a watch")));
            }
        };
        (self.lost, self.pause) = (None, FIRST_PAUSE);
        let news = response.created || response.canceled || response.compact_revision > 0;
        if line.mode == Progress::Native && response.events.is_empty() && !news {
            let now = revision(response.header.unwrap_or_default().revision);
            if let Some(progress) = self.cursor.progressed(now)
                && std::mem::take(&mut self.asked)
                && !self.tell(progress)
            {
                return Err(Lost::Watch(None));
            }
            return Ok(());
        }
        match self.cursor.respond(response) {
            Step::Nothing => Ok(()),
            Step::Tell(batch) => match self.tell(batch) {
                true => Ok(()),
                false => Err(Lost::Watch(None)),
            },
            Step::Compacted { requested, compacted } => {
                let compacted = match compacted {
                    Some(compacted) => Ok(compacted),
                    None => self.shared.find_compacted().await,
                };
                let error = compacted.map_or_else(
                    |error| error,
                    |compacted| Error::Compacted { requested, compacted },
                );
                Err(Lost::Watch(Some(error)))
            }
            Step::Canceled(reason) => {
                self.shared.members.turn_from(line.at);
                let what = format!("ended a watch: {reason}");
                Err(Lost::Line(EtcdError::new(&line.url, what)))
            }
            Step::TooLarge => {
                let what = "told a revision that is too large to be put together";
                Err(Lost::Watch(Some(EtcdError::new(&line.url, what).into())))
            }
        }
    }

    /// Tells the watcher; false if it is gone or too slow.
    fn tell(&mut self, batch: WatchBatch) -> bool {
        self.told = Instant::now();
        self.queue.push(batch, self.bounds)
    }
}

impl Line {
    /// Asks the member for its progress.
    fn ask(&self) {
        let progress = proto::WatchRequestUnion::Progress(proto::WatchProgressRequest {});
        // A full channel holds a question already.
        let _ = self.requests.try_send(proto::WatchRequest { request_union: Some(progress) });
    }
}

/// A stream of watches from one member.
async fn stream(
    shared: &Shared,
    at: usize,
    receiver: mpsc::Receiver<proto::WatchRequest>,
) -> Answer<Streaming<proto::WatchResponse>> {
    let Some(member) = shared.members.all().nth(at) else {
        return Err(Failure::late(""));
    };
    let failed = |status| Failure::of(&member.url, status);
    let mut grpc =
        tonic::client::Grpc::new(member.channel.clone()).max_decoding_message_size(MAX_MESSAGE);
    grpc.ready().await.map_err(|error| failed(Status::from_error(Box::new(error))))?;
    let request = shared.members.request(ReceiverStream::new(receiver));
    let codec: ProstCodec<proto::WatchRequest, _> = ProstCodec::default();
    let path = PathAndQuery::from_static(path::WATCH);
    let answer = grpc.streaming(request, path, codec).await.map_err(failed)?;
    Ok(answer.into_inner())
}
