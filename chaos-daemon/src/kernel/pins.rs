//! Owns every path under bpffs: `<bpffs>/chaos/<build>/`, flat, one pin a file.
//!
//! The directory is named after the digest of the eBPF object, so that a daemon of another build never
//! takes maps of another shape for its own.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

use super::{KernelError, detach, object};

/// The pin directory of this build. A value proves that bpffs is mounted and the directory exists.
#[derive(Clone, Debug)]
pub struct Pins {
    dir: PathBuf,
    /// Nothing was there before.
    is_new: bool,
    _lock: Arc<Flock<File>>,
}

impl Pins {
    /// Makes the directory of this build under a bpffs, and removes those of other builds: with their
    /// pins go the hooks and rules that no daemon of this build could speak for.
    ///
    /// # Errors
    /// When `bpffs` is none, or cannot be written.
    pub fn open(bpffs: &Path) -> Result<Self, KernelError> {
        if !statfs(bpffs).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC) {
            return Err(KernelError::NoBpffs(bpffs.to_owned()));
        }
        let ours = bpffs.join("chaos");
        let dir = ours.join(object::DIGEST);
        let at = |what, path: &Path| {
            let path = path.to_owned();
            move |source| KernelError::Pin { what, path, source }
        };
        let is_new = !dir.exists();
        fs::create_dir_all(&dir).map_err(at("make", &dir))?;
        for entry in fs::read_dir(&ours).map_err(at("list", &ours))?.flatten() {
            let foreign = entry.path();
            if foreign != dir {
                lock(&foreign)?;
                tracing::warn!(pins = %foreign.display(), "removing the pins of another build");
                fs::remove_dir_all(&foreign).map_err(at("remove", &foreign))?;
            }
        }
        let lock = lock(&dir)?;
        Ok(Self { dir, is_new, _lock: Arc::new(lock) })
    }

    /// Removes what any build left under a bpffs. For when no daemon runs.
    ///
    /// # Errors
    /// When a pin cannot be removed.
    pub fn remove_all(bpffs: &Path) -> Result<(), KernelError> {
        let ours = bpffs.join("chaos");
        remove_dir(&ours)
    }

    /// Where an object of this name is pinned.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Names of the pins that begin with `prefix`.
    pub(super) fn names(&self, prefix: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with(prefix)).collect()
    }

    /// Detaches a pinned link and removes its pin. One that is gone is no error.
    pub(super) fn unpin(&self, name: &str) -> Result<(), KernelError> {
        let path = self.path(name);
        // Where this fails, removing the pin detaches it too, only later.
        if let Err(error) = detach::pinned(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(pin = name, %error, "not detached at once");
        }
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(KernelError::Pin { what: "remove pin", path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Whether everything of this name is still pinned.
    pub(super) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Makes the directory again, after somebody removed it.
    pub(super) fn restore(&self) -> Result<(), KernelError> {
        fs::create_dir_all(&self.dir).map_err(|source| KernelError::Pin {
            what: "make",
            path: self.dir.clone(),
            source,
        })
    }

    /// Removes the directory if this process made it, for when it comes to nothing.
    pub(super) fn abandon(&self) {
        if self.is_new
            && let Err(error) = self.remove()
        {
            tracing::warn!(%error, "pins are left behind");
        }
    }

    /// Removes the whole directory, and the parent if nothing else is in it.
    pub(super) fn remove(&self) -> Result<(), KernelError> {
        remove_dir(&self.dir)?;
        // Another instance may still be there: then the parent is not empty and stays.
        if let Some(parent) = self.dir.parent() {
            let _ = fs::remove_dir(parent);
        }
        Ok(())
    }
}

/// A daemon holds the lock of its directory as long as it lives.
fn lock(dir: &Path) -> Result<Flock<File>, KernelError> {
    let failed = |what| move |source| KernelError::Pin { what, path: dir.to_owned(), source };
    let handle = File::open(dir).map_err(failed("open"))?;
    match Flock::lock(handle, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, Errno::EWOULDBLOCK)) => Err(KernelError::PinsInUse(dir.to_owned())),
        Err((_, errno)) => Err(failed("lock")(errno.into())),
    }
}

fn remove_dir(dir: &Path) -> Result<(), KernelError> {
    match fs::remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(KernelError::Pin { what: "remove", path: dir.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
