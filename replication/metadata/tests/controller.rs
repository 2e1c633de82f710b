//! What the controller refuses, with Kafka's code and words; and that any history can be replayed in any
//! pieces.

use metadata::controller::Controller;
use metadata::controller::brokers::Registration;
use metadata::controller::features;
use metadata::controller::topics::{Rules, Wanted, Which};
use metadata::image::brokers::Endpoint;
use metadata::{Image, Loader};
use protocol::ErrorCode;
use protocol::batch::{HeaderFields, batches};
use protocol::records::BatchBuilder;
use protocol::types::{BrokerId, Offset, Partition, Uuid};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

const BROKER: BrokerId = BrokerId(1);

fn registration(incarnation: u8) -> Registration {
    Registration {
        broker_id: BROKER,
        incarnation_id: Uuid([incarnation; 16]),
        listeners: vec![Endpoint {
            name: "PLAINTEXT".to_owned(),
            host: "localhost".to_owned(),
            port: 9092,
            security_protocol: 0,
        }],
        features: features::supported(),
        rack: None,
        directories: vec![Uuid([7; 16])],
    }
}

fn controller() -> Controller {
    let mut controller = Controller::new(&Loader::default(), Offset(1));
    let _ = controller.decide_activate();
    let epoch = controller
        .decide_register_broker(&registration(1))
        .answer
        .unwrap();
    assert_eq!(controller.decide_unfence(BROKER, epoch).answer, Ok(()));
    controller
}

fn rules<'a>() -> Rules<'a> {
    Rules {
        num_partitions: 2,
        replication_factor: 1,
        check_configs: &|configs| match configs.contains_key("nonsense") {
            true => Err("Unknown topic config name: nonsense".to_owned()),
            false => Ok(()),
        },
    }
}

fn ids() -> impl FnMut() -> Uuid {
    let mut next = 1000u128;
    move || {
        next += 1;
        Uuid(next.to_be_bytes())
    }
}

fn topic(name: &str, num_partitions: i32, replication_factor: i16) -> Wanted<'_> {
    Wanted {
        name,
        num_partitions,
        replication_factor,
        ..Wanted::default()
    }
}

fn assigned<'a>(name: &'a str, assignments: &[(i32, &[i32])]) -> Wanted<'a> {
    let of = |(partition, brokers): &(i32, &[i32])| {
        (
            Partition(*partition),
            brokers.iter().copied().map(BrokerId).collect(),
        )
    };
    Wanted {
        assignments: assignments.iter().map(of).collect(),
        ..topic(name, -1, -1)
    }
}

