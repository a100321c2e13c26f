//! The directories of a life: looked at, and entered, when the disk is built.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sluice_plugin::{DirectIo, FileOwner};

use crate::config::LocalDiskConfig;
use crate::direct;
use crate::lease::Lease;

/// A directory that this life has entered.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    /// Whether its files are opened with `O_DIRECT`.
    pub(crate) is_direct: bool,
    /// Ends with the life.
    _lease: Lease,
}

/// All of them, by their ids; or what is wrong, and what to do about it.
pub(crate) fn enter(config: &LocalDiskConfig, owner: &FileOwner) -> Result<Vec<Directory>, String> {
    refuse_doubles(&config.directories)?;
    let mut entered = Vec::new();
    for path in &config.directories {
        let lease = Lease::take(path, owner).map_err(|error| {
            let kind = error.kind();
            let remedy = match kind {
                ErrorKind::PermissionDenied => "let this user write there, or choose another directory",
                ErrorKind::ReadOnlyFilesystem => "mount it writable, or choose another directory",
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room, or choose another directory",
                _ => "choose another directory",
            };
            format!("no lease can be taken in directory {}: {error}; {remedy}", path.display())
        })?;
        let lease = lease.ok_or_else(|| {
            let whose = &owner.0;
            format!("directory {} is in use by a live worker of the name {whose}: end that one first", path.display())
        })?;
        let is_direct = config.direct == DirectIo::Auto && is_direct_possible(path, owner)?;
        entered.push(Directory { path: path.clone(), is_direct, _lease: lease });
    }
    Ok(entered)
}

fn refuse_doubles(paths: &[PathBuf]) -> Result<(), String> {
    let mut seen: Vec<((u64, u64), &Path)> = Vec::new();
    for path in paths {
        let shown = path.display();
        let found = match fs::metadata(path) {
            Ok(found) if found.is_dir() => found,
            Ok(_) => return Err(format!("{shown} is not a directory: choose one")),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(format!("directory {shown} does not exist: create it, or choose another"));
            }
            Err(error) => return Err(format!("directory {shown} cannot be looked at: {error}; choose another")),
        };
        let identity = (found.dev(), found.ino());
        if let Some((_, other)) = seen.iter().find(|(of, _)| *of == identity) {
            let other = other.display();
            return Err(format!("{shown} is the same directory as {other}: name each directory once"));
        }
        seen.push((identity, path));
    }
    Ok(())
}

/// Whether direct IO works in a directory. Says what was found.
fn is_direct_possible(path: &Path, owner: &FileOwner) -> Result<bool, String> {
    let refusal = direct::refusal(path, owner);
    let refusal = refusal.map_err(|error| format!("no file can be made in directory {}: {error}", path.display()))?;
    let file_system = direct::file_system(path);
    let directory = path.display();
    match &refusal {
        None => tracing::info!(%directory, file_system, "reads and writes go past the page cache"),
        Some(refusal) => {
            tracing::warn!(%directory, file_system, refusal, "reads and writes go through the page cache");
        }
    }
    Ok(refusal.is_none())
}
