//! An authority, what it signs, and the folder where a worker finds both.

use std::fs;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use sluice_handshake::TlsFiles;
use tempfile::TempDir;

/// The years of a certificate that is good.
pub(crate) const GOOD: Range<i32> = 2020..2100;
/// The address of all workers here.
pub(crate) const LOOPBACK: &str = "127.0.0.1";

/// Who signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: Certificate,
}

/// A certificate and its key.
pub(crate) struct Issued {
    certificate: String,
    key: String,
}

/// The files of one worker.
pub(crate) struct Folder(TempDir);

impl Authority {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let mut params = CertificateParams::default();
        // Of two with the same name, a certificate of one would be a bad one of the other.
        let name = format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("an authority");
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate for one name or address.
    pub(crate) fn issue(&self, name: &str, years: Range<i32>) -> Issued {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Issued { certificate, key: key.serialize_pem() }
    }
}

impl Folder {
    /// A worker that shows `issued` and believes `authority`.
    pub(crate) fn of(issued: &Issued, authority: &Authority) -> Self {
        let folder = Self(TempDir::new().expect("a folder"));
        folder.write(issued, authority);
        folder
    }

    /// What the files say from now on.
    pub(crate) fn write(&self, issued: &Issued, authority: &Authority) {
        let TlsFiles { certificates, key, authorities, .. } = self.files();
        for (path, text) in
            [(certificates, &issued.certificate), (key, &issued.key), (authorities, &authority.certificate.pem())]
        {
            fs::write(path, text).expect("the folder can be written to");
        }
    }

    pub(crate) fn files(&self) -> TlsFiles {
        let file = |name| self.0.path().join(name);
        let (certificates, key, authorities) = (file("worker.crt"), file("worker.key"), file("authorities.crt"));
        TlsFiles { certificates, key, authorities, peer_name: None }
    }
}
