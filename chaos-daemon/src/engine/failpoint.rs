//! Steps at which a test build dies on request.

/// Kills this process if the environment variable `CHAOS_FAILPOINT` names this step. Does nothing in
/// builds without the feature `failpoints`.
#[inline]
pub fn reached(step: &str) {
    #[cfg(feature = "failpoints")]
    if std::env::var("CHAOS_FAILPOINT").is_ok_and(|named| named == step) {
        // Nothing can be done about a failure here, and the test that asked will see it.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
    #[cfg(not(feature = "failpoints"))]
    let _ = step;
}
