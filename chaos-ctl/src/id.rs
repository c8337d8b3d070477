//! Names for injections that were not given one.

use anyhow::Context as _;
use chaos_common::{fault::FaultKind, spec::InjectionId};

use crate::error::Usage;

/// A fresh name: `network-loss-1f09ac3e`. The client makes it, so that a request that is sent twice
/// is one injection.
///
/// # Errors
/// When the kernel gives no random bytes.
pub(crate) fn fresh(kind: FaultKind) -> anyhow::Result<InjectionId> {
    let random = getrandom::u32().context("cannot draw an injection id; give one with --id")?;
    let (family, kind) = kind.words();
    Ok(format!("{family}-{kind}-{random:08x}").parse()?)
}

/// The name of document `n` (from 1) of several under one `--id`.
///
/// # Errors
/// When the name becomes too long.
pub(crate) fn numbered(id: &InjectionId, n: usize) -> anyhow::Result<InjectionId> {
    let id = format!("{id}-{n}").parse();
    id.map_err(|invalid| Usage::of(format_args!("--id: {invalid}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_names_say_the_fault_and_differ() {
        for kind in FaultKind::ALL {
            let (one, two) = (fresh(kind).unwrap(), fresh(kind).unwrap());
            assert_ne!(one, two);
            let words = kind.to_string().replace(' ', "-");
            let random = one.as_str().strip_prefix(&format!("{words}-")).unwrap();
            assert_eq!(random.len(), 8);
        }
    }

    #[test]
    fn a_name_that_is_full_cannot_be_numbered() {
        assert_eq!(numbered(&"a".parse().unwrap(), 2).unwrap().as_str(), "a-2");
        assert!(numbered(&"a".repeat(63).parse().unwrap(), 1).is_err());
    }
}
