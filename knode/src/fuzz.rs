//! Bodies of fuzz targets (X10).
//!
//! Not part of the API: feature `fuzz` is for this workspace's own tests and `fuzz/`.

use jiff::Timestamp;
pub use kcore::fuzz::{Target, hammer};

use crate::logs::{LineSplitter, Stream, parse, write_entry};
pub use crate::server::fuzz::log_query;

/// The parsers of this crate that meet a stranger's bytes.
pub const TARGETS: &[Target] = &[
    Target {
        name: "knode_log_line",
        body: log_line,
        seeds: &[
            "2026-10-06T00:17:09.669794202Z stderr F hello",
            "2026-10-06T00:17:09Z stdout P half a line\n",
            "2026-10-06T00:17:09+01:00 stdout F:more ",
        ],
    },
    Target { name: "knode_log_lines", body: log_lines, seeds: &["one\ntwo\n", "\n\n", "no end"] },
    Target {
        name: "knode_log_query",
        body: log_query,
        seeds: &[
            "follow=true&tailLines=5&timestamps=1&sinceSeconds=9",
            "previous=true&limitBytes=100&sinceTime=2026-10-06T00:17:09Z&stream=Stderr",
        ],
    },
];

/// Runs the target of that name.
pub fn run(name: &str, data: &[u8]) {
    kcore::fuzz::run_of(TARGETS, name, data);
}

/// An entry that is understood is written again as one that says the same.
pub fn log_line(data: &[u8]) {
    let Ok(entry) = parse(data) else { return };
    let mut line = Vec::new();
    write_entry(&mut line, entry);
    assert_eq!(parse(&line).expect("what is written can be read"), entry);
}

/// Output of a container in pieces becomes entries that hold all of it.
pub fn log_lines(data: &[u8]) {
    let (mut splitter, mut out) = (LineSplitter::new(Stream::Stdout), Vec::new());
    for piece in data.chunks(7) {
        splitter.push(piece, Timestamp::UNIX_EPOCH, &mut out);
    }
    splitter.finish(Timestamp::UNIX_EPOCH, &mut out);
    let mut said = Vec::new();
    for line in out.split_inclusive(|byte| *byte == b'\n') {
        let entry = parse(line).expect("entries can be read");
        said.extend_from_slice(entry.content);
        said.extend((!entry.partial).then_some(b'\n'));
    }
    let whole = said.strip_suffix(b"\n").unwrap_or(&said);
    assert_eq!(whole, data.strip_suffix(b"\n").unwrap_or(data));
}
