//! `network loss`: packets of a cgroup vanish as on a wire, and nobody else's do.

#[path = "network_loss/accounting.rs"]
mod accounting;
#[path = "network_loss/connections.rs"]
mod connections;
#[path = "network_loss/filters.rs"]
mod filters;
#[path = "network_loss/fragments.rs"]
mod fragments;
#[path = "network_loss/interfaces.rs"]
mod interfaces;
#[path = "network_loss/link_upkeep.rs"]
mod link_upkeep;
#[path = "network_loss/many_interfaces.rs"]
mod many_interfaces;
#[path = "network_loss/matrix.rs"]
mod matrix;
#[path = "network_loss/models.rs"]
mod models;
#[path = "network_loss/nested.rs"]
mod nested;
#[path = "network_loss/overlap.rs"]
mod overlap;
#[path = "network_loss/places.rs"]
mod places;
#[path = "network_loss/qdiscs.rs"]
mod qdiscs;
#[path = "network_loss/silence.rs"]
mod silence;
#[path = "network_loss/watch.rs"]
mod watch;

use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    let parts = [
        matrix::trials(),
        silence::trials(),
        places::trials(),
        link_upkeep::trials(),
        interfaces::trials(),
        many_interfaces::trials(),
        qdiscs::trials(),
        filters::trials(),
        connections::trials(),
        fragments::trials(),
        models::trials(),
        accounting::trials(),
        overlap::trials(),
        nested::trials(),
        watch::trials(),
    ];
    parts.into_iter().flatten().collect()
}
