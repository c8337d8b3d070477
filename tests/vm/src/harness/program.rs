//! Other people's programs, unchanged, from the disk that a test VM has.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::{
    Output, Place, finish, own_binary,
    skip::{own_machine, skip},
    start,
};

/// Where the disk is mounted: a root of its own.
pub(crate) const ROOT: &str = "/programs";

/// A file that programs read; gone with the value.
#[derive(Debug)]
pub(crate) struct Given(PathBuf);

impl Given {
    /// At a path as they see it.
    pub(crate) fn new(path: &str, text: &str) -> Result<Self> {
        needs_programs()?;
        let at = Path::new(ROOT).join(path.trim_start_matches('/'));
        fs::write(&at, text).with_context(|| format!("cannot write {}", at.display()))?;
        Ok(Self(at))
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            eprintln!("vm-tests: cannot remove {}: {error}", self.0.display());
        }
    }
}

/// A folder of the test's own on that disk, whose file system is that of a real one.
pub(crate) fn disk_folder() -> Result<TempDir> {
    if !own_machine() {
        return skip("the disk is a VM's");
    }
    let folder = tempfile::Builder::new().prefix("chaos-test-").tempdir_in(ROOT);
    folder.context("cannot make a folder on the disk")
}

/// A program that serves until the value goes.
#[derive(Debug)]
pub(crate) struct Server(Child);

/// What a server said until its end.
#[derive(Debug)]
pub(crate) struct Said(pub(crate) String);

impl Server {
    /// Starts one.
    pub(crate) fn start(place: Place, argv: &[&str]) -> Result<Self> {
        Ok(Self(start(command(place, argv)?)?))
    }

    /// Starts a command of this very program.
    pub(crate) fn own(place: Place, arguments: &[&str]) -> Result<Self> {
        Ok(Self(start(own_command(place, arguments)?)?))
    }

    /// Fails when it has ended.
    pub(crate) fn lives(&mut self) -> Result<()> {
        let status = self.0.try_wait()?;
        ensure!(status.is_none(), "the server ended: {status:?}");
        Ok(())
    }

    /// Kills it without warning. What it said, to both of its outputs.
    pub(crate) fn kill(mut self) -> Result<Said> {
        self.0.kill()?;
        self.0.wait()?;
        let (mut out, mut err) = (String::new(), String::new());
        if let Some(pipe) = &mut self.0.stdout {
            pipe.read_to_string(&mut out)?;
        }
        if let Some(pipe) = &mut self.0.stderr {
            pipe.read_to_string(&mut err)?;
        }
        Ok(Said(out + &err))
    }
}

/// A command of this very program, `vm-tests child …`.
pub(crate) fn own_command(place: Place, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(own_binary()?);
    command.arg("child").args(arguments);
    place.apply(&mut command);
    Ok(command)
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts one; [`finish`] gives it its input and waits for its end.
pub(crate) fn begin(place: Place, argv: &[&str]) -> Result<Child> {
    start(command(place, argv)?)
}

/// Runs one to its end, even one that a fault keeps from being run.
pub(crate) fn run_to_end(place: Place, argv: &[&str]) -> Result<Output> {
    finish(begin(place, argv)?, "")
}

/// Runs one to its end.
pub(crate) fn program(place: Place, argv: &[&str]) -> Result<Output> {
    let output = run_to_end(place, argv)?;
    // What a shell says of a program that is not there, and `exec` of one that lacks a library.
    ensure!(output.code != 127, "{argv:?} does not run: {output:?}");
    Ok(output)
}

/// Runs one that must succeed, and returns what it said.
pub(crate) fn succeeds(place: Place, argv: &[&str]) -> Result<String> {
    let output = program(place, argv)?;
    ensure!(output.code == 0, "{argv:?} failed: {output:?}");
    Ok(output.out)
}

fn command(place: Place, argv: &[&str]) -> Result<Command> {
    needs_programs()?;
    let (name, arguments) = argv.split_first().context("no program is named")?;
    let mut command = Command::new(name);
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin").current_dir("/");
    place.root(ROOT).apply(&mut command);
    Ok(command)
}

/// Ends the test where there is no such disk.
pub(crate) fn needs_programs() -> Result<()> {
    if Path::new(ROOT).exists() {
        return Ok(());
    }
    ensure!(!own_machine(), "this VM has no {ROOT}");
    skip("other people's programs are in the test VMs only")
}
