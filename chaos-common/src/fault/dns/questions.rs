//! Which questions to name servers.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use crate::{
    abi::{Asks, MAX_QUESTION_TYPES, Name, PREFIX_EXCEPT, PREFIX_INCLUDE, QuestionFilter},
    fault::{Direction, DnsTcp, NetworkFilter, Protocol},
    invalid::{At, Invalid},
    proto::v1,
    value::{DNS_PORT, DnsPattern, DnsType, Percent, PortRange, PortRanges, Remotes},
    wire::list,
};

/// Patterns that one fault may have, with and without those that it leaves out.
const MOST: usize = 10_000;

/// Questions of the target, over UDP; and its connections to name servers, whatever it asks there.
#[derive(Clone, Debug, PartialEq)]
pub struct Questions {
    /// For these names; at least one.
    pub names: Vec<DnsPattern>,
    /// But not for these: what is more particular counts.
    pub except: Vec<DnsPattern>,
    /// For records of these types; none is all.
    pub types: Vec<DnsType>,
    /// To these name servers; none is all.
    pub servers: Remotes,
    /// At these ports; none is 53.
    pub ports: PortRanges,
    /// What becomes of connections.
    pub tcp: DnsTcp,
}

impl Questions {
    /// Checks how many there are, and that a kind of fault does what it is to do to connections.
    ///
    /// # Errors
    /// When there is no name, or too much, or it does not.
    pub fn checked(self, tcp: &[DnsTcp]) -> Result<Self, Invalid> {
        self.tcp.among(tcp).at("tcp")?;
        if self.names.is_empty() {
            let problem = "is empty; give names, as api.example.com or *.internal, or ** for all";
            return Err(Invalid::new(problem).at("names"));
        }
        for (patterns, field) in [(&self.names, "names"), (&self.except, "except")] {
            if patterns.len() > MOST {
                let problem = format!("has {} patterns; the most is {MOST}", patterns.len());
                return Err(Invalid::new(problem).at(field));
            }
        }
        let except: HashSet<&DnsPattern> = self.except.iter().collect();
        if self.names.iter().all(|name| except.contains(name)) {
            let problem = "leaves out every name that is meant; leave some of them in";
            return Err(Invalid::new(problem).at("except"));
        }
        if self.types.len() > MAX_QUESTION_TYPES {
            let problem =
                format!("has {} types; the most is {MAX_QUESTION_TYPES}", self.types.len());
            return Err(Invalid::new(problem).at("types"));
        }
        Ok(self)
    }

    /// The packets that carry them, or their answers.
    #[must_use]
    pub fn packets(&self, direction: Direction) -> NetworkFilter {
        let tcp = (self.tcp != DnsTcp::Pass).then_some(Protocol::Tcp);
        NetworkFilter {
            direction: Some(direction),
            protocols: std::iter::once(Protocol::Udp).chain(tcp).collect(),
            ..at(&self.servers, &self.ports)
        }
    }

    /// The same as the kernel reads it, but for the names: questions or their answers, and a share of connections.
    #[must_use]
    pub fn to_abi(&self, asks: Asks, streams: Percent) -> QuestionFilter {
        let mut types = [0; MAX_QUESTION_TYPES];
        for (slot, kind) in types.iter_mut().zip(&self.types) {
            *slot = kind.number();
        }
        QuestionFilter {
            asks: asks as u32,
            is_listed: u32::from(!self.are_all()),
            tcp: self.tcp.to_abi() as u32,
            streams: streams.chance(),
            types,
            ..QuestionFilter::default()
        }
    }

    /// Whether they are for every name.
    fn are_all(&self) -> bool {
        self.except.is_empty() && self.names.iter().any(DnsPattern::is_all)
    }

    /// Names as the kernel reads them: a prefix, how many bits of it count, and whether what begins so is meant.
    #[must_use]
    pub fn prefixes(&self, rule: u32) -> Vec<(u32, Name, u32)> {
        if self.are_all() {
            return Vec::new();
        }
        // Of two that are alike the second counts.
        let include = self.names.iter().map(|pattern| (pattern.clone(), PREFIX_INCLUDE));
        let except = self.except.iter().map(|pattern| (pattern.clone(), PREFIX_EXCEPT));
        let given: BTreeMap<DnsPattern, u32> = include.chain(except).collect();
        let mut entries: BTreeMap<(u32, Name), u32> =
            given.iter().map(|(pattern, verdict)| (pattern.to_abi(rule), *verdict)).collect();
        // A domain itself begins as what lies below it, and has to say what is above that.
        for top in given.keys().filter_map(DnsPattern::top) {
            let above = || top.above().find_map(|pattern| given.get(&pattern).copied());
            entries.entry(top.to_abi(rule)).or_insert_with(|| above().unwrap_or(PREFIX_EXCEPT));
        }
        entries.into_iter().map(|((bits, name), verdict)| (bits, name, verdict)).collect()
    }
}

/// What goes to name servers that listen at ports; none is 53.
pub(in crate::fault) fn at(servers: &Remotes, ports: &PortRanges) -> NetworkFilter {
    let usual = || {
        let port = PortRange::new(DNS_PORT, DNS_PORT);
        port.and_then(|port| PortRanges::try_from(vec![port])).unwrap_or_default()
    };
    let remote_ports = if ports.is_empty() { usual() } else { ports.clone() };
    NetworkFilter { remote: servers.clone(), remote_ports, ..NetworkFilter::default() }
}

