//! Patterns of paths as automata that the programs read, from a path's end to its beginning.

use std::collections::HashMap;

use chaos_common::{
    abi::{GLOB_ACCEPTS, GLOB_CELLS, GLOB_DEAD, Glob},
    value::PathGlob,
};
use regex_automata::{
    Anchored, MatchKind, PatternID,
    dfa::{Automaton as _, StartKind, dense},
    nfa::thompson,
    util::{primitives::StateID, start, syntax},
};

/// Bytes that an automaton may have on its way to a table: a word for each cell, and as much again for where they begin
/// and end. What needs more is given up early.
const LIMIT: usize = 2 * GLOB_CELLS * size_of::<u32>();

/// What patterns come to as one automaton.
///
/// # Errors
/// When that would be too large, with what to do about it.
pub(in crate::kernel) fn compile(
    include: &[PathGlob],
    except: &[PathGlob],
) -> Result<Box<Glob>, String> {
    let too_large = || {
        let count = include.len() + except.len();
        format!(
            "{count} patterns of paths are too many, or have too many `*` and `**`; give fewer, or simpler ones"
        )
    };
    let texts: Vec<&str> = include.iter().chain(except).map(PathGlob::regex).collect();
    let dfa = dense::Builder::new()
        .configure(
            dense::Config::new()
                .match_kind(MatchKind::All)
                .start_kind(StartKind::Anchored)
                .minimize(false)
                .dfa_size_limit(Some(LIMIT))
                .determinize_size_limit(Some(8 * LIMIT)),
        )
        .thompson(thompson::Config::new().reverse(true).utf8(false))
        .syntax(syntax::Config::new().utf8(false).unicode(false).dot_matches_new_line(true))
        .build_many(&texts)
        .map_err(|_| too_large())?;
    Table { dfa: &dfa, include: include.len() }.write().ok_or_else(too_large)
}

struct Table<'a> {
    dfa: &'a dense::DFA<Vec<u32>>,
    /// Patterns before this one include, those from it on except.
    include: usize,
}

impl Table<'_> {
    fn write(&self) -> Option<Box<Glob>> {
        let (classes, heads) = self.classes();
        let shift = heads.len().next_power_of_two().trailing_zeros();
        let start = self.dfa.start_state(&start::Config::new().anchored(Anchored::Yes)).ok()?;
        // By their numbers; the first is that from which nothing is found.
        let mut states: Vec<Option<StateID>> = vec![None];
        let mut numbers: HashMap<StateID, u32> = HashMap::new();
        let mut number = |id: StateID, states: &mut Vec<Option<StateID>>| {
            if self.dfa.is_dead_state(id) || self.dfa.is_quit_state(id) {
                return GLOB_DEAD;
            }
            *numbers.entry(id).or_insert_with(|| {
                states.push(Some(id));
                states.len() as u32 - 1
            })
        };
        let first = number(start, &mut states);
        let mut table = vec![0_u16; GLOB_CELLS];
        let mut at = 0;
        while at < states.len() {
            if (at + 1) << shift > GLOB_CELLS {
                return None;
            }
            if let Some(id) = states[at] {
                for (class, byte) in heads.iter().enumerate() {
                    let next = self.dfa.next_state(id, *byte);
                    let next = self.marked(next, number(next, &mut states));
                    table[(at << shift) + class] = u16::try_from(next).ok()?;
                }
            }
            at += 1;
        }
        let table = table.try_into().ok()?;
        Some(Box::new(Glob { classes, start: self.marked(start, first), shift, table }))
    }

    /// A state's number, and whether a path may end there.
    fn marked(&self, id: StateID, number: u32) -> u32 {
        if number == GLOB_DEAD || !self.accepts(id) { number } else { number | GLOB_ACCEPTS }
    }

    fn accepts(&self, id: StateID) -> bool {
        let end = self.dfa.next_eoi_state(id);
        if !self.dfa.is_match_state(end) {
            return false;
        }
        let matched = |n| self.dfa.match_pattern(end, n);
        let matched: Vec<PatternID> = (0..self.dfa.match_len(end)).map(matched).collect();
        !matched.is_empty() && matched.iter().all(|pattern| pattern.as_usize() < self.include)
    }

    /// The class of each byte, and a byte of each class.
    fn classes(&self) -> ([u8; 256], Vec<u8>) {
        let classes = self.dfa.byte_classes();
        let mut of = [0; 256];
        let mut heads = Vec::new();
        for byte in 0..=u8::MAX {
            let class = classes.get(byte);
            if usize::from(class) == heads.len() {
                heads.push(byte);
            }
            of[usize::from(byte)] = class;
        }
        (of, heads)
    }
}

#[cfg(test)]
mod tests {
    use globset::GlobBuilder;
    use proptest::prelude::*;

    use super::*;

    fn globs(texts: &[&str]) -> Vec<PathGlob> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// As the programs do.
    fn has(glob: &Glob, path: &str) -> bool {
        let state = path.bytes().rev().fold(glob.start, |state, byte| glob.step(state, byte));
        Glob::accepts(state)
    }

    #[test]
    fn paths_are_found() {
        for (include, except, path, wanted) in [
            (&["/data/**"][..], &[][..], "/data/a", true),
            (&["/data/**"], &[], "/data/a/b/c", true),
            (&["/data/**"], &[], "/data", false),
            (&["/data/**"], &[], "/datas/a", false),
            (&["/data/*"], &[], "/data/a/b", false),
            (&["/data/*.log"], &[], "/data/a.log", true),
            (&["*.log"], &[], "/a.log", true),
            (&["*.log"], &[], "/a/b/c.log", true),
            (&["*.log"], &[], "/a/b.log/c", false),
            (&["/data/**"], &["*.tmp"], "/data/a.tmp", false),
            (&["/data/**"], &["*.tmp"], "/data/a.tmp/b", true),
            (&["**"], &[], "/", true),
            (&["**"], &[], "/a\u{fc}/b", true),
            (&["/a", "/b/{c,d}"], &[], "/b/d", true),
            (&["/a", "/b/{c,d}"], &[], "/b/e", false),
            (&["/a?"], &[], "/ab", true),
            (&["/a?"], &[], "/a/", false),
        ] {
            let glob = compile(&globs(include), &globs(except)).unwrap();
            assert_eq!(has(&glob, path), wanted, "{include:?} but {except:?}: {path}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let many: Vec<String> = (0..40).map(|n| format!("/**/a*{n}*b*/c*d*{n}/**")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(compile(&globs(&many), &[]).unwrap_err().contains("give fewer"));
    }

    proptest! {
        /// The automaton says what the library says.
        #[test]
        fn the_automaton_is_the_glob(
            text in "/[ab*?/.]{0,8}",
            path in "/[ab./]{0,10}",
        ) {
            let Ok(glob) = text.parse::<PathGlob>() else { return Ok(()) };
            let wanted = GlobBuilder::new(&text).literal_separator(true).build().unwrap();
            let compiled = compile(&[glob], &[]).unwrap();
            prop_assert_eq!(has(&compiled, &path), wanted.compile_matcher().is_match(&path));
        }
    }
}
