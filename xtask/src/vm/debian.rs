//! Debian's cloud kernels: which a suite offers now, and fetching one into the cache.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};

use super::apt_root::AptRoot;
use super::mirror;
use super::release::{self, Release};
use crate::{cache, sh};

/// How long a look at a suite's index counts as fresh.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// How the folders of kernels that are being fetched begin.
const SCRATCH: &str = ".fetch-";

/// A Debian suite that we take kernels from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    Bullseye,
    Bookworm,
    Trixie,
    TrixieBackports,
    Sid,
}

impl Suite {
    pub(crate) const ALL: [Self; 5] =
        [Self::Bullseye, Self::Bookworm, Self::Trixie, Self::TrixieBackports, Self::Sid];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::TrixieBackports => "trixie-backports",
            Self::Sid => "sid",
        }
    }

    /// The line a stable release was published with; suites that move on have none.
    pub(crate) fn own_line(self) -> Option<&'static str> {
        match self {
            Self::Bullseye => Some("5.10"),
            Self::Bookworm => Some("6.1"),
            Self::Trixie => Some("6.12"),
            Self::TrixieBackports | Self::Sid => None,
        }
    }

    /// The newest release of each line in this suite, oldest line first. Works from the cache when it
    /// is at most a day old, or when the archive cannot be reached.
    pub(crate) fn releases(self) -> Result<Vec<Release>> {
        let known = cache::folder("suites")?.join(self.name());
        if age(&known).is_none_or(|age| age > FRESH) {
            self.refresh(&known)?;
        }
        let text = std::fs::read_to_string(&known)
            .with_context(|| format!("cannot read {}", known.display()))?;
        Ok(text.lines().filter_map(Release::parse).collect())
    }

    fn refresh(self, known: &Path) -> Result<()> {
        let _lock = cache::lock()?;
        match self.look_up() {
            Ok(releases) => {
                let lines: String = releases.iter().map(|release| format!("{release}\n")).collect();
                std::fs::write(known, lines)
                    .with_context(|| format!("cannot write {}", known.display()))?;
                remove_superseded(&releases)
            }
            Err(error) if known.exists() => {
                sh::say(format_args!("{}: using the kernels known before: {error:#}", self.name()));
                Ok(())
            }
            Err(error) => Err(error)
                .with_context(|| format!("cannot read the package index of {}", self.name())),
        }
    }

    fn look_up(self) -> Result<Vec<Release>> {
        sh::say(format_args!("reading the package index of {}", self.name()));
        let root = self.apt_root()?;
        root.update()?;
        let names = root.package_names("linux-")?;
        let releases = release::newest_of_each_line(complete(&names));
        if releases.is_empty() {
            bail!("the suite offers no linux-image-*-cloud-amd64");
        }
        Ok(releases)
    }

    pub(crate) fn apt_root(self) -> Result<AptRoot> {
        AptRoot::new(cache::folder("apt")?.join(self.name()), self.name(), &mirror::find()?)
    }
}

/// The releases with all their packages. From 6.19 on the image package only depends on others, and an archive may
/// have dropped the modules of an old line before the rest.
fn complete(names: &[String]) -> Vec<Release> {
    let names: HashSet<&str> = names.iter().map(String::as_str).collect();
    let has = |part: &str, release: &Release| {
        names.contains(format!("{part}-{release}-cloud-amd64").as_str())
    };
    let of = |name: &&str| Release::of_package(name);
    let is_complete =
        |release: &Release| !has("linux-binary", release) || has("linux-modules", release);
    names.iter().filter_map(of).filter(is_complete).collect()
}

fn age(path: &Path) -> Option<Duration> {
    let changed = std::fs::metadata(path).and_then(|data| data.modified()).ok()?;
    Some(SystemTime::now().duration_since(changed).unwrap_or_default())
}

/// An unpacked kernel.
pub(crate) struct Unpacked {
    /// The bootable image.
    pub(crate) image: PathBuf,
    /// `lib/modules/<release>`.
    pub(crate) modules: PathBuf,
}

