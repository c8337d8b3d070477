//! Names of network interfaces.

use std::fmt;

use crate::{
    abi::INTERFACE_NAME,
    invalid::{Invalid, shown},
    target::checked_name,
};

checked_name! {
    /// Name of a network interface: 1 to 15 bytes without `/`, `:`, control characters and white space.
    InterfaceName, "the name of an interface, as eth0", |text| {
        let is_plain = |c: char| !(c == '/' || c == ':' || c.is_control() || c.is_whitespace());
        let fits = (1..INTERFACE_NAME).contains(&text.len()) && text != "." && text != "..";
        if fits && text.chars().all(is_plain) {
            Ok(())
        } else {
            Err(format!("{} is no name of an interface; give 1 to 15 bytes, as eth0", shown(text)))
        }
    }
}

impl InterfaceName {
    /// The same as the kernel reads it.
    #[must_use]
    pub fn to_abi(&self) -> [u8; INTERFACE_NAME] {
        let mut name = [0; INTERFACE_NAME];
        for (byte, of) in name.iter_mut().zip(self.as_str().bytes()) {
            *byte = of;
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_linux_would_take() {
        let name: InterfaceName = "eth0.100@if2".parse().unwrap();
        assert!(name.to_abi().starts_with(b"eth0.100@if2\0"));
        for text in ["", ".", "..", "a b", "a/b", "a:b", "0123456789abcdef", "a\0", "\u{1b}[2J"] {
            assert!(text.parse::<InterfaceName>().is_err(), "{text}");
        }
    }
}
