//! Authorities and certificates of all kinds, good and bad, in a folder that is gone with the test.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use crate::{TlsFiles, TlsTrust};

/// The name that workers carry in most tests.
pub(super) const NAME: &str = "workers.example";

/// Who signs certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        Self::named("an authority")
    }

    pub(super) fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(super) fn issue(&self, name: &str) -> Issued {
        self.issue_for(name, 1975, 4096)
    }

    /// A certificate for the years from the first to the second.
    pub(super) fn issue_for(&self, name: &str, from: i32, to: i32) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }
}

/// A certificate and its key, in PEM format.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// The files of one worker.
pub(super) struct Worker {
    folder: PathBuf,
    pub(super) files: TlsFiles,
}

impl Worker {
    /// One that shows this certificate, believes that authority, and expects `NAME` of its peers.
    pub(super) fn new(issued: &Issued, believes: &Authority) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sluice-handshake-{}-{count}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let files = TlsFiles {
            certificates: folder.join("worker.pem"),
            key: folder.join("worker.key"),
            authorities: folder.join("authorities.pem"),
            peer_name: Some(NAME.into()),
        };
        let worker = Self { folder, files };
        worker.install(issued);
        worker.replace("authorities.pem", &believes.pem);
        worker
    }

    /// Puts another certificate in the place of the one it has.
    pub(super) fn install(&self, issued: &Issued) {
        self.replace("worker.pem", &issued.certificate);
        self.replace("worker.key", &issued.key);
    }

    /// As an administrator does it: a new file takes the place of the old one.
    pub(super) fn replace(&self, name: &str, content: &str) {
        let new = self.folder.join("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, self.folder.join(name)).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.folder.join(name)).unwrap();
    }

    pub(super) fn trust(&self) -> TlsTrust {
        TlsTrust::load(self.files.clone()).unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
