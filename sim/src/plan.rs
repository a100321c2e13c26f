//! What a run does, drawn from its seed: the cluster, the workload, and what goes wrong.

mod blocking;
mod cluster;
mod faults;
mod housing;
mod script;
mod workload;

use std::fmt;
use std::time::Duration;

use sluice_core::Merge;

pub use cluster::{ClusterPlan, DiskPlan, WorkerPlan};
pub use faults::{Fault, Incident};
pub use script::{Expected, Piece, Script, Step, Target, expected_of, pool};
pub use workload::{Again, ConsumerPlan, Ending, JobPlan, Pace, ProducerPlan};

use crate::seed::{Purpose, Seed};

/// A whole run, before it runs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where it comes from.
    pub seed: Seed,
    /// Workers and network.
    pub cluster: ClusterPlan,
    /// What they do.
    pub jobs: Vec<JobPlan>,
    /// What happens to them, in the order of time as far as it has one.
    pub incidents: Vec<Incident>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: Seed) -> Self {
        let mut plan = Self::draw(seed, blocking::BLOCKING);
        let Self { cluster, jobs, incidents, .. } = &mut plan;
        blocking::draw_merge(&mut seed.stream(Purpose::Merging), cluster);
        housing::draw(&mut seed.stream(Purpose::Housing), jobs, cluster, incidents);
        plan
    }

    /// The plan of a seed without what was added when files were merged and workers began to share directories: as it was
    /// drawn before.
    pub fn with_own_disks(seed: Seed) -> Self {
        let mut plan = Self::draw(seed, blocking::BLOCKING);
        if let Some(disk) = &mut plan.cluster.disk {
            disk.settings.merge = Merge::Never;
        }
        plan
    }

    /// One of the first plans with disks that is like this.
    #[cfg(test)]
    pub(crate) fn with_disks(is_like_this: impl Fn(&Self) -> bool) -> Self {
        let mut plans = (0..1000).map(|seed| Self::draw(Seed(seed), true)).filter(|plan| plan.cluster.disk.is_some());
        plans.find(is_like_this).expect("there are some of every sort")
    }

    /// The plan of a seed without what has to do with disks: as it was drawn before there were any.
    pub fn pipelined(seed: Seed) -> Self {
        Self::draw(seed, false)
    }

    fn draw(seed: Seed, with_disks: bool) -> Self {
        let mut cluster = ClusterPlan::draw(&mut seed.stream(Purpose::Cluster));
        let mut jobs = workload::draw(&mut seed.stream(Purpose::Workload), cluster.workers.len());
        let mut blocking = seed.stream(Purpose::Blocking);
        if with_disks {
            blocking::draw(&mut blocking, &mut jobs, &mut cluster);
        }
        cluster.size_memory(&jobs, &mut seed.stream(Purpose::Cluster));
        let mut incidents = faults::draw(&mut seed.stream(Purpose::Faults), &cluster, &jobs);
        blocking::harm(&mut blocking, &jobs, &cluster, &mut incidents);
        Self { seed, cluster, jobs, incidents }
    }

    /// The longest time in which nobody may get on although nothing is broken any more: every patience of the engine one
    /// after the other.
    pub fn patience(&self) -> Duration {
        let cluster = &self.cluster;
        cluster.partition_deadline + self.healing() * 2 + Duration::from_secs(10)
    }

    /// After a worker is gone, the time in which everybody has to have heard of it.
    pub fn healing(&self) -> Duration {
        let cluster = &self.cluster;
        cluster.limits.silence_max * 2 + cluster.resume_timeout + cluster.connect_deadline * 2 + Duration::from_secs(5)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed.0)?;
        write!(f, "{}", self.cluster)?;
        for job in &self.jobs {
            write!(f, "{job}")?;
        }
        if self.incidents.is_empty() {
            writeln!(f, "nothing goes wrong")?;
        }
        for incident in &self.incidents {
            writeln!(f, "{incident}")?;
        }
        Ok(())
    }
}
