//! What an acknowledgement says: done, not now, or never.

use std::time::Duration;

/// The syndrome of an acknowledgement (IBTA vol. 1, 9.7.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Syndrome {
    /// Executed. Carries a credit code of end-to-end flow control; [`Syndrome::ACK`] has the one that says nothing.
    Ack(u8),
    /// The receiver is not ready: try again after the time.
    ReceiverNotReady(RnrTimer),
    /// Not executed.
    Nak(Nak),
    /// A code that no version of the specification gives a meaning.
    Reserved(u8),
}

/// Why a request was not executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nak {
    /// Packets before it are missing; send again from the number of this NAK.
    SequenceError,
    /// The request is not one that this responder can execute.
    InvalidRequest,
    /// Key, range or rights are wrong.
    RemoteAccess,
    /// The responder has trouble of its own.
    RemoteOperation,
}

impl Syndrome {
    /// Executed; nothing is said of credit, so the requester need not count any (IBTA vol. 1, 9.7.7.2).
    pub const ACK: Syndrome = Syndrome::Ack(31);

    /// The syndrome of a byte.
    pub const fn from_code(code: u8) -> Syndrome {
        let value = code & 0x1F;
        match code >> 5 {
            0b000 => Syndrome::Ack(value),
            0b001 => Syndrome::ReceiverNotReady(RnrTimer(value)),
            0b011 => match value {
                0 => Syndrome::Nak(Nak::SequenceError),
                1 => Syndrome::Nak(Nak::InvalidRequest),
                2 => Syndrome::Nak(Nak::RemoteAccess),
                3 => Syndrome::Nak(Nak::RemoteOperation),
                _ => Syndrome::Reserved(code),
            },
            _ => Syndrome::Reserved(code),
        }
    }

    /// The byte on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Syndrome::Ack(credit) => credit & 0x1F,
            Syndrome::ReceiverNotReady(timer) => 0x20 | timer.0,
            Syndrome::Nak(Nak::SequenceError) => 0x60,
            Syndrome::Nak(Nak::InvalidRequest) => 0x61,
            Syndrome::Nak(Nak::RemoteAccess) => 0x62,
            Syndrome::Nak(Nak::RemoteOperation) => 0x63,
            Syndrome::Reserved(code) => code,
        }
    }
}

/// How long a requester waits after "receiver not ready", as a code of five bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RnrTimer(u8);

/// In units of 10 µs, by code (IBTA vol. 1, 9.7.5.2.8).
const RNR_DELAYS: [u32; 32] = [
    65536, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096,
    6144, 8192, 12288, 16384, 24576, 32768, 49152,
];

impl RnrTimer {
    /// The timer with this code; only the lowest five bits count.
    pub const fn from_code(code: u8) -> RnrTimer {
        RnrTimer(code & 0x1F)
    }

    /// The shortest delay that there is a code for and that is at least `delay`; the longest if there is none.
    pub fn at_least(delay: Duration) -> RnrTimer {
        let enough = (1..32).map(RnrTimer).find(|timer| timer.delay() >= delay);
        enough.unwrap_or(RnrTimer(0))
    }

    /// The time to wait: 10 µs to 655.36 ms.
    pub fn delay(self) -> Duration {
        Duration::from_micros(10) * RNR_DELAYS[usize::from(self.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_a_syndrome_and_back() {
        // But for the highest bit of the credit's class, which is reserved and kept as it is.
        for code in 0..=u8::MAX {
            assert_eq!(Syndrome::from_code(code).code(), code);
        }
    }

    #[test]
    fn a_delay_is_rounded_up_to_one_that_has_a_code() {
        assert_eq!(RnrTimer::at_least(Duration::ZERO).delay(), Duration::from_micros(10));
        assert_eq!(RnrTimer::at_least(Duration::from_micros(50)).delay(), Duration::from_micros(60));
        assert_eq!(RnrTimer::at_least(Duration::from_millis(492)).delay(), Duration::from_micros(655_360));
        assert_eq!(RnrTimer::at_least(Duration::from_secs(9)).delay(), Duration::from_micros(655_360));
    }
}
