//! Servers that play SCRAM falsely: who cannot prove that it knows the password is not believed, and nothing that it sends
//! ends this process or keeps it busy. The proof is made here by the formulas of RFC 5802, not by the library under test.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{
    PASSWORD,
    server::{Reply, broker},
};
use crate::harness::{Ended, kafkalab};

const SALT: &[u8] = b"a pinch of salt";

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// `ServerSignature := HMAC(HMAC(Hi(password, salt, 4096), "Server Key"), AuthMessage)`
fn signature(password: &str, auth_message: &str) -> String {
    let mut round = hmac(password.as_bytes(), &[SALT, &1u32.to_be_bytes()].concat());
    let mut salted = round;
    for _ in 1..4096 {
        round = hmac(password.as_bytes(), &round);
        salted.iter_mut().zip(round).for_each(|(all, one)| *all ^= one);
    }
    STANDARD.encode(hmac(&hmac(&salted, b"Server Key"), auth_message.as_bytes()))
}

/// A server that believes everybody. `first` makes its first message from the client's nonce, `last` its second one from
/// the messages before it.
fn server(first: fn(&str) -> String, last: fn(&str) -> String) -> String {
    broker("SCRAM-SHA-256", move || {
        let mut said = String::new();
        move |round, message: &[u8]| {
            let message = String::from_utf8_lossy(message).into_owned();
            match round {
                0 => Reply::Says(Vec::new()),
                1 => {
                    let bare = message.splitn(3, ',').nth(2).expect("what follows the GS2 header");
                    // a nonce may have "r=" in it, and no comma
                    let nonce = message.split_once(",r=").expect("a nonce").1;
                    let answer = first(nonce);
                    said = format!("{bare},{answer},");
                    Reply::Says(answer.into_bytes())
                }
                _ => {
                    said += message.rsplit_once(",p=").expect("a proof").0;
                    Reply::Says(last(&said).into_bytes())
                }
            }
        }
    })
}

fn honest_first(nonce: &str) -> String {
    format!("r={nonce}and-more,s={},i=4096", STANDARD.encode(SALT))
}

fn knock(address: &str) -> Ended {
    let settings = ["-X", "sasl.mechanism=SCRAM-SHA-256", "-X", "sasl.username=ada", "-X", "connect_timeout=20s"];
    let program = kafkalab(["topics", "list", "-b", address]).arguments(settings);
    let began = Instant::now();
    let ended = program.env("KAFKALAB_SASL_PASSWORD", PASSWORD).run();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}: {ended:?}", began.elapsed());
    assert!(!format!("{ended:?}").contains("canary") && !ended.stderr.contains("panicked"), "{ended:?}");
    ended
}

#[test]
fn a_server_that_knows_the_password_is_believed() {
    let honest = server(honest_first, |said| format!("v={}", signature(PASSWORD, said)));
    knock(&honest).ok();
}

#[test]
fn a_server_with_a_wrong_signature_is_an_impostor() {
    let lasts: [fn(&str) -> String; 4] = [
        |said| format!("v={}", signature("guessed", said)),
        |said| format!("v={}", signature(PASSWORD, &said.replace("and-more", "and-less"))),
        |_| format!("v={}", STANDARD.encode([0; 32])),
        |_| "v=".to_owned(),
    ];
    for last in lasts {
        let address = server(honest_first, last);
        let ended = knock(&address);
        let said = format!(
            "error: connecting: broker at {address}: it did not prove that it knows the password (SCRAM): it may be an \
             impostor\nhint: do not go on before you know who answers at this address\n"
        );
        assert_eq!((ended.code(), ended.stderr), (3, said));
    }
}

#[test]
fn messages_that_are_none_end_in_an_error() {
    let firsts: [fn(&str) -> String; 8] = [
        |_| String::new(),
        |_| "r".to_owned(),
        |nonce| format!("r={nonce}x,,i=4096"),
        |nonce| format!("r={nonce}x,s,i=4096"),
        |nonce| format!("r={nonce}x,s=%%%,i=4096"),
        |nonce| format!("r={nonce},s=c2FsdA==,i=4096"), // nothing of the server's in the nonce
        |_| "r=another,s=c2FsdA==,i=4096".to_owned(),
        |_| "\u{1b}]52;c;ZXZpbA==\u{7}".to_owned(),
    ];
    for first in firsts {
        let ended = knock(&server(first, |_| String::new()));
        assert_eq!(ended.code(), 3, "{ended:?}");
        assert!(ended.stderr.contains("the SASL exchange failed"), "{ended:?}");
        assert!(!ended.stderr.contains('\u{1b}'), "{ended:?}");
    }
    for last in [|_: &str| String::new(), |_: &str| "v".to_owned(), |_: &str| "e=invalid-proof".to_owned()] {
        let ended = knock(&server(honest_first, last));
        assert_eq!(ended.code(), 3, "{ended:?}");
        assert!(ended.stderr.contains("the SASL exchange failed"), "{ended:?}");
    }
}

#[test]
fn rounds_that_are_too_few_or_too_many_are_refused() {
    let firsts: [fn(&str) -> String; 3] = [
        |nonce| format!("r={nonce}x,s=c2FsdA==,i=1"),
        |nonce| format!("r={nonce}x,s=c2FsdA==,i=4095"),
        |nonce| format!("r={nonce}x,s=c2FsdA==,i=4294967295"), // an hour of work
    ];
    for first in firsts {
        let ended = knock(&server(first, |_| String::new()));
        assert_eq!(ended.code(), 3, "{ended:?}");
        assert!(ended.stderr.contains("rounds of SCRAM's key derivation"), "{ended:?}");
    }
}

#[test]
fn a_broker_that_repeats_the_password_is_not_quoted() {
    let address = broker("PLAIN", || {
        |round, message: &[u8]| match round {
            0 => Reply::Says(Vec::new()),
            _ => Reply::Refuses(format!("no such thing as {}", String::from_utf8_lossy(message))),
        }
    });
    let settings = ["sasl.mechanism=PLAIN", "sasl.username=ada", "sasl.plain_without_tls=true"];
    let program =
        kafkalab(["topics", "list", "-vv", "-b", &address]).arguments(settings.iter().flat_map(|x| ["-X", x]));
    let ended = program.env("KAFKALAB_SASL_PASSWORD", PASSWORD).run();
    assert_eq!(ended.code(), 3, "{ended:?}");
    assert!(ended.stderr.contains("it refused the user or the password (PLAIN)"), "{ended:?}");
    assert!(!ended.stderr.contains("canary"), "{ended:?}");
}
