//! A relay between the workers, as chaos tests have one: it is told where each worker listens, and says where the
//! others are to look for it instead.

use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpStream};

use super::control::{Location, hear, tell};

pub(super) fn redirect(relay: SocketAddr, workers: &mut [Location]) -> io::Result<()> {
    let mut told = TcpStream::connect(relay)?;
    let mut said = BufReader::new(told.try_clone()?);
    for worker in workers {
        tell(&mut told, &worker.address)?;
        worker.address = hear(&mut said)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    }
    Ok(())
}
