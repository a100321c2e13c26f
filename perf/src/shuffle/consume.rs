//! A consuming task: reads a gate, keeps a digest for each channel, writes the records to a file if asked to.

use std::future::poll_fn;

use sluice_core::{Delivery, InputGate, RecordReader};

use super::executor::yield_now;
use super::output::Output;
use super::produce::TURN_BYTES;
use super::worker::Progress;
use crate::causes::with_causes;
use crate::digest::Digest;

/// Reads `gate` to its end.
pub(super) async fn consume(
    mut gate: InputGate,
    mut output: Option<Output>,
    record_bytes_max: usize,
    progress: &Progress,
) -> Result<Vec<Digest>, String> {
    let channels = gate.channels() as usize;
    let mut digests = vec![Digest::default(); channels];
    let mut readers: Vec<_> = (0..channels).map(|_| RecordReader::new(record_bytes_max)).collect();
    let mut turn = 0;
    while let Some(delivery) = poll_fn(|context| gate.poll_next(context)).await {
        match delivery.map_err(|error| with_causes(&error))? {
            Delivery::Buffer { channel, buffer } => {
                let digest = &mut digests[channel as usize];
                let before = digest.totals.bytes;
                let mut failed = None;
                let show = |record: &[u8]| {
                    digest.add(record);
                    if let Some(output) = &mut output {
                        failed = output.write(record).err().or(failed.take());
                    }
                };
                readers[channel as usize].read(&buffer, show).map_err(|error| with_causes(&error))?;
                if let Some(error) = failed {
                    return Err(error);
                }
                if progress.has_read(digest.totals.bytes - before) {
                    // Until it is killed, with all that it holds.
                    return std::future::pending().await;
                }
                turn += buffer.len() as u64;
            }
            Delivery::End { channel } if !readers[channel as usize].is_between_records() => {
                return Err(format!("channel {channel} ends in the middle of a record"));
            }
            Delivery::End { .. } | Delivery::Event { .. } => {}
        }
        if turn >= TURN_BYTES {
            turn = 0;
            yield_now().await;
        }
    }
    if let Some(output) = output {
        output.finish()?;
    }
    Ok(digests)
}
