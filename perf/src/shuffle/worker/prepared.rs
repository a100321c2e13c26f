//! A worker that is ready to go: its environment, its reactor, its input.

use std::future::poll_fn;
use std::sync::Arc;

use sluice_core::{
    CreateError, Devices, HeldPartition, Incarnation, NodeId, ProducerLocation, Reactor, ReactorDrive,
    ShuffleEnvironment, Worker,
};
use sluice_plugin::{DiskFactory, InProcess};

use super::super::control::{Answer, Held, Location};
use super::super::executor::Executor;
use super::super::transport::Chosen;
use crate::causes::with_causes;
use crate::disk::local_disks;
use crate::host::DiskInUse;
use crate::input::Input;
use crate::scenario::Scenario;

pub(super) struct Prepared {
    pub(super) environment: ShuffleEnvironment,
    pub(super) reactor: Reactor,
    pub(super) input: Option<Input>,
    pub(super) record_bytes_max: usize,
    transport: Chosen,
}

impl Prepared {
    /// Starts the environment; what an earlier life has left, if there was one.
    pub(super) fn new(
        life: (NodeId, Incarnation),
        scenario: &Scenario,
        again: bool,
        hub: Option<&InProcess>,
    ) -> Result<(Self, Vec<Held>), String> {
        let config = scenario.settings.load().map_err(|error| with_causes(&error))?;
        let transport = Chosen::of(scenario.transport, &config, hub).map_err(|error| with_causes(&error))?;
        // The text that TPC-H comments are cut from takes 300 MiB: only where there are producers.
        let input = match scenario.producers_of(life.0.0 as u32).is_empty() {
            true => None,
            false => Some(
                Input::prepare(&scenario.input, scenario.producers(), scenario.consumers())
                    .map_err(|error| with_causes(&error))?,
            ),
        };
        let disk =
            scenario.partition.is_retained().then(|| Arc::new(local_disks(&config.disk)) as Arc<dyn DiskFactory>);
        let config = config.environment(life.0, life.1);
        let record_bytes_max = config.record_bytes_max;
        let devices = Devices { transport: Arc::clone(&transport.factory), disk };
        let started = ShuffleEnvironment::start(config, devices, ReactorDrive::Caller);
        let Worker { environment, reactor } = started.map_err(|error| with_causes(&error))?;
        let mut reactor = reactor.expect("this thread asked to drive it");
        let held = match scenario.partition.is_retained() {
            true => recover(&environment, &mut reactor, scenario)?,
            false => Vec::new(),
        };
        let held = if again { held } else { Vec::new() };
        Ok((Self { environment, reactor, input, transport, record_bytes_max }, held))
    }

    pub(super) fn ready(&self, held: Vec<Held>) -> Answer {
        let ProducerLocation { incarnation, address, .. } = self.environment.location();
        Answer::Ready {
            location: Location { incarnation: incarnation.0, address: address.0 },
            engine: self.transport.engine(),
            disk: self.environment.disk().map(DiskInUse::from),
            bytes_estimate: self.input.as_ref().map_or(0, Input::bytes_estimate),
            held,
        }
    }
}

/// What earlier lives of this worker have finished in this run. What earlier runs have left is nobody's, and goes.
fn recover(environment: &ShuffleEnvironment, reactor: &mut Reactor, scenario: &Scenario) -> Result<Vec<Held>, String> {
    let mut executor = Executor::new(reactor, environment.waker());
    executor.spawn(Box::pin(async move {
        let mut all = Vec::new();
        for directory in &scenario.directories {
            all.extend(poll_fn(|context| environment.poll_recover(context, directory)).await?);
        }
        Ok::<Vec<HeldPartition>, CreateError>(all)
    }));
    let found = executor.run(|| false).map_err(|error| with_causes(&error))?;
    let found = found.expect("it runs until its only task has ended").map_err(|error| with_causes(&error))?;
    let (held, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|held| held.partition.job.0 == scenario.job);
    for other in others {
        environment.release_partition(other.partition);
    }
    let held = held.into_iter();
    // The coordinator compares: this run needs all of them.
    Ok(held.inspect(|held| environment.claim(held.partition)).map(Held::from).collect())
}
