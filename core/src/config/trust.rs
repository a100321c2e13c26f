//! `[trust]`: how workers prove who they are. Only where the secret and the certificates are: what they hold is in no
//! configuration, and so in no sample, error or log.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Config;
use super::error::ConfigError;

/// `[trust]`: how workers prove who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrustConfig {
    /// The same for the whole cluster.
    pub mode: TrustMode,
    /// What all workers know and nobody else.
    #[serde(with = "empty_is_none")]
    pub secret_file: Option<PathBuf>,
    /// The worker's certificate, and those between it and the authority.
    #[serde(with = "empty_is_none")]
    pub certificate_file: Option<PathBuf>,
    /// The certificate's private key.
    #[serde(with = "empty_is_none")]
    pub key_file: Option<PathBuf>,
    /// The certificates of those who sign the workers'.
    #[serde(with = "empty_is_none")]
    pub authorities_file: Option<PathBuf>,
    /// The name that the certificates of all workers carry.
    #[serde(with = "empty_is_none")]
    pub peer_name: Option<String>,
}

/// How workers prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrustMode {
    /// They do not.
    #[default]
    Off,
    /// By knowing a secret.
    Secret,
    /// By certificates, and all that they say is encrypted.
    Tls,
}

impl fmt::Display for TrustMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Secret => "secret",
            Self::Tls => "tls",
        })
    }
}

impl Config {
    /// Each mode has what it needs, and nothing is set that the mode ignores: who has named certificates and sees no
    /// complaint believes that they are used.
    pub(super) fn check_trust(&self) -> Result<(), ConfigError> {
        let trust = &self.trust;
        let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let (secret, tls) = (trust.mode == TrustMode::Secret, trust.mode == TrustMode::Tls);
        // Each with the mode that it belongs to, whether that is the chosen one, and whether it may be absent then.
        let keys = [
            ("trust.secret_file", text(&trust.secret_file), TrustMode::Secret, secret, false),
            ("trust.certificate_file", text(&trust.certificate_file), TrustMode::Tls, tls, false),
            ("trust.key_file", text(&trust.key_file), TrustMode::Tls, tls, false),
            ("trust.authorities_file", text(&trust.authorities_file), TrustMode::Tls, tls, false),
            ("trust.peer_name", trust.peer_name.clone(), TrustMode::Tls, tls, true),
        ];
        let mode = self.told("trust.mode", trust.mode);
        for (key, value, belongs_to, chosen, optional) in keys {
            let (is_set, value) = (value.is_some(), format!("`{}`", value.unwrap_or_default()));
            self.require(key, &value, is_set || !chosen || optional, || format!("names nothing: {mode} needs it"))?;
            self.require(key, &value, !is_set || chosen, || {
                format!("is not used by {mode}: set trust.mode to {belongs_to}, or leave it out")
            })?;
        }
        Ok(())
    }
}

/// An absent text is written as an empty one: every key has a value to show, and a layer can take back what one below
/// it has set.
mod empty_is_none {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer, T: Serialize>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: From<String>,
    {
        let text = String::deserialize(deserializer)?;
        Ok((!text.is_empty()).then(|| T::from(text)))
    }
}
