//! The engine's configuration as the command line, the environment and `sluice.toml` give it.
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sluice_core::{Config, ConfigError, Override, Sources, process_environment};

/// The transports that this program can run.
pub const TRANSPORTS: [&str; 2] = ["tcp", "in-process"];
/// Read if it is in the current folder and no other file is named.
const DEFAULT_FILE: &str = "sluice.toml";

/// Plain data, so that each worker reads the same layers as the coordinator did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The file that was named.
    pub file: Option<PathBuf>,
    /// Key, value and flag of what the command line sets.
    pub overrides: Vec<(String, String, String)>,
}

impl Settings {
    /// Notes what a flag sets, if it was given.
    pub fn set(&mut self, key: &str, value: Option<impl ToString>, flag: &str) {
        if let Some(value) = value {
            self.overrides.push((key.into(), value.to_string(), flag.into()));
        }
    }

    /// Defaults, file, environment, command line: each over the one before.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let overrides = self.overrides.iter().map(|(key, value, flag)| Override::new(key, value, flag)).collect();
        Config::load(Sources {
            transports: &TRANSPORTS,
            file: self.file.as_deref(),
            default_file: Some(Path::new(DEFAULT_FILE)),
            environment: process_environment(),
            variables_of_program: &[],
            overrides,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_sets_its_key_and_is_named_when_the_value_is_wrong() {
        let mut settings = Settings::default();
        settings.set("memory.bytes", Some("8MiB"), "--memory");
        settings.set("session.lanes", None::<u32>, "--lanes");
        assert_eq!(settings.load().unwrap().memory.bytes.bytes(), 8 << 20);
        settings.set("shuffle.flush_interval", Some("soon"), "--flush-interval");
        let error = settings.load().unwrap_err().to_string();
        assert!(error.contains("--flush-interval") && error.contains("soon"), "{error}");
    }
}
