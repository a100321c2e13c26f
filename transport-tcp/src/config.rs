//! The configuration of the TCP plug-in: plain data, and a reason for each default.

use std::time::Duration;

use sluice_handshake::Trust;

/// Which of the kernel's interfaces moves the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Engine {
    /// io_uring where the host allows it, else epoll; one log line says which and why.
    #[default]
    Auto,
    /// io_uring, or the transport is not built.
    IoUring,
    /// Non-blocking sockets and epoll.
    Epoll,
}

/// How a worker's TCP transport behaves.
#[derive(Clone, Debug)]
pub struct TcpConfig {
    /// Where to listen: an address or name, and a port; port 0 lets the system choose one.
    pub listen: String,
    /// What peers are told to connect to, if it is not what is listened on. Resolved once, at start.
    pub advertise: Option<String>,
    /// Which of the kernel's interfaces moves the bytes.
    pub engine: Engine,
    /// How peers prove who they are.
    pub trust: Trust,
    /// How old the state of the certificates' files may be, when a link is begun or accepted, before it is looked at
    /// again. Links that run keep what they were set up with.
    pub trust_reload_interval: Duration,
    /// How long a connect may take before the peer counts as unreachable.
    pub connect_timeout: Duration,
    /// How long the hello, and TLS before it, may take once there is a connection, on either side. No byte prolongs it.
    pub handshake_timeout: Duration,
    /// How long a closed link goes on sending what it had accepted.
    pub close_timeout: Duration,
    /// Bytes that a link accepts beyond what the kernel has taken; then it refuses messages. A link that has nothing
    /// takes one message of any size.
    pub send_queue_bytes: usize,
    /// The kernel's send buffer of each link, in bytes; `None` leaves it to the kernel.
    pub socket_send_bytes: Option<usize>,
    /// The kernel's receive buffer of each link, in bytes; `None` leaves it to the kernel.
    pub socket_receive_bytes: Option<usize>,
    /// Bytes that may wait unsent in the kernel (`TCP_NOTSENT_LOWAT`); `None` is without bound.
    pub not_sent_low_water: Option<u32>,
    /// Links at a time, but for those of strangers, who may still become links. With as many, peers wait in the kernel's
    /// queue, and connects fail.
    pub links_max: usize,
    /// Accepted connections at a time that have not said who they are. One more displaces the oldest of the address
    /// that has most of them.
    pub links_unauthenticated_max: usize,
    /// As many of one address (of one /64, with IPv6). One more displaces the oldest of them.
    pub links_unauthenticated_per_address_max: usize,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            // Reaches nobody by mistake: who wants peers on other machines says which interface.
            listen: "127.0.0.1:0".into(),
            advertise: None,
            engine: Engine::Auto,
            trust: Trust::Off,
            // Whoever renews certificates waits longer than that; three questions to the file system are nothing in it.
            trust_reload_interval: Duration::from_secs(10),
            // Two retransmissions of a lost SYN (after 1 and 3 s), and time for its answer.
            connect_timeout: Duration::from_secs(5),
            // Some round trips and a busy peer; silent strangers hold a place no longer than this.
            handshake_timeout: Duration::from_secs(5),
            // A full queue at 10 MB/s; a peer that takes nothing for so long is not going to.
            close_timeout: Duration::from_secs(2),
            // One submission that the kernel has in hand, and as much being filled behind it.
            send_queue_bytes: 2 * 1024 * 1024,
            // The kernel grows both with the connection (tcp_wmem, tcp_rmem); a fixed size ends that.
            socket_send_bytes: None,
            socket_receive_bytes: None,
            // What waits in the kernel delays an urgent message: one full message may. On loopback 512 KiB cost no CPU
            // that could be measured (`--example stream`, last argument); less would cost wake-ups on a busy link.
            not_sent_low_water: Some(512 * 1024),
            // A thousand peers; each link has a bound of some 132 KiB beside its queue and credit, with TLS of 300 KiB.
            links_max: 1024,
            // Enough for a cluster that starts at once: an honest peer is a stranger for some round trips only. Each costs
            // a descriptor, of 1024 where nobody has raised the limit, some KiB, and with TLS some ten.
            links_unauthenticated_max: 512,
            // More workers than one host has, times their lanes, all starting at once.
            links_unauthenticated_per_address_max: 256,
        }
    }
}
