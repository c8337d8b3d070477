//! The cgroups of this node, for the wire.

use chaos_common::proto::v1;
use tonic::Status;

use super::status;
use crate::{
    engine::Engine,
    policy::Always,
    target::{self, Identity, SocketSurvey},
};

pub(super) fn list(
    engine: &Engine,
    with_sockets: WithSockets,
) -> Result<Vec<v1::TargetInfo>, Status> {
    let failed = |error| status::target(&error);
    let targets = target::list(engine.root()).map_err(failed)?;
    let always = Always::read().map_err(failed)?;
    let protected =
        engine.policy().protected_among(&always, targets.iter().map(|info| &info.cgroup.path));
    let survey = match with_sockets {
        WithSockets::No => None,
        WithSockets::Yes => SocketSurvey::take(&targets).map_err(failed)?,
    };
    let message = |info: target::TargetInfo| v1::TargetInfo {
        cgroup_id: info.cgroup.id,
        kind: match &info.identity {
            Identity::Unit { .. } => v1::TargetKind::Unit,
            Identity::Container { .. } => v1::TargetKind::Container,
            Identity::Pod { .. } => v1::TargetKind::Pod,
            Identity::Cgroup => v1::TargetKind::Cgroup,
        }
        .into(),
        name: info.identity.name().to_owned(),
        runtime: info
            .identity
            .runtime()
            .map_or_else(String::new, |runtime| runtime.word().to_owned()),
        protected_reason: protected.reason(&info.cgroup.path).unwrap_or_default(),
        sockets: survey.as_ref().map(|survey| {
            let count = survey.count(&info.cgroup.path);
            v1::SocketCount { held: count.held, foreign: count.foreign }
        }),
        cgroup: info.cgroup.path.into(),
        pids: info.pids,
    };
    Ok(targets.into_iter().map(message).collect())
}

/// Whether to count sockets, which takes a look at every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WithSockets {
    Yes,
    No,
}
