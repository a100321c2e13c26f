//! A connection between two places: how it comes about, and how each of its ends learns of its end.

use std::io;
use std::time::Duration;

use sluice_core::{Limits, NodeId, ReasonCode, Time};
use sluice_plugin::{CloseCause, Connect, LinkId, Peer};

use super::pipe::Pipe;
use super::place::Facts;

/// How long what was accepted may take to be sent after `close`.
const LINGER: Duration = Duration::from_millis(500);

/// Two ends and the pipes between them. The first end is the one that connected.
pub(super) struct Connection {
    pub(super) wish: Connect,
    pub(super) limits: Limits,
    pub(super) ends: [End; 2],
    /// The one at an index carries what that end sends.
    pub(super) pipes: [Pipe; 2],
    /// When the accepting side hears of it.
    pub(super) hello_at: Time,
    /// When the connecting side gives up waiting for an answer.
    pub(super) give_up_at: Time,
    /// Cut: nothing gets across any more.
    pub(super) is_cut: bool,
}

/// One end of a connection.
pub(super) struct End {
    pub(super) place: usize,
    pub(super) node: NodeId,
    pub(super) incarnation: u64,
    pub(super) link: Option<LinkId>,
    pub(super) state: EndState,
    /// When this end is over, and why.
    pub(super) over: Option<(Time, Over)>,
    /// When a sender that was refused is told that there is room.
    pub(super) writable_at: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndState {
    /// Has sent its hello.
    Calling,
    /// Its answer is on its way.
    Answered(Time),
    /// The hello of the other end is on its way.
    Unheard,
    Up,
    /// Its engine has closed it; what it accepted is still sent, and what comes is thrown away.
    Closing,
    Over,
}

/// Why an end is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Local,
    PeerClosed,
    Lost,
    Deadline,
    Unreachable,
    Refused(String),
}

impl Connection {
    /// What the end at `side` is told of the other.
    pub(super) fn peer(&self, side: usize) -> Peer {
        let other = &self.ends[1 - side];
        let Connect { session, epoch, lane, .. } = self.wish;
        let incarnation = sluice_core::Incarnation(other.incarnation);
        Peer { node: other.node, incarnation, session, epoch, lane, limits: self.limits }
    }

    pub(super) fn cause(&self, over: Over, tried: Duration) -> CloseCause {
        let address = || self.wish.address.clone();
        match over {
            Over::Local => CloseCause::Local,
            Over::PeerClosed => CloseCause::PeerClosed,
            Over::Lost => {
                CloseCause::Io { operation: "receiving", source: io::Error::from(io::ErrorKind::ConnectionReset) }
            }
            Over::Deadline => CloseCause::Deadline { address: address(), seconds: tried.as_secs() },
            Over::Unreachable => CloseCause::Unreachable { address: address() },
            Over::Refused(text) => CloseCause::Refused { code: ReasonCode::Violation, text },
        }
    }

    /// The engine of `side` has closed it.
    pub(super) fn close(&mut self, side: usize, now: Time, latency: Duration, lost_after: Duration) {
        let state = self.ends[side].state;
        match state {
            EndState::Up => {}
            // Nobody at the other end has heard of it, or will.
            EndState::Calling | EndState::Answered(_) => {
                self.pipes[side].end(now.after(latency));
                self.ends[side].state = EndState::Closing;
                self.ends[side].over = Some((now, Over::Local));
                return;
            }
            EndState::Unheard | EndState::Closing | EndState::Over => return,
        }
        self.ends[side].state = EndState::Closing;
        self.ends[side].writable_at = None;
        if self.is_cut {
            self.ends[side].over = Some((now.after(lost_after), Over::Local));
            return;
        }
        let sent = self.pipes[side].last_arrival().unwrap_or(now).max(now).min(now.after(LINGER));
        self.pipes[side].end(sent.max(now.after(latency)));
        self.ends[side].over = Some((sent, Over::Local));
        self.pipes[1 - side].throw_away();
    }

    /// An end is over: what was sent from it is its own again, and nothing reaches it.
    pub(super) fn end(&mut self, side: usize, now: Time, latency: Duration) {
        self.ends[side].state = EndState::Over;
        self.ends[side].over = None;
        self.ends[side].writable_at = None;
        self.pipes[1 - side].clear();
        let pipe = &mut self.pipes[side];
        pipe.give_back();
        if !self.is_cut && pipe.end_at.is_none() {
            let at = pipe.last_arrival().unwrap_or(now).max(now.after(latency));
            pipe.end(at);
        }
    }

    /// When something happens at an end.
    pub(super) fn next_due(&self, side: usize) -> Option<Time> {
        let end = &self.ends[side];
        let over = end.over.as_ref().map(|(at, _)| *at);
        let inbound = &self.pipes[1 - side];
        match end.state {
            EndState::Calling => over.or(Some(self.give_up_at)),
            EndState::Answered(at) => Some(over.map_or(at, |over| over.min(at))),
            EndState::Unheard => (!self.is_cut).then_some(self.hello_at),
            EndState::Up => {
                // What was sent before a cut still arrives; its end is told by `over`, if at all.
                let arrival = if self.is_cut { inbound.next_arrival() } else { inbound.next_due() };
                [over, end.writable_at, arrival].into_iter().flatten().min()
            }
            EndState::Closing => over,
            EndState::Over => None,
        }
    }
}

/// Why the one that connects may not have a link to the other, as each would put it.
pub(super) fn refusal(wish: &Connect, here: &Facts, there: &Facts) -> Option<[String; 2]> {
    let refused = |mine: &Facts, theirs: &Facts| {
        format!(
            "this is node {} of cluster {:?} at {}, the peer is node {} of cluster {:?} at {}",
            mine.node, mine.cluster, mine.address, theirs.node, theirs.cluster, theirs.address
        )
    };
    if here.cluster != there.cluster {
        return Some([refused(here, there), refused(there, here)]);
    }
    if wish.node != there.node {
        let expected = format!("node {} was expected at {}", wish.node, there.address);
        return Some([
            format!("{expected}: {}", refused(here, there)),
            format!("{expected}: {}", refused(there, here)),
        ]);
    }
    None
}
