//! What there is in the repository: its text files and its crates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A text file, with its path from the root.
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A crate of the workspace, called by its folder.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) manifest: TextFile,
    /// Libraries and binaries, not tests, benches or examples.
    pub(crate) roots: Vec<TextFile>,
    pub(crate) dependencies: Vec<Dependency>,
}

/// What a crate depends on.
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) dev: bool,
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a folder of the repository").to_owned()
}

/// All text files that people write.
pub(crate) fn text_files() -> Vec<TextFile> {
    let mut files = Vec::new();
    collect(&root(), &mut files);
    assert!(files.len() > 50, "only {} files found: the walk has gone wrong", files.len());
    files
}

pub(crate) fn rust_files() -> Vec<TextFile> {
    text_files().into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

fn collect(folder: &Path, files: &mut Vec<TextFile>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry of a folder that can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let ours = name != "target" && (!name.starts_with('.') || name == ".ci");
            if ours {
                collect(&path, files);
            }
        } else if is_text(&path, &name)
            && let Ok(text) = fs::read_to_string(&path)
        {
            files.push(TextFile { path: from_root(&path), text });
        }
    }
}

fn is_text(path: &Path, name: &str) -> bool {
    const ENDINGS: [&str; 11] = ["rs", "toml", "md", "lock", "sh", "py", "json", "yml", "yaml", "c", "h"];
    const SCRIPTS: [&str; 2] = [".ci/", "testbed/"];
    match path.extension() {
        Some(ending) => ENDINGS.iter().any(|known| ending == *known),
        // Scripts. Other files without an ending may be what somebody has shuffled.
        None => name == "LICENSE" || SCRIPTS.iter().any(|folder| from_root(path).starts_with(folder)),
    }
}

fn from_root(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

fn read(path: &str) -> TextFile {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    TextFile { path: from_root(Path::new(path)), text }
}

/// The crates, as cargo sees them.
pub(crate) fn members() -> Vec<Member> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--offline", "--format-version", "1", "--no-deps"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    list(&metadata["packages"]).iter().map(member).collect()
}

fn member(package: &Value) -> Member {
    let is_root = |target: &&Value| list(&target["kind"]).iter().any(|kind| kind == "lib" || kind == "bin");
    Member {
        name: short(&package["name"]),
        manifest: read(text(&package["manifest_path"])),
        roots: list(&package["targets"]).iter().filter(is_root).map(|target| read(text(&target["src_path"]))).collect(),
        dependencies: list(&package["dependencies"])
            .iter()
            .map(|dependency| Dependency { name: short(&dependency["name"]), dev: dependency["kind"] == "dev" })
            .collect(),
    }
}

fn short(name: &Value) -> String {
    text(name).to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}
