//! What a run of the tests tried, in numbers that are seen without asking for them.

use std::fmt::Display;
use std::io::Write as _;

/// Says what was tried. The test runner keeps what tests print to itself unless they fail, so this
/// does not print.
pub(super) fn say(what: impl Display) {
    // Numbers that cannot be written are no reason to fail.
    let _ = writeln!(std::io::stderr(), "evidence: {what}");
}
