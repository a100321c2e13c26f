//! The machine and this process as the kernel sees them.
use std::{fs, io, thread, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use sluice_plugin::DiskCapabilities;

/// What a figure must say about the machine it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Release and architecture, as `uname -rm` prints them.
    pub kernel: String,
    /// How many threads run at once.
    pub cores: usize,
    /// What did the IO, and what fell back, in the engine's own words; absent where only ceilings ran.
    pub engine: Option<String>,
    /// What did the IO of the disk, where there was any.
    pub disk: Option<DiskInUse>,
}

/// What did the IO of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskInUse {
    /// In the plug-in's own words.
    pub engine: String,
    /// Whether all of it went past the page cache. If not, figures are the cache's.
    pub is_direct: bool,
}

impl From<DiskCapabilities> for DiskInUse {
    fn from(told: DiskCapabilities) -> Self {
        let is_direct = told.directories.iter().all(|directory| directory.is_direct);
        Self { engine: told.engine, is_direct }
    }
}

impl Host {
    /// This machine.
    pub fn here(engine: Option<String>) -> Host {
        let name = rustix::system::uname();
        let kernel = format!("{} {}", name.release().to_string_lossy(), name.machine().to_string_lossy());
        // One core is the safe guess where the kernel does not say.
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Host { kernel, cores, engine, disk: None }
    }
}

/// The CPU time, user and system, that this process and its finished threads have used.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let part = |value: i64| u64::try_from(value).expect("the clock of a process starts at 0");
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

/// The most memory this process ever had resident: `VmHWM`.
pub fn peak_memory_bytes() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    high_water(&status).ok_or_else(|| io::Error::other("/proc/self/status has no VmHWM"))
}

fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_in_kibibytes() {
        assert_eq!(high_water("VmPeak:\t 9 kB\nVmHWM:\t    1234 kB\nVmRSS:\t 1 kB\n"), Some(1234 * 1024));
        assert_eq!(high_water("VmPeak:\t 9 kB\n"), None);
    }

    #[test]
    fn this_process_has_used_memory_and_time() {
        assert!(peak_memory_bytes().unwrap() > 0);
        assert!(cpu_time() > Duration::ZERO);
        assert!(Host::here(None).cores >= 1);
    }
}
