//! What a packet is: the operations of the reliable-connected service, and where in its message a packet stands.

/// The operation code of the base transport header, for the reliable connection class (IBTA vol. 1, 9.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// A part of a SEND message.
    Send(Position),
    /// The end of a SEND message that carries an immediate value; `Last` or `Only`.
    SendImmediate(Position),
    /// A part of an RDMA WRITE message.
    Write(Position),
    /// The end of an RDMA WRITE message that carries an immediate value; `Last` or `Only`.
    WriteImmediate(Position),
    /// An RDMA READ request.
    ReadRequest,
    /// A part of the response to an RDMA READ request.
    ReadResponse(Position),
    /// An acknowledgement, positive or negative.
    Acknowledge,
    /// Another code of the same class, such as an atomic operation: a responder answers it with a NAK.
    Unsupported(u8),
}

/// Where a packet stands in its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Position {
    /// The first of several.
    First,
    /// Neither first nor last.
    Middle,
    /// The last of several.
    Last,
    /// First and last.
    Only,
}

impl Position {
    /// The position of a packet before which there is something or nothing, and likewise after it.
    pub const fn of(starts: bool, ends: bool) -> Position {
        match (starts, ends) {
            (true, true) => Position::Only,
            (true, false) => Position::First,
            (false, false) => Position::Middle,
            (false, true) => Position::Last,
        }
    }

    /// Whether a message starts here.
    pub const fn starts(self) -> bool {
        matches!(self, Position::First | Position::Only)
    }

    /// Whether a message ends here.
    pub const fn ends(self) -> bool {
        matches!(self, Position::Last | Position::Only)
    }
}

/// The three highest bits of a code are its class; all zero is the reliable connection.
pub(super) const CLASS_MASK: u8 = 0b1110_0000;

impl Opcode {
    /// The operation of a code of the reliable connection class.
    pub(super) const fn from_code(code: u8) -> Opcode {
        use Position::{First, Last, Middle, Only};
        match code {
            0x00 => Opcode::Send(First),
            0x01 => Opcode::Send(Middle),
            0x02 => Opcode::Send(Last),
            0x03 => Opcode::SendImmediate(Last),
            0x04 => Opcode::Send(Only),
            0x05 => Opcode::SendImmediate(Only),
            0x06 => Opcode::Write(First),
            0x07 => Opcode::Write(Middle),
            0x08 => Opcode::Write(Last),
            0x09 => Opcode::WriteImmediate(Last),
            0x0A => Opcode::Write(Only),
            0x0B => Opcode::WriteImmediate(Only),
            0x0C => Opcode::ReadRequest,
            0x0D => Opcode::ReadResponse(First),
            0x0E => Opcode::ReadResponse(Middle),
            0x0F => Opcode::ReadResponse(Last),
            0x10 => Opcode::ReadResponse(Only),
            0x11 => Opcode::Acknowledge,
            other => Opcode::Unsupported(other),
        }
    }

    /// The code on the wire.
    pub const fn code(self) -> u8 {
        // The positions of SEND and WRITE stand in the order first, middle, last, (last with immediate), only.
        const fn request(base: u8, position: Position) -> u8 {
            base + match position {
                Position::First => 0,
                Position::Middle => 1,
                Position::Last => 2,
                Position::Only => 4,
            }
        }
        match self {
            Opcode::Send(position) => request(0x00, position),
            Opcode::SendImmediate(position) => request(0x00, position) + 1,
            Opcode::Write(position) => request(0x06, position),
            Opcode::WriteImmediate(position) => request(0x06, position) + 1,
            Opcode::ReadRequest => 0x0C,
            Opcode::ReadResponse(Position::First) => 0x0D,
            Opcode::ReadResponse(Position::Middle) => 0x0E,
            Opcode::ReadResponse(Position::Last) => 0x0F,
            Opcode::ReadResponse(Position::Only) => 0x10,
            Opcode::Acknowledge => 0x11,
            Opcode::Unsupported(code) => code,
        }
    }

    /// Whether it goes from the requester to the responder.
    pub const fn is_request(self) -> bool {
        !matches!(self, Opcode::ReadResponse(_) | Opcode::Acknowledge)
    }

    /// Whether an RDMA extended transport header follows: where to read or write.
    pub const fn has_reth(self) -> bool {
        match self {
            Opcode::Write(position) | Opcode::WriteImmediate(position) => position.starts(),
            Opcode::ReadRequest => true,
            _ => false,
        }
    }

    /// Whether an acknowledge extended transport header follows.
    pub const fn has_aeth(self) -> bool {
        match self {
            Opcode::ReadResponse(position) => !matches!(position, Position::Middle),
            Opcode::Acknowledge => true,
            _ => false,
        }
    }

    /// Whether an immediate value follows.
    pub const fn has_immediate(self) -> bool {
        matches!(self, Opcode::SendImmediate(_) | Opcode::WriteImmediate(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_class_is_an_operation_and_back() {
        for code in 0..=!CLASS_MASK {
            assert_eq!(Opcode::from_code(code).code(), code);
        }
    }

    #[test]
    fn only_the_start_of_a_write_says_where_to() {
        assert!(Opcode::Write(Position::First).has_reth() && Opcode::WriteImmediate(Position::Only).has_reth());
        assert!(!Opcode::Write(Position::Last).has_reth() && !Opcode::Send(Position::First).has_reth());
    }
}
