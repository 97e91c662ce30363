use super::*;

/// A home and a current folder of the test's own, removed with it.
struct Place {
    root: PathBuf,
}

impl Place {
    fn new() -> Self {
        let root = std::env::temp_dir().join(format!("kafkalab-config-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(root.join("here")).unwrap();
        std::fs::create_dir_all(root.join("home/.config/kafkalab")).unwrap();
        Self { root }
    }

    /// `./kafkalab.toml`
    fn here(self, text: &str) -> Self {
        self.file("here/kafkalab.toml", text)
    }

    /// `~/.config/kafkalab/config.toml`
    fn user(self, text: &str) -> Self {
        self.file("home/.config/kafkalab/config.toml", text)
    }

    fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.root.join(name), text).unwrap();
        self.mode(name, 0o644)
    }

    #[cfg(unix)]
    fn mode(self, name: &str, mode: u32) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(self.root.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn load(&self, flags: &Flags, env: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let lookup = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string());
        let (here, home) = (self.root.join("here"), self.root.join("home"));
        Settings::load(flags, lookup, Folders { current: &here, home: Some(&home) })
    }

    fn settings(&self) -> Settings {
        self.load(&Flags::default(), &[]).unwrap()
    }

    fn refusal(&self) -> String {
        self.load(&Flags::default(), &[]).unwrap_err().to_string()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn set(pairs: &[&str]) -> Flags {
    Flags { set: pairs.iter().map(|pair| pair.to_string()).collect(), ..Flags::default() }
}

#[test]
fn without_anything_the_defaults_hold_and_no_broker_is_named() {
    let settings = Place::new().settings();
    assert_eq!(settings.brokers.value, ["localhost:9092"]);
    assert!(!settings.brokers_are_named());
    assert_eq!(settings.connect_timeout.value, Duration::from_secs(5));
    assert!(settings.rows().iter().all(|row| row.source == Source::Default));
    assert!(settings.warnings.is_empty() && settings.profile.is_none());
}

#[test]
fn the_stronger_place_wins_and_is_named() {
    let place = Place::new().here("brokers = 'here:1'").user("brokers = ['user:1', 'user:2']");
    let flags = Flags { brokers: vec!["flag:1,flag:2".to_owned(), "flag:3".to_owned()], ..set(&["brokers=x:1"]) };
    let all = [("RPK_BROKERS", "rpk:1"), ("KAFKA_BROKERS", "kafka:1"), ("KAFKALAB_BROKERS", "own:1")];
    for (flags, env, brokers, source) in [
        (flags, &all[..], "flag:1,flag:2,flag:3", "flag --brokers"),
        (set(&["brokers=x:1", "brokers=y:1"]), &all[..], "y:1", "flag -X brokers"),
        (Flags::default(), &all[..], "own:1", "environment KAFKALAB_BROKERS"),
        (Flags::default(), &all[..2], "kafka:1", "environment KAFKA_BROKERS"),
        (Flags::default(), &all[..1], "rpk:1", "environment RPK_BROKERS"),
        (Flags::default(), &[("KAFKALAB_BROKERS", "")][..], "here:1", "here/kafkalab.toml"),
    ] {
        let settings = place.load(&flags, env).unwrap();
        assert_eq!(settings.brokers.value.join(","), brokers);
        assert!(settings.brokers.source.to_string().ends_with(source), "{}", settings.brokers.source);
        assert!(settings.brokers_are_named());
    }
    let user = Place::new().user("brokers = ['user:1', 'user:2']").settings();
    assert_eq!(user.brokers.value, ["user:1", "user:2"]);
    assert!(user.brokers.source.to_string().ends_with("home/.config/kafkalab/config.toml"));
}

#[test]
fn the_users_file_is_where_xdg_says() {
    let place = Place::new().user("brokers = 'user:1'");
    std::fs::create_dir_all(place.root.join("xdg/kafkalab")).unwrap();
    std::fs::write(place.root.join("xdg/kafkalab/config.toml"), "brokers = 'xdg:1'").unwrap();
    let xdg = place.root.join("xdg").display().to_string();
    assert_eq!(place.load(&Flags::default(), &[("XDG_CONFIG_HOME", &xdg)]).unwrap().brokers.value, ["xdg:1"]);
    // The specification has relative paths ignored.
    assert_eq!(place.load(&Flags::default(), &[("XDG_CONFIG_HOME", "xdg")]).unwrap().brokers.value, ["user:1"]);
}

const PROFILES: &str = "
brokers = 'user:1'
client_id = 'user'
[profiles.lab]
brokers = 'lab:1'
[profiles.prod]
brokers = 'prod:1'
";

#[test]
fn a_profile_stands_before_the_place_that_chose_it() {
    let brokers = |place: &Place, flags: &Flags, env: &[(&str, &str)]| {
        let settings = place.load(flags, env).unwrap();
        (settings.brokers.value.join(","), settings.client_id.value)
    };
    let by_flag = Flags { profile: Some("lab".to_owned()), ..Flags::default() };
    let by_env = [("KAFKALAB_PROFILE", "prod")];
    let place = Place::new().here("brokers = 'here:1'").user(PROFILES);
    assert_eq!(brokers(&place, &Flags::default(), &[]), ("here:1".to_owned(), "user".to_owned()));
    assert_eq!(brokers(&place, &by_flag, &by_env), ("lab:1".to_owned(), "user".to_owned()));
    assert_eq!(brokers(&place, &Flags::default(), &by_env).0, "prod:1");
    assert_eq!(brokers(&place, &by_flag, &[("KAFKALAB_BROKERS", "env:1")]).0, "env:1");

    let chosen_by_user = Place::new().here("brokers = 'here:1'").user(&format!("profile = 'lab'\n{PROFILES}"));
    assert_eq!(brokers(&chosen_by_user, &Flags::default(), &[]).0, "here:1");
    let chosen_here = Place::new().here("profile = 'prod'\nbrokers = 'here:1'").user(PROFILES);
    assert_eq!(brokers(&chosen_here, &Flags::default(), &[]).0, "prod:1");
    let source = chosen_here.settings().brokers.source.to_string();
    assert!(source.ends_with("config.toml [profiles.prod]"), "{source}");
    assert_eq!(chosen_here.settings().profile.unwrap().value, "prod");
}

#[test]
fn a_profile_that_is_not_there_is_refused_with_those_that_are() {
    let unknown = Flags { profile: Some("nope".to_owned()), ..Flags::default() };
    let said = Place::new().user(PROFILES).load(&unknown, &[]).unwrap_err().to_string();
    assert!(said.contains("`nope` (flag --profile)") && said.contains("lab, prod"), "{said}");
    let said = Place::new().load(&unknown, &[]).unwrap_err().to_string();
    assert!(said.contains("none is defined in") && said.contains("kafkalab.toml"), "{said}");
}

#[test]
fn unknown_keys_are_warned_of_wherever_they_stand() {
    let place =
        Place::new().here("broker = 'x'\n[tls]\nca = 'ca.pem'\nkeyy = 'k'\n[profiles.a]\nsasl.user = 'u'\n[logs]\na=1");
    let warned: Vec<String> = place.settings().warnings.into_iter().map(|warning| warning.key).collect();
    for key in ["broker", "tls.keyy", "logs", "profiles.a.sasl.user"] {
        assert!(warned.contains(&key.to_owned()), "{warned:?}");
    }
    assert_eq!(warned.len(), 4);
}

#[test]
fn tables_and_dotted_keys_are_one_and_paths_begin_at_their_file() {
    let text = "[tls]\nca = 'ca.pem'\ncert = '~/c.pem'\nkey = '/etc/k.pem'\n[sasl]\nmechanism = 'SCRAM-SHA-512'";
    let place = Place::new().user(text);
    let settings = place.settings();
    assert_eq!(settings.tls.ca.value, Some(place.root.join("home/.config/kafkalab/ca.pem")));
    assert_eq!(settings.tls.cert.value, Some(place.root.join("home/c.pem")));
    assert_eq!(settings.tls.key.value, Some(PathBuf::from("/etc/k.pem")));
    assert_eq!(settings.sasl.mechanism.value.as_deref(), Some("SCRAM-SHA-512"));
    assert!(settings.tls.enabled.value && settings.tls.enabled.source == Source::Default);
    let off = place.load(&set(&["tls.enabled=false", "tls.ca=x.pem"]), &[]).unwrap();
    assert!(!off.tls.enabled.value);
    assert_eq!(off.tls.ca.value, Some(place.root.join("here/x.pem")));
}

#[test]
fn a_value_that_cannot_be_is_refused_with_its_place() {
    for (text, said) in [
        ("brokers = 5", "`brokers` must be addresses"),
        ("brokers = []", "`brokers` must be addresses"),
        ("brokers = 'kafka:abc'", "`abc` is not a port"),
        ("tls.enabled = 'yes'", "`tls.enabled` must be true or false"),
        ("client_id = 5", "`client_id` must be text"),
        ("connect_timeout = '5'", "write 500ms, 5s or 2m"),
        ("connect_timeout = '0s'", "between 1ms and a day"),
        ("request_timeout = '99999999999999999999s'", "is not a time"),
        ("request_timeout = '9999999999999999999s'", "between 1ms and a day"),
        ("profile = 5", "`profile` must be"),
        ("profiles = 5", "`profiles` must be"),
        ("profiles.a = 5", "`profiles.a` must be"),
        ("[profiles.a]\nbrokers = 1", "`profiles.a.brokers` must be"),
        ("\n\nbrokers = ", "kafkalab.toml, line 3"),
    ] {
        let refusal = Place::new().here(text).refusal();
        assert!(refusal.contains("kafkalab.toml") && refusal.contains(said), "{text}: {refusal}");
    }
    let error = |flags: &Flags| Place::new().load(flags, &[]).unwrap_err().to_string();
    assert!(error(&set(&["brokers=a:0"])).starts_with("flag -X brokers: `brokers`: `a:0`"));
    assert!(error(&set(&["nonsense=1"])).contains("unknown key"));
    assert!(error(&set(&["tls.ca"])).contains("write key=value"));
}

#[test]
fn addresses_get_their_port_and_mistakes_are_explained() {
    for (text, brokers) in [
        ("kafka", &["kafka:9092"][..]),
        ("a:1, b:65535", &["a:1", "b:65535"][..]),
        ("[::1]:9093", &["[::1]:9093"][..]),
        ("[::1]", &["[::1]:9092"][..]),
        ("127.0.0.1:9092", &["127.0.0.1:9092"][..]),
    ] {
        assert_eq!(value::brokers(text).unwrap(), brokers, "{text}");
    }
    for (text, said) in [
        ("", "empty"),
        ("a:1,", "empty"),
        ("a:", "not a port"),
        ("a:+1", "not a port"),
        ("a:65536", "not a port"),
        (":9092", "no host"),
        ("::1", "brackets"),
        ("[::1", "not an address"),
        ("[::1]x", "not an address"),
        ("PLAINTEXT://a:9092", "no protocol before it; write"),
        ("SSL://a:9093", "tls.enabled=true switches TLS on"),
        ("SASL_SSL://a:9093", "sasl.mechanism"),
        ("a b:1", "not an address"),
        ("a\u{1b}:1", "not an address"),
    ] {
        let refusal = value::brokers(text).unwrap_err();
        assert!(refusal.contains(said), "{text}: {refusal}");
    }
}

const CANARY: &str = "hunter2-canary";

#[test]
fn a_password_is_read_and_never_shown() {
    let env = [("KAFKALAB_SASL_PASSWORD", CANARY)];
    let by_env = Place::new().load(&Flags::default(), &env).unwrap();
    assert_eq!(by_env.sasl.password.value.as_ref().unwrap().expose(), CANARY);

    let text = format!("sasl.password = '{CANARY}'");
    let by_config = Place::new().user(&text).mode("home/.config/kafkalab/config.toml", 0o600).settings();
    assert_eq!(by_config.sasl.password.value.as_ref().unwrap().expose(), CANARY);

    let place =
        Place::new().user("sasl.password_file = 'pw'").file("home/.config/kafkalab/pw", &format!("{CANARY}\r\n"));
    let place = place.mode("home/.config/kafkalab/pw", 0o600);
    let by_file = place.settings();
    assert_eq!(by_file.sasl.password.value.as_ref().unwrap().expose(), CANARY);
    assert!(by_file.sasl.password.source.to_string().ends_with("/pw"));
    // What is given with more weight wins, whichever of the two it is.
    assert!(place.load(&Flags::default(), &env).unwrap().sasl.password.source.to_string().contains("KAFKALAB_SASL"));

    for settings in [by_env, by_config, by_file] {
        let shown = format!("{settings:?} {:?}", settings.rows());
        assert!(!shown.contains(CANARY) && shown.contains("(set)"), "{shown}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_with_a_password_that_others_may_read_is_refused_with_the_command_that_mends_it() {
    let config = Place::new().user(&format!("[profiles.x]\nsasl.password = '{CANARY}'"));
    let refusal = config.refusal();
    assert!(refusal.contains("run: chmod 600 /") && refusal.ends_with("config.toml"), "{refusal}");
    assert!(!refusal.contains(CANARY));

    let file = Place::new().user("sasl.password_file = 'my pw'").file("home/.config/kafkalab/my pw", CANARY);
    let refusal = file.mode("home/.config/kafkalab/my pw", 0o640).refusal();
    assert!(refusal.contains("chmod 600 '/") && refusal.ends_with("my pw'"), "{refusal}");
    let missing = Place::new().user("sasl.password_file = 'none'").refusal();
    assert!(missing.contains("cannot read") && missing.contains("none"), "{missing}");
}

#[test]
fn no_error_repeats_a_password() {
    for flags in [
        set(&[&format!("sasl.password={CANARY}")]),
        set(&[&format!("pass={CANARY}")]),
        set(&[&format!("pass:{CANARY}")]),
    ] {
        let said = Place::new().load(&flags, &[]).unwrap_err().to_string();
        assert!(!said.contains(CANARY), "{said}");
    }
    for text in [
        format!("sasl.password = {CANARY}"),
        format!("sasl.password = ['{CANARY}']"),
        format!("sasl.password = '{CANARY}"),
    ] {
        let said = Place::new().user(&text).refusal();
        assert!(!said.contains(CANARY), "{said}");
    }
    let said = Place::new().load(&set(&["pass=x"]), &[]).unwrap_err().to_string();
    assert!(said.contains("KAFKALAB_SASL_PASSWORD"), "{said}");
}

#[test]
fn every_key_is_shown_once_and_can_be_set_by_the_environment() {
    let rows = Place::new().settings().rows();
    assert_eq!(rows.iter().map(|row| row.key).collect::<Vec<_>>(), KEYS.map(|key| key.name));
    let env = [
        ("KAFKALAB_TLS_INSECURE_SKIP_VERIFY", "true"),
        ("KAFKALAB_REQUEST_TIMEOUT", "1500ms"),
        ("KAFKALAB_TOPIC_PREFIX", "me-"),
    ];
    let settings = Place::new().load(&set(&["user=alice"]), &env).unwrap();
    let shown = |key: &str| settings.rows().into_iter().find(|row| row.key == key).unwrap();
    assert_eq!(shown("tls.insecure_skip_verify").value.as_deref(), Some("true"));
    assert_eq!(shown("request_timeout").value.as_deref(), Some("1500ms"));
    assert_eq!(shown("topic_prefix").source.to_string(), "environment KAFKALAB_TOPIC_PREFIX");
    assert_eq!((shown("sasl.username").value.as_deref(), shown("tls.ca").value), (Some("alice"), None));
}
