//! A receiver of notifications: a small HTTP server that remembers what it heard, and can be told to behave badly.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    Heeds,
    /// Answers with this status and these headers and body; hears nothing.
    Says(&'static str),
    /// Reads and never answers.
    Silent,
    /// Hears, and answers with a body that never ends.
    Endless,
}

#[derive(Debug)]
struct Shared {
    mode: Mutex<Mode>,
    /// Bodies by idempotency key, one for each time.
    heard: Mutex<BTreeMap<String, Vec<Value>>>,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Receiver {
    pub port: u16,
    shared: Arc<Shared>,
    stop: Arc<Mutex<bool>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Receiver {
    pub fn start(mode: Mode) -> Self {
        Self::start_on(0, mode)
    }

    pub fn start_on(port: u16, mode: Mode) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared { mode: Mutex::new(mode), heard: Mutex::default() });
        let stop = Arc::new(Mutex::new(false));
        let (serving, stopping) = (Arc::clone(&shared), Arc::clone(&stop));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if *lock(&stopping) {
                    return;
                }
                let shared = Arc::clone(&serving);
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { port, shared, stop }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook/secret", self.port)
    }

    pub fn set(&self, mode: Mode) {
        *lock(&self.shared.mode) = mode;
    }

    pub fn heard(&self) -> BTreeMap<String, Vec<Value>> {
        lock(&self.shared.heard).clone()
    }

    /// The orders that it was told of, each as often as it was heard under a new id.
    pub fn orders(&self) -> Vec<String> {
        let order = |bodies: Vec<Value>| bodies[0]["order_id"].as_str().expect("an order").to_owned();
        let mut orders: Vec<String> = self.heard().into_values().map(order).collect();
        orders.sort();
        orders
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        *lock(&self.stop) = true;
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // so that its thread looks
    }
}

/// Requests of one connection, until something is not as it should be.
fn serve(stream: &TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some((key, body)) = request(&mut reader) {
        let mode = lock(&shared.mode).clone();
        if matches!(mode, Mode::Heeds | Mode::Endless) {
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(body["id"], key.as_str(), "the body names the key, too");
            lock(&shared.heard).entry(key).or_default().push(body);
        }
        let mut out = stream;
        let written = match mode {
            Mode::Heeds => out.write_all(b"HTTP/1.1 204 No Content\r\n\r\n"),
            Mode::Says(answer) => out.write_all(answer.as_bytes()),
            Mode::Silent => return park(reader),
            Mode::Endless => {
                let _ = out.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                while out.write_all(b"400\r\n").and_then(|()| out.write_all(&[b'x'; 0x400])).is_ok() {
                    if out.write_all(b"\r\n").is_err() {
                        break;
                    }
                }
                return;
            }
        };
        if written.is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// Until the other side has had enough.
fn park(mut reader: BufReader<&TcpStream>) {
    let _ = reader.read_to_end(&mut Vec::new());
}

fn request(reader: &mut BufReader<&TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut key, mut length, mut first) = (String::new(), 0, true);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if std::mem::take(&mut first) {
            assert_eq!(line, "POST /hook/secret HTTP/1.1");
        }
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ") {
            match name.to_ascii_lowercase().as_str() {
                "idempotency-key" => key = value.trim_matches('"').to_owned(),
                "content-length" => length = value.parse().ok()?,
                "content-type" => assert_eq!(value, "application/json"),
                _ => {}
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((key, body))
}
