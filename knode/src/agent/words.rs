//! How durations and errors are written where clients read them.

use std::error::Error;
use std::time::Duration;

/// A duration as Go prints it: `10s`, `1m20s`, `1.5s`, `250ms`.
pub(super) fn go_duration(duration: Duration) -> String {
    let (whole, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if whole == 0 && nanos > 0 {
        let (unit, name) = match nanos {
            1_000_000.. => (1e6, "ms"),
            1000.. => (1e3, "µs"),
            _ => (1.0, "ns"),
        };
        return format!("{}{name}", f64::from(nanos) / unit);
    }
    let (hours, minutes) = (whole / 3600, whole / 60 % 60);
    let seconds = (whole % 60) as f64 + f64::from(nanos) / 1e9;
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// An error and what caused it, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some errors tell their cause themselves.
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_look_as_go_prints_them() {
        for (millis, expect) in [
            (0, "0s"),
            (250, "250ms"),
            (1500, "1.5s"),
            (10_000, "10s"),
            (80_000, "1m20s"),
            (300_000, "5m0s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), expect);
        }
        assert_eq!(go_duration(Duration::from_nanos(1500)), "1.5µs");
    }
}
