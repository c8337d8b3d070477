//! Moments in RFC 3339 and UTC, and durations as people say them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second that RFC 3339 can write: the end of the year 9999.
const LAST: Duration = Duration::from_secs(253_402_300_799);

fn writable(moment: SystemTime) -> SystemTime {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + since.min(LAST)
}

/// `2026-11-24T12:00:00Z`
pub(crate) fn moment(moment: SystemTime) -> String {
    humantime::format_rfc3339_seconds(writable(moment)).to_string()
}

/// `2026-11-24T12:00:00.123456Z`
pub(crate) fn precise(moment: SystemTime) -> String {
    humantime::format_rfc3339_micros(writable(moment)).to_string()
}

/// The duration in whole seconds, rounded, and of its units the two largest: `4m 59s`, `2days 3h`.
fn short(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_millis() >= 500);
    let all = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    all.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// How long until then; `0s` when that is past.
pub(crate) fn left(until: SystemTime, now: SystemTime) -> String {
    short(until.duration_since(now).unwrap_or_default())
}

/// `in 5m`, or `now` when that is past.
pub(crate) fn ahead(until: SystemTime, now: SystemTime) -> String {
    match left(until, now).as_str() {
        "0s" => "now".to_owned(),
        left => format!("in {left}"),
    }
}

/// `5m ago`
pub(crate) fn ago(moment: SystemTime, now: SystemTime) -> String {
    match now.duration_since(moment) {
        Ok(past) => format!("{} ago", short(past)),
        Err(_) => "just now".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_moment_panics() {
        let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!(moment(far), "9999-12-31T23:59:59Z");
        assert_eq!(moment(UNIX_EPOCH - Duration::from_secs(5)), "1970-01-01T00:00:00Z");
        assert_eq!(precise(UNIX_EPOCH + Duration::from_micros(1)), "1970-01-01T00:00:00.000001Z");
        assert_eq!(left(UNIX_EPOCH, far), "0s");
        assert_eq!(ago(far, UNIX_EPOCH), "just now");
    }

    #[test]
    fn durations_are_rounded_short() {
        let later = |ms| ahead(UNIX_EPOCH + Duration::from_millis(ms), UNIX_EPOCH);
        assert_eq!(later(299_900), "in 5m");
        assert_eq!(later(61_400), "in 1m 1s");
        assert_eq!(later(400), "now");
        assert_eq!(later(((2 * 24 + 3) * 3600 + 59) * 1000), "in 2days 3h");
    }
}
