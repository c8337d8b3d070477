//! One file for each live injection, on disk before its first effect.
//!
//! `injections/<id>.json` says that effects of an injection may be on the node. It is renamed to
//! `<id>.recovering` before the first of them is undone, and removed after the last. A file that
//! cannot be read is moved to `corrupt/` and never deleted; one whose name is not ours is let alone.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use chaos_common::spec::InjectionId;
use nix::fcntl::{Flock, FlockArg};

use super::{error::StorageError, record::Record};

const RECORD: &str = "json";
const RECOVERING: &str = "recovering";
const TEMPORARY: &str = "new";

/// The journal of one state directory. A value holds the directory's lock.
#[derive(Debug)]
pub(super) struct Journal {
    dir: PathBuf,
    /// For the directory's own fsync.
    handle: File,
    corrupt: PathBuf,
    _lock: Flock<File>,
}

/// Where entries are, below the state directory.
const ENTRIES: &str = "injections";

/// A journal file that was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) record: Record,
    /// Its undo had begun.
    pub(super) is_recovering: bool,
}

impl Journal {
    /// Opens a state directory, making it where it is missing.
    pub(super) fn open(state_dir: &Path) -> Result<Self, StorageError> {
        let dir = state_dir.join(ENTRIES);
        // Who does what to whom is for root to read.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(StorageError::at("make", &dir))?;
        let lock_path = state_dir.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(StorageError::at("open", &lock_path))?;
        // Whoever can open it can hold it.
        lock.set_permissions(fs::Permissions::from_mode(0o600))
            .map_err(StorageError::at("protect", &lock_path))?;
        let lock = match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                return Err(StorageError::InUse { dir: state_dir.to_owned() });
            }
            Err((_, errno)) => return Err(StorageError::at("lock", &lock_path)(errno.into())),
        };
        let handle = File::open(&dir).map_err(StorageError::at("open", &dir))?;
        let journal = Self { dir, handle, corrupt: state_dir.join("corrupt"), _lock: lock };
        journal.check_writable()?;
        Ok(journal)
    }

    /// A daemon that could not journal would refuse every injection; better to say so at the start.
    fn check_writable(&self) -> Result<(), StorageError> {
        let path = self.dir.join(format!("probe.{TEMPORARY}"));
        File::create(&path)
            .and_then(|_| fs::remove_file(&path))
            .map_err(StorageError::at("write", &path))
    }

    /// Reads every entry; what cannot be read is moved away and named in the log.
    pub(super) fn load(&self) -> Result<Vec<Entry>, StorageError> {
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.dir).map_err(StorageError::at("list", &self.dir))? {
            let path = file.map_err(StorageError::at("list", &self.dir))?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(RECORD | RECOVERING) => match read(&path) {
                    Ok(entry) => entries.push(entry),
                    Err(reason) => self.set_aside(&path, &reason),
                },
                // Written by a process that died before its first effect.
                Some(TEMPORARY) => drop(fs::remove_file(&path)),
                Some(_) | None => {
                    tracing::warn!(file = %path.display(), "not a journal file; left alone");
                }
            }
        }
        Ok(entries)
    }

    /// Puts an injection's record on disk, durably, in place of an earlier one. After a failure either may
    /// be there.
    pub(super) fn write(&self, record: &Record) -> Result<(), StorageError> {
        let temporary = self.path(&record.id, TEMPORARY);
        let path = self.path(&record.id, RECORD);
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            // Whole for whoever reads it while the machine is up. Flushed together then, which a journalling
            // file system does in one commit; what a power loss cuts off speaks of effects that it ended.
            fs::rename(&temporary, &path)?;
            file.sync_data()?;
            self.handle.sync_all()
        };
        write().map_err(|source| {
            // A full disk must not fill up with halves.
            let _ = fs::remove_file(&temporary);
            StorageError::at("write", &path)(source)
        })
    }

    /// Says that an injection's undo has begun. Not durable: after a power loss no effect is left.
    pub(super) fn mark_recovering(&self, id: &InjectionId) -> Result<(), StorageError> {
        let path = self.path(id, RECORD);
        absent_is_fine(fs::rename(&path, self.path(id, RECOVERING)))
            .map_err(StorageError::at("rename", &path))
    }

    /// Forgets an injection of which nothing is left.
    pub(super) fn remove(&self, id: &InjectionId) -> Result<(), StorageError> {
        for extension in [RECORD, RECOVERING] {
            let path = self.path(id, extension);
            absent_is_fine(fs::remove_file(&path)).map_err(StorageError::at("remove", &path))?;
        }
        Ok(())
    }

    /// How many entries name a boot, whether or not they can be understood.
    pub(super) fn count_of_boot(&self, boot_id: &str) -> Result<usize, StorageError> {
        let files = fs::read_dir(&self.dir).map_err(StorageError::at("list", &self.dir))?;
        let texts = files.flatten().filter_map(|file| read_regular(&file.path()).ok());
        let names = |text: &Vec<u8>| String::from_utf8_lossy(text).contains(boot_id);
        Ok(texts.filter(names).count())
    }

    /// Removes every entry, read or not. Returns the names of the injections.
    pub(super) fn remove_all(&self) -> Result<Vec<String>, StorageError> {
        let mut names = Vec::new();
        for file in fs::read_dir(&self.dir).map_err(StorageError::at("list", &self.dir))? {
            let path = file.map_err(StorageError::at("list", &self.dir))?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if matches!(extension, Some(RECORD | RECOVERING | TEMPORARY)) {
                absent_is_fine(fs::remove_file(&path))
                    .map_err(StorageError::at("remove", &path))?;
                names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
            }
        }
        Ok(names)
    }

    /// Moves an entry away that was read but makes no sense on this node.
    pub(super) fn set_aside_entry(&self, id: &InjectionId, reason: &str) {
        for extension in [RECORD, RECOVERING] {
            let path = self.path(id, extension);
            if path.exists() {
                self.set_aside(&path, reason);
            }
        }
    }

    fn path(&self, id: &InjectionId, extension: &str) -> PathBuf {
        self.dir.join(format!("{id}.{extension}"))
    }

    fn set_aside(&self, path: &Path, reason: &str) {
        let name = path.file_name().unwrap_or_default();
        let to = self.corrupt.join(name);
        let moved = fs::create_dir_all(&self.corrupt).and_then(|()| fs::rename(path, &to));
        match moved {
            Ok(()) => {
                tracing::error!(file = %path.display(), moved_to = %to.display(), reason, "corrupt journal file; its fault is swept");
            }
            Err(error) => {
                tracing::error!(file = %path.display(), reason, %error, "corrupt journal file could not be moved away; its fault is swept");
            }
        }
    }
}

