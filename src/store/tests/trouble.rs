//! Files, disks, locks and servers that are not as they should be.

use std::{os::unix::fs::PermissionsExt, path::Path};

use super::*;
use crate::patterns::event_sourcing::ExpectedVersion::*;
use crate::store::sql::{Access, Database};

on_both!(a_newer_schema_is_refused_and_left_as_it_is, tables_of_somebody_else_are_left_as_they_are);

const LAST_STEP: &str = "SELECT cast(count(*) AS bigint), cast(max(version) AS bigint) FROM refinery_schema_history";

#[track_caller]
fn failed(outcome: Result<Store, StoreError>) -> StoreError {
    outcome.map(|store| store.id()).expect_err("it opens")
}

async fn a_newer_schema_is_refused_and_left_as_it_is(place: &Place) {
    let store = place.open().await;
    store.append("s", NoStream, events(1)).await.unwrap();
    let last_step = async || {
        let step = store.database().row(Access::Read, LAST_STEP, []).await.unwrap().unwrap();
        (step.int(0).unwrap(), step.int(1).unwrap())
    };
    let (steps, last) = last_step().await;
    let newer = "INSERT INTO refinery_schema_history SELECT 98 + version, name, applied_on, checksum
                 FROM refinery_schema_history WHERE version = 1
                 UNION ALL SELECT 57, 'before', max(applied_on), '1' FROM refinery_schema_history RETURNING cast(name AS text)";
    store.database().rows(Access::Write, newer, []).await.unwrap();
    let refused = failed(Store::open(&place.url()).await);
    assert!(matches!(refused, StoreError::NewerSchema { found: 99, known, .. } if known == last), "{refused:?}");
    assert!(refused.to_string().contains("Use the newer kafkalab, or name another store"), "{refused}");
    assert_eq!(last_step().await, (steps + 2, 99));
    assert_eq!(checked_log(&store).await.len(), 1);
}

async fn tables_of_somebody_else_are_left_as_they_are(place: &Place) {
    let theirs = "CREATE TABLE events (mine text); INSERT INTO events VALUES ('mine')";
    match place {
        Place::Folder(_) => {
            rusqlite::Connection::open(place.url().path().unwrap()).unwrap().execute_batch(theirs).unwrap()
        }
        Place::Schema { .. } => place.client().await.batch_execute(theirs).await.unwrap(),
    }
    let refused = failed(Store::open(&place.url()).await);
    assert!(matches!(refused, StoreError::ForeignSchema { .. }), "{refused:?}");
    assert!(refused.to_string().contains("already exists"), "{refused}");
}

// --- SQLite -------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_folder_that_is_not_there_is_made() {
    let place = Place::sqlite();
    let Place::Folder(folder) = &place else { unreachable!() };
    Store::open(&StoreUrl::sqlite(folder.join("a/b/store.db"))).await.unwrap();
    std::fs::write(folder.join("file"), "").unwrap();
    let refused = failed(Store::open(&StoreUrl::sqlite(folder.join("file/b/store.db"))).await);
    assert!(matches!(refused, StoreError::NoFolder { .. }), "{refused:?}");
    let refused = failed(Store::open(&StoreUrl::sqlite(folder.join("a"))).await);
    assert!(matches!(refused, StoreError::CannotOpen { .. }), "{refused:?}");
    for path in ["file/b/store.db", "a"] {
        let refused = failed(Store::open(&StoreUrl::sqlite(folder.join(path))).await).to_string();
        assert!(refused.contains(&folder.join(path).display().to_string()), "{refused}");
    }
}

