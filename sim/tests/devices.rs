//! The simulated network is a transport like others: it keeps every rule of the seam.

#![forbid(unsafe_code)]

use sluice_plugin::{PayloadPlacement, transport_conformance};
use sluice_sim::journal::Journal;
use sluice_sim::network::Network;
use sluice_sim::seed::{Purpose, Seed};

fn network(placement: PayloadPlacement) -> Network {
    Network::new(placement, Seed(1).stream(Purpose::Network), Journal::new(false))
}

mod stream {
    use super::*;

    transport_conformance!(network(PayloadPlacement::Stream));
}

mod remote {
    use super::*;

    transport_conformance!(network(PayloadPlacement::Remote));
}
