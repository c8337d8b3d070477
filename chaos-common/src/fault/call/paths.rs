//! Which files.

use std::fmt;

use crate::{
    invalid::{At, Invalid},
    value::PathGlob,
    wire::list,
};

/// Files by patterns of their paths, as the process says them; and some but not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Paths {
    /// These.
    pub include: Vec<PathGlob>,
    /// But not these.
    pub except: Vec<PathGlob>,
}

/// Patterns that one fault may have.
const MOST: usize = 64;

impl Paths {
    /// Checks how many there are.
    ///
    /// # Errors
    /// When there are too many.
    pub fn new(include: Vec<PathGlob>, except: Vec<PathGlob>) -> Result<Self, Invalid> {
        for (list, field) in [(&include, "paths"), (&except, "except")] {
            if list.len() > MOST {
                let problem = format!("has {} patterns; the most is {MOST}", list.len());
                return Err(Invalid::new(problem).at(field));
            }
        }
        if include.is_empty() && !except.is_empty() {
            let problem = "leaves out some of nothing; give `paths`, for example /**";
            return Err(Invalid::new(problem).at("except"));
        }
        Ok(Self { include, except })
    }

    /// The same, if there are any.
    ///
    /// # Errors
    /// When there is none.
    pub fn some(self) -> Result<Self, Invalid> {
        if self.include.is_empty() {
            let problem = "is empty; give patterns of paths, as /data/**, or /** for all";
            return Err(Invalid::new(problem).at("paths"));
        }
        Ok(self)
    }

    pub(crate) fn of_wire(include: Vec<String>, except: Vec<String>) -> Result<Self, Invalid> {
        let include = list(include, |glob| glob.parse()).at("paths")?;
        Self::new(include, list(except, |glob| glob.parse()).at("except")?)
    }

    pub(crate) fn to_wire(&self) -> (Vec<String>, Vec<String>) {
        let texts = |globs: &[PathGlob]| globs.iter().map(ToString::to_string).collect();
        (texts(&self.include), texts(&self.except))
    }
}

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, glob) in self.include.iter().enumerate() {
            write!(f, "{}{glob}", if n > 0 { " " } else { ", " })?;
        }
        for (n, glob) in self.except.iter().enumerate() {
            write!(f, "{}{glob}", if n > 0 { " " } else { " but not " })?;
        }
        Ok(())
    }
}
