//! `memory error`

use chaos_common::{
    fault::{Fault, MemoryError, OperationName},
    invalid::Invalid,
    value::{Bytes, Errno},
};

use super::{call::CallFlags, of_flag};

/// There is no more memory, process or descriptor to be had
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "There is no more memory, process or descriptor to be had",
    next_help_heading = "What"
)]
pub(super) struct Flags {
    /// Of what: allocate (ENOMEM), fork (EAGAIN) or descriptor (EMFILE)
    #[arg(long, value_name = "WHAT", allow_hyphen_values = true)]
    no: OperationName,

    /// With allocate: so much at once, or more [default: 64KiB]
    ///
    /// Stacks grow by less.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    least: Option<Bytes>,

    /// With fork and descriptor: another errno, as ENFILE
    #[arg(long, value_name = "ERRNO", allow_hyphen_values = true)]
    errno: Option<Errno>,

    #[command(flatten)]
    calls: CallFlags,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        let (caller, occasion) = flags.calls.read()?;
        MemoryError::new(flags.no, flags.least, flags.errno, caller, occasion)
            .map(Self::MemoryError)
            .map_err(of_flag)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

    #[test]
    fn all_flags_arrive() {
        for (flags, said) in [
            ("--no allocate", "ENOMEM allocate, 64KiB or more"),
            ("--no allocate --least 1MiB --percent 5", "ENOMEM allocate, 1MiB or more, 5 %"),
            ("--no fork", "EAGAIN fork"),
            ("--no descriptor --errno ENFILE --comm x", "ENFILE descriptor, of x"),
        ] {
            let fault = parse(&format!("memory error {flags}")).unwrap().to_string();
            assert_eq!(fault, format!("memory error {said}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (flags, words) in [
            ("--least 1MiB", "--no <WHAT>"),
            ("--no open", "--no: open is another fault's; give some of allocate, fork, descriptor"),
            ("--no fork --least 1MiB", "--least: is of memory"),
            ("--no allocate --errno EIO", "--errno: no memory is always ENOMEM"),
        ] {
            refused(&format!("memory error {flags}"), words);
        }
    }
}
