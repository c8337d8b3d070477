//! A program with known bugs at known calls, for sweeps, and what belongs to one: resetting, checking, asking.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::UdpSocket,
    os::unix::{
        fs::FileExt as _,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::harness::own_binary;

/// Runs one of the programs.
///
/// # Errors
/// When it is not known, or cannot do what it should.
pub(super) fn run(words: &[&str]) -> Result<ExitCode> {
    match words {
        ["buggy", file] => buggy(Path::new(file)),
        // Fails unless a run was there, so that it says whether it comes before each.
        ["reset", file] => {
            let is_first = env::var("CHAOS_POSITION").is_ok_and(|position| position == "baseline");
            let gone = fs::remove_file(file);
            if is_first { Ok(ExitCode::SUCCESS) } else { Ok(gone.map(|()| ExitCode::SUCCESS)?) }
        }
        ["check", file] => check(Path::new(file)),
        ["calls", file] => Ok(calls(Path::new(file))),
        ["serve", socket, file] => serve(Path::new(socket), Path::new(file)),
        ["ask", socket] => ask(Path::new(socket)),
        // Leaves a process behind, and says its id.
        ["leave"] => {
            let mut left = Command::new(own_binary()?);
            left.args(["child", "sleep", "600"]);
            left.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            println!("left {}", left.spawn()?.id());
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("there is no such program: {words:?}"),
    }
}

/// What is in the file if nothing was lost.
const RECORDS: [&str; 5] = ["one\n", "two\n", "three\n", "five\n", "seven\n"];

/// Writes records, with seven calls on the file. It survives its 1st and 7th failing, tells of the 2nd, crashes at the 3rd,
/// hangs at the 4th (which reads), loses what the 5th should have written, and exits wrong at the 6th (which reads).
fn buggy(path: &Path) -> Result<ExitCode> {
    // Two runs in a row do not work without a reset.
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    let mut file = file.with_context(|| format!("cannot make {}", path.display()))?;
    let [one, two, three, five, seven] = RECORDS;
    twice(&mut file, one)?;
    if let Err(error) = file.write_all(two.as_bytes()) {
        eprintln!("cannot write: {error}");
        return Ok(ExitCode::from(1));
    }
    if file.write_all(three.as_bytes()).is_err() {
        std::process::abort();
    }
    let mut byte = [0];
    while file.read_at(&mut byte, 0).is_err() {
        eprintln!("waiting for better times");
        thread::sleep(Duration::from_secs(600));
    }
    let _ = file.write_all(five.as_bytes());
    if file.read_at(&mut byte, 0).is_err() {
        return Ok(ExitCode::from(99));
    }
    twice(&mut file, seven)?;
    Ok(ExitCode::SUCCESS)
}

/// Tries again once.
fn twice(file: &mut File, record: &str) -> io::Result<()> {
    file.write_all(record.as_bytes()).or_else(|_| file.write_all(record.as_bytes()))
}

/// A command that says it is done has written everything.
fn check(path: &Path) -> Result<ExitCode> {
    if env::var("CHAOS_EXIT").context("no CHAOS_EXIT")? != "0" {
        return Ok(ExitCode::SUCCESS);
    }
    let text = fs::read_to_string(path)?;
    match RECORDS.iter().find(|record| !text.contains(*record)) {
        None => Ok(ExitCode::SUCCESS),
        Some(record) => {
            eprintln!("{} is missing", record.trim_end());
            Ok(ExitCode::from(1))
        }
    }
}

/// One call of each family; the code says which failed.
fn calls(path: &Path) -> ExitCode {
    let fails = |code: u8, error: io::Error| {
        eprintln!("{error}");
        ExitCode::from(code)
    };
    if let Err(error) = File::open(path) {
        return fails(3, error);
    }
    if let Err(error) = UdpSocket::bind("127.0.0.1:0") {
        return fails(4, error);
    }
    let mut much: Vec<u8> = Vec::new();
    if much.try_reserve_exact(8 << 20).is_err() {
        return fails(5, io::ErrorKind::OutOfMemory.into());
    }
    ExitCode::SUCCESS
}

/// Answers one request after the other, and writes three times to a file for each. It survives the first failing, tells
/// the second in its answer, and crashes at the third.
fn serve(socket: &Path, path: &Path) -> Result<ExitCode> {
    let listener = UnixListener::bind(socket)?;
    let mut file = File::create(path)?;
    println!("ready");
    io::stdout().flush()?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        twice(&mut file, "asked\n")?;
        let answer = if file.write_all(b"done\n").is_ok() { "good" } else { "bad" };
        stream.write_all(answer.as_bytes())?;
        if file.write_all(b"answered\n").is_err() {
            std::process::abort();
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(socket: &Path) -> Result<ExitCode> {
    let mut answer = String::new();
    UnixStream::connect(socket)?.read_to_string(&mut answer)?;
    Ok(if answer == "good" { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
