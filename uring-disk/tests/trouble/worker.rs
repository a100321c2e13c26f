//! A worker that has nothing but a disk, in this process or in one of its own.

use std::path::{Path, PathBuf};
use std::task::Waker;

use sluice_memory::{Arena, ArenaOptions, BufferPool, HugePages, Memory, PoolSpec, SizeClass};
use sluice_plugin::{
    DirectoryId, Disk, DiskBuildError, DiskCompletion, DiskDone, DiskError, DiskFactory, DiskRequest, DiskSetup,
    FileId, FileOwner, ListedFile,
};
use sluice_protocol::{Incarnation, NodeId};
use sluice_uring_disk::{LocalDiskConfig, LocalDisks};

pub(crate) const PAGE: usize = sluice_plugin::DISK_ALIGNMENT;
pub(crate) const FIRST: DirectoryId = DirectoryId(0);

const ARENA_BYTES: usize = 4 << 20;

pub(crate) struct Worker {
    pub(crate) disk: Box<dyn Disk>,
    pub(crate) owner: FileOwner,
    pool: BufferPool,
}

pub(crate) fn config(directories: &[&Path]) -> LocalDiskConfig {
    let directories = directories.iter().map(PathBuf::from).collect();
    LocalDiskConfig { directories, ..LocalDiskConfig::default() }
}

impl Worker {
    /// A life by its number.
    pub(crate) fn new(config: LocalDiskConfig, number: u64) -> Result<Self, DiskBuildError> {
        let arena = Arena::map(ArenaOptions { bytes: ARENA_BYTES, huge_pages: HugePages::Never });
        let memory = Memory::new(arena.expect("address space is plenty"));
        let spec = PoolSpec { owner: "disk".into(), unit: SizeClass::MAX, floor_units: 1, bytes_max: ARENA_BYTES };
        let setup = DiskSetup {
            node: NodeId(1),
            incarnation: Incarnation(number),
            cluster: "trouble".into(),
            arena: memory.arena().clone(),
            // Who asks again and again needs no bell.
            waker: Waker::noop().clone(),
        };
        let owner = setup.owner();
        let disk = LocalDisks::new(config).build(setup)?;
        Ok(Self { disk, owner, pool: memory.pool(spec).expect("the arena is made for it") })
    }

    /// In one directory, as configured by default.
    pub(crate) fn at(directory: &Path, number: u64) -> Self {
        Self::new(config(&[directory]), number).expect("a directory that can be used")
    }

    pub(crate) fn run(&mut self, request: DiskRequest) -> Result<DiskDone, DiskError> {
        self.completion(request).result
    }

    fn completion(&mut self, request: DiskRequest) -> DiskCompletion {
        self.disk.submit(0, request).expect("nothing else is under way");
        let mut completed = Vec::new();
        while completed.is_empty() {
            self.disk.prepare_to_wait().expect("the engine works");
            self.disk.poll(&mut completed);
            std::thread::yield_now();
        }
        completed.remove(0)
    }

    pub(crate) fn create_in(&mut self, directory: DirectoryId, name: &str) -> FileId {
        match self.run(DiskRequest::Create { directory, name: name.into() }) {
            Ok(DiskDone::Opened { file, .. }) => file,
            result => panic!("creating {name} gave {result:?}"),
        }
    }

    pub(crate) fn write(&mut self, file: FileId, offset: usize, bytes: usize, fill: u8) -> Result<(), DiskError> {
        let class = SizeClass::fitting(bytes).expect("at most a segment");
        let mut piece = self.pool.try_acquire(class).expect("nothing else is under way");
        piece.truncate(bytes);
        piece.fill(fill);
        self.run(DiskRequest::Write { file, offset: offset as u64, from: vec![piece.freeze()] }).map(drop)
    }

    /// A page of an own file.
    pub(crate) fn page(&mut self, name: &str, page: usize) -> Vec<u8> {
        let (directory, name) = (FIRST, name.to_owned());
        let Ok(DiskDone::Opened { file, .. }) = self.run(DiskRequest::Open { directory, name }) else {
            panic!("the file can be opened")
        };
        let piece = self.pool.try_acquire(SizeClass::MIN).expect("nothing else is under way");
        let read = DiskRequest::Read { file, offset: (page * PAGE) as u64, into: vec![piece] };
        let completion = self.completion(read);
        assert!(completion.result.is_ok(), "{completion:?}");
        let DiskRequest::Read { into, .. } = completion.request else { panic!("a read comes back as one") };
        let bytes = into[0].to_vec();
        drop(into);
        self.run(DiskRequest::Close { file }).expect("closing never fails");
        bytes
    }

    /// A new file of one page in the first directory.
    pub(crate) fn leave_file(&mut self, name: &str, fill: u8) {
        let file = self.create_in(FIRST, name);
        self.write(file, 0, PAGE, fill).expect("there is room for a page");
        self.run(DiskRequest::Close { file }).expect("closing never fails");
    }

    pub(crate) fn list(&mut self) -> Vec<ListedFile> {
        match self.run(DiskRequest::List { directory: FIRST }) {
            Ok(DiskDone::Listed(mut files)) => {
                files.sort_by(|one, other| (&one.owner, &one.name).cmp(&(&other.owner, &other.name)));
                files
            }
            result => panic!("a list gave {result:?}"),
        }
    }

    pub(crate) fn adopt(&mut self, file: &ListedFile) -> Result<(), DiskError> {
        let (owner, name) = (file.owner.clone(), file.name.clone());
        self.run(DiskRequest::Adopt { directory: FIRST, owner, name }).map(drop)
    }

    pub(crate) fn remove(&mut self, name: &str) {
        let request = DiskRequest::Remove { directory: FIRST, owner: None, name: name.into() };
        self.run(request).expect("an own file can be removed");
    }

    /// Free bytes of a directory.
    pub(crate) fn free(&mut self, directory: DirectoryId) -> u64 {
        match self.run(DiskRequest::Space { directory }) {
            Ok(DiskDone::Space { free, .. }) => free,
            result => panic!("asking for space gave {result:?}"),
        }
    }

    /// How long a file of the first directory is, as its list says.
    pub(crate) fn listed_bytes(&mut self, name: &str) -> u64 {
        self.list().into_iter().find(|file| file.name == name).expect("it is listed").bytes
    }
}

/// What is in a directory, sorted.
pub(crate) fn entries(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("it is there");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("readable").file_name();
    let mut names: Vec<_> = entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
