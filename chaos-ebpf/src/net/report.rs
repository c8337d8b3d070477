//! Telling user space of firings, sampled.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_kernel,
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use chaos_common::abi::{ASKED_BYTES, Direction, NetEvent, QuestionEvent};

use super::{
    hook::Hook,
    kernel,
    question::{self, Question},
};
use crate::{gate::Firing, packet::Packet};

/// Sampled firings.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// What is reported of a question, put together here: it is too long for the stack.
#[map]
static REPORTS: PerCpuArray<QuestionEvent> = PerCpuArray::with_max_entries(Hook::COUNT, 0);

/// Reports one firing, of a rule that asks for a question or not.
#[inline(always)]
pub fn report(rule: u32, hook: Hook, packet: &Packet, firing: &Firing, asks: bool) {
    let event = || event(rule, hook.direction(), packet, firing);
    match question::get(hook as u32) {
        Some(question) if asks => report_question(hook, question, event),
        _ => submit(event),
    }
}

#[inline(always)]
fn event(rule: u32, direction: Direction, packet: &Packet, firing: &Firing) -> NetEvent {
    NetEvent {
        time_ns: firing.now_ns,
        n: firing.n,
        rule,
        pid: match direction {
            Direction::Out => kernel::current_process(),
            Direction::In => 0,
        },
        length: packet.length,
        local_port: packet.local_port,
        remote_port: packet.remote_port,
        family: packet.family,
        protocol: packet.protocol as u16,
        direction: direction as u16,
        local: packet.local,
        remote: packet.remote,
        errno: 0,
        operation: 0,
    }
}

#[inline(always)]
fn report_question(hook: Hook, question: &Question, event: impl FnOnce() -> NetEvent) {
    let Some(report) = REPORTS.get_ptr_mut(hook as u32) else { return };
    // SAFETY: nothing else on this CPU uses this entry while the program runs; the helper reads as many bytes as it
    // writes, from a text that is longer.
    unsafe {
        (*report).packet = event();
        ((*report).kind, (*report).length) = (question.kind, question.length);
        let (to, from) = (&raw mut (*report).name, question.text.as_ptr());
        bpf_probe_read_kernel(to.cast(), ASKED_BYTES as u32, from.cast());
        let _ = EVENTS.output(&*report, 0);
    }
}

/// Hands an event over, if there is room for it.
#[inline(always)]
pub(super) fn submit(event: impl FnOnce() -> NetEvent) {
    let Some(mut entry) = EVENTS.reserve::<NetEvent>(0) else { return };
    entry.write(event());
    entry.submit(0);
}
