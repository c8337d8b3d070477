//! The kernels that tests run under, and how a user names them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::debian::{self, Suite};
use super::release::Release;
use crate::cache;

/// The kernel of our own with `bpf_override_return`, which no Debian kernel has.
pub(crate) const OVERRIDE: &str = "6.12-override";

/// The first long-lived line with tcx.
const FIRST_WITH_TCX: &str = "6.12";

/// A kernel by name, not fetched yet.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// What users call it: `6.12`, `6.12-override`.
    pub(crate) name: String,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Debian {
        suite: Suite,
        release: Release,
    },
    Image(PathBuf),
    /// Known by name, but not to be had, and why.
    Missing(String),
}

/// A kernel ready to boot.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) name: String,
    /// The exact version, for reports.
    pub(crate) release: String,
    pub(crate) image: PathBuf,
    /// `lib/modules/<release>`; `None` when all is built in.
    pub(crate) modules: Option<PathBuf>,
}

/// The names of those on which also everything is tested that the daemon does by itself, whatever the kernel: the
/// oldest, and one with tcx.
pub(crate) fn milestones(kernels: &[Prepared]) -> Vec<String> {
    let oldest = kernels.iter().find(|kernel| kernel.modules.is_some());
    let with_tcx = kernels.iter().find(|kernel| kernel.name == FIRST_WITH_TCX);
    [oldest, with_tcx].into_iter().flatten().map(|kernel| kernel.name.clone()).collect()
}

/// The names of those on which the network family is tested: what a stable release was published with, and of those
/// that move on the newest. All of them are Debian's.
pub(crate) fn networked(kernels: &[Prepared]) -> Vec<String> {
    let mut stock: Vec<&Prepared> = kernels.iter().filter(|one| one.modules.is_some()).collect();
    let newest = stock.pop();
    stock.retain(|kernel| Suite::ALL.iter().any(|suite| suite.own_line() == Some(&kernel.name)));
    stock.into_iter().chain(newest).map(|kernel| kernel.name.clone()).collect()
}

/// The names of one for each way in which calls can be made to fail: by what the kernel asks its security modules, where
/// the calls begin (Debian's from 7.1 on), and by our own kernel's `bpf_override_return`.
pub(crate) fn ways_of_calls(kernels: &[Prepared]) -> Vec<String> {
    let stock: Vec<&Prepared> = kernels.iter().filter(|one| one.modules.is_some()).collect();
    let own = kernels.iter().find(|kernel| kernel.name == OVERRIDE);
    let ends = stock.first().into_iter().chain(stock.iter().skip(1).next_back());
    ends.copied().chain(own).map(|kernel| kernel.name.clone()).collect()
}

impl Kernel {
    /// Fetches what is not in the cache.
    pub(crate) fn prepare(&self) -> Result<Prepared> {
        let name = self.name.clone();
        match &self.source {
            Source::Debian { suite, release } => {
                let unpacked = debian::fetch(*suite, release)?;
                Ok(Prepared {
                    name,
                    release: release.to_string(),
                    image: unpacked.image,
                    modules: Some(unpacked.modules),
                })
            }
            Source::Image(path) => Ok(Prepared {
                release: path.display().to_string(),
                name,
                image: path.clone(),
                modules: None,
            }),
            Source::Missing(reason) => bail!("{reason}"),
        }
    }

    /// Where it comes from, for lists.
    pub(crate) fn describe(&self) -> String {
        match &self.source {
            Source::Debian { suite, release } => format!("{release} of Debian {}", suite.name()),
            Source::Image(path) => path.display().to_string(),
            Source::Missing(reason) => format!("not to be had: {reason}"),
        }
    }

    fn missing(name: &str, reason: String) -> Self {
        Self { name: name.to_owned(), source: Source::Missing(reason) }
    }

    fn debian(suite: Suite, release: Release) -> Self {
        Self { name: release.line(), source: Source::Debian { suite, release } }
    }
}

/// Selects kernels: all of the matrix when no prefix is given, else those whose name begins with one of the prefixes,
/// with every line that the suites offer to choose from.
pub(crate) fn select(prefixes: &[String]) -> Result<Vec<Kernel>> {
    let matrix = matrix()?;
    if prefixes.is_empty() {
        return Ok(matrix);
    }
    let mut selected: Vec<Kernel> = Vec::new();
    for prefix in prefixes {
        let matching = |kernels: &[Kernel]| -> Vec<Kernel> {
            kernels.iter().filter(|kernel| is_prefix(prefix, &kernel.name)).cloned().collect()
        };
        let mut found = matching(&matrix);
        if found.is_empty() {
            found = matching(&others(&matrix));
        }
        if found.is_empty() {
            let names: Vec<String> =
                matrix.iter().chain(&others(&matrix)).map(|kernel| kernel.name.clone()).collect();
            bail!("no kernel matches `{prefix}`; there are {}", names.join(", "));
        }
        found.retain(|kernel| !selected.iter().any(|other| other.name == kernel.name));
        selected.append(&mut found);
    }
    Ok(selected)
}

/// `6.1` selects `6.1` but not `6.12`; `6.12` selects `6.12` and `6.12-override`.
fn is_prefix(prefix: &str, name: &str) -> bool {
    let rest = name.strip_prefix(prefix.trim_end_matches(['.', '-']));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
}

