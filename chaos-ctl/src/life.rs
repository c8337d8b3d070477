//! The flags that say how long and how often.

use chaos_common::{invalid::shown, spec::Times, value::Lifetime};

/// What every fault has, whatever it breaks.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "How long")]
pub(crate) struct LifeArgs {
    /// The fault ends by itself after so long: 90s, 5m, 1h30m
    ///
    /// The kernel itself keeps this deadline: it holds when the daemon is dead. From 1ms to 30 days;
    /// the policy of a node may allow less.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) duration: Option<Lifetime>,

    /// The fault happens at most N times
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) times: Option<Times>,

    /// Draw the same sequence each time
    ///
    /// The n-th matching event fires or does not as a pure function of the seed and n. Without this
    /// flag the daemon draws a seed and `chaos get` shows it.
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = seed)]
    pub(crate) seed: Option<u64>,
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| {
        format!("{} is no seed; give a whole number from 0 to {}", shown(text), u64::MAX)
    })
}
