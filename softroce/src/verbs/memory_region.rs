//! Memory that was registered: behind keys, and within bounds.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use crate::memory::{Access, AccessError, Key, RemoteMemory, Segment};
use crate::work::RemoteAddress;

/// The bytes of a region. They belong to whoever implements this; the device copies in and out, from its thread.
pub trait Backing: Send + Sync {
    /// How many bytes there are. Never changes.
    fn length(&self) -> u64;

    /// Appends `length` bytes from `offset` to `buffer`; they are within [`length`](Self::length).
    fn read(&self, offset: u64, length: usize, buffer: &mut Vec<u8>);

    /// Puts `bytes` to `offset`; they are within [`length`](Self::length).
    fn write(&self, offset: u64, bytes: &[u8]);
}

/// Bytes on the heap, behind a lock that is held while a packet is copied.
pub struct HeapMemory(RwLock<Box<[u8]>>);

impl HeapMemory {
    /// So many zeros.
    pub fn zeroed(bytes: usize) -> Arc<HeapMemory> {
        Arc::new(HeapMemory(RwLock::new(vec![0; bytes].into())))
    }

    /// Looks at the bytes. The device waits meanwhile: with [`Drive::Caller`](super::Drive::Caller) `look` must not
    /// drive it.
    pub fn with<T>(&self, look: impl FnOnce(&[u8]) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the bytes. The device waits meanwhile, as with [`with`](Self::with).
    pub fn with_mut<T>(&self, change: impl FnOnce(&mut [u8]) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Backing for HeapMemory {
    fn length(&self) -> u64 {
        self.with(|bytes| bytes.len() as u64)
    }

    fn read(&self, offset: u64, length: usize, buffer: &mut Vec<u8>) {
        self.with(|bytes| buffer.extend_from_slice(&bytes[offset as usize..][..length]));
    }

    fn write(&self, offset: u64, new: &[u8]) {
        self.with_mut(|bytes| bytes[offset as usize..][..new.len()].copy_from_slice(new));
    }
}

impl fmt::Debug for HeapMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeapMemory({} bytes)", self.length())
    }
}

/// What a region's key allows. This side may always read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions {
    /// Receives and READs of this side put bytes in.
    pub local_write: bool,
    /// The peer reads.
    pub remote_read: bool,
    /// The peer writes.
    pub remote_write: bool,
}

impl Permissions {
    /// Everything.
    pub const ALL: Permissions = Permissions { local_write: true, remote_read: true, remote_write: true };
    /// Only this side reads and writes.
    pub const LOCAL: Permissions = Permissions { local_write: true, remote_read: false, remote_write: false };

    fn allow(self, access: Access) -> bool {
        match access {
            Access::LocalRead => true,
            Access::LocalWrite => self.local_write,
            Access::RemoteRead => self.remote_read,
            Access::RemoteWrite => self.remote_write,
        }
    }
}

/// What belongs together: queue pairs of a domain reach the regions of that domain and no others. Cheap to clone.
#[derive(Clone, Default)]
pub struct ProtectionDomain(Arc<Domain>);

/// The regions of a domain, as queue pairs see them.
#[derive(Default)]
pub(super) struct Domain {
    regions: RwLock<Regions>,
}

#[derive(Default)]
struct Regions {
    by_key: HashMap<Key, Registered>,
    /// Where the next region begins that has no address of its own.
    next_address: u64,
}

struct Registered {
    address: u64,
    permissions: Permissions,
    backing: Arc<dyn Backing>,
}

/// Addresses that are given out begin here and keep a distance, so that an overrun meets nothing.
const FIRST_ADDRESS: u64 = 0x1_0000_0000;
const PAGE: u64 = 4096;

impl ProtectionDomain {
    pub(super) fn new() -> ProtectionDomain {
        ProtectionDomain::default()
    }

    pub(super) fn domain(&self) -> Arc<Domain> {
        Arc::clone(&self.0)
    }

    /// Registers memory at addresses of the domain's choice, under a new key that cannot be guessed.
    pub fn register<B: Backing + 'static>(&self, backing: Arc<B>, permissions: Permissions) -> MemoryRegion {
        let length = backing.length();
        let mut regions = self.0.regions.write().unwrap_or_else(PoisonError::into_inner);
        let address = regions.next_address.max(FIRST_ADDRESS);
        regions.next_address = address + length.next_multiple_of(PAGE) + PAGE;
        self.insert(&mut regions, Registered { address, permissions, backing }, length)
    }

    /// Registers memory at addresses of the caller's choice, as verbs do with the addresses of the process. Nothing
    /// forbids that regions overlap.
    ///
    /// # Panics
    ///
    /// If the region would go beyond the last address.
    pub fn register_at<B: Backing + 'static>(
        &self,
        address: u64,
        backing: Arc<B>,
        permissions: Permissions,
    ) -> MemoryRegion {
        let length = backing.length();
        assert!(address.checked_add(length).is_some(), "{length} bytes at {address:#x} go beyond the last address");
        let mut regions = self.0.regions.write().unwrap_or_else(PoisonError::into_inner);
        self.insert(&mut regions, Registered { address, permissions, backing }, length)
    }

    fn insert(&self, regions: &mut Regions, registered: Registered, length: u64) -> MemoryRegion {
        let key = loop {
            let key = Key(random());
            if key != Key(0) && !regions.by_key.contains_key(&key) {
                break key;
            }
        };
        let address = registered.address;
        regions.by_key.insert(key, registered);
        MemoryRegion { domain: self.domain(), key, address, length }
    }
}

