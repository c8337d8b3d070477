//! What an injection would do.

use chaos_common::{proto::v1::PlanResponse, spec::Spec};
use serde::Serialize;

use super::{Out, Written, clean};

/// A plan as a program reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View<'a> {
    spec: &'a Spec,
    cgroup: &'a str,
    effects: &'a [String],
}

impl<'a> View<'a> {
    /// The plan for a spec.
    pub(crate) fn new(spec: &'a Spec, plan: &'a PlanResponse) -> Self {
        Self { spec, cgroup: &plan.cgroup, effects: &plan.effects }
    }
}

/// Writes a plan for people.
pub(crate) fn block(out: &mut Out, spec: &Spec, plan: &PlanResponse) -> Written {
    out.line(format_args!("would inject {}", clean(&spec.to_string())))?;
    out.line(format_args!("into cgroup {}:", clean(&plan.cgroup)))?;
    for (n, effect) in plan.effects.iter().enumerate() {
        out.line(format_args!("{:>3}. {}", n + 1, clean(effect)))?;
    }
    Ok(())
}
