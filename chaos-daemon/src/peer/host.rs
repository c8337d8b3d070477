//! Addresses of hosts, as a process of the target would find them: by its own `/etc/hosts` and `/etc/resolv.conf`,
//! from its own network namespace.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _},
    net::IpAddr,
    os::fd::AsFd as _,
    time::Duration,
};

use chaos_common::value::HostName;
use hickory_resolver::{
    Hosts, TokioResolver,
    config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
    system_conf::parse_resolv_conf,
};
use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
};

use super::{PeerError, Seeker};
use crate::netns;

/// How long all names together may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that such a file may have.
const MAX_FILE: u64 = 1 << 20;

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Who is asked where the file names nobody; see resolv.conf(5).
const LOCAL_SERVER: &[u8] = b"\nnameserver 127.0.0.1\n";

pub(super) fn addresses(
    seeker: Seeker<'_>,
    hosts: &[HostName],
) -> Result<BTreeSet<IpAddr>, PeerError> {
    let asker = Asker::of(seeker)?;
    let (files, asked) = asker.files()?;
    let look_up = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(PeerError::kernel("begin to look names up"))?;
        runtime.block_on(look_up_all(&files, hosts, &asked))
    };
    netns::within(asker.namespace.as_fd(), look_up)
        .map_err(PeerError::kernel("enter the target's network namespace"))?
}

async fn look_up_all(
    own: &Files,
    hosts: &[HostName],
    asked: &str,
) -> Result<BTreeSet<IpAddr>, PeerError> {
    let failed = |host: &HostName, reason: String| PeerError::Host {
        host: host.clone(),
        reason,
        asked: asked.to_owned(),
    };
    let resolver = own.resolver().map_err(PeerError::kernel("begin to look names up"))?;
    let end = tokio::time::Instant::now() + PATIENCE;
    let mut all = BTreeSet::new();
    for host in hosts {
        // A name that the file knows is not asked for, as by the resolvers of C libraries.
        let written = own.addresses(host);
        if !written.is_empty() {
            all.extend(written);
            continue;
        }
        let found = tokio::time::timeout_at(end, resolver.lookup_ip(host.as_str())).await;
        let found = match found {
            Ok(Ok(found)) => found,
            Ok(Err(error)) if error.is_nx_domain() => {
                return Err(failed(host, "there is no such name".to_owned()));
            }
            Ok(Err(error)) if error.is_no_records_found() => {
                return Err(failed(host, "no address is known of it".to_owned()));
            }
            Ok(Err(error)) => return Err(failed(host, error.to_string())),
            Err(_) => return Err(failed(host, format!("no answer within {PATIENCE:?}"))),
        };
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            return Err(failed(host, "there is such a name, but without any".to_owned()));
        }
        all.extend(addresses);
    }
    Ok(all)
}

/// What the two files say.
struct Files {
    config: ResolverConfig,
    options: ResolverOpts,
    hosts: Hosts,
}

impl Files {
    /// What the hosts file has of a name.
    fn addresses(&self, host: &HostName) -> Vec<IpAddr> {
        let Ok(mut name) = Name::from_ascii(host.as_str().to_ascii_lowercase()) else {
            return Vec::new();
        };
        name.set_fqdn(true);
        let line = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let lines = [RecordType::A, RecordType::AAAA].map(line);
        let found = lines.iter().flatten().flat_map(|lookup| lookup.answers());
        found.filter_map(|record| record.data.ip_addr()).collect()
    }

    /// Asks the servers. It belongs to the network namespace of the thread that makes it.
    fn resolver(&self) -> io::Result<TokioResolver> {
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(self.config.clone(), provider);
        builder.with_options(self.options.clone()).build().map_err(io::Error::other)
    }
}

/// A process of the target, as whom names are looked up.
struct Asker {
    /// Its root directory.
    root: File,
    /// Its network namespace.
    namespace: File,
}

impl Asker {
    /// The first process of a target that is still there.
    fn of(seeker: Seeker<'_>) -> Result<Self, PeerError> {
        let mut last = None;
        for pid in seeker.processes()? {
            let open = |what: &str| File::open(format!("/proc/{pid}/{what}"));
            match open("root").and_then(|root| Ok(Self { root, namespace: open("ns/net")? })) {
                Ok(asker) => return Ok(asker),
                Err(error) => last = Some(error),
            }
        }
        Err(match last {
            Some(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                PeerError::kernel("look at a process of the target (takes CAP_SYS_PTRACE)")(error)
            }
            // Those that there were have just ended.
            Some(_) | None => PeerError::NobodyAsks(seeker.target.path.clone()),
        })
    }

    /// How this process would look names up, and whom it would ask.
    fn files(&self) -> Result<(Files, String), PeerError> {
        let mut hosts = Hosts::default();
        let at = |file| move |source| PeerError::File { file, source };
        hosts.read_hosts_conf(&*self.read(HOSTS)?).map_err(at(HOSTS))?;
        let mut text = self.read(RESOLV_CONF)?;
        let names_server = |line: &[u8]| line.trim_ascii_start().starts_with(b"nameserver");
        if !text.split(|byte| *byte == b'\n').any(names_server) {
            text.extend(LOCAL_SERVER);
        }
        let (config, mut options) = parse_resolv_conf(&text)
            .map_err(|error| at(RESOLV_CONF)(io::Error::other(error.to_string())))?;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // Not the daemon's own.
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        let servers: Vec<String> =
            config.name_servers().iter().map(|server| server.ip.to_string()).collect();
        let asked = format!("{HOSTS} and {} of the target", servers.join(", "));
        Ok((Files { config, options, hosts }, asked))
    }

    /// A file as the process sees it; nothing if there is none. No link leads out of its root, and nothing that
    /// is no plain file is waited for.
    fn read(&self, file: &'static str) -> Result<Vec<u8>, PeerError> {
        let at = |source| PeerError::File { file, source };
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let opened = match openat2(&self.root, file, how) {
            Ok(opened) => File::from(opened),
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
            Err(errno) => return Err(at(errno.into())),
        };
        let about = opened.metadata().map_err(at)?;
        if !about.is_file() || about.len() > MAX_FILE {
            return Err(at(io::Error::other("is no plain file of at most 1 MiB")));
        }
        let mut bytes = Vec::new();
        opened.take(MAX_FILE).read_to_end(&mut bytes).map_err(at)?;
        Ok(bytes)
    }
}
