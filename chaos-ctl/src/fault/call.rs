//! The flags that all faults of calls have in common.

use chaos_common::{
    fault::{Caller, Comm, Occasion, Paths},
    invalid::Invalid,
    value::{Every, PathGlob, Percent},
};

use super::{above_zero, of_flag};

/// Which files.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Which files")]
pub(super) struct PathFlags {
    /// Only files with these paths, as the target says them: /data/**
    ///
    /// `*` and `?` stop at a slash, `**` is any number of directories, [a-z] and {a,b} are choices. A pattern that
    /// begins with no slash may begin in any directory: *.log. Repeat the flag for more.
    #[arg(long, value_name = "GLOB", allow_hyphen_values = true)]
    path: Vec<PathGlob>,

    /// Not those with these paths
    #[arg(long, value_name = "GLOB", allow_hyphen_values = true)]
    except: Vec<PathGlob>,
}

impl TryFrom<PathFlags> for Paths {
    type Error = Invalid;

    fn try_from(flags: PathFlags) -> Result<Self, Invalid> {
        Self::new(flags.path, flags.except).map_err(of_flag)
    }
}

/// Who calls, and how often that fails.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct CallFlags {
    /// Only threads of this name: nginx
    ///
    /// As /proc/<pid>/comm has it, at most 15 bytes.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true, help_heading = "Which callers")]
    comm: Option<Comm>,

    /// Only programs with these paths: /usr/sbin/nginx
    #[arg(long, value_name = "GLOB", allow_hyphen_values = true, help_heading = "Which callers")]
    exe: Vec<PathGlob>,

    /// Each matching call with this chance: above 0, to 100 [default: 100]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = above_zero, conflicts_with = "every", help_heading = "How often")]
    percent: Option<Percent>,

    /// Not the first so many matching calls
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = "How often")]
    skip: Option<u64>,

    /// From the first that fails on, each N-th: at least 2
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = "How often")]
    every: Option<Every>,
}

impl CallFlags {
    pub(super) fn read(self) -> Result<(Caller, Occasion), Invalid> {
        let occasion = Occasion::new(self.percent, self.skip, self.every).map_err(of_flag)?;
        Ok((Caller { comm: self.comm, exe: self.exe }, occasion))
    }
}
