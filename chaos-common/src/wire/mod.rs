//! Between the wire's messages and the types of this crate. Faults convert themselves, in their own
//! files.

mod injection;
mod spec;
mod target;
mod time;

pub use time::{from_duration, from_std, from_timestamp, from_wait, to_duration, to_timestamp};

use crate::{invalid::Invalid, value::Percent};

/// Converts a list; an error names the position.
pub(crate) fn list<W, T>(
    wire: Vec<W>,
    convert: impl Fn(W) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    let at = |(n, item)| convert(item).map_err(|invalid| invalid.at(&format!("[{n}]")));
    wire.into_iter().enumerate().map(at).collect()
}

/// A percentage that may be absent.
pub(crate) fn percent(wire: Option<f64>) -> Result<Option<Percent>, Invalid> {
    wire.map(Percent::try_from).transpose()
}
