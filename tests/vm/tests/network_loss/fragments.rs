//! Datagrams that are larger than the wire takes go in pieces; each piece is a packet.

use anyhow::{Result, ensure};
use chaos_common::{
    fault::LossModel,
    proto::v1::{Direction, Protocol},
    value::{Percent, Share},
};

use crate::harness::{Loss, Probe as _, Stage, balanced, net, tests};

tests![every_piece_is_a_packet, only_the_first_piece_has_ports, a_whole_datagram_comes_in];

/// Three pieces on a wire that takes 1,500 bytes.
const SIZE: usize = 4000;
const PIECES: u64 = 3;
const SENT: u32 = 50;

fn every_piece_is_a_packet() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for family in net::families() {
        let ends = ((&stage.victim, net::near(family)), (&stage.far, net::far(family)));
        let flow = stage.udp("pieces", ends.0, ends.1)?.sized(SIZE);
        flow.all_arrive()?;
        let loss = Loss::percent(20.0).seed(5).protocol(Protocol::Udp);
        let injection = client.inject(loss.on(&stage.target))?;
        // A datagram arrives if none of its pieces is lost.
        let dice = LossModel::Share(Share::new(Percent::try_from(20.0)?, None)?).dice(5);
        let pieces: Vec<bool> = dice.sequence().take(SENT as usize * PIECES as usize).collect();
        let lost: Vec<bool> =
            pieces.chunks(PIECES as usize).map(|piece| piece.contains(&true)).collect();
        let survivors = lost.iter().filter(|lost| !**lost).count();
        let round = flow.round(SENT, survivors as u32)?;
        ensure!(
            round.failed.is_empty() && round.lost() == lost,
            "{family:?}: {round:?}, predicted {lost:?}"
        );
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.matched == u64::from(SENT) * PIECES, "{counters:?}");
        flow.all_arrive()?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn only_the_first_piece_has_ports() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for family in net::families() {
        let (near, far) = ((&stage.victim, net::near(family)), (&stage.far, net::far(family)));
        let (flow, other) = (
            stage.udp("pieces", near, far)?.sized(SIZE),
            stage.udp("other", near, far)?.sized(SIZE),
        );
        let port = flow.receiver_port();
        let injection = client.inject(Loss::all().remote_port(port).on(&stage.target))?;
        flow.none_arrive()?;
        other.all_arrive()?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.matched == u64::from(flow.usual()), "{family:?}: {counters:?}");
        flow.all_arrive()?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// What comes in is looked at where the socket takes it: put together again.
fn a_whole_datagram_comes_in() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for family in net::families() {
        let ends = ((&stage.far, net::far(family)), (&stage.victim, net::near(family)));
        let flow = stage.udp("pieces, in", ends.0, ends.1)?.sized(SIZE);
        let loss = Loss::all()
            .direction(Direction::In)
            .local_ports(flow.receiver_port(), flow.receiver_port());
        let injection = client.inject(loss.on(&stage.target))?;
        flow.none_arrive()?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.matched == u64::from(flow.usual()), "{family:?}: {counters:?}");
        flow.all_arrive()?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
