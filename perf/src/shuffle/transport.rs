//! The transport of a scenario: here, and nowhere else, plug-ins are named.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_core::{Config, ConfigError, Period, Size};
use sluice_plugin::{InProcess, TransportFactory};
use sluice_transport_tcp::{Engine as TcpEngine, Tcp, TcpConfig};

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
    /// How long the hello may take.
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
            ..defaults
        }
    }
}

/// A transport, and what does its IO once it runs.
pub(super) struct Chosen {
    pub(super) factory: Arc<dyn TransportFactory>,
    tcp: Option<Tcp>,
}

impl Chosen {
    /// The transport of a worker. Workers of one process share `hub`.
    pub(super) fn of(transport: Transport, config: &Config, hub: Option<&InProcess>) -> Result<Self, ConfigError> {
        Ok(match transport {
            Transport::InProcess => {
                let hub = hub.cloned().unwrap_or_default();
                Self { factory: Arc::new(hub), tcp: None }
            }
            Transport::Tcp => {
                let tcp = Tcp::new(config.transport_options::<TcpOptions>("tcp")?.config());
                Self { factory: Arc::new(tcp.clone()), tcp: Some(tcp) }
            }
        })
    }

    /// What does the IO.
    pub(super) fn engine(&self) -> String {
        match self.tcp.as_ref().and_then(Tcp::engine_in_use) {
            None => "in-process".into(),
            Some(TcpEngine::IoUring) => "tcp by io_uring".into(),
            Some(TcpEngine::Epoll | TcpEngine::Auto) => "tcp by epoll".into(),
        }
    }
}
