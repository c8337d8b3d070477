//! Owns every path under bpffs: `<bpffs>/chaos/<build>/`, flat, one pin a file.
//!
//! The directory is named after the digest of the eBPF object, so that a daemon of another build never
//! takes maps of another shape for its own.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use aya::maps::MapData;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statfs::{BPF_FS_MAGIC, statfs},
    unistd::geteuid,
};
use parking_lot::Mutex;

use super::{KernelError, error::innermost, link, object, redirected::Connected, tables::at};

/// The pin directory of this build, locked. Clones speak of the same one.
#[derive(Clone, Debug)]
pub struct Pins(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bpffs: PathBuf,
    dir: PathBuf,
    /// Nothing was there before.
    is_new: bool,
    /// Of the directory as it was when it was last seen to be ours.
    lock: Mutex<Flock<File>>,
}

impl Pins {
    /// Makes the directory of this build under a bpffs, and removes those of other builds: with their
    /// pins go the hooks and rules that no daemon of this build could speak for.
    ///
    /// # Errors
    /// When `bpffs` is none, or cannot be written, or another daemon has its pins there.
    pub fn open(bpffs: &Path) -> Result<Self, KernelError> {
        let ours = bpffs.join("chaos");
        let dir = ours.join(object::DIGEST);
        let is_new = !dir.exists();
        make(bpffs, &dir)?;
        let entries = fs::read_dir(&ours).map_err(failed("list", &ours))?;
        for foreign in entries.flatten().map(|entry| entry.path()).filter(|path| *path != dir) {
            let _lock = lock(&foreign)?;
            tracing::warn!(pins = %foreign.display(), "removing the pins of another build");
            remove_dir(&foreign)?;
        }
        let lock = Mutex::new(lock(&dir)?);
        Ok(Self(Arc::new(Inner { bpffs: bpffs.to_owned(), dir, is_new, lock })))
    }

    /// Removes what any build left under a bpffs, also beside a daemon that hangs. Says how many pins that
    /// were.
    ///
    /// # Errors
    /// When `bpffs` is none, or a pin cannot be removed; what could be, was.
    pub fn remove_all(bpffs: &Path) -> Result<usize, KernelError> {
        check_bpffs(bpffs)?;
        let ours = bpffs.join("chaos");
        let builds = match fs::read_dir(&ours) {
            Ok(builds) => builds,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(failed("list", &ours)(error)),
        };
        // Each is tried before any failure is told.
        let removed: Vec<_> = builds.flatten().map(|build| remove_dir(&build.path())).collect();
        let counts = removed.into_iter().collect::<Result<Vec<_>, _>>()?;
        absent_is_fine(fs::remove_dir(&ours)).map_err(failed("remove", &ours))?;
        Ok(counts.into_iter().sum())
    }