/// Returns the unpacked kernel from the cache, after fetching it if it is not there.
pub(crate) fn fetch(suite: Suite, release: &Release) -> Result<Unpacked> {
    let kernels = cache::folder("kernels")?;
    let folder = kernels.join(release.to_string());
    if !folder.exists() {
        let _lock = cache::lock()?;
        // Another process may have fetched it while this one waited.
        if !folder.exists() {
            fetch_into(&folder, suite, release)?;
        }
    }
    locate(&folder, release)
}

fn fetch_into(folder: &Path, suite: Suite, release: &Release) -> Result<()> {
    sh::say(format_args!("fetching kernel {release} of {}", suite.name()));
    let scratch = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(cache::folder("kernels")?)?;
    let root = suite.apt_root()?;
    let packages = packages_of(&root, release)?;
    root.download(&packages, scratch.path()).with_context(|| {
        let known = cache::folder("suites").unwrap_or_default();
        let known = known.join(suite.name());
        format!(
            "cannot fetch kernel {release}; if the archive has dropped it, remove {} to look again",
            known.display()
        )
    })?;
    unpack(scratch.path())?;
    std::fs::rename(scratch.keep(), folder)
        .with_context(|| format!("cannot create {}", folder.display()))
}

/// Up to 6.18 all is in the image package; later its parts are packages of their own, and the image package only depends on them.
fn packages_of(root: &AptRoot, release: &Release) -> Result<Vec<String>> {
    let mut packages = Vec::new();
    for part in ["linux-image", "linux-binary", "linux-modules", "linux-base"] {
        let name = format!("{part}-{release}-cloud-amd64");
        packages.extend(root.package_names(&name)?.into_iter().filter(|found| *found == name));
    }
    if packages.is_empty() {
        bail!("no package of the suite holds kernel {release}");
    }
    Ok(packages)
}

fn unpack(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let package = entry?.path();
        if package.extension().is_some_and(|ending| ending == "deb") {
            sh::run_quietly(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(folder))?;
            std::fs::remove_file(&package)?;
        }
    }
    Ok(())
}

fn locate(folder: &Path, release: &Release) -> Result<Unpacked> {
    let full = format!("{release}-cloud-amd64");
    let first = |candidates: Vec<PathBuf>| candidates.into_iter().find(|path| path.exists());
    let modules = first(vec![
        folder.join("lib/modules").join(&full),
        folder.join("usr/lib/modules").join(&full),
    ]);
    let image = first(vec![
        folder.join(format!("boot/vmlinuz-{full}")),
        folder.join("usr/lib/modules").join(&full).join("vmlinuz"),
    ]);
    match (image, modules) {
        (Some(image), Some(modules)) => Ok(Unpacked { image, modules }),
        (image, _) => bail!(
            "the packages of kernel {release} hold no {}: remove {} to fetch them again",
            if image.is_none() { "vmlinuz" } else { "modules" },
            folder.display()
        ),
    }
}

/// Removes cached kernels that a newer release of their line has replaced, and what an interrupted fetch left.
/// The caller holds the lock.
fn remove_superseded(current: &[Release]) -> Result<()> {
    for entry in std::fs::read_dir(cache::folder("kernels")?)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let replaced = || {
            Release::parse(&name)
                .is_some_and(|cached| current.iter().any(|new| new.replaces(&cached)))
        };
        if name.starts_with(SCRATCH) || replaced() {
            let path = entry.path();
            std::fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::complete;

    #[test]
    fn a_release_without_its_modules_is_left_out() {
        let names = [
            "linux-image-6.18.15+deb13-cloud-amd64",
            "linux-image-6.19.14+deb13-cloud-amd64",
            "linux-binary-6.19.14+deb13-cloud-amd64",
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-binary-7.3.4+deb13-cloud-amd64",
            "linux-modules-7.3.4+deb13-cloud-amd64",
        ];
        let mut lines: Vec<String> =
            complete(&names.map(str::to_owned)).iter().map(super::Release::line).collect();
        lines.sort();
        assert_eq!(lines, ["6.18", "7.3"]);
    }
}
