//! What a life of a worker is called in a directory that it shares with others.

use super::{DiskSetup, FileOwner};

/// Bytes of the cluster's name in an owner's, escaped.
const CLUSTER_BYTES_MAX: usize = 64;

impl DiskSetup {
    /// The name of this life, which nobody else has: the cluster, in letters and digits of ASCII, `_` and `=`; then, each
    /// behind a `-`, the numbers of the node and of the incarnation. At most 106 bytes.
    pub fn owner(&self) -> FileOwner {
        FileOwner(format!("{}-{}-{}", safe_in_file_names(&self.cluster), self.node, self.incarnation))
    }
}

/// Different texts stay different; a long one is told from others by a digest.
fn safe_in_file_names(text: &str) -> String {
    let mut safe = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => safe.push(char::from(byte)),
            _ => safe.push_str(&format!("={byte:02x}")),
        }
    }
    if safe.len() > CLUSTER_BYTES_MAX {
        // FNV-1a: here nobody is to be deceived but by chance.
        let digest = text.bytes().fold(0xcbf2_9ce4_8422_2325, |digest: u64, byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let digest = format!("=={digest:016x}");
        safe.truncate(CLUSTER_BYTES_MAX - digest.len());
        safe.push_str(&digest);
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use sluice_memory::{Arena, ArenaOptions, HugePages};
    use sluice_protocol::{Incarnation, NodeId};

    use super::*;

    fn owner_of(cluster: &str) -> String {
        let arena = Arena::map(ArenaOptions { bytes: 1, huge_pages: HugePages::Never }).expect("a page is free");
        let (node, incarnation) = (NodeId(u64::MAX), Incarnation(7));
        DiskSetup { node, incarnation, cluster: cluster.into(), arena, waker: Waker::noop().clone() }.owner().0
    }

    #[test]
    fn owners_of_different_clusters_are_different_and_safe_in_a_file_name() {
        let long = "x".repeat(300);
        let clusters = ["", "a", "a_b", "a-b", "a/b", "a~b", "..", "Zürich", &long, &format!("{long}y")];
        let mut owners: Vec<String> = clusters.iter().map(|cluster| owner_of(cluster)).collect();
        for owner in &owners {
            let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte);
            assert!(owner.len() <= 106 && owner.bytes().all(is_safe), "{owner}");
        }
        assert_eq!(owners[3], "a=2db-18446744073709551615-7");
        owners.sort();
        owners.dedup();
        assert_eq!(owners.len(), clusters.len());
    }
}
