//! The disk of one life: errands to a thread, reads and writes on their way, and their ends back to the reactor.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use sluice_plugin::{
    Device, DirectoryCapabilities, DirectoryId, Disk, DiskBuildError, DiskCapabilities, DiskCompletion, DiskDone,
    DiskError, DiskRequest, DiskSetup, FileId, Wait,
};

use crate::config::LocalDiskConfig;
use crate::directories;
use crate::engine;
use crate::errand::{Carried, Clerk, Errand, OpenFile, Outcome};
use crate::moves::{Ended, Moves};
use crate::transfer::Pieces;
use crate::workers::Workers;

pub(crate) const NAME: &str = "local-disk";
/// Errands under way at a time: of some files of all partitions of a worker.
const ERRANDS_MAX: usize = 64;

/// Files in local directories.
pub(crate) struct LocalDisk {
    capabilities: DiskCapabilities,
    files: HashMap<FileId, Entry>,
    /// How many were ever opened.
    opened: u64,
    clerk: Workers<Errand, Carried>,
    moves: Moves,
}

struct Entry {
    file: Arc<OpenFile>,
    under_way: usize,
}

impl LocalDisk {
    pub(crate) fn new(config: &LocalDiskConfig, setup: &DiskSetup) -> Result<Self, DiskBuildError> {
        let refused = |problem| DiskBuildError { disk: NAME, problem };
        config.check().map_err(refused)?;
        let owner = setup.owner();
        let directories = directories::enter(config, &owner).map_err(refused)?;
        let engine = engine::open(config, setup).map_err(refused)?;
        let told = directories
            .iter()
            .map(|directory| DirectoryCapabilities { path: directory.path.clone(), is_direct: directory.is_direct });
        let capabilities = DiskCapabilities { engine: engine.name(), depth: config.depth, directories: told.collect() };
        let clerk = Clerk { owner, directories: directories.into() };
        let work = vec![move |errand| clerk.carry_out(errand)];
        let clerk = Workers::start("sluice-disk", work, ERRANDS_MAX, setup.waker.clone());
        let clerk = clerk.map_err(|error| refused(format!("no thread can be started: {error}; raise ulimit -u")))?;
        Ok(Self { capabilities, files: HashMap::new(), opened: 0, clerk, moves: Moves::new(engine) })
    }

    fn submit_move(&mut self, token: u64, id: FileId, offset: u64, pieces: Pieces) -> Result<(), DiskRequest> {
        let submitted = self.moves.submit(token, (id, &self.files[&id].file.descriptor), offset, pieces);
        submitted.map_err(|pieces| request(id, offset, pieces))
    }

    fn submit_errand(&mut self, token: u64, request: DiskRequest) -> Result<(), DiskRequest> {
        let file = request.file().map(|id| Arc::clone(&self.files[&id].file));
        self.clerk.submit(Errand { token, request, file }).map_err(|errand| errand.request)
    }

    /// Leaves the errand the only handle to the file, and nobody an id to use it by.
    fn submit_close(&mut self, token: u64, id: FileId) -> Result<(), DiskRequest> {
        let under_way = self.files[&id].under_way;
        assert_eq!(under_way, 0, "requests under way of {id:?}, which is to be closed");
        let Entry { file, .. } = self.files.remove(&id).expect("submit() found it open");
        let errand = Errand { token, request: DiskRequest::Close { file: id }, file: Some(file) };
        self.clerk.submit(errand).map_err(|Errand { request, file, .. }| {
            let file = file.expect("given above");
            self.files.insert(id, Entry { file, under_way });
            request
        })
    }

    fn assert_directory(&self, request: &DiskRequest) {
        if let Some(DirectoryId(id)) = directory_of(request) {
            let directories = self.capabilities.directories.len();
            assert!(usize::from(id) < directories, "directory {id} of {directories}");
        }
    }

    // ── What is over ────────────────────────────────────────────────────────────────────────────────────────────

    fn moved(&mut self, ended: Ended) -> DiskCompletion {
        let Ended { token, file, offset, pieces, result } = ended;
        let entry = self.files.get_mut(&file).expect("it is not closed before this is over");
        entry.under_way -= 1;
        let operation = match pieces {
            Pieces::Into(_) => "read",
            Pieces::From(_) => "write to",
        };
        let path = &entry.file.path;
        let result = result.map(|()| DiskDone::Done).map_err(|(at, source)| DiskError {
            operation,
            path: path.clone(),
            offset: Some(at),
            source,
        });
        DiskCompletion { token, request: request(file, offset, pieces), result }
    }

    fn carried(&mut self, carried: Carried) -> DiskCompletion {
        let Carried { token, request, result } = carried;
        // A closed file has no entry any more.
        if let Some(entry) = request.file().and_then(|id| self.files.get_mut(&id)) {
            entry.under_way -= 1;
        }
        let result = result.map(|outcome| match outcome {
            Outcome::Done(done) => done,
            Outcome::Opened(file, bytes) => DiskDone::Opened { file: self.opened(file), bytes },
        });
        DiskCompletion { token, request, result }
    }

    fn opened(&mut self, file: OpenFile) -> FileId {
        self.opened += 1;
        let id = FileId(self.opened);
        self.files.insert(id, Entry { file: Arc::new(file), under_way: 0 });
        id
    }
}

impl Device for LocalDisk {
    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>> {
        Ok(if self.clerk.has_results() { Wait::Ready } else { self.moves.prepare_to_wait() })
    }
}

impl Disk for LocalDisk {
    fn capabilities(&self) -> &DiskCapabilities {
        &self.capabilities
    }

    fn submit(&mut self, token: u64, request: DiskRequest) -> Result<(), DiskRequest> {
        request.assert_aligned();
        self.assert_directory(&request);
        let file = request.file();
        if let Some(id) = file {
            assert!(self.files.contains_key(&id), "{id:?} is not open");
        }
        match request {
            DiskRequest::Close { file } => return self.submit_close(token, file),
            DiskRequest::Read { file, offset, into } => self.submit_move(token, file, offset, Pieces::Into(into)),
            DiskRequest::Write { file, offset, from } => self.submit_move(token, file, offset, Pieces::From(from)),
            request => self.submit_errand(token, request),
        }?;
        if let Some(entry) = file.and_then(|id| self.files.get_mut(&id)) {
            entry.under_way += 1;
        }
        Ok(())
    }

    fn poll(&mut self, completions: &mut Vec<DiskCompletion>) {
        let mut carried = Vec::new();
        self.clerk.poll(&mut carried);
        for carried in carried {
            completions.push(self.carried(carried));
        }
        let mut ended = Vec::new();
        self.moves.poll(&mut ended);
        for ended in ended {
            completions.push(self.moved(ended));
        }
    }
}

fn request(file: FileId, offset: u64, pieces: Pieces) -> DiskRequest {
    match pieces {
        Pieces::Into(into) => DiskRequest::Read { file, offset, into },
        Pieces::From(from) => DiskRequest::Write { file, offset, from },
    }
}

fn directory_of(request: &DiskRequest) -> Option<DirectoryId> {
    match request {
        DiskRequest::Create { directory, .. }
        | DiskRequest::Open { directory, .. }
        | DiskRequest::Remove { directory, .. }
        | DiskRequest::Adopt { directory, .. }
        | DiskRequest::Touch { directory, .. }
        | DiskRequest::List { directory }
        | DiskRequest::Space { directory } => Some(*directory),
        _ => None,
    }
}
