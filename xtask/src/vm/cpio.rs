//! Writes the "newc" cpio archives that the kernel unpacks as its first root
//! (<https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>).

use std::io::{self, Write};

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive being written.
pub(crate) struct Archive<W> {
    out: W,
    inode: u32,
}

struct Entry<'a> {
    path: &'a str,
    mode: u32,
    device: (u32, u32),
    data: &'a [u8],
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    /// Adds a folder; its parents must have been added before.
    pub(crate) fn folder(&mut self, path: &str) -> io::Result<()> {
        self.entry(&Entry { path, mode: FOLDER | 0o755, device: (0, 0), data: &[] })
    }

    /// Adds a file with these permission bits.
    pub(crate) fn file(&mut self, path: &str, permissions: u32, data: &[u8]) -> io::Result<()> {
        self.entry(&Entry { path, mode: FILE | permissions, device: (0, 0), data })
    }

    /// Adds a character device.
    pub(crate) fn device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(&Entry {
            path,
            mode: CHARACTER_DEVICE | 0o600,
            device: (major, minor),
            data: &[],
        })
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.entry(&Entry { path: "TRAILER!!!", mode: 0, device: (0, 0), data: &[] })?;
        self.out.flush()
    }

    fn entry(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let length = |bytes: usize| {
            u32::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
        };
        self.inode += 1;
        let (major, minor) = entry.device;
        let path = entry.path.trim_start_matches('/');
        let fields = [
            self.inode,
            entry.mode,
            0,
            0,
            1,
            0,
            length(entry.data.len())?,
            0,
            0,
            major,
            minor,
            length(path.len() + 1)?,
            0,
        ];
        write!(self.out, "070701")?;
        for field in fields {
            write!(self.out, "{field:08X}")?;
        }
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        // The header has 110 bytes.
        self.pad(110 + path.len() + 1)?;
        self.out.write_all(entry.data)?;
        self.pad(entry.data.len())
    }

    fn pad(&mut self, written: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..written.next_multiple_of(4) - written])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.folder("/a").unwrap();
        archive.file("/a/b", 0o644, b"hello").unwrap();
        archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 3);
        assert!(text.contains("hello\0\0\x00070701"));
    }
}
