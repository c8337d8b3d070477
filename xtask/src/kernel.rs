//! `cargo xtask kernel`: builds the test kernel `6.12-override` from the distribution's source and `kernel.config`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::setup::{self, Need};
use crate::vm::debian::Suite;
use crate::vm::matrix;
use crate::{cache, sh};

/// Debian 13's source package; its exact version is whatever the suite has now.
const SOURCE: &str = "linux-source-6.12";

/// How to build.
#[derive(Args)]
pub(crate) struct Options {
    /// Builds even if a kernel of this configuration is there.
    #[arg(long)]
    force: bool,
    /// Stops after the configuration: a quick try of a changed `kernel.config`.
    #[arg(long)]
    only_config: bool,
}

/// Builds the kernel into the cache, where the matrix finds it.
pub(crate) fn verb(options: &Options) -> Result<()> {
    let own = cache::folder("own")?;
    let image = own.join(format!("bzImage-{}", matrix::OVERRIDE));
    let stamp = own.join(format!("config-{}", matrix::OVERRIDE));
    let fragment = sh::workspace().join("xtask/kernel.config");
    let config = std::fs::read_to_string(&fragment)
        .with_context(|| format!("cannot read {}", fragment.display()))?;
    let is_built =
        image.exists() && std::fs::read_to_string(&stamp).is_ok_and(|built| built == config);
    if is_built && !options.force && !options.only_config {
        sh::say(format_args!("{} is already built from this configuration", image.display()));
        return Ok(());
    }
    setup::ensure(&[Need::Kernel])?;

    let scratch = tempfile::Builder::new().prefix("build-").tempdir_in(cache::folder("build")?)?;
    let tree = unpack(scratch.path())?;
    configure(&tree, &fragment, &config)?;
    if options.only_config {
        sh::say("the configuration holds");
        return Ok(());
    }
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    sh::say(format_args!(
        "building the kernel with {jobs} jobs; this takes 10 to 15 minutes on two cores"
    ));
    sh::run(make(&tree).args(["--silent", &format!("--jobs={jobs}"), "bzImage"]))?;
    // Copied under another name first: a kernel that is being written must not be booted.
    let partial = own.join(".partial");
    std::fs::copy(tree.join("arch/x86/boot/bzImage"), &partial)
        .with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::rename(&partial, &image)
        .with_context(|| format!("cannot write {}", image.display()))?;
    std::fs::write(&stamp, config).with_context(|| format!("cannot write {}", stamp.display()))?;
    sh::say(format_args!("built {}", image.display()));
    Ok(())
}

/// Fetches and unpacks the source; returns its top folder.
fn unpack(scratch: &Path) -> Result<PathBuf> {
    let root = Suite::Trixie.apt_root()?;
    sh::say(format_args!("fetching {SOURCE} of {}", Suite::Trixie.name()));
    root.update()?;
    root.download(&[SOURCE.to_owned()], scratch)?;
    let package = only_file(scratch, "deb")?;
    sh::run_quietly(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(scratch))?;
    std::fs::remove_file(&package)
        .with_context(|| format!("cannot remove {}", package.display()))?;
    let archive = only_file(&scratch.join("usr/src"), "xz")?;
    sh::say("unpacking the source");
    sh::run_quietly(
        Command::new("tar")
            .arg("--extract")
            .arg("--file")
            .arg(&archive)
            .arg("--directory")
            .arg(scratch),
    )?;
    let tree = scratch.join(SOURCE);
    ensure!(tree.join("Kbuild").exists(), "{} does not hold {SOURCE}/Kbuild", archive.display());
    Ok(tree)
}

fn configure(tree: &Path, fragment: &Path, config: &str) -> Result<()> {
    sh::run_quietly(make(tree).arg("tinyconfig"))?;
    let mut merge = Command::new("scripts/kconfig/merge_config.sh");
    sh::run_quietly(merge.args(["-m", ".config"]).arg(fragment).current_dir(tree))?;
    sh::run_quietly(make(tree).arg("olddefconfig"))?;
    let path = tree.join(".config");
    let result = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let dropped = dropped(config, &result);
    if !dropped.is_empty() {
        bail!(
            "the kernel's configuration dropped these lines of {}, add what they depend on:\n{}",
            fragment.display(),
            dropped.join("\n")
        );
    }
    Ok(())
}

/// The wanted lines that did not make it. An option that is off may also be unknown.
fn dropped<'a>(wanted: &'a str, result: &str) -> Vec<&'a str> {
    let holds = |line: &str| match line
        .strip_prefix("# CONFIG_")
        .and_then(|rest| rest.strip_suffix(" is not set"))
    {
        Some(off) => !result.lines().any(|line| {
            line.strip_prefix("CONFIG_")
                .and_then(|rest| rest.strip_prefix(off))
                .is_some_and(|rest| rest.starts_with('='))
        }),
        None => !line.starts_with("CONFIG_") || result.lines().any(|other| other == line),
    };
    wanted.lines().filter(|line| !holds(line)).collect()
}

fn make(tree: &Path) -> Command {
    let mut make = Command::new("make");
    make.current_dir(tree);
    make
}

fn only_file(folder: &Path, ending: &str) -> Result<PathBuf> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let found = paths.find(|path| path.extension().is_some_and(|other| other == ending));
    found.with_context(|| format!("{} holds no file that ends with .{ending}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::dropped;

    #[test]
    fn dropped_options_are_named() {
        let wanted = "# a comment\nCONFIG_A=y\nCONFIG_B=\"b\"\n# CONFIG_C is not set\n# CONFIG_D is not set\n";
        assert_eq!(
            dropped(wanted, "CONFIG_A=y\nCONFIG_C=y\nCONFIG_DD=y\n"),
            ["CONFIG_B=\"b\"", "# CONFIG_C is not set"]
        );
    }
}
