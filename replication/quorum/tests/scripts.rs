//! Conversations with a quorum, as text: commands, `----`, what came of them, an empty line.
//!
//! `UPDATE_SCRIPTS=1 cargo test -p quorum` writes the answers anew; read what changed.

#![allow(
    clippy::disallowed_methods,
    reason = "reads its scripts with std::fs; it is a test and no part of the broker"
)]

use protocol::types::{BrokerId, LeaderEpoch, Offset};
use quorum::{ElectionState, Input, Output, Quorum, Role, Voters};

#[test]
fn conversations_go_as_written() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let played = play(&text);
        if std::env::var_os("UPDATE_SCRIPTS").is_some() {
            std::fs::write(&path, &played).unwrap();
        }
        assert!(
            played == text || std::env::var_os("UPDATE_SCRIPTS").is_some(),
            "{path:?} went:\n{played}"
        );
    }
}

fn play(text: &str) -> String {
    let mut quorum = None;
    let parts = text.trim().split("\n\n").map(|part| {
        let commands: Vec<&str> = part.lines().take_while(|line| *line != "----").collect();
        let mut answers: Vec<String> = Vec::new();
        for command in commands.iter().filter(|line| !line.starts_with('#')) {
            answers.extend(obey(&mut quorum, command));
        }
        answers.extend(quorum.as_ref().map(describe));
        format!("{}\n----\n{}", commands.join("\n"), answers.join("\n"))
    });
    parts.collect::<Vec<_>>().join("\n\n") + "\n"
}

fn obey(quorum: &mut Option<Quorum>, command: &str) -> Vec<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let input = match words.as_slice() {
        ["node", id, rest @ ..] => return found(quorum, number(id), rest),
        ["start", end] => Input::Start {
            log_end: Offset(i64::from(number(end))),
        },
        ["durable", end] => Input::Durable(Offset(i64::from(number(end)))),
        ["resign"] => Input::Resign,
        _ => panic!("{command:?} is no command"),
    };
    quorum.as_mut().unwrap().on_input(input).iter().map(say).collect()
}

fn found(quorum: &mut Option<Quorum>, node: i32, rest: &[&str]) -> Vec<String> {
    let after = |word: &'static str| rest.iter().skip_while(move |one| **one != word).skip(1);
    let voters = Voters::new(after("voters").map_while(|id| id.parse().ok()).map(BrokerId));
    let stored = after("stored")
        .next()
        .map(|text| ElectionState::decode(text).unwrap());
    let log_epoch = LeaderEpoch(after("log").next().map_or(-1, |epoch| number(epoch)));
    match Quorum::new(BrokerId(node), voters, stored, log_epoch) {
        Ok(made) => {
            *quorum = Some(made);
            Vec::new()
        }
        Err(refused) => {
            *quorum = None;
            vec![format!("refused: {refused}")]
        }
    }
}

fn number(word: &str) -> i32 {
    word.parse().unwrap()
}

fn say(output: &Output) -> String {
    match output {
        Output::Persist(state) => {
            assert_eq!(ElectionState::decode(&state.encode()).as_ref(), Ok(state));
            format!("persist {}", state.encode())
        }
        Output::Append {
            offset,
            epoch,
            message,
        } => {
            let ids = |voters: &[protocol::messages::leader_change_message::Voter]| {
                voters
                    .iter()
                    .map(|voter| voter.voter_id.to_string())
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            let (voters, granting) = (ids(&message.voters), ids(&message.granting_voters));
            let leader = message.leader_id;
            format!("append at {offset} in epoch {epoch}: leader {leader} of {voters} granted by {granting}")
        }
        Output::HighWatermark(offset) => format!("high watermark {offset}"),
        Output::Resigned => "resigned".to_owned(),
    }
}

fn describe(quorum: &Quorum) -> String {
    let role = match quorum.role() {
        Role::Unattached => "unattached".to_owned(),
        Role::Leader { epoch_start } => format!("leader from {epoch_start}"),
        Role::Resigned => "resigned".to_owned(),
    };
    let committed = quorum
        .high_watermark()
        .map_or("nothing".to_owned(), |offset| offset.to_string());
    format!("= {role}, epoch {}, committed {committed}", quorum.epoch())
}
