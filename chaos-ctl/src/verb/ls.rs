//! `chaos ls`

use std::time::SystemTime;

use chaos_common::proto::v1;

use crate::{
    app::App,
    error::note,
    outcome::Outcome,
    output::{
        Format, Table,
        injection::{Detail, Listed, ListedView, columns, row},
    },
};

/// List the injections, oldest first
///
/// With --all those that are over stand among the others, by the time at which each was injected.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also those that are over and that the daemon still remembers
    #[arg(short, long)]
    all: bool,
}

/// Lists the injections.
///
/// # Errors
/// When the daemon does not answer.
pub(super) async fn run(args: Args, app: &mut App) -> anyhow::Result<Outcome> {
    let mut answers = app.connect().await?.list(v1::ListRequest { ended: args.all }).await?;
    let mut all = Vec::new();
    while let Some(injection) = answers.next().await? {
        all.push(injection);
    }
    all.sort_by_key(began);
    let all: Vec<Listed> = all.into_iter().map(Listed::from).collect();
    let detail = match app.out.format() {
        Format::Json | Format::Yaml => {
            let views: Vec<ListedView<'_>> = all.iter().map(Listed::view).collect();
            app.out.list(&views)?;
            return Ok(Outcome::Done);
        }
        Format::Table => Detail::Normal,
        Format::Wide => Detail::Wide,
    };
    if all.is_empty() {
        let nothing = if args.all {
            "no injections"
        } else {
            "no injections; --all shows those that are over"
        };
        note(nothing, app.out.format());
        return Ok(Outcome::Done);
    }
    let now = SystemTime::now();
    let mut table = Table::new(columns(detail));
    all.iter().for_each(|listed| table.push(row(listed, detail, now)));
    app.out.table(&table)?;
    app.out.flush()?;
    Ok(Outcome::Done)
}

/// Read from the message: also an injection that this client does not know has its place.
fn began(injection: &v1::Injection) -> (i64, i32) {
    injection.created_at.map_or((0, 0), |time| (time.seconds, time.nanos))
}
