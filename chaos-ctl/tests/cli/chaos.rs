//! Runs the program.

use std::path::{Path, PathBuf};

use snapbox::{
    Assert, Data,
    cmd::{Command, OutputAssert},
};

/// The program as it was built for the tests.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_chaos");

/// The program with the words of `line` as arguments, and nothing of this machine's environment.
pub(crate) fn chaos(line: &str) -> Command {
    let words = line.split(' ').filter(|word| !word.is_empty());
    let compare = Assert::new().action_env("SNAPSHOTS").normalize_paths(false);
    Command::new(PROGRAM).with_assert(compare).env_clear().args(words)
}

/// What the program is expected to say.
pub(crate) fn snapshot(name: &str) -> Data {
    let path: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots").join(name);
    Data::read_from(&path, None)
}

/// Words that are compared as they are.
pub(crate) trait Said {
    /// Standard output.
    fn stdout(&self) -> String;
    /// Standard error.
    fn stderr(&self) -> String;
}

impl Said for OutputAssert {
    fn stdout(&self) -> String {
        String::from_utf8(self.get_output().stdout.clone()).unwrap()
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.get_output().stderr.clone()).unwrap()
    }
}
