//! Programs that resolve names, each by another resolver, and what they say of one.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::harness::{Output, PROGRAMS, Place, begin, finish, own_command, start};

/// A program. All of them ask the servers of `/etc/resolv.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// For IPv4 addresses only.
    Dig,
    /// By glibc, as all programs in C do.
    Getent,
    /// By glibc.
    Python,
    /// By glibc, in a thread.
    Curl,
    /// By musl, which asks all servers at once, from a socket that is not connected.
    Musl,
    /// `hey`, by Go's own resolver.
    Go,
    /// By c-ares.
    Aria2,
}

/// What a program says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Saw {
    Addresses(BTreeSet<IpAddr>),
    /// There is no such name.
    NoSuchHost,
    /// It is there, and has none.
    NoAddresses,
    /// No server says.
    Failure,
    /// No addresses, for whatever reason.
    Nothing,
}

impl Saw {
    pub(super) fn addresses(addresses: &[&str]) -> Result<Self> {
        parsed(addresses.iter().copied())
    }
}

/// What a program says, and how long it takes for that.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) saw: Saw,
    pub(super) took: Duration,
}

/// A program that looks a name up.
pub(super) struct Asking {
    program: Program,
    end: JoinHandle<Result<(Output, Duration)>>,
}

impl Program {
    pub(super) const ALL: [Self; 7] =
        [Self::Dig, Self::Getent, Self::Python, Self::Curl, Self::Musl, Self::Go, Self::Aria2];

    /// How many questions it asks of a server that answers.
    pub(super) const fn questions(self) -> u64 {
        match self {
            Self::Dig => 1,
            Self::Getent | Self::Python | Self::Curl | Self::Musl | Self::Go | Self::Aria2 => 2,
        }
    }

    /// How many all of them ask.
    pub(super) fn all_questions() -> u64 {
        Self::ALL.into_iter().map(Self::questions).sum()
    }

    /// Has it look up a name.
    pub(super) fn begin(self, place: Place, name: &str) -> Result<Asking> {
        // What `socket` asks is `_socket`, which is in the program itself: `socket` is many files of a slow disk.
        const PYTHON: &str = "import _socket as socket, sys
try:
    for found in socket.getaddrinfo(sys.argv[1], 80, type=socket.SOCK_STREAM): print(found[4][0])
except socket.gaierror as error: print('error', error.errno)";
        // There is no way to what is found, and what a program says of that tells what it was.
        let url = format!("http://{name}/");
        let argv: &[&str] = match self {
            Self::Dig => &["dig", "+search", "+nofail", "+noall", "+comments", "+answer", name],
            Self::Getent => &["getent", "ahosts", name],
            Self::Python => &["python3", "-ISc", PYTHON, name],
            Self::Curl => &["curl", "-sSv", "--max-time", "30", &url],
            Self::Musl => &[],
            Self::Go => {
                &["busybox", "env", "GODEBUG=netdns=go+2", "hey", "-n", "1", "-c", "1", &url]
            }
            Self::Aria2 => &[
                "aria2c",
                "--no-conf",
                "--async-dns=true",
                "--max-tries=1",
                "--console-log-level=info",
                "--enable-color=false",
                "--dir=/tmp",
                &url,
            ],
        };
        let since = Instant::now();
        let child = match self {
            Self::Musl => start(own_command(place, &["resolve", PROGRAMS, name])?)?,
            Self::Dig | Self::Getent | Self::Python | Self::Curl | Self::Go | Self::Aria2 => {
                begin(place, argv)?
            }
        };
        let end = thread::spawn(move || Ok((finish(child, "")?, since.elapsed())));
        Ok(Asking { program: self, end })
    }

