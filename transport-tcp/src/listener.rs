//! When to take another connection: a bound on links, a share of each turn, a pause when the machine is short.

use std::io;
use std::time::Duration;

use sluice_protocol::Time;

/// When there is no descriptor for a connection, some time must pass before one may have become free.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that one turn takes: a flood of them must not keep the reactor from its running links.
const TURN_CONNECTIONS: usize = 64;

pub(crate) struct Listener {
    links_max: usize,
    /// A connection is asked for and has not come.
    asked: bool,
    /// Connections taken in this turn.
    taken: usize,
    paused_until: Option<Time>,
}

impl Listener {
    pub(crate) fn new(links_max: usize) -> Self {
        Self { links_max, asked: false, taken: 0, paused_until: None }
    }

    /// Whether to ask for a connection now, with so many links. Those that are not taken wait in the kernel.
    pub(crate) fn ask(&mut self, now: Time, links: usize) -> bool {
        self.paused_until.take_if(|until| *until <= now);
        if self.asked || links >= self.links_max || self.has_had_its_share() || self.paused_until.is_some() {
            return false;
        }
        self.asked = true;
        true
    }

    /// There may be more connections, for the next turn.
    pub(crate) fn has_had_its_share(&self) -> bool {
        self.taken >= TURN_CONNECTIONS
    }

    pub(crate) fn begin_turn(&mut self) {
        self.taken = 0;
    }

    /// The connection that was asked for has come.
    pub(crate) fn accepted(&mut self) {
        self.asked = false;
        self.taken += 1;
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

    /// The connection that was asked for could not be taken, and there is room for it now.
    pub(crate) fn failed_once(&mut self) {
        self.asked = false;
        self.taken += 1;
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
    fn one_connection_is_asked_for_at_a_time() {
        let mut listener = Listener::new(10);
        assert!(listener.ask(Time(0), 0));
        assert!(!listener.ask(Time(0), 0));
        listener.accepted();
        assert!(listener.ask(Time(0), 0));
    }

    #[test]
    fn links_are_bounded() {
        assert!(!Listener::new(10).ask(Time(0), 10));
        assert!(Listener::new(10).ask(Time(0), 9));
    }

    #[test]
    fn a_flood_of_connections_goes_on_in_the_next_turn() {
        let mut listener = Listener::new(1000);
        for _ in 0..TURN_CONNECTIONS {
            assert!(!listener.has_had_its_share() && listener.ask(Time(0), 0));
            listener.accepted();
        }
        assert!(listener.has_had_its_share() && !listener.ask(Time(0), 0));
        listener.begin_turn();
        assert!(listener.ask(Time(0), 0));
    }

    #[test]
    fn a_machine_without_descriptors_is_asked_again_later() {
        let mut listener = Listener::new(10);
        assert!(listener.ask(Time(0), 0));
        listener.failed(Time(0), &io::Error::other("no descriptor"));
        assert!(!listener.ask(Time(1), 0));
        let again = listener.timeout().expect("a pause ends");
        assert!(listener.ask(again, 0));
        assert_eq!(listener.timeout(), None);
    }
}
