use std::path::Path;

use chaos_common::spec::from_yaml;

use super::*;

const FILE: &str = "/etc/chaos/policy.yaml";

fn policy(text: &str) -> Policy {
    Policy::parse(text, Path::new(FILE)).unwrap()
}

#[test]
fn names_are_reported_unless_it_says_no() {
    assert!(policy("").reports_names() && policy("reportNames: true").reports_names());
    assert!(!policy("reportNames: false").reports_names());
}

fn paths(texts: &[&str]) -> Vec<CgroupPath> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A node with a bit of everything.
const NODE: &[&str] = &[
    "/",
    "/init.scope",
    "/kubepods.slice",
    "/kubepods.slice/kubepods-pod1.slice",
    "/runtime.slice",
    "/runtime.slice/kubelet.service",
    "/system.slice",
    "/system.slice/chaos.service",
    "/system.slice/chaos.service/exec-1",
    "/system.slice/containerd.service",
    "/system.slice/containerd.service/child",
    "/system.slice/docker-a.scope",
    "/system.slice/docker-a.scope/system.slice",
    "/system.slice/docker-a.scope/system.slice/dbus.service",
    "/system.slice/nginx.service",
    "/system.slice/system-sshd.slice",
    "/system.slice/system-sshd.slice/sshd@1-2.service",
    "/system.slice-not",
    "/user.slice",
    "/user.slice/a\\x2db.service",
];

fn node(policy: &Policy) -> Protected {
    let always = Always {
        own: Some("/system.slice/chaos.service".parse().unwrap()),
        init: Some("/init.scope".parse().unwrap()),
    };
    policy.protected_among(&always, &paths(NODE))
}

#[test]
fn what_is_protected_by_default() {
    let protected = node(&policy(""));
    for (path, reason) in [
        ("/", Some("is the root cgroup")),
        ("//", Some("is the root cgroup")),
        ("/init.scope", Some("is protected by /init.scope under `protected`")),
        ("/kubepods.slice", None),
        ("/kubepods.slice/kubepods-pod1.slice", None),
        ("/runtime.slice", Some("contains /runtime.slice/kubelet.service, which is protected by")),
        (
            "/system.slice",
            Some("contains /system.slice/chaos.service, which is the cgroup of the chaos daemon"),
        ),
        ("/system.slice/", Some("contains")),
        ("/system.slice-not", None),
        ("/system.slice/chaos.service", Some("is the cgroup of the chaos daemon")),
        ("/system.slice/chaos.service/exec-1", None),
        ("/system.slice/containerd.service", Some("is protected by /*.slice/{containerd,")),
        (
            "/system.slice/containerd.service/child",
            Some("is below /system.slice/containerd.service, which"),
        ),
        ("/system.slice/docker-a.scope", None),
        ("/system.slice/docker-a.scope/system.slice/dbus.service", None),
        ("/system.slice/nginx.service", None),
        ("/system.slice/system-sshd.slice", Some("contains")),
        ("/user.slice", None),
    ] {
        let found = protected.reason(&path.parse().unwrap());
        match (reason, &found) {
            (None, None) => {}
            (Some(reason), Some(found)) => assert!(found.starts_with(reason), "{path}: {found}"),
            (None, Some(_)) | (Some(_), None) => panic!("{path}: {found:?}, not {reason:?}"),
        }
    }
}

