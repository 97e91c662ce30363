//! Stores that are not as they should be: what is said, and that nothing is half written.

use std::{
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    thread,
    time::{Duration, Instant},
};

use super::{Place, judge::log};
use crate::{
    cli::expect,
    harness::{Ended, Program, kafkalab, program},
};

/// Root may write everything, unless it gives up what makes it root.
fn as_somebody(place: &Place, arguments: &[&str]) -> Program {
    let exe = env!("CARGO_BIN_EXE_kafkalab");
    let shell = if rustix::process::getuid().is_root() {
        program("setpriv", ["--bounding-set=-all", exe])
    } else {
        program(exe, [""; 0])
    };
    shell.arguments(["es"]).arguments(arguments).env("KAFKALAB_STORE", &place.url())
}

#[test]
fn a_store_of_a_newer_schema_is_left_alone() {
    let place = Place::new("newer-schema");
    place.done(&["create", "--price", "USD:9.99", "--order", "o"]);
    let known = place.sql("SELECT max(version) FROM refinery_schema_history")[0][0].clone();
    place.sql(
        "INSERT INTO refinery_schema_history SELECT 99, 'newer', applied_on, checksum FROM refinery_schema_history \
         WHERE version = 1 RETURNING version",
    );
    let said = format!(
        "error: opening the store: {} was made by a newer kafkalab: its schema is version 99, this kafkalab knows \
         versions up to {known}. Use the newer kafkalab, or name another store\n",
        place.shown()
    );
    for command in [&["state", "o"][..], &["pay", "o"], &["create", "--price", "USD:1"], &["publish", "--once"], &[]] {
        expect(place.es(command), 1, "", &said);
    }
    assert_eq!(log(&place).len(), 1);
}

#[test]
fn a_file_that_can_only_be_read_is_told() {
    let place = Place::sqlite("read-only");
    place.done(&["create", "--price", "USD:9.99", "--order", "o"]);
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o444)).expect("its mode");
    let ended = as_somebody(&place, &["pay", "o"]).run();
    let (url, said) = (place.url(), &ended.stderr);
    assert!(said.starts_with("error: ") && said.contains(&format!("{url} can only be read: ")), "{ended:?}");
    assert!(said.ends_with("Allow this user to write the file and its folder, or name another store\n"), "{ended:?}");
    assert_eq!((ended.code(), ended.text(), log(&place).len()), (1, String::new(), 1));
}

#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let place = Place::sqlite("no-folder");
    std::fs::write(place.path(), "a file").expect("a file");
    let inside = format!("sqlite:{}/below/store.db", place.path().display());
    let said = format!(
        "error: opening the store: the folder {0}/below of {inside} cannot be made: Not a directory (os error 20). Make \
         it, or name another path\n",
        place.path().display()
    );
    for command in [&["create", "--price", "USD:1"][..], &["streams"], &["publish", "--once"], &[]] {
        expect(place.es(command).env("KAFKALAB_STORE", &inside), 1, "", &said);
    }
    let ended = place.es(&["streams"]).run();
    let damaged = format!("error: opening the store: {} is damaged, or is no store: ", place.url());
    assert!(ended.code() == 1 && ended.stderr.starts_with(&damaged), "{ended:?}");
    assert_eq!(std::fs::read(place.path()).expect("the file"), b"a file");
}

#[test]
fn a_locked_database_is_waited_for_and_told() {
    let place = Place::sqlite("locked");
    place.done(&["create", "--price", "USD:9.99", "--order", "o"]);
    let other = rusqlite::Connection::open(place.path()).expect("the store's file");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let began = Instant::now();
    let ended = thread::scope(|scope| {
        let locked = scope.spawn(|| place.es(&["pay", "o"]).run());
        // who only looks waits for nobody
        assert_eq!(place.es(&["state", "o", "-q"]).deadline(Duration::from_secs(5)).run().ok().text(), "created\n");
        locked.join().expect("a writer")
    });
    assert!(ended.stderr.contains(&format!("{} is locked by another process: ", place.url())), "{ended:?}");
    assert!(ended.stderr.ends_with("Nothing was written; end that process or try again\n"), "{ended:?}");
    assert_eq!((ended.code(), ended.text()), (1, String::new()));
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    other.execute_batch("ROLLBACK").expect("unlocking");
    place.done(&["pay", "o"]);
    assert_eq!(log(&place).len(), 2);
}

