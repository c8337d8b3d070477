//! A group of users that only the tests and what they start know: their mounts are their own.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::Scratch;

const FILE: &str = "/etc/group";

/// It exists as long as the value lives. Two tests may have it at a time.
#[derive(Debug)]
pub(crate) struct TestGroup(());

impl TestGroup {
    pub(crate) const NAME: &str = "chaos-testers";
    pub(crate) const ID: u32 = 54321;

    /// Makes it.
    pub(crate) fn new(scratch: &Scratch) -> Result<Self> {
        let groups = scratch.join("group");
        fs::write(&groups, format!("root:x:0:\n{}:x:{}:\n", Self::NAME, Self::ID))?;
        if !Path::new(FILE).exists() {
            // A test VM has none.
            fs::write(FILE, "")?;
        }
        mount(Some(&groups), FILE, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("cannot replace {FILE}"))?;
        Ok(Self(()))
    }
}

impl Drop for TestGroup {
    fn drop(&mut self) {
        if let Err(error) = umount2(FILE, MntFlags::MNT_DETACH) {
            eprintln!("vm-tests: cannot give {FILE} back: {error}");
        }
    }
}
