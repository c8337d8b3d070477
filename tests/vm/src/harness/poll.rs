//! Waiting: always for something, always to a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Waits between two attempts: a tenth of the time waited so far, so that a long wait costs little. In a
/// test VM time passes by instructions, and asking takes far longer there than waiting.
fn pause(started: Instant) {
    let step = started.elapsed() / 10;
    thread::sleep(step.clamp(Duration::from_millis(5), Duration::from_millis(100)));
}

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
        pause(started);
    }
}

/// Checks now and then for some time, and fails when the check does.
///
/// # Errors
/// As the check.
pub(crate) fn all_along(time: Duration, mut check: impl FnMut() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < time {
        check()?;
        thread::sleep(Duration::from_millis(200).min(time.saturating_sub(started.elapsed())));
    }
    check()
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
            Err(_) => pause(started),
        }
    }
}
