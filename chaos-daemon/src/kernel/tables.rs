//! What all tables have in common.

use aya::maps::{Map, MapError};

use super::KernelError;

/// A table of a type, out of a map.
pub(super) fn typed<M: TryFrom<Map, Error = MapError>>(map: Map) -> Result<M, KernelError> {
    map.try_into().map_err(at("open a map"))
}

/// What was done to a table when it failed.
pub(super) fn at(what: &'static str) -> impl Fn(MapError) -> KernelError {
    move |source| KernelError::Map { what, source }
}

/// The keys of a table that are not ours.
pub(super) fn strangers<K>(
    keys: impl Iterator<Item = Result<K, MapError>>,
    is_ours: impl Fn(&K) -> bool,
) -> Result<Vec<K>, KernelError> {
    let strangers = keys.filter(|key| !key.as_ref().is_ok_and(&is_ours));
    strangers.collect::<Result<_, _>>().map_err(at("read a table"))
}

/// Whether a table has no room left.
pub(super) fn is_full(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::ENOSPC))
}

/// What is not there need not be removed.
pub(super) fn gone(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOENT) =>
        {
            Ok(())
        }
        other => other,
    }
}
