//! Tests of [`super::read`].

use tokio::sync::oneshot;

use super::*;
use crate::logs::{LineSplitter, LogWriter, Rotation};

struct Fixture {
    _dir: tempfile::TempDir,
    path: PathBuf,
    log: LogWriter,
    second: i64,
}

impl Fixture {
    fn new(max_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let log = LogWriter::open(&path, Rotation::default().max_bytes(max_bytes)).unwrap();
        Self { _dir: dir, path, log, second: 0 }
    }

    fn write(&mut self, stream: Stream, text: &str) {
        let at = Timestamp::from_second(self.second).unwrap();
        self.second += 1;
        let mut out = Vec::new();
        let mut splitter = LineSplitter::new(stream);
        splitter.push(text.as_bytes(), at, &mut out);
        splitter.finish(at, &mut out);
        self.log.append(&out, at).unwrap();
    }

    async fn read(&self, options: LogOptions) -> String {
        collect(read(&self.path, options, never_ends())).await
    }
}

async fn collect(stream: BoxStream<'static, Result<Bytes>>) -> String {
    let pieces: Vec<_> = stream.map(|piece| piece.unwrap().to_vec()).collect().await;
    String::from_utf8(pieces.concat()).unwrap()
}

#[tokio::test]
async fn options_select_what_is_read() {
    let mut fixture = Fixture::new(1 << 20);
    for number in 0..5 {
        let stream = if number % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
        fixture.write(stream, &format!("line {number}\n"));
    }
    let all = LogOptions::default;
    let since = Timestamp::from_second(3).unwrap();
    for (options, expect) in [
        (all(), "line 0\nline 1\nline 2\nline 3\nline 4\n"),
        (all().tail_lines(2), "line 3\nline 4\n"),
        (all().tail_lines(0), ""),
        (all().tail_lines(99), "line 0\nline 1\nline 2\nline 3\nline 4\n"),
        (all().since(since), "line 3\nline 4\n"),
        (all().since(since).tail_lines(1), "line 4\n"),
        (all().limit_bytes(9), "line 0\nli"),
        (all().limit_bytes(0), ""),
        (all().stream(StreamSelection::Stderr), "line 1\nline 3\n"),
        (all().tail_lines(1).timestamps(true), "1970-01-01T00:00:04Z line 4\n"),
    ] {
        assert_eq!(fixture.read(options.clone()).await, expect, "{options:?}");
    }
}

#[tokio::test]
async fn partial_lines_are_joined_and_stamped_once() {
    let mut fixture = Fixture::new(1 << 20);
    let long = "x".repeat(MAX_ENTRY_BYTES + 10);
    fixture.write(Stream::Stdout, &format!("{long}\n"));
    let read = fixture.read(LogOptions::default().timestamps(true)).await;
    assert_eq!(read, format!("1970-01-01T00:00:00Z {long}\n"));
}

#[tokio::test]
async fn a_log_that_is_not_there_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let stream = read(dir.path().join("none.log"), LogOptions::default(), never_ends());
    assert_eq!(collect(stream).await, "");
}

#[tokio::test]
async fn rotated_files_come_first_when_asked_for() {
    let mut fixture = Fixture::new(30);
    for number in 0..4 {
        fixture.write(Stream::Stdout, &format!("line {number}\n"));
    }
    assert_eq!(fixture.read(LogOptions::default()).await, "line 3\n");
    let all = LogOptions::default().rotated(true);
    assert_eq!(fixture.read(all.clone()).await, "line 0\nline 1\nline 2\nline 3\n");
    assert_eq!(fixture.read(all.tail_lines(2)).await, "line 2\nline 3\n");
}

#[tokio::test]
async fn follow_goes_over_rotations_until_the_container_ended() {
    let mut fixture = Fixture::new(30);
    let (end, ended) = oneshot::channel::<()>();
    let ended = async move { ended.await.unwrap_or_default() };
    let mut stream = read(&fixture.path, LogOptions::default().follow(true), ended);
    let mut seen = String::new();
    fixture.write(Stream::Stdout, "line 0\n");
    seen += std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap();
    // Three rotations between two looks: none of them is missed.
    for number in 1..4 {
        fixture.write(Stream::Stdout, &format!("line {number}\n"));
    }
    end.send(()).unwrap();
    seen += &collect(stream).await;
    assert_eq!(seen, "line 0\nline 1\nline 2\nline 3\n");
}