/// Name servers and where they listen, from the wire.
pub(in crate::fault) fn name_servers(
    servers: Vec<String>,
    ports: Vec<v1::PortRange>,
) -> Result<(Remotes, PortRanges), Invalid> {
    let servers = list(servers, |text| text.parse()).and_then(Remotes::try_from).at("servers")?;
    let ports = list(ports, TryInto::try_into).and_then(PortRanges::try_from).at("ports")?;
    Ok((servers, ports))
}

impl TryFrom<v1::DnsQuestions> for Questions {
    type Error = Invalid;

    fn try_from(wire: v1::DnsQuestions) -> Result<Self, Invalid> {
        let (servers, ports) = name_servers(wire.servers, wire.ports)?;
        Ok(Self {
            names: list(wire.names, |name| name.parse()).at("names")?,
            except: list(wire.except, |name| name.parse()).at("except")?,
            types: list(wire.types, |kind| kind.parse()).at("types")?,
            servers,
            ports,
            tcp: match wire.tcp.as_str() {
                "" => DnsTcp::default(),
                text => text.parse().at("tcp")?,
            },
        })
    }
}

impl From<&Questions> for v1::DnsQuestions {
    fn from(questions: &Questions) -> Self {
        Self {
            names: texts(&questions.names),
            except: texts(&questions.except),
            types: texts(&questions.types),
            servers: texts(questions.servers.iter()),
            ports: questions.ports.iter().map(Into::into).collect(),
            tcp: questions.tcp.to_string(),
        }
    }
}

pub(in crate::fault) fn texts<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}

impl fmt::Display for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More are only counted.
        const SHOWN: usize = 8;
        fn some<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
            for (n, item) in items.iter().take(SHOWN).enumerate() {
                write!(f, "{}{item}", if n > 0 { " " } else { "" })?;
            }
            if items.len() > SHOWN {
                write!(f, " and {} more", items.len() - SHOWN)
            } else {
                Ok(())
            }
        }
        some(f, &self.names)?;
        if !self.except.is_empty() {
            f.write_str(" but not ")?;
            some(f, &self.except)?;
        }
        if !self.types.is_empty() {
            f.write_str(", ")?;
            some(f, &self.types)?;
        }
        if !self.servers.is_empty() {
            write!(f, ", from {}", self.servers)?;
        }
        if !self.ports.is_empty() {
            write!(f, ", ports {}", self.ports)?;
        }
        if self.tcp != DnsTcp::Pass {
            write!(f, ", TCP: {}", self.tcp)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::abi::NAME_HEAD_BITS;

    fn questions(names: &[&str], except: &[&str]) -> Questions {
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let wire =
            v1::DnsQuestions { names: texts(names), except: texts(except), ..Default::default() };
        wire.try_into().unwrap()
    }

    /// Whether a name is meant, as the page says it.
    fn means(questions: &Questions, name: &str) -> bool {
        let best = |patterns: &[DnsPattern]| {
            patterns.iter().filter_map(|pattern| pattern.fits(name)).max()
        };
        match (best(&questions.names), best(&questions.except)) {
            (Some(include), Some(except)) => include > except,
            (include, None) => include.is_some(),
            (None, Some(_)) => false,
        }
    }

    /// As the programs do: the longest prefix decides.
    fn found(questions: &Questions, name: &str) -> bool {
        if questions.are_all() {
            return true;
        }
        let entries = questions.prefixes(7);
        let wanted = name.parse::<DnsPattern>().unwrap().to_abi(7).1.bytes;
        let table: HashMap<(u32, Name), u32> =
            entries.iter().map(|(bits, name, verdict)| ((*bits, *name), *verdict)).collect();
        assert_eq!(table.len(), entries.len());
        let fits = |bits: u32, name: &Name| {
            let bytes = (bits - NAME_HEAD_BITS) as usize / 8;
            name.bytes[..bytes] == wanted[..bytes]
        };
        let best = table
            .iter()
            .filter(|((bits, name), _)| fits(*bits, name))
            .max_by_key(|((bits, _), _)| *bits);
        best.is_some_and(|(_, verdict)| *verdict == PREFIX_INCLUDE)
    }

    #[test]
    fn what_is_more_particular_counts() {
        for (names, except, name, wanted) in [
            (&["a.b"][..], &[][..], "a.b", true),
            (&["a.b"], &[], "x.a.b", false),
            (&["*.b"], &[], "a.b", true),
            (&["*.b"], &[], "b", false),
            (&["*.b", "b"], &[], "b", true),
            (&["**"], &["*.b"], "b", true),
            (&["**"], &["*.b"], "a.b", false),
            (&["**", "*.b"], &[], "b", true),
            (&["**"], &["*.b", "b"], "b", false),
            (&["*.b"], &["*.a.b"], "x.a.b", false),
            (&["*.b"], &["*.a.b"], "a.b", true),
            (&["*.b", "x.a.b"], &["*.a.b"], "x.a.b", true),
            (&["a.b"], &["a.b"], "a.b", false),
            (&["**"], &[], "anything", true),
        ] {
            let questions = questions(names, except);
            assert_eq!(means(&questions, name), wanted, "{questions}: {name}");
            assert_eq!(found(&questions, name), wanted, "{questions}: {name}");
        }
    }

    proptest! {
        /// The kernel's table says what the patterns say.
        #[test]
        fn the_table_is_the_patterns(
            names in prop::collection::vec("(\\*\\.)?[ab](\\.[ab]){0,2}|\\*\\*", 1..5),
            except in prop::collection::vec("(\\*\\.)?[ab](\\.[ab]){0,2}", 0..4),
            name in "[ab](\\.[ab]){0,3}",
        ) {
            let wire = v1::DnsQuestions { names, except, ..Default::default() };
            let questions = Questions::try_from(wire).unwrap();
            prop_assert_eq!(found(&questions, &name), means(&questions, &name));
        }
    }
}
