//! `dns error`: names are not found.

use std::fmt;

use super::dns::{DnsCode, DnsTcp, Questions, written};
use crate::{
    invalid::{At, Invalid},
    proto::v1,
    value::Percent,
    wire::percent,
};

/// Questions of the target to name servers fail.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct DnsError {
    /// Which questions.
    pub questions: Questions,
    /// How they fail.
    pub code: DnsCode,
    /// Which share of them; more than 0.
    pub percent: Percent,
}

impl DnsError {
    /// From parts.
    ///
    /// # Errors
    /// When nothing would fail.
    pub fn new(
        questions: Questions,
        code: Option<DnsCode>,
        percent: Option<Percent>,
    ) -> Result<Self, Invalid> {
        let percent = percent.unwrap_or(Percent::ALL).above_zero().at("percent")?;
        let questions = questions.checked(&DnsTcp::OF_ANSWERS)?;
        Ok(Self { questions, code: code.unwrap_or_default(), percent })
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { questions, code, percent } = self;
        if *percent != Percent::ALL {
            write!(f, "{percent} ")?;
        }
        write!(f, "{code} {questions}")
    }
}

written! {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<DnsCode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
}

impl TryFrom<Raw> for DnsError {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        let (questions, (code, percent)) = raw.parts();
        Self::new(questions, code, percent)
    }
}

impl From<DnsError> for Raw {
    fn from(error: DnsError) -> Self {
        let DnsError { questions, code, percent } = error;
        Self::new(questions, (Some(code), (percent != Percent::ALL).then_some(percent)))
    }
}

impl TryFrom<v1::DnsError> for DnsError {
    type Error = Invalid;

    fn try_from(wire: v1::DnsError) -> Result<Self, Invalid> {
        let questions = wire.questions.unwrap_or_default().try_into()?;
        let code = if wire.code.is_empty() { None } else { Some(wire.code.parse().at("code")?) };
        Self::new(questions, code, percent(wire.percent).at("percent")?)
    }
}

impl From<&DnsError> for v1::DnsError {
    fn from(error: &DnsError) -> Self {
        Self {
            questions: Some((&error.questions).into()),
            code: error.code.to_string(),
            percent: (error.percent != Percent::ALL).then(|| error.percent.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::{Spec, from_yaml};

    fn parsed(fields: &str) -> Result<String, String> {
        let text = format!("{{target: {{pid: 1}}, fault: {{dnsError: {{{fields}}}}}}}");
        let specs: Vec<Spec> = from_yaml(&text).map_err(|error| error.to_string())?;
        Ok(specs[0].fault.to_string())
    }

    #[test]
    fn it_is_said_shortly() {
        for (fields, said) in [
            ("names: [a.b]", "SERVFAIL a.b"),
            (
                "names: ['*.B'], except: [x.b], types: [a, AAAA], code: nxdomain, percent: 5",
                "5 % NXDOMAIN *.b but not x.b, A AAAA",
            ),
            (
                "names: ['**'], servers: [10.0.0.0/8], ports: [5353], code: timeout, tcp: refuse",
                "timeout **, from 10.0.0.0/8, ports 5353, TCP: refuse",
            ),
        ] {
            assert_eq!(parsed(fields).unwrap(), format!("dns error {said}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (fields, word) in [
            ("names: []", "is empty; give names"),
            ("names: [a], code: NO", "give one of FORMERR"),
            ("names: [a], percent: 0", "0 %"),
            ("names: [a], types: [B]", "no type of records"),
            ("names: [a], types: [A, A, A, A, A, A, A, A, A]", "the most is 8"),
            ("names: ['a.*']", "not its first label"),
            ("names: [a, b], except: [B, a, c]", "except: leaves out every name"),
            ("names: [a], tcp: no", "give pass, refuse, reset, drop, delay"),
            ("names: [a], tcp: delay", "tcp: delay is not what this fault does"),
            ("code: REFUSED", "names"),
        ] {
            let error = parsed(fields).unwrap_err();
            assert!(error.contains(word), "{fields}: {error}");
        }
    }
}
