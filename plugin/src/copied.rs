//! Payload that is copied within the process into memory that its receiver has posted, as if it had come by a stream.

use std::collections::{HashMap, VecDeque};

use sluice_memory::{Buffer, BufferMut};
use sluice_protocol::ChannelId;
use sluice_protocol::wire::{Frame, Head, Placement, Slot};

use crate::hub::Landing;
use crate::link::{CloseCause, LinkId};
use crate::transport::{Capabilities, Landed, Payload, PayloadPlacement};

/// What is posted, by channel, in the order in which it fills.
#[derive(Default)]
pub(crate) struct Copied(HashMap<(LinkId, ChannelId), VecDeque<BufferMut>>);

impl Copied {
    fn landed(&mut self, link: LinkId, channel: ChannelId, mut bytes: &[u8]) -> Landed {
        let Some(posted) = self.0.get_mut(&(link, channel)) else { return Landed::Discarded };
        if posted.iter().map(|range| range.len()).sum::<usize>() < bytes.len() {
            return Landed::Discarded;
        }
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let range = posted.front_mut().expect("as many bytes are posted");
            let mut piece = range.split_to(range.len().min(bytes.len()));
            let (now, later) = bytes.split_at(piece.len());
            piece.copy_from_slice(now);
            bytes = later;
            pieces.push(piece.freeze());
            posted.pop_front_if(|range| range.is_empty());
        }
        if pieces.len() == 1 { Landed::Whole(pieces.remove(0)) } else { Landed::Pieces(pieces) }
    }
}

impl Landing for Copied {
    fn capabilities(&self) -> Capabilities {
        Capabilities { placement: PayloadPlacement::Stream, inline_bytes_max: 1024 }
    }

    fn post(&mut self, link: LinkId, channel: ChannelId, buffer: BufferMut) -> Option<Slot> {
        self.0.entry((link, channel)).or_default().push_back(buffer);
        None
    }

    fn withdraw(&mut self, link: LinkId, channel: ChannelId, bytes: u64, _slots: u64) -> Vec<BufferMut> {
        let Some(posted) = self.0.get_mut(&(link, channel)) else { return Vec::new() };
        let mut left = bytes as usize;
        let mut back = Vec::new();
        while left > 0
            && let Some(mut last) = posted.pop_back()
        {
            let cut = last.split_off(last.len().saturating_sub(left));
            left -= cut.len();
            back.push(cut);
            if !last.is_empty() {
                posted.push_back(last);
            }
        }
        back
    }

    fn forget(&mut self, link: LinkId, channel: ChannelId) -> Vec<BufferMut> {
        self.0.remove(&(link, channel)).map(Vec::from).unwrap_or_default()
    }

    fn close(&mut self, link: LinkId) {
        self.0.retain(|(of, _), _| *of != link);
    }

    fn land(&mut self, link: LinkId, head: &Head, payloads: Vec<Payload>) -> Result<VecDeque<Landed>, CloseCause> {
        let mut bodies = payloads.into_iter();
        let frames = head.frames().filter_map(|frame| match frame {
            Frame::Data(channel, _, Placement::Body) => {
                let body: Buffer = bodies.next().expect("one body for each frame").buffer;
                Some(self.landed(link, channel, &body))
            }
            _ => None,
        });
        Ok(frames.collect())
    }
}
