//! A record as a line of JSON, the same line in both directions: what `consume` prints `produce` reads.
//!
//! Bytes that are UTF-8 stand as text; others as base64 in a field with `_base64` behind its name.

use anyhow::{Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// One record. `topic`, `partition` and `offset` are where it was read; when it is written they say where to, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordText {
    /// The topic it was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Its partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// Its offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// The key, where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
    /// The value, where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    /// Headers in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderText>,
}

/// One header of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderText {
    /// Its key.
    pub key: String,
    /// Its value, where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Its value, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
}

/// Bytes as the pair of fields (text, base64) that they stand in.
pub fn to_fields(bytes: Option<&[u8]>) -> (Option<String>, Option<String>) {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => (None, None),
        Some((Ok(text), _)) => (Some(text.to_owned()), None),
        Some((Err(_), bytes)) => (None, Some(STANDARD.encode(bytes))),
    }
}

/// The bytes that a pair of fields stands for.
///
/// # Errors
/// Both fields are there, or the second is not base64.
pub fn from_fields(name: &str, text: Option<&str>, base64: Option<&str>) -> Result<Option<Vec<u8>>> {
    match (text, base64) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.as_bytes().to_vec())),
        (None, Some(base64)) => match STANDARD.decode(base64) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => bail!("{name}_base64: {error}"),
        },
        (Some(_), Some(_)) => bail!("{name} and {name}_base64: give one of them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_went() {
        let check = |bytes: Option<&[u8]>| {
            let (text, base64) = to_fields(bytes);
            let back = from_fields("key", text.as_deref(), base64.as_deref()).unwrap();
            assert_eq!(back.as_deref(), bytes);
        };
        check(None);
        check(Some(b""));
        check(Some("Wasserfall".as_bytes()));
        check(Some(&[0xff, 0, 0xfe]));
        assert!(from_fields("key", Some("a"), Some("YQ==")).is_err());
        assert!(from_fields("key", None, Some("?")).is_err());
    }

    #[test]
    fn a_line_is_short_where_nothing_is_said() {
        let record = RecordText {
            value: Some("v".into()),
            ..Default::default()
        };
        assert_eq!(serde_json::to_string(&record).unwrap(), r#"{"value":"v"}"#);
        assert!(serde_json::from_str::<RecordText>(r#"{"val":"v"}"#).is_err());
    }
}
