//! Memory set aside for the payload of each channel of a link, in the order in which it was posted.

use std::collections::{HashMap, VecDeque};

use sluice_memory::BufferMut;
use sluice_protocol::ChannelId;

/// What is posted on one link. Its bound is the credit that the link's consumers have granted.
#[derive(Default)]
pub(crate) struct Posted {
    channels: HashMap<ChannelId, Channel>,
}

/// No buffer in it is empty.
#[derive(Default)]
struct Channel {
    buffers: VecDeque<BufferMut>,
    bytes: u64,
}

impl Posted {
    /// Sets `buffer` aside behind what is posted already; from now on the channel is known.
    pub(crate) fn post(&mut self, channel: ChannelId, buffer: BufferMut) {
        let channel = self.channels.entry(channel).or_default();
        if !buffer.is_empty() {
            channel.bytes += buffer.len() as u64;
            channel.buffers.push_back(buffer);
        }
    }

    /// Whether the channel was posted for and not yet forgotten.
    pub(crate) fn knows(&self, channel: ChannelId) -> bool {
        self.channels.contains_key(&channel)
    }

    /// Takes `bytes` from the front, in as many pieces as they lie in. Takes nothing and says no if the channel is
    /// unknown or less is posted.
    pub(crate) fn take(&mut self, channel: ChannelId, bytes: usize, mut piece: impl FnMut(BufferMut)) -> bool {
        let Some(channel) = self.channels.get_mut(&channel).filter(|channel| channel.bytes >= bytes as u64) else {
            return false;
        };
        channel.bytes -= bytes as u64;
        let mut left = bytes;
        while left > 0 {
            let front = channel.buffers.front_mut().expect("`bytes` is the sum of the buffers");
            let taken = if front.len() > left {
                front.split_to(left)
            } else {
                // The whole buffer: nothing that is left of it may keep its segment from reuse.
                channel.buffers.pop_front().expect("looked at above")
            };
            left -= taken.len();
            piece(taken);
        }
        true
    }

    /// Gives back `bytes` from the end of what is posted, or all if it is less.
    pub(crate) fn withdraw(&mut self, channel: ChannelId, bytes: u64) -> Vec<BufferMut> {
        let mut withdrawn = Vec::new();
        let Some(channel) = self.channels.get_mut(&channel) else {
            return withdrawn;
        };
        let mut left = bytes.min(channel.bytes);
        channel.bytes -= left;
        while left > 0 {
            let mut last = channel.buffers.pop_back().expect("`bytes` is the sum of the buffers");
            if last.len() as u64 > left {
                withdrawn.push(last.split_off(last.len() - left as usize));
                channel.buffers.push_back(last);
                break;
            }
            left -= last.len() as u64;
            withdrawn.push(last);
        }
        withdrawn
    }

    /// The channel is over: gives back all that is posted for it.
    pub(crate) fn forget(&mut self, channel: ChannelId) -> Vec<BufferMut> {
        self.channels.remove(&channel).map_or_else(Vec::new, |channel| channel.buffers.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::memory;

    const CHANNEL: ChannelId = ChannelId(7);

    fn posted(lengths: &[usize]) -> Posted {
        let mut posted = Posted::default();
        lengths.iter().for_each(|&length| posted.post(CHANNEL, memory(length)));
        posted
    }

    fn taken(posted: &mut Posted, bytes: usize) -> Option<Vec<usize>> {
        let mut pieces = Vec::new();
        posted.take(CHANNEL, bytes, |piece| pieces.push(piece.len())).then_some(pieces)
    }

    fn lengths(buffers: Vec<BufferMut>) -> Vec<usize> {
        buffers.iter().map(|buffer| buffer.len()).collect()
    }

    #[test]
    fn a_block_fills_the_rest_of_one_buffer_and_goes_on_in_the_next() {
        let mut posted = posted(&[10, 10]);
        assert_eq!(taken(&mut posted, 7), Some(vec![7]));
        assert_eq!(taken(&mut posted, 7), Some(vec![3, 4]));
        assert_eq!(taken(&mut posted, 6), Some(vec![6]));
        assert_eq!(taken(&mut posted, 1), None);
    }

    #[test]
    fn too_little_is_left_as_it_is() {
        let mut posted = posted(&[10]);
        assert_eq!(taken(&mut posted, 11), None);
        assert_eq!(taken(&mut posted, 10), Some(vec![10]));
    }

    #[test]
    fn what_was_posted_last_is_withdrawn_first() {
        let mut posted = posted(&[10, 20]);
        assert_eq!(lengths(posted.withdraw(CHANNEL, 5)), [5]);
        assert_eq!(lengths(posted.withdraw(CHANNEL, 17)), [15, 2]);
        assert_eq!(taken(&mut posted, 8), Some(vec![8]));
        assert_eq!(lengths(posted.withdraw(CHANNEL, 9)), [0; 0]);
        assert!(posted.knows(CHANNEL));
    }

    #[test]
    fn a_forgotten_channel_is_unknown() {
        let mut posted = posted(&[10, 20]);
        assert_eq!(lengths(posted.forget(CHANNEL)), [10, 20]);
        assert!(!posted.knows(CHANNEL));
        assert_eq!(taken(&mut posted, 1), None);
        assert_eq!(lengths(posted.forget(CHANNEL)), [0; 0]);
    }
}
