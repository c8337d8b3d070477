//! Records that a fault chooses, and whether they are in an answer.

use anyhow::{Context as _, Result, bail, ensure};
use chaos_common::{proto::v1, value::Cidr};
use hickory_proto::rr::{DNSClass, Name, RData, Record};

const A: u16 = 1;
const AAAA: u16 = 28;

/// What `dns record` is told.
#[derive(Debug)]
pub(super) struct Records {
    /// Those of a length are distinct, and no range holds another one of them.
    pub(super) addresses: Vec<String>,
    pub(super) cname: Option<&'static str>,
    /// Seconds.
    pub(super) ttl: i64,
}

impl Records {
    /// The same for the daemon.
    pub(super) fn fault(&self, questions: v1::DnsQuestions) -> v1::DnsRecord {
        v1::DnsRecord {
            questions: Some(questions),
            addresses: self.addresses.clone(),
            cname: self.cname.unwrap_or_default().to_owned(),
            ttl: Some(prost_types::Duration { seconds: self.ttl, nanos: 0 }),
            ..Default::default()
        }
    }

    /// The addresses of a type.
    fn of(&self, kind: u16) -> Result<Vec<Cidr>> {
        let all = self.addresses.iter().map(|text| text.parse::<Cidr>());
        let mut all = all.collect::<Result<Vec<_>, _>>()?;
        all.retain(|one| one.first().is_ipv4() == (kind == A) && matches!(kind, A | AAAA));
        Ok(all)
    }

    /// How much room they take. A name that was there before is a pointer of two bytes.
    pub(super) fn bytes(&self, kind: u16) -> Result<usize> {
        let fixed = 2 + 10;
        let cname = self.cname.map_or(0, |name| fixed + name.len() + 2);
        let address = if kind == A { 4 } else { 16 };
        Ok(cname + self.of(kind)?.len() * (fixed + address))
    }

    /// Fails unless an answer has them, and no others.
    pub(super) fn are(&self, answers: &[Record], asked: &Name, kind: u16) -> Result<()> {
        let ttl = u32::try_from(self.ttl)?;
        let is_plain = |one: &Record| one.ttl == ttl && one.dns_class == DNSClass::IN;
        ensure!(answers.iter().all(is_plain), "another time or class: {answers:?}");
        let (owner, answers) = match self.cname {
            None => (asked.clone(), answers),
            Some(cname) => {
                let cname = Name::from_ascii(format!("{cname}."))?;
                let (first, rest) = answers.split_first().context("there is no alias")?;
                let RData::CNAME(target) = &first.data else { bail!("no alias: {first:?}") };
                ensure!(first.name.eq_case(asked) && target.0 == cname, "{first:?}");
                (cname, rest)
            }
        };
        ensure!(answers.iter().all(|one| one.name.eq_case(&owner)), "others' records: {answers:?}");
        // Single addresses first, which are in no range.
        let mut wanted = self.of(kind)?;
        wanted.sort_by_key(|one| std::cmp::Reverse(one.prefix_len()));
        for answer in answers {
            let found = answer.data.ip_addr().with_context(|| format!("no address: {answer:?}"))?;
            let which = wanted.iter().position(|one| one.contains(found));
            let which = which.with_context(|| format!("{found}, too often or at all"))?;
            let _ = wanted.remove(which);
        }
        ensure!(wanted.is_empty(), "without {wanted:?}: {answers:?}");
        Ok(())
    }
}
