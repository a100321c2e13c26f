//! A task that writes a partition as its script says.

use std::rc::Rc;
use std::sync::Arc;

use sluice_core::{
    Event, PartitionId, PartitionKind, PartitionWriter, PendingRecord, RecordBatch, ShuffleEnvironment, WriteError,
};

use super::{Desk, Outcome};
use crate::coverage::Sight;
use crate::plan::{Ending, Script, Step, Target};

/// What a producer needs to know.
pub(crate) struct Writing {
    pub(crate) environment: Arc<ShuffleEnvironment>,
    pub(crate) kind: PartitionKind,
    pub(crate) partition: PartitionId,
    pub(crate) subpartitions: u32,
    pub(crate) script: Rc<Script>,
    pub(crate) ending: Ending,
    pub(crate) buffer_bytes: usize,
}

/// Writes it.
pub(crate) async fn produce(desk: Desk, writing: Writing) -> Outcome {
    let Writing { kind, partition, subpartitions, .. } = writing;
    let mut writer = match writing.environment.create_writer_of(kind, partition, subpartitions) {
        Ok(writer) => writer,
        Err(error) => return Outcome::NotCreated(error.to_string()),
    };
    for (index, step) in writing.script.0.iter().enumerate() {
        if let Err(error) = act(&desk, &mut writer, step, writing.buffer_bytes).await {
            desk.journal.saw(Sight::WriteError);
            return Outcome::WriteFailed(error);
        }
        desk.journal
            .note(&[20, desk.number, index as u64], || format!("producer {} did step {index}", writing.partition));
        desk.breathe().await;
    }
    match writing.ending {
        Ending::Finish => match desk.wait("finishing", |context| writer.poll_finish(context)).await {
            Ok(()) => Outcome::Finished,
            Err(error) => {
                desk.journal.saw(Sight::WriteError);
                Outcome::WriteFailed(error)
            }
        },
        Ending::Fail => {
            desk.journal.saw(Sight::ProducerFailed);
            writer.fail("as planned");
            Outcome::Ended
        }
        Ending::Drop => {
            desk.journal.saw(Sight::ProducerFailed);
            drop(writer);
            Outcome::Ended
        }
        Ending::Release => {
            desk.journal.saw(Sight::Released);
            writing.environment.release_partition(writing.partition);
            match desk.wait("finishing what is released", |context| writer.poll_finish(context)).await {
                Ok(()) => desk.journal.fail(
                    crate::journal::Rule::Contract,
                    format!("{} was released, and its writer finished", writing.partition),
                ),
                Err(_) => desk.journal.saw(Sight::WriteError),
            }
            Outcome::Ended
        }
    }
}

async fn act(desk: &Desk, writer: &mut PartitionWriter, step: &Step, buffer_bytes: usize) -> Result<(), WriteError> {
    match step {
        Step::Write(target, piece) => {
            let mut record = PendingRecord::new(piece.bytes());
            if piece.bytes().len() > buffer_bytes {
                desk.journal.saw(Sight::LargeRecord);
            }
            desk.wait("writing a record", |context| writer.poll_write(context, *target, &mut record)).await
        }
        Step::Batch(targets, pieces) => {
            let records: Vec<&[u8]> = pieces.iter().map(|piece| piece.bytes()).collect();
            let mut batch = RecordBatch::new(&records, targets);
            desk.wait("writing a batch", |context| writer.poll_write_batch(context, &mut batch)).await
        }
        Step::Broadcast(piece) => {
            desk.journal.saw(Sight::Broadcast);
            desk.wait("broadcasting", |context| writer.poll_broadcast(context, piece.bytes())).await
        }
        Step::Event { target, kind, payload, priority } => {
            let target = match target {
                Target::One(target) => Some(*target),
                Target::All => None,
            };
            let event = Event { kind: *kind, payload: payload.bytes().into() };
            desk.wait("writing an event", |context| writer.poll_event(context, target, &event, *priority)).await
        }
        Step::Flush => desk.wait("flushing", |context| writer.poll_flush(context)).await,
        Step::Pause(pause) => {
            desk.sleep(*pause).await;
            Ok(())
        }
    }
}
