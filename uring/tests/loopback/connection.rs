//! Connections are made, taken, refused and ended.

use crate::*;

#[test]
fn a_connection_is_made_and_taken() {
    let mut ring = ring_or_skip!(8, 8);
    for address in [(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()] {
        let address: SocketAddr = address;
        let Ok(listener) = TcpListener::bind(address) else { continue };
        let address = listener.local_addr().unwrap();
        let family =
            if address.is_ipv4() { rustix::net::AddressFamily::INET } else { rustix::net::AddressFamily::INET6 };
        let socket = Arc::new(rustix::net::socket(family, rustix::net::SocketType::STREAM, None).unwrap());
        ring.push(1, Operation::Accept { listener: Arc::new(listener.into()) }).unwrap();
        ring.push(2, Operation::Connect { socket: Arc::clone(&socket), address }).unwrap();

        let mut accepted = None;
        for done in completions(&mut ring, 2) {
            match (done.token, done.result.unwrap()) {
                (1, Done::Accepted(connection)) => accepted = Some(connection),
                (2, Done::Connected) => {}
                other => panic!("{other:?}"),
            }
        }
        let mut accepted = TcpStream::from(accepted.unwrap());
        accepted.write_all(b"hello").unwrap();
        let done = run(&mut ring, receive(&socket, 5));
        assert_eq!(received(&done.operation), b"hello");
    }
}

#[test]
fn a_refused_connection_is_an_error() {
    let mut ring = ring_or_skip!(8, 8);
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    let done = run(&mut ring, Operation::Connect { socket: Arc::new(socket), address });
    assert_eq!(errno(&done), Some(libc::ECONNREFUSED));
}

#[test]
fn a_peer_that_closes_ends_the_stream() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, theirs) = connection();
    ring.push(0, receive(&ours, 10)).unwrap();
    ring.submit().unwrap();
    drop(theirs);
    let done = completion(&mut ring);
    assert!(matches!(done.result, Ok(Done::Received(0))), "{:?}", done.result);
}

#[test]
fn a_send_to_a_closed_connection_is_an_error_and_no_signal() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, _theirs) = connection();
    rustix::net::shutdown(&ours, rustix::net::Shutdown::Both).unwrap();
    let done = run(&mut ring, send(&ours, vec![Outgoing::Bytes(vec![1])]));
    assert_eq!(errno(&done), Some(libc::EPIPE));
}
