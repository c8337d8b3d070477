//! What the kinds of the network family have in common: a rule, then what carries it out. A rule without a hook
//! does nothing, and a new hook is live some 10 ms before the kernel says so (but for the first egress hook of a node):
//! this way round the fault begins with the hook.

use chaos_common::{
    abi::{Action, Dice, NetRule, PARAMETERS},
    fault::{FaultKind, NetworkFilter},
};

use super::{Capability, Limits, Unsupported};
use crate::{
    effect::{Effect, PutRule},
    kernel::{About, Beside, Counting, EgressTier, HoldTier, Passing, RuleSpec, Support},
};

const OUT: &str = "direction out";
const IN: &str = "direction in";
const PEERS: &str = "peers in the target's network namespace";

/// Why a call that fails is not told by who is at the other end.
const NO_PEERS_OF_CALLS: &str = "before there is a packet nothing tells whose socket would get it; give the peer's ports (`remotePorts`) instead, or reject packets";

/// What is less good about packets that wait in the daemon.
const IN_MEMORY: &str = "this kernel has no fq qdisc, so packets wait in the daemon's memory, 256 MiB of them at most: each costs two copies and a wake-up (some 5 us of CPU, and 0.1 ms later than asked for), super-packets are cut to what the interface sends at once, and those that wait are lost if the daemon is killed";

/// What is not found where a packet comes in by an interface, before there is a socket.
const NO_SOCKET: &str = "of TCP and UDP only, but for later fragments and multicast";
/// What cannot wait.
const NO_WAY_HOME: &str = "on the loopback these do not wait: broadcast, multicast, what is sent to a link-local address of IPv6, and connections whose addresses are translated there (NAT)";

/// A fault of the family, as far as its kind decides.
pub(super) struct Network<'a> {
    pub(super) kind: FaultKind,
    pub(super) filter: &'a NetworkFilter,
    pub(super) action: Action,
    pub(super) parameters: [u64; PARAMETERS],
    pub(super) beside: Beside,
    pub(super) dice: Dice,
    pub(super) means: Means,
}

/// What it takes to carry an action out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// A packet ends, or it does not.
    Verdict,
    /// It is changed or copied where it is.
    Change,
    /// It becomes an answer where it is.
    Answer,
    /// It waits, or what it became does.
    Hold,
    /// There is none yet.
    Attempt,
    /// It is changed, and its checksum becomes wrong.
    Spoil,
}

impl Network<'_> {
    /// The effects that make it happen.
    pub(super) fn plan(
        self,
        limits: &Limits,
        support: &Support,
    ) -> Result<Vec<Effect>, Unsupported> {
        let (kind, direction, means) = (self.kind, self.filter.direction(), self.means);
        if means == Means::Attempt && !self.filter.neighbours.is_empty() {
            let reason = NO_PEERS_OF_CALLS.to_owned();
            return Err(Unsupported { fault: kind, aspect: PEERS, reason });
        }
        let mut effects = vec![Effect::PutRule(PutRule(Box::new(self.rule(limits))))];
        let mut need = |aspect, result: Result<(), &String>, effect| match result {
            Ok(()) if effects.contains(&effect) => Ok(()),
            Ok(()) => {
                effects.push(effect);
                Ok(())
            }
            Err(reason) => Err(Unsupported { fault: kind, aspect, reason: reason.clone() }),
        };
        if means == Means::Spoil {
            let aspect = if direction.includes_out() { OUT } else { IN };
            need(aspect, support.spoil.as_ref().copied(), Effect::SpoilChecksums)?;
        }
        if means == Means::Attempt {
            need(
                OUT,
                support.attempts.as_ref().map(drop),
                Effect::HookCgroup(Passing::Connecting),
            )?;
            return Ok(effects);
        }
        if direction.includes_out() {
            if means == Means::Hold {
                need(OUT, support.hold.as_ref().map(drop), Effect::HoldPackets)?;
            }
            need(OUT, support.egress.as_ref().map(drop), Effect::HookEgress)?;
        }
        if direction.includes_in() {
            match means {
                Means::Verdict => {
                    let hook = Effect::HookCgroup(Passing::Received);
                    need(IN, support.receiving.as_ref().copied(), hook)?;
                }
                Means::Hold => {
                    need(IN, support.hold.as_ref().map(drop), Effect::HoldPackets)?;
                    need(IN, support.arrival.as_ref().copied(), Effect::HookArrival)?;
                }
                Means::Change | Means::Answer | Means::Spoil | Means::Attempt => {
                    need(IN, support.arrival.as_ref().copied(), Effect::HookArrival)?;
                }
            }
        }
        Ok(effects)
    }

    fn rule(self, limits: &Limits) -> RuleSpec {
        let rule = NetRule {
            gate: limits.gate(self.dice),
            // Written with the rule, by whoever gives it one.
            id: 0,
            action: self.action as u32,
            filter: self.filter.to_abi(),
            parameters: self.parameters,
        };
        let about = About::Packets(Box::new(self.filter.clone()));
        RuleSpec { rule, about, beside: self.beside }
    }
}

/// What is less good about counting, if anything.
pub(super) const fn counting(support: &Support) -> Option<&'static str> {
    match support.counting {
        Counting::Exact => None,
        Counting::Close => Some(
            "this kernel (before 5.12) cannot count exactly across CPUs: a seed's sequence may be off by one place, and `times` be exceeded by one for each CPU",
        ),
    }
}

/// Whether and how a kind works here, in both directions.
pub(super) fn capabilities(kind: FaultKind, means: Means, support: &Support) -> Vec<Capability> {
    each_way(kind, means, support).into()
}

