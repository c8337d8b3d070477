//! A fault that fails one call, by its position.

use chaos_common::{
    fault::{Fault, FaultKind, Occasion},
    invalid::Invalid,
    spec::{Times, Untargeted},
};

/// A fault whose calls are counted.
#[derive(Clone, Debug)]
pub(crate) struct Swept(Fault);

/// Whether the fault happens to calls of which one can be chosen by its position.
pub(crate) const fn has_positions(kind: FaultKind) -> bool {
    match kind {
        FaultKind::SyscallError
        | FaultKind::FileError
        | FaultKind::SocketError
        | FaultKind::MemoryError => true,
        FaultKind::NetworkLoss
        | FaultKind::NetworkDelay
        | FaultKind::NetworkDuplicate
        | FaultKind::NetworkReorder
        | FaultKind::NetworkCorrupt
        | FaultKind::NetworkRate
        | FaultKind::NetworkPartition
        | FaultKind::NetworkReject
        | FaultKind::NetworkOccupy
        | FaultKind::FileDelay
        | FaultKind::DnsError
        | FaultKind::DnsRecord
        | FaultKind::DnsDelay
        | FaultKind::DnsServer => false,
    }
}

fn occasion(fault: &mut Fault) -> Option<&mut Occasion> {
    match fault {
        Fault::SyscallError(error) => Some(&mut error.occasion),
        Fault::FileError(error) => Some(&mut error.occasion),
        Fault::SocketError(error) => Some(&mut error.occasion),
        Fault::MemoryError(error) => Some(&mut error.occasion),
        Fault::NetworkLoss(_)
        | Fault::NetworkDelay(_)
        | Fault::NetworkDuplicate(_)
        | Fault::NetworkReorder(_)
        | Fault::NetworkCorrupt(_)
        | Fault::NetworkRate(_)
        | Fault::NetworkPartition(_)
        | Fault::NetworkReject(_)
        | Fault::NetworkOccupy(_)
        | Fault::FileDelay(_)
        | Fault::DnsError(_)
        | Fault::DnsRecord(_)
        | Fault::DnsDelay(_)
        | Fault::DnsServer(_) => None,
    }
}

impl Swept {
    /// A fault that leaves it to the sweep which calls fail, and when.
    ///
    /// # Errors
    /// When it has no positions, or says itself which calls fail.
    pub(crate) fn of(untargeted: Untargeted) -> Result<Self, Invalid> {
        let Untargeted { mut fault, duration, times, seed } = untargeted;
        let kind = fault.kind();
        let Some(occasion) = occasion(&mut fault) else {
            let problem = format!(
                "{kind} cannot be swept: only faults that let calls fail can, such as syscall error and file error"
            );
            return Err(Invalid::new(problem));
        };
        let (percent, skip, every) = occasion.parts();
        let said = [
            ("percent", percent.is_some()),
            ("skip", skip.is_some()),
            ("every", every.is_some()),
            ("times", times.is_some()),
            ("seed", seed.is_some()),
        ];
        if let Some((field, _)) = said.into_iter().find(|(_, is_said)| *is_said) {
            let problem =
                "--sweep itself chooses the one call that fails in each run; leave it out";
            return Err(Invalid::new(problem).at(field));
        }
        if duration.is_some() {
            let problem = "with --sweep the fault is there for the whole of each run, and --timeout ends a run; leave it out";
            return Err(Invalid::new(problem).at("duration"));
        }
        Ok(Self(fault))
    }

    /// What is swept.
    pub(crate) fn fault(&self) -> &Fault {
        &self.0
    }

    /// The fault that fails the call at this position and no other.
    pub(crate) fn at(&self, position: u64) -> Result<(Fault, Times), Invalid> {
        self.behind(position.saturating_sub(1))
    }

    /// The fault that counts its calls and fails none of them.
    pub(crate) fn nowhere(&self) -> Result<(Fault, Times), Invalid> {
        self.behind(u64::MAX)
    }

    fn behind(&self, skip: u64) -> Result<(Fault, Times), Invalid> {
        let mut fault = self.0.clone();
        if let Some(occasion) = occasion(&mut fault) {
            *occasion = Occasion::new(None, Some(skip), None)?;
        }
        Ok((fault, Times::try_from(1)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Swept, Invalid> {
        let mut read = chaos_common::spec::from_yaml(text).unwrap();
        Swept::of(read.remove(0))
    }

    #[test]
    fn one_call_fails_or_none() {
        for fault in [
            "syscallError: {calls: [write], errno: EIO}",
            "fileError: {paths: [/a], errno: EIO}",
            "socketError: {operations: [send], errno: ENOBUFS}",
            "memoryError: {operation: fork}",
        ] {
            let swept = of(&format!("fault: {{{fault}}}")).unwrap();
            let (first, times) = swept.at(1).unwrap();
            assert_eq!((&first, times.get()), (swept.fault(), 1));
            let third = swept.at(3).unwrap().0.to_string();
            assert!(third.ends_with(", not the first 2"), "{third}");
            let none = swept.nowhere().unwrap().0.to_string();
            assert!(none.ends_with(", not the first 18446744073709551615"), "{none}");
        }
    }

    #[test]
    fn what_chooses_calls_itself_is_refused_by_name() {
        let error = |said: &str, beside: &str| {
            let error =
                format!("fault: {{syscallError: {{calls: [write], errno: EIO{said}}}}}{beside}");
            of(&error).unwrap_err()
        };
        for (said, beside, field) in [
            (", percent: 5", "", "percent"),
            (", skip: 1", "", "skip"),
            (", every: 2", "", "every"),
            ("", "\ntimes: 1", "times"),
            ("", "\nseed: 1", "seed"),
            ("", "\nduration: 1m", "duration"),
        ] {
            let error = error(said, beside);
            assert_eq!(error.field, field);
            assert!(error.problem.ends_with("leave it out"), "{error}");
        }
        let error = of("fault: {networkLoss: {percent: 5}}").unwrap_err().to_string();
        assert!(error.starts_with("network loss cannot be swept"), "{error}");
    }

    #[test]
    fn kinds_and_faults_agree() {
        for (text, kind) in [
            ("syscallError: {calls: [write], errno: EIO}", FaultKind::SyscallError),
            ("networkLoss: {percent: 5}", FaultKind::NetworkLoss),
        ] {
            assert_eq!(of(&format!("fault: {{{text}}}")).is_ok(), has_positions(kind));
        }
    }
}
