//! The transport of a scenario: here, and nowhere else, plug-ins are named.

use std::sync::{Arc, OnceLock};

use sluice_plugin::{BuildError, InProcess, Setup, Transport as Built, TransportFactory};
use sluice_transport_tcp::{Engine as TcpEngine, Tcp, TcpConfig};

use crate::scenario::{Engine, Scenario, Transport};

/// A transport, and what does its IO once it runs.
pub(super) struct Chosen {
    pub(super) factory: Arc<dyn TransportFactory>,
    tcp: Option<Arc<ObservedTcp>>,
}

/// TCP that remembers what it fell back to.
struct ObservedTcp {
    tcp: Tcp,
    engine: OnceLock<TcpEngine>,
}

impl TransportFactory for ObservedTcp {
    fn name(&self) -> &'static str {
        self.tcp.name()
    }

    fn build(&self, setup: Setup) -> Result<Box<dyn Built>, BuildError> {
        let transport = self.tcp.build_tcp(setup)?;
        let _ = self.engine.set(transport.engine());
        Ok(Box::new(transport))
    }
}

impl Chosen {
    /// The transport of a worker. Workers of one process share `hub`.
    pub(super) fn of(scenario: &Scenario, hub: Option<&Arc<InProcess>>) -> Self {
        match (scenario.transport, hub) {
            (Transport::InProcess, Some(hub)) => Self { factory: Arc::<InProcess>::clone(hub), tcp: None },
            (Transport::InProcess, None) => Self { factory: Arc::new(InProcess::new()), tcp: None },
            (Transport::Tcp, _) => {
                let engine = match scenario.engine {
                    Engine::Auto => TcpEngine::Auto,
                    Engine::IoUring => TcpEngine::IoUring,
                    Engine::Epoll => TcpEngine::Epoll,
                };
                let tcp = Tcp::new(TcpConfig { engine, ..TcpConfig::default() });
                let tcp = Arc::new(ObservedTcp { tcp, engine: OnceLock::new() });
                Self { factory: Arc::<ObservedTcp>::clone(&tcp), tcp: Some(tcp) }
            }
        }
    }

    /// What does the IO.
    pub(super) fn engine(&self) -> String {
        match self.tcp.as_ref().and_then(|tcp| tcp.engine.get()) {
            None => "in-process".into(),
            Some(TcpEngine::IoUring) => "tcp by io_uring".into(),
            Some(TcpEngine::Epoll | TcpEngine::Auto) => "tcp by epoll".into(),
        }
    }
}
