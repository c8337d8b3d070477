//! Nobody there, or nobody who may be asked.

use std::{
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
};

use nix::sys::socket::{Backlog, listen};

use crate::chaos::{Said as _, chaos};

fn error(socket: &Path, verb: &str) -> String {
    chaos(verb).env("CHAOS_SOCKET", socket).assert().code(1).stdout_eq("").stderr()
}

#[test]
fn no_socket_and_nobody_listening_say_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("chaos.sock");
    let expected = format!(
        "error: no daemon at {}; start it with `sudo chaos-daemon` or name its socket with --socket\n",
        socket.display()
    );
    // Not `recover --all`: without a daemon it sweeps this very machine. The behaviour tests have it.
    for verb in ["ls", "doctor", "recover a", "watch"] {
        assert_eq!(error(&socket, verb), expected);
    }
    drop(UnixListener::bind(&socket).unwrap());
    assert_eq!(error(&socket, "ls"), expected);
}

#[test]
fn the_flag_wins_over_the_environment() {
    let said =
        chaos("ls --socket /flag.sock").env("CHAOS_SOCKET", "/env.sock").assert().code(1).stderr();
    assert!(said.contains("no daemon at /flag.sock"), "{said}");
}

#[test]
fn json_errors_are_objects() {
    chaos("ls -o json --socket /nowhere.sock").assert().code(1).stdout_eq("").stderr_eq(
        "{\"error\":{\"message\":\"no daemon at /nowhere.sock; start it with `sudo chaos-daemon` or name its socket with --socket\"}}\n",
    );
}

#[test]
fn a_path_that_is_no_socket_is_named() {
    let said = error(Path::new("/dev/null"), "ls");
    assert!(said.contains("/dev/null"), "{said}");
}

#[test]
fn a_path_too_long_for_a_socket_is_refused() {
    let longest = format!("/{}", "x".repeat(106));
    assert!(error(Path::new(&longest), "ls").contains("no daemon at /xxx"));
    let long = format!("{longest}x");
    let refused = |verb| chaos(verb).env("CHAOS_SOCKET", &long).assert().code(64).stderr();
    // Not even the kill switch, which would take it for a daemon that is gone.
    for verb in ["ls", "recover --all"] {
        let said = refused(verb);
        assert!(said.contains("at most 107 bytes and this one has 108"), "{said}");
    }
}

/// Something that listens but speaks no HTTP/2 must not hang the program.
#[test]
fn a_stranger_on_the_socket_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("chaos.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let stranger = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    error(&socket, "ls");
    stranger.join().unwrap();
}

/// Takes connections, as a stopped process does, and never answers.
#[test]
fn a_daemon_that_hangs_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("chaos.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let expected = |doing: &str| {
        format!(
            "error: cannot {doing}: the daemon at {} does not answer for 10 s; see its log, and `recover --all` works without it\n",
            socket.display()
        )
    };
    std::thread::scope(|scope| {
        for (verb, doing) in [
            ("doctor", "ask what the daemon can do"),
            ("targets", "list targets"),
            ("ls", "list injections"),
            ("get a", "get a"),
            ("watch", "watch injections"),
            ("renew a", "renew a"),
            ("recover a", "recover a"),
            ("inject network loss --percent 1 --pid 1 --dry-run", "plan network loss on process 1"),
        ] {
            let (socket, expected) = (&socket, expected(doing));
            scope.spawn(move || assert_eq!(error(socket, verb), expected));
        }
    });
}

/// Each would be waited for as long.
#[test]
fn a_daemon_that_hangs_is_asked_for_one_thing_only() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("chaos.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let said = error(&socket, "recover a b c");
    assert!(said.starts_with("error: cannot recover a: "), "{said}");
    assert!(said.ends_with("without it\nnote: 2 more were not tried\n"), "{said}");
}

#[test]
fn a_daemon_that_takes_no_more_callers_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("chaos.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    // Room for one caller, who is there already.
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let _caller = UnixStream::connect(&socket).unwrap();
    let said = error(&socket, "ls");
    assert!(said.contains("takes no connections; see its log"), "{said}");
}
