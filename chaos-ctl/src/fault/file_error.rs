//! `file error`

use chaos_common::{
    fault::{Fault, FileError, OperationName},
    invalid::Invalid,
    value::Errno,
};

use super::{
    call::{CallFlags, PathFlags},
    of_flag,
};

/// What is done to files fails
#[derive(Clone, Debug, clap::Args)]
#[command(about = "What is done to files fails", next_help_heading = "What")]
pub(super) struct Flags {
    /// What fails: open, read, fsync, … [default: open,create,read,write]
    ///
    /// Some of open, create, read, write, fsync, truncate, rename, unlink, mkdir, rmdir, link, symlink, stat, chmod,
    /// chown, mmap, exec, lock, ioctl, list. Repeat the flag or separate with commas.
    #[arg(
        long = "do",
        value_name = "OPERATION",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    operations: Vec<OperationName>,

    /// What it fails with: EIO, ENOSPC, EROFS, EACCES, EMFILE, EDQUOT, …
    #[arg(long, value_name = "ERRNO", allow_hyphen_values = true)]
    errno: Errno,

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
        FileError::new(flags.paths.try_into()?, flags.operations, flags.errno, caller, occasion)
            .map(|error| Self::FileError(error.partial(flags.partial)))
            .map_err(of_flag)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

    #[test]
    fn all_flags_arrive() {
        for (flags, said) in [
            ("--path /data/** --errno EIO", "EIO open create read write, /data/**"),
            (
                "--path /a --path /b --do fsync,rename --errno EROFS --percent 5 --comm x",
                "EROFS rename fsync, /a /b, of x, 5 %",
            ),
        ] {
            let fault = parse(&format!("file error {flags}")).unwrap().to_string();
            assert_eq!(fault, format!("file error {said}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (flags, words) in [
            ("--errno EIO", "--path: is empty; give patterns of paths"),
            ("--path /a", "--errno <ERRNO>"),
            ("--path /a[ --errno EIO", "is no pattern of paths"),
            (
                "--path /a --errno EIO --do connect",
                "--do: connect is another fault's; give some of open",
            ),
            ("--path /a --errno EIO --do eat", "is no operation"),
        ] {
            refused(&format!("file error {flags}"), words);
        }
    }
}
