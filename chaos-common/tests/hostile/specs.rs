//! Specs that make sense.

use std::time::Duration;

use chaos_common::{
    fault::{Burst, Direction, Fault, LossModel, NetworkFilter, NetworkLoss, Protocol},
    spec::{Spec, Times},
    target::{Target, pid},
    value::{Cidr, Lifetime, Percent, PortRange, PortRanges, Remotes},
};
use proptest::{collection::vec, option, prelude::*};

pub(crate) fn spec() -> impl Strategy<Value = Spec> {
    let times = (1..u64::MAX).prop_map(|times| Times::try_from(times).unwrap());
    (target(), fault(), lifetime(), option::of(times), option::of(any::<u64>())).prop_map(
        |(target, fault, duration, times, seed)| Spec { target, fault, duration, times, seed },
    )
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        "[A-Za-z0-9@:_.\\\\-]{1,40}\\.(service|scope|slice)"
            .prop_map(|name| Target::Unit(name.parse().unwrap())),
        // Many of them are numbers to YAML.
        "[0-9]{6,20}|[0-9]{3}e[0-9]{3}|[0-9a-f]{6,64}"
            .prop_map(|id| Target::Container(id.parse().unwrap())),
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
            .prop_map(|uid| Target::Pod(uid.parse().unwrap())),
        (1..=u32::MAX).prop_map(|number| Target::Pid(pid(number.into()).unwrap())),
        "/|(/[^/.\\pC][^/\\pC]{0,20}){1,5}".prop_map(|path| Target::Cgroup(path.parse().unwrap())),
    ]
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    let (least, most) = (Lifetime::MIN.get().as_nanos(), Lifetime::MAX.get().as_nanos());
    (least as u64..=most as u64).prop_map(|nanos| Duration::from_nanos(nanos).try_into().unwrap())
}

fn percent() -> impl Strategy<Value = Percent> {
    prop_oneof![Just(100.0), Just(f64::MIN_POSITIVE), 1e-9..100.0]
        .prop_map(|number: f64| number.try_into().unwrap())
}

fn fault() -> impl Strategy<Value = Fault> {
    let burst = (percent(), percent(), percent(), option::of(percent())).prop_map(
        |(enter, leave, inside, outside)| {
            let outside = outside.unwrap_or(Percent::ZERO);
            LossModel::Burst(Burst { enter, leave, inside, outside })
        },
    );
    let model = prop_oneof![percent().prop_map(LossModel::Percent), burst];
    (model, filter()).prop_map(|(model, filter)| Fault::NetworkLoss(NetworkLoss { model, filter }))
}

fn filter() -> impl Strategy<Value = NetworkFilter> {
    let directions = [Direction::Out, Direction::In, Direction::Both];
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp];
    let ports = || {
        let range = (any::<u16>(), any::<u16>())
            .prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap());
        vec(range, 0..=8).prop_map(|ranges| PortRanges::try_from(ranges).unwrap())
    };
    let remotes = || vec(cidr(), 0..20).prop_map(|ranges| Remotes::try_from(ranges).unwrap());
    (
        prop::sample::select(directions.to_vec()),
        remotes(),
        remotes(),
        ports(),
        ports(),
        vec(prop::sample::select(protocols.to_vec()), 0..4),
    )
        .prop_filter_map(
            "contradicts itself",
            |(direction, remote, except, remote_ports, local_ports, protocols)| {
                let filter = NetworkFilter {
                    direction,
                    remote,
                    except,
                    remote_ports,
                    local_ports,
                    protocols,
                };
                filter.checked().ok()
            },
        )
}

fn cidr() -> impl Strategy<Value = Cidr> {
    let v4 = (any::<[u8; 4]>(), 0..=32u8)
        .prop_map(|(address, bits)| format!("{}/{bits}", std::net::Ipv4Addr::from(address)));
    let v6 = (any::<[u8; 16]>(), 0..=128u8)
        .prop_map(|(address, bits)| format!("{}/{bits}", std::net::Ipv6Addr::from(address)));
    prop_oneof![v4, v6].prop_map(|text| text.parse().unwrap())
}
