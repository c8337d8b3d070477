//! Specs.

use super::{from_duration, to_duration};
use crate::{
    invalid::{At, Invalid},
    proto::v1,
    spec::{Spec, Times},
    value::Lifetime,
};

impl TryFrom<v1::Spec> for Spec {
    type Error = Invalid;

    fn try_from(wire: v1::Spec) -> Result<Self, Invalid> {
        Self {
            target: wire.target.unwrap_or_default().try_into().at("target")?,
            fault: wire.fault.unwrap_or_default().try_into().at("fault")?,
            duration: wire.duration.map_or(Ok(Lifetime::DEFAULT), from_duration).at("duration")?,
            times: wire.times.map(Times::try_from).transpose().at("times")?,
            seed: wire.seed,
        }
        .checked()
    }
}

impl From<&Spec> for v1::Spec {
    fn from(spec: &Spec) -> Self {
        Self {
            target: Some((&spec.target).into()),
            fault: Some((&spec.fault).into()),
            duration: Some(to_duration(spec.duration)),
            times: spec.times.map(Times::get),
            seed: spec.seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::spec::from_yaml;

    #[test]
    fn a_spec_survives_the_wire() {
        let text = "
target: {container: 0123abcd}
fault: {networkLoss: {burst: {enter: 1, leave: 25}, filter: {direction: both, remote: [::1], localPorts: [80]}}}
times: 4
seed: 9
";
        let spec = from_yaml::<Spec>(text).unwrap().remove(0);
        let wire = v1::Spec::from(&spec);
        let bytes = wire.encode_to_vec();
        let back: Spec = v1::Spec::decode(bytes.as_slice()).unwrap().try_into().unwrap();
        assert_eq!(back, spec);
    }

    #[test]
    fn errors_name_the_field() {
        let mut wire = v1::Spec {
            target: Some(v1::Target { target: Some(v1::target::Target::Pid(1)) }),
            ..Default::default()
        };
        let error = |wire: &v1::Spec| Spec::try_from(wire.clone()).unwrap_err().field;
        assert_eq!(error(&wire), "fault");
        let loss = v1::NetworkLoss {
            correlation: None,
            model: Some(v1::network_loss::Model::Percent(f64::NAN)),
            ..Default::default()
        };
        wire.fault = Some(v1::Fault { fault: Some(v1::fault::Fault::NetworkLoss(loss)) });
        assert_eq!(error(&wire), "fault.networkLoss.percent");
        let loss = v1::NetworkLoss {
            correlation: None,
            model: Some(v1::network_loss::Model::Percent(1.0)),
            filter: Some(v1::NetworkFilter {
                protocols: vec![v1::Protocol::Icmp.into()],
                local_ports: vec![v1::PortRange { first: 80, last: None }],
                ..Default::default()
            }),
        };
        wire.fault = Some(v1::Fault { fault: Some(v1::fault::Fault::NetworkLoss(loss)) });
        assert_eq!(error(&wire), "fault.networkLoss.filter.protocols");
        let loss = v1::NetworkLoss {
            correlation: None,
            model: Some(v1::network_loss::Model::Percent(1.0)),
            filter: Some(v1::NetworkFilter {
                remote: vec!["::".into(), "x".into()],
                ..Default::default()
            }),
        };
        wire.fault = Some(v1::Fault { fault: Some(v1::fault::Fault::NetworkLoss(loss)) });
        assert_eq!(error(&wire), "fault.networkLoss.filter.remote[1]");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            if let Ok(wire) = v1::Spec::decode(bytes.as_slice()) {
                let _ = Spec::try_from(wire);
            }
        }

        /// Bytes that are nearly a good message reach further than random ones.
        #[test]
        fn no_mutation_panics(at: prop::sample::Index, with: u8, cut: prop::sample::Index) {
            let text = "
target: {unit: a.service}
fault: {networkLoss: {percent: 5, filter: {remote: [10.0.0.0/8], except: [10.0.0.1], remotePorts: ['1-2']}}}
";
            let spec = from_yaml::<Spec>(text).unwrap().remove(0);
            let mut bytes = v1::Spec::from(&spec).encode_to_vec();
            let at = at.index(bytes.len());
            bytes[at] = with;
            for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
                if let Ok(wire) = v1::Spec::decode(bytes) {
                    let _ = Spec::try_from(wire);
                }
            }
        }

        #[test]
        fn no_time_panics(
            seconds in prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX)],
            nanos in prop_oneof![any::<i32>(), Just(i32::MIN), Just(i32::MAX)],
        ) {
            let _ = from_duration::<Lifetime>(prost_types::Duration { seconds, nanos });
            let _ = crate::wire::from_timestamp(prost_types::Timestamp { seconds, nanos });
        }
    }
}
