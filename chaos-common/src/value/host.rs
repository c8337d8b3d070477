//! Names of hosts.

use std::fmt;

use crate::{
    invalid::{Invalid, shown},
    target::checked_name,
};

/// A name has no more bytes, and a label of it none more than [`LABEL`] (RFC 1035).
const NAME: usize = 253;
const LABEL: usize = 63;

checked_name! {
    /// Name of a host, as a resolver takes it: with search domains, unless it ends in a dot.
    HostName, "a host name, as db.example.com", |text| {
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            (1..=LABEL).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // The last label of a name is never a number, so that no address is taken for one.
        let is_number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if name.len() <= NAME && name.split('.').all(is_label) && !is_number {
            Ok(())
        } else {
            Err(format!(
                "{} is no host name; give one as db.example.com (addresses belong into `remote`)",
                shown(text)
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HostName;

    #[test]
    fn what_a_resolver_takes_is_a_name() {
        for text in
            ["db", "db.example.com", "db.example.com.", "_sip.example.com", "xn--bcher-kva.de"]
        {
            assert!(text.parse::<HostName>().is_ok(), "{text}");
        }
        let long = format!("{}.de", "a".repeat(64));
        for text in [
            "",
            ".",
            "a..b",
            "10.0.0.1",
            "::1",
            "-a.de",
            "a-.de",
            "b\u{fc}cher.de",
            "a b",
            "a/b",
            &long,
        ] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
        assert!(["a"; 127].join(".").parse::<HostName>().is_ok());
        assert!(["a"; 128].join(".").parse::<HostName>().is_err());
    }
}
