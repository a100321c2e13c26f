//! From a configuration to a worker that runs: memory, devices, reactor.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use sluice_memory::{Arena, ArenaOptions, Memory, SizeClass};
use sluice_plugin::{Address, DiskSetup, PayloadPlacement, Setup};
use sluice_protocol::NodeId;

use super::spilling::Spilling;
use super::{Devices, EnvironmentConfig, ReactorDrive, ShuffleEnvironment, Worker};
use crate::error::StartError;
use crate::job_token::JobTokens;
use crate::mailbox::mailbox;
use crate::memory_need::MemoryNeed;
use crate::partition::PartitionManager;
use crate::reactor::{Reactor, ReactorDevices, ReactorSettings, StorageSettings};
use crate::stats::Counters;

impl ShuffleEnvironment {
    /// Maps the memory, builds the devices and starts the reactor.
    pub fn start(
        config: EnvironmentConfig,
        devices: impl Into<Devices>,
        drive: ReactorDrive,
    ) -> Result<Worker, StartError> {
        let Devices { transport, disk } = devices.into();
        config.limits.check()?;
        if SizeClass::fitting(config.buffer_bytes).is_none_or(|class| class.bytes() != config.buffer_bytes) {
            return Err(StartError::BufferBytes { bytes: config.buffer_bytes });
        }
        let arena = Arena::map(ArenaOptions { bytes: config.memory_bytes, huge_pages: config.huge_pages })?;
        let unit = MemoryNeed { writers: 1, gates: 0, buffer_bytes: config.buffer_bytes, disk: false }.unit();
        let share = config.memory_bytes / 100 * usize::from(EnvironmentConfig::FLOORS_PERCENT);
        let floors_bytes = config.floors_bytes.unwrap_or(share);
        let memory = Memory::with_reserve(arena.clone(), unit, floors_bytes / unit.bytes());
        let (mailbox, mail) =
            mailbox().map_err(|source| StartError::System { what: "creating the wake-up of a reactor", source })?;
        let manager = Arc::new(PartitionManager::default());
        let counters = Arc::new(Counters::default());
        let tokens = Arc::new(JobTokens::default());
        let setup = Setup {
            node: config.node,
            incarnation: config.incarnation,
            cluster: config.cluster.clone(),
            limits: config.limits,
            arena: arena.clone(),
            waker: mailbox.waker(),
        };
        let spilling = match &disk {
            Some(_) => Some(Spilling::start(&config, &memory, &mailbox)?),
            None => None,
        };
        let disk = disk.zip(spilling.as_ref()).map(|(factory, spilling)| {
            let setup = DiskSetup {
                node: config.node,
                incarnation: config.incarnation,
                cluster: config.cluster.clone(),
                arena,
                waker: mailbox.waker(),
            };
            let settings = StorageSettings {
                owner: setup.owner(),
                disk: config.disk.clone(),
                pools: spilling.pools.clone(),
                mailbox: mailbox.clone(),
                manager: Arc::clone(&manager),
                counters: Arc::clone(&counters),
                recovered: Arc::clone(&spilling.recovered),
            };
            (factory, setup, settings)
        });
        let build = {
            let settings = ReactorSettings {
                node: config.node,
                incarnation: config.incarnation,
                tokens: Arc::clone(&tokens),
                memory: memory.clone(),
                lanes: config.lanes.max(1),
                partition_deadline: config.partition_deadline,
                resume_timeout: config.resume_timeout,
            };
            let (clock, mailbox) = (config.clock.clone(), mailbox.clone());
            let (manager, counters) = (Arc::clone(&manager), Arc::clone(&counters));
            move || -> Result<Reactor, StartError> {
                let transport = transport.build(setup)?;
                if disk.is_some() && transport.capabilities().placement == PayloadPlacement::HandOver {
                    return Err(StartError::HandOverWithDisk);
                }
                let disk = match disk {
                    Some((factory, setup, settings)) => {
                        let disk = factory.build(setup)?;
                        settings.recovered.set_disk(disk.capabilities().clone());
                        Some((settings, disk))
                    }
                    None => None,
                };
                let devices = ReactorDevices { transport, disk };
                Ok(Reactor::new(settings, clock, mail, mailbox, devices, manager, counters))
            }
        };
        let (reactor, thread, address) = match drive {
            ReactorDrive::Caller => {
                let reactor = build()?;
                let address = reactor.address();
                (Some(reactor), None, address)
            }
            ReactorDrive::OwnThread => {
                let (thread, address) = spawn(config.node, build)?;
                (None, Some(thread), address)
            }
        };
        let (gates, thread) = (AtomicU64::new(0), Mutex::new(thread));
        let environment = Self { config, memory, mailbox, manager, counters, tokens, address, gates, spilling, thread };
        Ok(Worker { environment, reactor })
    }
}

type ReactorThread = (JoinHandle<std::io::Result<()>>, Address);

fn spawn<F>(node: NodeId, build: F) -> Result<ReactorThread, StartError>
where
    F: FnOnce() -> Result<Reactor, StartError> + Send + 'static,
{
    let (tell, told) = crossbeam_channel::bounded(1);
    let thread = std::thread::Builder::new().name(format!("sluice-reactor-{node}")).spawn(move || {
        // Devices belong to the thread that builds them.
        let reactor = match build() {
            Ok(reactor) => reactor,
            Err(error) => {
                let _ = tell.send(Err(error));
                return Ok(());
            }
        };
        let _ = tell.send(Ok(reactor.address()));
        reactor.run()
    });
    let thread = thread.map_err(|source| StartError::System { what: "starting the reactor's thread", source })?;
    let address = told.recv().unwrap_or_else(|_| {
        let source = std::io::Error::other("the reactor's thread ended before it was ready");
        Err(StartError::System { what: "starting the reactor", source })
    })?;
    Ok((thread, address))
}
