//! A `kafkalab.toml` in somebody else's folder does not get the user's password for its brokers.

use std::os::unix::fs::PermissionsExt;

use super::{
    PASSWORD,
    server::{Reply, broker},
};
use crate::{
    bytes::files::Folder,
    harness::{Ended, kafkalab},
};

/// A home with a password in its `config.toml`, and a folder that one happens to be in.
struct Place {
    home: Folder,
    here: Folder,
}

impl Place {
    fn new(here: &str) -> Self {
        let (home, folder) = (Folder::new("home"), Folder::new("here"));
        let own = home.0.join(".config/kafkalab");
        std::fs::create_dir_all(&own).expect("a folder");
        let place = Self { home, here: folder };
        place.secret(&own.join("password"), &format!("{PASSWORD}\n"));
        place.secret(
            &own.join("config.toml"),
            &format!(
                "[sasl]\nmechanism = 'PLAIN'\nusername = 'ada'\npassword = '{PASSWORD}'\nplain_without_tls = true\n\
                 [profiles.lab]\nclient_id = 'lab'\n"
            ),
        );
        place.here.file("kafkalab.toml", here.as_bytes());
        place
    }

    fn secret(&self, path: &std::path::Path, text: &str) {
        std::fs::write(path, text).expect("a file");
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("a mode");
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        let program = kafkalab(["topics", "list"]).arguments(arguments).in_folder(&self.here.0);
        let program = program.env("HOME", &self.home.0.display().to_string()).env_remove("KAFKALAB_BROKERS");
        environment.iter().fold(program, |program, (name, value)| program.env(name, value)).run()
    }
}

/// A broker that lets in whoever has the password.
fn door() -> String {
    broker("PLAIN", || {
        |round, message: &[u8]| match round {
            0 => Reply::Says(Vec::new()),
            _ if message == format!("\0ada\0{PASSWORD}").as_bytes() => Reply::Says(Vec::new()),
            _ => Reply::Refuses("another password".to_owned()),
        }
    })
}

#[test]
fn brokers_that_only_the_folder_names_do_not_get_the_users_password() {
    let place = Place::new("brokers = 'localhost:1'\n");
    let ended = place.run(&[], &[]);
    let (own, folder) =
        (place.home.0.join(".config/kafkalab/config.toml"), place.here.0.canonicalize().expect("a folder"));
    let said = format!(
        "error: the password is yours ({}), and `brokers` comes from {}/kafkalab.toml, which may be somebody else's file: \
         it is not sent there. To send it, name the brokers with --brokers or KAFKALAB_BROKERS (and `brokers` with -X), \
         or put both into one file\n",
        own.display(),
        folder.display()
    );
    assert_eq!((ended.code(), ended.stderr), (2, said));
    // nor in a profile, which may be spread over both files
    let place = Place::new("[profiles.lab]\nbrokers = 'localhost:1'\n");
    let ended = place.run(&["--profile", "lab"], &[]);
    assert_eq!(ended.code(), 2, "{ended:?}");
    assert!(ended.stderr.contains("the password is yours"), "{ended:?}");
}

#[test]
fn nor_do_the_users_brokers_by_a_way_that_the_folder_made_unsafe() {
    for weakened in ["tls.insecure_skip_verify = true", "tls.enabled = false", "sasl.mechanism = 'PLAIN'"] {
        let ended = Place::new(weakened).run(&["-b", "localhost:1"], &[]);
        assert_eq!(ended.code(), 2, "{weakened}: {ended:?}");
        assert!(ended.stderr.contains("the password is yours"), "{weakened}: {ended:?}");
    }
}

#[test]
fn the_folder_cannot_point_at_the_users_password_file() {
    let place = Place::new("brokers = 'localhost:1'\nsasl.password_file = '~/.config/kafkalab/password'\n");
    let ended = place.run(&[], &[]);
    assert_eq!(ended.code(), 2, "{ended:?}");
    assert!(ended.stderr.contains("is outside of its folder"), "{ended:?}");
    // nor by a link
    let place = Place::new("brokers = 'localhost:1'\nsasl.password_file = 'pw'\n");
    let link = std::os::unix::fs::symlink(place.home.0.join(".config/kafkalab/password"), place.here.0.join("pw"));
    link.expect("a link");
    let ended = place.run(&[], &[]);
    assert_eq!(ended.code(), 2, "{ended:?}");
    assert!(ended.stderr.contains("is outside of its folder"), "{ended:?}");
}

#[test]
fn who_names_the_brokers_or_gives_the_password_for_this_run_gets_in() {
    let door = door();
    let place = Place::new("brokers = 'localhost:1'\n");
    place.run(&["-b", &door], &[]).ok();
    place.run(&[], &[("KAFKALAB_BROKERS", &door)]).ok();
    let place = Place::new(&format!("brokers = '{door}'\n"));
    place.run(&[], &[("KAFKALAB_SASL_PASSWORD", PASSWORD)]).ok();
    let own = place.home.0.join(".config/kafkalab/password");
    place.run(&["-X", &format!("sasl.password_file={}", own.display())], &[]).ok();
}

#[test]
fn the_embedded_broker_around_a_command_asks_for_nothing_of_that() {
    let place = Place::new("tls.ca = 'none.pem'\nsasl.mechanism = 'SCRAM-SHA-256'\n");
    let program = kafkalab(["broker", "--", "kafkalab", "topics", "list"]).in_folder(&place.here.0);
    program.env("HOME", &place.home.0.display().to_string()).run().ok();
    let elsewhere = place.run(&["-b", "localhost:1", "-X", "tls.enabled=false", "-X", "sasl.mechanism=none"], &[]);
    assert_eq!(elsewhere.code(), 3, "{elsewhere:?}");
}

#[test]
fn a_folder_with_a_password_of_its_own_gets_in() {
    let door = door();
    let place = Place::new(&format!("brokers = '{door}'\nsasl.password_file = 'pw'\n"));
    place.secret(&place.here.0.join("pw"), PASSWORD);
    place.run(&[], &[]).ok();
}
