//! The configuration from outside: which layer wins, what is refused and with which words, and that the sample file and
//! docs/configuration.md say what the code does.

#![expect(clippy::unwrap_used, reason = "in a test it is the failure")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sluice_core::{
    Compression, Config, ConfigError, DirectIo, DiskConfig, DiskEngine, DiskSettings, Durability, EnvironmentConfig,
    FlushInterval, HugePages, Incarnation, Key, Merge, NodeId, Origin, Override, Period, Size, Sources, TrustMode,
};

const TRANSPORTS: &[&str] = &["tcp", "in-process"];

/// A `sluice.toml` of one test, gone with it.
struct File {
    path: PathBuf,
}

impl File {
    fn new(test: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sluice-config-{}-{test}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self { path }
    }

    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(Sources { transports: TRANSPORTS, file: Some(&self.path), ..Sources::default() })
    }

    /// The error that the file is refused with, its own path shortened.
    fn refusal(&self) -> String {
        self.load().unwrap_err().to_string().replace(self.path.to_str().unwrap(), "sluice.toml")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn from_variables(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Config::load(Sources {
        transports: TRANSPORTS,
        environment,
        variables_of_program: &["SLUICE_LOG"],
        ..Sources::default()
    })
}

fn from_flag(key: &str, value: &str) -> Result<Config, ConfigError> {
    let overrides = vec![Override::new(key, value, "--flag")];
    Config::load(Sources { transports: TRANSPORTS, overrides, ..Sources::default() })
}

fn flag_refusal(key: &str, value: &str) -> String {
    from_flag(key, value).unwrap_err().to_string()
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct TcpOptions {
    listen: String,
    advertise: Option<String>,
    connect_timeout: Option<Period>,
    send_queue_bytes: Option<Size>,
    links_max: Option<usize>,
    no_delay: bool,
}

/// A value as a variable or a flag has it: a list with colons between its parts.
fn as_text(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(list) => list.iter().map(as_text).collect::<Vec<_>>().join(":"),
        other => other.to_string(),
    }
}

// Layers.

#[test]
fn without_layers_the_engine_gets_its_own_defaults() {
    let config = Config::load(Sources { transports: TRANSPORTS, ..Sources::default() }).unwrap();
    let told = config.environment(NodeId(7), Incarnation(9));
    let own = EnvironmentConfig {
        node: NodeId(7),
        incarnation: Incarnation(9),
        clock: told.clock.clone(),
        ..EnvironmentConfig::default()
    };
    assert_eq!(format!("{told:?}"), format!("{own:?}"));
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let file = File::new(
        "layers",
        "[memory]\nbytes = \"16MiB\"\nbuffer_bytes = \"16KiB\"\nhuge_pages = \"never\"\n\n[session]\nlanes = 2\n",
    );
    let config = Config::load(Sources {
        transports: TRANSPORTS,
        file: Some(&file.path),
        environment: vec![
            ("SLUICE_MEMORY_BYTES".into(), "32MiB".into()),
            ("SLUICE_MEMORY_BUFFER_BYTES".into(), "8KiB".into()),
            ("HOME".into(), "/root".into()),
        ],
        overrides: vec![Override::new("memory.bytes", "48MiB", "--memory")],
        ..Sources::default()
    })
    .unwrap();
    assert_eq!(config.memory.bytes, Size(48 << 20));
    assert_eq!(config.memory.buffer_bytes, Size(8 << 10));
    assert_eq!(config.memory.huge_pages, HugePages::Never);
    assert_eq!(config.session.lanes, 2);
    assert_eq!(config.session.control_window, 64);
    assert_eq!(config.origin("memory.bytes"), Origin::Flag("--memory".into()));
    assert_eq!(config.origin("memory.buffer_bytes"), Origin::Variable("SLUICE_MEMORY_BUFFER_BYTES".into()));
    assert_eq!(config.origin("session.lanes"), Origin::File { path: file.path.clone(), line: 7 });
    assert_eq!(config.origin("session.control_window"), Origin::Default);
}

#[test]
fn the_default_file_is_read_if_it_exists_and_no_other_is_named() {
    let (named, default) = (File::new("named", "session.lanes = 2"), File::new("default", "session.lanes = 3"));
    let lanes = |file: Option<&Path>, default_file: &Path| {
        let sources = Sources { transports: TRANSPORTS, file, default_file: Some(default_file), ..Sources::default() };
        Config::load(sources).unwrap().session.lanes
    };
    assert_eq!(lanes(None, &default.path), 3);
    assert_eq!(lanes(Some(&named.path), &default.path), 2);
    assert_eq!(lanes(None, Path::new("/nowhere/sluice.toml")), 1);
}

#[test]
fn every_key_can_be_set_by_its_variable_and_by_a_flag() {
    for key in Config::keys() {
        let value = Config::default().value(key);
        let text = as_text(&value);
        from_variables(&[(&key.variable(), &text)]).unwrap();
        let config = from_flag(key.name, &text).unwrap();
        assert_eq!(config.value(key), value, "{}", key.name);
    }
}

#[test]
fn a_flush_interval_is_a_duration_zero_or_off() {
    let flush = |text| from_flag("shuffle.flush_interval", text).unwrap().shuffle.flush_interval;
    assert_eq!(flush("3ms"), FlushInterval::After(Duration::from_millis(3)));
    assert_eq!([flush("0"), flush("off")], [FlushInterval::Always, FlushInterval::Off]);
    assert_eq!(
        File::new("zero", "shuffle.flush_interval = 0").load().unwrap().shuffle.flush_interval,
        FlushInterval::Always
    );
}

#[test]
fn the_table_of_a_transport_is_read_by_its_plugin() {
    let file = File::new(
        "transport",
        "[transport.tcp]\nlisten = \"0.0.0.0:1\"\nsend_queue_bytes = \"1MiB\"\nlinks_max = 5\n[transport.in-process]\nx = 1\n",
    );
    let config = Config::load(Sources {
        transports: TRANSPORTS,
        file: Some(&file.path),
        environment: vec![
            ("SLUICE_TRANSPORT_TCP_LINKS_MAX".into(), "6".into()),
            ("SLUICE_TRANSPORT_TCP_NO_DELAY".into(), "true".into()),
            ("SLUICE_TRANSPORT_IN_PROCESS_Y".into(), "2".into()),
        ],
        overrides: vec![Override::new("transport.tcp.listen", "[::1]:0", "--listen")],
        ..Sources::default()
    })
    .unwrap();
    let options: TcpOptions = config.transport_options("tcp").unwrap();
    let expected = TcpOptions {
        listen: "[::1]:0".into(),
        send_queue_bytes: Some(Size(1 << 20)),
        links_max: Some(6),
        no_delay: true,
        ..TcpOptions::default()
    };
    assert_eq!(options, expected);
    assert_eq!(config.origin("transport.in-process.y"), Origin::Variable("SLUICE_TRANSPORT_IN_PROCESS_Y".into()));
    assert_eq!(Config::default().transport_options::<TcpOptions>("tcp").unwrap(), TcpOptions::default());
}

// Refusals.

#[test]
fn a_misspelt_key_is_refused_with_the_nearest() {
    let refusal = File::new("misspelt", "\n[memory]\nbufer_bytes = \"32KiB\"\n").refusal();
    assert_eq!(
        refusal,
        "unknown key `memory.bufer_bytes` (sluice.toml:3): the nearest known one is `memory.buffer_bytes`"
    );
}

#[test]
fn a_misspelt_table_and_a_key_without_its_table_are_refused() {
    let table = File::new("table", "[sesion]\nlanes = 1\n").refusal();
    assert_eq!(table, "unknown key `sesion.lanes` (sluice.toml:2): the nearest known one is `session.lanes`");
    let bare = File::new("bare", "transport = \"tcp\"\n").refusal();
    assert_eq!(bare, "unknown key `transport` (sluice.toml:1): the nearest known one is `cluster.transport`");
    let empty = File::new("empty", "[memory]\n[transport.tcp]\n[shufle]\n").refusal();
    assert_eq!(empty, "unknown table `[shufle]` (sluice.toml:3): the nearest known one is `shuffle`");
}

#[test]
fn a_misspelt_variable_is_refused_and_the_programs_own_is_not() {
    from_variables(&[("SLUICE_LOG", "debug"), ("SLUICES", "1")]).unwrap();
    let refusal = |name| from_variables(&[(name, "1")]).unwrap_err().to_string();
    assert_eq!(
        refusal("SLUICE_MEMORY_BYTE"),
        "unknown variable SLUICE_MEMORY_BYTE: the nearest known one is `SLUICE_MEMORY_BYTES`"
    );
    assert_eq!(refusal("SLUICE_LOGS"), "unknown variable SLUICE_LOGS: the nearest known one is `SLUICE_LOG`");
    assert_eq!(
        refusal("SLUICE_TRANSPORT_TPC_LISTEN"),
        "unknown variable SLUICE_TRANSPORT_TPC_LISTEN: the nearest known one is `SLUICE_TRANSPORT_TCP_LISTEN`"
    );
}

#[test]
fn a_misspelt_flag_key_is_refused() {
    assert_eq!(
        flag_refusal("memory.byts", "1MiB"),
        "unknown key `memory.byts` (--flag): the nearest known one is `memory.bytes`"
    );
}

#[test]
fn a_misspelt_key_of_a_transport_is_refused_with_the_nearest() {
    let file = File::new("option", "[transport.tcp]\nadvertize = \"x\"\n");
    let refusal = file.load().unwrap().transport_options::<TcpOptions>("tcp").unwrap_err().to_string();
    let expected = ":2): the nearest known one is `transport.tcp.advertise`";
    assert!(refusal.starts_with("unknown key `transport.tcp.advertize` (") && refusal.ends_with(expected), "{refusal}");

    let config = from_variables(&[("SLUICE_TRANSPORT_TCP_LISTN", "x")]).unwrap();
    assert_eq!(
        config.transport_options::<TcpOptions>("tcp").unwrap_err().to_string(),
        "unknown key `transport.tcp.listn` (variable SLUICE_TRANSPORT_TCP_LISTN): \
         the nearest known one is `transport.tcp.listen`"
    );
}

#[test]
fn an_unknown_transport_is_refused_with_the_known_ones() {
    assert_eq!(
        flag_refusal("cluster.transport", "tpc"),
        "unknown transport `tpc` (--flag): the nearest known one is `tcp`; known: tcp, in-process"
    );
    assert_eq!(
        File::new("rdma", "[transport.rdma]\ndevice = \"mlx5_0\"\n").refusal(),
        "unknown transport `rdma` (sluice.toml:2): the nearest known one is `tcp`; known: tcp, in-process"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_what_is_expected() {
    let type_of = |line: &str| File::new("type", line).refusal();
    assert_eq!(
        type_of("memory.bytes = true"),
        "memory.bytes (sluice.toml:1): invalid type: boolean `true`, expected a size such as \"64KiB\""
    );
    assert_eq!(
        type_of("session.lanes = \"many\""),
        "session.lanes (sluice.toml:1): invalid type: string \"many\", expected u16"
    );
    assert_eq!(
        type_of("memory.huge_pages = \"yes\""),
        "memory.huge_pages (sluice.toml:1): unknown variant `yes`, expected `try` or `never`"
    );
    assert_eq!(
        flag_refusal("session.lanes", "-1"),
        "session.lanes (--flag): invalid value: integer `-1`, expected u16"
    );
    assert_eq!(
        from_variables(&[("SLUICE_MEMORY_BYTES", "64 parsecs")]).unwrap_err().to_string(),
        "memory.bytes (variable SLUICE_MEMORY_BYTES): `64 parsecs` is no size: write it with a unit, such as 64KiB or \
         16MiB, or as a number of bytes"
    );
    assert_eq!(
        flag_refusal("shuffle.flush_interval", "soon"),
        "shuffle.flush_interval (--flag): `soon` is no flush interval: write a duration such as 10ms, 0 to flush with \
         every call that writes, or off"
    );
    assert_eq!(
        flag_refusal("session.heartbeat", "5"),
        "session.heartbeat (--flag): `5` is no duration: write it with a unit, such as 10ms, 2s or 1m"
    );
    let config = from_flag("transport.tcp.links_max", "all").unwrap();
    assert_eq!(
        config.transport_options::<TcpOptions>("tcp").unwrap_err().to_string(),
        "transport.tcp.links_max (--flag): invalid type: string \"all\", expected usize"
    );
}

#[test]
fn figures_that_cannot_work_are_refused_with_what_would() {
    let refused = [
        ("cluster.name", "", "cluster.name of `` (--flag) is empty: give the cluster a name"),
        (
            "memory.buffer_bytes",
            "5000",
            "memory.buffer_bytes of 5000B (--flag) is not a power of two from 4KiB to 512KiB: the nearest is 4KiB",
        ),
        (
            "memory.buffer_bytes",
            "1MiB",
            "memory.buffer_bytes of 1MiB (--flag) is not a power of two from 4KiB to 512KiB: the nearest is 512KiB",
        ),
        (
            "memory.bytes",
            "40KiB",
            "memory.bytes of 40KiB (--flag) is too small for one writer and one gate with memory.buffer_bytes of 32KiB \
             (the default): at least 64KiB",
        ),
        (
            "shuffle.hand_over_bytes",
            "65MiB",
            "shuffle.hand_over_bytes of 65MiB (--flag) is more than memory.bytes of 64MiB (the default): lower it or \
             raise memory.bytes",
        ),
        (
            "shuffle.writer_bytes_max",
            "16KiB",
            "shuffle.writer_bytes_max of 16KiB (--flag) holds no buffer: at least memory.buffer_bytes of 32KiB (the \
             default)",
        ),
        (
            "shuffle.window_bytes_max",
            "0",
            "shuffle.window_bytes_max of 0B (--flag) holds no buffer: at least memory.buffer_bytes of 32KiB (the \
             default)",
        ),
        ("shuffle.record_bytes_max", "0", "shuffle.record_bytes_max of 0B (--flag) admits no record: at least 1B"),
        (
            "shuffle.partition_deadline",
            "0",
            "shuffle.partition_deadline of 0s (--flag) is over before a partition can appear: at least 1ms",
        ),
        ("session.lanes", "0", "session.lanes of 0 (--flag) is not between 1 and 64"),
        ("session.lanes", "65", "session.lanes of 65 (--flag) is not between 1 and 64"),
        ("session.control_window", "7", "session.control_window of 7 (--flag) is not between 8 and 65535"),
        ("session.head_bytes_max", "2KiB", "session.head_bytes_max of 2KiB (--flag) is not between 8KiB and 1GiB"),
        ("session.body_bytes_max", "4GiB", "session.body_bytes_max of 4GiB (--flag) is not between 4KiB and 1GiB"),
        (
            "session.body_bytes_max",
            "16KiB",
            "session.body_bytes_max of 16KiB (--flag) cannot carry a full block, memory.buffer_bytes of 32KiB (the \
             default): raise it or use smaller buffers",
        ),
        ("session.heartbeat", "0", "session.heartbeat of 0s (--flag) is too short: at least 1ms"),
        (
            "session.heartbeat",
            "16s",
            "session.heartbeat of 16s (--flag) is more than half of session.silence_max of 30s (the default): a peer \
             would be declared dead between two signs of life",
        ),
        ("disk.directories", "/a:", "disk.directories of `` (--flag) names no directory: leave the empty path out"),
        (
            "disk.directories",
            "/a:/b:/a/",
            "disk.directories of `/a/` (--flag) is there twice: name each directory once",
        ),
        ("disk.depth", "0", "disk.depth of 0 (--flag) is not between 1 and 128"),
        ("disk.depth", "129", "disk.depth of 129 (--flag) is not between 1 and 128"),
        ("disk.threads", "0", "disk.threads of 0 (--flag) is not between 1 and 64"),
        ("disk.threads", "65", "disk.threads of 65 (--flag) is not between 1 and 64"),
        ("disk.sort_threads", "65", "disk.sort_threads of 65 (--flag) is not between 0 and 64"),
        (
            "disk.sort_bytes_max",
            "31KiB",
            "disk.sort_bytes_max of 31KiB (--flag) is too little to sort in: at least 32KiB",
        ),
        (
            "disk.read_bytes_max",
            "31KiB",
            "disk.read_bytes_max of 31KiB (--flag) holds no buffer: at least memory.buffer_bytes of 32KiB (the default)",
        ),
    ];
    for (key, value, expected) in refused {
        assert_eq!(flag_refusal(key, value), expected);
    }
}

#[test]
fn each_mode_of_trust_needs_its_files_and_refuses_those_of_others() {
    let refused = [
        (
            "trust.mode = \"secret\"",
            "trust.secret_file of `` (the default) names nothing: trust.mode of secret (sluice.toml:1) needs it",
        ),
        (
            "[trust]\nmode = \"tls\"\ncertificate_file = \"c\"\nkey_file = \"k\"",
            "trust.authorities_file of `` (the default) names nothing: trust.mode of tls (sluice.toml:2) needs it",
        ),
        (
            "trust.secret_file = \"cluster.secret\"",
            "trust.secret_file of `cluster.secret` (sluice.toml:1) is not used by trust.mode of off (the default): set \
             trust.mode to secret, or leave it out",
        ),
        (
            "[trust]\nmode = \"secret\"\nsecret_file = \"s\"\npeer_name = \"workers\"",
            "trust.peer_name of `workers` (sluice.toml:4) is not used by trust.mode of secret (sluice.toml:2): set \
             trust.mode to tls, or leave it out",
        ),
        (
            "trust.mode = \"on\"",
            "trust.mode (sluice.toml:1): unknown variant `on`, expected one of `off`, `secret`, `tls`",
        ),
        ("trust.secret = \"a\"", "unknown key `trust.secret` (sluice.toml:1): the nearest known one is `trust.mode`"),
    ];
    for (index, (text, expected)) in refused.into_iter().enumerate() {
        assert_eq!(File::new(&format!("trust-{index}"), text).refusal(), expected);
    }
}

#[test]
fn trust_is_read_from_all_layers_and_an_empty_text_takes_a_file_back() {
    let text = "[trust]\nmode = \"tls\"\ncertificate_file = \"c\"\nkey_file = \"k\"\nauthorities_file = \"a\"\n\
                peer_name = \"workers.example\"\n";
    let file = File::new("trust", text);
    let trust = file.load().unwrap().trust;
    assert_eq!(trust.mode, TrustMode::Tls);
    let paths = [trust.certificate_file, trust.key_file, trust.authorities_file].map(Option::unwrap);
    assert_eq!(paths, ["c", "k", "a"].map(PathBuf::from));
    assert_eq!((trust.peer_name.as_deref(), trust.secret_file), (Some("workers.example"), None));

    let unnamed = Config::load(Sources {
        transports: TRANSPORTS,
        file: Some(&file.path),
        environment: vec![("SLUICE_TRUST_PEER_NAME".into(), String::new())],
        ..Sources::default()
    });
    assert_eq!(unnamed.unwrap().trust.peer_name, None);
}

#[test]
fn the_disk_is_read_from_a_file_and_the_engine_gets_its_part() {
    let text = "[disk]\ndirectories = [\"/a\", \"b:c\"]\nengine = \"io-uring\"\ndirect = \"never\"\ndepth = 1\n\
                threads = 64\ndurability = \"on-finish\"\ncompression = \"zstd\"\nmerge = \"always\"\nsort_bytes_max = \"32KiB\"\n\
                read_bytes_max = \"1MiB\"\nsort_threads = 0\nrecover_timeout = \"2s\"\n";
    let config = File::new("disk", text).load().unwrap();
    let expected = DiskConfig {
        directories: ["/a", "b:c"].map(PathBuf::from).into(),
        engine: DiskEngine::IoUring,
        direct: DirectIo::Never,
        depth: 1,
        threads: 64,
        durability: Durability::OnFinish,
        compression: Compression::Zstd,
        merge: Merge::Always,
        sort_bytes_max: Size(32 << 10),
        read_bytes_max: Size(1 << 20),
        sort_threads: 0,
        recover_timeout: Period(Duration::from_secs(2)),
    };
    assert_eq!(config.disk, expected);
    let settings = DiskSettings {
        durability: Durability::OnFinish,
        compression: Compression::Zstd,
        merge: Merge::Always,
        sort_bytes_max: 32 << 10,
        read_bytes_max: 1 << 20,
        sort_threads: 0,
        recover_timeout: Duration::from_secs(2),
        ..DiskSettings::default()
    };
    assert_eq!(config.environment(NodeId(1), Incarnation(1)).disk, settings);
    assert_eq!(File::new("disk-again", &config.to_toml()).load().unwrap().disk, expected);
}

#[test]
fn directories_are_a_list_in_a_file_and_have_colons_between_them_elsewhere() {
    let in_file = File::new("directories", "disk.directories = [\"/a\", \"/b\"]");
    let over = |text: &str| {
        let overrides = vec![Override::new("disk.directories", text, "--disk")];
        let sources = Sources { transports: TRANSPORTS, file: Some(&in_file.path), overrides, ..Sources::default() };
        Config::load(sources).unwrap().disk.directories
    };
    assert_eq!(in_file.load().unwrap().disk.directories, ["/a", "/b"].map(PathBuf::from));
    assert_eq!(over("/c"), ["/c"].map(PathBuf::from));
    assert_eq!(over("/c:d,e"), ["/c", "d,e"].map(PathBuf::from));
    assert_eq!(over(""), [""; 0].map(PathBuf::from), "takes back what the file has");
    let variable = from_variables(&[("SLUICE_DISK_DIRECTORIES", "/a:/b")]).unwrap();
    assert_eq!(variable.disk.directories, ["/a", "/b"].map(PathBuf::from));
}

#[test]
fn what_the_disk_does_not_know_is_refused_with_what_it_does() {
    let refusal = |line: &str| File::new("disk-type", line).refusal();
    assert_eq!(
        refusal("disk.engine = \"uring\""),
        "disk.engine (sluice.toml:1): unknown variant `uring`, expected one of `auto`, `io-uring`, `threads`"
    );
    assert_eq!(
        refusal("disk.durability = \"always\""),
        "disk.durability (sluice.toml:1): unknown variant `always`, expected `none` or `on-finish`"
    );
    assert_eq!(
        refusal("disk.compression = \"gzip\""),
        "disk.compression (sluice.toml:1): unknown variant `gzip`, expected one of `none`, `lz4`, `zstd`"
    );
    assert_eq!(
        refusal("disk.directories = 5"),
        "disk.directories (sluice.toml:1): invalid type: integer `5`, expected a list of paths, or a text with `:` \
         between them"
    );
    assert_eq!(
        refusal("disk.directories = [\"/a\", 5]"),
        "disk.directories (sluice.toml:1): invalid type: integer `5`, expected a string"
    );
    assert_eq!(
        refusal("disk.directory = \"/a\""),
        "unknown key `disk.directory` (sluice.toml:1): the nearest known one is `disk.directories`"
    );
}

#[test]
fn a_writer_that_sorts_and_a_reader_that_reads_ahead_need_room_for_a_buffer() {
    for key in ["disk.sort_bytes_max", "disk.read_bytes_max"] {
        let overrides = [("memory.buffer_bytes", "128KiB"), (key, "64KiB")];
        let overrides = overrides.map(|(key, value)| Override::new(key, value, "--flag")).into();
        let refusal = Config::load(Sources { transports: TRANSPORTS, overrides, ..Sources::default() }).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            format!("{key} of 64KiB (--flag) holds no buffer: at least memory.buffer_bytes of 128KiB (--flag)")
        );
    }
}

#[test]
fn a_resume_timeout_of_nothing_is_possible() {
    let resume = |text| from_flag("session.resume_timeout", text).unwrap().environment(NodeId(1), Incarnation(1));
    assert_eq!(resume("0s").resume_timeout, Duration::ZERO);
    assert_eq!(resume("2m").resume_timeout, Duration::from_secs(120));
}

#[test]
fn the_smallest_figures_that_pass_make_bounds_that_a_link_can_run_with() {
    let overrides = [
        ("memory.bytes", "64KiB"),
        ("memory.buffer_bytes", "4KiB"),
        ("session.control_window", "8"),
        ("session.head_bytes_max", "8KiB"),
        ("session.body_bytes_max", "4KiB"),
        ("session.heartbeat", "1ms"),
        ("session.silence_max", "2ms"),
    ];
    let overrides = overrides.map(|(key, value)| Override::new(key, value, "--flag")).into();
    let config = Config::load(Sources { transports: TRANSPORTS, overrides, ..Sources::default() }).unwrap();
    config.environment(NodeId(0), Incarnation(0)).limits.check().unwrap();
}

#[test]
fn a_hand_over_that_nobody_asked_for_does_not_forbid_a_small_memory() {
    from_flag("memory.bytes", "128KiB").unwrap();
}

#[test]
fn a_file_that_cannot_be_read_is_refused_with_its_name() {
    let file = Some(Path::new("/nowhere/sluice.toml"));
    let error = Config::load(Sources { transports: TRANSPORTS, file, ..Sources::default() }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/sluice.toml: the configuration file cannot be read: name one that exists and may be read"
    );
    let source = std::error::Error::source(&error).expect("the system's error");
    assert!(source.to_string().contains("No such file"), "{source}");
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_the_line() {
    let refusal = File::new("syntax", "[memory]\nbytes = = 5\n").refusal();
    assert!(refusal.starts_with("sluice.toml:2: not TOML: "), "{refusal}");
    let twice = File::new("twice", "[memory]\nbytes = 5\nbytes = 6\n").refusal();
    assert_eq!(twice, "sluice.toml:3: not TOML: duplicate key");
}

// What is written about it.

#[test]
fn the_sample_file_says_the_same_as_the_defaults() {
    let sample = Config::default().to_toml();
    assert_eq!(File::new("sample", &sample).load().unwrap().to_toml(), sample);
}

#[test]
fn any_configuration_can_be_written_and_read_again() {
    let text = "[memory]\nbytes = 99999999\nhuge_pages = \"never\"\n[shuffle]\nflush_interval = \"off\"\n\
                [transport.tcp]\nlisten = \"x:1\"\nlinks_max = 3\n[transport.in-process]\nx = [1, 2]\n";
    let config = File::new("any", text).load().unwrap();
    let again = File::new("again", &config.to_toml()).load().unwrap();
    assert_eq!(again.to_toml(), config.to_toml());
    assert_eq!(again.memory, config.memory);
    assert_eq!(again.transport_options::<TcpOptions>("tcp").unwrap().links_max, Some(3));
}

#[test]
fn the_document_has_every_key_as_the_code_has_it() {
    let row = |key: &Key| {
        let (name, kind, variable) = (key.name, key.kind, key.variable());
        let value = Config::default().value(key);
        format!("| `{name}` | {kind} | `{value}` | `{variable}` | {} | {} |", key.meaning, key.reason)
    };
    let document = include_str!("../../docs/configuration.md");
    let in_code: Vec<String> = Config::keys().iter().map(row).collect();
    let in_document: Vec<&str> =
        document.lines().filter(|line| line.starts_with("| `") && line.contains(" | `SLUICE_")).collect();
    assert_eq!(in_document, in_code, "the rows should be:\n{}", in_code.join("\n"));
}
