//! `chaos targets`

use chaos_common::proto::v1;

use crate::{
    app::App,
    error::note,
    outcome::Outcome,
    output::{
        Format,
        injection::Detail,
        target::{View, foreign_note, table},
    },
};

/// List what can be aimed at: units, containers, pods and other cgroups
///
/// With -o wide also each one's cgroup, and all of its processes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also count sockets, and those that a network fault would miss
    ///
    /// Sockets keep the cgroup in which they were made. One that a process brought along from
    /// elsewhere is foreign: a network fault on the cgroup that holds it now does not hit it.
    #[arg(long)]
    sockets: bool,
}

/// Lists the targets.
///
/// # Errors
/// When the daemon does not answer.
pub(super) async fn run(args: Args, app: &mut App) -> anyhow::Result<Outcome> {
    let request = v1::ListTargetsRequest { sockets: args.sockets };
    let mut answers = app.connect().await?.targets(request).await?;
    let mut targets = Vec::new();
    while let Some(target) = answers.next().await? {
        targets.push(target);
    }
    let detail = match app.out.format() {
        Format::Json | Format::Yaml => {
            let views: Vec<View<'_>> = targets.iter().map(View::from).collect();
            app.out.list(&views)?;
            return Ok(Outcome::Done);
        }
        Format::Table => Detail::Normal,
        Format::Wide => Detail::Wide,
    };
    app.out.table(&table(&targets, detail))?;
    app.out.flush()?;
    if let Some(text) = foreign_note(&targets) {
        note(text, app.out.format());
    }
    Ok(Outcome::Done)
}
