//! Opens a file to look into, and refuses what is none: a pipe would be waited for, for ever.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::InspectError;

/// Opens a regular file.
///
/// # Errors
/// Says what the path is, if it is something else.
pub(super) fn open(path: &Path) -> Result<File, InspectError> {
    let unreadable = |source: io::Error| InspectError::Unreadable { path: path.to_owned(), source };
    // Before it is opened: that may be what hangs.
    let kind = path.metadata().map_err(unreadable)?.file_type();
    let what = match kind {
        kind if kind.is_file() => return File::open(path).map_err(unreadable),
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a named pipe (FIFO)",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_block_device() => "a block device",
        kind if kind.is_char_device() => "a character device",
        _ => "something else",
    };
    Err(InspectError::NoFile { path: path.to_owned(), what })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_is_no_regular_file_is_named_with_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        for (path, what) in
            [(socket.as_path(), "a socket"), (folder.path(), "a directory"), (Path::new("/dev/null"), "a character")]
        {
            let error = open(path).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains(&path.display().to_string()), "{error}");
        }
    }
}
