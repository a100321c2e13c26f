//! Gates that are created.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::ShuffleEnvironment;
use crate::error::CreateError;
use crate::gate::{ChannelLocation, GateId, GateMemory, Inbox, InputGate};
use crate::mailbox::Command;

impl ShuffleEnvironment {
    /// Creates a gate with this many channels. Their locations may be known now or later: [`InputGate::set_location`].
    pub fn create_gate(
        &self,
        owner: &str,
        channels: u32,
        locations: &[(u32, ChannelLocation)],
    ) -> Result<InputGate, CreateError> {
        let mut gate = self.open_gate(owner, channels)?;
        for (channel, location) in locations {
            gate.set_location(*channel, location.clone())?;
        }
        Ok(gate)
    }

    fn open_gate(&self, owner: &str, channels: u32) -> Result<InputGate, CreateError> {
        if channels == 0 {
            return Err(CreateError::Empty { what: "a gate", of: "channel" });
        }
        let wanted =
            self.config.window_bytes_max.saturating_mul(channels as usize).saturating_add(self.config.buffer_bytes);
        let pool = self.pool(format!("gate of {owner}"), wanted)?;
        let gate = GateId(self.gates.fetch_add(1, Ordering::Relaxed));
        let inbox = Arc::new(Inbox::new(gate, channels, self.mailbox.clone()));
        let memory = GateMemory {
            pool,
            window_bytes_max: self.config.window_bytes_max as u64,
            buffer_bytes: self.config.buffer_bytes,
        };
        self.mailbox.send(Command::OpenGate { gate, inbox: Arc::clone(&inbox), memory, channels });
        if self.mailbox.is_closed() {
            return Err(CreateError::Stopped);
        }
        Ok(InputGate::new(inbox, channels, self.mailbox.clone(), Arc::clone(&self.manager)))
    }
}
