//! A saga of one's own: `kafkalab broker -- cargo run --example 05-trip-saga`
//!
//! A trip is a flight, a hotel and a car. The flight can be given back. The hotel cannot: it is the *pivot*, after which there
//! is no way back. So the car, behind it, is *retriable*: it is asked for until there is one. The saga is the list `TRIP`;
//! everything else here starts it and shows what has become of it.

use std::time::Duration;

use futures::future::join_all;
use kafkalab::{
    app::{
        ConnectOptions, Store, connect,
        crash::Crash,
        handler, outbox,
        relay::{self, Stop, make_topics},
        saga::{begin, until_over},
    },
    patterns::{
        inbox::Handler,
        saga::{
            Definition, Kind, Step,
            orchestrator::{EVENTS, Orchestrator},
            participant::Participant,
        },
    },
    store::StoreUrl,
};
use serde_json::json;

const fn step(name: &'static str, participant: &'static str, compensation: &'static str, kind: Kind) -> Step {
    Step { name, participant, compensation, kind, timeout: Duration::from_secs(30) }
}

static TRIP: Definition = Definition {
    name: "trip",
    version: 1,
    steps: &[
        step("BookFlight", "flight", "CancelFlight", Kind::Compensatable),
        step("BookHotel", "hotel", "none", Kind::Pivot),
        step("RentCar", "car", "none", Kind::Retriable),
    ],
};

/// Who acts. Each is a handler with a state of its own: a real service writes its own, as in `04-handler.rs`.
const SERVICES: [Participant; 3] = [
    Participant { name: "flights", keeps: "flight", topics: &["flight-commands", "flight-compensate", EVENTS] },
    Participant { name: "hotels", keeps: "hotel", topics: &["hotel-commands", EVENTS] },
    Participant { name: "cars", keeps: "car", topics: &["car-commands", EVENTS] },
];
const ORCHESTRATOR: Orchestrator = Orchestrator(&TRIP);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let brokers = std::env::var("KAFKALAB_BROKERS").unwrap_or_else(|_| "localhost:9092".to_owned());
    let addresses = brokers.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let cluster = connect(addresses, ConnectOptions::default()).await?;
    let folder = std::env::temp_dir().join(format!("trips-{}", uuid::Uuid::now_v7()));
    let store = Store::open(&StoreUrl::sqlite(folder.join("store.db"))).await?;
    // Topics of this run alone.
    let prefix = format!("{}-", store.id());
    let topics = ["flight-commands", "flight-compensate", "hotel-commands", "car-commands", EVENTS];
    make_topics(&cluster, &topics.map(|topic| format!("{prefix}{topic}"))).await?;

    // Three trips. What goes wrong is asked for in the data: step 2 says no, step 3 cannot just now.
    let trips = [
        ("all-well", json!({})),
        ("no-room", json!({ "fault": { "at": 2, "kind": "declined" } })),
        ("no-car-yet", json!({ "fault": { "at": 3, "kind": "unavailable" } })),
    ];
    let starts = trips.map(|(id, data)| ORCHESTRATOR.start(id, data, None).map(|start| (id.to_owned(), start)));
    begin(&store, &ORCHESTRATOR, starts.into_iter().collect::<Result<_, _>>()?).await?;

    // The services, the orchestrator and the relay work until all trips have ended. Each could be a process of its own.
    let stop = Stop::new();
    let handlers: Vec<&dyn Handler> = SERVICES.iter().map(|one| one as _).chain([&ORCHESTRATOR as _]).collect();
    let work = join_all(handlers.into_iter().map(|handler| {
        let options = handler::Options {
            prefix: prefix.clone(),
            group: Some(format!("{prefix}{}", handler.name())),
            ..handler::Options::default()
        };
        let (store, cluster, stop) = (&store, &cluster, &stop);
        async move { handler::run(handler, store, cluster, &options, stop, &|_| ()).await }
    }));
    let relaying = relay::Options { prefix: prefix.clone(), ..relay::Options::default() };
    let (crash, silent) = (Crash::default(), |_: relay::Told<'_>| ());
    let relay = outbox::relay(&store, &cluster, &relaying, None, &crash, &stop, &silent);
    let ids = ["all-well", "no-room", "no-car-yet"].map(str::to_owned);
    let over = async {
        let over = until_over(&store, &ids, &stop).await;
        stop.cancel();
        over
    };
    let (worked, relayed, sagas) = tokio::join!(work, relay, over);
    relayed?;
    worked.into_iter().collect::<Result<Vec<_>, _>>()?;

    for saga in sagas?.unwrap_or_default() {
        println!("{} {}", saga.id, saga.status);
        for entry in &saga.log {
            let step = entry.step.map_or(String::new(), |step| format!("{step} "));
            let note = entry.note.as_ref().map_or(String::new(), |note| format!(": {note}"));
            println!("  {step}{}{note}", entry.what);
        }
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