#[test]
fn topics_are_refused_as_kafka_refuses_them() {
    let mut controller = controller();
    let mut ids = ids();
    let names = ["plain", "a.b"].map(|name| topic(name, 1, 1));
    assert!(
        controller
            .decide_create_topics(&names, false, &rules(), &mut ids)
            .answer
            .iter()
            .all(Result::is_ok)
    );
    let long = "x".repeat(250);
    let config = |name, value| Wanted {
        configs: vec![(name, value)],
        ..topic("c", 1, 1)
    };
    let without = "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached \
                   because only 1 broker(s) are registered.";
    let manual = "The manual partition assignment includes";
    let cases: &[(Wanted<'_>, ErrorCode, &str)] = &[
        (
            topic("plain", 1, 1),
            ErrorCode::TopicAlreadyExists,
            "Topic 'plain' already exists.",
        ),
        (
            topic("a_b", 1, 1),
            ErrorCode::InvalidTopicException,
            "Topic 'a_b' collides with existing topic: a.b",
        ),
        (
            topic("", 1, 1),
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: the empty string is not allowed",
        ),
        (
            topic(".", 1, 1),
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: '.' is not allowed",
        ),
        (
            topic("..", 1, 1),
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: '..' is not allowed",
        ),
        (
            topic("sp ace", 1, 1),
            ErrorCode::InvalidTopicException,
            "Topic name is invalid: 'sp ace' contains one or more characters other than ASCII alphanumerics, '.', '_' \
             and '-'",
        ),
        (topic(&long, 1, 1), ErrorCode::InvalidTopicException, ""),
        (
            topic("__cluster_metadata", 1, 1),
            ErrorCode::InvalidRequest,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
        (
            topic("z", 0, 1),
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ),
        (topic("z", -2, 1), ErrorCode::InvalidPartitions, ""),
        (
            topic("z", 1, 0),
            ErrorCode::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (topic("z", 1, -2), ErrorCode::InvalidReplicationFactor, ""),
        (topic("z", 1, 2), ErrorCode::InvalidReplicationFactor, without),
        (
            topic("z", 20_000, 1),
            ErrorCode::PolicyViolation,
            "Excessively large number of partitions per request.",
        ),
        (
            assigned("z", &[(0, &[2])]),
            ErrorCode::InvalidReplicaAssignment,
            &format!("{manual} broker 2, but no such broker is registered."),
        ),
        (
            assigned("z", &[(1, &[1])]),
            ErrorCode::InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ),
        (
            assigned("z", &[(0, &[])]),
            ErrorCode::InvalidReplicaAssignment,
            &format!("{manual} an empty replica list."),
        ),
        (
            assigned("z", &[(0, &[1, 1])]),
            ErrorCode::InvalidReplicaAssignment,
            &format!("{manual} the broker 1 more than once."),
        ),
        (
            assigned("z", &[(0, &[1]), (0, &[1])]),
            ErrorCode::InvalidReplicaAssignment,
            "",
        ),
        (
            Wanted {
                num_partitions: 1,
                ..assigned("z", &[(0, &[1])])
            },
            ErrorCode::InvalidRequest,
            "",
        ),
        (
            config("nonsense", Some("1")),
            ErrorCode::InvalidConfig,
            "Unknown topic config name: nonsense",
        ),
        (
            config("segment.bytes", None),
            ErrorCode::InvalidConfig,
            "Null value not supported for topic configs: segment.bytes",
        ),
    ];
    for (wanted, code, message) in cases {
        let decision =
            controller.decide_create_topics(std::slice::from_ref(wanted), false, &rules(), &mut ids);
        let refusal = decision.answer[0].as_ref().expect_err(wanted.name);
        assert_eq!(refusal.code, *code, "{wanted:?}: {refusal:?}");
        assert!(
            message.is_empty() || refusal.message == *message,
            "{}",
            refusal.message
        );
        assert!(decision.records.is_empty());
    }
    assert_eq!(controller.image().topics().len(), 2);
}

#[test]
fn topics_of_one_request_stand_each_for_itself() {
    let mut controller = controller();
    let wanted = [
        topic("a", -1, -1),
        topic("a.", 1, 1),
        topic("a_", 1, 1),
        topic("d", 1, 1),
        topic("d", 1, 1),
    ];
    let before = controller.image().clone();
    let checked = controller.decide_create_topics(&wanted, true, &rules(), &mut ids());
    assert!(checked.records.is_empty() && *controller.image() == before);
    let created = controller.decide_create_topics(&wanted, false, &rules(), &mut ids());
    assert_eq!(checked.answer, created.answer);
    let codes: Vec<ErrorCode> = created
        .answer
        .iter()
        .map(|one| {
            one.as_ref()
                .map_or_else(|refusal| refusal.code, |_| ErrorCode::None)
        })
        .collect();
    let twice = ErrorCode::InvalidRequest;
    assert_eq!(
        codes,
        [
            ErrorCode::None,
            ErrorCode::None,
            ErrorCode::InvalidTopicException,
            twice,
            twice
        ]
    );
    assert_eq!(created.answer[0].as_ref().map(|one| one.num_partitions), Ok(2));
    let id = created.answer[0].as_ref().unwrap().topic_id;
    let unknown = Uuid([5; 16]);
    let gone = [
        Which::Id(id),
        Which::Name("nope"),
        Which::Id(unknown),
        Which::Name("a."),
        Which::Name("a."),
    ];
    let deleted = controller.decide_delete_topics(&gone).answer;
    assert_eq!(deleted[0], Ok(("a".to_owned(), id)));
    let code = |at: usize| deleted[at].as_ref().map_err(|refusal| refusal.code).unwrap_err();
    assert_eq!(code(1), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(2), ErrorCode::UnknownTopicId);
    assert_eq!((code(3), code(4)), (twice, twice));
}

#[test]
fn brokers_are_known_by_their_epoch() {
    let mut controller = controller();
    let epoch = controller.image().broker(BROKER).unwrap().epoch;
    let refused = controller
        .decide_producer_ids(BROKER, epoch + 1)
        .answer
        .unwrap_err();
    assert_eq!(refused.code, ErrorCode::StaleBrokerEpoch);
    let refused = controller
        .decide_producer_ids(BrokerId(2), epoch)
        .answer
        .unwrap_err();
    assert_eq!(refused.code, ErrorCode::BrokerIdNotRegistered);
    let blocks = [0, 1].map(|_| {
        controller
            .decide_producer_ids(BROKER, epoch)
            .answer
            .unwrap()
            .first
            .0
    });
    assert_eq!(blocks, [0, 1000]);
    assert_eq!(
        controller.decide_register_broker(&registration(1)).answer,
        Ok(epoch)
    );
    let again = controller.decide_register_broker(&registration(2));
    assert_eq!(again.answer, Ok(again.base_offset.0));
    assert!(controller.image().broker(BROKER).unwrap().is_fenced);
    for wrong in [
        Registration {
            directories: vec![],
            ..registration(3)
        },
        Registration {
            directories: vec![Uuid::METADATA_TOPIC],
            ..registration(3)
        },
        Registration {
            listeners: vec![],
            ..registration(3)
        },
    ] {
        let refused = controller.decide_register_broker(&wrong).answer.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidRegistration);
    }
    let older = Registration {
        features: vec![],
        ..registration(3)
    };
    assert_eq!(
        controller.decide_register_broker(&older).answer.unwrap_err().code,
        ErrorCode::UnsupportedVersion
    );
}

#[test]
fn any_history_gives_the_same_image_in_any_pieces() {
    for seed in 0..100 {
        let mut random = Pcg64::seed_from_u64(seed);
        let mut controller = Controller::new(&Loader::default(), Offset(0));
        let mut log: Vec<Vec<u8>> = Vec::new();
        let mut take = |decision: &metadata::Records, base: Offset| {
            assert_eq!(base.0, log.len() as i64, "records go where the decision says");
            log.extend(decision.values().map(<[u8]>::to_vec));
        };
        let activation = controller.decide_activate();
        take(&activation.records, activation.base_offset);
        let mut ids = ids();
        for step in 0..60u8 {
            let epoch = controller.image().broker(BROKER).map_or(0, |broker| broker.epoch);
            let name = format!("t{}", random.random_range(0..12));
            match random.next_u32() % 6 {
                0 => {
                    let decision = controller.decide_register_broker(&registration(step));
                    take(&decision.records, decision.base_offset);
                }
                1 => {
                    let decision = controller.decide_unfence(BROKER, epoch);
                    take(&decision.records, decision.base_offset);
                }
                2 => {
                    let decision = controller.decide_producer_ids(BROKER, epoch);
                    take(&decision.records, decision.base_offset);
                }
                3 => {
                    let decision = controller.decide_delete_topics(&[Which::Name(&name)]);
                    take(&decision.records, decision.base_offset);
                }
                _ => {
                    let configs = vec![("segment.bytes", Some("1048576"))];
                    let wanted = Wanted {
                        configs,
                        ..topic(&name, random.random_range(-1..4), 1)
                    };
                    let decision =
                        controller.decide_create_topics(&[wanted], step % 7 == 0, &rules(), &mut ids);
                    take(&decision.records, decision.base_offset);
                }
            }
        }
        assert_eq!(replay(&log, &mut random), *controller.image(), "seed {seed}");
        let mut again = Image::default();
        controller
            .image()
            .records()
            .values()
            .for_each(|value| again.apply(value).unwrap());
        assert_eq!(again, *controller.image(), "seed {seed}");
    }
}

/// Applies the log in batches of random sizes.
fn replay(log: &[Vec<u8>], random: &mut Pcg64) -> Image {
    let mut loader = Loader::default();
    let mut rest = log;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(random.random_range(1..=rest.len().min(9)));
        let fields = HeaderFields {
            base_offset: loader.next_offset(),
            ..HeaderFields::default()
        };
        let mut builder = BatchBuilder::new(fields);
        now.iter()
            .for_each(|value| builder.append(0, None, Some(value), &[]).unwrap());
        let bytes = builder.build().unwrap();
        for batch in batches(&bytes) {
            loader.apply_batch(&batch.unwrap()).unwrap();
        }
        rest = later;
    }
    loader.image().clone()
}
