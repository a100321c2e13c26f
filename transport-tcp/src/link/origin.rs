//! Where a link comes from, which is what logs and metrics say of it.

use std::fmt;
use std::net::SocketAddr;

use sluice_plugin::Address;

use crate::refusals::Side;

/// How there came to be a link.
#[derive(Debug)]
pub(crate) enum Origin {
    /// This side began it, to there.
    Begun(Address),
    /// A peer has, from there.
    Accepted(SocketAddr),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Begun(address) => address.fmt(f),
            Origin::Accepted(address) => address.fmt(f),
        }
    }
}

impl Origin {
    pub(crate) fn side(&self) -> Side {
        match self {
            Origin::Begun(_) => Side::Connecting,
            Origin::Accepted(_) => Side::Accepting,
        }
    }
}
