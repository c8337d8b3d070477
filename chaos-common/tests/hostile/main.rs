//! Whatever is sent or written: no panic, one short sentence, and what is accepted comes back the same.
#![cfg(feature = "user")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod messages;
mod specs;
mod texts;

use chaos_common::{
    injection::Injection,
    invalid::Invalid,
    proto::v1,
    spec::{MAX_FILE, Spec, Untargeted, from_yaml},
};
use proptest::prelude::*;
use prost::Message as _;

/// Words of libraries and of Rust that no person should read.
const FOREIGN: [&str; 10] = [
    "invalid type",
    "invalid value",
    "expected",
    "did not find",
    "while parsing",
    "struct ",
    "variant",
    "u64",
    "f64",
    "column",
];

/// One sentence that a terminal can show.
fn is_fit_to_read(said: &str) -> Result<(), TestCaseError> {
    prop_assert!(!said.contains(char::is_control), "{said:?}");
    prop_assert!(said.len() < 1000, "{} bytes: {said:.200}", said.len());
    Ok(())
}

fn is_refused_well(invalid: &Invalid) -> Result<(), TestCaseError> {
    prop_assert!(!invalid.field.is_empty() && !invalid.problem.is_empty(), "{invalid:?}");
    is_fit_to_read(&invalid.to_string())
}

fn survives_the_wire(spec: &Spec) -> Result<(), TestCaseError> {
    let bytes = v1::Spec::from(spec).encode_to_vec();
    let wire = v1::Spec::decode(bytes.as_slice()).unwrap();
    prop_assert_eq!(&Spec::try_from(wire).unwrap(), spec);
    Ok(())
}

fn survives_a_file(spec: &Spec) -> Result<(), TestCaseError> {
    let yaml = serde_saphyr::to_string(spec).unwrap();
    let read: Vec<Spec> = from_yaml(&yaml).unwrap();
    prop_assert_eq!(read.as_slice(), std::slice::from_ref(spec), "{}", yaml);
    let json = serde_json::to_string(spec).unwrap();
    prop_assert_eq!(&serde_json::from_str::<Spec>(&json).unwrap(), spec);
    Ok(())
}

proptest! {
    #[test]
    fn a_spec_is_the_same_on_every_way(spec in specs::spec()) {
        survives_the_wire(&spec)?;
        survives_a_file(&spec)?;
    }

    #[test]
    fn a_message_is_a_spec_or_refused(wire in messages::spec()) {
        match Spec::try_from(wire) {
            Ok(spec) => {
                survives_the_wire(&spec)?;
                survives_a_file(&spec)?;
            }
            Err(invalid) => is_refused_well(&invalid)?,
        }
    }

    #[test]
    fn a_message_of_an_injection_is_one_or_refused(wire in messages::injection()) {
        match Injection::try_from(wire) {
            Ok(injection) => {
                let back = Injection::try_from(v1::Injection::from(&injection));
                prop_assert_eq!(back, Ok(injection));
            }
            Err(invalid) => is_refused_well(&invalid)?,
        }
    }

    #[test]
    fn a_document_is_a_spec_or_refused(text in texts::document()) {
        match from_yaml::<Spec>(&text) {
            Ok(specs) => {
                for spec in specs {
                    survives_the_wire(&spec)?;
                    survives_a_file(&spec)?;
                }
            }
            Err(error) => {
                let said = error.to_string();
                is_fit_to_read(&said)?;
                for word in FOREIGN {
                    prop_assert!(!said.contains(word), "{said}");
                }
            }
        }
        let _ = from_yaml::<Untargeted>(&text);
    }

    #[test]
    fn any_text_is_refused_in_one_sentence(text in texts::pieces()) {
        if let Err(error) = from_yaml::<Spec>(&text) {
            is_fit_to_read(&error.to_string())?;
        }
    }
}

#[test]
fn a_megabyte_is_no_trouble() {
    let long = "x".repeat(MAX_FILE - 100);
    for text in [
        format!("target: {{unit: {long}}}"),
        format!("{long}: 1"),
        format!("target: {{cgroup: \"/{}\"}}", "\\0".repeat(MAX_FILE / 4)),
        format!("fault: {{networkLoss: {{percent: {}}}}}", "9".repeat(MAX_FILE - 100)),
        format!("target: [{}]", "[],".repeat(MAX_FILE / 4)),
        format!("{{{}}}", "a: 1, ".repeat(MAX_FILE / 8)),
    ] {
        let said = from_yaml::<Spec>(&text).unwrap_err().to_string();
        assert!(said.len() < 1000 && !said.contains(char::is_control), "{said:.200}");
    }
}
