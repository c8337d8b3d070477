//! `dns delay`: names take longer.

use std::{fmt, str::FromStr};

use super::dns::{DnsTcp, Questions, written};
use crate::{
    abi::{self, Asks},
    fault::Direction,
    invalid::{At, Invalid, shown},
    proto::v1,
    value::{Percent, Wait},
    wire::{from_duration, from_wait, percent},
};

/// Questions of the target to name servers are held, or their answers, and go on their way later.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct DnsDelay {
    /// Which questions.
    pub questions: Questions,
    /// What of them is held.
    pub of: DelayOf,
    /// The mean.
    pub latency: Wait,
    /// How far it strays, evenly to both sides.
    pub jitter: Wait,
    /// Which share of them; more than 0.
    pub percent: Percent,
}

/// What is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DelayOf {
    /// Before the name server has them.
    #[default]
    Queries,
    /// Before the target has them.
    Answers,
}

impl DelayOf {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Queries, Self::Answers];

    const fn word(self) -> &'static str {
        match self {
            Self::Queries => "queries",
            Self::Answers => "answers",
        }
    }

    /// Which way it goes, seen from the target.
    #[must_use]
    pub const fn direction(self) -> Direction {
        match self {
            Self::Queries => Direction::Out,
            Self::Answers => Direction::In,
        }
    }

    /// As the kernel reads it.
    #[must_use]
    pub const fn to_abi(self) -> Asks {
        match self {
            Self::Queries => Asks::Query,
            Self::Answers => Asks::Response,
        }
    }
}

impl FromStr for DelayOf {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|of| of.word().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            Invalid::new(format!("{} is neither; give queries or answers", shown(text)))
        })
    }
}

impl fmt::Display for DelayOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

crate::value::serde_as_text!(DelayOf, "queries or answers");

impl DnsDelay {
    /// From parts.
    ///
    /// # Errors
    /// When nothing would be held.
    pub fn new(
        questions: Questions,
        of: Option<DelayOf>,
        latency: Wait,
        jitter: Option<Wait>,
        percent: Option<Percent>,
    ) -> Result<Self, Invalid> {
        let jitter = jitter.unwrap_or(Wait::NONE);
        if jitter == Wait::NONE {
            latency.above_zero().at("latency")?;
        }
        let percent = percent.unwrap_or(Percent::ALL).above_zero().at("percent")?;
        let questions = questions.checked(&DnsTcp::OF_DELAYS)?;
        Ok(Self { questions, of: of.unwrap_or_default(), latency, jitter, percent })
    }

    /// What the kernel does with a packet. Each waits for itself, and for none before.
    #[must_use]
    pub fn hold(&self) -> abi::Hold {
        abi::Hold {
            latency_ns: self.latency.nanos(),
            jitter_ns: self.jitter.nanos(),
            repeat: abi::Chance::NEVER,
            has_shape: 0,
            keeps_order: 0,
        }
    }
}

impl fmt::Display for DnsDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { questions, of, latency, jitter, percent } = self;
        write!(f, "{latency}")?;
        if *jitter > Wait::NONE {
            write!(f, " ± {jitter}")?;
        }
        if *percent != Percent::ALL {
            write!(f, " for {percent}")?;
        }
        write!(f, " {of} {questions}")
    }
}

written! {
    latency: Wait,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jitter: Option<Wait>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<DelayOf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
}

impl TryFrom<Raw> for DnsDelay {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        let (questions, (latency, jitter, of, percent)) = raw.parts();
        Self::new(questions, of, latency, jitter, percent)
    }
}

impl From<DnsDelay> for Raw {
    fn from(delay: DnsDelay) -> Self {
        let DnsDelay { questions, of, latency, jitter, percent } = delay;
        let jitter = (jitter > Wait::NONE).then_some(jitter);
        let percent = (percent != Percent::ALL).then_some(percent);
        Self::new(questions, (latency, jitter, Some(of), percent))
    }
}

impl TryFrom<v1::DnsDelay> for DnsDelay {
    type Error = Invalid;

    fn try_from(wire: v1::DnsDelay) -> Result<Self, Invalid> {
        let of = if wire.of.is_empty() { None } else { Some(wire.of.parse().at("of")?) };
        Self::new(
            wire.questions.unwrap_or_default().try_into()?,
            of,
            from_duration(wire.latency.unwrap_or_default()).at("latency")?,
            wire.jitter.map(from_duration).transpose().at("jitter")?,
            percent(wire.percent).at("percent")?,
        )
    }
}

impl From<&DnsDelay> for v1::DnsDelay {
    fn from(delay: &DnsDelay) -> Self {
        Self {
            questions: Some((&delay.questions).into()),
            of: delay.of.to_string(),
            latency: Some(from_wait(delay.latency)),
            jitter: (delay.jitter > Wait::NONE).then(|| from_wait(delay.jitter)),
            percent: (delay.percent != Percent::ALL).then(|| delay.percent.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::{Spec, from_yaml};

    fn parsed(fields: &str) -> Result<String, String> {
        let text = format!("{{target: {{pid: 1}}, fault: {{dnsDelay: {{{fields}}}}}}}");
        let specs: Vec<Spec> = from_yaml(&text).map_err(|error| error.to_string())?;
        Ok(specs[0].fault.to_string())
    }

    #[test]
    fn it_is_said_shortly() {
        for (fields, said) in [
            ("names: [a.b], latency: 1s", "1s queries a.b"),
            (
                "names: ['**'], latency: 1s, jitter: 5ms, of: answers, percent: 5, tcp: delay",
                "1s ± 5ms for 5 % answers **, TCP: delay",
            ),
        ] {
            assert_eq!(parsed(fields).unwrap(), format!("dns delay {said}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (fields, word) in [
            ("names: [a], latency: 0s", "would do nothing"),
            ("names: [a]", "latency"),
            ("names: [a], latency: 1s, of: both", "give queries or answers"),
            ("names: [a], latency: 1s, tcp: drop", "give pass, delay"),
            ("names: [a], latency: 1s, percent: 0", "0 %"),
        ] {
            let error = parsed(fields).unwrap_err();
            assert!(error.contains(word), "{fields}: {error}");
        }
    }
}
