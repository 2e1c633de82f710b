//! What the values of control records and of the metadata log mean.

use std::fmt;

use protocol::control::ControlType;
use protocol::messages::MetadataRecord;
use protocol::records::Record;
use protocol::wire::Reader;
use serde::Serialize;

/// Memory that decoding one value may take.
const BUDGET: usize = 64 << 20;

/// A record by its name.
#[derive(Serialize)]
pub struct Meaning {
    /// The record's name, such as `TopicRecord` or `LeaderChange`.
    record_type: String,
    /// The version of its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    record_version: Option<i16>,
    /// Its fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<String>,
}

impl fmt::Display for Meaning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.record_type)?;
        if let Some(version) = self.record_version {
            write!(out, " v{version}")?;
        }
        match &self.fields {
            Some(fields) => write!(out, " {fields}"),
            None => Ok(()),
        }
    }
}

/// What a record means; `None` for those that are somebody's own bytes.
pub fn meaning(record: &Record<'_>, is_control: bool, is_metadata: bool) -> Option<Meaning> {
    if is_control {
        let kind = record.key.and_then(ControlType::of_key);
        return Some(Meaning {
            record_type: kind.map_or("UnknownControl".to_owned(), |kind| format!("{kind:?}")),
            record_version: None,
            fields: None,
        });
    }
    let value = record.value.filter(|_| is_metadata)?;
    Some(match MetadataRecord::decode(&mut Reader::new(value, BUDGET)) {
        Ok((record, version)) => metadata(&record, version),
        Err(error) => Meaning {
            record_type: "Unknown".to_owned(),
            record_version: None,
            fields: Some(error.to_string()),
        },
    })
}

/// The name of a struct and its fields, of what `Debug` writes: `Topic(TopicRecord { name: "a", .. })`.
fn metadata(record: &MetadataRecord<'_>, version: i16) -> Meaning {
    let text = format!("{record:?}");
    let inner = text.split_once('(').map_or(text.as_str(), |(_, inner)| {
        inner.strip_suffix(')').unwrap_or(inner)
    });
    let (name, fields) = match inner.split_once(' ') {
        Some((name, fields)) => (name, Some(fields.to_owned())),
        None => (inner, None),
    };
    Meaning {
        record_type: name.to_owned(),
        record_version: Some(version),
        fields,
    }
}
