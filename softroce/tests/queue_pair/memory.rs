//! One side's memory: regions with keys over one array, whose every byte the tests can look at.

use std::cell::{Cell, RefCell};

use sluice_softroce::memory::{Access, AccessError, Key, RemoteMemory};

/// Where addresses begin, so that an offset taken for an address is out of bounds.
pub(crate) const BASE: u64 = 0x7000_0000_0000;

#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) key: Key,
    pub(crate) start: usize,
    pub(crate) length: usize,
    pub(crate) rights: &'static [Access],
    pub(crate) alive: Cell<bool>,
}

#[derive(Debug, Default)]
pub(crate) struct TestMemory {
    pub(crate) bytes: RefCell<Vec<u8>>,
    pub(crate) regions: RefCell<Vec<Region>>,
}

impl TestMemory {
    /// Adds a region at the end; says where it is.
    pub(crate) fn add(&self, key: u32, content: &[u8], rights: &'static [Access]) -> u64 {
        let mut bytes = self.bytes.borrow_mut();
        let start = bytes.len();
        bytes.extend_from_slice(content);
        let region = Region { key: Key(key), start, length: content.len(), rights, alive: Cell::new(true) };
        self.regions.borrow_mut().push(region);
        BASE + start as u64
    }

    pub(crate) fn deregister(&self, key: u32) {
        for region in self.regions.borrow().iter().filter(|region| region.key == Key(key)) {
            region.alive.set(false);
        }
    }

    pub(crate) fn content(&self, address: u64, length: usize) -> Vec<u8> {
        self.bytes.borrow()[(address - BASE) as usize..][..length].to_vec()
    }

    fn range(&self, key: Key, address: u64, length: u64, access: Access) -> Result<(usize, usize), AccessError> {
        let regions = self.regions.borrow();
        let region = regions.iter().find(|region| region.key == key && region.alive.get()).ok_or(AccessError::Key)?;
        if access != Access::LocalRead && !region.rights.contains(&access) {
            return Err(AccessError::Denied);
        }
        let offset = address.checked_sub(BASE + region.start as u64).ok_or(AccessError::Bounds)?;
        match offset.checked_add(length) {
            Some(end) if end <= region.length as u64 => Ok((region.start + offset as usize, length as usize)),
            _ => Err(AccessError::Bounds),
        }
    }
}

impl RemoteMemory for TestMemory {
    fn check(&self, key: Key, address: u64, length: u64, access: Access) -> Result<(), AccessError> {
        self.range(key, address, length, access).map(|_| ())
    }

    fn read(
        &self,
        key: Key,
        address: u64,
        length: usize,
        access: Access,
        buffer: &mut Vec<u8>,
    ) -> Result<(), AccessError> {
        let (start, length) = self.range(key, address, length as u64, access)?;
        buffer.extend_from_slice(&self.bytes.borrow()[start..start + length]);
        Ok(())
    }

    fn write(&self, key: Key, address: u64, bytes: &[u8], access: Access) -> Result<(), AccessError> {
        let (start, length) = self.range(key, address, bytes.len() as u64, access)?;
        self.bytes.borrow_mut()[start..start + length].copy_from_slice(bytes);
        Ok(())
    }
}
