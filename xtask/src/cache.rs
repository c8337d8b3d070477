//! Owns every path of the cache outside the work tree.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// Where downloads and built kernels are kept: `CHAOS_CACHE`, else `chaos` in the user's cache folder.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let set = |variable: &str| {
        std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
    };
    let base = set("CHAOS_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("chaos")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/chaos")))
        .context("no place for the cache: set CHAOS_CACHE to a folder")?;
    let folder = base.join(name);
    std::fs::create_dir_all(&folder).with_context(|| {
        format!(
            "cannot create the cache folder {}: set CHAOS_CACHE to another one",
            folder.display()
        )
    })?;
    Ok(folder)
}

/// Keeps other xtask processes from changing the cache while it is held; waits for them first.
pub(crate) fn lock() -> Result<File> {
    let path = folder("")?.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
