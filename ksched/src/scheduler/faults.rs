//! Tells of pods that a PreEnqueue plugin has failed on, before they were ever tried.

use futures::StreamExt as _;
use kcore::event::reference_to;
use kcore::stop::StopToken;

use super::bind::write_condition;
use super::shared::Shared;

/// Pods that are told at once.
const MAX_TOLD: usize = 16;

/// Tells, as of every other error, by an event and by a condition; the queue tries the pods again.
pub(super) async fn tell(shared: &Shared, until: &StopToken) {
    loop {
        kcore::select! {
            () = until.stopped() => return,
            () = shared.faulted.notified() => {}
        }
        let faults = shared.state.lock().queue.take_faults();
        let told = futures::stream::iter(faults).for_each_concurrent(MAX_TOLD, async |fault| {
            let (pod, message) = (fault.0, fault.1.message());
            shared.recorder.warning(
                &reference_to(&**pod.pod()),
                "FailedScheduling",
                message.clone(),
            );
            write_condition(shared, &pod, ("SchedulerError", &message), None).await;
        });
        kcore::select! {
            () = until.stopped() => return,
            () = told => {}
        }
    }
}
