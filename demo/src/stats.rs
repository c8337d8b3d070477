//! What a client saw, and figures of it. Pure.

use std::{fmt, time::Duration};

use crate::clock::Moment;

/// A request without an answer after so long has failed.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

/// Less than TCP waits before it sends a lost segment again (200 ms), more than a loaded machine needs.
const PROMPT: Duration = Duration::from_millis(150);

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) began: Moment,
    /// Until the answer or the end of patience.
    pub(crate) took: Duration,
    pub(crate) answered: bool,
}

impl Request {
    /// Reads a line of the client's.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut nanos = || Some(Duration::from_nanos(words.next()?.parse().ok()?));
        let (began, took) = (Moment(nanos()?), nanos()?);
        Some(Self { began, took, answered: words.next()?.parse().ok()? })
    }

    /// When it was answered or given up.
    pub(crate) fn ended(&self) -> Moment {
        self.began.after(self.took)
    }
}

/// How long a request took, as a percentile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Latency {
    Answered(Duration),
    /// The client gave up before.
    Unanswered,
}

/// Three digits at most; a unit always.
impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Unanswered => format!(">{} s", TIMEOUT.as_secs()),
            Self::Answered(time) => {
                let millis = time.as_secs_f64() * 1e3;
                if millis < 0.9995 {
                    format!("{:.0} µs", millis * 1e3)
                } else if millis < 9.95 {
                    format!("{millis:.1} ms")
                } else {
                    format!("{millis:.0} ms")
                }
            }
        };
        f.pad(&text)
    }
}

/// Figures of some requests. A request without an answer counts in the percentiles, as slower than all others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) requests: usize,
    pub(crate) answered: usize,
    pub(crate) p50: Latency,
    pub(crate) p99: Latency,
    prompt: usize,
}

impl Figures {
    /// None without a request.
    pub(crate) fn of<'a>(requests: impl IntoIterator<Item = &'a Request>) -> Option<Self> {
        let latency = |request: &Request| match request.answered {
            true => Latency::Answered(request.took),
            false => Latency::Unanswered,
        };
        let mut latencies: Vec<Latency> = requests.into_iter().map(latency).collect();
        latencies.sort_unstable();
        let percentile = |percent: usize| {
            let rank = (latencies.len() * percent).div_ceil(100);
            latencies.get(rank.saturating_sub(1)).copied()
        };
        Some(Self {
            p50: percentile(50)?,
            p99: percentile(99)?,
            requests: latencies.len(),
            answered: latencies.partition_point(|latency| *latency < Latency::Unanswered),
            prompt: latencies.partition_point(|latency| *latency < Latency::Answered(PROMPT)),
        })
    }

    /// Share of requests with an answer, in percent.
    pub(crate) fn answered_percent(&self) -> f64 {
        percent(self.answered, self.requests)
    }

    /// Share of requests with an answer that no retransmission can have delayed, in percent.
    pub(crate) fn prompt_percent(&self) -> f64 {
        percent(self.prompt, self.requests)
    }
}

/// `part` of `whole` in percent.
pub(crate) fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(millis: u64, answered: bool) -> Request {
        Request { began: Moment::default(), took: Duration::from_millis(millis), answered }
    }

    #[test]
    fn unanswered_requests_count_as_the_slowest() {
        let requests: Vec<Request> = (1..=60)
            .map(|n| request(n, true))
            .chain((0..40).map(|_| request(1000, false)))
            .collect();
        let figures = Figures::of(&requests).unwrap();
        assert_eq!((figures.requests, figures.answered), (100, 60));
        assert_eq!(figures.p50, Latency::Answered(Duration::from_millis(50)));
        assert_eq!(figures.p99, Latency::Unanswered);
        assert_eq!(Figures::of(&[]), None);
    }

    #[test]
    fn one_request_is_every_percentile() {
        let figures = Figures::of(&[request(210, true)]).unwrap();
        assert_eq!(figures.p50, figures.p99);
        assert_eq!(figures.answered_percent(), 100.0);
        assert_eq!(figures.prompt_percent(), 0.0);
    }

    #[test]
    fn latencies_are_short() {
        let text = |micros| Latency::Answered(Duration::from_micros(micros)).to_string();
        assert_eq!([74, 999].map(text), ["74 µs", "999 µs"]);
        assert_eq!(
            [1_040, 9_940, 9_960, 999_400].map(text),
            ["1.0 ms", "9.9 ms", "10 ms", "999 ms"]
        );
        assert_eq!(format!("{:>6}", Latency::Unanswered), "  >1 s");
    }

    #[test]
    fn lines_are_read() {
        let request = Request::parse("5000000000 210000000 true").unwrap();
        assert_eq!(request.ended(), Moment(Duration::from_millis(5210)));
        assert!(request.answered);
        assert_eq!(Request::parse("5 x true"), None);
        assert_eq!(Request::parse(""), None);
    }
}
