//! The policy file.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use chaos_common::{invalid::shown, value::Lifetime, yaml};
use globset::{GlobBuilder, GlobMatcher};

use super::{
    Policy,
    defaults::{DEFAULT_PATH, DEFAULT_PROTECTED, MAX_DURATION_SECONDS, MAX_INJECTIONS},
};

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file is not there or not readable.
    #[error("cannot read policy {}: {source}", .file.display())]
    Read {
        /// Its path.
        file: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is no policy.
    #[error("policy {} cannot be used: {problem}", .file.display())]
    Invalid {
        /// Its path.
        file: PathBuf,
        /// What is wrong, with the line where there is one.
        problem: String,
    },
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct File {
    max_duration: Option<Lifetime>,
    max_injections: Option<u32>,
    protected: Option<Vec<String>>,
    protected_also: Vec<String>,
    report_names: Option<bool>,
}

/// A glob and the key it is from.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) key: &'static str,
    matcher: GlobMatcher,
}

impl Pattern {
    fn new(key: &'static str, text: &str) -> Result<Self, String> {
        if !text.starts_with('/') && !text.starts_with("**/") {
            return Err(format!("{key}: {} never matches; begin it with / or **/", shown(text)));
        }
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(false).build();
        let glob =
            glob.map_err(|error| format!("{key}: {} is no glob: {}", shown(text), error.kind()))?;
        Ok(Self { key, matcher: glob.compile_matcher() })
    }

    pub(super) fn text(&self) -> &str {
        self.matcher.glob().glob()
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        self.matcher.is_match(path)
    }
}

impl Policy {
    /// Reads the policy. Without a path, [`DEFAULT_PATH`] if that exists, and otherwise the defaults.
    ///
    /// # Errors
    /// When the given file is missing, or one cannot be read or used.
    pub fn load(path: Option<&Path>) -> Result<Self, PolicyError> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if path.is_none() && error.kind() == io::ErrorKind::NotFound => {
                String::new()
            }
            Err(source) => return Err(PolicyError::Read { file: file.into(), source }),
        };
        Self::parse(&text, file)
    }

    /// As [`Self::load`], with the text at hand; an empty one gives the defaults.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn parse(text: &str, file: &Path) -> Result<Self, PolicyError> {
        read(text, file).map_err(|problem| PolicyError::Invalid { file: file.into(), problem })
    }
}

fn read(text: &str, file: &Path) -> Result<Policy, String> {
    let documents: Vec<File> = yaml::from_yaml(text).map_err(|error| error.to_string())?;
    let mut documents = documents.into_iter();
    let given = documents.next().unwrap_or_default();
    if documents.next().is_some() {
        return Err("it has more than one document; a node has one policy".into());
    }
    let protected = match &given.protected {
        Some(globs) => globs.iter().map(String::as_str).collect(),
        None => DEFAULT_PROTECTED.to_vec(),
    };
    let protected = protected.into_iter().map(|glob| Pattern::new("protected", glob));
    let also = given.protected_also.iter().map(|glob| Pattern::new("protectedAlso", glob));
    let default = Lifetime::try_from(Duration::from_secs(MAX_DURATION_SECONDS))
        .map_err(|error| error.to_string())?;
    Ok(Policy {
        max_duration: given.max_duration.unwrap_or(default),
        max_injections: given.max_injections.unwrap_or(MAX_INJECTIONS),
        report_names: given.report_names.unwrap_or(true),
        protected: protected.chain(also).collect::<Result<_, _>>()?,
        file: file.into(),
    })
}
