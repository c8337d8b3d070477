//! `file delay`

use chaos_common::{
    fault::{Fault, FileDelay, OperationName},
    invalid::Invalid,
    value::Wait,
};

use super::{
    call::{CallFlags, PathFlags},
    of_flag,
};

/// What is done to files takes longer
#[derive(Clone, Debug, clap::Args)]
#[command(about = "What is done to files takes longer", next_help_heading = "What")]
pub(super) struct Flags {
    /// What waits: open, read, write [default: open,read]
    ///
    /// Repeat the flag or separate with commas. Write needs Linux 6.14 and a file system that goes along (ext4, xfs,
    /// btrfs).
    #[arg(
        long = "do",
        value_name = "OPERATION",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    operations: Vec<OperationName>,

    /// Hold it for this long on average: 100ms, 1s500ms, 250us
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    latency: Wait,

    /// How far that strays, evenly to both sides [default: 0s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    jitter: Option<Wait>,

    /// If this node can do some of it only, do that
    #[arg(long)]
    partial: bool,

    #[command(flatten)]
    paths: PathFlags,

    #[command(flatten)]
    calls: CallFlags,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        let (caller, occasion) = flags.calls.read()?;
        let wait = (flags.latency, flags.jitter);
        FileDelay::new(flags.paths.try_into()?, flags.operations, wait, caller, occasion)
            .map(|delay| Self::FileDelay(delay.partial(flags.partial)))
            .map_err(of_flag)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

    #[test]
    fn all_flags_arrive() {
        for (flags, said) in [
            ("--path /data/** --latency 20ms", "20ms open read, /data/**"),
            (
                "--path /a --do write --latency 1s --jitter 200ms --percent 5 --comm x",
                "1s ± 200ms write, /a, of x, 5 %",
            ),
        ] {
            let fault = parse(&format!("file delay {flags}")).unwrap().to_string();
            assert_eq!(fault, format!("file delay {said}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (flags, words) in [
            ("--latency 1s", "--path: is empty; give patterns of paths"),
            ("--path /a", "--latency <DURATION>"),
            ("--path /a --latency 0s", "--latency: "),
            (
                "--path /a --latency 1s --do fsync",
                "--do: fsync is another fault's; give some of open, read, write",
            ),
        ] {
            refused(&format!("file delay {flags}"), words);
        }
    }
}
