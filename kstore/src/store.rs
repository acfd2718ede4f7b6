//! The seam.

use std::fmt;

use async_trait::async_trait;

use crate::{
    KeyRange, Leases, Page, RangeOptions, Result, Revision, StoreStatus, Txn, TxnResult,
    WatchOptions, WatchStream,
};

/// Everything a backend must do: one ordered history of revisions over keys and bytes.
///
/// Each write moves the whole store to its next revision; reads and watches name revisions. What
/// can be said with these methods is in [`StoreExt`](crate::StoreExt), not here.
///
/// The items of each **Contract** list are the names of the cases in the
/// conformance suite, and a caller may rely on exactly them.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store",
    label = "expected a `kstore::Store`",
    note = "`MemoryStore`, and any `Store` in a `Box` or an `Arc`, is one",
    note = "to write your own, implement the six methods and run `kstore::conformance::suite!`"
)]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Reads the keys of `range` at one revision.
    ///
    /// Fails with `Compacted` or `Future` if [`RangeOptions::at`] names a revision that is not
    /// kept any more or has not happened yet.
    ///
    /// # Contract
    /// - `range_selects_exactly_its_keys`: single, prefix, interval, open end and all.
    /// - `range_is_ordered_by_key`: records come in byte order, whatever the order of writes.
    /// - `range_shows_the_revision_asked_for`: a kept revision is shown as it was.
    /// - `range_pages_show_one_revision` (S5): pages read at the first one's revision fit.
    /// - `range_counts_all_matches`: `count` ignores the limit, `more` tells of it.
    /// - `range_keys_only_has_no_values`: all else is as in a full read.
    /// - `range_at_a_compacted_revision_is_refused` (S5): with `Compacted`, never wrong data.
    /// - `range_in_the_future_is_refused`: with `Future`.
    /// - `dropped_range_changes_nothing`: its future may be dropped at any poll.
    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Page>;

    /// Compares, then writes and reads, all at one revision.
    ///
    /// A transaction that changes nothing does not move the revision; any other moves it by one.
    /// Operations are done in order. A key may be put once, and not also be deleted; both branches
    /// are checked before anything is done, and an error means that nothing was done, except for
    /// `Unavailable`, after which it is unknown.
    ///
    /// # Contract
    /// - `txn_writes_at_one_revision` (S3): all puts and deletes of a txn carry one new revision.
    /// - `txn_without_effect_keeps_the_revision`: reads, and deletes of nothing, do not move it.
    /// - `txn_keeps_the_books`: created, modified, version and previous records are right.
    /// - `txn_reads_its_own_writes`: a range sees the operations before it.
    /// - `txn_with_a_failed_compare_changes_nothing` (S4): and returns the current records.
    /// - `txn_compares_each_target`: version, created, modified, value; an absent key counts as 0.
    /// - `txn_refuses_duplicate_keys`: two puts of one key, or a put of a key it also deletes.
    /// - `txn_refuses_the_empty_key`: with `EmptyKey`, changing nothing.
    /// - `txn_refuses_values_that_are_too_large`: with `TooLarge`, changing nothing.
    /// - `concurrent_creates_have_one_winner` (S4): whatever the interleaving.
    /// - `concurrent_swaps_have_one_winner` (S4): no update is lost.
    /// - `revision_never_decreases_or_repeats` (S3): over writers, compaction and failures.
    /// - `histories_are_linearizable_per_key` (S11): reads and writes of concurrent clients.
    /// - `acknowledged_writes_survive_reopening` (S1, S12): with all that is known of them.
    /// - `revision_goes_on_after_reopening` (S3): none comes twice.
    /// - `over_quota_only_writes_fail` (S8): reads, deletes and compaction work and make room.
    /// - `dropped_txn_is_whole_or_absent`: its future may be dropped at any poll.
    async fn txn(&self, txn: Txn) -> Result<TxnResult>;

    /// Tells the changes in `range` from a revision on.
    ///
    /// A watch after a revision that is not reached yet tells nothing until it is passed. A watch
    /// after the compacted revision itself misses nothing; one after an older revision fails with
    /// `Compacted`. A watcher that falls too far behind gets `TooSlow` and its stream ends.
    ///
    /// # Contract
    /// - `watch_is_filtered` (S6): only keys of the range.
    /// - `watch_is_ordered` (S6): revisions never go back.
    /// - `watch_is_unique` (S6): no event comes twice.
    /// - `watch_is_atomic` (S6): one revision comes in one batch.
    /// - `watch_is_bookmarkable` (S6): after `Progress(r)` nothing at or before `r` follows.
    /// - `watch_is_resumable` (S6): a watch after any revision seen goes on without a gap.
    /// - `watch_is_reliable` (S6): no event is missing.
    /// - `watch_marks_creates` (S6): `is_create` is true exactly for keys that were absent.
    /// - `watch_carries_previous_records` (S6): where asked, and nowhere else.
    /// - `watch_without_a_start_follows_the_present`: nothing from before the call returned.
    /// - `watch_in_the_future_waits` (S6): events up to its revision are left out.
    /// - `watch_at_the_compacted_revision_misses_nothing` (S6): the first event is the next one.
    /// - `watch_before_the_compacted_revision_is_refused` (S5): with `Compacted`.
    /// - `watch_answers_progress_requests`: also when nothing ever happened in its range.
    /// - `watch_tells_progress_periodically`: each period without events, if asked to.
    /// - `watch_after_reopening_misses_nothing` (S6): or is refused with `Compacted`.
    /// - `slow_watcher_is_closed_and_delays_nobody` (S7): with `TooSlow`, never a gap.
    /// - `dropped_watch_is_forgotten` (S7): it is counted no more.
    /// - `dropped_next_loses_nothing`: the future of a `next` may be dropped at any poll.
    async fn watch(&self, range: KeyRange, options: WatchOptions) -> Result<WatchStream>;

    /// Forgets what was superseded at or before `through`; that revision itself stays readable.
    ///
    /// Compacting what is already compacted does nothing and succeeds. Fails with `Future` if
    /// `through` has not happened yet.
    ///
    /// # Contract
    /// - `compaction_keeps_the_present`: what is current at `through` and later is untouched.
    /// - `compaction_at_a_deletion_keeps_it` (S5): what was deleted at `through` stays deleted.
    /// - `compaction_is_idempotent`: again, or further back, changes nothing.
    /// - `compaction_of_the_future_is_refused`: with `Future`.
    /// - `compaction_returns_memory` (S8): bytes in use shrink to what is kept.
    /// - `compaction_survives_reopening` (S5): what was forgotten does not come back.
    /// - `dropped_compaction_is_harmless`: its future may be dropped at any poll.
    async fn compact(&self, through: Revision) -> Result<()>;

    /// How the store is doing.
    ///
    /// # Contract
    /// - `status_starts_at_revision_one`: an empty store has revision 1.
    /// - `status_follows_writes`: revision, compacted revision and keys are current.
    async fn status(&self) -> Result<StoreStatus>;

    /// Leases, if the backend has them.
    ///
    /// # Contract
    /// - `leases_are_there_if_declared`: and only then.
    fn leases(&self) -> Option<&dyn Leases>;
}
