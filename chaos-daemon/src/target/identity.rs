//! What a cgroup is, told from its path alone.
//!
//! The path is all that every container engine has in common: no socket is asked and nothing is
//! configured. What a name leaves open is left open; see [`Identity::Container`].

use chaos_common::target::CgroupPath;

use super::root::steps;

/// What a cgroup stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A systemd service, scope or slice.
    Unit {
        /// With its suffix.
        name: String,
    },
    /// A container, also the one that holds a pod's network namespace: they look alike from here.
    Container {
        /// All 64 digits.
        id: String,
        /// Who runs it; `None` if the path does not say.
        runtime: Option<Runtime>,
    },
    /// A pod: the parent of its containers.
    Pod {
        /// As in `metadata.uid`, with dashes.
        uid: String,
    },
    /// None of these.
    Cgroup,
}

/// What runs a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// Docker, under Kubernetes through cri-dockerd.
    Docker,
    /// containerd: its CRI plugin, nerdctl or another client.
    Containerd,
    /// CRI-O.
    CriO,
    /// Podman.
    Podman,
}

impl Runtime {
    /// The word for people and for the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Podman => "podman",
        }
    }

    /// What names of cgroups begin with, by who makes them. Each is followed by `-` and the id.
    const PREFIXES: [(&'static str, Self); 6] = [
        ("docker", Self::Docker),
        ("cri-containerd", Self::Containerd),
        ("nerdctl", Self::Containerd),
        ("crio", Self::CriO),
        ("libpod", Self::Podman),
        // `podman run --cgroups=split`
        ("libpod-payload", Self::Podman),
    ];

    fn of_prefix(prefix: &str) -> Option<Self> {
        Self::PREFIXES.iter().find(|(known, _)| *known == prefix).map(|(_, runtime)| *runtime)
    }
}

impl Identity {
    /// Unit name, container id or pod uid; empty for a plain cgroup.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Unit { name } => name,
            Self::Container { id, .. } => id,
            Self::Pod { uid } => uid,
            Self::Cgroup => "",
        }
    }

    /// Who runs it, for a container whose path says so.
    #[must_use]
    pub fn runtime(&self) -> Option<Runtime> {
        match self {
            Self::Container { runtime, .. } => *runtime,
            Self::Unit { .. } | Self::Pod { .. } | Self::Cgroup => None,
        }
    }
}

/// What the cgroup at a path is.
#[must_use]
pub fn identify(path: &CgroupPath) -> Identity {
    let steps: Vec<&str> = steps(path).collect();
    let Some((&last, above)) = steps.split_last() else { return Identity::Cgroup };
    if let Some((id, runtime)) = container(last, above) {
        return Identity::Container { id: id.to_owned(), runtime };
    }
    if let Some(uid) = pod(last, above) {
        return Identity::Pod { uid };
    }
    match unit(last) {
        Some(name) => Identity::Unit { name: name.to_owned() },
        None => Identity::Cgroup,
    }
}

/// Takes systemd's escape off: a name that looks like a file of a cgroup (`memory.service`) gets an
/// underscore in front (`cg_escape`).
fn unit(step: &str) -> Option<&str> {
    let name = step.strip_prefix('_').unwrap_or(step);
    let stem =
        [".service", ".scope", ".slice"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
    (!stem.is_empty()).then_some(name)
}

fn container<'a>(last: &'a str, above: &[&str]) -> Option<(&'a str, Option<Runtime>)> {
    let parent = above.last().copied().unwrap_or_default();
    if is_id(last) {
        return Some((last, bare(parent, above)));
    }
    // systemd names under a driver that takes them for a path: `kubepods-….slice:cri-containerd:<id>`.
    if let Some((rest, id)) = last.rsplit_once(':')
        && is_id(id)
    {
        return Some((id, rest.rsplit(':').next().and_then(Runtime::of_prefix)));
    }
    let name = last.strip_suffix(".scope").unwrap_or(last);
    let (prefix, id) = name.rsplit_once('-')?;
    // `crio-conmon-<id>` and `libpod-conmon-<id>` are the monitor beside the container.
    let runtime = Runtime::of_prefix(prefix)?;
    is_id(id).then_some((id, Some(runtime)))
}

/// Who makes a cgroup that is named with nothing but the id.
fn bare(parent: &str, above: &[&str]) -> Option<Runtime> {
    match parent {
        "docker" => Some(Runtime::Docker),
        "libpod_parent" => Some(Runtime::Podman),
        // containerd's clients put it below their namespace.
        "default" | "moby" | "k8s.io" => Some(Runtime::Containerd),
        // cri-dockerd does it as well, but since Kubernetes 1.24 hardly anybody has it.
        _ => above.contains(&"kubepods").then_some(Runtime::Containerd),
    }
}

/// `…kubepods-burstable-pod<uid>.slice` by the systemd driver, `kubepods/burstable/pod<uid>` by cgroupfs.
fn pod(last: &str, above: &[&str]) -> Option<String> {
    let uid = match last.strip_suffix(".slice") {
        Some(stem) => {
            let (before, uid) = stem.rsplit_once("-pod")?;
            before.split('-').any(|part| part == "kubepods").then_some(uid)?
        }
        None => above.contains(&"kubepods").then_some(last)?.strip_prefix("pod")?,
    };
    // A static pod's uid is a hash without dashes.
    (digits(uid).len() == 32).then(|| uid.replace('_', "-"))
}

