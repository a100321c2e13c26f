use std::os::unix::net::UnixStream;

use super::super::control::Phase;
use super::*;
use crate::cli;

/// A pipe to the coordinator on which the last word of a shuffle panics.
struct PanicsWhenDone(UnixStream);

impl Write for PanicsWhenDone {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!bytes.starts_with(b"{\"done\""), "no such last word");
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_worker_that_panics_says_so_and_ends_while_its_orders_stay_open() {
    let words = "sluice-perf --transport in-process --workers 1 --generate random --bytes 100000 --no-ceiling";
    let scenario = cli::scenario_of(&words.split(' ').collect::<Vec<_>>());
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let worker = std::thread::spawn(move || {
        let orders = io::BufReader::new(theirs.try_clone().unwrap());
        serve(orders, PanicsWhenDone(theirs), Some(&InProcess::new()))
    });
    let mut answers = io::BufReader::new(ours.try_clone().unwrap());
    tell(&mut ours, &Order::Prepare { worker: 0, incarnation: 1, scenario: Box::new(scenario), again: false }).unwrap();
    let Some(Answer::Ready { location, .. }) = hear(&mut answers).unwrap() else { panic!("it has nothing to refuse") };
    let go = Order::Run { phase: Phase::Both, workers: vec![location], halt_at: None };
    tell(&mut ours, &go).unwrap();
    let error = loop {
        match hear(&mut answers).unwrap() {
            Some(Answer::Failed { error }) => break error,
            Some(Answer::Progress { .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(error, "panicked: no such last word");
    worker.join().unwrap().unwrap();
}
