//! The environment layer: `memory.bytes` is `SLUICE_MEMORY_BYTES`, `transport.in-process.x` is
//! `SLUICE_TRANSPORT_IN_PROCESS_X`.

use toml::Value;

use super::error::ConfigError;
use super::keys::KEYS;
use super::layers::{Origin, Setting};
use super::nearest::nearest;

const PREFIX: &str = "SLUICE_";
const TRANSPORT: &str = "SLUICE_TRANSPORT_";

/// The variables of this process that begin with `SLUICE_`. What is not UTF-8 is read with replacement characters.
pub fn process_environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
        Some((name, value.to_string_lossy().into_owned()))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// The variable of a key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace(['.', '-'], "_").to_uppercase())
}

/// The settings of an environment. Variables without our prefix are nobody's business here.
pub(super) fn settings(
    environment: &[(String, String)],
    transports: &[&str],
    of_program: &[&str],
) -> Result<Vec<Setting>, ConfigError> {
    let ours =
        |(name, _): &&(String, String)| name.starts_with(PREFIX) && !of_program.iter().any(|other| *other == name);
    environment
        .iter()
        .filter(ours)
        .map(|(name, value)| {
            let key = key(name, transports).ok_or_else(|| unknown(name, transports, of_program))?;
            Ok(Setting { key, value: Value::String(value.clone()), origin: Origin::Variable(name.clone()) })
        })
        .collect()
}

fn key(name: &str, transports: &[&str]) -> Option<String> {
    let of_engine = || KEYS.iter().find(|key| key.variable() == name).map(|key| key.name.to_owned());
    of_engine().or_else(|| {
        // The longest: the name of one transport may begin with that of another.
        let of_transport = |transport: &&str| Some((transport.to_string(), option(name, transport)?));
        let (transport, option) = transports.iter().filter_map(of_transport).max_by_key(|(name, _)| name.len())?;
        Some(format!("transport.{transport}.{option}"))
    })
}

/// The option of this transport that a variable sets.
fn option(name: &str, transport: &str) -> Option<String> {
    let prefix = format!("{}_", variable(&format!("transport.{transport}")));
    name.strip_prefix(&prefix).filter(|rest| !rest.is_empty()).map(str::to_lowercase)
}

fn unknown(name: &str, transports: &[&str], of_program: &[&str]) -> ConfigError {
    let mut known: Vec<String> = KEYS.iter().map(|key| key.variable()).collect();
    known.extend(of_program.iter().map(|other| (*other).to_owned()));
    // The options are their plug-ins' business, the transports' names are not.
    if let Some((_, option)) = name.strip_prefix(TRANSPORT).and_then(|rest| rest.split_once('_')) {
        known.extend(transports.iter().map(|transport| variable(&format!("transport.{transport}.{option}"))));
    }
    let nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
    ConfigError::UnknownVariable { variable: name.to_owned(), nearest }
}
