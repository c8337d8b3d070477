//! What happens, as a stream of messages.

use std::net::IpAddr;

use chaos_common::{
    proto::v1,
    spec::InjectionId,
    value::Errno,
    wire::{from_std, to_timestamp},
};
use tokio::sync::{broadcast, mpsc, watch};
use tonic::Status;

use crate::{
    engine::{Firing, Notice},
    kernel::{Hit, HitCall, HitPacket, HitQuestion},
};

/// Messages that may wait for a slow reader; behind them the engine's own backlog begins.
const AHEAD: usize = 64;

/// Sends `first`, then what happens to one injection, or to all, until the reader or the daemon goes.
pub(super) fn stream(
    first: Vec<v1::Injection>,
    mut notices: broadcast::Receiver<Notice>,
    only: Option<InjectionId>,
    mut closed: watch::Receiver<bool>,
) -> mpsc::Receiver<Result<v1::WatchEvent, Status>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        for injection in first {
            if sender.send(Ok(event(v1::watch_event::Event::Changed(injection)))).await.is_err() {
                return;
            }
        }
        loop {
            let notice = tokio::select! {
                notice = notices.recv() => notice,
                () = sender.closed() => return,
                _ = closed.changed() => return,
            };
            let event = match notice {
                Ok(notice) => match message(&notice, only.as_ref()) {
                    Some(message) => message,
                    None => continue,
                },
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    v1::watch_event::Event::Missed(missed)
                }
                Err(broadcast::error::RecvError::Closed) => return,
            };
            if sender.send(Ok(self::event(event))).await.is_err() {
                return;
            }
        }
    });
    receiver
}

fn event(event: v1::watch_event::Event) -> v1::WatchEvent {
    v1::WatchEvent { event: Some(event) }
}

fn message(notice: &Notice, only: Option<&InjectionId>) -> Option<v1::watch_event::Event> {
    let wanted = |id: &InjectionId| only.is_none_or(|only| only == id);
    match notice {
        Notice::Changed(injection) => {
            wanted(&injection.id).then(|| v1::watch_event::Event::Changed((&**injection).into()))
        }
        Notice::Firing(firing) => {
            wanted(&firing.id).then(|| v1::watch_event::Event::Firing(to_wire(firing)))
        }
    }
}

/// Nobody has an address and a port that are all zero.
fn other_end((address, port): (IpAddr, u16)) -> String {
    if address.is_unspecified() && port == 0 { String::new() } else { address.to_string() }
}

fn to_wire(firing: &Firing) -> v1::Firing {
    let event = &firing.event;
    v1::Firing {
        id: firing.id.to_string(),
        time: Some(to_timestamp(event.time.to_wall())),
        n: event.n,
        what: Some(match &event.what {
            Hit::Packet(hit) => v1::firing::What::Packet(packet(hit)),
            Hit::Call(hit) => v1::firing::What::Call(call(hit)),
        }),
        process: firing.process.clone().map(|(pid, comm)| v1::Process { pid, comm }),
    }
}

fn packet(hit: &HitPacket) -> v1::Packet {
    let direction = if hit.is_outgoing { v1::Direction::Out } else { v1::Direction::In };
    v1::Packet {
        direction: direction.into(),
        protocol: hit.protocol.into(),
        local_address: hit.local.0.to_string(),
        local_port: hit.local.1.into(),
        remote_address: other_end(hit.remote),
        remote_port: hit.remote.1.into(),
        length: hit.length,
        question: hit
            .question
            .clone()
            .map(|HitQuestion { name, kind }| v1::Question { name, kind }),
    }
}

fn call(hit: &HitCall) -> v1::Call {
    let errno = Errno::of_number(hit.errno);
    let failed = hit.errno != 0;
    let errno = errno.map_or_else(|| hit.errno.to_string(), |errno| errno.name().to_owned());
    v1::Call {
        name: hit.name.to_owned(),
        errno: if failed { errno } else { String::new() },
        thread: hit.thread,
        delay: (!failed).then(|| from_std(hit.delay)),
    }
}
