use std::{
    io::{BufRead, BufReader, Write},
    process::Command,
};

use netlink_packet_sock_diag::constants::{AF_INET, IPPROTO_RAW};

use super::*;
use crate::target::{
    list::list_below,
    membership::of_process,
    testing::{Sleeper, TestCgroup},
};

/// Makes sockets whenever it is told to, and says so.
const VICTIM: &str = r#"
import socket, sys
kept = []
for line in sys.stdin:
    for family, kind in ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET6, socket.SOCK_DGRAM)):
        s = socket.socket(family, kind)
        s.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        if kind == socket.SOCK_STREAM:
            s.listen()
        kept.append(s)
    kept.append(socket.socketpair())
    if line.strip() == "raw":
        kept.append(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP))
    print("made", flush=True)
"#;

struct Victim(Sleeper, BufReader<std::process::ChildStdout>);

impl Victim {
    fn new(prefix: &[&str]) -> Self {
        let words = [prefix, &["python3", "-c", VICTIM]].concat();
        let mut child = Sleeper::of(Command::new(words[0]).args(&words[1..]));
        let answers = BufReader::new(child.0.stdout.take().unwrap());
        Self(child, answers)
    }

    fn make(&mut self, what: &str) {
        writeln!(self.0.0.stdin.as_mut().unwrap(), "{what}").unwrap();
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        assert_eq!(line, "made\n");
    }
}

fn count(test: &TestCgroup, below: &str) -> SocketCount {
    let list = list_below(&test.root, &test.path("")).unwrap();
    SocketSurvey::take(&list).unwrap().expect("this kernel can tell").count(&test.path(below))
}

fn sockets_move_with_no_process(name: &str, prefix: &[&str]) {
    let Some(test) = TestCgroup::new(name) else { return };
    test.make("a/b");
    test.make("c");
    let mut victim = Victim::new(prefix);
    victim.make("all");
    test.put("a", victim.0.pid());
    assert_eq!(count(&test, "a"), SocketCount { held: 2, foreign: 2 });
    victim.make("all");
    assert_eq!(count(&test, "a"), SocketCount { held: 4, foreign: 2 });
    test.put("a/b", victim.0.pid());
    assert_eq!(count(&test, "a/b"), SocketCount { held: 4, foreign: 4 });
    assert_eq!(count(&test, "a"), SocketCount { held: 4, foreign: 2 });
    victim.make("all");
    assert_eq!(count(&test, "a/b"), SocketCount { held: 6, foreign: 4 });
    assert_eq!(count(&test, ""), SocketCount { held: 6, foreign: 2 });
    assert_eq!(count(&test, "c"), SocketCount::default());
}

#[test]
fn a_socket_belongs_to_the_cgroup_it_was_made_in() {
    sockets_move_with_no_process("sockets", &[]);
}

#[test]
fn sockets_of_another_network_namespace_are_counted_too() {
    let up = "ip link set lo up 2>/dev/null; exec \"$@\"";
    sockets_move_with_no_process("sockets-netns", &["unshare", "--net", "sh", "-c", up, "sh"]);
}

#[test]
fn raw_sockets_are_counted_where_the_kernel_lists_them() {
    if let Err(error) = diag::dump(AF_INET, IPPROTO_RAW, &mut HashMap::new()) {
        eprintln!("SKIPPED: this kernel does not list raw sockets: {error}");
        return;
    }
    let Some(test) = TestCgroup::new("raw") else { return };
    let mut victim = Victim::new(&[]);
    test.put("", victim.0.pid());
    victim.make("raw");
    assert_eq!(count(&test, ""), SocketCount { held: 3, foreign: 0 });
}

#[test]
fn a_process_that_has_ended_holds_nothing() {
    let mut ended = Command::new("true").spawn().unwrap();
    let pid = ended.id();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while !matches!(of_process(pid), Err(TargetError::Zombie { .. })) {
        assert!(std::time::Instant::now() < end, "never became a zombie");
        std::thread::yield_now();
    }
    let nothing = |pid| held(pid).unwrap().is_empty() && namespaces::of_pids([pid]).is_empty();
    assert!(nothing(pid), "as a zombie");
    ended.wait().unwrap();
    assert!(nothing(pid), "when gone");
    assert!(nothing(u32::MAX), "when no pid at all");
}

#[test]
fn processes_that_come_and_go_are_no_error() {
    let Some(test) = TestCgroup::new("sockets-race") else { return };
    let busy = "while :; do sleep 0 & sleep 0; done";
    let shell = Sleeper::of(Command::new("sh").args(["-c", busy]));
    test.put("", shell.pid());
    for _ in 0..200 {
        count(&test, "");
    }
    test.write("cgroup.kill", "1");
}