/// Nobody has the store open any more, and all of it is in its file.
///
/// Of two connections that close in the same moment neither is the last one, and SQLite's log stays: another one clears it up.
async fn end_of_writer(file: &Path) {
    let log = file.with_extension("db-wal");
    let look =
        |file: rusqlite::Connection| file.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0));
    until("end of the writer", async || {
        let _ = rusqlite::Connection::open(file).and_then(look);
        (!log.exists()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_file_or_a_folder_that_can_only_be_read_is_told() {
    if let Some(url) = in_child() {
        println!("said {}", failed(Store::open(&url.parse().unwrap()).await));
        return;
    }
    let place = Place::sqlite();
    let Place::Folder(folder) = &place else { unreachable!() };
    let file = folder.join("store.db");
    place.open().await.append("s", NoStream, events(1)).await.unwrap();
    end_of_writer(&file).await;
    // root may write everything, unless it gives up what makes it root
    let wrap: &[&str] = if rustix::process::getuid().is_root() { &["setpriv", "--bounding-set=-all"] } else { &[] };
    let mode = |path, bits| std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
    for (file_bits, folder_bits, url, words) in [
        (0o444, 0o755, place.text(), "can only be read"),
        (0o444, 0o555, place.text(), "can only be read"),
        (0o644, 0o555, place.text(), "can only be read"),
        (0o000, 0o755, place.text(), "cannot be opened"),
        (0o644, 0o555, format!("sqlite:{}", folder.join("new.db").display()), "cannot be opened"),
        (0o644, 0o555, format!("sqlite:{}", folder.join("new/store.db").display()), "cannot be made"),
    ] {
        mode(&file, file_bits);
        mode(folder, folder_bits);
        let said = child(&url, wrap).output().unwrap();
        mode(folder, 0o755);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(
            said.contains("said ") && said.contains(words) && said.contains(&url),
            "{file_bits:o} {folder_bits:o}: {said}"
        );
    }
    mode(&file, 0o644);
    assert_eq!(checked_log(&place.open().await).await.len(), 1);
}

#[tokio::test]
async fn a_full_disk_fails_the_append_and_leaves_nothing_of_it() {
    let place = Place::sqlite();
    let store = place.open().await;
    store.append("s", NoStream, events(1)).await.unwrap();
    let Database::Sqlite(database) = store.database() else { unreachable!() };
    let limit = |pages: i64| {
        let set = move |connection: &rusqlite::Connection| {
            connection.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0)).unwrap();
            Ok(())
        };
        database.write(1, set, || ())
    };
    let pages = database.write(
        1,
        |connection| Ok(connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap()),
        || (),
    );
    // refused within a transaction: so outside, by way of the same connection
    limit(pages.await.unwrap()).await.unwrap();
    let many = (0..50).map(|_| event(vec![1; 1000])).collect();
    let refused = store.append("s", Exact(1), many).await;
    assert!(matches!(refused, Err(AppendError::Store(StoreError::DiskFull { .. }))), "{refused:?}");
    assert_eq!(checked_log(&store).await.len(), 1);
    limit(1 << 30).await.unwrap();
    store.append("s", Exact(1), events(1)).await.unwrap();
    assert_eq!(checked_log(&store).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_another_process_keeps_is_told_and_readers_go_on() {
    let place = Place::sqlite();
    let options = StoreOptions { lock_wait: Duration::from_millis(100), ..StoreOptions::default() };
    let store = Store::open_with(&place.url(), options.clone()).await.unwrap();
    store.append("s", NoStream, events(1)).await.unwrap();
    let other = rusqlite::Connection::open(place.url().path().unwrap()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = store.append("s", Exact(1), events(1)).await;
    assert!(matches!(refused, Err(AppendError::Store(StoreError::Locked { .. }))), "{refused:?}");
    // who comes to read waits for nobody
    assert_eq!(checked_log(&Store::open_with(&place.url(), options).await.unwrap()).await.len(), 1);
    other.execute_batch("ROLLBACK").unwrap();
    store.append("s", Exact(1), events(1)).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_store_or_is_damaged_is_told() {
    let place = Place::sqlite();
    let file = place.url().path().unwrap().to_owned();
    std::fs::write(&file, "Dear diary, ".repeat(1000)).unwrap();
    let refused = failed(Store::open(&place.url()).await);
    assert!(matches!(refused, StoreError::Damaged { .. }), "{refused:?}");
    assert_eq!(std::fs::read(&file).unwrap(), "Dear diary, ".repeat(1000).as_bytes());

    let place = Place::sqlite();
    let file = place.url().path().unwrap().to_owned();
    place.open().await.append("s", NoStream, (0..500).map(|_| event(vec![1; 500])).collect()).await.unwrap();
    end_of_writer(&file).await;
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[40_000..200_000].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    let read = async {
        let store = Store::open(&place.url()).await?;
        let mut pages = store.all_pages(0);
        while !pages.next().await?.is_empty() {}
        Ok(())
    };
    let refused: Result<(), StoreError> = read.await;
    assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
}

// --- PostgreSQL ---------------------------------------------------------------------------------------------------------

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_login_that_is_refused_is_told_without_the_password() {
    let place = Place::postgres().await;
    let right = place.text();
    let (before, rest) = right.split_once("kafkalab:kafkalab@").expect("the server of dev/postgres");
    let (host, after) = rest.split_once("/kafkalab").unwrap();
    for (url, words) in [
        (format!("{before}kafkalab:canary@{host}/kafkalab{after}"), "refuses the login"),
        (format!("{before}nobody:canary@{host}/kafkalab{after}"), "refuses the login"),
        (format!("{before}kafkalab@{host}/kafkalab{after}"), "refuses the login"),
        (format!("{before}kafkalab:kafkalab@{host}/none"), "refuses the login"),
        (format!("{before}kafkalab:canary@127.0.0.1:1/kafkalab"), "no PostgreSQL answers"),
        (format!("{before}kafkalab:canary@no-such-host.invalid/kafkalab"), "no PostgreSQL answers"),
    ] {
        let url: StoreUrl = url.parse().unwrap();
        let refused = failed(Store::open(&url).await);
        let said = format!("{refused} {refused:?} {url:?}");
        assert!(said.contains(words) && said.contains(&url.to_string()) && !said.contains("canary"), "{said}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_server_whose_disk_is_full_fails_the_append_and_leaves_nothing_of_it() {
    let place = Place::postgres().await;
    let store = place.open().await;
    let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
                END $$;
                CREATE TRIGGER full_disk BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.version = 3)
                    EXECUTE FUNCTION full_disk()";
    let client = place.client().await;
    client.batch_execute(full).await.unwrap();
    let refused = store.append("s", NoStream, events(4)).await;
    assert!(matches!(refused, Err(AppendError::Store(StoreError::DiskFull { .. }))), "{refused:?}");
    assert_eq!(checked_log(&store).await, []);
    client.batch_execute("DROP TRIGGER full_disk ON events").await.unwrap();
    store.append("s", NoStream, events(4)).await.unwrap();
}

/// A server of the test's own, since it is stopped and killed.
struct Server(PathBuf);

impl Server {
    fn run(&self, command: &str) -> String {
        let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("dev/postgres/postgres.sh");
        let output = Command::new(script).arg(command).arg("--dir").arg(&self.0).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("dev/postgres/postgres.sh");
        let _ = Command::new(script).args(["stop", "--purge", "--dir"]).arg(&self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_server_that_is_restarted_or_killed_loses_nothing_that_was_answered_and_doubles_nothing() {
    drop(Place::postgres().await); // fails where none was asked for
    let server = Server(std::env::temp_dir().join(format!("kafkalab-store-{}", Uuid::new_v4().simple())));
    let url: StoreUrl = server.run("start").parse().unwrap();
    let options = StoreOptions { retry_for: Duration::from_secs(60), ..StoreOptions::default() };
    let store = Store::open_with(&url, options).await.unwrap();
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let appender = |task: usize| {
        let (store, done) = (store.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut made = Vec::new();
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                let event = event("x");
                let id = event.id;
                let appended = store.append(&format!("s{}", task % 5), Any, vec![event]).await.unwrap();
                assert!(!appended.duplicate);
                made.push((id, appended.last_position));
            }
            made
        })
    };
    let appenders: Vec<_> = (0..8).map(appender).collect();
    for commands in [["restart", "restart"], ["kill", "restart"], ["kill", "restart"]] {
        let head = store.head().await.unwrap();
        until("more events", async || (store.head().await.unwrap() > head + 100).then_some(())).await;
        for command in commands {
            server.run(command);
        }
    }
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut made = Vec::new();
    for appender in appenders {
        made.extend(appender.await.unwrap());
    }
    let log = checked_log(&store).await;
    assert_eq!(log.len(), made.len(), "each append was answered, so nothing else is there");
    for (id, position) in made {
        assert_eq!(log[position as usize - 1].id, id);
    }
    server.run("kill");
    let gone = Store::open(&url).await;
    assert!(matches!(failed(gone), StoreError::Unreachable { .. }));
}
