//! Reads what test runners print: Rust's own, and libtest-mimic, which the VM tests use.

/// The results of one or several test binaries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Results {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skips: Vec<Skip>,
    pub(crate) failures: Vec<Failure>,
    /// How many binaries printed their closing line.
    pub(crate) closed: usize,
}

/// A test that did not run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Skip {
    pub(crate) reason: String,
    pub(crate) test: String,
}

/// A failed test and what it printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) test: String,
    pub(crate) output: String,
}

/// Reads the output of any number of test binaries in a row.
pub(crate) fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Results {
    let mut results = Results::default();
    // The binary at hand: what it ignored, and the failure whose output is being printed.
    let mut ignored: Vec<Skip> = Vec::new();
    let mut explained: Vec<Skip> = Vec::new();
    let mut printing: Option<Failure> = None;
    for line in lines {
        if let Some(test) = failure_heading(line) {
            results
                .failures
                .extend(printing.replace(Failure { test: test.to_owned(), output: String::new() }));
        } else if let Some(residue) = line.strip_prefix("RESIDUE ") {
            results.failed += 1;
            let output = format!("{residue}\n");
            results.failures.push(Failure { test: "residue".to_owned(), output });
        } else if line == "failures:" {
            results.failures.extend(printing.take());
        } else if let Some(closing) = closing(line) {
            results.failures.extend(printing.take());
            results.passed += closing.passed;
            results.failed += closing.failed;
            results.closed += 1;
            results.skips.append(&mut skips(&mut ignored, &mut explained, closing.ignored));
        } else if let Some(failure) = &mut printing {
            failure.output.push_str(line);
            failure.output.push('\n');
        } else {
            explained.extend(explained_skip(line));
            ignored.extend(ignored_test(line));
        }
    }
    // A binary that died: what it had said so far.
    results.failures.extend(printing);
    let count = ignored.len();
    results.skips.append(&mut skips(&mut ignored, &mut explained, count));
    results
}

/// All ignored tests, each with its reason where one was given.
fn skips(ignored: &mut Vec<Skip>, explained: &mut Vec<Skip>, count: usize) -> Vec<Skip> {
    let mut skips = std::mem::take(explained);
    for skip in ignored.drain(..) {
        if !skips.iter().any(|other| other.test == skip.test) {
            skips.push(skip);
        }
    }
    while skips.len() < count {
        skips.push(Skip { test: "(not named)".to_owned(), reason: "no reason given".to_owned() });
    }
    skips
}

/// `---- name ----`, with `stdout` before the last dashes from Rust's own runner.
fn failure_heading(line: &str) -> Option<&str> {
    let name = line.strip_prefix("---- ")?.strip_suffix(" ----")?;
    Some(name.strip_suffix(" stdout").unwrap_or(name))
}

/// `SKIP <test>: <reason>`, also behind a test's name when both share a line.
fn explained_skip(line: &str) -> Option<Skip> {
    let at = if line.starts_with("SKIP ") { 0 } else { line.find("... SKIP ")? + "... ".len() };
    let (test, reason) = line[at..].strip_prefix("SKIP ")?.split_once(": ")?;
    Some(Skip { test: test.to_owned(), reason: reason.trim_end().to_owned() })
}

/// `test name ... ignored`, then `, reason` by Rust's runner or ` (reason)` by libtest-mimic, which also pads names.
fn ignored_test(line: &str) -> Option<Skip> {
    let (test, rest) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    let in_brackets = || rest.strip_prefix(" (")?.strip_suffix(')');
    let reason = rest.strip_prefix(", ").or_else(in_brackets).unwrap_or("no reason given");
    Some(Skip { test: test.trim_end().to_owned(), reason: reason.to_owned() })
}

struct Closing {
    passed: usize,
    failed: usize,
    ignored: usize,
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; …`; a kernel message may stand before it on the same line.
fn closing(line: &str) -> Option<Closing> {
    let (_, counts) = line.split_once("test result: ")?;
    let (_, counts) = counts.split_once(". ")?;
    let count = |what: &str| {
        counts.split(';').find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
    };
    Some(Closing { passed: count("passed")?, failed: count("failed")?, ignored: count("ignored")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(test: &str, reason: &str) -> Skip {
        Skip { test: test.to_owned(), reason: reason.to_owned() }
    }

    #[test]
    fn results_of_several_binaries_add_up() {
        let output = "running 2 tests\ntest a ... ok\ntest b ... ignored, needs root\n\n\
                      test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n\
                      running 1 test\ntest c ... FAILED\n\nfailures:\n\n---- c stdout ----\nleft\nright\n\nfailures:\n    c\n\n\
                      test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        let results = parse(output.lines());
        assert_eq!((results.passed, results.failed, results.closed), (1, 1, 2));
        assert_eq!(results.skips, [skip("b", "needs root")]);
        assert_eq!(
            results.failures,
            [Failure { test: "c".to_owned(), output: "left\nright\n\n".to_owned() }]
        );
    }

    #[test]
    fn skips_are_counted_once_and_keep_their_reason() {
        let output = "test x ... SKIP x: no fmod_ret: kernel 5.10\nignored\nSKIP y: no uprobes\ntest y   ... ignored (no uprobes)\n\
                      [ 1.0] noise test result: ok. 0 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out";
        let skips = parse(output.lines()).skips;
        let expected = [
            skip("x", "no fmod_ret: kernel 5.10"),
            skip("y", "no uprobes"),
            skip("(not named)", "no reason given"),
        ];
        assert_eq!(skips, expected);
    }

    #[test]
    fn residue_is_a_failure_after_the_closing_line() {
        let output = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
                      RESIDUE 3 programs are left";
        let results = parse(output.lines());
        assert_eq!((results.passed, results.failed), (2, 1));
        assert_eq!(results.failures[0].output, "3 programs are left\n");
    }

    #[test]
    fn a_binary_that_died_has_no_closing_line() {
        let results = parse("running 1 test\nSKIP y: no uprobes\ntest x ... ".lines());
        assert_eq!((results.closed, results.skips.len()), (0, 1));
    }
}
