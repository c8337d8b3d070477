//! Messages of which some make sense: each field is good, at an edge, or absurd.

use chaos_common::proto::v1;
use proptest::{collection::vec, option, prelude::*};
use prost_types::{Duration, Timestamp};

use super::texts;

pub(crate) fn spec() -> impl Strategy<Value = v1::Spec> {
    (
        option::weighted(0.9, target()),
        option::weighted(0.9, fault()),
        option::of(duration()),
        option::of(prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()]),
        option::of(any::<u64>()),
    )
        .prop_map(|(target, fault, duration, times, seed)| v1::Spec {
            target,
            fault,
            duration,
            times,
            seed,
        })
}

pub(crate) fn injection() -> impl Strategy<Value = v1::Injection> {
    let time = || option::of((any::<i64>(), any::<i32>()));
    (
        prop_oneof![Just("loss-1".to_owned()), texts::text()],
        option::of(spec()),
        prop_oneof![Just("/a".to_owned()), texts::text()],
        (-1..8, -1..8),
        texts::text(),
        (time(), time(), time()),
    )
        .prop_map(|(id, spec, cgroup, (state, end), message, (created, expires, ended))| {
            let time = |(seconds, nanos)| Timestamp { seconds, nanos };
            v1::Injection {
                id,
                spec,
                cgroup,
                state,
                end,
                message,
                created_at: created.map(time),
                expires_at: expires.map(time),
                ended_at: ended.map(time),
                ..Default::default()
            }
        })
}

fn target() -> impl Strategy<Value = v1::Target> {
    use v1::target::Target;

    let target = prop_oneof![
        Just(Target::Unit("nginx.service".into())),
        Just(Target::Cgroup("/a/b".into())),
        texts::text().prop_map(Target::Unit),
        texts::text().prop_map(Target::Container),
        texts::text().prop_map(Target::Pod),
        texts::text().prop_map(Target::Cgroup),
        prop_oneof![Just(0), any::<u32>()].prop_map(Target::Pid),
    ];
    option::weighted(0.95, target).prop_map(|target| v1::Target { target })
}

fn fault() -> impl Strategy<Value = v1::Fault> {
    use v1::{fault::Fault, network_loss::Model};

    let burst = (number(), number(), option::of(number()), option::of(number())).prop_map(
        |(enter, leave, inside, outside)| Model::Burst(v1::Burst { enter, leave, inside, outside }),
    );
    let model = prop_oneof![number().prop_map(Model::Percent), burst];
    let loss = (option::weighted(0.95, model), option::of(filter()))
        .prop_map(|(model, filter)| Fault::NetworkLoss(v1::NetworkLoss { model, filter }));
    option::weighted(0.95, loss).prop_map(|fault| v1::Fault { fault })
}

fn number() -> impl Strategy<Value = f64> {
    let edges = [
        0.0,
        -0.0,
        100.0,
        100.1,
        -1.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        f64::MAX,
    ];
    prop_oneof![4 => 0.1..100.0, 2 => prop::sample::select(edges.to_vec()), 1 => any::<f64>()]
}

fn duration() -> impl Strategy<Value = Duration> {
    let thousand_years = 1000 * 365 * 24 * 3600;
    let edges = [0, 1, -1, 30 * 24 * 3600, thousand_years, i64::MIN, i64::MAX];
    let seconds = prop_oneof![1..3600i64, prop::sample::select(edges.to_vec()), any::<i64>()];
    let nanos = prop_oneof![4 => Just(0), 1 => Just(-1), 1 => any::<i32>()];
    (seconds, nanos).prop_map(|(seconds, nanos)| Duration { seconds, nanos })
}

fn filter() -> impl Strategy<Value = v1::NetworkFilter> {
    let remotes = || {
        let few = vec(
            prop_oneof![Just("10.0.0.0/8".to_owned()), Just("::1".to_owned()), texts::text()],
            0..3,
        );
        let many = Just((0..1025).map(|n| format!("10.0.{}.{}", n / 256, n % 256)).collect());
        prop_oneof![20 => few, 1 => many]
    };
    let ports = || {
        let port = || prop_oneof![0..=65536u32, any::<u32>()];
        let range =
            (port(), option::of(port())).prop_map(|(first, last)| v1::PortRange { first, last });
        prop_oneof![4 => vec(range.clone(), 0..2), 1 => vec(range, 0..12)]
    };
    (-1..5, remotes(), remotes(), ports(), ports(), vec(-1..5, 0..4)).prop_map(
        |(direction, remote, except, remote_ports, local_ports, protocols)| v1::NetworkFilter {
            direction,
            remote,
            except,
            remote_ports,
            local_ports,
            protocols,
        },
    )
}
