//! What `--metrics` serves.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use rustix::process::Signal;

use super::{
    consuming,
    receiver::{Mode, Receiver},
    until_counted, write,
};
use crate::{es::Place, membership::until};

fn get(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a listener");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

#[test]
#[ignore = "needs kcat"]
fn handled_records_lag_and_notifications_are_there_as_they_are_now() {
    let place = Place::new("metrics");
    write(&place, 60, 31);
    let receiver = Receiver::start(Mode::Heeds);
    let arguments = ["--metrics", "127.0.0.1:0", "--notify", &receiver.url()];
    let mut consumers = consuming(&place, &arguments);
    consumers.until_stderr_has("/metrics\n");
    let said = consumers.stderr_so_far();
    let address = said.split("http://127.0.0.1:").last().and_then(|rest| rest.split('/').next()).expect("an address");
    let address = format!("127.0.0.1:{address}");
    let (counted, created) = super::counted(&place);
    until_counted(&place, created.len() as u64);
    let all: u64 = counted["counts"]["events"].as_object().expect("kinds").values().filter_map(|n| n.as_u64()).sum();
    let lines = [
        format!("kafkalab_consumer_records_total{{handler=\"analytics\"}} {all}"),
        format!("kafkalab_consumer_effects_total{{handler=\"search-index\"}} {all}"),
        format!("kafkalab_consumer_notifications_sent_total {}", created.len()),
        "kafkalab_consumer_notifications_waiting 0".to_owned(),
        "kafkalab_consumer_notifications_dead 0".to_owned(),
    ];
    until("the numbers", Duration::from_secs(60), || {
        let text = get(&address);
        let missing = lines.iter().find(|line| !text.contains(&format!("\n{line}\n")));
        let lag = text.contains("\nkafkalab_consumer_lag_records{handler=\"analytics\"} ");
        if missing.is_none() && lag { Ok(()) } else { Err(format!("{missing:?}\n{text}")) }
    });
    consumers.signal(Signal::TERM);
    assert_eq!(consumers.end().code(), 143);
}

#[test]
fn a_port_that_is_taken_is_told() {
    let (place, taken) = (Place::new("taken"), TcpListener::bind("127.0.0.1:0").expect("a port"));
    let address = taken.local_addr().expect("its address").to_string();
    let ended = place.consumer(&["--metrics", &address]).run();
    let said = format!("error: cannot listen on {address}: Address already in use (os error 98)\n");
    assert_eq!((ended.code(), ended.stderr), (1, said));
}
