//! The rules that every disk keeps, as tests that it runs.
//!
//! ```
//! // In the disk's tests, with this crate and its feature `conformance` as a dev-dependency:
//! sluice_plugin::disk_conformance!(sluice_plugin::MemoryDisk::new());
//! ```
//!
//! Where the host may lack what a disk needs, `disk_conformance!(optional: …)` takes an `Option` of a factory; with `None`
//! the rules pass unproved, and say so.
//!
//! The factory is made anew for each rule, and its directories are for this one rule: empty at first, and with room for
//! some MiB. Where [`crate::DirectoryCapabilities::path`] is a directory of the file system, one rule moves it away for
//! a while, so its parent must be the test's own, too.
//!
//! A disk is driven as its reactor would: prepared to wait, slept on, and polled only if what
//! [`crate::Device::prepare_to_wait`] named has come to pass. So one that forgets to wake fails, after some seconds.

mod files;
pub(crate) mod life;
mod owners;
mod transfers;
mod waking;

pub use files::*;
pub use owners::*;
pub use transfers::*;
pub use waking::*;

/// One `#[test]` for each rule, over a factory that is made anew for each of them.
#[macro_export]
macro_rules! disk_conformance {
    (optional: $factory:expr) => {
        $crate::disk_conformance! {
            @rules [{
                let factory = $factory;
                match factory {
                    Some(factory) => factory,
                    None => return eprintln!("unproved: this host lacks what the disk needs"),
                }
            }]
            what_is_written_is_read_back_in_pieces_of_any_size
            requests_in_any_order_make_one_file
            a_page_that_is_written_again_has_its_new_bytes
            every_request_completes_once_with_its_memory
            a_full_disk_hands_requests_back_and_loses_none
            a_read_past_the_end_fails_and_names_the_place
            a_failed_request_leaves_its_neighbours_alone
            what_is_not_aligned_is_our_own_mistake
            a_file_that_exists_is_not_created_again
            a_file_that_is_missing_is_not_opened
            a_file_is_opened_as_often_as_one_likes
            a_file_that_was_opened_to_read_stays_as_it_is
            what_is_allocated_is_there_and_stays
            a_truncated_file_ends_where_it_was_cut
            a_synced_file_is_unchanged
            a_removed_file_is_gone_and_its_name_is_free
            a_file_that_is_removed_while_open_is_read_until_it_is_closed
            a_file_that_is_not_open_cannot_be_used
            names_that_are_none_are_refused_everywhere
            directories_have_names_of_their_own
            space_is_told
            a_directory_that_vanishes_is_an_error_and_no_more
            a_list_tells_own_files_and_their_lengths
            files_of_the_living_are_left_alone
            a_list_tells_how_long_nobody_has_touched_a_file
            files_of_the_dead_are_found_adopted_and_read
            files_of_the_dead_can_be_removed
            of_two_who_adopt_a_file_one_gets_it
            an_adopted_file_does_not_replace_an_own_one
            a_second_life_of_the_same_name_is_refused_while_the_first_lives
            an_idle_disk_lets_its_reactor_sleep
            a_reactor_that_sleeps_is_woken_by_every_kind_of_completion
            what_is_over_before_the_reactor_sleeps_keeps_it_awake
            a_disk_that_is_dropped_gives_all_memory_back
        }
    };
    ($factory:expr) => {
        $crate::disk_conformance!(optional: Some($factory));
    };
    (@rules $factory:tt $($rule:ident)*) => {
        $($crate::disk_conformance!(@rule $factory $rule);)*
    };
    (@rule [$factory:expr] $rule:ident) => {
        #[test]
        fn $rule() {
            $crate::conformance::disk::$rule(&$factory);
        }
    };
}
