//! A name's addresses, by the C library that the tests are linked with: musl, wherever they are built as xtask does.

use std::{net::ToSocketAddrs as _, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use nix::unistd::{chdir, chroot};

use super::child::say;

/// Asks whom the `resolv.conf` of another root names. It says the addresses, one in a line, or why there are none.
pub(super) fn run(root: &Path, name: &str) -> Result<ExitCode> {
    chroot(root).with_context(|| format!("cannot change to {}", root.display()))?;
    chdir("/")?;
    match (name, 0).to_socket_addrs() {
        Ok(addresses) => {
            for address in addresses {
                say(&address.ip().to_string())?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("{error}");
            Ok(ExitCode::FAILURE)
        }
    }
}
