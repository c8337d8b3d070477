//! Records shared by the eBPF programs and the daemon: integers and arrays only.
//!
//! A record is `#[repr(C)]`, has no implicit padding (asserted here at compile time) and is safe to
//! read in any bit pattern. All times are nanoseconds of `CLOCK_BOOTTIME`, which neither stops in
//! suspend nor follows anybody who sets the wall clock.

mod action;
mod call;
mod dice;
mod event;
mod filter;
mod flow;
mod gate;
mod hop;
mod label;
mod layout;
mod mark;
mod net;
mod question;
mod records;
mod redirected;

pub use action::{
    Action, Answer, Corrupt, Duplicate, Hold, MAX_COPIES, MAX_CORRUPT_BITS, Occupy, PARAMETERS,
    Rate, Redirect, Refuse, Region, Reject, Respond, SHAPE_ONE, SHAPE_PARTS, Shape,
};
pub use call::{
    Abi, CALL_WORDS, CallEvent, CallHold, CallLayout, CallRule, Condition, FileKind, GLOB_ACCEPTS,
    GLOB_CELLS, GLOB_DEAD, Glob, GlobKey, GlobOf, HeldCall, MAX_CALLS, NO_ARGUMENT, Operation,
    PREFILTERS, Prefilter, SIZE_OF_BREAK, Signature, SocketFamily, SocketFilter, Start, Wait,
};
pub use dice::{Chance, Dice, DiceState, Lane, MAX_STATES, Roll, mix};
pub use event::{ASKED_BYTES, NetEvent, QuestionEvent};
pub use filter::{
    Connections, Direction, INTERFACE_NAME, MAX_PEERS, MAX_PORT_RANGES, NetFilter, Peer, PortRange,
    PortSet, Protocol, Remotes, Window,
};
pub use flow::{Flow, FlowKey, flow_hash};
pub use gate::{Gate, RuleState, RuleStats};
pub use hop::{Handover, MAX_HELD_BYTES, Way};
pub use label::{LABEL_ETHERTYPE, Label};
pub use layout::Layout;
pub use mark::{MAX_INSTANCE, Mark, daemon_id, instance_number};
pub use net::{
    FAMILY_V4, FAMILY_V6, Levels, MAX_LEVELS, MAX_RULES, MAX_RULES_PER_TARGET, NetRule,
    PREFIX_EXCEPT, PREFIX_HEAD_BITS, PREFIX_INCLUDE, PREFIX_PORT, PREFIX_PORT_BITS, Prefix,
    TARGET_WORDS, TargetRules, target_bit,
};
pub use question::{
    Asks, MAX_QUESTION_TYPES, NAME_BYTES, NAME_HEAD_BITS, Name, QuestionFilter, Stream,
};
pub use records::{Address, MAX_ADDRESSES, MAX_ALIAS, Records};
pub use redirected::{MAX_CONNECTED, Redirected, RedirectedKey};

/// Asserts that a record's size is the sum of its fields, so that no padding byte exists that the
/// verifier could see uninitialised.
macro_rules! assert_layout {
    ($record:ty, $size:expr) => {
        const _: () = assert!(core::mem::size_of::<$record>() == $size);
    };
}

assert_layout!(Dice, 3 * 8 + 4 * MAX_STATES * 8);
assert_layout!(Gate, 2 * 8 + size_of::<Dice>());
assert_layout!(RuleState, 6 * 8);
assert_layout!(RuleStats, 6 * 8);
assert_layout!(PortSet, 4 + 4 * MAX_PORT_RANGES);
assert_layout!(Window, 4 * 8);
assert_layout!(Peer, 2 * 8);
assert_layout!(
    NetFilter,
    4 * 4
        + 2 * 8
        + 4 * 8
        + INTERFACE_NAME
        + 2 * size_of::<PortSet>()
        + MAX_PEERS * size_of::<Peer>()
        + size_of::<QuestionFilter>()
);
assert_layout!(NetRule, size_of::<Gate>() + 2 * 4 + size_of::<NetFilter>() + 8 * PARAMETERS);
assert_layout!(Shape, 4 * (SHAPE_PARTS + 1));
assert_layout!(FlowKey, 8 + 2 * 4);
assert_layout!(Flow, 3 * 8 + 2 * 4);
assert_layout!(Layout, 14 * 4);
assert_layout!(Way, 6 * 4);
assert_layout!(Handover, 8 + 2 * 4);
assert_layout!(TargetRules, 2 * 4 + 4 * MAX_RULES_PER_TARGET);
assert_layout!(Levels, 4 + 4 * MAX_LEVELS);
assert_layout!(Prefix, 4 + 4 + 16);
assert_layout!(Name, 4 + NAME_BYTES);
assert_layout!(QuestionFilter, 4 * 4 + 8 + 2 * MAX_QUESTION_TYPES);
assert_layout!(Records, 8 * 4 + MAX_ADDRESSES * (2 + 8) * 4 + MAX_ALIAS);
assert_layout!(RedirectedKey, 8 + 2 * 8 + 2 * 4);
assert_layout!(Redirected, 2 * 8 + 2 * 4);
assert_layout!(SocketFilter, 4 * 4 + size_of::<PortSet>());
assert_layout!(
    CallRule,
    size_of::<Gate>() + 4 * 4 + 8 * CALL_WORDS + 5 * 8 + 16 + size_of::<SocketFilter>() + 4
);
assert_layout!(Prefilter, 8 + 8 * CALL_WORDS + 4 * 8);
assert_layout!(Signature, 2 * 2 + 8);
assert_layout!(GlobKey, 2 * 4);
assert_layout!(Glob, 256 + 2 * 4 + 2 * GLOB_CELLS);
assert_layout!(CallLayout, 42 * 4);
assert_layout!(CallEvent, 3 * 8 + 6 * 4);
assert_layout!(HeldCall, 2 * 4);
assert_layout!(Wait, 2 * 8);
assert_layout!(NetEvent, 2 * 8 + 4 * 3 + 2 * 2 + 4 + 4 + 2 * 16 + 2 * 4);
assert_layout!(QuestionEvent, size_of::<NetEvent>() + 2 * 4 + ASKED_BYTES);

/// Implements aya's marker for records that may be copied to and from a map as bytes.
#[cfg(feature = "user")]
macro_rules! pod {
    ($($record:ty),* $(,)?) => {$(
        // SAFETY: the record is `repr(C)`, holds integers and arrays of integers only, and has no
        // padding (asserted above), so every bit pattern is valid and every byte is initialised.
        unsafe impl aya::Pod for $record {}
    )*};
}

#[cfg(feature = "user")]
pod!(CallRule, Prefilter, Signature, GlobKey, Glob, CallLayout, HeldCall, Wait);

#[cfg(feature = "user")]
pod!(
    NetRule,
    RuleState,
    RuleStats,
    TargetRules,
    Levels,
    Prefix,
    Name,
    Shape,
    FlowKey,
    Flow,
    Layout,
    Records,
    RedirectedKey,
    Redirected,
    Way
);
