//! Programs of other people that tests take for victims, as Debian ships them: a disk for the VMs, made once.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::debian::Suite;
use crate::{cache, sh};

/// From this suite.
const SUITE: Suite = Suite::Trixie;

/// With all that they depend on. `base-files` brings the links `/bin`, `/lib` and `/lib64`.
const PACKAGES: &[&str] = &[
    // With c-ares, where `curl` has the C library for a resolver.
    "aria2",
    "base-files",
    "bind9-dnsutils",
    "busybox",
    "curl",
    "dnsmasq-base",
    // In Go, as is `websocketd`: a client and a server of HTTP.
    "hey",
    "iperf3",
    "iputils-ping",
    "libc-bin",
    "nftables",
    "python3-minimal",
    "redis-server",
    "redis-tools",
    "sqlite3",
    "unbound",
    "websocketd",
];

/// Names a disk after what is on it: with other packages it is another one. Where a later toolchain hashes in another
/// way, it is made anew.
fn name(packages: &[&str]) -> String {
    let mut hasher = DefaultHasher::new();
    packages.hash(&mut hasher);
    format!("{}-{}-packages-{:016x}.ext4", SUITE.name(), packages.len(), hasher.finish())
}

/// The disk's image, from the cache; it is made if it is not there.
pub(crate) fn disk() -> Result<PathBuf> {
    let folder = cache::folder("programs")?;
    let image = folder.join(name(PACKAGES));
    if !image.exists() {
        let _lock = cache::lock()?;
        // Another process may have made it while this one waited.
        if !image.exists() {
            make(&image, &folder)
                .context("cannot make the disk with the programs that tests use")?;
        }
    }
    Ok(image)
}

fn make(image: &Path, folder: &Path) -> Result<()> {
    sh::say(format_args!("fetching {} of {}", PACKAGES.join(", "), SUITE.name()));
    let scratch = tempfile::Builder::new().prefix(".make-").tempdir_in(folder)?;
    let root = SUITE.apt_root()?;
    root.update()?;
    let tree = scratch.path().join("tree");
    for package in root.download_all(PACKAGES)? {
        sh::run_quietly(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&tree))?;
    }
    // Where a VM mounts its own.
    for at in ["dev", "proc", "sys", "tmp", "run"] {
        let at = tree.join(at);
        std::fs::create_dir_all(&at).with_context(|| format!("cannot create {}", at.display()))?;
    }
    // Nobody reads them there.
    for useless in ["usr/share/doc", "usr/share/man", "usr/share/locale"] {
        drop(std::fs::remove_dir_all(tree.join(useless)));
    }
    let made = scratch.path().join("image");
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-m", "0", "-O", "^has_journal", "-d"]).arg(&tree).arg(&made).arg("192M");
    sh::run_quietly(&mut mkfs)?;
    remove_others(folder)?;
    std::fs::rename(&made, image).with_context(|| format!("cannot create {}", image.display()))
}

/// Removes the disks of other lists of packages. The caller holds the lock.
fn remove_others(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "ext4") {
            std::fs::remove_file(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{PACKAGES, name};

    #[test]
    fn other_packages_are_another_disk() {
        let (last, others) = PACKAGES.split_last().expect("there are packages");
        let changed = [others, &["another"]].concat();
        assert_ne!(name(PACKAGES), name(&changed), "another one for {last}");
        assert_ne!(name(PACKAGES), name(others));
        assert_eq!(name(PACKAGES), name(&[others, &[*last]].concat()));
    }

    /// File systems take names of 255 bytes.
    #[test]
    fn a_name_is_short_however_many_packages_there_are() {
        let many = name(&["a-package-of-many-letters"; 100]);
        assert!(many.starts_with("trixie-100-packages-") && many.len() < 64, "{many}");
    }
}