/// The same, out and in.
pub(super) fn each_way(kind: FaultKind, means: Means, support: &Support) -> [Capability; 2] {
    let counting = counting(support);
    let waiting = (means == Means::Hold && support.hold == Ok(HoldTier::Tap)).then_some(IN_MEMORY);
    let staying = (means == Means::Hold).then_some(NO_WAY_HOME);
    let arriving = match means {
        Means::Verdict | Means::Attempt => None,
        Means::Change | Means::Answer | Means::Hold | Means::Spoil => Some(NO_SOCKET),
    };
    let egress = |what: &str| {
        support.egress.clone().map(|tier| match tier {
            EgressTier::Tcx => format!("tcx link on each interface, {what}"),
            EgressTier::Clsact => format!("clsact filter on each interface, {what}"),
        })
    };
    let hold = || {
        support.hold.clone().map(|tier| match tier {
            HoldTier::Fq => "packets wait in the fq of a pair of devices of ours",
            HoldTier::Tap => "packets wait in the daemon, behind a TAP device",
        })
    };
    let arrival = |what: &str| {
        support.arrival.clone().and_then(|()| egress(&format!("at its ingress, {what}")))
    };
    let (out, incoming) = match means {
        Means::Verdict => (
            egress("packets redirected to nowhere"),
            support
                .receiving
                .clone()
                .map(|()| "cgroup_skb ingress link on the target's cgroup".into()),
        ),
        Means::Change => (egress("packets changed in place"), arrival("packets changed in place")),
        Means::Answer | Means::Attempt => {
            let what = "packets answered in their place";
            (egress(what), arrival(what))
        }
        Means::Spoil => {
            let what = "packets changed in place, and sent through a pair of devices of ours";
            let spoil = || support.spoil.clone();
            (spoil().and_then(|()| egress(what)), spoil().and_then(|()| arrival(what)))
        }
        Means::Hold => (hold().and_then(egress), hold().and_then(arrival)),
    };
    let of = |aspect, support, caveats: &[Option<&'static str>]| {
        let caveats = caveats.iter().flatten().copied().map(Into::into).collect();
        Capability { fault: kind, aspect, support, caveats }
    };
    [
        of(OUT, out, &[counting, waiting, staying]),
        of(IN, incoming, &[counting, waiting, staying, arriving]),
    ]
}

#[cfg(test)]
mod tests {
    use chaos_common::{
        abi::Chance,
        fault::{Direction, NetworkPartition},
    };

    use super::*;
    use crate::boot_clock::BootTime;

    const LIMITS: Limits = Limits { deadline: BootTime::from_nanos(7), times: None, seed: 1 };

    fn plan(
        direction: Direction,
        means: Means,
        support: &Support,
    ) -> Result<Vec<Effect>, Unsupported> {
        let filter = NetworkFilter { direction: Some(direction), ..Default::default() };
        Network {
            kind: FaultKind::NetworkDelay,
            filter: &filter,
            action: Action::Hold,
            parameters: [0; PARAMETERS],
            beside: Beside::Nothing,
            dice: Dice::percent(1, Chance::ALWAYS),
            means,
        }
        .plan(&LIMITS, support)
    }

    #[test]
    fn the_rule_comes_before_what_carries_it_out_and_this_only_where_needed() {
        use Effect::{HoldPackets, HookArrival, HookEgress, SpoilChecksums};
        const HOOK_RECEIVED: Effect = Effect::HookCgroup(Passing::Received);
        for (direction, means, effects) in [
            (Direction::Out, Means::Verdict, &[HookEgress][..]),
            (Direction::In, Means::Verdict, &[HOOK_RECEIVED]),
            (Direction::Both, Means::Verdict, &[HookEgress, HOOK_RECEIVED]),
            (Direction::Out, Means::Change, &[HookEgress]),
            (Direction::Both, Means::Change, &[HookEgress, HookArrival]),
            (Direction::Both, Means::Spoil, &[SpoilChecksums, HookEgress, HookArrival]),
            (Direction::Out, Means::Hold, &[HoldPackets, HookEgress]),
            (Direction::In, Means::Hold, &[HoldPackets, HookArrival]),
            (Direction::Both, Means::Hold, &[HoldPackets, HookEgress, HookArrival]),
        ] {
            let planned = plan(direction, means, &Support::full()).unwrap();
            assert!(matches!(planned[0], Effect::PutRule(_)), "{direction:?} {means:?}");
            assert_eq!(planned[1..], *effects, "{direction:?} {means:?}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_kernel_s_reason() {
        let no_tc = Support { egress: Err("no tc".into()), ..Support::full() };
        assert!(plan(Direction::In, Means::Verdict, &no_tc).is_ok());
        let refused = plan(Direction::Both, Means::Verdict, &no_tc).unwrap_err();
        assert_eq!(refused.to_string(), "network delay (direction out) is unsupported here: no tc");
        let no_fq = Support { hold: Err("no fq".into()), ..Support::full() };
        assert!(plan(Direction::Both, Means::Change, &no_fq).is_ok());
        assert!(plan(Direction::In, Means::Hold, &no_fq).is_err());
    }

    #[test]
    fn who_holds_packets_in_memory_says_so() {
        let tap = Support { hold: Ok(HoldTier::Tap), ..Support::full() };
        let says = |means, support: &Support| {
            let told = capabilities(FaultKind::NetworkDelay, means, support);
            told.iter().all(|one| one.caveats.contains(&IN_MEMORY.into()))
        };
        assert!(says(Means::Hold, &tap));
        assert!(!says(Means::Verdict, &tap) && !says(Means::Hold, &Support::full()));
    }

    #[test]
    fn a_partition_is_both_ways_if_nothing_is_said() {
        let partition = NetworkPartition::try_from(NetworkFilter::default()).unwrap();
        assert_eq!(partition.filter.direction(), Direction::Both);
    }
}
