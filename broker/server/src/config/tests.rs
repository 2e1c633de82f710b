//! The settings as a whole: what starts, what is refused and with which words.

use super::*;

const HOST: &str = "box";

fn sources(file: &str) -> Result<Config, Problem> {
    let file = (!file.is_empty()).then_some(file.as_bytes());
    load(&Sources {
        file,
        host: Host {
            name: HOST.to_owned(),
            memory_bytes: 8 << 30,
        },
        ..Sources::default()
    })
}

fn check_refused(file: &str, expected: &str) {
    assert_eq!(
        sources(file).err().map(|problem| problem.to_string()).as_deref(),
        Some(expected),
        "{file}"
    );
}

fn check_listeners(file: &str, expected: &str) {
    let settings = sources(file)
        .unwrap_or_else(|problem| panic!("{file}: {problem}"))
        .settings;
    let show = |listeners: &[Listener]| {
        listeners
            .iter()
            .map(Listener::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    let all = &settings.listeners;
    let shown = format!(
        "{} > {} | {}",
        show(&all.broker),
        show(&all.advertised),
        show(&all.controller)
    );
    assert_eq!(shown, expected, "{file}");
}

#[test]
fn tables_are_sorted_and_their_defaults_are_allowed() {
    let tables = [
        broker::SETTINGS,
        cluster::SETTINGS,
        groups::SETTINGS,
        klamm::SETTINGS,
        security::SETTINGS,
        tiered::SETTINGS,
    ];
    for table in tables.into_iter().chain([topic::SETTINGS]) {
        assert!(table.is_sorted_by(|one, other| one.name < other.name));
        for setting in table {
            let default = setting
                .default
                .map(|value| setting.check(value).map(|kept| kept == value));
            assert!(
                matches!(default, None | Some(Ok(true))),
                "{}: {default:?}",
                setting.name
            );
            assert!(
                !setting.help.is_empty() && setting.help.ends_with('.'),
                "{}",
                setting.name
            );
        }
    }
    assert!(topic::SYNONYMS.is_sorted_by(|one, other| one.0 < other.0));
    for (name, synonyms) in topic::SYNONYMS {
        assert!(
            find_topic(name).is_some() && synonyms.iter().all(|(name, _)| find(name).is_some()),
            "{name}"
        );
    }
    assert!(broker_settings().is_sorted_by(|one, other| one.name < other.name));
}

#[test]
fn no_settings_at_all_is_a_node_of_its_own() {
    let config = sources("").unwrap();
    let settings = config.settings;
    assert_eq!(settings.node_id.0, 1);
    assert_eq!(settings.data_dir.to_str(), Some("./data"));
    assert_eq!(
        (settings.memory_bytes, settings.journal_bytes),
        (512 << 20, 128 << 20)
    );
    assert_eq!(settings.topics.num_partitions, 1);
    assert_eq!(config.warning, None);
    check_listeners(
        "",
        "PLAINTEXT://127.0.0.1:9092 > PLAINTEXT://127.0.0.1:9092 | CONTROLLER://127.0.0.1:9093",
    );
    let settings = sources("log.dirs=/d").unwrap().settings;
    assert_eq!(
        (settings.memory_bytes, settings.journal_bytes),
        (2 << 30, 256 << 20)
    );
}

/// The file that Apache Kafka ships for a single combined node, and that of the image.
#[test]
fn the_file_of_a_combined_node_starts_as_it_is() {
    let file = "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.bootstrap.servers=localhost:9093\n\
        listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ninter.broker.listener.name=PLAINTEXT\n\
        advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
        controller.listener.names=CONTROLLER\n\
        listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT\n\
        num.network.threads=3\nsocket.request.max.bytes=104857600\nlog.dirs=/tmp/kraft-combined-logs\n\
        num.partitions=3\nlog.retention.hours=168\nmy.plugin=1\nmin.isync.replicas=1\n";
    let config = sources(file).unwrap();
    assert_eq!(config.settings.quorum, Quorum::Dynamic);
    assert_eq!(config.settings.topics.num_partitions, 3);
    assert_eq!(
        config.warning.as_deref(),
        Some(
            "settings that do nothing here yet: log.retention.hours, num.network.threads; settings that nobody \
             knows: min.isync.replicas (did you mean min.insync.replicas?), my.plugin"
        )
    );
    check_listeners(
        file,
        "PLAINTEXT://:9092,CONTROLLER://:9093"
            .replace(
                ",CONTROLLER://:9093",
                " > PLAINTEXT://localhost:9092 | CONTROLLER://:9093",
            )
            .as_str(),
    );
}

#[test]
fn listeners_are_told_apart() {
    check_listeners(
        "listeners=PLAINTEXT://:0",
        "PLAINTEXT://:0 > PLAINTEXT://box:0 | ",
    );
    check_listeners(
        "listeners=IN://[::1]:1,OUT://0.0.0.0:2,C://:3\ncontroller.listener.names=C\n\
         advertised.listeners=OUT://kafka.example:9\n\
         listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT,C:PLAINTEXT",
        "IN://[::1]:1,OUT://0.0.0.0:2 > OUT://kafka.example:9 | C://:3",
    );
}

#[test]
fn what_is_wrong_is_said_with_key_value_and_what_is_allowed() {
    let refused: &[(&str, &str)] = &[
        (
            "num.partitions=0",
            "num.partitions=0: must be a whole number, 1 or more",
        ),
        (
            "klamm.memory.bytes=1",
            "klamm.memory.bytes=1: must be a whole number, 67108864 or more",
        ),
        (
            "klamm.durability=written",
            "klamm.durability=written: must be one of sync",
        ),
        (
            "klamm.memory.byte=1",
            "klamm.memory.byte=1: there is no such setting, did you mean klamm.memory.bytes?",
        ),
        (
            "klamm.colour=red",
            "klamm.colour=red: there is no such setting, there are klamm.cpus, klamm.durability, \
             klamm.journal.bytes, klamm.memory.bytes, klamm.shards",
        ),
        (
            "controller.quorum.voters=1@a:1,2@b:1",
            "controller.quorum.voters=1@a:1,2@b:1: must name one voter: clusters of several nodes come later",
        ),
        (
            "controller.quorum.voters=2@a:1",
            "controller.quorum.voters=2@a:1: must name this node, 1",
        ),
        (
            "controller.quorum.voters=a:1",
            "controller.quorum.voters=a:1: must be ID@HOST:PORT",
        ),
        (
            "controller.quorum.bootstrap.servers=a:1,b:1",
            "controller.quorum.bootstrap.servers=a:1,b:1: must name one controller: clusters of several nodes come \
             later",
        ),
        (
            "controller.quorum.bootstrap.servers=a:1\nlisteners=PLAINTEXT://:2",
            "controller.quorum.bootstrap.servers=a:1: must name a listener of this node's controller, and listeners has \
             none",
        ),
        (
            "controller.quorum.bootstrap.servers=a:1\nlisteners=PLAINTEXT://:2,CONTROLLER://b:1",
            "controller.quorum.bootstrap.servers=a:1: must name this node's controller, CONTROLLER://b:1",
        ),
        (
            "controller.quorum.bootstrap.servers=b:3\nlisteners=PLAINTEXT://:2,CONTROLLER://:1",
            "controller.quorum.bootstrap.servers=b:3: must name this node's controller, CONTROLLER://:1",
        ),
        (
            "process.roles=broker",
            "process.roles=broker: must be broker,controller: other nodes come later",
        ),
        (
            "log.dirs=/a,/b",
            "log.dirs=/a,/b: must be one directory: several come later",
        ),
        (
            "node.id=1\nbroker.id=2",
            "broker.id=2: must be the same as node.id=1",
        ),
        (
            "listeners=CONTROLLER://:1",
            "listeners=CONTROLLER://:1: must name a listener for clients beside the controller's",
        ),
        (
            "listeners=PLAINTEXT:1",
            "listeners=PLAINTEXT:1: must be a list of NAME://HOST:PORT, \"PLAINTEXT:1\" is none",
        ),
        (
            "listeners=SSL://:1",
            "listener.security.protocol.map=SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:\
             SASL_PLAINTEXT: must be PLAINTEXT for SSL: SSL is not offered yet",
        ),
        (
            "listeners=PLAINTEXT://0.0.0.0:1",
            "advertised.listeners=: must name a host that clients can connect to: 0.0.0.0 stands for every interface",
        ),
        (
            "advertised.listeners=OTHER://a:1\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,\
             CONTROLLER:PLAINTEXT,OTHER:PLAINTEXT",
            "advertised.listeners=OTHER://a:1: must only name listeners of listeners, OTHER is none",
        ),
        (
            "listeners=PLAINTEXT://:1\ncontroller.listener.names=C",
            "controller.listener.names=C: must name a listener that stands in listeners",
        ),
    ];
    for (file, expected) in refused {
        check_refused(file, expected);
    }
}

#[test]
fn later_sources_win() {
    let environment = [
        ("KAFKA_NUM_PARTITIONS".to_owned(), "2".to_owned()),
        ("CLUSTER_ID".to_owned(), "c".to_owned()),
    ];
    let overrides = ["node.id = 5".to_owned()];
    let sources = Sources {
        file: Some(b"num.partitions=1\nnode.id=4"),
        environment: &environment,
        overrides: &overrides,
        host: Host::default(),
    };
    let settings = load(&sources).unwrap().settings;
    assert_eq!((settings.topics.num_partitions, settings.node_id.0), (2, 5));
    assert_eq!(settings.cluster_id.as_deref(), Some("c"));
    for (id, shown) in [
        ("a b", "a b"),
        ("a\nnode.id=9", "a\\nnode.id=9"),
        ("\u{e9}", "\u{e9}"),
        ("", ""),
    ] {
        let environment = [("CLUSTER_ID".to_owned(), id.to_owned())];
        let refused = load(&Sources {
            environment: &environment,
            ..Sources::default()
        });
        let refused = refused.expect_err(id).to_string();
        assert!(
            refused.starts_with(&format!("CLUSTER_ID={shown}: must be ")),
            "{refused}"
        );
    }
    let wrong = load(&Sources {
        overrides: &["x".to_owned()],
        ..Sources::default()
    });
    assert_eq!(
        wrong.err().map(|problem| problem.to_string()).as_deref(),
        Some("--override x: must be KEY=VALUE")
    );
}

fn overrides(pairs: &[(&str, &str)]) -> Overrides {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn topic_settings_are_checked_as_kafka_does() {
    let check = |pairs: &[(&str, &str)], expected: Result<(), &str>| {
        assert_eq!(
            check_topic(&overrides(pairs)),
            expected.map_err(str::to_owned),
            "{pairs:?}"
        );
    };
    check(
        &[
            ("max.message.bytes", " 2000 "),
            ("cleanup.policy", ""),
            ("preallocate", "TRUE"),
        ],
        Ok(()),
    );
    check(&[("nonsense", "1")], Err("Unknown topic config name: nonsense"));
    check(
        &[("min.isync.replicas", "1")],
        Err("Unknown topic config name: min.isync.replicas, did you mean min.insync.replicas?"),
    );
    check(
        &[("segment.bytes", "1")],
        Err("Invalid value 1 for configuration segment.bytes: Value must be a whole number, 1048576 or more"),
    );
    check(
        &[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")],
        Err("conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"),
    );
    assert!(check_topic(&overrides(&[("remote.storage.enable", "true")])).is_err());
    assert!(check_topic(&overrides(&[("retention.ms", "")])).is_err());
}

#[test]
fn a_topic_takes_its_own_value_then_the_brokers() {
    let config = sources("log.segment.bytes=2097152\nlog.message.timestamp.type=LogAppendTime").unwrap();
    let none = Overrides::new();
    let plain = config.topic(&none, &none, &none);
    assert_eq!(plain.segment_bytes, 2 << 20);
    assert_eq!(plain.timestamp_type, TimestampType::LogAppendTime);
    assert_eq!((plain.max_message_bytes, plain.is_compacted), (1_048_588, false));
    let cluster = overrides(&[("log.segment.bytes", "3145728"), ("message.max.bytes", "9")]);
    let broker = overrides(&[("message.max.bytes", "8")]);
    let own = overrides(&[
        ("segment.bytes", " 4194304 "),
        ("cleanup.policy", "compact,delete"),
    ]);
    let all = config.topic(&own, &broker, &cluster);
    assert_eq!(
        (all.segment_bytes, all.max_message_bytes, all.is_compacted),
        (4 << 20, 8, true)
    );
    assert_eq!(config.topic(&none, &broker, &cluster).segment_bytes, 3 << 20);
}

#[test]
fn entries_say_where_a_value_comes_from() {
    let config = sources("log.retention.hours=2\nnode.id=7\nmy.plugin=x\nssl.key.password=secret").unwrap();
    let none = Overrides::new();
    let cluster = overrides(&[("min.insync.replicas", "1")]);
    let show = |entries: &[Entry], name: &str| {
        let entry = entries.iter().find(|entry| entry.name == name).unwrap();
        let synonyms = entry.synonyms.iter();
        let synonyms: Vec<String> = synonyms
            .map(|one| {
                format!(
                    "{}={}@{}",
                    one.name,
                    one.value.as_deref().unwrap_or("-"),
                    one.source.code()
                )
            })
            .collect();
        let value = entry.value.as_deref().unwrap_or("-");
        let (fixed, secret) = (entry.is_read_only, entry.is_sensitive);
        format!(
            "{value}@{} {fixed} {secret} {} [{}]",
            entry.source.code(),
            entry.kind,
            synonyms.join(" ")
        )
    };
    let broker = config.describe_broker(&none, &cluster);
    for (name, expected) in [
        (
            "min.insync.replicas",
            "1@3 false false 3 [min.insync.replicas=1@3 min.insync.replicas=1@5]",
        ),
        ("broker.id", "7@4 true false 3 [broker.id=7@4 broker.id=-1@5]"),
        ("log.retention.ms", "-@5 false false 5 []"),
        ("my.plugin", "-@4 true true 0 [my.plugin=-@4]"),
        ("ssl.key.password", "-@4 false true 9 [ssl.key.password=-@4]"),
    ] {
        assert_eq!(show(&broker, name), expected, "{name}");
    }
    let own = overrides(&[("retention.ms", "5")]);
    let topic = config.describe_topic(&own, &none, &cluster);
    let expected =
        "5@1 false false 5 [retention.ms=5@1 log.retention.hours=7200000@4 log.retention.hours=604800000@5]";
    assert_eq!(show(&topic, "retention.ms"), expected);
    let expected = "false@5 false false 1 [remote.storage.enable=false@5]";
    assert_eq!(show(&topic, "remote.storage.enable"), expected);
    assert!(
        broker
            .iter()
            .all(|entry| entry.name != "unstable.api.versions.enable")
    );
}

#[test]
fn a_controller_is_this_node_however_its_host_is_written() {
    let check = |seed: &str, listener: &str, advertised: &str, expected: bool| {
        let file = format!(
            "log.dirs=/d\ncontroller.quorum.bootstrap.servers={seed}\nlisteners=PLAINTEXT://:2,CONTROLLER://{listener}\n\
             advertised.listeners=PLAINTEXT://h:2{advertised}\n"
        );
        let found = sources(&file).map(|config| config.settings.quorum);
        assert_eq!(
            found == Ok(Quorum::Dynamic),
            expected,
            "{seed} at {listener}: {found:?}"
        );
    };
    for (seed, listener, expected) in [
        ("host:1", "host:1", true),
        ("HOST:1", "host:1", true),
        ("host.:1", "host:1", true),
        ("localhost:1", "127.0.0.1:1", true),
        ("[::1]:1", "localhost:1", true),
        ("[2001:DB8::1]:1", "[2001:db8::1]:1", true),
        ("any:1", ":1", true),
        ("any:1", "0.0.0.0:1", true),
        ("any:3", "0.0.0.0:1", false),
        ("host:1", "other:1", false),
    ] {
        check(seed, listener, "", expected);
    }
    check("told:1", "inside:1", ",CONTROLLER://told:1", true);
    check("told:1", "inside:1", ",CONTROLLER://other:1", false);
}

#[test]
fn the_root_logger_has_the_level_it_was_given() {
    for level in ["OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"] {
        let environment = [("KAFKA_LOG4J_ROOT_LOGLEVEL".to_owned(), level.to_owned())];
        let config = load(&Sources {
            environment: &environment,
            ..Sources::default()
        });
        let described = config.expect("it is a level").describe_loggers();
        assert_eq!(described[0].value.as_deref(), Some(level));
    }
}
