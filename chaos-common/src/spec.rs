//! A fault on a target for a time: what a file, a flag or a request comes down to.

use std::fmt;

use crate::{
    fault::Fault,
    invalid::Invalid,
    target::{Target, checked_name},
    value::{Lifetime, Whole},
    yaml,
};

pub use crate::yaml::{MAX_FILE, YamlError};

/// Reads a file of one or more documents of YAML, each a [`Spec`] or an [`Untargeted`].
///
/// # Errors
/// When the text is too large, is no YAML, holds no document, has a field that is unknown, missing or there
/// twice, or a value that cannot be used; the message has the line and the path of the field.
pub fn from_yaml<T: serde::de::DeserializeOwned>(text: &str) -> Result<Vec<T>, YamlError> {
    let documents = yaml::from_yaml(text)?;
    if documents.is_empty() {
        return Err(Invalid::new("the file holds no fault").into());
    }
    Ok(documents)
}

/// Everything that makes an injection, but its id.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Where.
    pub target: Target,
    /// What.
    pub fault: Fault,
    /// How long.
    #[serde(default = "default_lifetime")]
    pub duration: Lifetime,
    /// How often at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
    /// Which sequence; the same seed gives the same.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "seed")]
    pub seed: Option<u64>,
}

/// What goes wrong and how often, the place being given by something else (`chaos exec`).
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(remote = "Self", rename_all = "camelCase", deny_unknown_fields)]
pub struct Untargeted {
    /// What.
    pub fault: Fault,
    /// How long; absent is as long as the command runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Lifetime>,
    /// How often at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
    /// Which sequence; the same seed gives the same.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "seed")]
    pub seed: Option<u64>,
}

impl Spec {
    /// The same, if its fields go together.
    ///
    /// # Errors
    /// When a limit means nothing to the fault.
    pub fn checked(self) -> Result<Self, Invalid> {
        check_limits(&self.fault, self.times, self.seed).map(|()| self)
    }
}

impl Untargeted {
    /// The same, if its fields go together.
    ///
    /// # Errors
    /// When a limit means nothing to the fault.
    pub fn checked(self) -> Result<Self, Invalid> {
        check_limits(&self.fault, self.times, self.seed).map(|()| self)
    }
}

fn check_limits(fault: &Fault, times: Option<Times>, seed: Option<u64>) -> Result<(), Invalid> {
    let field = match (times, seed) {
        (Some(_), _) => "times",
        (None, Some(_)) => "seed",
        (None, None) => return Ok(()),
    };
    if fault.has_events() {
        return Ok(());
    }
    let kind = fault.kind();
    let problem =
        format!("{kind} is there all the time: nothing is counted or drawn; leave it out");
    Err(Invalid::new(problem).at(field))
}

impl serde::Serialize for Spec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Spec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)?.checked().map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for Untargeted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Untargeted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)?.checked().map_err(serde::de::Error::custom)
    }
}

fn seed<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Seed(u64);

    impl<'de> serde::Deserialize<'de> for Seed {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let belongs = "a whole number from 0 to 18446744073709551615";
            deserializer.deserialize_u64(Whole { belongs, check: |seed| Ok(Self(seed)) })
        }
    }

    let seed: Option<Seed> = serde::Deserialize::deserialize(deserializer)?;
    Ok(seed.map(|Seed(seed)| seed))
}

fn default_lifetime() -> Lifetime {
    Lifetime::DEFAULT
}

/// How often a fault may happen: at least once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(into = "u64")]
pub struct Times(u64);

impl<'de> serde::Deserialize<'de> for Times {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let belongs = "a whole number from 1 on";
        deserializer.deserialize_u64(Whole { belongs, check: Self::try_from })
    }
}

