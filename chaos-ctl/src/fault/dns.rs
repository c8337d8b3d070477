//! Flags that all faults of names have: which questions.

use chaos_common::{
    fault::{DnsTcp, Questions},
    invalid::{At as _, Invalid},
    value::{Cidr, DnsPattern, DnsType, PortRange, PortRanges, Remotes},
};

/// Which questions
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Which questions")]
pub(super) struct QuestionFlags {
    /// Names: api.example.com, *.internal for all below one, ** for all
    ///
    /// Repeat the flag or separate with commas.
    #[arg(
        long = "name",
        value_name = "NAME",
        required = true,
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    names: Vec<DnsPattern>,

    /// But not these names; of all that fit the longest decides
    #[arg(long, value_name = "NAME", value_delimiter = ',', allow_hyphen_values = true)]
    except: Vec<DnsPattern>,

    /// Types of records: A, AAAA, SRV, …, TYPE64 [default: all]
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', allow_hyphen_values = true)]
    types: Vec<DnsType>,

    /// To these name servers: an address or a CIDR [default: all]
    #[arg(long = "server", value_name = "CIDR", value_delimiter = ',', allow_hyphen_values = true)]
    servers: Vec<Cidr>,

    /// At these ports [default: 53]
    #[arg(long = "port", value_name = "PORT", value_delimiter = ',', allow_hyphen_values = true)]
    ports: Vec<PortRange>,

    /// What becomes of TCP: pass, refuse, reset, drop, delay [default: pass]
    ///
    /// In a connection questions are not told apart. With refuse nobody seems to listen, with reset connections end with
    /// their first question, with drop they get no answer. With delay, which `dns delay` has alone beside pass, they take as
    /// long to open as a question is held.
    #[arg(long, value_name = "WHAT", allow_hyphen_values = true)]
    tcp: Option<DnsTcp>,
}

impl TryFrom<QuestionFlags> for Questions {
    type Error = Invalid;

    fn try_from(flags: QuestionFlags) -> Result<Self, Invalid> {
        Ok(Self {
            names: flags.names,
            except: flags.except,
            types: flags.types,
            servers: Remotes::try_from(flags.servers).at("--server")?,
            ports: PortRanges::try_from(flags.ports).at("--port")?,
            tcp: flags.tcp.unwrap_or_default(),
        })
    }
}
