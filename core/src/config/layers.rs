//! The settings of all layers by their key, each with where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use toml::Value;

use super::error::ConfigError;
use super::keys::{KEYS, Key};
use super::nearest::{distance, nearest};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Variable(String),
    /// The command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// What the command line sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The key, such as `memory.bytes`.
    pub key: String,
    /// Its value as text; a number or a boolean is understood as such where one is expected.
    pub value: String,
    /// The flag, for errors, such as `--memory`.
    pub flag: String,
}

impl Override {
    /// A key, its value, and the flag that sets it.
    pub fn new(key: impl Into<String>, value: impl Into<String>, flag: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into(), flag: flag.into() }
    }
}

/// A value that some layer gives a key.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

impl From<Override> for Setting {
    fn from(by: Override) -> Self {
        Self { key: by.key, value: Value::String(by.value), origin: Origin::Flag(by.flag) }
    }
}

/// The uppermost setting of each key.
#[derive(Clone, Debug, Default)]
pub(super) struct Layers {
    settings: BTreeMap<String, Setting>,
}

impl Layers {
    /// Puts a layer over those before.
    pub(super) fn put_all(&mut self, settings: impl IntoIterator<Item = Setting>) {
        self.settings.extend(settings.into_iter().map(|setting| (setting.key.clone(), setting)));
    }

    pub(super) fn origin(&self, key: &str) -> Origin {
        self.settings.get(key).map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// The settings of a table, by the rest of their key.
    pub(super) fn table<'a>(&'a self, table: &str) -> impl Iterator<Item = (&'a str, &'a Setting)> {
        let prefix = format!("{table}.");
        self.settings.values().filter_map(move |setting| Some((setting.key.strip_prefix(&prefix)?, setting)))
    }

    /// The settings of the transports' tables, which are their plug-ins' business.
    pub(super) fn of_transports(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        self.table("transport").filter_map(|(rest, setting)| {
            let (transport, option) = rest.split_once('.')?;
            Some((transport, option, &setting.value))
        })
    }

    /// Refuses keys that the engine does not have and tables of transports that the program does not have.
    pub(super) fn check_keys(&self, transports: &[&str]) -> Result<(), ConfigError> {
        self.settings.values().try_for_each(|setting| check_key(setting, transports))
    }

    /// Refuses keys of a transport's table that its plug-in does not have.
    pub(super) fn check_table(&self, table: &str, known: &[&str]) -> Result<(), ConfigError> {
        match self.table(table).find(|(option, _)| !known.contains(option)) {
            Some((_, setting)) => Err(unknown(setting, known.iter().map(|option| format!("{table}.{option}")))),
            None => Ok(()),
        }
    }
}

fn check_key(setting: &Setting, transports: &[&str]) -> Result<(), ConfigError> {
    let mut parts = setting.key.splitn(3, '.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("transport"), Some(name), option) if option.is_some() || setting.value.is_table() => {
            check_transport(name, transports, &setting.origin)
        }
        _ if KEYS.iter().any(|key| key.name == setting.key) => Ok(()),
        (Some(table), None, None) if setting.value.is_table() => check_empty_table(table, &setting.origin),
        _ => Err(unknown(setting, KEYS.iter().map(|key| key.name.to_owned()))),
    }
}

/// Only a table without keys stands for itself; of others, their keys are checked.
fn check_empty_table(name: &str, origin: &Origin) -> Result<(), ConfigError> {
    let tables = || KEYS.iter().map(Key::table).chain(["transport"]);
    if tables().any(|table| table == name) {
        return Ok(());
    }
    let nearest = nearest(name, tables()).map(str::to_owned);
    Err(ConfigError::UnknownTable { table: name.to_owned(), origin: origin.clone(), nearest })
}

/// Refuses a transport that the program does not have.
pub(super) fn check_transport(name: &str, known: &[&str], origin: &Origin) -> Result<(), ConfigError> {
    if known.contains(&name) {
        return Ok(());
    }
    Err(ConfigError::UnknownTransport {
        transport: name.to_owned(),
        origin: origin.clone(),
        nearest: nearest(name, known.iter().copied()).map(str::to_owned),
        known: known.iter().map(|name| (*name).to_owned()).collect(),
    })
}

/// A key that is none of the known ones.
fn unknown(setting: &Setting, known: impl Iterator<Item = String>) -> ConfigError {
    // A key without a table is most often one that stands in the wrong place: its own name tells which it is.
    let bare = !setting.key.contains('.');
    let compared = |known: &str| known.rsplit('.').next().filter(|_| bare).unwrap_or(known).to_owned();
    let nearest = known.min_by_key(|known| distance(&setting.key, &compared(known)));
    ConfigError::UnknownKey { key: setting.key.clone(), origin: setting.origin.clone(), nearest }
}
