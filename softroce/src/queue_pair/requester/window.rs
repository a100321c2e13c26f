//! How many packets may be under way: as many as come through.

/// A congestion window in packets. It grows while packets are acknowledged and shrinks when some are lost, so that a
/// sender finds out what its receiver's socket has room for.
///
/// The specification leaves the rate to the fabric; UDP has no link-level flow control, so the endpoint must.
#[derive(Debug, Clone)]
pub(super) struct Window {
    packets: u32,
    /// Below it the window doubles in a round trip, above it grows by one.
    threshold: u32,
    /// Acknowledged since it last grew by one.
    acknowledged: u32,
    most: u32,
}

/// What is always allowed: fewer would take a timeout for each loss, because no later packet shows it.
const PACKETS_MIN: u32 = 4;
const PACKETS_FIRST: u32 = 32;

impl Window {
    /// Of at most so many packets.
    pub(super) fn new(most: u32) -> Window {
        let most = most.max(PACKETS_MIN);
        Window { packets: PACKETS_FIRST.min(most), threshold: most, acknowledged: 0, most }
    }

    pub(super) fn packets(&self) -> u32 {
        self.packets
    }

    /// So many more packets have arrived.
    pub(super) fn advance(&mut self, packets: u32) {
        self.acknowledged += packets;
        let step = if self.packets < self.threshold { 1 } else { self.packets };
        if self.acknowledged >= step {
            self.packets = (self.packets + self.acknowledged / step).min(self.most);
            self.acknowledged %= step;
        }
    }

    /// Packets are missing, and later ones have arrived.
    pub(super) fn shrink(&mut self) {
        self.threshold = (self.packets / 2).max(PACKETS_MIN);
        self.packets = self.threshold;
        self.acknowledged = 0;
    }

    /// Nothing arrives.
    pub(super) fn collapse(&mut self) {
        self.shrink();
        self.packets = PACKETS_MIN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_until_a_loss_and_then_grows_by_one_a_round_trip() {
        let mut window = Window::new(1000);
        window.advance(32);
        assert_eq!(window.packets(), 64);
        window.shrink();
        assert_eq!(window.packets(), 32);
        window.advance(32);
        assert_eq!(window.packets(), 33);
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let mut window = Window::new(40);
        window.advance(1_000_000);
        assert_eq!(window.packets(), 40);
        for _ in 0..10 {
            window.shrink();
            window.collapse();
        }
        assert_eq!(window.packets(), PACKETS_MIN);
        assert_eq!(Window::new(0).packets(), PACKETS_MIN);
    }
}
