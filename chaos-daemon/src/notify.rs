//! Word to systemd, for `Type=notify`.

use sd_notify::NotifyState;

/// Everything is up.
pub(crate) fn ready() {
    send(&[NotifyState::Ready]);
}

/// The end has begun.
pub(crate) fn stopping() {
    send(&[NotifyState::Stopping]);
}

fn send(states: &[NotifyState<'_>]) {
    // Not started by systemd, or not to notify: fine.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "could not notify systemd");
    }
}
