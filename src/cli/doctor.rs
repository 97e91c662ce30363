//! `doctor`: what is wrong between this machine and its brokers, and what to try.

use color_eyre::{Result, eyre::WrapErr};
use serde_json::json;

use super::{
    escape,
    exit::Exit,
    pattern::usage,
    security,
    session::Session,
    stdout,
    terminal::Terminal,
    words::{counted, wrap},
};
use crate::app::{
    self, Address, StoreUrl, UrlError,
    doctor::{Check, Layer, Outcome, Problem, examine},
};

/// Find out what is wrong with a broker, from this machine, and what to try
///
/// Looks at one layer after the other: name, port, TLS or plain text, versions, SASL, the cluster; then at the address that
/// each broker advertises, at leaders, the groups' coordinator, what the user may do, the clocks; and at the store. What
/// stands behind a broken layer is not reached. Nothing is changed on the broker, and no topic is made.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each check ends within connect_timeout (5 s; -X connect_timeout=1s). A store that is there is opened as every command
opens it; a SQLite file that is not there is not made.

Examples:
  kafkalab doctor
  kafkalab doctor -b kafka.example:9093 -X tls.enabled=true
  kafkalab doctor --json | jq '.checks[] | select(.outcome == \"wrong\")'

Exit codes: 0 all is well, 1 something is wrong, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM")]
pub struct Args {
    /// The store to look at: sqlite:PATH or postgres://USER@HOST/DATABASE [default: as every command takes it]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// As a JSON document
    #[arg(short = 'J', long)]
    json: bool,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit> {
    let settings = &session.settings;
    let addresses: Vec<Address> =
        settings.brokers.value.iter().map(|text| text.parse()).collect::<Result<_, app::Error>>()?;
    let options = security::options(settings).wrap_err("how to connect")?;
    let store: StoreUrl = match &args.store {
        Some(text) => text.parse().map_err(|error: UrlError| usage(format!("--store: {error}")))?,
        None => settings.store.value.clone(),
    };
    let checks = tokio::select! {
        biased;
        () = session.stop.asked() => return Ok(session.stop.exit()),
        checks = examine(&addresses, &options, &store) => checks,
    };
    let wrong = checks.iter().filter(|check| matches!(check.outcome, Outcome::Wrong(_))).count();
    if args.json {
        stdout::json(&document(&checks, wrong == 0))?;
    } else {
        let page: String = checks.iter().map(|check| block(check, &session.terminal)).collect();
        stdout::write(page.as_bytes())?;
        let from = &settings.brokers.source;
        session.say(&match wrong {
            0 => "all is well".to_owned(),
            wrong => format!("{} wrong; the brokers come from: {from}", counted(wrong, "thing")),
        });
    }
    Ok(if wrong == 0 { Exit::OK } else { Exit::FAILURE })
}

fn document(checks: &[Check], well: bool) -> serde_json::Value {
    let check = |check: &Check| {
        let (outcome, says, tries) = match &check.outcome {
            Outcome::Well(seen) => ("ok", Some(seen.clone()), None),
            Outcome::Wrong(problem) => ("wrong", Some(problem.to_string()), Some(advice(problem))),
            Outcome::NotReached => ("not_reached", None, None),
        };
        json!({"check": check.layer.name(), "of": check.subject, "outcome": outcome, "says": says, "try": tries})
    };
    json!({"schema_version": 1, "well": well, "checks": checks.iter().map(check).collect::<Vec<_>>()})
}

/// Columns for the outcome and the layer's name, where the terminal has room.
const MARGIN: usize = 28;
const NARROW: usize = 60;

fn block(check: &Check, terminal: &Terminal) -> String {
    let palette = terminal.out.palette;
    let (word, lines) = match &check.outcome {
        Outcome::Well(seen) => (format!("{:<13}", "ok"), vec![about(check, seen)]),
        Outcome::NotReached => (format!("{:<13}", "not reached"), vec![]),
        Outcome::Wrong(problem) => {
            let said = about(check, &problem.to_string());
            (palette.error(format!("{:<13}", "wrong")).to_string(), vec![said, format!("try: {}", advice(problem))])
        }
    };
    let title = format!("{word}{}", check.layer.name());
    let (first, margin) = match terminal.width() {
        Some(width) if width < NARROW => (format!("{}\n", title.trim_end()), 2),
        _ if lines.is_empty() => (format!("{title}\n"), MARGIN),
        _ => (format!("{title}{}", " ".repeat(MARGIN - 13 - check.layer.name().len())), MARGIN),
    };
    let room = terminal.width().map_or(usize::MAX, |width| width.saturating_sub(margin).max(20));
    let wrapped = lines.iter().flat_map(|line| wrap(&escape::line(line.as_bytes()), room)).enumerate();
    let rest: String = wrapped
        .map(|(at, line)| match (at, first.ends_with('\n')) {
            (0, false) => format!("{line}\n"),
            _ => format!("{}{line}\n", " ".repeat(margin)),
        })
        .collect();
    first + &rest
}

/// Where the subject says more than the words do.
fn about(check: &Check, said: &str) -> String {
    let named = [Layer::Advertised, Layer::Store, Layer::Name, Layer::Port].contains(&check.layer);
    match named && !check.subject.is_empty() && !said.contains(&check.subject) && !said.starts_with("broker ") {
        true => format!("{}: {said}", check.subject),
        false => said.to_owned(),
    }
}

/// What to try next.
fn advice(problem: &Problem) -> String {
    match problem {
        Problem::Unresolved { host, .. } if !host.contains('.') => format!(
            "is {host:?} spelt right? The name of a container is known to other containers only; from outside it is \
             localhost, with the port that is published"
        ),
        Problem::Unresolved { .. } => {
            "is the name spelt right, and is this machine's DNS (or its VPN) at work?".to_owned()
        }
        Problem::NothingListens { .. } => {
            "is the broker running, and is the port right? `kafkalab broker` starts one (no \
                                           Docker needed), `just up` another (Docker)"
                .to_owned()
        }
        Problem::NoWay { .. } => {
            "a firewall, a VPN or a wrong address: ask whoever runs the network between".to_owned()
        }
        Problem::Denied(why) => security::advice(why).to_owned(),
        Problem::NotKafka(_) => {
            "is this the port of a Kafka listener? Port and protocol stand in the broker's setting \
                                 `listeners`"
                .to_owned()
        }
        Problem::Versions(_) => "a broker from 1.0 on is needed; is there a proxy between that speaks less?".to_owned(),
        Problem::Advertised { broker, advertised, given, why } => advertised_advice(*broker, advertised, given, why),
        Problem::OtherCluster { .. } => "two clusters use one address; look at advertised.listeners of both".to_owned(),
        Problem::Leaderless(_) => {
            "are all brokers up? `kafkalab topics describe TOPIC` names the replicas of each partition".to_owned()
        }
        Problem::NothingAllowed(_) => "have the user allowed READ and WRITE (kafka-acls.sh --add --allow-principal \
                                       User:NAME --operation Read --operation Write --topic NAME)"
            .to_owned(),
        Problem::Clock { .. } => {
            "set both by NTP (`timedatectl` tells of this machine's). Records have the time of whoever \
                                  produces them: where to begin (-o @-1h), retention and lag in time go by it"
                .to_owned()
        }
        Problem::Broker { layer: Layer::Coordinator, .. } => {
            "is the user allowed DESCRIBE on groups? Are the brokers up that hold __consumer_offsets (`kafkalab topics \
             describe __consumer_offsets`)?"
                .to_owned()
        }
        Problem::Broker { layer: Layer::Cluster, .. } => {
            "it lets one in and does not answer what it is for: is it a Kafka broker, and is it up already?".to_owned()
        }
        Problem::Broker { .. } | Problem::Silent(_) => {
            "once more, with more time (-X connect_timeout=20s); the broker's own log says more".to_owned()
        }
        Problem::Store(_) => "another store: --store sqlite:PATH, KAFKALAB_STORE, or the setting `store`".to_owned(),
        Problem::Folder { .. } => "make it writable, free some space, or name another store: --store sqlite:PATH, \
                                   KAFKALAB_STORE, or the setting `store`"
            .to_owned(),
    }
}

/// The most asked question in the field.
fn advertised_advice(broker: i32, advertised: &Address, given: &Address, why: &Problem) -> String {
    let set = format!(
        "clients go where a broker says that it is, not where they found it. Set advertised.listeners of broker {broker} \
         (Docker: KAFKA_ADVERTISED_LISTENERS) to an address that is reached from here, such as {given}, and restart it"
    );
    let is_here = ["localhost", "127.0.0.1", "::1", "0.0.0.0"].contains(&advertised.host.as_str());
    match why {
        _ if is_here && !["localhost", "127.0.0.1", "::1"].contains(&given.host.as_str()) => {
            format!("from here {} is this machine. {set}", advertised.host)
        }
        Problem::Unresolved { host, .. } if !host.contains('.') => {
            format!("{host:?} may be the name of a container, which only other containers know. {set}")
        }
        Problem::Denied(why) => security::advice(why).to_owned(),
        _ => set,
    }
}
