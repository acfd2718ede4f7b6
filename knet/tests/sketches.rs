//! What the seam must be able to carry: two programmers at once.

use async_trait::async_trait;
use knet::conformance::Capabilities;
use knet::table::{ChangeSet, ServiceTable};
use knet::{NetworkProgrammer, RecordingProgrammer, Result, SyncReport, UserspaceProgrammer};

/// Programs two data paths with one table, as a node that moves from one to the other does.
#[derive(Debug)]
struct Both<A, B>(A, B);

#[async_trait]
impl<A: NetworkProgrammer, B: NetworkProgrammer> NetworkProgrammer for Both<A, B> {
    async fn sync(&self, desired: &ServiceTable, changed: &ChangeSet) -> Result<SyncReport> {
        let mut report = self.0.sync(desired, changed).await?;
        let other = self.1.sync(desired, changed).await?;
        report.failures.extend(other.failures);
        Ok(SyncReport::new(report.served.max(other.served), report.failures))
    }
}

knet::conformance::suite!(both, Capabilities::default().data_path().udp(), || async {
    Both(UserspaceProgrammer::new(), RecordingProgrammer::new())
});
