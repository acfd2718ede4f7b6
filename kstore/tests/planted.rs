//! The suite proves itself: each planted bug is caught by exactly the case that names it.

mod evidence;
mod planted_bugs;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use evidence::say;
use kcore::random::Random;
use kstore::conformance::{CASES, Capabilities, Suite};
use kstore::{Faults, FaultyStore, MemoryOptions, MemoryStore};
use planted_bugs::{Bug, Buggy};

const QUOTA: u64 = 1 << 20;
const BACKLOG: usize = 128;

/// The names of the cases that fail on a store with `bug`.
fn caught_by(bug: Option<Bug>) -> Vec<&'static str> {
    let capabilities = Capabilities::default()
        .virtual_time()
        .leases()
        .quota(QUOTA)
        .watch_backlog(BACKLOG)
        .max_value_bytes(64 << 10);
    let suite = Suite::new(capabilities, move || async move {
        let options = MemoryOptions::default()
            .quota_bytes(QUOTA)
            .watch_backlog(if bug == Some(Bug::EndlessPatience) { 1 << 16 } else { BACKLOG })
            .max_value_bytes(64 << 10);
        ((), Buggy::new(MemoryStore::with_options(options), bug))
    });
    let fails = |name| catch_unwind(AssertUnwindSafe(|| suite.run(name))).is_err();
    CASES.iter().map(|case| case.name).filter(|name| fails(name)).collect()
}

#[test]
fn a_store_without_a_bug_passes() {
    assert!(caught_by(None).is_empty());
}

macro_rules! planted {
    ($($test:ident: $bug:ident => $case:literal,)*) => {
        $(
            #[test]
            fn $test() {
                assert_eq!(caught_by(Some(Bug::$bug)), [$case]);
                say(concat!("planted bug ", stringify!($bug), " caught by ", $case, " alone"));
            }
        )*
    };
}

planted! {
    stale_reads_are_caught: StaleRead => "histories_are_linearizable_per_key",
    lost_deletes_are_caught: LostDelete => "histories_are_linearizable_per_key",
    racing_creates_are_caught: CreateRace => "concurrent_creates_have_one_winner",
    racing_swaps_are_caught: SwapRace => "concurrent_swaps_have_one_winner",
    repeated_revisions_are_caught: RevisionReuse => "revision_never_decreases_or_repeats",
    torn_pages_are_caught: TornPages => "range_pages_show_one_revision",
    half_done_txns_are_caught: HalfTxn => "dropped_txn_is_whole_or_absent",
    batches_lost_with_their_future_are_caught: LossyNext => "dropped_next_loses_nothing",
    events_out_of_range_are_caught: ForeignEvent => "watch_is_filtered",
    events_out_of_order_are_caught: OutOfOrder => "watch_is_ordered",
    duplicate_events_are_caught: Duplicate => "watch_is_unique",
    split_revisions_are_caught: SplitRevision => "watch_is_atomic",
    early_progress_is_caught: EarlyProgress => "watch_is_bookmarkable",
    gaps_after_resuming_are_caught: ResumeGap => "watch_is_resumable",
    dropped_events_are_caught: Dropped => "watch_is_reliable",
    wrong_creates_are_caught: WrongCreate => "watch_marks_creates",
    wrong_previous_records_are_caught: WrongPrevious => "watch_carries_previous_records",
    patience_without_end_is_caught: EndlessPatience => "slow_watcher_is_closed_and_delays_nobody",
    forgotten_compares_are_caught: ValueCompare => "txn_compares_each_target",
    deletes_lost_to_compaction_are_caught:
        LostDeleteAtCompaction => "compaction_at_a_deletion_keeps_it",
    compaction_that_frees_nothing_is_caught: HiddenBytes => "compaction_returns_memory",
}

/// The exploration finds what it is for, without a case that looks for it.
#[test]
fn planted_bugs_are_found_by_histories() {
    let slow = || Faults::default().delay(0.5, Duration::from_millis(3));
    let bugs = [
        Bug::StaleRead,
        Bug::LostDelete,
        Bug::CreateRace,
        Bug::SwapRace,
        Bug::OutOfOrder,
        Bug::Duplicate,
        Bug::Dropped,
        Bug::WrongPrevious,
        Bug::WrongCreate,
        Bug::ForeignEvent,
        Bug::EarlyProgress,
        Bug::ResumeGap,
        Bug::Resurrected,
        Bug::StaleAfterPause,
        Bug::DroppedForSlow,
    ];
    for bug in bugs {
        let suite = Suite::new(Capabilities::default().virtual_time(), move || async move {
            let store = Buggy::new(MemoryStore::new(), Some(bug)).everywhere();
            ((), FaultyStore::new(store, Random::seeded(6), slow()))
        });
        let found = catch_unwind(AssertUnwindSafe(|| suite.explore(0..300)));
        assert!(found.is_err(), "{bug:?} was not found");
    }
    say(format!("{} planted bugs found by histories", bugs.len()));
}
