//! The files of an identity: what they hold, and whether they have changed.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::trust::TrustError;

pub(super) const CERTIFICATE: &str = "certificate (trust.certificate_file)";
pub(super) const KEY: &str = "private key (trust.key_file)";
pub(super) const AUTHORITIES: &str = "authorities (trust.authorities_file)";
/// More than any chain of certificates; a wrong file is not read to its end.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Where a worker's certificate is, and whom it believes. All in PEM format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The worker's certificate, and those between it and the authority.
    pub certificates: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who signs the certificates of workers. Whoever has a certificate of one of these is let in.
    pub authorities: PathBuf,
    /// The name that the certificates of all workers carry. Without one, a worker's certificate carries the IP address
    /// that others connect to.
    pub peer_name: Option<String>,
}

/// What the files hold.
pub(super) struct Content {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) authorities: RootCertStore,
}

impl TlsFiles {
    pub(super) fn read(&self) -> Result<Content, TrustError> {
        let certificates = certificates(CERTIFICATE, &self.certificates)?;
        let key = read(KEY, &self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| not_pem(KEY, &self.key, &error))?;
        let mut authorities = RootCertStore::empty();
        for authority in self::certificates(AUTHORITIES, &self.authorities)? {
            authorities.add(authority).map_err(|error| TrustError::Unusable {
                what: AUTHORITIES,
                path: self.authorities.clone(),
                problem: error.to_string(),
            })?;
        }
        Ok(Content { certificates, key, authorities })
    }

    /// What tells one state of the files from the next.
    pub(super) fn stamp(&self) -> Result<Stamp, TrustError> {
        Ok(Stamp([
            stamp(CERTIFICATE, &self.certificates)?,
            stamp(KEY, &self.key)?,
            stamp(AUTHORITIES, &self.authorities)?,
        ]))
    }
}

/// Modification time, length and inode of each file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp([(Option<SystemTime>, u64, u64); 3]);

fn stamp(what: &'static str, path: &Path) -> Result<(Option<SystemTime>, u64, u64), TrustError> {
    let metadata = fs::metadata(path).map_err(|source| unreadable(what, path, source))?;
    Ok((metadata.modified().ok(), metadata.len(), inode(&metadata)))
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let bytes = read(what, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(not_pem(what, path, &pem::Error::NoItemsFound)),
        found => found.map_err(|error| not_pem(what, path, &error)),
    }
}

/// The buffer is cleared, and does not grow and leave copies behind: one of the files is a key.
fn read(what: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, TrustError> {
    let unreadable = |source| unreadable(what, path, source);
    let file = File::open(path).map_err(unreadable)?;
    let expected = file.metadata().map_err(unreadable)?.len().min(FILE_BYTES_MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected as usize + 64));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(io::Error::from(io::ErrorKind::FileTooLarge)));
    }
    Ok(bytes)
}

fn unreadable(what: &'static str, path: &Path, source: io::Error) -> TrustError {
    TrustError::Unreadable { what, path: path.to_owned(), source }
}

/// Says the kind of mistake and nothing of what was read: it may be a key.
fn not_pem(what: &'static str, path: &Path, error: &pem::Error) -> TrustError {
    let problem = match error {
        pem::Error::NoItemsFound => "there is none in the file",
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "the beginning of a section is malformed",
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => "the file is malformed",
    };
    TrustError::NotPem { what, path: path.to_owned(), problem: problem.into() }
}
