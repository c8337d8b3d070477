//! Builds the initramfs of a test VM: the init program, the binaries, the kernel modules and the command to run.
//!
//! The archive is not compressed: unpacking in an emulated processor costs more than reading the bytes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::cpio::Archive;
use super::modules::Modules;

/// A file of the host that the VM shall have, executable.
#[derive(Clone, Debug)]
pub(crate) struct GuestFile {
    /// Absolute path in the VM.
    pub(crate) at: String,
    /// The file on the host.
    pub(crate) from: PathBuf,
}

/// What goes into an image.
pub(crate) struct Contents<'a> {
    pub(crate) init: &'a Path,
    pub(crate) files: &'a [GuestFile],
    pub(crate) modules: &'a Modules,
    pub(crate) argv: &'a [String],
    pub(crate) env: &'a [(String, String)],
}

/// Writes the image to `path`. The init program reads `/etc/run` (one argument per line), `/etc/environment`
/// (`KEY=value` per line) and `/etc/modules` (names in load order).
pub(crate) fn write(path: &Path, contents: &Contents<'_>) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut image = Image { archive: Archive::new(BufWriter::new(file)), folders: BTreeSet::new() };
    image
        .fill(contents)
        .with_context(|| format!("cannot write the VM image {}", path.display()))?;
    Ok(image.archive.finish()?)
}

struct Image<W> {
    archive: Archive<W>,
    folders: BTreeSet<String>,
}

impl<W: Write> Image<W> {
    fn fill(&mut self, contents: &Contents<'_>) -> Result<()> {
        // Without this device the kernel starts the init program with no output.
        self.parents("/dev/console")?;
        self.archive.device("/dev/console", 5, 1)?;
        self.copy("/init", contents.init)?;
        for file in contents.files {
            self.copy(&file.at, &file.from)?;
        }
        for (name, content) in &contents.modules.ordered {
            self.file(&format!("/lib/modules/{name}.ko"), 0o644, content)?;
        }
        let names = contents.modules.ordered.iter().map(|(name, _)| name.clone());
        self.lines("/etc/modules", names)?;
        self.lines("/etc/modules.missing", contents.modules.missing.iter().cloned())?;
        self.lines("/etc/run", contents.argv.iter().cloned())?;
        self.lines(
            "/etc/environment",
            contents.env.iter().map(|(key, value)| format!("{key}={value}")),
        )
    }

    fn copy(&mut self, at: &str, from: &Path) -> Result<()> {
        let content =
            std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.file(at, 0o755, &content)
    }

    fn lines(&mut self, at: &str, lines: impl Iterator<Item = String>) -> Result<()> {
        let mut text = String::new();
        for line in lines {
            ensure!(
                !line.contains('\n'),
                "a VM cannot be given an argument of several lines: {line:?}"
            );
            text += &line;
            text.push('\n');
        }
        self.file(at, 0o644, text.as_bytes())
    }

    fn file(&mut self, at: &str, permissions: u32, content: &[u8]) -> Result<()> {
        self.parents(at)?;
        Ok(self.archive.file(at, permissions, content)?)
    }

    fn parents(&mut self, at: &str) -> Result<()> {
        for (end, _) in at.match_indices('/').skip(1) {
            let folder = &at[..end];
            if self.folders.insert(folder.to_owned()) {
                self.archive.folder(folder)?;
            }
        }
        Ok(())
    }
}
