//! `file delay`: what is done to files takes longer.

use std::fmt;

use super::call::{Caller, Occasion, OperationName, Operations, Paths};
use crate::{
    abi::{self, Operation},
    invalid::{At, Invalid},
    proto::v1,
    value::{Every, PathGlob, Percent, Wait},
    wire::{from_duration, from_wait, list},
};

/// What the target does to files is held, and then goes on.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct FileDelay {
    /// To which files.
    pub paths: Paths,
    /// What is done.
    pub operations: Operations,
    /// The mean.
    pub latency: Wait,
    /// How far it strays, evenly to both sides.
    pub jitter: Wait,
    /// Who does it.
    pub caller: Caller,
    /// Which of all these.
    pub occasion: Occasion,
    /// What the node can do of it, if not all.
    pub partial: bool,
}

/// What can be held.
pub const DELAY_OPERATIONS: [Operation; 3] = [Operation::Open, Operation::Read, Operation::Write];

/// What is meant when nothing is said: what every kernel can hold.
const USUAL: [Operation; 2] = [Operation::Open, Operation::Read];

impl FileDelay {
    /// From parts; no operations stand for the usual ones.
    ///
    /// # Errors
    /// When there are no paths, operations that cannot be held, or nothing to wait for.
    pub fn new(
        paths: Paths,
        operations: Vec<OperationName>,
        (latency, jitter): (Wait, Option<Wait>),
        caller: Caller,
        occasion: Occasion,
    ) -> Result<Self, Invalid> {
        let usual = USUAL.map(OperationName).to_vec();
        let operations = if operations.is_empty() { usual } else { operations };
        let operations = Operations::among(operations, &DELAY_OPERATIONS).at("operations")?;
        let jitter = jitter.unwrap_or(Wait::NONE);
        if jitter == Wait::NONE {
            latency.above_zero().at("latency")?;
        }
        let paths = paths.some()?;
        if let Some(glob) = paths.include.iter().find(|glob| is_of_kernel(glob)) {
            let problem =
                format!("{glob} is about files of the kernel's own, for which nobody waits");
            return Err(Invalid::new(problem).at("paths"));
        }
        Ok(Self { paths, operations, latency, jitter, caller, occasion, partial: false })
    }

    /// The same, or what the node can do of it.
    #[must_use]
    pub fn partial(self, partial: bool) -> Self {
        Self { partial, ..self }
    }

    /// How long the kernel lets a call wait.
    #[must_use]
    pub fn hold(&self) -> abi::CallHold {
        abi::CallHold { latency_ns: self.latency.nanos(), jitter_ns: self.jitter.nanos() }
    }

    fn some_jitter(&self) -> Option<Wait> {
        (self.jitter > Wait::NONE).then_some(self.jitter)
    }
}

/// Where the kernel shows what it has of its own, and devices.
pub const KERNEL_DIRECTORIES: [&str; 3] = ["/proc", "/sys", "/dev"];
/// Where there are files of processes below one of these.
pub const SHARED_MEMORY: &str = "/dev/shm";

/// Whether all files of a pattern are the kernel's.
fn is_of_kernel(glob: &PathGlob) -> bool {
    let start = glob.start();
    let ends = |rest: &[u8]| matches!(rest.first(), Some(b'/' | 0));
    let is_below = |directory: &str| start.strip_prefix(directory.as_bytes()).is_some_and(ends);
    let may_be_shared = is_below(SHARED_MEMORY) || SHARED_MEMORY.as_bytes().starts_with(&start);
    KERNEL_DIRECTORIES.into_iter().any(is_below) && !may_be_shared
}

impl fmt::Display for FileDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { paths, operations, latency, jitter: _, caller, occasion, partial: _ } = self;
        latency.fmt(f)?;
        if let Some(jitter) = self.some_jitter() {
            write!(f, " ± {jitter}")?;
        }
        write!(f, " {operations}{paths}{caller}{occasion}")
    }
}

/// As it is written.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    paths: Vec<PathGlob>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    except: Vec<PathGlob>,
    #[serde(default)]
    operations: Vec<OperationName>,
    latency: Wait,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jitter: Option<Wait>,
    #[serde(default, skip_serializing_if = "Caller::is_anyone")]
    caller: Caller,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    skip: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<Every>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

impl TryFrom<Raw> for FileDelay {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        let paths = Paths::new(raw.paths, raw.except)?;
        let occasion = Occasion::new(raw.percent, raw.skip, raw.every)?;
        let wait = (raw.latency, raw.jitter);
        let fault = Self::new(paths, raw.operations, wait, raw.caller, occasion)?;
        Ok(fault.partial(raw.partial))
    }
}

impl From<FileDelay> for Raw {
    fn from(delay: FileDelay) -> Self {
        let jitter = delay.some_jitter();
        let FileDelay { paths, operations, latency, jitter: _, caller, occasion, partial } = delay;
        let (percent, skip, every) = occasion.parts();
        let Paths { include: paths, except } = paths;
        let operations = operations.names();
        Self { paths, except, operations, latency, jitter, caller, percent, skip, every, partial }
    }
}

impl TryFrom<v1::FileDelay> for FileDelay {
    type Error = Invalid;

    fn try_from(wire: v1::FileDelay) -> Result<Self, Invalid> {
        let latency = from_duration(wire.latency.unwrap_or_default()).at("latency")?;
        let jitter = wire.jitter.map(from_duration).transpose().at("jitter")?;
        let fault = Self::new(
            Paths::of_wire(wire.paths, wire.except)?,
            list(wire.operations, |name| name.parse()).at("operations")?,
            (latency, jitter),
            wire.caller.unwrap_or_default().try_into().at("caller")?,
            wire.occasion.unwrap_or_default().try_into().at("occasion")?,
        )?;
        Ok(fault.partial(wire.partial))
    }
}

impl From<&FileDelay> for v1::FileDelay {
    fn from(delay: &FileDelay) -> Self {
        let (paths, except) = delay.paths.to_wire();
        Self {
            paths,
            except,
            operations: delay.operations.names().iter().map(ToString::to_string).collect(),
            latency: Some(from_wait(delay.latency)),
            jitter: delay.some_jitter().map(from_wait),
            caller: (!delay.caller.is_anyone()).then(|| (&delay.caller).into()),
            occasion: Some((&delay.occasion).into()),
            partial: delay.partial,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::{Spec, from_yaml};

    #[test]
    fn what_the_kernel_shows_of_itself_is_refused() {
        let refused = |path: &str| {
            let fault = format!("fileDelay: {{paths: ['{path}'], latency: 1s}}");
            from_yaml::<Spec>(&format!("{{target: {{pid: 1}}, fault: {{{fault}}}}}")).err()
        };
        for path in
            ["/proc/**", "/proc", "/sys/fs/*", "/dev/sda", "/dev", "/dev/shmfoo", "/dev/sd*"]
        {
            let text = refused(path).unwrap().to_string();
            assert!(text.contains("the kernel's own"), "{path}: {text}");
        }
        for path in [
            "/**",
            "/procs/*",
            "/dev/shm/**",
            "/dev/**",
            "/dev/{shm,x}/*",
            "/dev/s*",
            "/d*/x",
            "*.log",
        ] {
            assert!(refused(path).is_none(), "{path}");
        }
    }
}
