//! A TCP proxy between the program under test and a broker, with faults.
//!
//! ```text
//! program --(proxy's port)--> up: frames of requests -----> broker
//!         <------------------ down: frames of answers <----
//! ```
//!
//! The broker must advertise the proxy's port, or clients go round it. Requests are forwarded as whole frames, so that
//! a cut can be placed: within a produce request, behind it, within its answer.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::random::Random;

const PRODUCE: i16 = 0;

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// Some bytes of the request were forwarded.
    WithinRequest,
    /// The whole request was forwarded; the broker may or may not have read it.
    BehindRequest,
    /// The broker has answered; the client never sees it.
    BeforeAnswer,
    /// Some bytes of the answer were forwarded.
    WithinAnswer,
}

pub const ALL_CUTS: [Cut; 4] = [Cut::WithinRequest, Cut::BehindRequest, Cut::BeforeAnswer, Cut::WithinAnswer];

/// What the proxy does to connections made, and frames seen, from now on.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// About one produce request in so many is cut, at one of these places.
    pub cut: Option<(usize, Vec<Cut>)>,
    /// A connection lives so many milliseconds.
    pub lives: Option<std::ops::Range<usize>>,
    /// Each way.
    pub delay: Option<Duration>,
    /// Bytes a second, each way.
    pub throttle: Option<u64>,
    /// New connections are closed at once.
    pub refuse: bool,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<String>,
    faults: Mutex<Faults>,
    random: Mutex<Random>,
    open: Mutex<Vec<TcpStream>>,
    cuts: Mutex<HashMap<Cut, u64>>,
    connections: AtomicU64,
}

#[derive(Clone, Debug)]
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// Listens from now on; the broker's address may be given later.
    pub fn start(random: Random) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the proxy");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared {
            upstream: Mutex::default(),
            faults: Mutex::default(),
            random: Mutex::new(random),
            open: Mutex::default(),
            cuts: Mutex::default(),
            connections: AtomicU64::new(0),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                thread::spawn(move || serve(&shared, client));
            }
        });
        Self { port, shared }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn to(&self, broker: &str) {
        *lock(&self.shared.upstream) = broker.to_owned();
    }

    /// For connections made from now on; cuts take effect on open ones too.
    pub fn set(&self, faults: Faults) {
        *lock(&self.shared.faults) = faults;
    }

    pub fn seed(&self, random: Random) {
        *lock(&self.shared.random) = random;
    }

    /// How often connections were cut so far, by place.
    pub fn cuts(&self) -> HashMap<Cut, u64> {
        lock(&self.shared.cuts).clone()
    }

    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

/// One client's connection. Both ways end together.
struct Way {
    shared: Arc<Shared>,
    /// Answers that are not to arrive, by correlation id: at the first one the connection is cut.
    doomed: Mutex<HashMap<i32, Cut>>,
    client: TcpStream,
    broker: TcpStream,
}

impl Way {
    fn close(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.broker.shutdown(Shutdown::Both);
    }

    fn count(&self, cut: Cut) {
        *lock(&self.shared.cuts).entry(cut).or_default() += 1;
    }
}

fn serve(shared: &Arc<Shared>, client: TcpStream) {
    let faults = lock(&shared.faults).clone();
    let address = lock(&shared.upstream).clone();
    if faults.refuse {
        return;
    }
    let Ok(broker) = TcpStream::connect(address) else { return };
    shared.connections.fetch_add(1, Ordering::Relaxed);
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    lock(&shared.open).extend(client.try_clone());
    let way = Arc::new(Way { shared: Arc::clone(shared), doomed: Mutex::default(), client, broker });
    if let Some(range) = faults.lives {
        let life = Duration::from_millis(lock(&shared.random).within(range) as u64);
        let way = Arc::clone(&way);
        thread::spawn(move || {
            thread::sleep(life);
            way.close();
        });
    }
    let up = Arc::clone(&way);
    let up = thread::spawn(move || {
        let _ = carry(&up.client, &up.broker, &faults_of(&up), |frame, out| request(&up, frame, out));
        up.close();
    });
    let _ = carry(&way.broker, &way.client, &faults_of(&way), |frame, out| answer(&way, frame, out));
    way.close();
    let _ = up.join();
}

