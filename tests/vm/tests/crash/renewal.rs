//! A renewal that cannot be written down: the old deadline stays, for this daemon and the next one.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{Direction, End, Injection, State};

use crate::harness::{
    Loss, Mounted, Probe as _, Settings, Stage, active, balanced, poll, refused, same, tests,
};

use super::storage::fill;

tests![a_renewal_on_a_full_disk_is_none, a_renewal_on_a_read_only_state_is_none];

const LASTING: Duration = Duration::from_secs(15);

fn expiry(injection: &Injection) -> Result<f64> {
    let at = injection.expires_at.context("no expiry")?;
    Ok(at.seconds as f64 + f64::from(at.nanos) / 1e9)
}

/// Spoils the disk by `spoil`, until what that returns is dropped.
fn renewal<Spoilt>(spoil: impl FnOnce(&Mounted) -> Result<Spoilt>) -> Result<()> {
    let stage = Stage::new()?;
    let disk = Mounted::new("tmpfs", &stage.scratch.join("disk"), "size=256k")?;
    let settings = || Settings {
        state: Some(disk.path().join("state")),
        lease: Some(Duration::from_secs(60)),
        ..Settings::default()
    };
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    let victim = stage.victim_udp()?;
    let spec = Loss::all().direction(Direction::Both).lasting(LASTING).on(&stage.target);
    let before = client.inject_as("kept", spec)?;
    let spoilt = spoil(&disk)?;
    let status = refused(client.renew("kept", Some(Duration::from_secs(600))), "STORAGE")?;
    ensure!(status.message().contains("injections/kept"), "{status:?}");
    same(&client.get("kept")?, &before)?;
    victim.none_arrive()?;

    daemon.kill()?;
    drop(spoilt);
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    let adopted = client.get("kept")?;
    active(&adopted)?;
    let moved = expiry(&adopted)? - expiry(&before)?;
    ensure!(moved.abs() < 0.1, "the next daemon moved the deadline by {moved} s");
    let ended = poll::until("the old deadline", LASTING * 2, || {
        Ok(Some(client.get("kept")?).filter(|injection| injection.state() == State::Ended))
    })?;
    ensure!(ended.end() == End::Expired, "{ended:?}");
    balanced(&ended)?;
    victim.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_renewal_on_a_full_disk_is_none() -> Result<()> {
    struct Ballast(std::path::PathBuf);
    impl Drop for Ballast {
        fn drop(&mut self) {
            if let Err(error) = fs::remove_file(&self.0) {
                eprintln!("vm-tests: the disk stays full: {error}");
            }
        }
    }
    renewal(|disk| fill(disk).map(Ballast))
}

fn a_renewal_on_a_read_only_state_is_none() -> Result<()> {
    renewal(|disk| disk.lid(&disk.path().join("state")))
}