impl Times {
    const MIN: u64 = 1;
    /// One more is the word for no limit in a rule.
    const MAX: u64 = u64::MAX - 1;

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Times {
    type Error = Invalid;

    fn try_from(times: u64) -> Result<Self, Invalid> {
        if (Self::MIN..=Self::MAX).contains(&times) {
            Ok(Self(times))
        } else {
            Err(Invalid::new(format!(
                "{times} times is no limit; give {} to {}, or leave it out",
                Self::MIN,
                Self::MAX
            )))
        }
    }
}

impl From<Times> for u64 {
    fn from(times: Times) -> Self {
        times.0
    }
}

impl std::str::FromStr for Times {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number: u64 = text.parse().map_err(|_| {
            let text = crate::invalid::shown(text);
            Invalid::new(format!("{text} is no whole number from {} to {}", Self::MIN, Self::MAX))
        })?;
        number.try_into()
    }
}

checked_name! {
    /// Name of an injection: 1 to 63 of `a-z`, `0-9` and `-`, beginning and ending with a letter or
    /// digit. It is also the name of its journal file.
    InjectionId, "an injection id, as loss-1", |text| {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if (1..=63).contains(&text.len()) && plain && !text.starts_with('-') && !text.ends_with('-') {
            Ok(())
        } else {
            Err(format!(
                "{} is no injection id; give 1 to 63 of a-z, 0-9 and - (not at the ends)",
                crate::invalid::shown(text)
            ))
        }
    }
}

impl PartialOrd for InjectionId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for InjectionId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} for {}", self.fault, self.target, self.duration)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOSS: &str = "
target: {unit: nginx.service}
duration: 90s
times: 3
fault:
  networkLoss:
    percent: 30
    filter:
      remote: [10.0.0.0/8, 'fd00::/8']
      except: [10.0.0.1]
      remotePorts: [5432, '6000-6010']
      protocols: [tcp]
";

    #[test]
    fn yaml_survives_a_round_trip_through_json() {
        let specs: Vec<Spec> = from_yaml(LOSS).unwrap();
        let json = serde_json::to_string(&specs[0]).unwrap();
        assert_eq!(serde_json::from_str::<Spec>(&json).unwrap(), specs[0]);
        assert_eq!(
            specs[0].to_string(),
            "network loss 30 %, out, remote 10.0.0.0/8,fd00::/8, except 10.0.0.1, \
             remote ports 5432,6000-6010, tcp on unit nginx.service for 1m 30s"
        );
    }

    #[test]
    fn several_documents_are_several_specs() {
        let text = format!("{LOSS}---{LOSS}");
        assert_eq!(from_yaml::<Spec>(&text).unwrap().len(), 2);
    }

    #[test]
    fn mistakes_are_named() {
        for (change, word) in [
            (LOSS.replace("percent: 30", "percent: 101"), "percentage"),
            (LOSS.replace("percent: 30", "percent: .nan"), "percentage"),
            (LOSS.replace("percent: 30", "percent: 0"), "nothing"),
            (LOSS.replace("percent: 30", "procent: 30"), "procent"),
            (LOSS.replace("times: 3", "time: 3"), "time"),
            (LOSS.replace("times: 3", "times: 0"), "limit"),
            (LOSS.replace("90s", "0s"), "least"),
            (LOSS.replace("90s", "1000years"), "too long"),
            (LOSS.replace("5432", "99999"), "port"),
            (LOSS.replace("except: [10.0.0.1]", "except: [10.0.0.0/8]"), "both"),
            (LOSS.replace("networkLoss", "networkLoose"), "networkLoose"),
            (
                LOSS.replace("networkLoss:", "networkOccupy: {ports: [80]}")
                    .split("    percent")
                    .next()
                    .unwrap()
                    .into(),
                "times: network occupy is there all the time",
            ),
            (String::new(), "no fault"),
            ("\0".into(), ""),
            ("a".repeat(2 << 20), "bytes"),
        ] {
            let error = from_yaml::<Spec>(&change).unwrap_err();
            assert!(error.to_string().contains(word), "{word}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            let _ = from_yaml::<Spec>(&text);
        }

        #[test]
        fn no_mutation_panics(at in 0..LOSS.len(), with: char) {
            let mut text = LOSS.to_owned();
            text.insert(at, with);
            let _ = from_yaml::<Spec>(&text);
        }
    }
}
