//! What a node does not allow.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::target::Target;
use tonic::Code;

use crate::harness::{Loss, Probe as _, Settings, Stage, active, refused, tests};

tests![the_policy_is_obeyed, protected_cgroups_are_refused,];

fn the_policy_is_obeyed() -> Result<()> {
    let stage = Stage::new()?;
    let policy = "maxDuration: 2m\nmaxInjections: 2\n".to_owned();
    let daemon = stage.daemon_with(Settings { policy: Some(policy), ..Settings::default() })?;
    let client = daemon.client()?;
    let spec = |seconds| Loss::percent(1.0).lasting(Duration::from_secs(seconds)).on(&stage.target);
    let status = refused(client.inject(spec(121)), "POLICY")?;
    ensure!(status.message().contains("2m"), "{status:?}");
    refused(client.plan(spec(121)), "POLICY")?;
    let first = client.inject(spec(120))?;
    refused(client.renew(&first.id, Some(Duration::from_secs(121))), "POLICY")?;
    client.renew(&first.id, Some(Duration::from_secs(100)))?;
    client.inject(spec(10))?;
    let status = refused(client.inject(spec(10)), "POLICY")?;
    ensure!(status.message().contains('2'), "{status:?}");
    client.recover(&first.id)?;
    client.inject(spec(10))?;
    ensure!(client.list()?.len() == 2);
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn protected_cgroups_are_refused() -> Result<()> {
    let stage = Stage::new()?;
    let policy = format!("protectedAlso: ['{}']\n", stage.sibling.path());
    let inner = stage.sibling.child("inner")?;
    let daemon = stage.daemon_with(Settings { policy: Some(policy), ..Settings::default() })?;
    let client = daemon.client()?;
    let target = |path: &str| Target::Cgroup(path.into());
    // The protected one, what is in it, what it is in, and the root.
    for path in [stage.sibling.path(), inner.path(), stage.base.path(), "/"] {
        let status = refused(client.inject(Loss::all().at(target(path))), "TARGET_PROTECTED")?;
        ensure!(
            status.code() == Code::PermissionDenied && status.message().contains(path),
            "{status:?}"
        );
    }
    // The daemon itself, by whatever name.
    let own = Target::Pid(daemon.pid());
    refused(client.inject(Loss::all().at(own)), "TARGET_PROTECTED")?;
    let listed = client.targets()?;
    let listed =
        listed.iter().find(|target| target.cgroup == stage.sibling.path()).context("not listed")?;
    ensure!(!listed.protected_reason.is_empty(), "{listed:?}");
    ensure!(client.list_ended_too()?.is_empty());
    stage.bystander_udp()?.all_arrive()?;
    active(&client.inject(Loss::all().on(&stage.target))?)?;
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
