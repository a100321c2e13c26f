//! Compares what a consumer gets of a channel with what its producer wrote.

use sluice_core::{Event, PartitionKind, RecordReader};

use crate::plan::{Ending, Expected, Piece, Script, expected_of};

/// No record of a script is longer.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// One channel, as it should be.
pub(crate) struct Content {
    /// Records and events in their places.
    ordered: Vec<Expected>,
    next: usize,
    /// Events that overtake, each with how many of the others were written before it.
    priority: Vec<(u16, Piece, usize)>,
    next_priority: usize,
    reader: RecordReader,
    ending: Ending,
}

impl Content {
    pub(crate) fn new(script: &Script, subpartition: u32, kind: PartitionKind, ending: Ending) -> Self {
        let (mut ordered, mut priority) = (Vec::new(), Vec::new());
        for expected in expected_of(script, subpartition) {
            match expected {
                // On the disk there is nothing to overtake: it stands where it was written.
                Expected::Priority(event, piece) if kind.is_retained() => ordered.push(Expected::Event(event, piece)),
                Expected::Priority(kind, piece) => priority.push((kind, piece, ordered.len())),
                other => ordered.push(other),
            }
        }
        let reader = RecordReader::new(RECORD_BYTES_MAX);
        Self { ordered, next: 0, priority, next_priority: 0, reader, ending }
    }

    /// Bytes of the channel have come.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Self { ordered, next, reader, .. } = self;
        let mut wrong = None;
        let read = reader.read(bytes, |record| {
            if wrong.is_some() {
                return;
            }
            match ordered.get(*next) {
                Some(Expected::Record(piece)) if piece.bytes() == record => *next += 1,
                due => wrong = Some(format!("item {next} is {due:?}, a record of {} bytes came", record.len())),
            }
        });
        match (read, wrong) {
            (Err(error), _) => Err(error.to_string()),
            (Ok(()), Some(wrong)) => Err(wrong),
            (Ok(()), None) => Ok(()),
        }
    }

    /// An event of the channel has come.
    pub(crate) fn event(&mut self, event: &Event, overtook: bool) -> Result<(), String> {
        if overtook {
            return self.priority_event(event);
        }
        let between = self.reader.is_between_records();
        match self.ordered.get(self.next) {
            Some(Expected::Event(kind, piece)) if *kind == event.kind && between => {
                self.next += 1;
                same(event, *piece)
            }
            due => {
                let within = if between { "" } else { " within a record" };
                Err(format!("item {} is {due:?}, event {} came{within}", self.next, event.kind))
            }
        }
    }

    fn priority_event(&mut self, event: &Event) -> Result<(), String> {
        let due = self.priority.get(self.next_priority).copied();
        let Some((_, piece, before)) = due.filter(|(kind, ..)| *kind == event.kind) else {
            return Err(format!("priority event {} came, {due:?} was due", event.kind));
        };
        if self.next > before {
            let late = self.next - before;
            return Err(format!("priority event {} came behind {late} items that were written after it", event.kind));
        }
        self.next_priority += 1;
        same(event, piece)
    }

    /// The channel is complete, as the gate says.
    pub(crate) fn end(&self) -> Result<(), String> {
        if self.ending != Ending::Finish {
            return Err(format!("complete, but its producer's end is {:?}", self.ending));
        }
        let (items, priority) = (self.ordered.len() - self.next, self.priority.len() - self.next_priority);
        if items + priority > 0 || !self.reader.is_between_records() {
            return Err(format!("complete, but {items} items and {priority} priority events have not come"));
        }
        Ok(())
    }

    pub(crate) fn words(&self) -> String {
        format!("{}/{}", self.next + self.next_priority, self.ordered.len() + self.priority.len())
    }
}

fn same(event: &Event, piece: Piece) -> Result<(), String> {
    if *event.payload == *piece.bytes() { Ok(()) } else { Err(format!("event {} has another content", event.kind)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Step, Target};
    use crate::seed::{Purpose, Seed};

    fn pieces() -> [Piece; 3] {
        let mut random = Seed(1).stream(Purpose::Workload);
        [10, 20, 30].map(|length| Piece::draw(&mut random, length))
    }

    /// Two records, an event, a priority event, a record; the other subpartition has one record.
    fn content() -> Content {
        let [one, two, three] = pieces();
        let event = |kind, priority| Step::Event { target: Target::All, kind, payload: one, priority };
        let steps = [Step::Write(0, one), Step::Batch(vec![1, 0], vec![three, two]), event(1, false), event(2, true)];
        let script = Script(steps.into_iter().chain([Step::Broadcast(three)]).collect());
        Content::new(&script, 0, PartitionKind::Pipelined, Ending::Finish)
    }

    fn record(piece: Piece) -> Vec<u8> {
        let length = (piece.bytes().len() as u32).to_le_bytes();
        length.iter().chain(piece.bytes()).copied().collect()
    }

    fn event(kind: u16) -> Event {
        Event { kind, payload: pieces()[0].bytes().into() }
    }

    #[test]
    fn what_was_written_is_accepted_wherever_the_priority_event_overtakes() {
        let [one, two, three] = pieces();
        for overtakes_at in 0..4 {
            let mut content = content();
            let pass = |content: &mut Content, at: usize| {
                if at == overtakes_at {
                    content.priority_event(&event(2)).expect("it may come here");
                }
            };
            pass(&mut content, 0);
            content.bytes(&record(one)).expect("first");
            pass(&mut content, 1);
            content.bytes(&record(two)).expect("second");
            pass(&mut content, 2);
            content.event(&event(1), false).expect("third");
            pass(&mut content, 3);
            content.bytes(&record(three)).expect("last");
            content.end().expect("that was all");
        }
    }

    #[test]
    fn a_record_that_is_missing_doubled_altered_or_misplaced_is_found() {
        let [one, two, three] = pieces();
        for wrong in [two, three] {
            content().bytes(&record(wrong)).expect_err("another is due");
        }
        let mut doubled = content();
        doubled.bytes(&record(one)).expect("once");
        doubled.bytes(&record(one)).expect_err("twice");
        let mut altered = record(one);
        altered[7] ^= 1;
        content().bytes(&altered).expect_err("one bit is another");
    }

    #[test]
    fn an_event_out_of_its_place_is_found() {
        let [one, two, three] = pieces();
        content().event(&event(1), false).expect_err("two records come before it");
        let mut late = content();
        late.bytes(&[record(one), record(two)].concat()).expect("in order");
        late.event(&event(1), false).expect("in order");
        late.bytes(&record(three)).expect("in order");
        late.event(&event(2), true).expect_err("it should have overtaken the last record");
    }

    #[test]
    fn an_end_that_comes_too_early_is_found() {
        let [one, ..] = pieces();
        let mut short = content();
        short.bytes(&record(one)).expect("in order");
        short.end().expect_err("the rest is missing");
        let failed = Content::new(&Script::default(), 0, PartitionKind::Pipelined, Ending::Drop);
        failed.end().expect_err("its producer never finished");
    }
}
