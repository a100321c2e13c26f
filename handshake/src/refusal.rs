//! Why a peer refuses a link, as a number on the wire and as the label of a metric.

/// Why a peer refuses a link, as a number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalCode {
    /// No version in common.
    Version,
    /// Another cluster.
    Cluster,
    /// Another node than expected.
    UnexpectedNode,
    /// Kind of authentication.
    Authentication,
    /// Required features.
    Features,
    /// Impossible limits.
    Limits,
    /// Checksum or fields.
    Corrupt,
    /// Longer than any hello.
    TooLong,
    /// Both connect or both accept.
    Role,
    /// The answer is not to the question.
    Answer,
    /// Link epoch 0.
    Epoch,
    /// The engine does not want it.
    Declined,
    /// The shared secret is not proved.
    Secret,
    /// Plain speech where TLS is spoken.
    WantsTls,
    /// TLS where plain speech is spoken.
    NoTls,
    /// A code of a later version.
    Other(u16),
}

impl RefusalCode {
    const NUMBERED: [(RefusalCode, u16); 15] = [
        (RefusalCode::Version, 1),
        (RefusalCode::Cluster, 2),
        (RefusalCode::UnexpectedNode, 3),
        (RefusalCode::Authentication, 4),
        (RefusalCode::Features, 5),
        (RefusalCode::Limits, 6),
        (RefusalCode::Corrupt, 7),
        (RefusalCode::TooLong, 8),
        (RefusalCode::Role, 9),
        (RefusalCode::Answer, 10),
        (RefusalCode::Epoch, 11),
        (RefusalCode::Declined, 12),
        (RefusalCode::Secret, 13),
        (RefusalCode::WantsTls, 14),
        (RefusalCode::NoTls, 15),
    ];

    /// The number on the wire.
    pub fn number(self) -> u16 {
        if let RefusalCode::Other(number) = self {
            return number;
        }
        Self::NUMBERED.iter().find(|(code, _)| *code == self).map_or(0, |(_, number)| *number)
    }

    /// The code of a number; unknown ones are kept as they are.
    pub fn of(number: u16) -> Self {
        Self::NUMBERED.iter().find(|(_, known)| *known == number).map_or(RefusalCode::Other(number), |(code, _)| *code)
    }

    /// A short name for a metric's label; it stays the same from version to version.
    pub fn metric(self) -> &'static str {
        match self {
            RefusalCode::Version => "version",
            RefusalCode::Cluster => "cluster",
            RefusalCode::UnexpectedNode => "node",
            RefusalCode::Authentication => "trust_mode",
            RefusalCode::Features => "features",
            RefusalCode::Limits => "limits",
            RefusalCode::Corrupt => "corrupt",
            RefusalCode::TooLong => "too_long",
            RefusalCode::Role => "role",
            RefusalCode::Answer => "answer",
            RefusalCode::Epoch => "epoch",
            RefusalCode::Declined => "declined",
            RefusalCode::Secret => "secret",
            RefusalCode::WantsTls => "wants_tls",
            RefusalCode::NoTls => "no_tls",
            RefusalCode::Other(_) => "other",
        }
    }
}
