//! Finds the Debian mirror that this machine itself is set up to use. No mirror is named in the code.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

const OVERRIDE: &str = "CHAOS_DEBIAN_MIRROR";

/// Where Debian packages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// The archive's address.
    pub(crate) main: String,
    /// The security archive's address, if one is known.
    pub(crate) security: Option<String>,
    /// The keys that sign both.
    pub(crate) keyring: PathBuf,
}

/// Reads the mirror from `CHAOS_DEBIAN_MIRROR`, else from the system's own apt sources.
pub(crate) fn find() -> Result<Mirror> {
    let keyring = ["gpg", "pgp"]
        .map(|ending| PathBuf::from(format!("/usr/share/keyrings/debian-archive-keyring.{ending}")))
        .into_iter()
        .find(|path| path.exists())
        .context("the keys of Debian's archive are not on this machine: install the package debian-archive-keyring")?;
    if let Some(main) = std::env::var(OVERRIDE).ok().filter(|value| !value.is_empty()) {
        let main = main.trim_end_matches('/').to_owned();
        return Ok(Mirror { security: Some(format!("{main}-security")), main, keyring });
    }
    let archives: Vec<Archive> = source_files().iter().flat_map(|path| read(path)).collect();
    match choose(&archives) {
        Some((main, security)) => Ok(Mirror { main, security, keyring }),
        None => bail!(
            "this machine's apt sources name no Debian archive to fetch the test kernels from: \
             set {OVERRIDE} to a Debian mirror's address (the folder that holds `dists/`)"
        ),
    }
}

/// One line of apt's sources: an address and its suites.
#[derive(Debug, PartialEq, Eq)]
struct Archive {
    uri: String,
    suites: Vec<String>,
}

fn choose(archives: &[Archive]) -> Option<(String, Option<String>)> {
    const RELEASES: &[&str] = &[
        "bullseye",
        "bookworm",
        "trixie",
        "forky",
        "sid",
        "oldoldstable",
        "oldstable",
        "stable",
        "testing",
        "unstable",
    ];
    let offers = |wanted: fn(&str) -> bool| {
        let found =
            archives.iter().find(|archive| archive.suites.iter().any(|suite| wanted(suite)));
        found.map(|archive| archive.uri.trim_end_matches('/').to_owned())
    };
    let main = offers(|suite| RELEASES.contains(&suite))?;
    let security = offers(|suite| {
        suite.strip_suffix("-security").is_some_and(|release| RELEASES.contains(&release))
    });
    Some((main, security))
}

fn source_files() -> Vec<PathBuf> {
    let folder = std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.path()).collect();
    files.sort();
    files.insert(0, PathBuf::from("/etc/apt/sources.list"));
    files
}

fn read(path: &Path) -> Vec<Archive> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    if path.extension().is_some_and(|ending| ending == "sources") {
        deb822(&text)
    } else {
        one_line(&text)
    }
}

/// `deb [options] URI SUITE COMPONENT…`
fn one_line(text: &str) -> Vec<Archive> {
    let entry = |line: &str| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = if rest.starts_with('[') { rest.split_once(']')?.1 } else { rest };
        let mut words = rest.split_whitespace();
        let uri = words.next()?.to_owned();
        Some(Archive { uri, suites: vec![words.next()?.to_owned()] })
    };
    text.lines().filter_map(entry).collect()
}

/// Stanzas of `Key: value` with `URIs` and `Suites`.
fn deb822(text: &str) -> Vec<Archive> {
    let stanza = |stanza: &str| {
        let field =
            |key: &str| stanza.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        if field("Enabled:").is_some_and(|value| value.eq_ignore_ascii_case("no")) {
            return Vec::new();
        }
        let suites: Vec<String> =
            field("Suites:").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        let uris = field("URIs:").unwrap_or_default().split_whitespace();
        uris.map(|uri| Archive { uri: uri.to_owned(), suites: suites.clone() }).collect()
    };
    text.split("\n\n").flat_map(stanza).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let new = "Types: deb\n# a comment\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\n\n\
                   Types: deb\nURIs: http://mirror.test/debian-security/\nSuites: bookworm-security\n";
        let old = "# deb http://mirror.test/off sid main\n\
                   deb [signed-by=/a b] http://mirror.test/debian bookworm main\n\
                   deb http://mirror.test/debian-security/ bookworm-security main\n";
        let expected = Some((
            "http://mirror.test/debian".to_owned(),
            Some("http://mirror.test/debian-security".to_owned()),
        ));
        assert_eq!(choose(&deb822(new)), expected);
        assert_eq!(choose(&one_line(old)), expected);
    }

    #[test]
    fn other_distributions_are_no_debian_mirror() {
        assert_eq!(choose(&one_line("deb http://mirror.test/ubuntu noble main")), None);
        assert_eq!(
            choose(&deb822(
                "Types: deb\nEnabled: no\nURIs: http://mirror.test/debian\nSuites: sid\n"
            )),
            None
        );
    }
}
