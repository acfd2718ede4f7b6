//! The list of cases, once: the tests and the table come from it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Capabilities, Capability, Fixture, run_case};

/// Every case by name, with the capability it needs.
pub const CASES: &[(&str, Capability)] = crate::__runtime_cases!(table);

/// Runs the whole suite and returns the names of the cases that failed, in their order: how a
/// backend shows that a fault planted in it is found, and by which case.
pub fn failing<F, Made>(capabilities: Capabilities, fixture: impl Fn() -> Made) -> Vec<&'static str>
where
    F: Fixture,
    Made: Future<Output = F>,
{
    let mut failed = Vec::new();
    let mut run = |name, case: &dyn Fn()| {
        if catch_unwind(AssertUnwindSafe(case)).is_err() {
            failed.push(name);
        }
    };
    crate::__runtime_cases!(each(capabilities)(&fixture)(run));
    failed
}

/// Expands to one test per contract line; see [`crate::conformance`].
#[doc(hidden)]
#[macro_export]
macro_rules! __runtime_suite {
    ($module:ident, $capabilities:expr, $fixture:expr) => {
        mod $module {
            #[allow(unused_imports, reason = "the fixture may be named by a path")]
            use super::*;

            $crate::__runtime_cases!(tests($capabilities)($fixture));
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __runtime_cases {
    (table) => { $crate::__runtime_cases!(@list table) };
    (tests $capabilities:tt $fixture:tt) => {
        $crate::__runtime_cases!(@list tests $capabilities $fixture);
    };
    (each $capabilities:tt $fixture:tt $run:tt) => {
        $crate::__runtime_cases!(@list each $capabilities $fixture $run);
    };
    (@emit each ($capabilities:expr) ($fixture:expr) ($run:ident);
        $($need:ident $group:ident $name:ident)*
    ) => {
        $($run(stringify!($name), &|| {
            run_case(
                stringify!($name),
                Capability::$need,
                $capabilities,
                $fixture,
                $crate::conformance::$group::$name,
            );
        });)*
    };
    (@emit table; $($need:ident $group:ident $name:ident)*) => {
        &[$((stringify!($name), Capability::$need)),*]
    };
    (@emit tests ($capabilities:expr) ($fixture:expr);
        $($need:ident $group:ident $name:ident)*
    ) => {
        $(
            #[test]
            fn $name() {
                $crate::conformance::run_case(
                    stringify!($name),
                    $crate::conformance::Capability::$need,
                    $capabilities,
                    $fixture,
                    $crate::conformance::$group::$name,
                );
            }
        )*
    };
    (@list $($mode:tt)*) => {
        $crate::__runtime_cases! { @emit $($mode)*;
            Base sandboxes run_reports_a_ready_sandbox
            Base sandboxes run_refuses_a_second_sandbox_of_the_same_attempt
            Addresses sandboxes each_sandbox_has_an_address_of_its_own
            Adoption sandboxes sandboxes_survive_a_restart_of_the_agent
            Base sandboxes stop_sandbox_kills_its_containers
            Base sandboxes stop_sandbox_is_idempotent
            Base sandboxes remove_sandbox_removes_its_containers
            Base sandboxes remove_sandbox_is_idempotent
            Base sandboxes removed_sandboxes_leave_nothing_behind
            Base sandboxes status_of_an_unknown_sandbox_is_not_found
            Base sandboxes list_sandboxes_filters_by_id_state_and_labels
            Base dropping a_dropped_run_leaves_a_whole_sandbox_or_none
            Base containers create_reports_a_created_container
            Base containers create_refuses_a_stopped_or_unknown_sandbox
            Base containers create_refuses_a_second_container_of_the_same_attempt
            Base containers create_refuses_an_absent_image
            Base containers start_runs_the_container
            Base containers start_refuses_a_container_that_ran_or_is_unknown
            Processes containers start_of_a_missing_command_is_a_start_error
            Processes extras containers_see_their_environment_and_nothing_else
            Mounts extras containers_see_their_mounts
            Logs extras logs_hold_stdout_and_stderr_in_cri_format
            Adoption extras a_running_container_is_adopted_with_its_log
            Base dropping a_dropped_start_starts_or_can_be_repeated
            Base containers stop_asks_before_it_kills
            Base containers stop_kills_what_ignores_the_request
            Base containers stop_container_is_idempotent
            Adoption extras an_adopted_container_can_be_stopped
            Base dropping a_dropped_stop_still_ends_the_container
            Base containers remove_kills_a_running_container
            Base containers remove_container_is_idempotent
            Base containers status_reports_exit_codes
            Base containers status_of_an_unknown_container_is_not_found
            Adoption extras an_exit_that_nobody_watched_is_reported
            Base containers list_containers_filters_by_id_sandbox_state_and_labels
            Resources extras update_changes_the_resources_of_a_running_container
            Logs extras reopen_log_continues_in_a_new_file
            Base images pull_makes_an_image_present
            Base images pull_of_an_unknown_image_fails
            Base images status_of_an_absent_image_is_none
            Base images list_images_holds_what_was_pulled
            ImageRemoval images remove_image_is_idempotent
            Base images fs_info_names_where_images_are
            Exec extras exec_returns_output_and_exit_code
            Exec extras exec_is_killed_at_its_timeout
            Exec extras exec_output_is_bounded
            Exec extras exec_refuses_a_container_that_does_not_run
            Stats extras stats_report_running_containers
            Events extras events_tell_the_life_of_a_container
            Base images version_names_the_runtime
            Base images status_reports_a_ready_runtime
        }
    };
}