/// Four bytes of the system's random numbers.
pub(super) fn random() -> u32 {
    getrandom::u32().expect("the system has random numbers")
}

/// A region that is registered. Dropping it deregisters it: from then on its key is unknown, and when the drop has
/// returned nobody touches its memory any more.
pub struct MemoryRegion {
    domain: Arc<Domain>,
    key: Key,
    address: u64,
    length: u64,
}

impl MemoryRegion {
    /// The key, for local and remote use.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The address of its first byte.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// A part of it for a work request of this side.
    ///
    /// # Panics
    ///
    /// If the range is not within the region or has more than 2^32 - 1 bytes.
    pub fn segment(&self, range: Range<u64>) -> Segment {
        assert!(range.start <= range.end && range.end <= self.length, "{range:?} of {} bytes", self.length);
        let length = u32::try_from(range.end - range.start).expect("a segment has less than 4 GiB");
        Segment { address: self.address + range.start, length, key: self.key }
    }

    /// What the peer needs to reach its first byte.
    pub fn remote_address(&self) -> RemoteAddress {
        RemoteAddress { address: self.address, key: self.key }
    }
}

impl Drop for MemoryRegion {
    fn drop(&mut self) {
        // Copying goes on under the lock, so after this nobody is at it.
        self.domain.regions.write().unwrap_or_else(PoisonError::into_inner).by_key.remove(&self.key);
    }
}

impl fmt::Debug for MemoryRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MemoryRegion { key, address, length, .. } = self;
        write!(f, "MemoryRegion({length} bytes at {address:#x}, key {key:?})")
    }
}

impl fmt::Debug for ProtectionDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProtectionDomain({:?})", self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "{} regions", regions.by_key.len())
    }
}

impl Domain {
    /// Runs `copy` with the region and the offset in it, if the access is allowed.
    fn access<T>(
        &self,
        key: Key,
        address: u64,
        length: u64,
        access: Access,
        copy: impl FnOnce(&dyn Backing, u64) -> T,
    ) -> Result<T, AccessError> {
        let regions = self.regions.read().unwrap_or_else(PoisonError::into_inner);
        let region = regions.by_key.get(&key).ok_or(AccessError::Key)?;
        if !region.permissions.allow(access) {
            return Err(AccessError::Denied);
        }
        let offset = address.checked_sub(region.address).ok_or(AccessError::Bounds)?;
        let end = offset.checked_add(length).ok_or(AccessError::Bounds)?;
        if end > region.backing.length() {
            return Err(AccessError::Bounds);
        }
        Ok(copy(&*region.backing, offset))
    }
}

impl RemoteMemory for Domain {
    fn check(&self, key: Key, address: u64, length: u64, access: Access) -> Result<(), AccessError> {
        self.access(key, address, length, access, |_, _| ())
    }

    fn read(
        &self,
        key: Key,
        address: u64,
        length: usize,
        access: Access,
        buffer: &mut Vec<u8>,
    ) -> Result<(), AccessError> {
        self.access(key, address, length as u64, access, |backing, offset| backing.read(offset, length, buffer))
    }

    fn write(&self, key: Key, address: u64, bytes: &[u8], access: Access) -> Result<(), AccessError> {
        self.access(key, address, bytes.len() as u64, access, |backing, offset| backing.write(offset, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_allows_what_it_permits_within_its_bounds_and_nothing_after_it_is_dropped() {
        let pd = ProtectionDomain::new();
        let region = pd.register(HeapMemory::zeroed(10), Permissions { remote_read: true, ..Permissions::LOCAL });
        let (key, address) = (region.key(), region.address());
        let domain = pd.domain();
        assert_eq!(domain.check(key, address, 10, Access::RemoteRead), Ok(()));
        assert_eq!(domain.check(key, address, 11, Access::RemoteRead), Err(AccessError::Bounds));
        assert_eq!(domain.check(key, address + 10, 1, Access::RemoteRead), Err(AccessError::Bounds));
        assert_eq!(domain.check(key, address - 1, 1, Access::RemoteRead), Err(AccessError::Bounds));
        assert_eq!(domain.check(key, u64::MAX, u64::MAX, Access::RemoteRead), Err(AccessError::Bounds));
        assert_eq!(domain.write(key, address, &[1], Access::RemoteWrite), Err(AccessError::Denied));
        assert_eq!(ProtectionDomain::new().domain().check(key, address, 1, Access::RemoteRead), Err(AccessError::Key));
        drop(region);
        assert_eq!(domain.check(key, address, 1, Access::RemoteRead), Err(AccessError::Key));
    }

    #[test]
    fn regions_without_addresses_of_their_own_do_not_touch() {
        let pd = ProtectionDomain::new();
        let one = pd.register(HeapMemory::zeroed(1), Permissions::ALL);
        let two = pd.register(HeapMemory::zeroed(1), Permissions::ALL);
        assert!(two.address() > one.address() + one.length());
    }
}
