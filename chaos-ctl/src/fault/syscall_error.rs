//! `syscall error`

use chaos_common::{
    fault::{Fault, SizeRange, SyscallError},
    invalid::Invalid,
    value::{Bytes, Errno, FileKindName, FileKinds, SyscallName, Syscalls},
};

use super::{
    call::{CallFlags, PathFlags},
    of_flag,
};

/// System calls fail
#[derive(Clone, Debug, clap::Args)]
#[command(about = "System calls fail", next_help_heading = "What")]
pub(super) struct Flags {
    /// Which calls: open, =openat, @file
    ///
    /// A name stands for all variants (open: open, openat, openat2, creat), =NAME for that call alone, and @file,
    /// @descriptor, @network, @process and @memory for groups. Repeat the flag or separate with commas.
    #[arg(
        long,
        value_name = "CALL",
        value_delimiter = ',',
        required = true,
        allow_hyphen_values = true
    )]
    call: Vec<SyscallName>,

    /// What they fail with: EIO, ENOSPC, EACCES, …
    #[arg(long, value_name = "ERRNO", allow_hyphen_values = true)]
    errno: Errno,

    /// Only on descriptors of these kinds: file, directory, socket, …
    ///
    /// Some of file, directory, socket, pipe, character, block, other.
    #[arg(long, value_name = "KIND", value_delimiter = ',', allow_hyphen_values = true)]
    fd: Vec<FileKindName>,

    /// Only of at least so many bytes: 4KiB
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    least: Option<Bytes>,

    /// Only of at most so many bytes
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    most: Option<Bytes>,

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
        let (least, most) = (flags.least, flags.most);
        let size = (least.is_some() || most.is_some()).then_some(SizeRange { least, most });
        let error = SyscallError {
            calls: Syscalls::try_from(flags.call).map_err(of_flag)?,
            errno: flags.errno,
            paths: flags.paths.try_into()?,
            files: FileKinds::new(flags.fd),
            size,
            caller,
            occasion,
            partial: flags.partial,
        };
        error.checked().map(Self::SyscallError).map_err(of_flag)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

    #[test]
    fn all_flags_arrive() {
        for (flags, said) in [
            ("--call open --errno EIO", "EIO open"),
            (
                "--call =openat,@network --errno ENOSPC --percent 10",
                "ENOSPC =openat @network, 10 %",
            ),
            (
                "--call read --errno EIO --path /data/** --except *.tmp --fd file --least 4KiB --most 1MiB",
                "EIO read, /data/** but not *.tmp, on file, 4KiB to 1MiB",
            ),
            (
                "--call fsync --errno EIO --comm sqlite3 --exe /usr/bin/sqlite3 --skip 4 --every 3",
                "EIO fsync, of sqlite3, of /usr/bin/sqlite3, one in 3, not the first 4",
            ),
        ] {
            let fault = parse(&format!("syscall error {flags}")).unwrap().to_string();
            assert_eq!(fault, format!("syscall error {said}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (flags, words) in [
            ("--errno EIO", "--call <CALL>"),
            ("--call open", "--errno <ERRNO>"),
            ("--call opne --errno EIO", "is no system call of x86-64"),
            ("--call open --errno NO", "is no errno"),
            ("--call open --errno EIO --percent 1 --every 2", "cannot be used with"),
            ("--call read --errno EIO --least 2B --most 1B", "--least: is more than `most`"),
            ("--call read --errno EIO --except /a", "--except: leaves out some of nothing"),
            ("--call read --errno EIO --comm 0123456789abcdef", "1 to 15 bytes"),
            ("--call exit --errno EIO", "does not come back"),
            ("--call read --errno EIO --fd disk", "give one of file, directory"),
        ] {
            refused(&format!("syscall error {flags}"), words);
        }
    }
}
