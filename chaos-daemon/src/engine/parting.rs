//! How the engine stops: with everything over, or handed to the next daemon.

use std::{thread, time::Duration};

use chaos_common::injection::Injection;

use super::{AllRecovered, Engine, Parting, world::World};
use crate::boot_clock::BootTime;

impl Engine {
    /// Stops. With [`Parting::Recover`] nothing is left on the node; what could not be undone is
    /// returned.
    pub fn stop(&self, parting: Parting, who: &str) -> Vec<Injection> {
        self.world.lock().closing = true;
        self.aim.stop();
        self.keeper.stop();
        match parting {
            Parting::HandOver => {
                if self.live() == 0 {
                    self.drain();
                    self.remove_pins(&mut self.world.lock());
                }
                Vec::new()
            }
            Parting::Recover => {
                let AllRecovered { injections: mut left, unswept } = self.recover_all(who);
                for reason in unswept {
                    tracing::error!(reason, "could not sweep the kernel");
                }
                left.retain(|injection| injection.state.is_live());
                self.drain();
                if left.is_empty() {
                    self.remove_pins(&mut self.world.lock());
                }
                left
            }
        }
    }

    /// Waits until what was held has arrived, but not for ever.
    fn drain(&self) {
        const PATIENCE: Duration = Duration::from_secs(10);
        const PAUSE: Duration = Duration::from_millis(20);
        let end = BootTime::now().after(PATIENCE);
        while BootTime::now() < end {
            match self.world.lock().kernel.drain(false) {
                Ok(false) => return,
                Ok(true) => {}
                Err(error) => tracing::warn!(%error, "could not look where packets wait"),
            }
            thread::sleep(PAUSE);
        }
        let kernel = &mut self.world.lock().kernel;
        let packets = kernel.held_packets().waiting;
        match kernel.drain(true) {
            Ok(_) => {
                tracing::warn!(packets, "packets still waited after {PATIENCE:?}, and are lost");
            }
            Err(error) => tracing::warn!(%error, "a place where packets wait is left"),
        }
    }

    fn remove_pins(&self, world: &mut World) {
        if let Err(error) = world.kernel.remove_pins() {
            tracing::error!(%error, "could not remove the pins");
        }
    }
}