/// The hexadecimal digits of a pod's uid, however they are grouped; empty if it is none.
pub(crate) fn digits(uid: &str) -> String {
    let plain = uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-' || b == b'_');
    let digits = uid.chars().filter(char::is_ascii_hexdigit);
    if plain { digits.map(|c| c.to_ascii_lowercase()).collect() } else { String::new() }
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "7a0fd4dc-4d3f-4f6b-9d5b-0c7f2f8f2a11";
    const UID_: &str = "7a0fd4dc_4d3f_4f6b_9d5b_0c7f2f8f2a11";

    fn of(path: &str) -> Identity {
        let path = path.replace("<id>", ID).replace("<uid>", UID).replace("<uid_>", UID_);
        identify(&path.parse().unwrap())
    }

    #[test]
    fn units() {
        for (path, name) in [
            ("/init.scope", "init.scope"),
            ("/system.slice", "system.slice"),
            ("/system.slice/nginx.service", "nginx.service"),
            ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
            ("/system.slice/_memory.service", "memory.service"),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/a\\x2db.scope",
                "a\\x2db.scope",
            ),
            ("/kubepods.slice/kubepods-burstable.slice", "kubepods-burstable.slice"),
            ("/machine.slice/libpod-conmon-<id>.scope", "libpod-conmon-<id>.scope"),
            ("/kubepods.slice/crio-conmon-<id>.scope", "crio-conmon-<id>.scope"),
            ("/machine.slice/machine-libpod_pod_<id>.slice", "machine-libpod_pod_<id>.slice"),
            ("/foo.slice/foo-pod12.slice", "foo-pod12.slice"),
        ] {
            let name = name.replace("<id>", ID);
            assert_eq!(of(path), Identity::Unit { name }, "{path}");
        }
    }

    #[test]
    fn containers() {
        use Runtime::{Containerd, CriO, Docker, Podman};
        for (path, runtime) in [
            ("/system.slice/docker-<id>.scope", Some(Docker)),
            ("/docker/<id>", Some(Docker)),
            ("/docker/<id>/docker/<id>", Some(Docker)),
            ("/mine/<id>", None),
            ("/<id>", None),
            (
                "/kubepods.slice/kubepods-pod<uid_>.slice/cri-containerd-<id>.scope",
                Some(Containerd),
            ),
            ("/kubepods.slice/kubepods-pod<uid_>.slice/docker-<id>.scope", Some(Docker)),
            ("/kubepods/burstable/pod<uid>/<id>", Some(Containerd)),
            ("/kubelet/kubepods/pod<uid>/<id>", Some(Containerd)),
            ("/system.slice/kubepods-pod<uid_>.slice:cri-containerd:<id>", Some(Containerd)),
            ("/default/<id>", Some(Containerd)),
            ("/system.slice/nerdctl-<id>.scope", Some(Containerd)),
            ("/kubepods.slice/kubepods-pod<uid_>.slice/crio-<id>.scope", Some(CriO)),
            ("/kubepods/besteffort/pod<uid>/crio-<id>", Some(CriO)),
            ("/machine.slice/libpod-<id>.scope", Some(Podman)),
            ("/libpod_parent/libpod-<id>", Some(Podman)),
            ("/libpod_parent/<id>", Some(Podman)),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-<id>.scope",
                Some(Podman),
            ),
            ("/system.slice/web.service/libpod-payload-<id>", Some(Podman)),
        ] {
            assert_eq!(of(path), Identity::Container { id: ID.into(), runtime }, "{path}");
        }
    }

    #[test]
    fn pods() {
        for path in [
            "/kubepods.slice/kubepods-pod<uid_>.slice",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid_>.slice",
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod<uid_>.slice",
            "/kubepods/besteffort/pod<uid>",
            "/kubelet/kubepods/pod<uid>",
        ] {
            assert_eq!(of(path), Identity::Pod { uid: UID.into() }, "{path}");
        }
        let hash = "0123456789abcdef0123456789abcdef";
        assert_eq!(of(&format!("/kubepods/pod{hash}")), Identity::Pod { uid: hash.into() });
    }

    #[test]
    fn everything_else() {
        for path in [
            "/",
            "/a",
            "/.service",
            "/docker",
            "/docker/buildkit",
            "/kubepods/burstable",
            "/pod<uid>",
            "/libpod_parent/conmon",
            "/docker/<id>0",
            "/system.slice/docker-<id>.scope/init",
            "/libpod_parent/libpod-conmon-<id>",
            "/kubepods/poduid",
        ] {
            assert_eq!(of(path), Identity::Cgroup, "{path}");
        }
    }

    #[test]
    fn uids_compare_by_their_digits() {
        assert_eq!(digits(UID), digits(UID_));
        assert_eq!(digits("a/b"), "");
    }
}
