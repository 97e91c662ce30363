//! Programs that a test watches while they run, and terminals for them.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, ChildStdin, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::harness::{Ended, Program};

const DEADLINE: Duration = Duration::from_secs(90);

/// What a stream has said so far, and whether it has ended.
type Said = Arc<(Mutex<(Vec<u8>, bool)>, Condvar)>;

/// A program that runs. One that is dropped is killed.
pub struct Running {
    child: Child,
    /// Open until it is closed: the program waits for more.
    pub stdin: Option<ChildStdin>,
    /// What is written there is typed on its terminal.
    keys: Option<File>,
    stdout: Said,
    stderr: Said,
}

/// Starts a program with pipes for all of its streams.
pub fn start(program: Program) -> Running {
    let mut command = program.command();
    let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = streams.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
    let (stdout, stderr) = (listen(child.stdout.take().unwrap()), listen(child.stderr.take().unwrap()));
    Running { stdin: child.stdin.take(), keys: None, child, stdout, stderr }
}

/// Runs a program on a terminal of so many columns, types `keys`, and gives what the terminal was sent: on stdout all of
/// it, in the order in which it came, with the terminal's `\r\n` as `\n`.
pub fn on_terminal(program: Program, columns: u16, keys: &[u8]) -> Ended {
    let mut ended = start_on_terminal(program, columns, keys).end();
    ended.stdout = ended.text().replace("\r\n", "\n").into_bytes();
    ended
}

/// Starts a program on a terminal of so many columns and 24 rows, and types `keys`; what it is sent comes as stdout.
pub fn start_on_terminal(program: Program, columns: u16, keys: &[u8]) -> Running {
    // not for other programs that start at this moment: they would hold the terminal open, and find a file where a shell
    // thinks it has none
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pseudo terminal");
    grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("a pseudo terminal");
    let path = ptsname(&ours, Vec::new()).expect("its name");
    let theirs =
        File::options().read(true).write(true).open(path.to_str().expect("a path")).expect("the program's side");
    tcsetwinsize(&theirs, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
    let stream = || Stdio::from(theirs.try_clone().expect("one more handle"));
    let mut command = program.env("TERM", "xterm-256color").env_remove("NO_COLOR").command();
    let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().expect("the program");
    drop((command, theirs)); // only the program holds its side now, so that ours ends with it
    let mut ours = File::from(ours);
    ours.write_all(keys).expect("typing");
    let heard = listen(ours.try_clone().expect("one more handle"));
    let running = Running { child, stdin: None, keys: Some(ours), stdout: heard, stderr: Arc::default() };
    running.stderr.0.lock().unwrap().1 = true;
    running
}

fn listen(mut stream: impl Read + Send + 'static) -> Said {
    let said = Said::default();
    let heard = Arc::clone(&said);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            // a terminal whose program has gone is an error, a pipe's end is not
            let count = stream.read(&mut buffer).unwrap_or(0);
            let mut state = heard.0.lock().unwrap();
            state.0.extend_from_slice(&buffer[..count]);
            state.1 = count == 0;
            heard.1.notify_all();
            if count == 0 {
                return;
            }
        }
    });
    said
}

/// Waits until it is true of what was said, or the stream has ended; panics at the deadline.
fn wait(said: &Said, what: &str, is_true: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let began = Instant::now();
    let mut state = said.0.lock().unwrap();
    while !state.1 && !is_true(&state.0) {
        let left = DEADLINE.checked_sub(began.elapsed());
        let left =
            left.unwrap_or_else(|| panic!("no {what} after {DEADLINE:?}: {}", String::from_utf8_lossy(&state.0)));
        state = said.1.wait_timeout(state, left).unwrap().0;
    }
    state.0.clone()
}

impl Running {
    /// Types on its terminal.
    pub fn types(&mut self, keys: &[u8]) {
        self.keys.as_mut().expect("a program on a terminal").write_all(keys).expect("typing");
    }

    /// Waits for a first line on stdout.
    pub fn line(&self) -> String {
        let said = wait(&self.stdout, "line", |said| said.contains(&b'\n'));
        String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned()
    }

    /// Waits until stdout has `text`.
    pub fn until_stdout_has(&self, text: &str) {
        wait(&self.stdout, text, |said| String::from_utf8_lossy(said).contains(text));
    }

    /// Waits until stderr has `text`.
    pub fn until_stderr_has(&self, text: &str) {
        wait(&self.stderr, text, |said| String::from_utf8_lossy(said).contains(text));
    }

    /// What it has said on stderr so far.
    pub fn stderr_so_far(&self) -> String {
        String::from_utf8_lossy(&self.stderr.0.lock().unwrap().0).into_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the program runs");
    }

    /// SIGSTOP, and waits until its last thread stands still: the signal's sender is not told, and on a busy machine a thread
    /// may go on for a while.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(Pid::from_child(&self.child)), stopped).expect("a child of ours");
        assert!(status.is_some_and(|status| status.stopped()), "{status:?}");
    }

    /// Waits for its end.
    pub fn end(&mut self) -> Ended {
        let stdout = wait(&self.stdout, "end of stdout", |_| false);
        let stderr = wait(&self.stderr, "end of stderr", |_| false);
        let status = self.child.wait().expect("waiting for a child");
        Ended { stdout, stderr: String::from_utf8_lossy(&stderr).into_owned(), status }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}
