//! Wrong input, each kind with what a caller is told; and wrong options, with what a person is told.

use std::net::TcpListener;

use super::{INVALID_ARGUMENT, ORDER, RESOURCE_EXHAUSTED, Server, client, ordering, runtime, serving};
use crate::{cli::expect, es::Place};

#[test]
#[ignore = "needs grpcurl"]
fn every_field_that_is_wrong_is_named_in_one_answer() {
    let place = Place::new("fields");
    let server = Server::start(&place, &["--relay", "external"]);
    let long = "x".repeat(129);
    let order = |user: &str, product: &str, currency: &str, amount: &str| {
        format!(
            r#"{{"user_id":"{user}","product_id":"{product}","price":{{"currency":"{currency}","amount":{amount}}}}}"#
        )
    };
    let cases: [(String, &[&str]); 12] = [
        ("{}".to_owned(), &["user_id", "product_id", "price"]),
        (order("", "", "", "0"), &["user_id", "product_id", "price.currency", "price.amount"]),
        (order("u", &long, "USD", "1"), &["product_id"]),
        (order("u\\u001b[2J", "p", "USD", "1"), &["user_id"]),
        (order("u", "p", "usd", "1"), &["price.currency"]),
        (order("u", "p", "XXX", "-1"), &["price.currency", "price.amount"]),
        (order("u", "p", "USD", "-0.01"), &["price.amount"]),
        (order("u", "p", "USD", "0"), &["price.amount"]),
        (order("u", "p", "USD", "9.999"), &["price.amount"]),
        (order("u", "p", "JPY", "9.5"), &["price.amount"]),
        (order("u", "p", "USD", "\"NaN\""), &["price.amount"]),
        (order("u", "p", "USD", "12345678901234.56"), &["price.amount"]),
    ];
    for (request, fields) in cases {
        let refused = server.refused("CreateOrder", &[], &request);
        assert_eq!((refused.code, refused.fields()), (INVALID_ARGUMENT, fields.to_vec()), "{request}");
        assert!(fields.iter().all(|field| refused.message.contains(field)), "{refused:?}");
    }
    for infinite in ["\"Infinity\"", "\"-Infinity\""] {
        let refused = server.refused("CreateOrder", &[], &order("u", "p", "USD", infinite));
        assert_eq!((refused.code, refused.fields()), (INVALID_ARGUMENT, vec!["price.amount"]));
    }
    let all = ["order_id", "payment_id", "amount"];
    assert_eq!(server.refused("PayOrder", &[], "{}").fields(), all);
    assert_eq!(server.refused("PayOrder", &["idempotency-key: k"], "{}").fields(), ["order_id", "amount"]);
    assert_eq!(server.refused("CancelOrder", &[], "{}").fields(), ["order_id"]);
    assert_eq!(server.refused("GetOrder", &[], "{}").fields(), ["order_id"]);
    server.stop();
    assert_eq!(place.sql("SELECT id FROM outbox"), Vec::<Vec<String>>::new());
}

#[test]
#[ignore = "needs grpcurl"]
fn a_request_that_is_too_large_is_resource_exhausted_and_the_connection_lives() {
    let place = Place::new("large");
    let server = Server::start(&place, &["--relay", "external", "--max-message", "1000"]);
    let large = server.refused("CreateOrder", &[], &ORDER.replace("user-123", &"x".repeat(1000)));
    assert_eq!(large.code, RESOURCE_EXHAUSTED, "{large:?}");
    runtime().block_on(async {
        let mut client = client(&server.address);
        let mut request = ordering("large");
        request.get_mut().user_id = "x".repeat(1000);
        let large = client.create_order(request).await.unwrap_err();
        assert_eq!(large.code(), tonic::Code::ResourceExhausted, "{large:?}");
        client.create_order(ordering("small")).await.expect("the same connection");
    });
    server.stop();
    assert_eq!(place.sql("SELECT id FROM outbox").len(), 1);
}

#[test]
fn a_port_that_is_taken_is_told_with_its_address() {
    let place = Place::new("taken");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    for option in ["--listen", "--metrics"] {
        let free = if option == "--metrics" { ["--listen", "127.0.0.1:0"] } else { ["--relay", "external"] };
        let said = format!(
            "error: cannot listen on {address}: Address already in use (os error 98)\nhint: who has the port tells `ss \
             -ltnp`; or take another one: {option} 127.0.0.1:0 takes a free one\n"
        );
        expect(serving(&place, &[&[option, &address], &free[..]].concat()), 1, "", &said);
    }
}

#[test]
fn files_of_tls_that_cannot_be_used_are_told() {
    let place = Place::new("files");
    let missing = "/nowhere/cert.pem";
    let ended = serving(&place, &["--listen", "127.0.0.1:0", "--tls-cert", missing, "--tls-key", missing]).run();
    assert_eq!(ended.code(), 2, "{ended:?}");
    assert!(ended.stderr.starts_with("error: TLS: the certificate /nowhere/cert.pem: "), "{ended:?}");
    let alone = serving(&place, &["--tls-cert", missing]).run();
    assert!(alone.code() == 2 && alone.stderr.contains("--tls-key"), "{alone:?}");
}
