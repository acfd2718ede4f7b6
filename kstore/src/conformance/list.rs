//! The list of cases, once, for the tests and for the dispatch.

/// Hands the list of cases to the macro `callback`: module, case, capability that it needs.
#[doc(hidden)]
#[macro_export]
macro_rules! __kstore_cases {
    ($callback:ident $args:tt) => {
        $crate::$callback! { $args
            range::range_selects_exactly_its_keys: always,
            range::range_is_ordered_by_key: always,
            range::range_shows_the_revision_asked_for: always,
            range::range_pages_show_one_revision: always,
            range::range_counts_all_matches: always,
            range::range_keys_only_has_no_values: always,
            range::range_at_a_compacted_revision_is_refused: always,
            range::range_in_the_future_is_refused: always,
            drops::dropped_range_changes_nothing: always,
            txn::txn_writes_at_one_revision: always,
            txn::txn_without_effect_keeps_the_revision: always,
            txn::txn_keeps_the_books: always,
            txn::txn_reads_its_own_writes: always,
            txn::txn_with_a_failed_compare_changes_nothing: always,
            txn::txn_compares_each_target: always,
            txn::txn_refuses_duplicate_keys: always,
            txn::txn_refuses_the_empty_key: always,
            txn::txn_refuses_values_that_are_too_large: max_value_bytes,
            concurrent::concurrent_creates_have_one_winner: always,
            concurrent::concurrent_swaps_have_one_winner: always,
            concurrent::revision_never_decreases_or_repeats: always,
            concurrent::histories_are_linearizable_per_key: always,
            reopen::acknowledged_writes_survive_reopening: durable,
            reopen::revision_goes_on_after_reopening: durable,
            space::over_quota_only_writes_fail: quota,
            drops::dropped_txn_is_whole_or_absent: always,
            watch_history::watch_is_filtered: always,
            watch_history::watch_is_ordered: always,
            watch_history::watch_is_unique: always,
            watch_history::watch_is_atomic: always,
            watch_history::watch_is_bookmarkable: always,
            watch_history::watch_is_resumable: always,
            watch_history::watch_is_reliable: always,
            watch_history::watch_marks_creates: always,
            watch_history::watch_carries_previous_records: always,
            watch::watch_without_a_start_follows_the_present: always,
            watch::watch_in_the_future_waits: always,
            watch::watch_at_the_compacted_revision_misses_nothing: always,
            watch::watch_before_the_compacted_revision_is_refused: always,
            watch::watch_answers_progress_requests: always,
            watch::watch_tells_progress_periodically: always,
            reopen::watch_after_reopening_misses_nothing: durable,
            watch::slow_watcher_is_closed_and_delays_nobody: watch_backlog,
            watch::dropped_watch_is_forgotten: always,
            drops::dropped_next_loses_nothing: always,
            space::compaction_keeps_the_present: always,
            space::compaction_at_a_deletion_keeps_it: always,
            space::compaction_is_idempotent: always,
            space::compaction_of_the_future_is_refused: always,
            space::compaction_returns_memory: always,
            reopen::compaction_survives_reopening: durable,
            drops::dropped_compaction_is_harmless: always,
            space::status_starts_at_revision_one: always,
            space::status_follows_writes: always,
            leases::leases_are_there_if_declared: always,
            leases::lease_expires_with_its_keys: leases,
            leases::lease_belongs_to_the_last_put: leases,
            leases::lease_is_kept_alive: leases,
            reopen::leases_survive_reopening: durable_leases,
            leases::lease_revoke_deletes_its_keys: leases,
            leases::lease_lists_its_keys: leases,
            leases::unknown_lease_is_refused: leases,
            leases::leases_are_listed_while_they_live: leases,
        }
    };
}

/// Runs every case of the suite against the stores that a factory makes, each as a test.
///
/// `suite!(name, capabilities, factory)` makes a module `name` with one `#[test]` per case. The
/// factory is a closure that returns a future of `(guard, store)`. A backend's whole test file:
///
/// ```
/// use kstore::conformance::{Capabilities, suite};
/// use kstore::{MemoryOptions, MemoryStore};
///
/// suite!(
///     memory_store,
///     Capabilities::default().virtual_time().leases().quota(1 << 20).watch_backlog(256),
///     || async {
///         let options = MemoryOptions::default().quota_bytes(1 << 20).watch_backlog(256);
///         let guard = (); // what has to live as long as the store
///         (guard, MemoryStore::with_options(options))
///     }
/// );
/// # fn main() {}
/// ```
///
/// The guard (a temporary directory, a server's process) is dropped after the store. The factory
/// is called for each case, and by some cases more than once; each store has to be empty. A case
/// whose capability is not declared is skipped, and prints its name.
#[doc(hidden)]
#[macro_export]
macro_rules! __kstore_suite {
    ($name:ident, $capabilities:expr, $factory:expr $(,)?) => {
        $crate::__kstore_cases! { __kstore_tests { $name, $capabilities, $factory } }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __kstore_tests {
    (
        { $name:ident, $capabilities:expr, $factory:expr }
        $($module:ident::$case:ident: $capability:ident,)*
    ) => {
        mod $name {
            #[allow(unused_imports, reason = "the factory may need what is around it")]
            use super::*;

            fn suite() -> $crate::conformance::Suite {
                $crate::conformance::Suite::new($capabilities, $factory)
            }

            $(
                #[test]
                fn $case() {
                    suite().run(stringify!($case));
                }
            )*
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __kstore_case_table {
    ({} $($module:ident::$case:ident: $capability:ident,)*) => {
        /// Every case of the suite, in the order of the Contract lists.
        pub const CASES: &[Case] = &[$(Case {
            name: stringify!($case),
            capability: stringify!($capability),
            body: |suite| $module::$case(suite).boxed_local(),
        }),*];
    };
}
