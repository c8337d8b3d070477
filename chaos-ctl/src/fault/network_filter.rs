//! The flags that say which packets: the same for the whole network family.

use chaos_common::{
    fault::{Contradiction, Direction, NetworkFilter, Protocol},
    invalid::Invalid,
    value::{Cidr, PortRange, PortRanges, Remotes},
};

/// Which packets.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Which packets (all conditions must hold)")]
pub(super) struct FilterFlags {
    /// Seen from the target: out, in or both
    #[arg(long, value_name = "DIRECTION", allow_hyphen_values = true, default_value_t)]
    direction: Direction,

    /// Only these addresses or CIDRs of the other end
    ///
    /// Repeat the flag or separate with commas; v4 and v6. Of this list and that of --except the
    /// longest matching prefix decides.
    #[arg(long, value_name = "CIDR", value_delimiter = ',', allow_hyphen_values = true)]
    to: Vec<Cidr>,

    /// Not these addresses or CIDRs of the other end
    #[arg(long, value_name = "CIDR", value_delimiter = ',', allow_hyphen_values = true)]
    except: Vec<Cidr>,

    /// Only these ports of the other end: 5432, 6000-6010
    #[arg(long, value_name = "PORT", value_delimiter = ',', allow_hyphen_values = true)]
    port: Vec<PortRange>,

    /// Only these ports of the target's end
    #[arg(long, value_name = "PORT", value_delimiter = ',', allow_hyphen_values = true)]
    local_port: Vec<PortRange>,

    /// Only these protocols: tcp, udp, icmp
    #[arg(long, value_name = "PROTOCOL", value_delimiter = ',', allow_hyphen_values = true)]
    protocol: Vec<Protocol>,
}

impl TryFrom<FilterFlags> for NetworkFilter {
    type Error = Invalid;

    fn try_from(flags: FilterFlags) -> Result<Self, Invalid> {
        let FilterFlags { direction, to, except, port, local_port, protocol } = flags;
        let at = |flag: &'static str| move |invalid: Invalid| invalid.at(flag);
        let filter = Self {
            direction,
            remote: Remotes::try_from(to).map_err(at("--to"))?,
            except: Remotes::try_from(except).map_err(at("--except"))?,
            remote_ports: PortRanges::try_from(port).map_err(at("--port"))?,
            local_ports: PortRanges::try_from(local_port).map_err(at("--local-port"))?,
            protocols: protocol,
        };
        match filter.contradiction() {
            Some(contradiction) => Err(refuse(contradiction)),
            None => Ok(filter),
        }
    }
}

/// A contradiction in the words of the flags.
fn refuse(contradiction: Contradiction) -> Invalid {
    let ports = |flag| {
        Invalid::new(format!(
            "--protocol and {flag}: icmp alone has no ports, and nothing would match; add tcp or udp, or leave {flag} out"
        ))
    };
    match contradiction {
        Contradiction::Excepted(range) => {
            Invalid::new(format!("--to and --except: {range} is in both; keep it in one"))
        }
        Contradiction::IcmpRemotePorts => ports("--port"),
        Contradiction::IcmpLocalPorts => ports("--local-port"),
    }
}
