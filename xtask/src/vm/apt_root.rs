//! A private apt root per suite: apt itself fetches and verifies, the system's own package state is never touched.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::mirror::Mirror;
use crate::sh;

/// apt, set up for one suite and nothing else.
pub(crate) struct AptRoot {
    folder: PathBuf,
}

impl AptRoot {
    /// Writes the sources of `suite` (and its security suite) under `folder`.
    pub(crate) fn new(folder: PathBuf, suite: &str, mirror: &Mirror) -> Result<Self> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            std::fs::create_dir_all(&part)
                .with_context(|| format!("cannot create {}", part.display()))?;
        }
        let line = |kind: &str, uri: &str, suite: &str, components: &str| {
            format!("{kind} [signed-by={}] {uri} {suite} {components}\n", mirror.keyring.display())
        };
        let mut sources = line("deb", &mirror.main, suite, "main");
        if let Some(security) = mirror.security.as_ref().filter(|_| has_security_suite(suite)) {
            sources += &line("deb", security, &format!("{suite}-security"), "main");
        }
        for (name, text) in [("sources.list", sources), ("apt.conf", settings(&folder))] {
            let path = folder.join(name);
            std::fs::write(&path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Self { folder })
    }

    /// Fetches the package indexes.
    pub(crate) fn update(&self) -> Result<()> {
        sh::run_quietly(self.apt("apt-get").args(["update", "--quiet=2", "--error-on=any"]))
    }

    /// The names of all packages that begin with `prefix`.
    pub(crate) fn package_names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = sh::capture_text(self.apt("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Downloads packages into `folder`.
    pub(crate) fn download(&self, packages: &[String], folder: &Path) -> Result<()> {
        sh::run_quietly(
            self.apt("apt-get").args(["download", "--quiet=2"]).args(packages).current_dir(folder),
        )
    }

    /// Downloads packages and all that they depend on. Returns the files.
    pub(crate) fn download_all(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let mut install = self.apt("apt-get");
        install.args([
            "install",
            "--download-only",
            "--yes",
            "--quiet=2",
            "--no-install-recommends",
        ]);
        // Others of the cache would be taken for theirs.
        sh::run_quietly(self.apt("apt-get").arg("clean"))?;
        sh::run_quietly(install.args(packages))?;
        let archives = self.folder.join("cache/archives");
        let files = std::fs::read_dir(&archives)
            .with_context(|| format!("cannot read {}", archives.display()))?;
        let mut found: Vec<PathBuf> = files.flatten().map(|entry| entry.path()).collect();
        found.retain(|path| path.extension().is_some_and(|ending| ending == "deb"));
        Ok(found)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").arg("--config-file").arg(self.folder.join("apt.conf"));
        command
    }
}

/// apt reads this after the system's own settings, so that it keeps those for the network.
fn settings(folder: &Path) -> String {
    let at = |part: &str| folder.join(part).display().to_string();
    let settings = [
        ("Dir::Etc::SourceList", at("sources.list")),
        ("Dir::Etc::SourceParts", "-".to_owned()),
        ("Dir::State", at("state")),
        ("Dir::State::status", "/dev/null".to_owned()),
        ("Dir::Cache", at("cache")),
        ("APT::Architecture", "amd64".to_owned()),
        ("APT::Architectures", "amd64".to_owned()),
        // The cache lies in the user's home, where apt's own unprivileged user cannot write.
        ("APT::Sandbox::User", "root".to_owned()),
        ("Acquire::Languages", "none".to_owned()),
        ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".to_owned()),
        ("Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled", "false".to_owned()),
        ("Acquire::Retries", "3".to_owned()),
    ];
    settings.iter().map(|(key, value)| format!("{key} \"{value}\";\n")).collect()
}

/// Backports and sid have no security suite of their own.
fn has_security_suite(suite: &str) -> bool {
    !suite.contains('-') && suite != "sid"
}
