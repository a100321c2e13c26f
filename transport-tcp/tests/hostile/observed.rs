//! What a program sees of the transports that it runs: their counters and their log.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tracing::subscriber::with_default;

pub(crate) struct Observed {
    /// Labels, sorted, and counts.
    counters: Vec<(Vec<String>, u64)>,
    pub(crate) log: String,
}

/// Does it and tells what there was to see.
pub(crate) fn observe<R>(what: impl FnOnce() -> R) -> (R, Observed) {
    let (recorder, log) = (DebuggingRecorder::new(), Log::default());
    let (snapshotter, sink) = (recorder.snapshotter(), log.clone());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || sink.clone())
        .with_ansi(false)
        .finish();
    let result = with_default(subscriber, || metrics::with_local_recorder(&recorder, what));
    let counters = snapshotter.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
        let key = key.key();
        assert_eq!(key.name(), "sluice_links_refused_total");
        let mut labels: Vec<_> = key.labels().map(|label| label.value().to_owned()).collect();
        labels.sort_unstable();
        let DebugValue::Counter(count) = value else { panic!("not a counter: {value:?}") };
        (labels, count)
    });
    let counters = counters.collect();
    let log = String::from_utf8(log.0.lock().expect("nobody panics with it").clone()).expect("a log is text");
    (result, Observed { counters, log })
}

impl Observed {
    /// How many links were refused for this reason at this side.
    pub(crate) fn refused(&self, side: &str, reason: &str) -> u64 {
        let mut labels = [side.to_owned(), reason.to_owned()];
        labels.sort_unstable();
        self.counters.iter().find(|(of, _)| *of == labels).map_or(0, |(_, count)| *count)
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