#[test]
fn a_refusal_is_one_sentence_with_object_and_remedy() {
    let error = node(&policy("")).check(&"/runtime.slice".parse().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/runtime.slice contains /runtime.slice/kubelet.service, which is protected by \
         /*.slice/{kubelet,k3s,k3s-agent,rke2-server,rke2-agent,k0scontroller,k0sworker}.service under \
         `protected` in /etc/chaos/policy.yaml; aim at another cgroup, or change the policy"
    );
    let spec =
        &from_yaml::<Spec>("{target: {pid: 1}, duration: 2h, fault: {networkLoss: {percent: 1}}}")
            .unwrap()[0];
    let cgroup = Cgroup { path: "/kubepods.slice".parse().unwrap(), id: 1, level: 1 };
    let check = |text: &str, live| {
        let policy = policy(text);
        policy.check(spec, &cgroup, &node(&policy), live).map_err(|refusal| refusal.to_string())
    };
    assert_eq!(
        check("", 0).unwrap_err(),
        "2h is longer than this node allows; ask for at most 1h and renew it, or raise `maxDuration` in \
         /etc/chaos/policy.yaml"
    );
    assert_eq!(
        check("{maxDuration: 2h, maxInjections: 3}", 3).unwrap_err(),
        "3 injections are live and this node allows 3; recover some (`chaos ls` shows them), or raise \
         `maxInjections` in /etc/chaos/policy.yaml"
    );
    assert_eq!(check("{maxDuration: 2h, maxInjections: 3}", 2), Ok(()));
    assert_eq!(check("maxDuration: 2h", 16383), Ok(()));
    assert!(check("{maxDuration: 2h, maxInjections: 0}", 0).is_err());
}

#[test]
fn one_key_replaces_and_the_other_adds() {
    let (containerd, nginx) = ("/system.slice/containerd.service", "/system.slice/nginx.service");
    for (text, containerd_is, nginx_is) in [
        ("", true, false),
        ("protected: []", false, false),
        ("protected: [/system.slice/nginx.service]", false, true),
        ("protectedAlso: ['**/nginx.service']", true, true),
        ("{protected: [], protectedAlso: ['/*/nginx.*']}", false, true),
        ("protectedAlso: ['/*.service', /nginx.service, '/system.slice/nginx']", true, false),
    ] {
        let protected = node(&policy(text));
        let is = |path: &str| protected.reason(&path.parse().unwrap()).is_some();
        assert_eq!((is(containerd), is(nginx)), (containerd_is, nginx_is), "{text}");
        assert!(
            is("/")
                && is("/system.slice/chaos.service")
                && is("/init.scope")
                && is("/system.slice"),
            "{text}"
        );
    }
    let protected = node(&policy(r"protectedAlso: ['/user.slice/a\x2db.service']"));
    assert!(protected.reason(&r"/user.slice/a\x2db.service".parse().unwrap()).is_some());
}

#[test]
fn what_is_below_the_own_cgroup_may_still_be_protected_by_the_policy() {
    let protected = node(&policy("protectedAlso: [/system.slice/chaos.service]"));
    let reason = protected.reason(&"/system.slice/chaos.service/exec-1".parse().unwrap()).unwrap();
    assert!(
        reason.starts_with("is below /system.slice/chaos.service, which is protected by"),
        "{reason}"
    );
}

#[test]
fn mistakes_are_named() {
    for (text, word) in [
        ("maxDurations: 1h", "maxDurations"),
        ("maxDuration: 1000years", "too long"),
        ("maxDuration: 0s", "least"),
        ("maxInjections: -1", "line 1"),
        ("protected: [nginx.service]", "begin it with /"),
        ("protectedAlso: ['/[a']", "is no glob"),
        ("protectedAlso: ['']", "protectedAlso"),
        ("{}\n---\n{}", "more than one document"),
        ("[", "line"),
    ] {
        let error = Policy::parse(text, Path::new(FILE)).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains(FILE), "{text}: {error}");
    }
    assert!(Policy::parse(&"#".repeat(2 << 20), Path::new(FILE)).is_err());
}

#[test]
fn every_default_is_a_glob_and_a_missing_file_an_error() {
    assert_eq!(policy("").protected.len(), DEFAULT_PROTECTED.len());
    for text in ["# nothing\n", "---\n", "{}"] {
        assert_eq!(policy(text).protected.len(), DEFAULT_PROTECTED.len(), "{text}");
    }
    let error = Policy::load(Some(Path::new("/nonexistent/policy.yaml"))).unwrap_err();
    assert!(
        matches!(error, PolicyError::Read { .. }) && error.to_string().contains("/nonexistent"),
        "{error}"
    );
    assert!(Path::new(DEFAULT_PATH).exists() || Policy::load(None).is_ok());
}

#[test]
fn this_host_protects_its_root() {
    let root = CgroupRoot::find().unwrap();
    let top = "/".parse().unwrap();
    let protected = policy("").protected_around(&root, &top).unwrap();
    assert!(matches!(
        protected.check(&top),
        Err(Refusal::Protected { protection: Protection::Root, .. })
    ));
}
