//! Servers that stall or hang up on the way in: the command ends within the connect time-out, and says where it stood.

use std::{
    io::{Read, Write},
    thread,
    time::{Duration, Instant},
};

use super::{
    PASSWORD,
    server::{Reply, broker, listen},
};
use crate::harness::{Ended, kafkalab};

const TLS: &[&str] = &["tls.enabled=true", "tls.insecure_skip_verify=true"];
const SASL: &[&str] = &["sasl.mechanism=SCRAM-SHA-512", "sasl.username=ada"];

/// For a server that is given a second.
fn knock(address: &str, settings: &[&str]) -> Ended {
    knock_for(1, address, settings)
}

/// SCRAM's key derivation may take most of a second in a build that is not optimised.
fn knock_for(seconds: u64, address: &str, settings: &[&str]) -> Ended {
    let limit = format!("connect_timeout={seconds}s");
    let settings: Vec<&str> = settings.iter().copied().chain([&*limit]).flat_map(|text| ["-X", text]).collect();
    let program = kafkalab(["topics", "list", "-q", "-b", address]).arguments(settings);
    let began = Instant::now();
    let ended = program.env("KAFKALAB_SASL_PASSWORD", PASSWORD).run();
    assert!(began.elapsed() < Duration::from_secs(seconds + 2), "{:?}: {ended:?}", began.elapsed());
    assert_eq!(ended.code(), 3, "{ended:?}");
    assert!(!ended.stderr.contains("canary") && !ended.stderr.contains("panicked"), "{ended:?}");
    ended
}

/// A server that plays SCRAM up to this round.
type Sasl = Box<dyn FnMut(usize, &[u8]) -> Reply>;

fn silent_at(silent: usize) -> impl Fn() -> Sasl {
    move || {
        Box::new(move |round, message| match round {
            _ if round == silent => Reply::Silence,
            0 => Reply::Says(Vec::new()),
            _ => {
                let nonce = String::from_utf8_lossy(message).split_once(",r=").unwrap_or_default().1.to_owned();
                Reply::Says(format!("r={nonce}x,s=c2FsdA==,i=4096").into_bytes())
            }
        })
    }
}

#[test]
fn a_server_that_stalls_in_the_tls_handshake() {
    // at once, and within the first record
    for begins in [&b""[..], &[0x16, 3, 3, 0x10, 0, 2]] {
        let address = listen(move |mut stream| {
            stream.read_exact(&mut [0; 64])?;
            stream.write_all(begins)?;
            loop {
                thread::park();
            }
        });
        let ended = knock(&address, TLS);
        let said = format!("no broker reachable at {address}: no answer in the TLS handshake within 1 s\n");
        assert!(ended.stderr.contains(&said), "{ended:?}");
    }
}

#[test]
fn a_server_that_stalls_in_the_sasl_exchange() {
    for round in 0..3 {
        let address = broker("SCRAM-SHA-512", silent_at(round));
        let ended = knock(&address, SASL);
        let said = format!("no broker reachable at {address}: no answer in the SASL exchange within 1 s\n");
        assert!(ended.stderr.contains(&said), "round {round}: {ended:?}");
    }
}

#[test]
fn a_connection_that_is_cut_on_the_way_in() {
    for begins in [&b""[..], &[0x16, 3, 3, 0x10, 0, 2]] {
        let address = listen(move |mut stream| {
            stream.read_exact(&mut [0; 64])?;
            stream.write_all(begins)
        });
        let ended = knock(&address, TLS);
        assert!(ended.stderr.contains("it closed the connection in the TLS handshake"), "{ended:?}");
    }
    for cut in 0..3 {
        let address = broker("SCRAM-SHA-512", move || {
            let mut silent = silent_at(cut)();
            move |round, message: &[u8]| match silent(round, message) {
                Reply::Silence => Reply::Close,
                says => says,
            }
        });
        let ended = knock_for(10, &address, SASL);
        assert!(ended.stderr.contains("the broker closed the connection in the SASL exchange"), "{cut}: {ended:?}");
    }
}

#[test]
fn a_server_that_answers_tls_with_something_else() {
    let address = listen(|mut stream| {
        stream.read_exact(&mut [0; 64])?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(|_| ())
    });
    let ended = knock(&address, TLS);
    assert!(ended.stderr.contains("it does not speak TLS\nhint: is this the port of a TLS listener?"), "{ended:?}");
}

#[test]
fn a_broker_without_users_is_not_believed() {
    let ended = knock(crate::harness::brokers(), SASL);
    // the embedded broker lets everybody in, by empty messages
    let said = if crate::harness::on_kafka() { "it does not ask for a user" } else { "is no message of SCRAM" };
    assert!(ended.stderr.contains(said), "{ended:?}");
}
