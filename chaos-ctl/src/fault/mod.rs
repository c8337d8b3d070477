//! Faults as flags: `FAMILY KIND --flag …`, one file per kind.

mod call;
mod dns;
mod dns_delay;
mod dns_error;
mod dns_record;
mod dns_server;
mod file_delay;
mod file_error;
mod memory_error;
mod network_corrupt;
mod network_delay;
mod network_duplicate;
mod network_filter;
mod network_loss;
mod network_occupy;
mod network_partition;
mod network_rate;
mod network_reject;
mod network_reorder;
mod socket_error;
mod syscall_error;

use chaos_common::{
    fault::{Fault, FaultKind},
    invalid::Invalid,
    value::Percent,
};
use clap::{
    Arg, ArgMatches, Args, Command, FromArgMatches, Subcommand,
    error::{Error, ErrorKind},
};

use crate::{
    error::refuse,
    sweep::{flags, has_positions},
};

/// A fault from flags, and the flags `R` that the verb adds to those of each fault.
#[derive(Clone, Debug)]
pub(crate) struct FaultCommand<R> {
    /// What shall go wrong.
    pub(crate) fault: Fault,
    /// The verb's own.
    pub(crate) rest: R,
}

/// A kind as a subcommand.
fn define(kind: FaultKind, command: Command) -> Command {
    match kind {
        FaultKind::NetworkLoss => network_loss::Flags::augment_args(command),
        FaultKind::NetworkDelay => network_delay::Flags::augment_args(command),
        FaultKind::NetworkDuplicate => network_duplicate::Flags::augment_args(command),
        FaultKind::NetworkReorder => network_reorder::Flags::augment_args(command),
        FaultKind::NetworkCorrupt => network_corrupt::Flags::augment_args(command),
        FaultKind::NetworkRate => network_rate::Flags::augment_args(command),
        FaultKind::NetworkPartition => network_partition::define(command),
        FaultKind::NetworkReject => network_reject::Flags::augment_args(command),
        FaultKind::NetworkOccupy => network_occupy::Flags::augment_args(command),
        FaultKind::SyscallError => syscall_error::Flags::augment_args(command),
        FaultKind::FileError => file_error::Flags::augment_args(command),
        FaultKind::FileDelay => file_delay::Flags::augment_args(command),
        FaultKind::SocketError => socket_error::Flags::augment_args(command),
        FaultKind::MemoryError => memory_error::Flags::augment_args(command),
        FaultKind::DnsError => dns_error::Flags::augment_args(command),
        FaultKind::DnsRecord => dns_record::Flags::augment_args(command),
        FaultKind::DnsDelay => dns_delay::Flags::augment_args(command),
        FaultKind::DnsServer => dns_server::Flags::augment_args(command),
    }
}

/// The flags of a kind as a fault.
fn read(kind: FaultKind, matches: &ArgMatches) -> Result<Fault, Error> {
    let fault = match kind {
        FaultKind::NetworkLoss => network_loss::Flags::from_arg_matches(matches)?.try_into(),
        FaultKind::NetworkDelay => network_delay::Flags::from_arg_matches(matches)?.try_into(),
        FaultKind::NetworkDuplicate => {
            network_duplicate::Flags::from_arg_matches(matches)?.try_into()
        }
        FaultKind::NetworkReorder => network_reorder::Flags::from_arg_matches(matches)?.try_into(),
        FaultKind::NetworkCorrupt => network_corrupt::Flags::from_arg_matches(matches)?.try_into(),
        FaultKind::NetworkRate => network_rate::Flags::from_arg_matches(matches)?.try_into(),
        FaultKind::NetworkPartition => {
            network_partition::Flags::from_arg_matches(matches)?.try_into()
        }
        FaultKind::NetworkReject => network_reject::Flags::from_arg_matches(matches)?.try_into(),
        FaultKind::NetworkOccupy => network_occupy::Flags::from_arg_matches(matches)?.try_into(),
        FaultKind::SyscallError => syscall_error::Flags::from_arg_matches(matches)?.try_into(),
        FaultKind::FileError => file_error::Flags::from_arg_matches(matches)?.try_into(),
        FaultKind::FileDelay => file_delay::Flags::from_arg_matches(matches)?.try_into(),
        FaultKind::SocketError => socket_error::Flags::from_arg_matches(matches)?.try_into(),
        FaultKind::MemoryError => memory_error::Flags::from_arg_matches(matches)?.try_into(),
        FaultKind::DnsError => dns_error::Flags::from_arg_matches(matches)?.try_into(),
        FaultKind::DnsRecord => dns_record::Flags::from_arg_matches(matches)?.try_into(),
        FaultKind::DnsDelay => dns_delay::Flags::from_arg_matches(matches)?.try_into(),
        FaultKind::DnsServer => dns_server::Flags::from_arg_matches(matches)?.try_into(),
    };
    fault.map_err(|invalid: Invalid| refuse(ErrorKind::ValueValidation, invalid))
}

/// What the kinds of this kind's family have in common.
fn about_family(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::NetworkLoss
        | FaultKind::NetworkDelay
        | FaultKind::NetworkDuplicate
        | FaultKind::NetworkReorder
        | FaultKind::NetworkCorrupt
        | FaultKind::NetworkRate
        | FaultKind::NetworkPartition
        | FaultKind::NetworkReject
        | FaultKind::NetworkOccupy => "What happens to the target's packets and ports",
        FaultKind::SyscallError => "What happens to the target's system calls",
        FaultKind::FileError | FaultKind::FileDelay => {
            "What happens to what the target does to files"
        }
        FaultKind::SocketError => "What happens to what the target does to sockets",
        FaultKind::MemoryError => "What the target gets no more of",
        FaultKind::DnsError | FaultKind::DnsRecord | FaultKind::DnsDelay | FaultKind::DnsServer => {
            "What becomes of the target's questions to name servers"
        }
    }
}

