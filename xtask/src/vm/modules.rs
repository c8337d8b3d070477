//! Chooses the kernel modules that tests need, with what those depend on, in load order.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::sh;

/// What the daemon and its tests use, where it is not built in.
const WANTED: &[&str] = &[
    "8021q",
    "act_bpf",
    "act_gact",
    "act_mirred",
    "act_skbedit",
    "bridge",
    "cls_bpf",
    "cls_flower",
    "cls_matchall",
    "cls_u32",
    "dummy",
    "ext4",
    "fuse",
    "ifb",
    "inet_diag",
    "ip6_udp_tunnel",
    "ipip",
    "ipvlan",
    "loop",
    "macvlan",
    "nf_nat",
    "nf_tables",
    "nft_chain_nat",
    "nft_ct",
    "nft_nat",
    "overlay",
    "sch_fq",
    "sch_fq_codel",
    "sch_htb",
    "sch_ingress",
    "sch_netem",
    "sch_prio",
    "sch_tbf",
    "tcp_bbr",
    "tcp_diag",
    "tun",
    "udp_diag",
    "udp_tunnel",
    "veth",
    "virtio_blk",
    "virtio_pci",
    "vxlan",
    "wireguard",
];

/// The modules for one kernel.
#[derive(Default)]
pub(crate) struct Modules {
    /// Name and decompressed content; each comes after those it needs.
    pub(crate) ordered: Vec<(String, Vec<u8>)>,
    /// Wanted, but neither in the packages nor built in.
    pub(crate) missing: Vec<String>,
}

/// Collects the wanted modules from `lib/modules/<release>`.
pub(crate) fn collect(tree: &Path) -> Result<Modules> {
    let builtin = builtin(tree)?;
    let mut files = HashMap::new();
    index(&tree.join("kernel"), &mut files)?;
    let mut collector =
        Collector { files, builtin, seen: HashSet::new(), modules: Modules::default() };
    for name in WANTED {
        collector.add(name)?;
    }
    Ok(collector.modules)
}

struct Collector {
    files: HashMap<String, PathBuf>,
    builtin: HashSet<String>,
    seen: HashSet<String>,
    modules: Modules,
}

impl Collector {
    fn add(&mut self, name: &str) -> Result<()> {
        if self.builtin.contains(name) || !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(path) = self.files.get(name) else {
            self.modules.missing.push(name.to_owned());
            return Ok(());
        };
        let content = decompress(path)?;
        for dependency in depends(&content) {
            self.add(&dependency)?;
        }
        self.modules.ordered.push((name.to_owned(), content));
        Ok(())
    }
}

fn builtin(tree: &Path) -> Result<HashSet<String>> {
    let path = tree.join("modules.builtin");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().filter_map(|line| module_name(Path::new(line))).collect())
}

fn index(folder: &Path, files: &mut HashMap<String, PathBuf>) -> Result<()> {
    for entry in
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            index(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `kernel/net/sched/sch-fq.ko.xz` is the module `sch_fq`.
fn module_name(path: &Path) -> Option<String> {
    let (name, _) = path.file_name()?.to_str()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

fn decompress(path: &Path) -> Result<Vec<u8>> {
    let tool = match path.extension().and_then(|ending| ending.to_str()) {
        Some("ko") => {
            return std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        }
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => bail!("cannot decompress {}: only .ko, .ko.xz and .ko.zst are known", path.display()),
    };
    sh::capture(Command::new(tool).args(["--decompress", "--stdout", "--quiet"]).arg(path))
}

/// Reads `depends=a,b` from the module's own information (the packages come without `modules.dep`).
fn depends(content: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = content.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = content[start + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let value = String::from_utf8_lossy(value);
    value.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_the_module() {
        assert_eq!(
            depends(b"ELF\0license=GPL\0depends=udp_tunnel,ip6-udp\0name=x\0"),
            ["udp_tunnel", "ip6_udp"]
        );
        assert!(depends(b"ELF\0depends=\0name=x\0").is_empty());
        assert!(depends(b"ELF").is_empty());
    }

    #[test]
    fn names_use_underscores() {
        assert_eq!(module_name(Path::new("kernel/a/x-y.ko.xz")).as_deref(), Some("x_y"));
        assert_eq!(module_name(Path::new("modules.order")), None);
    }
}
