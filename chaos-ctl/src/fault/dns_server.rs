//! `dns server`

use chaos_common::{
    fault::{DnsServer, Fault},
    invalid::{At as _, Invalid},
    value::{Cidr, NameServer, Percent, PortRange, PortRanges, Remotes},
};

use super::{above_zero, of_flag};

/// Another name server is asked, or none
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Another name server is asked, or none", next_help_heading = "What")]
pub(super) struct Flags {
    /// Ask this one instead: 10.0.0.2, 10.0.0.2:5353, [fd00::2]:5353
    ///
    /// One of IPv4, one of IPv6, or both. Over a family without any calls fail as if nobody listened.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', allow_hyphen_values = true)]
    upstream: Vec<NameServer>,

    /// Ask none, as if nobody listened
    #[arg(long)]
    none: bool,

    /// How many calls, or packets with --none, each with this chance [default: 100]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = above_zero)]
    percent: Option<Percent>,

    /// Instead of these name servers: an address or a CIDR [default: all]
    #[arg(long = "server", value_name = "CIDR", value_delimiter = ',', allow_hyphen_values = true)]
    #[arg(help_heading = "Which name servers")]
    servers: Vec<Cidr>,

    /// At these ports [default: 53]
    #[arg(long = "port", value_name = "PORT", value_delimiter = ',', allow_hyphen_values = true)]
    #[arg(help_heading = "Which name servers")]
    ports: Vec<PortRange>,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        let Flags { upstream, none, percent, servers, ports } = flags;
        let servers = Remotes::try_from(servers).at("--server")?;
        let ports = PortRanges::try_from(ports).at("--port")?;
        DnsServer::new(upstream, none, servers, ports, percent)
            .map(Self::DnsServer)
            .map_err(of_flag)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

    #[test]
    fn all_flags_arrive() {
        for (flags, said) in [
            ("--upstream 10.0.0.2", "10.0.0.2"),
            (
                "--upstream 10.0.0.2:5353,fd00::2 --server 10.0.0.0/8 --port 5353 --percent 5",
                "5 % 10.0.0.2:5353 and fd00::2 instead of 10.0.0.0/8, ports 5353",
            ),
            ("--none", "none"),
        ] {
            let fault = parse(&format!("dns server {flags}")).unwrap().to_string();
            assert_eq!(fault, format!("dns server {said}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        refused("dns server --server 10.0.0.1", "give the name server that is asked instead");
        refused("dns server --upstream a", "no address of a name server");
        refused("dns server --upstream 10.0.0.1 --none", "leave one of them out");
        refused("dns server --upstream 10.0.0.1,10.0.0.2", "--upstream: has two of a family");
    }
}
