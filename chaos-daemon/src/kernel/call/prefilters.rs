//! What the rules of each target have in common: what the programs ask first, before they look any rule up.

use std::collections::BTreeMap;

use aya::maps::{Array, MapData};
use chaos_common::{
    abi::{Condition, PREFILTERS, Prefilter, Start},
    value::PathGlob,
};

use super::rule_spec::CallSpec;
use crate::kernel::{KernelError, RuleId, tables::at};

pub(super) struct Prefilters {
    table: Array<MapData, Prefilter>,
    known: Known,
}

impl Prefilters {
    pub(super) fn new(table: Array<MapData, Prefilter>) -> Self {
        Self { table, known: Known::default() }
    }

    /// Lets calls through that a rule may be about; to be called before the programs find it.
    pub(super) fn put(
        &mut self,
        rule: RuleId,
        cgroup: u64,
        spec: &CallSpec,
    ) -> Result<(), KernelError> {
        self.adopt(rule, cgroup, spec);
        self.update(place(cgroup))
    }

    /// The same of a rule that an earlier process put. Nothing is written before [`Self::sweep`].
    pub(super) fn adopt(&mut self, rule: RuleId, cgroup: u64, spec: &CallSpec) {
        self.known.add(rule, part(cgroup, spec));
    }

    /// Forgets a rule; to be called when the programs do not find it any more. Where that cannot be written, the table lets
    /// more through than it need.
    pub(super) fn remove(&mut self, rule: RuleId) -> Result<(), KernelError> {
        self.known.remove(rule).map_or(Ok(()), |cgroup| self.update(place(cgroup)))
    }

    /// Makes the table say what is put or adopted here, and nothing else.
    pub(super) fn sweep(&mut self) -> Result<(), KernelError> {
        (0..PREFILTERS).try_for_each(|place| self.update(place))
    }

    fn update(&mut self, place: u32) -> Result<(), KernelError> {
        let present = self.table.get(&place, 0).map_err(at("read what rules have in common"))?;
        let wanted = self.known.at(place, present.cgroup);
        let mut write = |filter: Prefilter| {
            self.table.set(place, &filter, 0).map_err(at("write what rules have in common"))
        };
        if present == wanted {
            return Ok(());
        }
        if present.cgroup != wanted.cgroup {
            // Or programs might for a moment take what is known of one target for another's.
            write(Prefilter { cgroup: 0, ..wanted })?;
        }
        write(wanted)
    }
}

/// Which rules there are, and what each is about.
#[derive(Default)]
struct Known {
    /// By place in the table and target. Of several at one place the programs know one.
    targets: BTreeMap<(u32, u64), BTreeMap<RuleId, Prefilter>>,
    /// Whose they are.
    cgroups: BTreeMap<RuleId, u64>,
}

impl Known {
    fn add(&mut self, rule: RuleId, part: Prefilter) {
        let parts = self.targets.entry((place(part.cgroup), part.cgroup)).or_default();
        parts.insert(rule, part);
        self.cgroups.insert(rule, part.cgroup);
    }

    /// Says whose it was.
    fn remove(&mut self, rule: RuleId) -> Option<u64> {
        let cgroup = self.cgroups.remove(&rule)?;
        let key = (place(cgroup), cgroup);
        let parts = self.targets.get_mut(&key)?;
        parts.remove(&rule);
        if parts.is_empty() {
            self.targets.remove(&key);
        }
        Some(cgroup)
    }

    /// What a place is to say. A target whose place it is keeps it.
    fn at(&self, place: u32, holder: u64) -> Prefilter {
        let mut here = self.targets.range((place, 0)..=(place, u64::MAX));
        let kept = self.targets.get_key_value(&(place, holder)).or_else(|| here.next());
        kept.and_then(|(_, parts)| parts.values().copied().reduce(both)).unwrap_or_default()
    }
}

const fn place(cgroup: u64) -> u32 {
    cgroup as u32 % PREFILTERS
}

