//! Programs of this machine, with the shared libraries that they need, for a VM: it has static programs only.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::GuestFile;
use crate::sh;

/// Where a VM keeps shared libraries. Loaders look there by themselves on some systems only.
const LIBRARIES: &str = "/lib64";

/// What the environment of the command has to say.
pub(crate) fn environment() -> (String, String) {
    ("LD_LIBRARY_PATH".to_owned(), LIBRARIES.to_owned())
}

/// The programs in `/bin`, and their libraries.
pub(crate) fn collect(names: &[&str]) -> Result<Vec<GuestFile>> {
    let mut files = Vec::new();
    let mut libraries = BTreeSet::new();
    for name in names {
        let from = sh::which(name).with_context(|| format!("there is no program `{name}`"))?;
        let linked = sh::capture_text(Command::new("ldd").arg(&from))?;
        libraries.extend(paths(&linked));
        files.push(GuestFile { at: format!("/bin/{name}"), from });
    }
    for from in libraries {
        let name = from.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.with_context(|| format!("{} is no library", from.display()))?;
        files.push(GuestFile { at: format!("{LIBRARIES}/{name}"), from });
    }
    Ok(files)
}

/// What `ldd` found: `name => path (address)`, and the loader itself as `path (address)`.
fn paths(linked: &str) -> Vec<PathBuf> {
    let path =
        |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    linked.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::paths;
    use std::path::PathBuf;

    #[test]
    fn libraries_and_the_loader_are_found() {
        let linked = "\tlinux-vdso.so.1 (0x7f64)\n\tlibm.so.6 => /lib/x86/libm.so.6 (0x7f65)\n\t/lib64/ld.so.2 (0x7f66)\n";
        assert_eq!(paths(linked), ["/lib/x86/libm.so.6", "/lib64/ld.so.2"].map(PathBuf::from));
        assert!(paths("\tstatically linked\n").is_empty());
    }
}
