//! Things that go wrong, as they happen.

use std::rc::Rc;
use std::time::Duration;

use super::Run;
use super::agenda::Act;
use super::cluster::node;
use crate::coverage::Sight;
use crate::plan::Fault;

impl Run {
    pub(super) fn happens(&mut self, incident: usize) {
        let plan = Rc::clone(&self.plan);
        let incident = &plan.incidents[incident];
        self.journal.note(&[40], || format!("INCIDENT {incident}"));
        match &incident.fault {
            Fault::Cut { from, to, after_bytes: Some(bytes), cut } => {
                self.network.cut_after(node(*from), node(*to), *bytes, *cut);
            }
            Fault::Cut { from, to, after_bytes: None, cut } => self.network.cut(node(*from), node(*to), cut),
            Fault::Block { one, other, outage, kind } => {
                self.network.block(node(*one), node(*other), *outage, *kind);
            }
            Fault::Stall { one, other, pause } => self.network.stall(node(*one), node(*other), *pause),
            Fault::Freeze { worker, pause } => self.freeze(*worker, *pause),
            Fault::Kill { worker, silently, restarts, reported, power } => {
                if self.workers[*worker].life.is_none() {
                    return;
                }
                self.journal.saw(Sight::Kill);
                if let Some(after) = reported {
                    self.agenda.add(self.now.after(*after), Act::Report(*worker, self.workers[*worker].lives));
                }
                // Who is on the same disk is without power as well.
                let housemates = if *power { self.housemates(*worker) } else { Vec::new() };
                for mate in housemates.iter().copied().chain([*worker]) {
                    if self.workers[mate].life.is_some() {
                        self.restarts.insert(mate, restarts.is_some());
                        self.kill(mate, *silently, *power && mate == *worker);
                        if let Some(after) = restarts {
                            self.agenda.add(self.now.after(*after), Act::Restart(mate));
                        }
                    }
                }
                for mate in housemates {
                    self.workers[mate].lost_power = true;
                }
            }
            Fault::Disk { worker, fault } => {
                if let Some(disk) = self.disks.get(*worker) {
                    disk.harm(*fault);
                }
            }
            Fault::Release { job } => {
                self.journal.saw(Sight::JobReleased);
                self.release_job(*job);
            }
            Fault::RestartMaster { forgets } => self.restart_master(*forgets),
            Fault::Stop { worker } => {
                let slot = &mut self.workers[*worker];
                if let Some(life) = &slot.life {
                    slot.stops = true;
                    life.environment.stop();
                }
            }
            Fault::AlterHead { from, to, after } => self.network.alter_head(node(*from), node(*to), *after),
            Fault::AlterPayload { from, to, after } => self.network.alter_payload(node(*from), node(*to), *after),
        }
    }

    fn freeze(&mut self, worker: usize, pause: Duration) {
        self.journal.saw(Sight::Freeze);
        let until = self.now.after(pause);
        self.workers[worker].frozen_until = self.workers[worker].frozen_until.max(until);
        self.agenda.add(until, Act::Look);
        for other in 0..self.workers.len() {
            if other != worker {
                self.network.note_pause(node(worker), node(other), pause);
            }
        }
    }
}
