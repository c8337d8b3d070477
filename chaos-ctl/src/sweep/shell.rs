//! Commands that are one word of the command line, as a shell takes them.

use std::{env, ffi::OsString, os::unix::fs::PermissionsExt as _, path::Path};

const SHELL: &str = "/bin/sh";

/// What to run. Words that mean nothing to a shell are run as they are, as `make` does: so a shell need not be there.
pub(crate) fn words(text: &str) -> Vec<OsString> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_plain = words.iter().all(|word| word.chars().all(is_plain));
    match words.first() {
        Some(program) if is_plain && !program.contains('=') && is_program(program) => {
            words.into_iter().map(OsString::from).collect()
        }
        Some(_) | None => [SHELL, "-c", text].map(OsString::from).to_vec(),
    }
}

fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || "_-./:,=@%+".contains(c)
}

/// Whether there is such a program, and no shell has to have it built in.
fn is_program(name: &str) -> bool {
    let is_executable = |path: &Path| {
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return is_executable(Path::new(name));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| is_executable(&folder.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_need_no_shell() {
        assert_eq!(words(" ls  -l /tmp/a.b "), ["ls", "-l", "/tmp/a.b"]);
        assert_eq!(words("/bin/ls"), ["/bin/ls"]);
    }

    #[test]
    fn everything_else_is_a_shells() {
        for text in [
            "ls | cat",
            "a=1 ls",
            "ls '/a b'",
            "exit 1",
            "ls *",
            "no-such-program-at-all",
            "",
            "~/a",
        ] {
            assert_eq!(words(text), [SHELL, "-c", text], "{text}");
        }
    }
}