/// What admits the calls of both.
fn both(one: Prefilter, other: Prefilter) -> Prefilter {
    Prefilter {
        cgroup: one.cgroup,
        calls: std::array::from_fn(|at| one.calls[at] | other.calls[at]),
        operations: one.operations | other.operations,
        path: one.path.or(other.path),
        top: one.top.or(other.top),
        comm: one.comm.or(other.comm),
    }
}

/// What a rule is about, as far as programs ask it first.
fn part(cgroup: u64, spec: &CallSpec) -> Prefilter {
    let rule = &spec.rule;
    let all =
        Prefilter { cgroup, calls: rule.calls, operations: rule.operations, ..Default::default() };
    // A call that is not to wait has to be seen too: it ends what is known of the thread's last one.
    if rule.errno == 0 {
        return all;
    }
    let (paths, _) = &spec.paths;
    let starts = || paths.iter().map(PathGlob::start);
    let any = |starts: Option<Start>| starts.unwrap_or(Start::ANY);
    let comm = rule.comm.split_inclusive(|byte| *byte == 0).next();
    Prefilter {
        path: beyond_root(any(starts().map(|start| Start::of(&start)).reduce(Start::or))),
        top: any(starts().map(|start| Start::of(&first_name(&start))).reduce(Start::or)),
        comm: any(comm.filter(|_| Condition::Comm.is_in(rule.conditions)).map(Start::of)),
        ..all
    }
}

/// A slash is what all begin with that are asked.
fn beyond_root(start: Start) -> Start {
    if start == Start::of(b"/") { Start::ANY } else { start }
}

