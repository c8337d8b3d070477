//! `network rate`: a line of so many bits per second.

use std::fmt;

use super::NetworkFilter;
use crate::{
    abi,
    invalid::{At, Invalid},
    proto::v1,
    value::{BitRate, Bytes},
};

/// The target's packets go through a line of so many bits per second.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct NetworkRate {
    /// How fast the line is.
    pub rate: BitRate,
    /// What may go at once after a pause.
    pub burst: Bytes,
    /// What becomes of too much.
    pub excess: Excess,
    /// Each connection has a line of its own; else the target has one for all.
    pub per_connection: bool,
    /// Which packets match.
    pub filter: NetworkFilter,
}

/// What becomes of too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// It is dropped.
    Drop,
    /// It waits, up to so many bytes; what does not fit is dropped.
    Queue(Bytes),
}

/// A burst below this would let no full packet pass.
const MIN_BURST: u64 = 1_600;
/// A queue below this would hold no super-packet of TCP.
const MIN_QUEUE: u64 = 65_536;
/// The longest that a packet may wait in the queue.
const MAX_WAIT_S: u64 = 3_600;

impl NetworkRate {
    /// A line with what is not said filled in: a burst of 10 ms, a queue of one second.
    ///
    /// # Errors
    /// When a part does not fit the rate.
    pub fn new(
        rate: BitRate,
        burst: Option<Bytes>,
        excess: Option<Excess>,
        per_connection: bool,
        filter: NetworkFilter,
    ) -> Result<Self, Invalid> {
        let second = rate.get() / 8;
        let burst = burst.unwrap_or(Bytes((second / 100).max(MIN_BURST)));
        if burst.0 < MIN_BURST {
            let problem = format!("{burst} lets no full packet pass; give at least {MIN_BURST}B");
            return Err(Invalid::new(problem).at("burst"));
        }
        let longest = second.saturating_mul(MAX_WAIT_S);
        if burst.0 > longest.max(MIN_QUEUE) {
            let problem = format!("{burst} take the line more than an hour; give less");
            return Err(Invalid::new(problem).at("burst"));
        }
        let excess = excess.unwrap_or(Excess::Queue(Bytes(second.max(MIN_QUEUE))));
        match excess {
            Excess::Queue(queue) if queue.0 < MIN_QUEUE => {
                let problem = format!(
                    "{queue} is too little for what TCP sends at once; give at least 64KiB"
                );
                Err(Invalid::new(problem).at("queue"))
            }
            Excess::Queue(queue) if queue.0 > longest.max(MIN_QUEUE) => {
                let problem = format!("{queue} would wait for more than an hour; give less");
                Err(Invalid::new(problem).at("queue"))
            }
            Excess::Queue(_) | Excess::Drop => {
                Ok(Self { rate, burst, excess, per_connection, filter })
            }
        }
    }

    /// What the kernel does with a packet.
    #[must_use]
    pub fn to_abi(&self) -> abi::Rate {
        let bits_per_second = self.rate.get();
        // An hour of the fastest line is more than 64 bits take on the way.
        let time_of = |Bytes(bytes)| {
            let time = u128::from(bytes) * 8_000_000_000 / u128::from(bits_per_second);
            u64::try_from(time).unwrap_or(u64::MAX)
        };
        abi::Rate {
            bits_per_second,
            burst_ns: time_of(self.burst),
            limit_ns: match self.excess {
                Excess::Drop => 0,
                Excess::Queue(queue) => time_of(queue),
            },
            per_connection: self.per_connection.into(),
        }
    }
}

impl fmt::Display for NetworkRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, burst, excess, per_connection, filter } = self;
        write!(f, "{rate}/s")?;
        if *per_connection {
            f.write_str(" for each connection")?;
        }
        write!(f, ", burst {burst}, ")?;
        match excess {
            Excess::Drop => f.write_str("drop")?,
            Excess::Queue(queue) => write!(f, "queue {queue}")?,
        }
        write!(f, ", {filter}")
    }
}

