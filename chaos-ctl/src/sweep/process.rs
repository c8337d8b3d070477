//! The running process that is swept: whether it lives.

use std::fs;

use anyhow::bail;

/// A process, told from a later one of the same id.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pid: u32,
    /// In ticks since the machine started.
    began: String,
}

impl Running {
    /// The one that has this id now.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        match born(pid) {
            Some(began) => Ok(Self { pid, began }),
            None => bail!("there is no process {pid}; give that of one that runs"),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// One that nobody has waited for is dead all the same.
    pub(super) fn lives(&self) -> bool {
        born(self.pid).as_ref() == Some(&self.began)
    }
}

/// When a process that lives began.
fn born(pid: u32) -> Option<String> {
    began(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// proc_pid_stat(5): the name may hold anything, and is in parentheses.
fn began(stat: &str) -> Option<String> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X" | "x");
    if is_dead { None } else { fields.nth(18).map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a) b) S 1 7 7 0 -1 4194560 9 8 7 6 5 4 3 2 20 0 1 0 4711 100 10";

    #[test]
    fn a_process_is_known_by_when_it_began() {
        assert_eq!(began(STAT).as_deref(), Some("4711"));
        assert_eq!(began(&STAT.replace(" S ", " Z ")), None);
        assert_eq!(began("7 (a"), None);
    }

    #[test]
    fn it_lives_until_it_has_ended() {
        assert!(Running::of(std::process::id()).unwrap().lives());
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let running = Running::of(child.id()).unwrap();
        assert!(running.lives());
        child.kill().unwrap();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
        // Nobody has waited for it yet.
        while running.lives() && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
        assert!(!running.lives());
        child.wait().unwrap();
        let error = Running::of(child.id()).unwrap_err().to_string();
        assert!(error.starts_with("there is no process"), "{error}");
    }
}
