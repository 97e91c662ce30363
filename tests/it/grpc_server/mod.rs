//! `kafkalab grpc-server` by the real program: called with grpcurl and with the generated client, its topics read with
//! kcat, its store with SQL.

mod calls;
mod keys;
mod killed;
mod strangers;
mod trouble;
mod wrong;

use std::time::Duration;

use kafkalab::grpc::{
    client::OrdersServiceClient,
    orders::{CreateOrderRequest, Money},
};
use rustix::process::Signal;
use tonic::{
    Request,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

use crate::{
    es::Place,
    harness::{Ended, Program, program},
    process::{Running, start},
};

/// A server that runs.
struct Server {
    running: Running,
    address: String,
}

impl Server {
    /// On a port that is free, with the relay inside.
    fn start(place: &Place, arguments: &[&str]) -> Self {
        Self::by(serving(place, &[&["--listen", "127.0.0.1:0"], arguments].concat()))
    }

    fn by(program: Program) -> Self {
        let running = start(program);
        running.until_stderr_has("; Ctrl-C to stop");
        let said = running.stderr_so_far();
        let address = said.split("orders.v1.OrdersService on ").nth(1).and_then(|rest| rest.split(' ').next());
        let address = address.unwrap_or_else(|| panic!("it does not serve: {said}")).to_owned();
        Self { running, address }
    }

    /// `grpcurl -plaintext ARGUMENTS HERE METHOD`
    fn grpcurl(&self, arguments: &[&str], method: &str) -> Program {
        grpcurl(["-plaintext"]).arguments(arguments).arguments([&self.address, method])
    }

    /// One of ours, which must succeed. Gives its answer.
    #[track_caller]
    fn call(&self, method: &str, headers: &[&str], request: &str) -> serde_json::Value {
        let ended = self.calling(method, headers, request).run().ok();
        serde_json::from_str(&ended.text()).expect("an answer in JSON")
    }

    /// One that must fail. Gives its code and its details.
    #[track_caller]
    fn refused(&self, method: &str, headers: &[&str], request: &str) -> Refused {
        Refused::of(&self.calling(method, headers, request).run())
    }

    fn calling(&self, method: &str, headers: &[&str], request: &str) -> Program {
        let headers: Vec<&str> = headers.iter().flat_map(|header| ["-H", header]).collect();
        let method = format!("orders.v1.OrdersService/{method}");
        self.grpcurl(
            &[&["-connect-timeout", "30", "-emit-defaults", "-format-error", "-d", request], &headers[..]].concat(),
            &method,
        )
    }

    fn stop(mut self) -> Ended {
        self.running.signal(Signal::TERM);
        let ended = self.running.end();
        assert_eq!(ended.code(), 143, "{ended:?}");
        ended
    }
}

fn serving(place: &Place, arguments: &[&str]) -> Program {
    place.pattern("grpc-server", arguments)
}

/// The real one; without it on the PATH the test fails.
fn grpcurl<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Program {
    program("grpcurl", arguments).deadline(Duration::from_secs(60))
}

/// An error as grpcurl shows it.
#[derive(Debug)]
struct Refused {
    code: i64,
    message: String,
    details: Vec<serde_json::Value>,
}

impl Refused {
    #[track_caller]
    fn of(ended: &Ended) -> Self {
        assert_ne!(ended.code(), 0, "{ended:?}");
        let error: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap_or_else(|_| panic!("{ended:?}"));
        Self {
            code: error["code"].as_i64().expect("a code"),
            message: error["message"].as_str().unwrap_or_default().to_owned(),
            details: error["details"].as_array().cloned().unwrap_or_default(),
        }
    }

    /// The detail of this kind.
    #[track_caller]
    fn detail(&self, kind: &str) -> &serde_json::Value {
        let of_kind = |detail: &&serde_json::Value| {
            detail["@type"].as_str().is_some_and(|name| name.ends_with(&format!("google.rpc.{kind}")))
        };
        self.details.iter().find(of_kind).unwrap_or_else(|| panic!("no {kind}: {self:?}"))
    }

    fn reason(&self) -> &str {
        self.detail("ErrorInfo")["reason"].as_str().unwrap_or_default()
    }

    /// The fields that are named.
    fn fields(&self) -> Vec<&str> {
        let violations = self.detail("BadRequest")["fieldViolations"].as_array().expect("violations");
        violations.iter().filter_map(|violation| violation["field"].as_str()).collect()
    }
}

const ORDER: &str = r#"{"user_id":"user-123","product_id":"prod-456","price":{"currency":"USD","amount":99.99}}"#;
const ALREADY_EXISTS: i64 = 6;
const DEADLINE_EXCEEDED: i64 = 4;
const FAILED_PRECONDITION: i64 = 9;
const INVALID_ARGUMENT: i64 = 3;
const NOT_FOUND: i64 = 5;
const RESOURCE_EXHAUSTED: i64 = 8;
const UNAVAILABLE: i64 = 14;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// A connection that is made when it is needed, and again when it has ended.
fn client(address: &str) -> OrdersServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    OrdersServiceClient::new(endpoint.connect_timeout(Duration::from_secs(5)).connect_lazy())
}

/// An order of 9.99 dollars by a key.
fn ordering(key: &str) -> Request<CreateOrderRequest> {
    let price = Some(Money { currency: "USD".to_owned(), amount: 9.99 });
    let mut request =
        Request::new(CreateOrderRequest { user_id: "ada".to_owned(), product_id: "lamp".to_owned(), price });
    request.metadata_mut().insert("idempotency-key", MetadataValue::try_from(key).expect("a key"));
    request
}

/// Everything that was taken here goes out, by a relay of its own.
fn relayed(place: &Place, brokers: &str) {
    place.outbox(&["relay", "--once", "-q", "--brokers", brokers]).deadline(Duration::from_secs(90)).run().ok();
}
