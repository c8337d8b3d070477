//! What a command says: its last words, and all of it in a file if somebody wants that.

use std::{
    fs::File,
    io::{self, Read, Write as _},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

/// Bytes that are remembered.
const ROOM: usize = 8 << 10;

/// Lines of them that are shown.
const LINES: usize = 10;

const CHUNK: usize = 4096;

/// Chunks that a pipe holds at most: `/proc/sys/fs/pipe-max-size`.
const FULL: usize = (1 << 20) / CHUNK;

/// How often a listener that waits looks whether it may go, in milliseconds.
const PAUSE: u16 = 20;

/// Reads a pipe to its end.
pub(super) struct Listener {
    thread: JoinHandle<io::Result<Vec<u8>>>,
    is_over: Arc<AtomicBool>,
}

impl Listener {
    /// Listens to a pipe; everything goes into the file, too.
    pub(super) fn to<P: Read + AsFd + Send + 'static>(
        pipe: P,
        file: Option<File>,
    ) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let thread = thread::Builder::new()
            .name("listener".into())
            .spawn(move || listen(pipe, file, &told))?;
        Ok(Self { thread, is_over })
    }

    /// The last lines of what was said. Nobody is waited for who has the pipe and says nothing.
    ///
    /// # Errors
    /// When the file could not be written.
    pub(super) fn last_words(self) -> io::Result<Vec<String>> {
        self.is_over.store(true, Ordering::Release);
        match self.thread.join() {
            Ok(tail) => tail.map(|tail| lines(&tail)),
            Err(_) => Err(io::Error::other("a thread panicked")),
        }
    }
}

fn listen(
    mut pipe: impl Read + AsFd,
    mut file: Option<File>,
    is_over: &AtomicBool,
) -> io::Result<Vec<u8>> {
    let (mut tail, mut written) = (Vec::new(), Ok(()));
    let (mut chunk, mut late) = ([0; CHUNK], 0);
    loop {
        // Before looking, so that what was said until then is heard.
        let was_over = is_over.load(Ordering::Acquire);
        late += usize::from(was_over);
        let mut pipes = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        match poll(&mut pipes, PollTimeout::from(PAUSE)) {
            Ok(0) if was_over => break,
            // Somebody else has the pipe and does not stop.
            Ok(_) if late > FULL => break,
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let said = match pipe.read(&mut chunk)? {
            0 => break,
            count => chunk.get(..count).unwrap_or_default(),
        };
        // It goes on reading all the same: the command shall not wait for us.
        if let (Some(file), Ok(())) = (&mut file, &written) {
            written = file.write_all(said);
        }
        tail.extend_from_slice(said);
        if tail.len() > 2 * ROOM {
            tail.drain(..tail.len() - ROOM);
        }
    }
    written.map(|()| tail)
}

fn lines(tail: &[u8]) -> Vec<String> {
    let begin = tail.len().saturating_sub(ROOM);
    let text = String::from_utf8_lossy(tail.get(begin..).unwrap_or_default());
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let begin = lines.len().saturating_sub(LINES);
    lines.into_iter().skip(begin).map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::pipe;

    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_all_is_in_the_file() {
        let (reader, mut writer) = pipe().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let listener = Listener::to(reader, Some(file.reopen().unwrap())).unwrap();
        let all: String = (1..=20_000).map(|n| format!("line {n}\n\n")).collect();
        writer.write_all(all.as_bytes()).unwrap();
        drop(writer);
        let last = listener.last_words().unwrap();
        assert_eq!(
            (last.len(), last[0].as_str(), last[9].as_str()),
            (10, "line 19991", "line 20000")
        );
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), all);
    }

    #[test]
    fn nobody_is_waited_for() {
        let (reader, mut writer) = pipe().unwrap();
        let listener = Listener::to(reader, None).unwrap();
        writer.write_all(b"said").unwrap();
        assert_eq!(listener.last_words().unwrap(), ["said"]);
        drop(writer);
    }
}