/// A percentage that is more than nothing.
fn above_zero(text: &str) -> Result<Percent, Invalid> {
    text.parse::<Percent>()?.above_zero()
}

/// What is wrong with a field, in the words of its flag: `burst.enter` is `--burst-enter`, `filter.dscp` is `--dscp`.
pub(crate) fn of_flag(invalid: Invalid) -> Invalid {
    let Invalid { field, problem } = invalid;
    if field.is_empty() {
        return Invalid::new(problem);
    }
    // The filter's flags stand by themselves, and are of one item of a list each.
    let own = match field.strip_prefix("filter.").unwrap_or(&field) {
        "protocols" => "protocol",
        "remotePorts" => "port",
        "localPorts" => "localPort",
        "paths" => "path",
        "remote" => "to",
        "names" => "name",
        "types" => "type",
        "servers" => "server",
        "addresses" => "address",
        "ports" => "port",
        "operations" => "do",
        "operation" => "no",
        "families" => "family",
        "calls" => "call",
        "files" => "fd",
        "caller.comm" => "comm",
        "caller.exe" => "exe",
        "size.least" => "least",
        "size.most" => "most",
        other => other,
    };
    let mut flag = String::from("--");
    for c in own.chars() {
        match c {
            '.' => flag.push('-'),
            c if c.is_ascii_uppercase() => flag.extend(['-', c.to_ascii_lowercase()]),
            c => flag.push(c),
        }
    }
    Invalid::new(problem).at(&flag)
}

fn families() -> Vec<&'static str> {
    let mut families: Vec<_> = FaultKind::ALL.iter().map(|kind| kind.words().0).collect();
    families.dedup();
    families
}

fn kinds_of(family: &str) -> impl Iterator<Item = FaultKind> {
    FaultKind::ALL.into_iter().filter(move |kind| kind.words().0 == family)
}

impl<R: Args> Subcommand for FaultCommand<R> {
    fn augment_subcommands(command: Command) -> Command {
        let kind = |kind: FaultKind| {
            let command = define(kind, Command::new(kind.words().1));
            // `R` would replace it.
            let about = command.get_about().cloned().unwrap_or_default();
            let command = R::augment_args(command).about(about);
            // There they are refused.
            let hides =
                |arg: &Arg| !has_positions(kind) && arg.get_help_heading() == Some(flags::HEADING);
            command.mut_args(|arg| if hides(&arg) { arg.hide(true) } else { arg })
        };
        let family = |family: &'static str| {
            Command::new(family)
                .about(kinds_of(family).next().map(about_family).unwrap_or_default())
                .subcommand_required(true)
                .arg_required_else_help(true)
                .disable_help_subcommand(true)
                .subcommand_value_name("KIND")
                .subcommand_help_heading("Kinds")
                .subcommands(kinds_of(family).map(kind))
        };
        command
            // Shown between angle brackets.
            .subcommand_value_name("FAMILY> <KIND")
            .subcommand_help_heading("Families of faults")
            .subcommands(families().into_iter().map(family))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        families().contains(&name)
    }
}

impl<R: FromArgMatches> FromArgMatches for FaultCommand<R> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let named = matches.subcommand().and_then(|(family, matches)| {
            let (name, matches) = matches.subcommand()?;
            let kind = kinds_of(family).find(|kind| kind.words().1 == name)?;
            Some((kind, matches))
        });
        let (kind, matches) = named
            .ok_or_else(|| refuse(ErrorKind::MissingSubcommand, "name a fault: FAMILY KIND"))?;
        Ok(Self { fault: read(kind, matches)?, rest: R::from_arg_matches(matches)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Clone, Debug, clap::Args)]
    struct Nothing {}

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        fault: FaultCommand<Nothing>,
    }

    /// A fault from its flags alone.
    pub(super) fn parse(line: &str) -> Result<Fault, String> {
        let words = std::iter::once("chaos").chain(line.split(' '));
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(line.fault.fault)
    }

    /// A line of flags that is refused, and words of what is said.
    pub(super) fn refused(line: &str, words: &str) {
        let error = parse(line).expect_err(line);
        assert!(error.contains(words), "{line}: {error}");
    }

    #[test]
    fn every_kind_has_its_subcommand_with_help() {
        let command =
            <FaultCommand<Nothing> as Subcommand>::augment_subcommands(Command::new("chaos"));
        for kind in FaultKind::ALL {
            let (family, name) = kind.words();
            let family = command.find_subcommand(family).expect("family");
            assert!(family.get_about().is_some(), "{family} has no help");
            let found = family.find_subcommand(name).expect("kind");
            assert!(found.get_about().is_some(), "{kind} has no help");
        }
    }

    #[test]
    fn a_field_has_its_flag() {
        let of = |field: &str| of_flag(Invalid::new("no").at(field)).to_string();
        assert_eq!(of("burst.enter"), "--burst-enter: no");
        assert_eq!(of("connectionPercent"), "--connection-percent: no");
        assert_eq!(of("filter.localPorts"), "--local-port: no");
        assert_eq!(of("filter.dscp"), "--dscp: no");
        assert_eq!(of_flag(Invalid::new("no")).to_string(), "no");
    }

    #[test]
    fn families_are_said_once_and_agree_on_what_they_are_about() {
        for kind in FaultKind::ALL {
            let (family, _) = kind.words();
            assert!(kinds_of(family).all(|other| about_family(other) == about_family(kind)));
        }
        let mut families = families();
        let said = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), said, "keep the kinds of a family together in FaultKind::ALL");
    }
}
