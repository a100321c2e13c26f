//! The `softroce` command, as a user runs it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use sluice_softroce::verbs::{Device, DeviceConfig, Drive, OpenError};

fn softroce(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_softroce"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    softroce(arguments).output().expect("the command was built")
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A process that ends with the test.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A TCP port that nobody has.
fn free_port(address: &str) -> String {
    let listener = TcpListener::bind((address, 0)).expect("there is a free port");
    listener.local_addr().expect("it is bound").port().to_string()
}

fn serve() -> (Background, String) {
    let port = free_port("::1");
    let mut child =
        softroce(&["serve", "--port", &port]).stdout(Stdio::piped()).spawn().expect("the command was built");
    let mut line = String::new();
    let output = child.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut line).expect("it says that it serves");
    assert!(line.starts_with("serving"), "{line}");
    (Background(child), port)
}

#[test]
fn bandwidth_and_latency_are_measured_beside_plain_udp() {
    let (_server, port) = serve();
    for operation in ["write", "send", "read"] {
        let output = run(&["bw", "--port", &port, "--operation", operation, "--seconds", "0.05", "--rounds", "1"]);
        assert!(output.status.success() && printed(&output).contains("of plain UDP"), "{}", printed(&output));
    }
    let output = run(&["lat", "--port", &port, "--iterations", "20", "--rounds", "1"]);
    assert!(output.status.success() && printed(&output).contains("times plain UDP"), "{}", printed(&output));
}

#[test]
fn a_bound_that_is_not_kept_fails_the_command() {
    let (_server, port) = serve();
    let output = run(&["bw", "--port", &port, "--seconds", "0.02", "--rounds", "1", "--share-min", "1000"]);
    assert!(!output.status.success(), "{}", printed(&output));
}

#[test]
fn without_a_server_it_is_said_what_to_start() {
    let output = run(&["bw", "--port", &free_port("::1")]);
    assert!(!output.status.success() && printed(&output).contains("softroce serve"), "{}", printed(&output));
}

#[test]
fn a_capture_is_decoded_and_a_damaged_one_is_noticed() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/captures/rxe-ipv6.pcap");
    let output = run(&["dump", file.to_str().expect("the path is text")]);
    let text = printed(&output);
    assert!(output.status.success() && text.contains("40 packets, 0 with a wrong CRC"), "{text}");
    assert!(text.contains("ReadRequest") && text.contains("immediate"), "{text}");

    let mut bytes = fs::read(&file).expect("the capture is part of the repository");
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    let damaged = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("damaged.pcap");
    fs::write(&damaged, &bytes).expect("the target directory can be written");
    let output = run(&["dump", "--quiet", damaged.to_str().expect("the path is text")]);
    assert!(!output.status.success() && printed(&output).contains("1 with a wrong CRC"), "{}", printed(&output));

    let output = run(&["dump", env!("CARGO_BIN_EXE_softroce")]);
    assert!(!output.status.success() && printed(&output).contains("not a pcap file"), "{}", printed(&output));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_trouble() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/captures/rxe-ipv6.pcap");
    let mut dump = softroce(&["dump", file.to_str().expect("the path is text")]);
    let (reader, writer) = std::io::pipe().expect("there is a pipe");
    drop(reader);
    let output = dump.stdout(writer).stderr(Stdio::piped()).output().expect("the command was built");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", printed(&output));
}

/// Over IPv4, because a machine has many loopback addresses of it, and each side needs port 4791.
#[test]
fn two_of_ours_play_ping_pong_over_ipv4() {
    let address = "127.0.0.3:0".parse().expect("it is an address");
    let probe = Device::open(DeviceConfig { drive: Drive::Caller, ..DeviceConfig::new(address) });
    if let Err(OpenError::RawSocket(_)) = probe {
        println!("skipped: CAP_NET_RAW is missing");
        return;
    }
    let port = free_port("127.0.0.3");
    let game = ["pingpong", "--port", &port, "--size", "5000", "--iterations", "50", "--address"];
    let mut first = softroce(&[&game[..], &["127.0.0.3"]].concat());
    let mut first = Background(first.stdout(Stdio::piped()).spawn().expect("the command was built"));
    // It takes one connection, so it cannot be tried whether it listens: the second is started again until it does.
    let second = loop {
        let output = run(&[&game[..], &["127.0.0.4", "127.0.0.3"]].concat());
        if !printed(&output).contains("refused") {
            break output;
        }
        assert!(first.0.try_wait().expect("it can be asked").is_none(), "the first has ended early");
    };
    assert!(second.status.success() && printed(&second).contains("50 iters"), "{}", printed(&second));
    assert!(first.0.wait().expect("it ends").success());
    assert!(TcpStream::connect(("127.0.0.3", port.parse::<u16>().expect("it is a number"))).is_err());
}
