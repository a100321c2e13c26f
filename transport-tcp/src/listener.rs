//! When to take another connection: a bound on strangers, a bound on links, a pause when the machine is short.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use sluice_plugin::LinkId;
use sluice_protocol::Time;

/// When there is no descriptor for a connection, some time must pass before one may have become free.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Listener {
    /// Accepted links that have not said who they are.
    strangers: HashSet<LinkId>,
    strangers_max: usize,
    links_max: usize,
    /// A connection is asked for and has not come.
    asked: bool,
    paused_until: Option<Time>,
}

impl Listener {
    pub(crate) fn new(strangers_max: usize, links_max: usize) -> Self {
        Self { strangers: HashSet::new(), strangers_max, links_max, asked: false, paused_until: None }
    }

    /// Whether to ask for a connection now, with so many links. Those that are not taken wait in the kernel.
    pub(crate) fn ask(&mut self, now: Time, links: usize) -> bool {
        self.paused_until.take_if(|until| *until <= now);
        let full = self.strangers.len() >= self.strangers_max || links >= self.links_max;
        if self.asked || full || self.paused_until.is_some() {
            return false;
        }
        self.asked = true;
        true
    }

    /// The connection that was asked for has become this link.
    pub(crate) fn accepted(&mut self, link: LinkId) {
        self.asked = false;
        self.strangers.insert(link);
    }

    /// The connection that was asked for could not be taken.
    pub(crate) fn failed(&mut self, now: Time, error: &io::Error) {
        self.asked = false;
        // accept(2): errors of the connection itself come here too; they are no reason to wait.
        if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
            tracing::warn!(%error, "a connection cannot be accepted; is the limit on open files (ulimit -n) reached?");
            self.paused_until = Some(now.after(PAUSE));
        }
    }

    /// The link has said who it is, or is over.
    pub(crate) fn is_no_stranger(&mut self, link: LinkId) {
        self.strangers.remove(&link);
    }

    /// When to ask again.
    pub(crate) fn timeout(&self) -> Option<Time> {
        self.paused_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_bounded_and_make_room_by_introducing_themselves() {
        let mut listener = Listener::new(2, 100);
        for link in [1, 2] {
            assert!(listener.ask(Time(0), 0));
            listener.accepted(LinkId(link));
        }
        assert!(!listener.ask(Time(0), 2));
        listener.is_no_stranger(LinkId(1));
        assert!(listener.ask(Time(0), 2));
        assert!(!listener.ask(Time(0), 2), "one is asked for at a time");
    }

    #[test]
    fn links_are_bounded() {
        assert!(!Listener::new(2, 10).ask(Time(0), 10));
        assert!(Listener::new(2, 10).ask(Time(0), 9));
    }

    #[test]
    fn a_machine_without_descriptors_is_asked_again_later() {
        let mut listener = Listener::new(2, 10);
        assert!(listener.ask(Time(0), 0));
        listener.failed(Time(0), &io::Error::other("no descriptor"));
        assert!(!listener.ask(Time(1), 0));
        let again = listener.timeout().expect("a pause ends");
        assert!(listener.ask(again, 0));
        assert_eq!(listener.timeout(), None);
    }
}
