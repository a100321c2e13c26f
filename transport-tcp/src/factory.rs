//! Builds the transport on its reactor's thread.

use std::sync::{Arc, OnceLock};

use sluice_plugin::{BuildError, Setup, Transport, TransportFactory};

use crate::config::{Engine, TcpConfig};
use crate::transport::TcpTransport;

/// The name by which `sluice.toml` chooses TCP.
const NAME: &str = "tcp";

/// The TCP plug-in. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Tcp {
    config: TcpConfig,
    in_use: Arc<OnceLock<Engine>>,
}

impl Tcp {
    /// The plug-in with this configuration.
    pub fn new(config: TcpConfig) -> Self {
        Self { config, in_use: Arc::default() }
    }

    /// Which of the kernel's interfaces moves the bytes, once a transport is built: what to report beside a figure.
    pub fn engine_in_use(&self) -> Option<Engine> {
        self.in_use.get().copied()
    }

    /// As [`TransportFactory::build`], for who wants to ask the transport for its engine.
    pub fn build_tcp(&self, setup: Setup) -> Result<TcpTransport, BuildError> {
        let transport = TcpTransport::new(&self.config, setup);
        let transport = transport.map_err(|problem| BuildError { transport: NAME, problem })?;
        // The host does not change its mind: the first answer is that of all.
        let _ = self.in_use.set(transport.engine());
        Ok(transport)
    }
}

impl TransportFactory for Tcp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn build(&self, setup: Setup) -> Result<Box<dyn Transport>, BuildError> {
        Ok(Box::new(self.build_tcp(setup)?))
    }
}