    /// Where an object of this name is pinned.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.dir.join(name)
    }

    /// Names of the pins that begin with `prefix`.
    pub(super) fn names(&self, prefix: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.0.dir) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with(prefix)).collect()
    }

    /// Handles of maps that are pinned under names.
    ///
    /// # Errors
    /// When one is not.
    pub(super) fn maps<const N: usize>(
        &self,
        names: [String; N],
    ) -> Result<Vec<(String, MapData)>, KernelError> {
        let handle = |name: String| {
            let map = MapData::from_pin(self.path(&name)).map_err(at("open a map"))?;
            Ok((name, map))
        };
        names.into_iter().map(handle).collect()
    }

    /// Pins the maps whose pins somebody removed.
    ///
    /// # Errors
    /// When bpffs cannot be written.
    pub(super) fn restore_maps(&self, maps: &[(String, MapData)]) -> Result<(), KernelError> {
        for (name, map) in maps.iter().filter(|(name, _)| !self.has(name)) {
            let path = self.path(name);
            map.pin(&path).map_err(|error| KernelError::Pin {
                what: "pin",
                path,
                source: io::Error::other(innermost(&error)),
            })?;
        }
        Ok(())
    }

    /// Detaches a pinned link and removes its pin. One that is gone is no error.
    pub(super) fn unpin(&self, name: &str) -> Result<(), KernelError> {
        unpin(&self.path(name))
    }

    /// Whether something is pinned under this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Makes the directory again, and locks it, if somebody removed it.
    ///
    /// # Errors
    /// When it cannot be made, or another daemon was quicker.
    pub(super) fn restore(&self) -> Result<(), KernelError> {
        let Inner { bpffs, dir, lock: held, .. } = &*self.0;
        let mut held = held.lock();
        let locked = held.metadata().map_err(failed("look at", dir))?.ino();
        if fs::metadata(dir).is_ok_and(|there| there.ino() == locked) {
            return Ok(());
        }
        make(bpffs, dir)?;
        *held = lock(dir)?;
        Ok(())
    }

    /// Removes the directory if this process made it, for when it comes to nothing.
    pub(super) fn abandon(&self) {
        if self.0.is_new
            && let Err(error) = self.remove()
        {
            tracing::warn!(%error, "pins are left behind");
        }
    }

    /// Removes the whole directory, and the parent if nothing else is in it.
    pub(super) fn remove(&self) -> Result<(), KernelError> {
        remove_dir(&self.0.dir)?;
        // Another instance may still be there: then the parent is not empty and stays.
        if let Some(parent) = self.0.dir.parent() {
            let _ = fs::remove_dir(parent);
        }
        Ok(())
    }
}

/// Makes a directory for root alone, and what is missing above it.
fn make(bpffs: &Path, dir: &Path) -> Result<(), KernelError> {
    check_bpffs(bpffs)?;
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir).map_err(failed("make", dir))?;
    for made in dir.ancestors().take_while(|above| *above != bpffs) {
        // On a bpffs that everybody may write to, somebody may have been here before us.
        let stat = fs::symlink_metadata(made).map_err(failed("look at", made))?;
        if !stat.is_dir() || stat.uid() != geteuid().as_raw() {
            return Err(KernelError::ForeignPins(made.to_owned()));
        }
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(made, mode).map_err(failed("protect", made))?;
    }
    Ok(())
}

fn check_bpffs(path: &Path) -> Result<(), KernelError> {
    let is_bpffs = statfs(path).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC);
    if is_bpffs { Ok(()) } else { Err(KernelError::NoBpffs(path.to_owned())) }
}

/// A daemon holds the lock of its directory as long as it lives.
fn lock(dir: &Path) -> Result<Flock<File>, KernelError> {
    let handle = File::open(dir).map_err(failed("open", dir))?;
    match Flock::lock(handle, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, Errno::EWOULDBLOCK)) => Err(KernelError::PinsInUse(dir.to_owned())),
        Err((_, errno)) => Err(failed("lock", dir)(errno.into())),
    }
}

/// Removes a directory of pins, detaching what is pinned there. Says how many there were; one that is gone is
/// no error.
/// Removes the pins of a daemon, and ends what is connected elsewhere once nobody connects more there. Says how many they
/// were.
fn remove_dir(dir: &Path) -> Result<usize, KernelError> {
    let connected = Connected::pinned_in(dir);
    let pins = match fs::read_dir(dir) {
        Ok(pins) => pins,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed("list", dir)(error)),
    };
    let removed: Vec<_> = pins.flatten().map(|pin| unpin(&pin.path())).collect();
    if let Some(connected) = connected {
        connected.end();
    }
    let removed = removed.into_iter().collect::<Result<Vec<_>, _>>()?;
    absent_is_fine(fs::remove_dir(dir)).map_err(failed("remove", dir))?;
    Ok(removed.len())
}

fn unpin(path: &Path) -> Result<(), KernelError> {
    // Where this fails, as for a map, removing the pin is all there is to do.
    if let Err(error) = link::detach_pinned(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::trace!(pin = %path.display(), %error, "not detached at once");
    }
    absent_is_fine(fs::remove_file(path)).map_err(failed("remove pin", path))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KernelError + use<> {
    let path = path.to_owned();
    move |source| KernelError::Pin { what, path, source }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
