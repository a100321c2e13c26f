//! What both ends of a link have agreed on. Each is the smaller of what the two offered.

use std::time::Duration;

/// The bounds of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, prefix included.
    pub head_bytes_max: u32,
    /// Bytes of all bodies of one message.
    pub body_bytes_max: u32,
    /// Bytes of one block.
    pub block_bytes_max: u32,
    /// Bytes of a payload that may stand in a head.
    pub inline_bytes_max: u32,
    /// Control buffers that each side keeps: heads that may be under way unacknowledged. At least 8.
    pub control_window: u32,
    /// Channels that each direction may have open at a time.
    pub channels_max: u32,
    /// Silence after which a side says that it is alive.
    pub heartbeat: Duration,
    /// Silence after which the peer counts as gone.
    pub silence_max: Duration,
}

impl Limits {
    /// The smallest window of control buffers with which neither side can starve the other.
    pub const CONTROL_WINDOW_MIN: u32 = 8;
    /// Events of a channel that may be sent and not yet taken by the consuming task.
    pub const EVENTS_MAX: u64 = 16;
    /// Slots of a channel that may be granted and neither spent nor returned.
    pub const SLOTS_MAX: u64 = 1024;
    /// The smallest head: the longest event fits beside the largest control frames, and something besides.
    pub const HEAD_BYTES_MIN: u32 = 8 * 1024;
    /// What a head needs besides the one inline payload that it must be able to hold.
    pub const HEAD_BYTES_BESIDES_INLINE: u32 = 2 * 1024;
    /// The smallest largest block: the smallest buffer of the memory's size classes.
    pub const BLOCK_BYTES_MIN: u32 = 4 * 1024;
    /// No head and no message may be longer, whatever both sides offer.
    pub const BYTES_MAX: u32 = 1 << 30;

    /// Whether a link can run with these bounds. If both sides' limits pass, so does what both can keep.
    pub fn check(&self) -> Result<(), LimitsError> {
        within("head_bytes_max", self.head_bytes_max, Self::HEAD_BYTES_MIN, Self::BYTES_MAX)?;
        within("body_bytes_max", self.body_bytes_max, Self::BLOCK_BYTES_MIN, Self::BYTES_MAX)?;
        within("block_bytes_max", self.block_bytes_max, Self::BLOCK_BYTES_MIN, self.body_bytes_max)?;
        let inline_max = self.head_bytes_max - Self::HEAD_BYTES_BESIDES_INLINE;
        within("inline_bytes_max", self.inline_bytes_max, 0, inline_max)?;
        within("control_window", self.control_window, Self::CONTROL_WINDOW_MIN, u16::MAX.into())?;
        within("channels_max", self.channels_max, 1, u32::MAX / 2)?;
        if self.heartbeat < Duration::from_millis(1) || self.silence_max < 2 * self.heartbeat {
            return Err(LimitsError::Silence { heartbeat: self.heartbeat, silence_max: self.silence_max });
        }
        Ok(())
    }

    /// What both sides can keep: the smaller of each.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        Self {
            head_bytes_max: self.head_bytes_max.min(other.head_bytes_max),
            body_bytes_max: self.body_bytes_max.min(other.body_bytes_max),
            block_bytes_max: self.block_bytes_max.min(other.block_bytes_max),
            inline_bytes_max: self.inline_bytes_max.min(other.inline_bytes_max),
            control_window: self.control_window.min(other.control_window),
            channels_max: self.channels_max.min(other.channels_max),
            heartbeat: self.heartbeat.min(other.heartbeat),
            // The larger: a side that beats slowly must not be declared dead by one that is impatient.
            silence_max: self.silence_max.max(other.silence_max),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Room for a thousand grants, or some hundred small blocks, in one head.
            head_bytes_max: 64 * 1024,
            // One submission carries half a megabyte: far over the 256 KiB from which a wake-up no longer shows.
            body_bytes_max: 512 * 1024,
            block_bytes_max: 512 * 1024,
            // Below it a copy into the head is cheaper than a place of its own in the scatter list.
            inline_bytes_max: 1024,
            control_window: 64,
            // A thousand producers for each of a thousand consumers, on one link.
            channels_max: 1 << 20,
            heartbeat: Duration::from_secs(2),
            // A worker that swaps, or is stopped by a debugger for a moment, is not dead.
            silence_max: Duration::from_secs(30),
        }
    }
}

/// Bounds that no link can run with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitsError {
    /// A figure that is too small or too large.
    #[error("{what} of {found} is not between {min} and {max}")]
    Range {
        /// The field's name.
        what: &'static str,
        /// Its value.
        found: u32,
        /// The smallest that works.
        min: u32,
        /// The largest that works beside the other figures.
        max: u32,
    },
    /// A side would be declared dead between two signs of life.
    #[error("silence_max of {silence_max:?} is not at least twice a heartbeat of {heartbeat:?} (at least 1ms)")]
    Silence {
        /// Between two signs of life.
        heartbeat: Duration,
        /// After which a side counts as gone.
        silence_max: Duration,
    },
}

fn within(what: &'static str, found: u32, min: u32, max: u32) -> Result<(), LimitsError> {
    if (min..=max).contains(&found) { Ok(()) } else { Err(LimitsError::Range { what, found, min, max }) }
}
