//! Every kind of fault has its file in every place, and its example works.
#![cfg(feature = "user")]

use std::{fs, path::PathBuf};

use chaos_common::{
    fault::FaultKind,
    spec::{Spec, from_yaml},
};

fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_kind_has_its_files() {
    for kind in FaultKind::ALL {
        let snake = kind.file_stem();
        let kebab = snake.replace('_', "-");
        for path in [
            format!("chaos-common/src/fault/{snake}.rs"),
            format!("chaos-daemon/src/fault/{snake}.rs"),
            format!("chaos-ctl/src/fault/{snake}.rs"),
            format!("tests/vm/tests/{snake}.rs"),
            format!("docs/faults/{kebab}.md"),
            format!("docs/examples/{kebab}.yaml"),
        ] {
            assert!(workspace().join(&path).is_file(), "{kind} has no {path}");
        }
    }
}

#[test]
fn every_file_of_a_place_is_of_a_kind() {
    let stems: Vec<String> =
        FaultKind::ALL.into_iter().map(|kind| kind.file_stem().replace('_', "-")).collect();
    for file in fs::read_dir(workspace().join("docs/faults")).unwrap() {
        let path = file.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(stems.contains(&stem), "{} is of no kind of fault", path.display());
    }
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
