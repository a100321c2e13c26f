//! The rules of every transport, on both engines, with each kind of trust.

mod certificates;

use std::sync::OnceLock;

use sluice_handshake::{SharedSecret, TlsTrust, Trust};
use sluice_transport_tcp::{Engine, Tcp, TcpConfig};

use certificates::{Authority, Folder, GOOD, LOOPBACK};

fn tcp(engine: Engine, trust: Trust) -> Tcp {
    Tcp::new(TcpConfig { engine, trust, ..TcpConfig::default() })
}

/// None, and a line that says why, where the host refuses.
fn io_uring(trust: Trust) -> Option<Tcp> {
    match sluice_uring::probe() {
        Ok(_) => Some(tcp(Engine::IoUring, trust)),
        Err(refusal) => {
            eprintln!("skipped: {refusal}");
            None
        }
    }
}

fn secret() -> Trust {
    Trust::Secret(SharedSecret::from_bytes(b"what all workers of this test know").expect("long enough"))
}

fn tls() -> Trust {
    static FOLDER: OnceLock<Folder> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let authority = Authority::new();
        Folder::of(&authority.issue(LOOPBACK, GOOD), &authority)
    });
    Trust::Tls(TlsTrust::load(folder.files()).expect("good files"))
}

mod epoll {
    use super::*;

    sluice_plugin::transport_conformance!(tcp(Engine::Epoll, Trust::Off));
}

mod epoll_with_a_secret {
    use super::*;

    sluice_plugin::transport_conformance!(tcp(Engine::Epoll, secret()));
}

mod epoll_with_tls {
    use super::*;

    sluice_plugin::transport_conformance!(tcp(Engine::Epoll, tls()));
}

mod uring {
    use super::*;

    sluice_plugin::transport_conformance!(optional: io_uring(Trust::Off));
}

mod uring_with_a_secret {
    use super::*;

    sluice_plugin::transport_conformance!(optional: io_uring(secret()));
}

mod uring_with_tls {
    use super::*;

    sluice_plugin::transport_conformance!(optional: io_uring(tls()));
}
