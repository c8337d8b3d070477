//! A name server of the tests' own.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::NetNs;

const PORT: u16 = 53;
const HEADER: usize = 12;
/// An answer without errors, by a server that recurses.
const NO_ERROR: u16 = 0x8180;
const NXDOMAIN: u16 = 0x8183;
const TYPE_A: [u8; 2] = [0, 1];

/// Answers questions for IPv4 addresses until it is dropped; of any other type it knows names to have none.
#[derive(Debug)]
pub(crate) struct NameServer {
    names: Arc<Mutex<Names>>,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    closes: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

type Names = HashMap<String, Vec<Ipv4Addr>>;

impl NameServer {
    /// Serves UDP at an address of a namespace.
    pub(crate) fn start(netns: &NetNs, address: IpAddr) -> Result<Self> {
        let socket = netns.within(|| {
            UdpSocket::bind(SocketAddr::new(address, PORT)).context("cannot serve names")
        })?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let (names, closes) = (Arc::<Mutex<Names>>::default(), Arc::<AtomicBool>::default());
        let heard = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let (own, ears, is_over) = (Arc::clone(&names), Arc::clone(&heard), Arc::clone(&closes));
        let thread = thread::spawn(move || {
            let mut question = [0; 512];
            while !is_over.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut question) else { continue };
                let packet = question[..length].to_vec();
                ears.lock().unwrap_or_else(PoisonError::into_inner).push(packet);
                let names = own.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(answer) = answer(&question[..length], &names) {
                    // Whoever does not listen asks again.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Ok(Self { names, heard, closes, thread: Some(thread) })
    }

    /// What it was sent since somebody last asked, whatever it made of it.
    pub(crate) fn take_heard(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives a name other addresses from now on.
    pub(crate) fn set(&self, name: &str, addresses: &[Ipv4Addr]) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_owned(), addresses.to_vec());
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.closes.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// `None` for what is no question that this understands.
fn answer(question: &[u8], names: &Names) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(std::str::from_utf8(question.get(at..at + length)?).ok()?.to_lowercase());
        at += length;
    }
    let (kind, end) = (question.get(at..at + 2)?, at + 4);
    let known = names.get(&labels.join("."));
    let addresses = known.filter(|_| kind == TYPE_A).map_or(&[][..], Vec::as_slice);
    let flags = if known.is_some() { NO_ERROR } else { NXDOMAIN };
    let mut reply = question.get(..2)?.to_vec();
    reply.extend(flags.to_be_bytes());
    reply.extend([0, 1]);
    reply.extend(u16::try_from(addresses.len()).ok()?.to_be_bytes());
    reply.extend([0; 4]);
    reply.extend(question.get(HEADER..end)?);
    for address in addresses {
        // The name of the question, an address, of the internet, for one second, of four bytes.
        reply.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        reply.extend(address.octets());
    }
    Some(reply)
}
