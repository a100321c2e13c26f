//! The rules that every transport keeps, as tests that it runs; [`disk`] has those of disks.
//!
//! ```
//! // In the transport's tests, with this crate and its feature `conformance` as a dev-dependency:
//! sluice_plugin::transport_conformance!(sluice_plugin::InProcess::new());
//! ```
//!
//! Where the host may lack what a transport needs, `transport_conformance!(optional: …)` takes an `Option` of a factory;
//! with `None` the rules pass unproved, and say so.
//!
//! All workers of a rule are built by one factory, on the test's thread, and driven as their reactors would: prepared to
//! wait, slept on, and polled only if what [`crate::Device::prepare_to_wait`] or [`crate::Transport::poll_timeout`] named
//! has come to pass. So a transport that forgets to wake fails, after some seconds, and so does one that waits for ever.

mod closing;
pub mod disk;
mod landing;
mod links;
mod messages;
pub(crate) mod parcel;
pub(crate) mod stage;
mod waking;
mod worker;

pub use closing::*;
pub use landing::*;
pub use links::*;
pub use messages::*;
pub use waking::*;

/// One `#[test]` for each rule, over a factory that is made anew for each of them.
#[macro_export]
macro_rules! transport_conformance {
    (optional: $factory:expr) => {
        $crate::transport_conformance! {
            @rules [{
                let factory = $factory;
                match factory {
                    Some(factory) => factory,
                    None => return eprintln!("unproved: this host lacks what the transport needs"),
                }
            }]
            both_ends_know_each_other_and_agree_on_the_limits
            a_worker_of_another_cluster_is_refused_on_both_sides
            another_node_than_the_expected_is_refused_on_both_sides
            a_connect_to_nobody_closes_with_a_cause_that_names_the_address
            workers_that_connect_to_each_other_at_once_have_two_links
            parallel_links_are_told_apart_by_their_lanes
            an_idle_transport_lets_its_reactor_sleep
            a_reactor_that_sleeps_is_woken_by_what_its_peer_does
            messages_arrive_in_order_and_once_in_both_directions_at_the_same_time
            a_head_of_the_agreed_size_arrives
            bodies_of_the_agreed_size_arrive
            payloads_in_the_head_arrive_with_it
            a_full_link_hands_messages_back_and_loses_none
            what_is_no_message_closes_the_link
            payload_lands_in_the_memory_that_was_set_aside
            payload_goes_on_in_the_next_posted_buffer
            blocks_of_many_channels_land_from_one_message
            payload_of_an_unknown_channel_is_discarded_and_its_neighbours_land
            payload_beyond_what_is_posted_is_discarded_and_the_link_lives
            payload_of_a_forgotten_channel_is_discarded
            channels_of_two_links_with_the_same_id_do_not_mix
            withdrawn_memory_is_what_was_posted_last
            withdrawn_slots_are_the_oldest
            a_slot_that_came_back_unspent_is_passed_over
            a_forgotten_channel_gives_all_its_memory_back
            a_closed_link_delivers_first_what_it_accepted
            a_closed_link_takes_no_message
            links_that_both_sides_close_at_once_end_on_both
            a_dropped_transport_is_noticed_by_its_peers
            the_end_of_one_link_does_not_disturb_another
            a_lost_link_returns_all_its_memory
            what_is_posted_outlives_the_link_until_the_next_poll
            memory_posted_on_a_link_that_is_over_is_dropped
        }
    };
    ($factory:expr) => {
        $crate::transport_conformance!(optional: Some($factory));
    };
    (@rules $factory:tt $($rule:ident)*) => {
        $($crate::transport_conformance!(@rule $factory $rule);)*
    };
    (@rule [$factory:expr] $rule:ident) => {
        #[test]
        fn $rule() {
            $crate::conformance::$rule(&$factory);
        }
    };
}
