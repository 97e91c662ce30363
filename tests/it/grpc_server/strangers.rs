//! Who is let in, and what those can do who mean no good: memory stays bounded, and others are served.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{ORDER, Server, client, grpcurl, ordering, runtime};
use crate::{
    bytes::files::Folder,
    door::certificates::{Authority, Certificate},
    es::Place,
    harness::Program,
    membership::until,
    outbox::away::resident,
};

const METHOD: &str = "orders.v1.OrdersService/CreateOrder";

#[test]
#[ignore = "needs grpcurl"]
fn by_tls_who_is_trusted_is_let_in_and_nobody_else() {
    let (place, folder) = (Place::new("tls"), Folder::new("tls-files"));
    let (authority, stranger) = (Authority::new("kafkalab tests"), Authority::new("somebody else"));
    let (cert, key) = authority.issue(Certificate::Server(&["localhost", "127.0.0.1"]));
    let file = |name: &str, text: &str| folder.file(name, text.as_bytes());
    let (cert, key, ca) = (file("cert", &cert), file("key", &key), file("ca", &authority.pem()));
    let pair = |name: &str, of: &Authority| {
        let (cert, key) = of.issue(Certificate::Client);
        (file(&format!("{name}-cert"), &cert), file(&format!("{name}-key"), &key))
    };
    let (friend, foe) = (pair("friend", &authority), pair("foe", &stranger));
    let other_ca = file("other-ca", &stranger.pem());
    let calling = |server: &Server, arguments: &[&str]| -> Program {
        grpcurl(arguments).arguments(["-connect-timeout", "5", "-d", ORDER, &server.address, METHOD])
    };
    let files = ["--relay", "external", "--tls-cert", &cert, "--tls-key", &key];
    let server = Server::start(&place, &files);
    calling(&server, &["-cacert", &ca]).run().ok();
    for refused in [&["-cacert", &other_ca][..], &["-plaintext"]] {
        assert_ne!(calling(&server, refused).run().code(), 0, "{refused:?}");
    }
    server.stop();

    let server = Server::start(&place, &[&files[..], &["--tls-client-ca", &ca]].concat());
    calling(&server, &["-cacert", &ca, "-cert", &friend.0, "-key", &friend.1]).run().ok();
    for refused in [&["-cacert", &ca][..], &["-cacert", &ca, "-cert", &foe.0, "-key", &foe.1]] {
        assert_ne!(calling(&server, refused).run().code(), 0, "{refused:?}");
    }
    server.stop();
    assert_eq!(place.sql("SELECT id FROM outbox").len(), 2);
}

/// The first bytes of HTTP/2: the preface and empty SETTINGS.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HEADERS of a call, in HPACK without its tables; the stream stays open.
fn headers(stream: u32) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/orders.v1.OrdersService/CreateOrder"),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("a short text"));
            block.extend(text.as_bytes());
        }
    }
    frame(1, 4, stream, &block)
}

/// Reads until the other side closes; within a time.
fn is_closed_within(mut stream: &TcpStream, limit: Duration) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
    let (began, mut buffer) = (Instant::now(), [0; 4096]);
    while began.elapsed() < limit {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return true,
        }
    }
    false
}

#[test]
#[ignore = "needs grpcurl"]
fn who_never_finishes_is_cut_and_others_are_served() {
    let place = Place::new("loris");
    let server = Server::start(&place, &["--relay", "external", "--timeout", "2s", "--max-connections", "64"]);
    let connect = || TcpStream::connect(&server.address).expect("a connection");
    let say = |mut stream: &TcpStream, bytes: &[u8]| stream.write_all(bytes).expect("a listener");
    // nothing, half of the preface, another protocol, half of a frame of headers
    let silent: Vec<_> = (0..15).map(|_| connect()).collect();
    let half: Vec<_> = (0..15).map(|_| connect()).collect();
    half.iter().for_each(|stream| say(stream, &HELLO[..12]));
    let http1 = connect();
    say(&http1, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let headers_cut: Vec<_> = (0..5).map(|_| connect()).collect();
    headers_cut.iter().for_each(|stream| say(stream, &[HELLO, &headers(1)[..20]].concat()));
    // a call whose body never comes is answered: its time is over
    let bodiless = connect();
    say(&bodiless, &[HELLO, &headers(1)].concat());
    server.call("CreateOrder", &[], ORDER);
    assert!(is_closed_within(&http1, Duration::from_secs(12)), "another protocol");
    for stream in silent.iter().chain(&half) {
        assert!(is_closed_within(stream, Duration::from_secs(15)), "no preface");
    }
    for stream in &headers_cut {
        assert!(is_closed_within(stream, Duration::from_secs(45)), "half of a frame");
    }
    // and while as many hold on as there may be, the first that lets go is followed
    let all: Vec<_> = (0..64).map(|_| connect()).collect();
    server.call("CreateOrder", &[], ORDER);
    drop((all, bodiless));
    let ended = server.stop();
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}

#[test]
#[ignore = "needs grpcurl"]
fn floods_of_streams_and_huge_messages_leave_memory_bounded() {
    let place = Place::new("flood");
    let server = Server::start(&place, &["--relay", "external", "--timeout", "2s"]);
    server.call("CreateOrder", &[], ORDER);
    let before = resident(&server.running);
    let mut most = before;
    let mut watch = || most = most.max(resident(&server.running));
    for _ in 0..16 {
        let mut stream = TcpStream::connect(&server.address).expect("a connection");
        stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a time-out");
        // 20,000 calls that stay open; a server that has enough closes, or reads no more
        let _ = stream.write_all(HELLO);
        for number in 0..20_000u32 {
            if stream.write_all(&headers(2 * number + 1)).is_err() {
                break;
            }
        }
        watch();
        // opened and reset at once, again and again (CVE-2023-44487)
        let mut stream = TcpStream::connect(&server.address).expect("a connection");
        stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a time-out");
        let _ = stream.write_all(HELLO);
        for number in 0..20_000u32 {
            let (stream_id, cancel) = (2 * number + 1, [0, 0, 0, 8]);
            if stream.write_all(&[headers(stream_id), frame(3, 0, stream_id, &cancel)].concat()).is_err() {
                break;
            }
        }
        watch();
    }
    // 100 MiB in one message, and one that is as long as it says
    runtime().block_on(async {
        let mut client = client(&server.address);
        let mut request = ordering("huge");
        request.get_mut().user_id = "x".repeat(100 << 20);
        let huge = client.create_order(request).await.unwrap_err();
        // told, or cut while it still sends
        let told =
            [tonic::Code::ResourceExhausted, tonic::Code::Unknown, tonic::Code::Internal, tonic::Code::Unavailable];
        assert!(told.contains(&huge.code()), "{huge:?}");
    });
    watch();
    until("others are served", Duration::from_secs(20), || {
        let ended = server.calling("CreateOrder", &[], ORDER).run();
        (ended.code() == 0).then_some(()).ok_or(ended.stderr)
    });
    watch();
    println!("{before} kB before, {most} kB at most");
    assert!(most < before + 64 * 1024, "{before} kB before, {most} kB at most");
    server.stop();
}
