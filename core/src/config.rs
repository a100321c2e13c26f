//! The configuration of a worker: `sluice.toml`, `SLUICE_…` variables and the command line, one over the other.
//!
//! [`Config::load`] reads the layers, refuses what is unknown or cannot work, and says of each refused setting where it
//! came from. [`Config::environment`] is what the engine is started with. The table of each transport belongs to its
//! plug-in: the core knows no transport by name, and the composing program reads the table by
//! [`Config::transport_options`].
//!
//! ```
//! use sluice_core::{Config, Incarnation, NodeId, Override, Sources};
//!
//! let config = Config::load(Sources {
//!     transports: &["tcp", "in-process"],
//!     environment: vec![("SLUICE_SHUFFLE_FLUSH_INTERVAL".into(), "off".into())],
//!     overrides: vec![Override::new("memory.bytes", "128MiB", "--memory")],
//!     ..Sources::default()
//! })?;
//! assert_eq!(config.environment(NodeId(1), Incarnation(1)).memory_bytes, 128 << 20);
//! # Ok::<(), sluice_core::ConfigError>(())
//! ```

mod check;
mod disk;
mod error;
mod fields;
mod file;
mod keys;
mod layers;
mod nearest;
mod reading;
mod sample;
mod tables;
mod trust;
mod units;
mod variables;

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sluice_protocol::{Incarnation, Limits, NodeId};

pub use disk::DiskConfig;
pub use error::ConfigError;
pub use keys::Key;
pub use layers::{Origin, Override};
pub use tables::{ClusterConfig, MemoryConfig, SessionConfig, ShuffleConfig};
pub use trust::{TrustConfig, TrustMode};
pub use units::{Period, Size};
pub use variables::process_environment;

use crate::clock::Clock;
use crate::service::EnvironmentConfig;
use layers::{Layers, Setting};

/// What a worker is configured with. `Default` is the engine's own: [`EnvironmentConfig::default`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct Config {
    /// The cluster that the worker belongs to.
    pub cluster: ClusterConfig,
    /// Shuffle memory.
    pub memory: MemoryConfig,
    /// Writers and gates.
    pub shuffle: ShuffleConfig,
    /// Links to peers.
    pub session: SessionConfig,
    /// Where blocking partitions are kept.
    pub disk: DiskConfig,
    /// How workers prove who they are. The engine does not look at it: the composing program gives it to the transport.
    pub trust: TrustConfig,
    /// All that was set, and where: for errors, and for the transports' tables.
    #[serde(skip)]
    layers: Layers,
}

/// Where a configuration comes from, the weakest layer first.
#[derive(Clone, Debug, Default)]
pub struct Sources<'a> {
    /// The transports that the program can run; others are refused.
    pub transports: &'a [&'a str],
    /// The file that the user named. It must be readable.
    pub file: Option<&'a Path>,
    /// The file that is read if none was named and this one exists.
    pub default_file: Option<&'a Path>,
    /// All variables, or at least those that begin with `SLUICE_`; see [`process_environment`].
    pub environment: Vec<(String, String)>,
    /// The `SLUICE_…` variables that are the program's own business, such as `SLUICE_LOG`.
    pub variables_of_program: &'a [&'a str],
    /// What the command line sets.
    pub overrides: Vec<Override>,
}

impl Config {
    /// Reads all layers, each over the one before: defaults, file, environment, command line.
    pub fn load(sources: Sources<'_>) -> Result<Self, ConfigError> {
        let mut layers = Layers::default();
        let named = sources.file.or(sources.default_file.filter(|file| file.exists()));
        if let Some(path) = named {
            layers.put_all(file::read(path)?);
        }
        let environment = &sources.environment;
        layers.put_all(variables::settings(environment, sources.transports, sources.variables_of_program)?);
        layers.put_all(sources.overrides.into_iter().map(Setting::from));
        layers.check_keys(sources.transports)?;
        let config = Self::read(layers)?;
        config.check_transport(sources.transports)?;
        config.check()?;
        Ok(config)
    }

    fn read(layers: Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            cluster: reading::table(&layers, "cluster")?,
            memory: reading::table(&layers, "memory")?,
            shuffle: reading::table(&layers, "shuffle")?,
            session: reading::table(&layers, "session")?,
            disk: reading::table(&layers, "disk")?,
            trust: reading::table(&layers, "trust")?,
            layers,
        })
    }

    /// The table of a transport, `[transport.<name>]`, as its plug-in's options. Keys that are no field of `T` are
    /// refused; `T` says which it has by its derived `Deserialize`, and what is absent by `#[serde(default)]`.
    pub fn transport_options<T: DeserializeOwned>(&self, transport: &str) -> Result<T, ConfigError> {
        let table = format!("transport.{transport}");
        if let Some(known) = fields::of::<T>() {
            self.layers.check_table(&table, known)?;
        }
        reading::table(&self.layers, &table)
    }

    /// Where the value of a key came from, such as `memory.bytes`.
    pub fn origin(&self, key: &str) -> Origin {
        self.layers.origin(key)
    }

    /// What this life of a worker is started with.
    pub fn environment(&self, node: NodeId, incarnation: Incarnation) -> EnvironmentConfig {
        EnvironmentConfig {
            cluster: self.cluster.name.clone(),
            node,
            incarnation,
            memory_bytes: self.memory.bytes.bytes(),
            floors_bytes: self.floors_bytes(),
            huge_pages: self.memory.huge_pages,
            buffer_bytes: self.memory.buffer_bytes.bytes(),
            writer_bytes_max: self.shuffle.writer_bytes_max.bytes(),
            window_bytes_max: self.shuffle.window_bytes_max.bytes(),
            hand_over_bytes: self.shuffle.hand_over_bytes.bytes(),
            flush: self.shuffle.flush_interval,
            record_bytes_max: self.shuffle.record_bytes_max.bytes(),
            partition_deadline: self.shuffle.partition_deadline.duration(),
            lanes: self.session.lanes,
            resume_timeout: self.session.resume_timeout.duration(),
            limits: self.limits(),
            disk: self.disk.settings(),
            clock: Clock::real(),
        }
    }

    fn floors_bytes(&self) -> Option<usize> {
        let percent = self.memory.floors_percent;
        let is_told = percent != EnvironmentConfig::FLOORS_PERCENT;
        is_told.then(|| self.memory.bytes.bytes() / 100 * usize::from(percent))
    }

    /// What is offered to peers. The bounds that follow from others are not configurable.
    fn limits(&self) -> Limits {
        let own = Limits::default();
        let body_bytes_max = self.session.body_bytes_max.saturating_u32();
        Limits {
            head_bytes_max: self.session.head_bytes_max.saturating_u32(),
            body_bytes_max,
            // The largest buffer that any peer may use, as far as one message can carry it.
            block_bytes_max: own.block_bytes_max.min(body_bytes_max),
            control_window: self.session.control_window,
            heartbeat: self.session.heartbeat.duration(),
            silence_max: self.session.silence_max.duration(),
            ..own
        }
    }
}
