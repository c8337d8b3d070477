//! Waiting: always for something, always to a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

const STEP: Duration = Duration::from_millis(10);

/// Asks again and again until there is an answer.
///
/// # Errors
/// When the deadline passes first, or at once when asking fails.
pub(crate) fn until<T>(
    what: &str,
    within: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().with_context(|| format!("while waiting for {what}"))? {
            return Ok(answer);
        }
        if started.elapsed() >= within {
            bail!("waited {within:?} in vain for {what}");
        }
        thread::sleep(STEP);
    }
}

/// Asks again and again until the check holds; the last failure is the reason when it never does.
///
/// # Errors
/// When the deadline passes first.
pub(crate) fn until_ok<T>(
    what: &str,
    within: Duration,
    mut check: impl FnMut() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(error) if started.elapsed() >= within => {
                return Err(error.context(format!("waited {within:?} in vain for {what}")));
            }
            Err(_) => thread::sleep(STEP),
        }
    }
}