/// With files of at most so many blocks of 512 bytes: a disk that is full, as far as the program sees it.
fn limited(place: &Place, blocks: u64, arguments: &[&str]) -> Ended {
    let script = format!("ulimit -f {blocks}; trap '' XFSZ; exec \"$0\" es \"$@\"");
    let shell = program("sh", ["-c", &script, env!("CARGO_BIN_EXE_kafkalab")]).arguments(arguments);
    shell.env("KAFKALAB_STORE", &place.url()).run()
}

#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let place = Place::sqlite("full");
    place.done(&["create", "--price", "USD:9.99", "--order", "o"]);
    let size = std::fs::metadata(place.path()).expect("the file").len();
    let mut failed = 0;
    for blocks in (0..size / 512 + 40).step_by(8) {
        let order = format!("o{blocks}");
        let before = log(&place).len();
        let ended = limited(&place, blocks, &["create", "--price", "USD:1", "--order", &order, "-q"]);
        let after = log(&place).len();
        if ended.code() == 0 {
            assert_eq!((after, ended.text()), (before + 1, format!("{order}\n")), "{blocks}");
        } else {
            failed += 1;
            let what_to_do = "free some space and try again";
            assert!(ended.code() == 1 && ended.stderr.contains(what_to_do), "{blocks}: {ended:?}");
            assert!(ended.stderr.contains(&place.url()) && ended.stdout.is_empty(), "{blocks}: {ended:?}");
            assert_eq!(after, before, "{blocks}");
        }
    }
    assert!(failed > 3, "no limit was too small");
    place.done(&["pay", "o"]);
    log(&place);
}

#[test]
fn a_postgresql_that_does_not_answer_is_told_without_the_password() {
    let said = "error: opening the store: no PostgreSQL answers at postgres://mia@127.0.0.1:1/lab: error connecting to \
                server: Connection refused (os error 111). Start it, or check host and port\n";
    let url = "postgres://mia:canary@127.0.0.1:1/lab";
    for verbosity in ["-v", "-vv"] {
        let ended = kafkalab(["es", "streams", verbosity]).env("KAFKALAB_STORE", url).env("RUST_LOG", "trace").run();
        assert!(ended.code() == 1 && ended.stderr.ends_with(said), "{ended:?}");
        assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
    }
    expect(kafkalab(["es", "streams", "--store", url]), 1, "", said);
    let shown = kafkalab(["config", "show"]).env("KAFKALAB_STORE", url).run().ok();
    assert!(shown.text().contains("postgres://mia@127.0.0.1:1/lab") && !format!("{shown:?}").contains("canary"));
}

#[test]
fn a_wrong_password_is_told_without_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            let mut buffer = [0; 1024];
            let _ = client.read(&mut buffer); // the startup message
            let _ = client.write_all(b"R\0\0\0\x08\0\0\0\x03"); // AuthenticationCleartextPassword
            let _ = client.read(&mut buffer);
            let fields = b"SFATAL\0C28P01\0Mpassword authentication failed for user \"mia\"\0\0";
            let length = (fields.len() as u32 + 4).to_be_bytes();
            let _ = client.write_all(&[b"E", &length[..], fields].concat());
        }
    });
    let mut servers = vec![(address.to_string(), "mia".to_owned())];
    // and the real one, where the run has one
    if let Some(rest) =
        std::env::var("KAFKALAB_TEST_POSTGRES").ok().and_then(|url| url.split_once("://").map(|it| it.1.to_owned()))
    {
        let (user, host) = rest.rsplit_once('@').expect("a user");
        servers.push((
            host.split('/').next().expect("a host").to_owned(),
            user.split(':').next().expect("a name").to_owned(),
        ));
    }
    for (address, user) in servers {
        let url = format!("postgres://{user}:canary@{address}/lab");
        let ended = kafkalab(["es", "streams", "-vv"]).env("KAFKALAB_STORE", &url).env("RUST_LOG", "trace").run();
        let shown = format!("opening the store: postgres://{user}@{address}/lab refuses the login: ");
        assert!(ended.stderr.contains(&shown), "{ended:?}");
        assert!(ended.stderr.ends_with("Check user, password and database of the store's URL\n"), "{ended:?}");
        assert_eq!((ended.code(), ended.text()), (1, String::new()));
        assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
    }
}
