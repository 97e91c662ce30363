//! The services as processes of their own.

use std::{collections::BTreeMap, time::Duration};

use kafkalab::{
    app::handler::begin_at_end_if_new,
    kafka::{Address, Admin, Cluster, ConnectOptions, TopicPartition},
    store::Store,
};
use rustix::process::Signal;

use super::{saga, shown};
use crate::{
    es::Place,
    harness::{brokers, kafkalab, need_kafka},
    process::start,
};

#[test]
#[ignore = "needs Apache Kafka"] // the embedded broker waits for a dead member as long as a rebalance may take: 5 minutes
fn three_services_in_three_processes_one_of_them_killed_and_started_again() {
    need_kafka();
    let place = Place::new("saga-services");
    let service = |name: &str| {
        let service = start(saga(&place, &["participant", name]));
        service.until_stderr_has("; Ctrl-C to stop");
        service
    };
    let (mut order, mut payment, mut shipping) = (service("order"), service("payment"), service("shipping"));
    let run = |style: &str, id: &str| {
        let run = ["run", "--style", style, "--participants", "external", "--order", id, "-q"];
        let ended = saga(&place, &run).deadline(Duration::from_secs(120)).run().ok();
        assert_eq!(ended.text(), format!("{id} COMPLETED\n"));
    };
    run("orchestration", "o-1");
    run("choreography", "c-1");
    payment.signal(Signal::KILL);
    payment.end();
    // its leases and its place in the group are its own until they run out
    let mut payment = service("payment");
    run("choreography", "c-2");
    run("orchestration", "o-2");
    for id in ["o-1", "o-2", "c-1", "c-2"] {
        shown(&place, id).judged(id);
    }
    for service in [&mut order, &mut payment, &mut shipping] {
        service.signal(Signal::INT);
        assert_eq!(service.end().code(), 130);
    }
}

#[test]
fn without_its_service_a_step_runs_out_of_time_and_the_saga_is_compensated() {
    let place = Place::new("saga-nobody");
    let mut order = start(saga(&place, &["participant", "order"]));
    order.until_stderr_has("; Ctrl-C to stop");
    let run = ["run", "--participants", "external", "--order", "o-1", "--step-timeout", "4s", "-q"];
    let ended = saga(&place, &run).run();
    // nobody answers for the payment's compensation either: it is parked, and the order's has run
    assert_eq!((ended.code(), ended.text().as_str()), (5, "o-1 PARKED\n"), "{ended:?}");
    let shown = shown(&place, "o-1");
    assert_eq!(shown.steps, ["undone", "parked", "open"]);
    // in a choreography nobody knows who is missing: the order is undone, and it is not known what became of the rest
    let run =
        ["run", "--style", "choreography", "--participants", "external", "--order", "c-1", "--step-timeout", "4s"];
    let ended = saga(&place, &run).arguments(["-q"]).run();
    assert_eq!((ended.code(), ended.text().as_str()), (5, "c-1 PARKED\n"), "{ended:?}");
    assert_eq!(super::shown(&place, "c-1").steps, ["undone", "parked", "parked"]);
    order.signal(Signal::TERM);
    assert_eq!(order.end().code(), 143);
}

#[test]
fn without_the_order_service_nobody_keeps_the_deadline_but_the_customer() {
    let place = Place::new("saga-no-order");
    let run =
        ["run", "--style", "choreography", "--participants", "external", "--order", "c-1", "--step-timeout", "1s"];
    let ended = saga(&place, &run).run();
    assert_eq!(ended.code(), 4, "{ended:?}");
    assert!(ended.stderr.contains("error: the order service has not taken order c-1 in time\n"), "{ended:?}");
    // its wish stands
    assert_eq!(saga(&place, &["resume", "-q"]).run().ok().text(), "c-1 COMPLETED\n");
    shown(&place, "c-1").judged("resumed");
}

#[test]
fn a_saga_that_was_stopped_is_resumed() {
    let place = Place::new("saga-stopped");
    let mut running = start(saga(&place, &["run", "--participants", "external", "--order", "o-1"]));
    running.until_stdout_has("CreateOrder");
    running.signal(Signal::INT);
    let ended = running.end();
    assert_eq!(ended.code(), 130, "{ended:?}");
    assert!(ended.stderr.contains("`kafkalab saga resume` finishes what is open"), "{ended:?}");
    assert_eq!(saga(&place, &["resume", "o-1", "-q"]).run().ok().text(), "o-1 COMPLETED\n");
    shown(&place, "o-1").judged("resumed");
}

/// Two processes that begin at the same time: the one that waits for its turn does not move the group past what the other one
/// has sent meanwhile.
#[test]
fn a_new_group_is_set_to_its_beginning_by_one_process_alone() {
    let place = Place::new("saga-beginning");
    place.take(Vec::new());
    let (topic, group) = (place.topic("orders"), place.topic("group"));
    kafkalab(["topics", "create", &topic, "-p", "1", "-q"]).run().ok();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let addresses: Vec<Address> = brokers().split(',').map(|it| it.parse().expect("an address")).collect();
        let cluster = Cluster::connect(addresses, ConnectOptions::default()).await.expect("the brokers under test");
        let store = Store::open(&place.url().parse().expect("a URL")).await.expect("the store");
        let admin = Admin::new(cluster.clone());
        // the first is at it
        let lease =
            store.acquire(&format!("begin-{group}"), "first", Duration::from_secs(60)).await.expect("the store");
        let (topics, lease) = ([topic.clone()], lease.expect("the lease"));
        let mut second = std::pin::pin!(begin_at_end_if_new(&store, &cluster, &group, &topics));
        let waits = tokio::time::timeout(Duration::from_millis(300), &mut second).await;
        assert!(waits.is_err(), "it does not wait for its turn: {waits:?}");
        let begins = BTreeMap::from([(TopicPartition::new(topic.as_str(), 0), 0)]);
        admin.commit_offsets(&group, &begins).await.expect("a commit");
        kafkalab(["produce", &topic, "-q"]).stdin("sent meanwhile\n").run().ok();
        store.release(&lease).await.expect("the store");
        second.await.expect("the group is there");
        assert_eq!(admin.committed_offsets(&group).await.expect("offsets"), begins);
    });
}
