//! Whether a directory takes direct IO: by trying, as file systems say yes and mean something else.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{pread, pwrite};
use sluice_plugin::{DISK_ALIGNMENT, FileOwner};

use crate::names;

/// A page in memory at a multiple of its size, which direct IO wants.
#[repr(C, align(4096))]
struct Page([u8; DISK_ALIGNMENT]);

/// Writes a page past the cache and reads it again; why that is not possible, or `None` if it is. An error is of the
/// directory, and would be one of any file in it.
pub(crate) fn refusal(directory: &Path, owner: &FileOwner) -> io::Result<Option<String>> {
    let system = file_system(directory);
    if matches!(system.as_str(), "tmpfs" | "ramfs") {
        // Since Linux 6.6 a tmpfs takes O_DIRECT; there is no disk behind it all the same.
        return Ok(Some(format!("O_DIRECT means nothing there: a {system} is in memory")));
    }
    let path = directory.join(names::probe(owner));
    // Left by a life of the same name, if there was one.
    let _ = std::fs::remove_file(&path);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    // Without O_DIRECT first: who refuses it may have made the file all the same.
    let plain = open(&path, flags, Mode::RUSR | Mode::WUSR)?;
    let direct = open(&path, OFlags::RDWR | OFlags::CLOEXEC | OFlags::DIRECT, Mode::empty());
    std::fs::remove_file(&path)?;
    drop(plain);
    Ok(match direct.map_err(io::Error::from).and_then(|file| write_and_read(&file)) {
        Ok(()) => None,
        Err(error) => Some(format!("O_DIRECT was tried on a page: {error}")),
    })
}

fn write_and_read(file: &OwnedFd) -> io::Result<()> {
    let mut page = Page([0x5a; DISK_ALIGNMENT]);
    let written = pwrite(file, &page.0, 0)?;
    page.0.fill(0);
    let read = pread(file, &mut page.0[..], 0)?;
    let is_same = (written, read) == (DISK_ALIGNMENT, DISK_ALIGNMENT) && page.0.iter().all(|byte| *byte == 0x5a);
    if is_same { Ok(()) } else { Err(io::Error::new(ErrorKind::InvalidData, "other bytes were read than written")) }
}

/// What the directory's file system is called, as far as it is one of the usual.
pub(crate) fn file_system(directory: &Path) -> String {
    // linux/magic.h
    const KNOWN: [(u32, &str); 10] = [
        (0xef53, "ext4"),
        (0x5846_5342, "xfs"),
        (0x9123_683e, "btrfs"),
        (0x0102_1994, "tmpfs"),
        (0x8584_58f6, "ramfs"),
        (0x794c_7630, "overlayfs"),
        (0x2fc1_2fc1, "zfs"),
        (0xf2f5_2010, "f2fs"),
        (0x6969, "nfs"),
        (0x6573_5546, "fuse"),
    ];
    let Ok(found) = rustix::fs::statfs(directory) else { return "unknown".into() };
    // The kernel's word for it has 32 bits, whatever type it comes in.
    let magic = found.f_type as u32;
    let known = KNOWN.iter().find(|(known, _)| *known == magic);
    known.map_or_else(|| format!("{magic:#x}"), |(_, name)| (*name).to_owned())
}