/// The default matrix, oldest first: one kernel per suite, and our own.
fn matrix() -> Result<Vec<Kernel>> {
    let mut kernels: Vec<Kernel> = Vec::new();
    for suite in Suite::ALL {
        let kernel = match suite.releases() {
            Ok(releases) => newest(suite, releases),
            Err(error) => {
                Kernel::missing(suite.own_line().unwrap_or(suite.name()), format!("{error:#}"))
            }
        };
        kernels.retain(|other| other.name != kernel.name);
        kernels.push(kernel);
    }
    kernels.sort_by_key(|kernel| match &kernel.source {
        Source::Debian { release, .. } => Some(release.clone()),
        Source::Image(_) | Source::Missing(_) => None,
    });
    let own = own_images()?;
    if !own.iter().any(|kernel| kernel.name == OVERRIDE) {
        let reason = "not built yet: run `cargo xtask kernel`, or set CHAOS_KERNELS to a folder that holds bzImage-6.12-override";
        kernels.push(Kernel::missing(OVERRIDE, reason.to_owned()));
    }
    kernels.extend(own);
    Ok(kernels)
}

fn newest(suite: Suite, releases: Vec<Release>) -> Kernel {
    let fits = |release: &Release| suite.own_line().is_none_or(|line| release.line() == line);
    match releases.into_iter().rfind(fits) {
        Some(release) => Kernel::debian(suite, release),
        None => {
            let line = suite.own_line().unwrap_or(suite.name());
            Kernel::missing(line, format!("{} offers no cloud kernel {line}", suite.name()))
        }
    }
}

/// What the suites offer beyond the matrix, for example `6.18` in the backports.
pub(crate) fn others(matrix: &[Kernel]) -> Vec<Kernel> {
    let mut others: Vec<Kernel> = Vec::new();
    for suite in Suite::ALL {
        for release in suite.releases().unwrap_or_default() {
            let is_new = |kernel: &Kernel| kernel.name != release.line();
            if matrix.iter().all(is_new) && others.iter().all(is_new) {
                others.push(Kernel::debian(suite, release));
            }
        }
    }
    others
}

/// Ready images `bzImage-<name>`: from `CHAOS_KERNELS`, then those that `cargo xtask kernel` built.
fn own_images() -> Result<Vec<Kernel>> {
    let given =
        std::env::var_os("CHAOS_KERNELS").filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut kernels: Vec<Kernel> = Vec::new();
    if let Some(folder) = given {
        kernels.extend(
            images_in(&folder)
                .with_context(|| format!("cannot read CHAOS_KERNELS ({})", folder.display()))?,
        );
    }
    for built in images_in(&cache::folder("own")?)? {
        if !kernels.iter().any(|kernel| kernel.name == built.name) {
            kernels.push(built);
        }
    }
    Ok(kernels)
}

fn images_in(folder: &Path) -> Result<Vec<Kernel>> {
    let mut kernels = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(name) =
            entry.file_name().to_str().and_then(|name| name.strip_prefix("bzImage-"))
        {
            kernels.push(Kernel { name: name.to_owned(), source: Source::Image(entry.path()) });
        }
    }
    kernels.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(kernels)
}

#[cfg(test)]
mod tests {
    use super::{OVERRIDE, Prepared, is_prefix, milestones, networked, ways_of_calls};

    /// As if they were fetched.
    fn prepared(names: &[&str]) -> Vec<Prepared> {
        let of = |name: &&str| Prepared {
            name: (*name).to_owned(),
            release: (*name).to_owned(),
            image: "vmlinuz".into(),
            modules: (*name != OVERRIDE).then(|| "modules".into()),
        };
        names.iter().map(of).collect()
    }

    #[test]
    fn stable_releases_and_the_newest_kernel_have_the_network() {
        let all = prepared(&["5.10", "6.1", "6.12", "7.2", "7.3", OVERRIDE]);
        assert_eq!(networked(&all), ["5.10", "6.1", "6.12", "7.3"]);
        assert_eq!(networked(&all[..4]), ["5.10", "6.1", "6.12", "7.2"]);
        assert_eq!(networked(&all[..3]), ["5.10", "6.1", "6.12"]);
        assert!(networked(&all[5..]).is_empty());
    }

    #[test]
    fn calls_have_the_oldest_the_newest_and_our_own() {
        let all = prepared(&["5.10", "6.1", "6.12", "7.2", "7.3", OVERRIDE]);
        assert_eq!(ways_of_calls(&all), ["5.10", "7.3", OVERRIDE]);
        assert_eq!(ways_of_calls(&all[..1]), ["5.10"]);
        assert_eq!(ways_of_calls(&all[5..]), [OVERRIDE]);
    }

    #[test]
    fn milestones_are_the_oldest_and_one_with_tcx() {
        let all = prepared(&["5.10", "6.1", "6.12", "7.2", "7.3", OVERRIDE]);
        assert_eq!(milestones(&all), ["5.10", "6.12"]);
    }

    #[test]
    fn a_prefix_ends_at_a_component() {
        assert!(is_prefix("6.12", "6.12"));
        assert!(is_prefix("6.12", "6.12-override"));
        assert!(is_prefix("6", "6.1"));
        assert!(!is_prefix("6.1", "6.12"));
        assert!(!is_prefix("6.12-override", "6.12"));
    }
}
