//! For models that enumerate the states of two sessions: what makes two states the same.

use std::hash::{Hash, Hasher};

use super::Session;

impl Session {
    /// Hashes all that decides what the session does next. Message numbers count as distances: states that differ
    /// only in how many messages led to them are the same. The time is left out, and of the bytes not acknowledged all
    /// but whether they are many: a small model never has many.
    #[doc(hidden)]
    pub fn hash_state(&self, state: &mut impl Hasher) {
        (self.linked, self.epoch, self.goodbye_said, self.closing.is_some(), self.awaits_resumed).hash(state);
        (self.sent - self.acknowledged, self.received - self.received_told, self.bytes_untold > 1 << 17).hash(state);
        (self.acknowledge_now, (self.unasked > self.acknowledged).then(|| self.sent - self.unasked)).hash(state);
        (&self.speakers, &self.rejects).hash(state);
        self.ready.hash(state);
        for (message, channel) in &self.ended {
            (self.sent + 1 - message, channel).hash(state);
        }
        let mut receiving: Vec<_> = self.receiving.iter().collect();
        receiving.sort_unstable_by_key(|(channel, _)| **channel);
        receiving.hash(state);
        let mut sending: Vec<_> = self.sending.iter().collect();
        sending.sort_unstable_by_key(|(channel, _)| **channel);
        for (channel, sending) in sending {
            (channel, sending.without_message_number(self.sent)).hash(state);
        }
    }

    /// Gives out the lowest free channel id next, so that a model of a few steps sees ids used again.
    #[doc(hidden)]
    pub fn use_ids_again(&mut self) {
        self.next_channel = 0;
    }
}
