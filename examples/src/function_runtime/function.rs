//! What a container of this runtime runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use kcore::clock::Clock;
use knode::logs::{LineSplitter, LogWriter, Stream};
use parking_lot::Mutex;
use tokio::sync::watch;

/// A function that stands where an image's entry point would: from a call to an exit code.
#[derive(Clone)]
pub struct Function(Arc<dyn Fn(Call) -> BoxFuture<'static, i32> + Send + Sync>);

impl Function {
    /// The function that `body` is.
    pub fn new<F, R>(body: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = i32> + Send + 'static,
    {
        Self(Arc::new(move |call| Box::pin(body(call))))
    }

    pub(super) fn call(&self, call: Call) -> BoxFuture<'static, i32> {
        (self.0)(call)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Function")
    }
}

/// The log of a container, if its pod has a directory for logs.
pub(super) type Log = Arc<Mutex<Option<LogWriter>>>;

/// What a function is called with.
#[derive(Debug)]
pub struct Call {
    /// The container's arguments.
    pub args: Vec<String>,
    /// The container's environment.
    pub env: BTreeMap<String, String>,
    pub(super) asked: watch::Receiver<bool>,
    pub(super) log: Log,
    pub(super) clock: Clock,
}

impl Call {
    /// Writes a line to the container's log, as of its standard output.
    pub fn print(&self, line: &str) {
        self.write(Stream::Stdout, line);
    }

    /// Writes a line to the container's log, as of its standard error.
    pub fn complain(&self, line: &str) {
        self.write(Stream::Stderr, line);
    }

    fn write(&self, stream: Stream, line: &str) {
        let now = self.clock.now();
        let (mut splitter, mut out) = (LineSplitter::new(stream), Vec::new());
        splitter.push(line.as_bytes(), now, &mut out);
        splitter.push(b"\n", now, &mut out);
        if let Some(log) = &mut *self.log.lock() {
            // As for any program: a full disk loses lines and ends nobody.
            let _ = log.append(&out, now);
        }
    }

    /// Waits until the container is asked to end. A function that does not listen is dropped
    /// where it waits when its grace period is over.
    pub async fn asked_to_end(&mut self) {
        if self.asked.wait_for(|asked| *asked).await.is_err() {
            // Nobody can ask any more: whoever could is about to drop this function.
            std::future::pending::<()>().await;
        }
    }
}
