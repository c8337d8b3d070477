//! The flags that say which packets: the same for the whole network family.

use chaos_common::{
    fault::{Connections, Contradiction, Direction, NetworkFilter, Protocol},
    invalid::Invalid,
    target::Target,
    value::{
        Cidr, Dscp, Dscps, HostName, InterfaceName, Percent, PortRange, PortRanges, Remotes, Volume,
    },
};

use super::{above_zero, of_flag};

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

    /// Only these hosts at the other end: db.example.com
    ///
    /// One list with --to and --to-peer. They are looked up as the target would, and again while the
    /// fault is there; addresses that were found once stay.
    #[arg(long, value_name = "NAME", value_delimiter = ',', allow_hyphen_values = true)]
    to_host: Vec<HostName>,

    /// Only these units, containers or pods of this node: unit:redis.service
    ///
    /// One list with --to and --to-host. KIND:NAME, where KIND is unit, container, pod, pid or cgroup.
    /// One that shares its network namespace with the target is told by its TCP and UDP sockets.
    #[arg(long, value_name = "PEER", value_delimiter = ',', allow_hyphen_values = true)]
    to_peer: Vec<Target>,

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

    /// Only what leaves or comes in by this interface: eth0
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    interface: Option<InterfaceName>,

    /// Only these classes of service: 0 to 63, or names as ef, cs1, af21
    #[arg(long, value_name = "DSCP", value_delimiter = ',', allow_hyphen_values = true)]
    dscp: Vec<Dscp>,

    /// Only TCP connections that are new, or established, when the fault begins
    ///
    /// new: those that begin while the fault is there. established: those that were there before.
    #[arg(long, value_name = "WHICH", allow_hyphen_values = true)]
    connections: Option<Connections>,

    /// Only this share of the connections, each chosen once [default: 100]
    ///
    /// Which ones is a matter of the seed; all other connections are never touched.
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = above_zero)]
    connection_percent: Option<Percent>,

    /// Only the first packets or bytes of each connection: 10packets, 64KiB
    ///
    /// Counted from the beginning of the fault on, among the packets that meet all other conditions.
    /// With --after, the first behind that.
    #[arg(long, value_name = "VOLUME", allow_hyphen_values = true)]
    first: Option<Volume>,

    /// Only what comes after so many packets or bytes of each connection
    #[arg(long, value_name = "VOLUME", allow_hyphen_values = true)]
    after: Option<Volume>,
}

impl TryFrom<FilterFlags> for NetworkFilter {
    type Error = Invalid;

    fn try_from(flags: FilterFlags) -> Result<Self, Invalid> {
        let at = |flag: &'static str| move |invalid: Invalid| invalid.at(flag);
        let filter = Self {
            direction: Some(flags.direction),
            remote: Remotes::try_from(flags.to).map_err(at("--to"))?,
            hosts: flags.to_host,
            peers: flags.to_peer,
            except: Remotes::try_from(flags.except).map_err(at("--except"))?,
            remote_ports: PortRanges::try_from(flags.port).map_err(at("--port"))?,
            local_ports: PortRanges::try_from(flags.local_port).map_err(at("--local-port"))?,
            protocols: flags.protocol,
            interface: flags.interface,
            dscp: Dscps::try_from(flags.dscp).map_err(at("--dscp"))?,
            connections: flags.connections,
            connection_percent: flags.connection_percent,
            first: flags.first,
            after: flags.after,
            neighbours: Vec::new(),
        };
        match filter.contradiction() {
            Some(contradiction) => Err(refuse(contradiction)),
            None => filter.checked().map_err(of_flag),
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
        Contradiction::AllExcepted => {
            Invalid::new("--except: nothing is left that would match; except less")
        }
        Contradiction::IcmpRemotePorts => ports("--port"),
        Contradiction::IcmpLocalPorts => ports("--local-port"),
        Contradiction::ConnectionsWithoutTcp => Invalid::new(
            "--protocol and --connections: new and established connections are of TCP alone; add tcp, or leave --connections out",
        ),
        Contradiction::MixedVolumes => Invalid::new(
            "--first and --after: they count in different units; give both in packets, or both in bytes",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

    #[test]
    fn every_kind_takes_every_condition() {
        let conditions = "--direction in --to 10.0.0.0/8 --to-host db,a.b --to-peer unit:a.service \
                          --except 10.0.0.1 --port 80 --local-port 1-2 \
                          --protocol tcp --interface eth0 --dscp ef,1 --dscp 63 --connections new \
                          --connection-percent 10 --first 10packets --after 1packet";
        let said = "in, remote 10.0.0.0/8, host db, host a.b, peer unit a.service, except 10.0.0.1, remote ports 80, local ports 1-2, tcp, \
                    interface eth0, dscp ef,le,63, new connections, 10 % of connections, \
                    after 1 packet, first 10 packets";
        for kind in [
            "loss --percent 1",
            "delay --latency 1s",
            "duplicate --percent 1",
            "reorder --percent 1 --time 1s",
            "corrupt --percent 1",
            "rate --rate 1Mbit",
            "partition",
        ] {
            let fault = parse(&format!("network {kind} {conditions}")).unwrap().to_string();
            assert!(fault.ends_with(said), "{fault}");
        }
    }

    #[test]
    fn conditions_that_cannot_hold_are_refused() {
        for (flags, words) in [
            ("--direction up", "no direction"),
            ("--interface a/b", "give 1 to 15 bytes"),
            ("--interface 0123456789abcdef", "give 1 to 15 bytes"),
            ("--to-host 10.0.0.1", "no host name"),
            ("--to-peer redis", "names nobody"),
            ("--dscp 64", "give 0 to 63"),
            ("--dscp best", "a name as ef"),
            ("--connections old", "give new or established"),
            ("--except 0.0.0.0/0,::/0", "--except: nothing is left that would match; except less"),
            (
                "--connections new --protocol udp",
                "--protocol and --connections: new and established connections are of TCP alone",
            ),
            ("--connection-percent 0", "0 % would do nothing"),
            ("--connection-percent 101", "no percentage"),
            ("--first 0packets", "give at least 1"),
            ("--first -1", "write it as 10packets or 64KiB"),
            ("--after ten", "write it as 10packets or 64KiB"),
            ("--first 1packet --after 1kB", "--first and --after: they count in different units"),
        ] {
            refused(&format!("network partition {flags}"), words);
        }
    }
}
