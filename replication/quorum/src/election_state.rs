//! What a voter must not forget: the epoch, whom it voted for in it, and who leads it. The file `quorum-state`.
//!
//! What a newcomer would get wrong: the file is text that Apache Kafka reads and writes too, byte for byte
//! (`FileQuorumStateStore`); -1 is "nobody". A quorum whose voters may change has another form, `data_version` 1, which
//! is recognised and refused.

use protocol::types::{BrokerId, LeaderEpoch};
use serde::Deserialize;

use crate::Voters;

/// Epoch, vote and leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElectionState {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Who leads it, as far as this node knows.
    pub leader: Option<BrokerId>,
    /// Whom this node voted for in it.
    pub voted: Option<BrokerId>,
    /// The voters.
    pub voters: Voters,
}

/// Why a text is no election state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is not the JSON it should be.
    Malformed(String),
    /// It has a form that this version does not know.
    Version(i64),
}

impl std::fmt::Display for Error {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Malformed(why) => write!(out, "quorum-state cannot be read: {why}"),
            Error::Version(1) => {
                out.write_str("quorum-state is that of a quorum whose voters may change, which comes later")
            }
            Error::Version(version) => write!(out, "quorum-state has the unknown data_version {version}"),
        }
    }
}

impl std::error::Error for Error {}

#[derive(Deserialize)]
struct Version {
    data_version: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Text {
    leader_id: i32,
    leader_epoch: i32,
    #[serde(default = "nobody")]
    voted_id: i32,
    #[serde(default)]
    current_voters: Option<Vec<TextVoter>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TextVoter {
    voter_id: i32,
}

fn nobody() -> i32 {
    -1
}

impl ElectionState {
    /// The text of the file. It has no newline at its end.
    pub fn encode(&self) -> String {
        let id = |id: Option<BrokerId>| id.map_or(-1, |id| id.0);
        let voters: Vec<String> = self
            .voters
            .iter()
            .map(|voter| format!("{{\"voterId\":{voter}}}"))
            .collect();
        format!(
            "{{\"clusterId\":\"\",\"leaderId\":{},\"leaderEpoch\":{},\"votedId\":{},\"appliedOffset\":0,\
             \"currentVoters\":[{}],\"data_version\":0}}",
            id(self.leader),
            self.epoch,
            id(self.voted),
            voters.join(",")
        )
    }

    /// Reads the text of the file.
    pub fn decode(text: &str) -> Result<ElectionState, Error> {
        let malformed = |error: serde_json::Error| Error::Malformed(error.to_string());
        let version: Version = serde_json::from_str(text).map_err(malformed)?;
        if version.data_version != 0 {
            return Err(Error::Version(version.data_version));
        }
        let text: Text = serde_json::from_str(text).map_err(malformed)?;
        if text.leader_epoch < 0 {
            return Err(Error::Malformed("the epoch is negative".to_owned()));
        }
        let id = |id: i32| (id >= 0).then_some(BrokerId(id));
        let voters = text.current_voters.unwrap_or_default();
        Ok(ElectionState {
            epoch: LeaderEpoch(text.leader_epoch),
            leader: id(text.leader_id),
            voted: id(text.voted_id),
            voters: Voters::new(voters.into_iter().map(|voter| BrokerId(voter.voter_id))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Apache Kafka 4.4.0 left it.
    const THEIRS: &str = "{\"clusterId\":\"\",\"leaderId\":1,\"leaderEpoch\":4,\"votedId\":-1,\"appliedOffset\":0,\
                          \"currentVoters\":[{\"voterId\":1}],\"data_version\":0}";

    #[test]
    fn kafkas_text_is_read_and_written() {
        let state = ElectionState::decode(THEIRS).unwrap();
        assert_eq!(
            (state.epoch, state.leader, state.voted),
            (LeaderEpoch(4), Some(BrokerId(1)), None)
        );
        assert_eq!(state.voters, Voters::new([BrokerId(1)]));
        assert_eq!(state.encode(), THEIRS);
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let check = |text: &str, expected: fn(&Error) -> bool| {
            let error = ElectionState::decode(text).unwrap_err();
            assert!(expected(&error), "{text}: {error}");
        };
        check("", |error| matches!(error, Error::Malformed(_)));
        check("{}", |error| matches!(error, Error::Malformed(_)));
        check(
            "{\"leaderId\":1,\"leaderEpoch\":-3,\"data_version\":0}",
            |error| matches!(error, Error::Malformed(_)),
        );
        check(
            "{\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\"data_version\":1}",
            |error| *error == Error::Version(1),
        );
        check("{\"data_version\":7}", |error| *error == Error::Version(7));
    }
}