    /// Reads what it says.
    fn read(self, output: &Output) -> Result<Saw> {
        let Output { code, out, err } = output;
        ensure!(*code != 127, "{self:?} does not run");
        let said = |sign| text_after(out, sign);
        match self {
            Self::Dig => dig(output),
            Self::Getent if *code == 2 => Ok(Saw::Nothing),
            Self::Getent => parsed(out.lines().filter_map(|line| line.split(' ').next())),
            Self::Python => match out.trim() {
                // EAI_NONAME and EAI_NODATA.
                "error -2" => Ok(Saw::NoSuchHost),
                "error -5" => Ok(Saw::NoAddresses),
                said if said.starts_with("error ") => Ok(Saw::Failure),
                _ => parsed(out.lines()),
            },
            Self::Curl if *code == 6 => Ok(Saw::Nothing),
            Self::Curl => {
                let all = ["* IPv6: ", "* IPv4: "].map(|sign| text_after(err, sign));
                let all = all.into_iter().flatten().filter(|all| *all != "(none)");
                parsed(all.flat_map(|all| all.split(", ")))
            }
            Self::Musl if err.contains("Name does not resolve") => Ok(Saw::NoSuchHost),
            Self::Musl if err.contains("Name has no usable address") => Ok(Saw::NoAddresses),
            Self::Musl if err.contains("failed to lookup address") => Ok(Saw::Failure),
            Self::Musl => parsed(out.lines()),
            Self::Go => go(output),
            Self::Aria2 => match (said("resolution complete: "), said(" failed:")) {
                (Some(all), None) => {
                    let (_, all) = all.split_once(" -> ").context("there are no addresses")?;
                    parsed(all.split(", "))
                }
                (None, Some("Domain name not found")) => Ok(Saw::NoSuchHost),
                (None, Some("DNS server returned answer with no data")) => Ok(Saw::NoAddresses),
                (None, Some(_)) => Ok(Saw::Failure),
                _ => bail!("nothing is said of the name"),
            },
        }
    }

    /// Fails unless it says this, as far as it tells.
    pub(super) fn agrees(self, saw: &Saw, wanted: &Saw) -> Result<()> {
        let agrees = match (self, saw, wanted) {
            (
                Self::Getent | Self::Curl,
                Saw::Nothing,
                Saw::NoSuchHost | Saw::NoAddresses | Saw::Failure,
            )
            | (Self::Go, Saw::NoSuchHost, Saw::NoAddresses) => true,
            // The address that it connected to first.
            (Self::Go, Saw::Addresses(one), Saw::Addresses(all)) => one.is_subset(all),
            // Those of IPv4.
            (Self::Dig, Saw::Addresses(some), Saw::Addresses(all)) => {
                all.iter().filter(|one| one.is_ipv4()).eq(some)
            }
            _ => saw == wanted,
        };
        ensure!(agrees, "{self:?} saw {saw:?}, not {wanted:?}");
        Ok(())
    }
}

impl Asking {
    /// Waits for its end.
    pub(super) fn end(self) -> Result<Seen> {
        let (output, took) =
            self.end.join().unwrap_or_else(|_| Err(anyhow!("who waits for it panicked")))?;
        let saw = self.program.read(&output);
        Ok(Seen { saw: saw.with_context(|| format!("{:?}: {output:?}", self.program))?, took })
    }
}

fn dig(Output { code, out, err }: &Output) -> Result<Saw> {
    if *code == 9 {
        return Ok(Saw::Failure);
    }
    let complaints = ["warning", ";; got bad", "mismatch", "malformed"];
    let said = format!("{out}{err}").to_lowercase();
    ensure!(!complaints.iter().any(|one| said.contains(one)), "dig complains");
    match text_after(out, "status: ").and_then(|rest| rest.split(',').next()) {
        Some("NOERROR") => {
            let found = parsed(out.lines().filter_map(|line| {
                let mut words = line.split_whitespace().skip(2);
                let is_address =
                    words.next() == Some("IN") && matches!(words.next(), Some("A" | "AAAA"));
                words.next().filter(|_| is_address && !line.starts_with(';'))
            }))?;
            Ok(if found == parsed([])? { Saw::NoAddresses } else { found })
        }
        Some("NXDOMAIN") => Ok(Saw::NoSuchHost),
        Some(_) => Ok(Saw::Failure),
        None => bail!("dig tells no status"),
    }
}

fn go(Output { out, err, .. }: &Output) -> Result<Saw> {
    ensure!(err.contains("forcing use of the Go resolver"), "Go does not resolve by itself");
    // There it may have dialled a name server.
    if out.contains(": lookup ") {
        let is_none = out.contains(": no such host");
        return Ok(if is_none { Saw::NoSuchHost } else { Saw::Failure });
    }
    let connects = text_after(out, "dial tcp ").context("nothing is said of the name")?;
    let (address, _) = connects.split_once(": connect: ").context("it is connected")?;
    let (address, _) = address.rsplit_once(':').context("there is no port")?;
    parsed([address.trim_matches(['[', ']'])])
}

/// The rest of the first line that has a sign, behind that.
fn text_after<'a>(text: &'a str, sign: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.split_once(sign)).map(|(_, rest)| rest)
}

fn parsed<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Saw> {
    let addresses = words
        .into_iter()
        .map(|word| word.parse::<IpAddr>().with_context(|| format!("{word:?} is no address")));
    Ok(Saw::Addresses(addresses.collect::<Result<_>>()?))
}
