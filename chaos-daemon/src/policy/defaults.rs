//! What holds where the file says nothing.

/// Where the policy is looked for unless told otherwise.
pub const DEFAULT_PATH: &str = "/etc/chaos/policy.yaml";

/// Longest injection in seconds.
pub(super) const MAX_DURATION_SECONDS: u64 = 3600;

/// Most live injections.
pub(super) const MAX_INJECTIONS: u32 = 16384;

/// What a node needs to stay a node that somebody can reach and that can end a fault.
///
/// Services are protected where the host's own systemd has them: directly below one slice, whichever that
/// is (`runtime.slice` on some Kubernetes hosts), but not within a container that runs a systemd of its own.
pub const DEFAULT_PROTECTED: &[&str] = &[
    // Process 1: every unit is started and stopped by it.
    "/init.scope",
    // The container runtimes: without them no container of the node starts, stops or is probed.
    "/*.slice/{containerd,docker,crio,podman,cri-docker,snap.docker.dockerd}.service",
    // Kubernetes on the node; where it is silent, the control plane moves all pods away.
    "/*.slice/{kubelet,k3s,k3s-agent,rke2-server,rke2-agent,k0scontroller,k0sworker}.service",
    "/*.slice/snap.microk8s.daemon-*.service",
    // Talos, which has no systemd.
    "/init",
    "/podruntime/*",
    "/system/runtime",
    // The way in for whoever has to look after the node, and what a login waits for.
    "/*.slice/{ssh,sshd,systemd-logind}.service",
    "/*.slice/*.slice/{ssh,sshd}@*.service",
    // Everybody writes to the journal and blocks when it does not read; its loss outlasts the fault.
    "/*.slice/systemd-journald.service",
    // systemctl, logind and the network managers speak through it and wait for it.
    "/*.slice/{dbus,dbus-broker}.service",
    // A lease that is not renewed takes the node off the network, for longer than the fault.
    "/*.slice/{NetworkManager,systemd-networkd,systemd-udevd}.service",
    // Resolves for all of the node; a DNS fault is aimed at who asks.
    "/*.slice/systemd-resolved.service",
];
