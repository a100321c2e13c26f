//! The transport of a scenario: here, and nowhere else, plug-ins are named.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_core::{Config, ConfigError, Period, Size, TrustConfig, TrustMode};
use sluice_plugin::{InProcess, TransportFactory};
use sluice_transport_tcp::{Engine as TcpEngine, SharedSecret, Tcp, TcpConfig, TlsFiles, TlsTrust, Trust, TrustError};

use crate::scenario::Transport;

/// The table `[transport.tcp]`. What is absent is the plug-in's default.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TcpOptions {
    /// Where to listen.
    pub listen: Option<String>,
    /// What peers are told to connect to.
    pub advertise: Option<String>,
    /// What does the IO.
    pub engine: Engine,
    /// How long a connect may take.
    pub connect_timeout: Option<Period>,
    /// How long the hello may take, and TLS before it.
    pub handshake_timeout: Option<Period>,
    /// How long a closed link goes on sending.
    pub close_timeout: Option<Period>,
    /// Bytes that a link accepts beyond what the kernel has taken.
    pub send_queue_bytes: Option<Size>,
    /// The kernel's send buffer.
    pub socket_send_bytes: Option<Size>,
    /// The kernel's receive buffer.
    pub socket_receive_bytes: Option<Size>,
    /// Links at a time.
    pub links_max: Option<usize>,
    /// Accepted connections at a time that have not said who they are.
    pub links_unauthenticated_max: Option<usize>,
    /// As many of one address.
    pub links_unauthenticated_per_address_max: Option<usize>,
    /// How often, at most, it is looked whether there are other certificates.
    pub trust_reload_interval: Option<Period>,
}

/// What does the IO of TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// io_uring where the kernel allows it, epoll otherwise.
    #[default]
    Auto,
    /// io_uring or an error.
    IoUring,
    /// epoll, also where io_uring would work.
    Epoll,
}

impl TcpOptions {
    /// As they are used: what is absent still is what the kernel decides.
    pub(crate) fn filled(self) -> Self {
        let engine = self.engine;
        let used = self.config();
        Self {
            listen: Some(used.listen),
            advertise: used.advertise,
            engine,
            connect_timeout: Some(Period(used.connect_timeout)),
            handshake_timeout: Some(Period(used.handshake_timeout)),
            close_timeout: Some(Period(used.close_timeout)),
            send_queue_bytes: Some(Size(used.send_queue_bytes)),
            socket_send_bytes: used.socket_send_bytes.map(Size),
            socket_receive_bytes: used.socket_receive_bytes.map(Size),
            links_max: Some(used.links_max),
            links_unauthenticated_max: Some(used.links_unauthenticated_max),
            links_unauthenticated_per_address_max: Some(used.links_unauthenticated_per_address_max),
            trust_reload_interval: Some(Period(used.trust_reload_interval)),
        }
    }

    fn config(self) -> TcpConfig {
        let defaults = TcpConfig::default();
        let period = |given: Option<Period>, default| given.map_or(default, Period::duration);
        TcpConfig {
            listen: self.listen.unwrap_or(defaults.listen),
            advertise: self.advertise,
            engine: match self.engine {
                Engine::Auto => TcpEngine::Auto,
                Engine::IoUring => TcpEngine::IoUring,
                Engine::Epoll => TcpEngine::Epoll,
            },
            connect_timeout: period(self.connect_timeout, defaults.connect_timeout),
            handshake_timeout: period(self.handshake_timeout, defaults.handshake_timeout),
            close_timeout: period(self.close_timeout, defaults.close_timeout),
            send_queue_bytes: self.send_queue_bytes.map_or(defaults.send_queue_bytes, Size::bytes),
            socket_send_bytes: self.socket_send_bytes.map(Size::bytes),
            socket_receive_bytes: self.socket_receive_bytes.map(Size::bytes),
            links_max: self.links_max.unwrap_or(defaults.links_max),
            links_unauthenticated_max: self.links_unauthenticated_max.unwrap_or(defaults.links_unauthenticated_max),
            links_unauthenticated_per_address_max: self
                .links_unauthenticated_per_address_max
                .unwrap_or(defaults.links_unauthenticated_per_address_max),
            trust_reload_interval: period(self.trust_reload_interval, defaults.trust_reload_interval),
            ..defaults
        }
    }
}

/// What `[trust]` names, read from its files.
fn trust(config: &TrustConfig) -> Result<Trust, TrustError> {
    // The configuration is checked: each mode has its files.
    let file = |file: &Option<PathBuf>| file.clone().unwrap_or_default();
    Ok(match config.mode {
        TrustMode::Off => Trust::Off,
        TrustMode::Secret => Trust::Secret(SharedSecret::from_file(&file(&config.secret_file))?),
        TrustMode::Tls => Trust::Tls(TlsTrust::load(TlsFiles {
            certificates: file(&config.certificate_file),
            key: file(&config.key_file),
            authorities: file(&config.authorities_file),
            peer_name: config.peer_name.clone(),
        })?),
    })
}

/// Why a transport cannot be built as the configuration says.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChoiceError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// A transport, and what does its IO once it runs.
pub(super) struct Chosen {
    pub(super) factory: Arc<dyn TransportFactory>,
    tcp: Option<Tcp>,
    trust: TrustMode,
}

impl Chosen {
    /// The transport of a worker. Workers of one process share `hub`.
    pub(super) fn of(transport: Transport, config: &Config, hub: Option<&InProcess>) -> Result<Self, ChoiceError> {
        Ok(match transport {
            Transport::InProcess => {
                let hub = hub.cloned().unwrap_or_default();
                Self { factory: Arc::new(hub), tcp: None, trust: TrustMode::Off }
            }
            Transport::Tcp => {
                let options = config.transport_options::<TcpOptions>("tcp")?;
                let tcp = Tcp::new(TcpConfig { trust: trust(&config.trust)?, ..options.config() });
                Self { factory: Arc::new(tcp.clone()), tcp: Some(tcp), trust: config.trust.mode }
            }
        })
    }

    /// What does the IO, and how workers prove who they are.
    pub(super) fn engine(&self) -> String {
        let engine = match self.tcp.as_ref().and_then(Tcp::engine_in_use) {
            None => return "in-process".into(),
            Some(TcpEngine::IoUring) => "io_uring",
            Some(TcpEngine::Epoll | TcpEngine::Auto) => "epoll",
        };
        let trust = match self.trust {
            TrustMode::Off => "",
            TrustMode::Secret => " with a secret",
            TrustMode::Tls => " with TLS",
        };
        format!("tcp by {engine}{trust}")
    }
}
