//! Processes that are killed: this test program starts itself as the other worker.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use sluice_core::{Address, ChannelLocation, Delivery, NodeId, ReadError, ReasonCode, WriteError};
use sluice_transport_tcp::Engine;

use crate::stage::{engines, gate, location, partition, start};

const ENGINE: &str = "SLUICE_TEST_ENGINE";
const PEER: &str = "SLUICE_TEST_PEER";

/// A process that runs one of the ignored tests below.
struct Process {
    child: Child,
    says: BufReader<std::process::ChildStdout>,
}

impl Process {
    fn start(test: &str, engine: Engine, peer: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a program"));
        command.args(["--ignored", "--exact", "--nocapture", test]).env(ENGINE, format!("{engine:?}")).env(PEER, peer);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this program starts");
        let says = BufReader::new(child.stdout.take().expect("it is a pipe"));
        Self { child, says }
    }

    /// What follows `word` in one of its lines.
    fn hear(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.says.read_line(&mut line).expect("it speaks") > 0, "it ended before it said {word}");
            if let Some((_, said)) = line.split_once(word) {
                return said.trim().to_string();
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn engine_of_parent() -> Engine {
    match std::env::var(ENGINE).as_deref() {
        Ok("IoUring") => Engine::IoUring,
        _ => Engine::Epoll,
    }
}

#[test]
#[ignore = "a process that another test starts and kills"]
fn process_that_writes_for_ever() {
    let worker = start(1, engine_of_parent());
    let mut writer = worker.create_writer(partition(1), 1).expect("there is memory");
    println!("address {}", worker.location().address);
    std::io::stdout().flush().expect("the parent listens");
    while writer.write(0, &[1; 1000]).is_ok() {}
}

#[test]
#[ignore = "a process that another test starts and kills"]
fn process_that_reads_a_little() {
    let worker = start(2, engine_of_parent());
    let address = Address(std::env::var(PEER).expect("the parent says where"));
    let location = ChannelLocation { partition: partition(1), subpartition: 0, node: NodeId(1), address };
    let mut gate = gate(&worker, vec![location]);
    assert!(matches!(gate.read(), Some(Ok(Delivery::Buffer { .. }))));
    println!("it reads");
    std::io::stdout().flush().expect("the parent listens");
    // Until it is killed, or its parent is.
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_producer_that_is_killed_is_an_error_and_never_an_end() {
    for engine in engines() {
        let mut producer = Process::start("killed::process_that_writes_for_ever", engine, "");
        let address = Address(producer.hear("address "));
        let worker = start(2, engine);
        let lost = ChannelLocation { partition: partition(1), subpartition: 0, node: NodeId(1), address };
        let here = start(3, engine);
        let mut unharmed = gate(&worker, vec![location(&here, 5)]);
        let mut gate = gate(&worker, vec![lost]);
        for _ in 0..5 {
            assert!(matches!(gate.read(), Some(Ok(Delivery::Buffer { .. }))));
        }
        producer.child.kill().expect("it runs");
        let error = loop {
            match gate.read() {
                Some(Ok(Delivery::Buffer { .. })) => {}
                Some(Err(error)) => break error,
                other => panic!("an error was due, not {other:?}"),
            }
        };
        match &error {
            ReadError::Channel { code, node, channel, .. } => {
                assert_eq!((*code, *node, *channel), (ReasonCode::WorkerLost, NodeId(1), 0), "{error}");
            }
            other => panic!("a channel's error was due, not {other}"),
        }
        let writer = here.create_writer(partition(5), 1).expect("there is memory");
        crate::stage::produce(writer, 100);
        assert_eq!(crate::stage::consume(&mut unharmed), Ok(vec![100]));
    }
}

#[test]
fn a_consumer_that_is_killed_is_noticed_by_its_producer() {
    for engine in engines() {
        let worker = start(1, engine);
        let mut writer = worker.create_writer(partition(1), 1).expect("there is memory");
        let mut consumer = Process::start("killed::process_that_reads_a_little", engine, &worker.location().address.0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                consumer.hear("it reads");
                consumer.child.kill().expect("it runs");
            });
            let error = loop {
                if let Err(error) = writer.write(0, &[1; 1000]) {
                    break error;
                }
            };
            assert!(
                matches!(&error, WriteError::Abandoned { last, .. } if last.contains("the link to node")),
                "{error}"
            );
        });
        drop(writer);
        worker.stop();
        assert_eq!(worker.memory_statistics().outstanding_bytes, 0);
    }
}
