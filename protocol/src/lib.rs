//! The credit protocol as a state machine, and its wire. No IO, no clock, no payload.
//!
//! A [`Session`] is one per pair of nodes and lane. It serves both directions: channels that this side **receives**
//! (it gave out their ids, and grants credit) and channels that it **sends** (the peer asked for them).
//!
//! ```text
//!   consumer                                 producer
//!   open(...)        ── Open ──────────────▶ Opened event; the engine finds the partition
//!   grant(...)       ── Grant ─────────────▶ credit
//!   Data event       ◀───────────── Data ──  data_ready(...), transmit() asks the Source
//!   take_event(...)  ── Grant ─────────────▶ room for events
//!   End event        ◀────────────── End ──  with totals
//!   cancel(...)      ── Cancel ────────────▶ CancelRequested event
//!   Cancelled event  ◀──────── Cancelled ──  the channel's last frame
//! ```
//!
//! Four kinds of method: commands (`open`, `grant`, `data_ready`, …), `handle_*` for what happened, `transmit` for what
//! to do next, and getters. Time is an argument. Counters of credit are absolute and monotone, so a message that is
//! repeated or lost with its link does not desynchronise anything.
//!
//! Every message carries how many messages of the peer its sender has received. That one number acknowledges their
//! blocks (the sender may drop them) and moves the window of control buffers.

#![forbid(unsafe_code)]

mod credit;
#[doc(hidden)]
pub mod defect;
mod ids;
mod limits;
mod reason;
mod session;
pub mod wire;

pub use credit::Credit;
pub use ids::{ChannelId, Incarnation, JobId, Lane, LinkEpoch, NodeId, PartitionId, SubpartitionIndex, Ticket, Time};
pub use limits::{Limits, LimitsError};
pub use reason::ReasonCode;
pub use session::{Next, Place, Session, SessionEvent, Source, Violation};
