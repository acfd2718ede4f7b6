//! A member's own metrics, as far as they tell how slow its disk is.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the metrics may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most bytes they may have.
const MAX_BYTES: usize = 4 << 20;

/// The histogram of [etcd's syncs](https://etcd.io/docs/v3.6/metrics/#disk).
const SYNCS: &str = "etcd_disk_wal_fsync_duration_seconds";

/// The gauge of its quota.
const QUOTA: &str = "etcd_server_quota_backend_bytes ";

/// How long syncs took, so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Histogram {
    /// Upper bounds in seconds, growing, with how many syncs took no longer.
    buckets: Vec<(f64, u64)>,
    sum: f64,
    count: u64,
}

impl Histogram {
    /// What of it came after `earlier`; all of it if the member has begun to count anew.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let fits = self.count >= earlier.count && self.buckets.len() == earlier.buckets.len();
        if !fits {
            return self.clone();
        }
        let pairs = self.buckets.iter().zip(&earlier.buckets);
        Self {
            buckets: pairs.map(|(new, old)| (new.0, new.1.saturating_sub(old.1))).collect(),
            sum: (self.sum - earlier.sum).max(0.0),
            count: self.count - earlier.count,
        }
    }

    /// The bound that 99 of 100 syncs kept; none without syncs.
    pub(super) fn p99(&self) -> Option<Duration> {
        let most = self.count - self.count / 100;
        let bucket = self.buckets.iter().find(|(_, count)| *count >= most && self.count > 0)?;
        // The last bucket has no bound: take the largest there is, twice.
        let largest = self.buckets.iter().map(|(bound, _)| *bound).filter(|b| b.is_finite());
        let bound = match bucket.0.is_finite() {
            true => bucket.0,
            false => 2.0 * largest.fold(0.0, f64::max),
        };
        Some(Duration::from_secs_f64(bound))
    }

    /// The mean; none without syncs.
    pub(super) fn mean(&self) -> Option<Duration> {
        let count = u32::try_from(self.count).ok().filter(|count| *count > 0)?;
        Duration::try_from_secs_f64(self.sum / f64::from(count)).ok()
    }
}

/// What a member's metrics say.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Metrics {
    pub(super) syncs: Histogram,
    pub(super) quota: Option<u64>,
}

/// Reads what is needed out of the text form; none if it is not there.
fn parse(text: &str) -> Option<Metrics> {
    let mut metrics = Metrics::default();
    for line in text.lines() {
        if let Some(quota) = line.strip_prefix(QUOTA) {
            // Written as a float; a quota is a whole number of bytes far below 2^53.
            let quota = quota.parse::<f64>().ok().filter(|quota| *quota > 0.0);
            metrics.quota = quota.map(|quota| quota as u64);
        }
        let Some(rest) = line.strip_prefix(SYNCS) else { continue };
        if let Some(rest) = rest.strip_prefix("_bucket{le=\"") {
            let (bound, count) = rest.split_once("\"} ")?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            metrics.syncs.buckets.push((bound, count.parse().ok()?));
        } else if let Some(sum) = rest.strip_prefix("_sum ") {
            metrics.syncs.sum = sum.parse().ok()?;
        } else if let Some(count) = rest.strip_prefix("_count ") {
            metrics.syncs.count = count.parse().ok()?;
        }
    }
    (!metrics.syncs.buckets.is_empty()).then_some(metrics)
}

/// The metrics of the member at `base`, if it tells them without encryption.
pub(super) async fn fetch(base: &str) -> Option<Metrics> {
    let authority = base.strip_prefix("http://")?.trim_end_matches('/').to_owned();
    let fetching = async {
        let stream = TcpStream::connect(&authority).await.ok()?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let request = http::Request::get("/metrics")
            .header(http::header::HOST, &authority)
            .body(Empty::<bytes::Bytes>::new())
            .ok()?;
        let exchange = async {
            let answer = sender.send_request(request).await.ok()?;
            let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await.ok()?;
            String::from_utf8(body.to_bytes().to_vec()).ok()
        };
        // The connection lives as long as its one exchange.
        let text = kcore::select! {
            text = exchange => text,
            _ = connection => None,
        };
        parse(&text?)
    };
    timeout(PATIENCE, fetching).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE etcd_disk_wal_fsync_duration_seconds histogram
etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} 90
etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.016\"} 100
etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} 101
etcd_disk_wal_fsync_duration_seconds_sum 0.5
etcd_disk_wal_fsync_duration_seconds_count 101
etcd_server_quota_backend_bytes 2.147483648e+09
";

    #[test]
    fn the_histogram_of_syncs_is_read() {
        let metrics = parse(TEXT).unwrap();
        assert_eq!(metrics.quota, Some(2 << 30));
        assert_eq!(metrics.syncs.p99(), Some(Duration::from_millis(16)));
        assert_eq!(metrics.syncs.mean(), Some(Duration::from_secs_f64(0.5 / 101.0)));
        assert_eq!(parse("go_goroutines 5\n"), None);
    }

    #[test]
    fn only_what_came_since_counts() {
        let earlier = parse(TEXT).unwrap().syncs;
        let mut later = earlier.clone();
        for (_, count) in &mut later.buckets {
            *count += 1000;
        }
        (later.count, later.sum) = (later.count + 1000, later.sum + 0.5);
        assert_eq!(later.since(&earlier).p99(), Some(Duration::from_millis(1)));
        assert_eq!(later.since(&earlier).mean(), Some(Duration::from_micros(500)));
        assert_eq!(earlier.since(&earlier).p99(), None);
        // A member that was restarted counts from nothing.
        assert_eq!(earlier.since(&later), earlier);
    }

    #[test]
    fn what_passes_every_bound_is_slower_than_the_largest() {
        let buckets = vec![(8.0, 0), (f64::INFINITY, 3)];
        let slow = Histogram { buckets, sum: 30.0, count: 3 };
        assert_eq!(slow.p99(), Some(Duration::from_secs(16)));
    }
}