/// As it is written.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    rate: BitRate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    burst: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue: Option<Bytes>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    drop: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    per_connection: bool,
    #[serde(default)]
    filter: NetworkFilter,
}

impl TryFrom<Raw> for NetworkRate {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        let excess = match (raw.drop, raw.queue) {
            (true, Some(_)) => return Err(Invalid::new("give either `drop` or `queue`")),
            (true, None) => Some(Excess::Drop),
            (false, queue) => queue.map(Excess::Queue),
        };
        let filter = raw.filter.checked().at("filter")?;
        Self::new(raw.rate, raw.burst, excess, raw.per_connection, filter)
    }
}

impl From<NetworkRate> for Raw {
    fn from(line: NetworkRate) -> Self {
        let NetworkRate { rate, burst, excess, per_connection, filter } = line;
        let (drop, queue) = match excess {
            Excess::Drop => (true, None),
            Excess::Queue(queue) => (false, Some(queue)),
        };
        Self { rate, burst: Some(burst), queue, drop, per_connection, filter }
    }
}

impl TryFrom<v1::NetworkRate> for NetworkRate {
    type Error = Invalid;

    fn try_from(wire: v1::NetworkRate) -> Result<Self, Invalid> {
        use v1::network_rate::Excess as Wire;
        let excess = match wire.excess {
            Some(Wire::Drop(true)) => Some(Excess::Drop),
            Some(Wire::QueueBytes(bytes)) => Some(Excess::Queue(Bytes(bytes))),
            Some(Wire::Drop(false)) | None => None,
        };
        let filter = NetworkFilter::try_from(wire.filter.unwrap_or_default())
            .and_then(NetworkFilter::checked)
            .at("filter")?;
        let rate = wire.bits_per_second.try_into().at("rate")?;
        Self::new(rate, wire.burst_bytes.map(Bytes), excess, wire.per_connection, filter)
    }
}

impl From<&NetworkRate> for v1::NetworkRate {
    fn from(line: &NetworkRate) -> Self {
        use v1::network_rate::Excess as Wire;
        Self {
            bits_per_second: line.rate.get(),
            burst_bytes: Some(line.burst.0),
            excess: Some(match line.excess {
                Excess::Drop => Wire::Drop(true),
                Excess::Queue(queue) => Wire::QueueBytes(queue.0),
            }),
            per_connection: line.per_connection,
            filter: Some((&line.filter).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_follows_from_the_rate() {
        let rate = "10Mbit".parse().unwrap();
        let line = NetworkRate::new(rate, None, None, false, NetworkFilter::default()).unwrap();
        assert_eq!(line.burst, Bytes(12_500));
        assert_eq!(line.excess, Excess::Queue(Bytes(1_250_000)));
        assert_eq!(line.to_abi().burst_ns, 10_000_000);
        assert_eq!(line.to_abi().limit_ns, 1_000_000_000);
    }

    #[test]
    fn the_fastest_line_has_a_queue_of_a_second_too() {
        let rate = "100Gbit".parse().unwrap();
        let hour = Excess::Queue("45000GB".parse().unwrap());
        for (excess, seconds) in [(None, 1), (Some(hour), 3600)] {
            let line =
                NetworkRate::new(rate, None, excess, false, NetworkFilter::default()).unwrap();
            assert_eq!(line.to_abi().limit_ns, seconds * 1_000_000_000);
        }
    }

    #[test]
    fn what_nothing_would_fit_into_is_refused() {
        let line = |burst, excess| {
            let rate = "1Mbit".parse().unwrap();
            NetworkRate::new(rate, burst, excess, false, NetworkFilter::default())
        };
        assert!(line(Some(Bytes(100)), None).is_err());
        assert!(line(None, Some(Excess::Queue(Bytes(1500)))).is_err());
        assert!(line(None, Some(Excess::Queue(Bytes(1 << 40)))).is_err());
        assert!(line(None, Some(Excess::Drop)).is_ok());
    }
}