/// How the first name of paths begins that begin so. The root itself has none, and the kernel calls it by another.
fn first_name(start: &[u8]) -> Vec<u8> {
    let names = start.get(1..).unwrap_or_default();
    match names.split(|byte| *byte == b'/').next() {
        Some(b"\0") => Vec::new(),
        Some(first) if first.len() < names.len() => [first, b"\0"].concat(),
        _ => names.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use chaos_common::{
        abi::{CallRule, Glob},
        value::PathGlob,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::call::glob;

    fn spec(paths: Vec<PathGlob>) -> CallSpec {
        CallSpec {
            rule: CallRule { errno: 5, conditions: Condition::Path as u32, ..Default::default() },
            paths: (paths, Vec::new()),
            programs: Vec::new(),
            remotes: Default::default(),
            about: String::new(),
            missing: String::new(),
        }
    }

    fn word(text: &[u8]) -> u64 {
        let bytes = text.iter().copied().chain([0; 8]).take(8);
        u64::from_ne_bytes(bytes.collect::<Vec<_>>().try_into().unwrap())
    }

    #[test]
    fn first_names_are_found() {
        for (start, name) in [
            ("/data/", "data\0"),
            ("/data/x", "data\0"),
            ("/data\0", "data\0"),
            ("/da", "da"),
            ("/", ""),
            ("/\0", ""),
        ] {
            assert_eq!(first_name(start.as_bytes()), name.as_bytes(), "{start}");
        }
    }

    #[test]
    fn a_call_that_may_wait_is_seen_whatever_it_is_about() {
        let mut waits = spec(vec!["/data/**".parse().unwrap()]);
        assert!(!part(1, &waits).path.is_any());
        waits.rule.errno = 0;
        assert!(part(1, &waits).path.is_any() && part(1, &waits).top.is_any());
    }

    #[test]
    fn a_thread_s_name_counts_only_where_it_is_asked() {
        let mut named = spec(Vec::new());
        named.rule.comm[..2].copy_from_slice(b"ab");
        assert!(part(1, &named).comm.is_any());
        named.rule.conditions = Condition::Comm as u32;
        let comm = part(1, &named).comm;
        assert!(comm.admits(word(b"ab")) && !comm.admits(word(b"abc")));
    }

    #[test]
    fn of_targets_that_share_a_place_one_is_known() {
        let (first, other) = (7, 7 + u64::from(PREFILTERS));
        let part = |cgroup, operations| Prefilter { cgroup, operations, ..Default::default() };
        let mut known = Known::default();
        known.add(RuleId(1), part(other, 1));
        assert_eq!(known.at(7, 0).cgroup, other);
        known.add(RuleId(2), part(first, 2));
        known.add(RuleId(3), part(other, 4));
        assert_eq!(known.at(7, other), part(other, 1 | 4));
        assert_eq!(known.remove(RuleId(1)), Some(other));
        assert_eq!(known.at(7, other), part(other, 4));
        assert_eq!(known.remove(RuleId(3)), Some(other));
        assert_eq!(known.at(7, other), part(first, 2));
        assert_eq!(known.remove(RuleId(2)), Some(first));
        assert_eq!(known.at(7, first), Prefilter::default());
        assert_eq!(known.remove(RuleId(2)), None);
        assert!(known.targets.is_empty() && known.cgroups.is_empty());
    }

    /// Patterns of a path: some of its letters, names and ends are others'.
    fn globs_of(path: String) -> impl Strategy<Value = (String, Vec<String>)> {
        let letters = path.len();
        let change =
            (0..letters, prop::sample::select(vec!["*", "?", "[a-z]*", "{x,y}", "**", "/**", ""]));
        let glob = |path: &str, changes: &[(usize, &str)]| {
            let mut text = path.to_owned();
            for (at, with) in changes {
                let cut = at % text.len().max(1);
                if with.contains("**") {
                    text.truncate(
                        text[..=cut.min(text.len() - 1)].rfind('/').map_or(0, |slash| slash + 1),
                    );
                    text.push_str("**");
                } else if cut > 0 && text.as_bytes()[cut] != b'/' {
                    text.replace_range(cut..=cut, with);
                }
            }
            text
        };
        prop::collection::vec(prop::collection::vec(change, 0..3), 1..3).prop_map(move |globs| {
            (path.clone(), globs.iter().map(|changes| glob(&path, changes)).collect())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { max_global_rejects: 4096, ..ProptestConfig::default() })]

        /// What a pattern matches is never left out.
        #[test]
        fn matches_are_admitted(
            (path, globs) in "/|(/[abx]{1,9}){1,4}".prop_flat_map(globs_of),
        ) {
            let parsed: Result<Vec<PathGlob>, _> = globs.iter().map(|text| text.parse()).collect();
            prop_assume!(parsed.is_ok());
            let parsed = parsed.unwrap_or_default();
            let compiled = glob::compile(&parsed, &[]).unwrap();
            let step = |state, byte| compiled.step(state, byte);
            prop_assume!(Glob::accepts(path.bytes().rev().fold(compiled.start, step)));
            let filter = part(1, &spec(parsed));
            prop_assert!(filter.path.admits(word(path.as_bytes())));
            // As the kernel calls it.
            let first = if path == "/" { "/" } else { path[1..].split('/').next().unwrap() };
            prop_assert!(filter.top.admits(word(first.as_bytes())));
        }

        /// What one of two rules is about is never left out.
        #[test]
        fn both_are_admitted(starts in prop::array::uniform6("[ab]{0,8}"), text in "[ab]{0,8}") {
            let [a, b, c, d, e, f] = starts.map(|start| Start::of(start.as_bytes()));
            let filter = |path, top, comm| Prefilter { path, top, comm, ..Default::default() };
            let (one, other) = (filter(a, b, c), filter(d, e, f));
            let (both, text) = (both(one, other), word(text.as_bytes()));
            type Of = fn(&Prefilter) -> Start;
            let all: [Of; 3] = [|filter| filter.path, |filter| filter.top, |filter| filter.comm];
            for start in all {
                let is_about = start(&one).admits(text) || start(&other).admits(text);
                prop_assert!(!is_about || start(&both).admits(text));
            }
        }
    }
}
