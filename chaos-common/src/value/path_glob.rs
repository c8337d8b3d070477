//! Patterns of paths.

use std::{fmt, str::FromStr};

use globset::{Glob, GlobBuilder};

use crate::invalid::{Invalid, shown};

/// A pattern of paths, as a process itself would say them: `/data/**`, `*.log`.
///
/// `*` and `?` stop at a slash, `**` is any number of directories, `[a-z]` and `{a,b}` are choices. A pattern that begins
/// with no slash may begin in any directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathGlob {
    text: String,
    regex: String,
}

/// Bytes that a pattern may have.
const LONGEST: usize = 512;

impl PathGlob {
    /// The same as a regular expression over bytes.
    #[must_use]
    pub fn regex(&self) -> &str {
        &self.regex
    }

    /// What all its paths begin with; if there is only one, a zero ends it.
    #[must_use]
    pub fn start(&self) -> Vec<u8> {
        if !self.text.starts_with('/') {
            return b"/".to_vec();
        }
        let literal = self.literal().as_bytes();
        if self.is_literal() { [literal, b"\0"].concat() } else { literal.to_vec() }
    }

    /// What it says before its first letter that stands for others.
    #[must_use]
    pub fn literal(&self) -> &str {
        let end = self.text.find(['*', '?', '[', ']', '{', '}', '\\']);
        end.map_or(&self.text, |end| &self.text[..end])
    }

    /// Whether no letter stands for others.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.literal().len() == self.text.len()
    }
}

impl FromStr for PathGlob {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > LONGEST || text.contains('\0') {
            let shown = shown(text);
            return Err(Invalid::new(format!(
                "{shown} is no pattern of paths; give 1 to {LONGEST} bytes, as /data/**"
            )));
        }
        // The kernel knows files by their places, in which these do not occur: such a pattern would match nothing.
        let mut parts = text.split('/').skip(1);
        let is_empty = text.len() > 1 && text.ends_with('/') || text.contains("//");
        if is_empty
            || text.starts_with("./")
            || text.starts_with("../")
            || parts.any(|part| part == "." || part == "..")
        {
            return Err(Invalid::new(format!(
                "{} matches no path; write it without `.`, `..`, a doubled `/` and one at the end",
                shown(text)
            )));
        }
        let anywhere = if text.starts_with('/') { text.to_owned() } else { format!("/**/{text}") };
        let glob: Result<Glob, _> = GlobBuilder::new(&anywhere).literal_separator(true).build();
        let glob = glob.map_err(|error| {
            Invalid::new(format!("{} is no pattern of paths: {}", shown(text), error.kind()))
        })?;
        Ok(Self { text: text.to_owned(), regex: glob.regex().to_owned() })
    }
}

impl fmt::Display for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

super::serde_as_text!(PathGlob, "a pattern of paths, as /data/** or *.log");

#[cfg(test)]
mod tests {
    use super::PathGlob;

    #[test]
    fn what_paths_begin_with_is_known() {
        for (text, start) in [
            ("/data/**", "/data/"),
            ("/data/a?", "/data/a"),
            ("/data", "/data\0"),
            ("/{a,b}/c", "/"),
            ("/a\\*b", "/a"),
            ("*.log", "/"),
            ("data", "/"),
            ("**", "/"),
            ("/", "/\0"),
        ] {
            assert_eq!(text.parse::<PathGlob>().unwrap().start(), start.as_bytes(), "{text}");
        }
    }

    #[test]
    fn patterns_are_checked() {
        assert!("/data/**".parse::<PathGlob>().is_ok());
        assert!("*.{log,txt}".parse::<PathGlob>().is_ok());
        for text in ["/.config/**", "..data", "/a/..b/*", "/"] {
            assert!(text.parse::<PathGlob>().is_ok(), "{text}");
        }
        for text in ["/a/../b", "/a//b", "/a/./b", "../b", "./b", "/a/", "/a/.."] {
            let error = text.parse::<PathGlob>().unwrap_err().to_string();
            assert!(error.contains("matches no path"), "{error}");
        }
        for text in ["", "/a[", "/{a", "a\0b", &"a".repeat(600)] {
            assert!(text.parse::<PathGlob>().is_err(), "{text}");
        }
    }
}
