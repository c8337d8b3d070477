//! Every kind of fault has its file in every place, every file there is of a kind, and its example works.
#![cfg(feature = "user")]

use std::{collections::BTreeSet, fs, path::PathBuf};

use chaos_common::{
    fault::FaultKind,
    spec::{Spec, from_yaml},
};

/// A folder that has one file for each kind, named after it.
struct Place {
    folder: &'static str,
    ending: &'static str,
    /// Between the words of a name.
    joint: char,
    /// What else lies there, without endings.
    others: &'static [&'static str],
}

const PLACES: [Place; 6] = [
    Place {
        folder: "chaos-common/src/fault",
        ending: "rs",
        joint: '_',
        others: &["call", "dns", "mod", "network_filter"],
    },
    Place {
        folder: "chaos-daemon/src/fault",
        ending: "rs",
        joint: '_',
        others: &["call", "dns", "mod", "network"],
    },
    Place {
        folder: "chaos-ctl/src/fault",
        ending: "rs",
        joint: '_',
        others: &["call", "dns", "mod", "network_filter"],
    },
    Place {
        folder: "tests/vm/tests",
        ending: "rs",
        joint: '_',
        others: &[
            "bad_input",
            "call_cells",
            "call_programs",
            "call_rules",
            "crash",
            "dns_composed",
            "dns_fuzz",
            "dns_programs",
            "exec",
            "harness_itself",
            "lifecycle",
            "network_cells",
            "network_composed",
            "network_paths",
            "network_programs",
            "sweep",
            "targets",
        ],
    },
    Place { folder: "docs/faults", ending: "md", joint: '-', others: &[] },
    Place { folder: "docs/examples", ending: "yaml", joint: '-', others: &[] },
];

impl Place {
    fn name(&self, kind: FaultKind) -> String {
        kind.file_stem().replace('_', &self.joint.to_string())
    }

    /// Whether a file or folder is of a kind: `network-loss`, or a variant of it as `network-loss-burst`.
    fn is_of_a_kind(&self, stem: &str) -> bool {
        FaultKind::ALL.into_iter().any(|kind| {
            let rest = stem.strip_prefix(&self.name(kind));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(self.joint))
        })
    }
}

fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_kind_has_its_files() {
    for kind in FaultKind::ALL {
        for place in PLACES {
            let file = format!("{}/{}.{}", place.folder, place.name(kind), place.ending);
            assert!(workspace().join(&file).is_file(), "{kind} has no {file}");
        }
    }
}

#[test]
fn every_file_of_a_place_is_of_a_kind() {
    for place in PLACES {
        for file in fs::read_dir(workspace().join(place.folder)).unwrap() {
            let path = file.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            assert!(
                place.is_of_a_kind(stem) || place.others.contains(&stem),
                "{} is of no kind of fault",
                path.display()
            );
        }
    }
}

#[test]
fn the_wire_has_the_same_kinds() {
    let proto = workspace().join("chaos-common/proto/chaos/v1/chaos.proto");
    let text = fs::read_to_string(proto).unwrap();
    let (_, rest) = text.split_once("oneof fault {").unwrap();
    let (fields, _) = rest.split_once('}').unwrap();
    let names = fields.lines().filter_map(|line| {
        let (declaration, _) = line.trim().strip_suffix(';')?.split_once(" = ")?;
        Some(declaration.split_once(' ')?.1.to_owned())
    });
    let kinds = FaultKind::ALL.into_iter().map(FaultKind::file_stem);
    assert_eq!(names.collect::<BTreeSet<_>>(), kinds.collect::<BTreeSet<_>>());
}

#[test]
fn every_example_parses_and_survives_the_wire() {
    let mut seen = Vec::new();
    for file in fs::read_dir(workspace().join("docs/examples")).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let specs: Vec<Spec> =
            from_yaml(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for spec in specs {
            let wire = chaos_common::proto::v1::Spec::from(&spec);
            assert_eq!(Spec::try_from(wire).unwrap(), spec, "{}", path.display());
            seen.push(spec.fault.kind());
        }
    }
    for kind in FaultKind::ALL {
        assert!(seen.contains(&kind), "{kind} is in no example");
    }
}
