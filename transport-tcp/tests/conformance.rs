//! The rules of every transport, on both engines.

use sluice_transport_tcp::{Engine, Tcp, TcpConfig};

fn tcp(engine: Engine) -> Tcp {
    Tcp::new(TcpConfig { engine, ..TcpConfig::default() })
}

mod epoll {
    sluice_plugin::transport_conformance!(super::tcp(sluice_transport_tcp::Engine::Epoll));
}

mod io_uring {
    /// None, and a line that says why, where the host refuses.
    fn factory() -> Option<sluice_transport_tcp::Tcp> {
        match sluice_uring::probe() {
            Ok(_) => Some(super::tcp(sluice_transport_tcp::Engine::IoUring)),
            Err(refusal) => {
                eprintln!("skipped: {refusal}");
                None
            }
        }
    }

    sluice_plugin::transport_conformance!(optional: factory());
}