fn faults_of(way: &Way) -> Faults {
    lock(&way.shared.faults).clone()
}

/// Moves frames from one socket to the other through `each`, late and slowly if that is the fault.
fn carry(
    from: &TcpStream,
    to: &TcpStream,
    faults: &Faults,
    mut each: impl FnMut(&[u8], &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut from = from;
    let mut line = DelayLine::new(to.try_clone()?, faults.delay.unwrap_or_default(), faults.throttle);
    loop {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut frame = length.to_vec();
        frame.resize(4 + u32::from_be_bytes(length) as usize, 0);
        from.read_exact(&mut frame[4..])?;
        each(&frame, &mut line)?;
    }
}

fn request(way: &Way, frame: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let number = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
    if frame.len() < 12 || number(4) != PRODUCE {
        return out.write_all(frame);
    }
    let cut = lock(&way.shared.faults).cut.clone();
    let mut random = lock(&way.shared.random);
    let cut = cut.filter(|(one_in, _)| random.below(*one_in) == 0);
    let cut = cut.map(|(_, places)| places[random.below(places.len())]);
    let within = random.below(frame.len());
    drop(random);
    match cut {
        None => out.write_all(frame),
        Some(cut @ (Cut::WithinRequest | Cut::BehindRequest)) => {
            way.count(cut);
            let end = if cut == Cut::WithinRequest { within } else { frame.len() };
            out.write_all(&frame[..end])?;
            out.flush()?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        Some(cut) => {
            let correlation = i32::from_be_bytes([frame[8], frame[9], frame[10], frame[11]]);
            lock(&way.doomed).insert(correlation, cut);
            out.write_all(frame)
        }
    }
}

fn answer(way: &Way, frame: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let correlation = frame.get(4..8).map_or(-1, |id| i32::from_be_bytes([id[0], id[1], id[2], id[3]]));
    let Some(cut) = lock(&way.doomed).remove(&correlation) else { return out.write_all(frame) };
    way.count(cut);
    if cut == Cut::WithinAnswer {
        let within = lock(&way.shared.random).below(frame.len());
        out.write_all(&frame[..within])?;
        out.flush()?;
    }
    Err(io::ErrorKind::ConnectionAborted.into())
}

/// Writes what it is given after a while, in order; without a delay and a limit, at once.
struct DelayLine {
    to: TcpStream,
    delay: Duration,
    throttle: Option<u64>,
    later: Option<mpsc::SyncSender<(Instant, Vec<u8>)>>,
}

impl DelayLine {
    fn new(to: TcpStream, delay: Duration, throttle: Option<u64>) -> Self {
        let later = (!delay.is_zero()).then(|| {
            let (sender, queue) = mpsc::sync_channel::<(Instant, Vec<u8>)>(1024);
            let to = to.try_clone().expect("a second handle of a socket");
            thread::spawn(move || {
                for (due, bytes) in queue {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    if (&to).write_all(&bytes).is_err() {
                        return;
                    }
                }
            });
            sender
        });
        Self { to, delay, throttle, later }
    }
}

impl Write for DelayLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(rate) = self.throttle {
            // in small pieces, or a throttled frame would be one pause and then all of it at once
            let piece = bytes.len().min(8 * 1024);
            thread::sleep(Duration::from_secs_f64(piece as f64 / rate as f64));
            return self.to.write(&bytes[..piece]);
        }
        match &self.later {
            None => self.to.write(bytes),
            Some(later) => {
                let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
                later.send((Instant::now() + self.delay, bytes.to_vec())).map_err(gone)?;
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
