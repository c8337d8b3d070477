//! `network occupy`

use chaos_common::{
    fault::{BindAddress, Fault, NetworkOccupy, Occupation, Protocol, Transports},
    invalid::{At as _, Invalid},
    value::{Percent, PortList, PortRange},
};

use super::above_zero;

/// Ports cannot be bound to: they are taken, or the target is told so
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Ports cannot be bound to: they are taken, or the target is told so",
    next_help_heading = "What"
)]
pub(super) struct Flags {
    /// Which ports, at most 1024 of them: 8080,9000-9010
    #[arg(
        long,
        value_name = "PORTS",
        value_delimiter = ',',
        required = true,
        allow_hyphen_values = true
    )]
    port: Vec<PortRange>,

    /// Of which protocols: tcp, udp [default: tcp]
    #[arg(long, value_name = "PROTOCOL", value_delimiter = ',', allow_hyphen_values = true)]
    protocol: Vec<Protocol>,

    /// Only at this address; 0.0.0.0 is all of IPv4, :: all of IPv6 [default: both]
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true)]
    address: Option<BindAddress>,

    /// Take no port, but let each bind of the target to one fail
    ///
    /// With EADDRINUSE, as where the port is taken, and nobody else's. Nothing is held, and a port that somebody has may be among them.
    /// Needs Linux 6.1.
    #[arg(long)]
    refuse: bool,

    /// With --refuse, how many calls, each with this chance: above 0 [default: 100]
    #[arg(
        long,
        value_name = "PERCENT",
        allow_hyphen_values = true,
        value_parser = above_zero,
        requires = "refuse"
    )]
    percent: Option<Percent>,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        let how = match flags.refuse {
            true => Occupation::refuse(flags.percent).at("--percent")?,
            false => Occupation::Hold,
        };
        Ok(Self::NetworkOccupy(NetworkOccupy {
            ports: PortList::try_from(flags.port).at("--port")?,
            protocols: Transports::try_from(flags.protocol).at("--protocol")?,
            address: flags.address,
            how,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

    #[test]
    fn all_flags_arrive() {
        for (flags, said) in [
            ("--port 8080", "tcp 8080"),
            ("--port 8080,9000-9010 --port 1 --protocol udp", "udp 8080,9000-9010,1"),
            ("--port 53 --protocol udp,tcp --address ::1", "tcp+udp 53 at ::1"),
            ("--port 80 --refuse", "refuse tcp 80"),
            ("--port 80 --refuse --percent 5", "5 % refuse tcp 80"),
        ] {
            let fault = parse(&format!("network occupy {flags}")).unwrap().to_string();
            assert_eq!(fault, format!("network occupy {said}"));
        }
    }

    #[test]
    fn what_cannot_be_taken_is_refused() {
        for (flags, words) in [
            ("", "--port <PORTS>"),
            ("--port 0", "--port: port 0 stands for any"),
            ("--port 1-2000", "2000 ports are too many"),
            ("--port http", "no port"),
            ("--port 80 --protocol icmp", "--protocol: icmp has no ports"),
            ("--port 80 --address eth0", "no address"),
            ("--port 80 --percent 5", "--refuse"),
            ("--port 80 --refuse --percent 0", "0 % would do nothing"),
        ] {
            refused(format!("network occupy {flags}").trim_end(), words);
        }
    }
}