/// What can be read of a journal that another process has.
pub(super) fn peek(state_dir: &Path) -> impl Iterator<Item = Record> {
    let files = fs::read_dir(state_dir.join(ENTRIES)).into_iter().flatten().flatten();
    files.filter_map(|file| Some(read(&file.path()).ok()?.record))
}

fn read_regular(path: &Path) -> Result<Vec<u8>, String> {
    /// Far above any record; a foreign file may be anything.
    const MOST: u64 = 1 << 20;
    // Neither a link nor a pipe, which would keep the daemon from starting.
    let stat = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    if !stat.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if stat.len() > MOST {
        return Err(format!("{} bytes", stat.len()));
    }
    fs::read(path).map_err(|error| error.to_string())
}

fn read(path: &Path) -> Result<Entry, String> {
    let text = read_regular(path)?;
    let record: Record = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if path.file_stem().and_then(|stem| stem.to_str()) != Some(record.id.as_str()) {
        return Err(format!("it speaks of injection {}", record.id));
    }
    let is_recovering = path.extension().is_some_and(|extension| extension == RECOVERING);
    Ok(Entry { record, is_recovering })
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{boot_clock::BootTime, kernel::RuleId};

    fn record(id: &str) -> Record {
        let text = "target: {pid: 1}\nfault: {networkLoss: {percent: 1}}";
        Record {
            id: id.parse().unwrap(),
            spec: chaos_common::spec::from_yaml(text).unwrap().remove(0),
            cgroup: "/a".parse().unwrap(),
            cgroup_id: 5,
            cgroup_level: 1,
            seed: 3,
            rule: RuleId(9),
            boot_id: "boot".into(),
            deadline: BootTime::from_nanos(77),
            others: Default::default(),
            created_at_ms: 1,
            requested_by: "test".into(),
        }
    }

    #[test]
    fn an_entry_lives_from_write_to_remove() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        journal.write(&record("a")).unwrap();
        let entry = |is_recovering| Entry { record: record("a"), is_recovering };
        assert_eq!(journal.load().unwrap(), [entry(false)]);
        journal.mark_recovering(&"a".parse().unwrap()).unwrap();
        journal.mark_recovering(&"a".parse().unwrap()).unwrap();
        assert_eq!(journal.load().unwrap(), [entry(true)]);
        journal.remove(&"a".parse().unwrap()).unwrap();
        journal.remove(&"a".parse().unwrap()).unwrap();
        assert!(journal.load().unwrap().is_empty());
    }

    #[test]
    fn two_daemons_do_not_share_a_state() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Journal::open(dir.path()).unwrap();
        let error = Journal::open(dir.path()).unwrap_err();
        assert!(matches!(error, StorageError::InUse { .. }), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_kept_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        journal.write(&record("good")).unwrap();
        let at = |name: &str| dir.path().join("injections").join(name);
        fs::write(at("empty.json"), "").unwrap();
        fs::write(at("cut.json"), "{\"id\":\"cut\"").unwrap();
        fs::copy(at("good.json"), at("other.json")).unwrap();
        fs::write(at("huge.json"), vec![b'x'; 2 << 20]).unwrap();
        nix::unistd::mkfifo(&at("pipe.json"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        fs::write(at("half.new"), "{").unwrap();
        fs::write(at("README"), "").unwrap();
        assert_eq!(journal.load().unwrap().len(), 1);
        for name in ["empty.json", "cut.json", "other.json", "huge.json", "pipe.json"] {
            assert!(
                !at(name).exists()
                    && fs::symlink_metadata(dir.path().join("corrupt").join(name)).is_ok(),
                "{name}"
            );
        }
        assert!(at("README").exists() && !at("half.new").exists());
    }
}
