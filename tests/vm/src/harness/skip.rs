//! Tests that a kernel or a machine cannot run say so, and are counted.

use nix::sys::utsname::uname;

/// The error of a test that cannot run here.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Skip(pub(crate) String);

/// Ends the test without a verdict.
///
/// # Errors
/// Always.
pub(crate) fn skip<T>(reason: impl Into<String>) -> anyhow::Result<T> {
    Err(Skip(reason.into()).into())
}

/// Major and minor version of the running kernel.
pub(crate) fn kernel() -> (u32, u32) {
    let release =
        uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether this is a machine of the tests' own, which they may upset: a test VM.
pub(crate) fn own_machine() -> bool {
    std::path::Path::new("/etc/run").exists()
        && std::path::Path::new("/etc/modules.missing").exists()
}

/// Ends the test where there is no IPv6.
///
/// # Errors
/// When the kernel has none.
pub(crate) fn needs_ipv6() -> anyhow::Result<()> {
    if std::path::Path::new("/proc/net/if_inet6").exists() {
        Ok(())
    } else {
        skip("this kernel has no IPv6")
    }
}
