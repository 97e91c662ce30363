//! The guarded door: TLS and SASL, on listeners of Apache Kafka and on servers that lie.
//!
//! One broker serves all of these tests. Beside its plain listener, by which the users are made, it has one for each way in
//! and each way to be wrong; [`Listener`] lists them. That a listener is right is shown by somebody else who goes in by it:
//! kcat, and Kafka's own consumer.

pub mod certificates;
mod doctor;
mod folders;
mod refused;
mod scram;
mod secrets;
mod server;
mod sessions;
mod stalls;
mod ways_in;

use std::{path::PathBuf, sync::OnceLock, time::Duration};

use self::certificates::{Authority, Certificate};
use crate::{
    cluster::Kafka,
    harness::{Program, kafkalab, need_kafka, program, topic},
};

/// Ada's password, the same in every mechanism. Nothing may ever print it.
pub const PASSWORD: &str = "canary-Zq7+w/x";
pub const USER: &str = "ada";
/// Another user, with all that SCRAM writes otherwise in names.
pub const ODD_USER: &str = "o=d,d";
/// A user who is taken away, by her own test.
pub const PASSING_USER: &str = "eve";
pub const ODD_PASSWORD: &str = "canary,=2C 3D";

/// The listeners beside the plain one, in the order of their ports.
#[derive(Clone, Copy, Debug)]
pub enum Listener {
    /// TLS; a client certificate is not asked for.
    Tls,
    /// TLS; a client certificate is required.
    Mutual,
    /// SASL within TLS, by all three mechanisms.
    Password,
    /// SASL over plain text, by PLAIN and SCRAM-SHA-256. A session by SCRAM lasts four seconds.
    Open,
    /// TLS with a certificate that has expired.
    Expired,
    /// TLS with a certificate for another host.
    Elsewhere,
}

const LISTENERS: [&str; 6] =
    ["TLS=SSL", "MUTUAL=SSL", "PASSWORD=SASL_SSL", "OPEN=SASL_PLAINTEXT", "EXPIRED=SSL", "ELSEWHERE=SSL"];

/// The broker, and the files for those who want in.
pub struct Door {
    kafka: Kafka,
    folder: PathBuf,
}

impl Door {
    /// Started once; it ends with the tests.
    pub fn get() -> &'static Self {
        static DOOR: OnceLock<Door> = OnceLock::new();
        need_kafka();
        DOOR.get_or_init(Self::start)
    }

    fn start() -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(topic("door"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = |name: &str| folder.join(name).display().to_string();
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("a file");
        let (authority, stranger) = (Authority::new("lab"), Authority::new("stranger"));
        let server = authority.issue(Certificate::Server(&["localhost", "127.0.0.1", "::1"]));
        let (expired, elsewhere) =
            (authority.issue(Certificate::Expired), authority.issue(Certificate::Server(&["kafka.example"])));
        for (name, (cert, key)) in [("server", server), ("expired", expired), ("elsewhere", elsewhere)] {
            write(&format!("{name}.pem"), key + &cert);
        }
        for (name, (cert, key)) in
            [("client", authority.issue(Certificate::Client)), ("foreign", stranger.issue(Certificate::Client))]
        {
            write(&format!("{name}.crt"), cert);
            write(&format!("{name}.key"), key);
        }
        write("ca.pem", authority.pem());
        write("stranger.pem", stranger.pem());
        write("both.pem", stranger.pem() + "some words\n" + &authority.pem());

        let keystore = |listener: &str, file: &str| {
            let name = format!("listener.name.{listener}.ssl");
            [
                format!("{name}.keystore.type=PEM"),
                format!("{name}.keystore.location={}", path(file)),
                format!("{name}.truststore.type=PEM"),
                format!("{name}.truststore.location={}", path("ca.pem")),
            ]
        };
        let mut settings: Vec<String> = [
            keystore("tls", "server.pem"),
            keystore("mutual", "server.pem"),
            keystore("password", "server.pem"),
            keystore("expired", "expired.pem"),
            keystore("elsewhere", "elsewhere.pem"),
        ]
        .concat();
        settings.push("listener.name.mutual.ssl.client.auth=required".to_owned());
        for (listener, mechanisms) in
            [("password", &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"][..]), ("open", &["PLAIN", "SCRAM-SHA-256"])]
        {
            let name = format!("listener.name.{listener}");
            settings.push(format!("{name}.sasl.enabled.mechanisms={}", mechanisms.join(",")));
            let security = "org.apache.kafka.common.security";
            for mechanism in mechanisms {
                let module = match *mechanism {
                    "PLAIN" => format!("{security}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\""),
                    _ => format!("{security}.scram.ScramLoginModule required"),
                };
                settings.push(format!("{name}.{}.sasl.jaas.config={module};", mechanism.to_lowercase()));
            }
        }
        settings.push("listener.name.open.scram-sha-256.connections.max.reauth.ms=4000".to_owned());
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let kafka = Kafka::with_listeners(&LISTENERS, &settings);
        let door = Self { kafka, folder };
        door.make_users();
        door
    }

    /// By Kafka's own tool.
    fn make_users(&self) {
        let make = |user: &str, mechanism: &str, iterations: u32, password: &str| {
            let credential = format!("{mechanism}=[iterations={iterations},password={password}]");
            self.alter_user(user, &["--add-config", &credential]);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| make(USER, "SCRAM-SHA-256", 4096, PASSWORD));
            scope.spawn(|| make(USER, "SCRAM-SHA-512", 4096, PASSWORD));
            scope.spawn(|| make(ODD_USER, "SCRAM-SHA-512", 16384, ODD_PASSWORD));
            scope.spawn(|| make(PASSING_USER, "SCRAM-SHA-256", 4096, PASSWORD));
        });
    }

    pub fn alter_user(&self, user: &str, change: &[&str]) {
        program("bash", ["dev/kafka/kafka.sh", "tool", "kafka.admin.ConfigCommand"])
            .arguments(["--bootstrap-server", &self.kafka.brokers])
            .arguments(["--alter", "--entity-type", "users", "--entity-name", user])
            .arguments(change)
            .run()
            .ok();
    }

    pub fn address(&self, listener: Listener) -> String {
        format!("127.0.0.1:{}", self.kafka.listener(listener as u16))
    }

    pub fn plain_address(&self) -> &str {
        &self.kafka.brokers
    }

    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// `kafkalab ARGUMENTS` at this listener with these settings; `{}` in one is the folder of the certificates.
    pub fn kafkalab(&self, listener: Listener, settings: &[&str], arguments: &[&str]) -> Program {
        self.kafkalab_at(&self.address(listener), settings, arguments)
    }

    pub fn kafkalab_at(&self, address: &str, settings: &[&str], arguments: &[&str]) -> Program {
        let folder = self.folder.display().to_string();
        let settings = settings.iter().flat_map(|text| ["-X".to_owned(), text.replace("{}", &folder)]);
        let program = kafkalab(arguments.iter().map(|text| (*text).to_owned()).chain(settings));
        program.env("KAFKALAB_BROKERS", address).deadline(Duration::from_secs(30))
    }

    /// `kcat ARGUMENTS` at this listener with these of librdkafka's settings.
    pub fn kcat(&self, listener: Listener, settings: &[&str], arguments: &[&str]) -> Program {
        let folder = self.folder.display().to_string();
        let settings = settings.iter().flat_map(|text| ["-X".to_owned(), text.replace("{}", &folder)]);
        program("kcat", ["-b", &self.address(listener)])
            .arguments(settings)
            .arguments(arguments)
            .deadline(Duration::from_secs(30))
    }
}
