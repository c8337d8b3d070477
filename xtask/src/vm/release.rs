//! Kernel releases: order and the line (`6.12`) that each belongs to.

use std::fmt;

/// A Debian kernel release such as `6.12.117+deb13-cloud-amd64`, without the flavour.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release {
    numbers: Vec<u32>,
    text: String,
}

impl Release {
    /// Reads `linux-image-<release>-cloud-amd64`; other packages give `None`.
    pub(crate) fn of_package(name: &str) -> Option<Self> {
        let text = name.strip_prefix("linux-image-")?.strip_suffix("-cloud-amd64")?;
        Self::parse(text)
    }

    /// Reads a release such as `5.10.0-46` or `7.3.4+deb13`. Meta packages (`6.1`) are no releases.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let base = text.split('+').next()?;
        let numbers: Vec<u32> =
            base.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
        (numbers.len() >= 3).then(|| Self { numbers, text: text.to_owned() })
    }

    /// Major and minor version: `6.12`.
    pub(crate) fn line(&self) -> String {
        format!("{}.{}", self.numbers[0], self.numbers[1])
    }

    /// Whether this is a later build of the same line by the same suite (`+deb13`).
    pub(crate) fn replaces(&self, other: &Self) -> bool {
        let suite =
            |release: &Self| release.text.split_once('+').map(|(_, suite)| suite.to_owned());
        self > other && self.line() == other.line() && suite(self) == suite(other)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The newest release of each line, oldest line first.
pub(crate) fn newest_of_each_line(mut releases: Vec<Release>) -> Vec<Release> {
    releases.sort();
    releases.reverse();
    releases.dedup_by_key(|release| release.line());
    releases.reverse();
    releases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_told_apart() {
        let line = |name: &str| Release::of_package(name).map(|release| release.line());
        assert_eq!(line("linux-image-5.10.0-46-cloud-amd64").as_deref(), Some("5.10"));
        assert_eq!(line("linux-image-7.3.4+deb13-cloud-amd64").as_deref(), Some("7.3"));
        assert_eq!(line("linux-image-6.1-cloud-amd64"), None);
        assert_eq!(line("linux-image-cloud-amd64"), None);
        assert_eq!(line("linux-image-6.1.0-50-cloud-amd64-unsigned"), None);
        assert_eq!(line("linux-image-6.1.0-50-cloud-amd64-dbg"), None);
    }

    #[test]
    fn only_the_same_suite_replaces() {
        let replaces = |new: &str, old: &str| {
            let parse = |text: &str| Release::parse(text).unwrap();
            parse(new).replaces(&parse(old))
        };
        assert!(replaces("7.2.13+deb13", "7.2.9+deb13"));
        assert!(replaces("6.1.0-56", "6.1.0-50"));
        assert!(!replaces("7.2.13+deb14", "7.2.9+deb13"));
        assert!(!replaces("7.3.1+deb13", "7.2.9+deb13"));
        assert!(!replaces("7.2.9+deb13", "7.2.9+deb13"));
    }

    #[test]
    fn the_newest_of_each_line_wins_by_number() {
        let releases = ["7.2.6+deb13", "6.12.9+deb13", "7.2.12+deb13", "6.12.117+deb13"];
        let newest =
            newest_of_each_line(releases.iter().filter_map(|text| Release::parse(text)).collect());
        let newest: Vec<String> = newest.iter().map(ToString::to_string).collect();
        assert_eq!(newest, ["6.12.117+deb13", "7.2.12+deb13"]);
    }
}
