//! What can be wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

use super::layers::Origin;

/// Why a configuration is refused: the key, where it came from, what is wrong, and what would work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: the configuration file cannot be read: name one that exists and may be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}: not TOML: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// A key that nobody has.
    #[error("unknown key `{key}` ({origin}){}", MeantInstead(nearest))]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it was set.
        origin: Origin,
        /// The known one that is most like it.
        nearest: Option<String>,
    },
    /// A table that nobody has.
    #[error("unknown table `[{table}]` ({origin}){}", MeantInstead(nearest))]
    UnknownTable {
        /// The table.
        table: String,
        /// Where it stands.
        origin: Origin,
        /// The known one that is most like it.
        nearest: Option<String>,
    },
    /// A variable that looks like ours and is not.
    #[error("unknown variable {variable}{}", MeantInstead(nearest))]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// The known one that is most like it.
        nearest: Option<String>,
    },
    /// A transport that the program does not have.
    #[error("unknown transport `{transport}` ({origin}){}; known: {}", MeantInstead(nearest), known.join(", "))]
    UnknownTransport {
        /// The transport.
        transport: String,
        /// Where it was named.
        origin: Origin,
        /// The known one that is most like it.
        nearest: Option<String>,
        /// All that the program has.
        known: Vec<String>,
    },
    /// A value of the wrong type, or a text that is not understood.
    #[error("{key} ({origin}): {problem}")]
    Value {
        /// The key.
        key: String,
        /// Where it was set.
        origin: Origin,
        /// What was found and what is expected.
        problem: String,
    },
    /// A table that lacks something or does not fit together, as its plug-in says.
    #[error("[{table}]: {problem}")]
    Table {
        /// The table.
        table: String,
        /// What its plug-in says.
        problem: String,
    },
    /// A value that cannot work, alone or beside others.
    #[error("{key} of {value} ({origin}) {problem}")]
    Impossible {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// Where it was set.
        origin: Origin,
        /// Why it cannot work, and what would.
        problem: String,
    },
}

/// The end of a message that names what was probably meant.
struct MeantInstead<'a>(&'a Option<String>);

impl fmt::Display for MeantInstead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nearest) => write!(f, ": the nearest known one is `{nearest}`"),
            None => Ok(()),
        }
    }
}
