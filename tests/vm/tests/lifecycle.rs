//! The life of an injection and of the daemon that keeps it.

#[path = "lifecycle/access.rs"]
mod access;
#[path = "lifecycle/ending.rs"]
mod ending;
#[path = "lifecycle/neighbours.rs"]
mod neighbours;
#[path = "lifecycle/policy.rs"]
mod policy;
#[path = "lifecycle/privileges.rs"]
mod privileges;
#[path = "lifecycle/races.rs"]
mod races;
#[path = "lifecycle/requests.rs"]
mod requests;
#[path = "lifecycle/service.rs"]
mod service;

use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    let parts = [
        requests::trials(),
        races::trials(),
        ending::trials(),
        policy::trials(),
        neighbours::trials(),
        access::trials(),
        privileges::trials(),
        service::trials(),
    ];
    parts.into_iter().flatten().collect()
}
