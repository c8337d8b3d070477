//! `socket error`

use chaos_common::{
    fault::{Fault, OperationName, Operations, Protocol, SOCKET_OPERATIONS, SocketError, Sockets},
    invalid::{At as _, Invalid},
    value::{Cidr, Errno, PortRange, PortRanges, Remotes, SocketFamilies, SocketFamilyName},
};

use super::{call::CallFlags, of_flag};

/// What is done to sockets fails
#[derive(Clone, Debug, clap::Args)]
#[command(about = "What is done to sockets fails", next_help_heading = "What")]
pub(super) struct Flags {
    /// What fails: socket, bind, connect, listen, accept, send, receive
    ///
    /// Repeat the flag or separate with commas.
    #[arg(
        long = "do",
        value_name = "OPERATION",
        value_delimiter = ',',
        required = true,
        allow_hyphen_values = true
    )]
    operations: Vec<OperationName>,

    /// What it fails with: ECONNREFUSED, ETIMEDOUT, EADDRINUSE, EPERM, …
    #[arg(long, value_name = "ERRNO", allow_hyphen_values = true)]
    errno: Errno,

    /// Also reset the TCP connections that are open when it begins, at both ends
    #[arg(long)]
    reset_open: bool,

    /// If this node can do some of it only, do that
    #[arg(long)]
    partial: bool,

    /// Only with these addresses or CIDRs at the other end
    ///
    /// Of what binds, at its own. Of this list and that of --except the longest matching prefix decides.
    #[arg(
        long,
        value_name = "CIDR",
        value_delimiter = ',',
        allow_hyphen_values = true,
        help_heading = "Which sockets"
    )]
    to: Vec<Cidr>,

    /// Not with these addresses or CIDRs
    #[arg(
        long,
        value_name = "CIDR",
        value_delimiter = ',',
        allow_hyphen_values = true,
        help_heading = "Which sockets"
    )]
    except: Vec<Cidr>,

    /// Only with these ports at the other end: 5432, 6000-6010
    ///
    /// Of what binds, listens or accepts, at its own.
    #[arg(
        long,
        value_name = "PORT",
        value_delimiter = ',',
        allow_hyphen_values = true,
        help_heading = "Which sockets"
    )]
    port: Vec<PortRange>,

    /// Only of these families: ipv4, ipv6, unix, other
    #[arg(
        long,
        value_name = "FAMILY",
        value_delimiter = ',',
        allow_hyphen_values = true,
        help_heading = "Which sockets"
    )]
    family: Vec<SocketFamilyName>,

    /// Only of these protocols: tcp, udp, icmp
    #[arg(
        long,
        value_name = "PROTOCOL",
        value_delimiter = ',',
        allow_hyphen_values = true,
        help_heading = "Which sockets"
    )]
    protocol: Vec<Protocol>,

    #[command(flatten)]
    calls: CallFlags,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        let (caller, occasion) = flags.calls.read()?;
        let operations = Operations::among(flags.operations, &SOCKET_OPERATIONS);
        SocketError {
            operations: operations.at("--do")?,
            errno: flags.errno,
            sockets: Sockets {
                remote: Remotes::try_from(flags.to).at("--to")?,
                except: Remotes::try_from(flags.except).at("--except")?,
                ports: PortRanges::try_from(flags.port).at("--port")?,
                families: SocketFamilies::new(flags.family),
                protocols: flags.protocol,
            },
            caller,
            occasion,
            partial: flags.partial,
            reset_open: flags.reset_open,
        }
        .checked()
        .map(Self::SocketError)
        .map_err(of_flag)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

    #[test]
    fn all_flags_arrive() {
        for (flags, said) in [
            ("--do connect --errno ECONNREFUSED", "ECONNREFUSED connect"),
            (
                "--do bind,listen --errno EADDRINUSE --port 80 --family ipv6 --protocol tcp",
                "EADDRINUSE bind listen, of ipv6, tcp, ports 80",
            ),
            (
                "--do send --errno EPERM --to 10.0.0.0/8 --except 10.1.0.0/16 --percent 5 --reset-open",
                "EPERM send and reset what is open, with 10.0.0.0/8, not with 10.1.0.0/16, 5 %",
            ),
        ] {
            let fault = parse(&format!("socket error {flags}")).unwrap().to_string();
            assert_eq!(fault, format!("socket error {said}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (flags, words) in [
            ("--errno EPERM", "--do <OPERATION>"),
            ("--do read --errno EPERM", "--do: read is another fault's; give some of socket"),
            ("--do socket --errno EPERM --port 80", "--do: a socket that is made has no other end"),
            (
                "--do send --errno EPERM --protocol udp --reset-open",
                "--reset-open: only connections of TCP",
            ),
            ("--do send --errno EPERM --family ipx", "give one of ipv4, ipv6"),
        ] {
            refused(&format!("socket error {flags}"), words);
        }
    }
}
