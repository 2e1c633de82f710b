//! Writes the enums over many messages: the records of a log, and the APIs.
//!
//! What a newcomer would get wrong: what both need beyond lists of names is written by hand, once, in
//! `src/messages.rs` and `src/api.rs`.

use std::fmt::Write;

use crate::rust::{borrows, emit, range_text};
use crate::schema::Message;

/// The records of a log whose values are framed as in `__cluster_metadata`.
pub fn record_enum(out: &mut String, messages: &[Message], kind: &str, name: &str, topic: &str) {
    let records: Vec<&Message> = messages.iter().filter(|message| message.kind == kind).collect();
    let variant = |record: &Message| record.name.trim_end_matches("Record").to_string();
    emit!(out, "/// A record of `{topic}`.");
    emit!(out, "#[derive(Clone, Debug, PartialEq)]\npub enum {name}<'a> {{");
    for record in &records {
        let lifetime = if borrows(record, &record.structs[0]) {
            "<'a>"
        } else {
            ""
        };
        emit!(out, "/// Type {}.", record.key.unwrap_or_default());
        emit!(out, "{}({}{lifetime}),", variant(record), record.name);
    }
    emit!(out, "}}\nimpl<'a> {name}<'a> {{");
    emit!(out, "/// The number of its type.");
    emit!(out, "pub fn api_key(&self) -> i16 {{ match self {{");
    for record in &records {
        emit!(
            out,
            "Self::{}(_) => {},",
            variant(record),
            record.key.unwrap_or_default()
        );
    }
    emit!(out, "}} }}\n/// The name of its type, as Kafka spells it.");
    emit!(out, "pub fn name(&self) -> &'static str {{ match self {{");
    for record in &records {
        emit!(out, "Self::{}(_) => \"{}\",", variant(record), record.name);
    }
    emit!(
        out,
        "}} }}\nfn decode_content(r: &mut Reader<'a>, api_key: u32, v: i16) -> Result<Self, DecodeError> {{"
    );
    emit!(out, "Ok(match api_key {{");
    for record in &records {
        let key = record.key.unwrap_or_default();
        emit!(
            out,
            "{key} => Self::{}({}::decode(r, v)?),",
            variant(record),
            record.name
        );
    }
    emit!(out, "_ => return Err(DecodeError::Unknown(api_key)), }}) }}");
    emit!(
        out,
        "fn encode_content(&self, out: &mut Vec<u8>, v: i16) {{ match self {{"
    );
    for record in &records {
        emit!(out, "Self::{}(record) => record.encode(out, v),", variant(record));
    }
    emit!(out, "}} }} }}");
    emit!(out, "framed!({name});");
}

/// The enum of all APIs with what the descriptions say of each.
pub fn api_key(messages: &[Message]) -> String {
    let apis: Vec<&Message> = messages
        .iter()
        .filter(|message| message.kind == "request")
        .collect();
    let short = |api: &Message| api.name.trim_end_matches("Request").to_string();
    let mut code = String::new();
    let out = &mut code;
    emit!(out, "/// The APIs of Kafka by their keys.");
    emit!(
        out,
        "#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]\n#[repr(i16)]"
    );
    emit!(out, "pub enum ApiKey {{");
    for api in &apis {
        emit!(out, "/// `{}`, {}.", short(api), range_text(api.versions));
        emit!(out, "{} = {},", short(api), api.key.unwrap_or_default());
    }
    emit!(out, "}}\nimpl ApiKey {{");
    emit!(out, "/// All of them, in the order of their keys.");
    emit!(out, "pub const ALL: [ApiKey; {}] = [", apis.len());
    for api in &apis {
        emit!(out, "ApiKey::{},", short(api));
    }
    emit!(
        out,
        "];\n/// The first version whose messages and headers are flexible; `i16::MAX` if none is."
    );
    emit!(out, "pub fn flexible_since(self) -> i16 {{ match self {{");
    for api in &apis {
        let since = api
            .flexible
            .map_or("i16::MAX".to_string(), |since| since.to_string());
        emit!(out, "ApiKey::{} => {since},", short(api));
    }
    emit!(
        out,
        "}} }}\n/// The versions that are described, supported or not."
    );
    emit!(
        out,
        "pub fn versions(self) -> RangeInclusive<i16> {{ match self {{"
    );
    for api in &apis {
        emit!(
            out,
            "ApiKey::{} => {}..={},",
            short(api),
            api.versions.from,
            api.versions.to
        );
    }
    emit!(out, "}} }}\n/// Kafka's name for it, such as `ListOffsets`.");
    emit!(out, "pub fn name(self) -> &'static str {{ match self {{");
    for api in &apis {
        emit!(out, "ApiKey::{0} => \"{0}\",", short(api));
    }
    for (letter, name, place) in [
        ("b", "is_on_brokers", "brokers"),
        ("c", "is_on_controllers", "controllers"),
    ] {
        emit!(out, "}} }}\n/// Whether the listeners of {place} offer it.");
        emit!(out, "pub fn {name}(self) -> bool {{ match self {{");
        for api in &apis {
            emit!(
                out,
                "ApiKey::{} => {},",
                short(api),
                api.listeners.contains(letter)
            );
        }
    }
    emit!(
        out,
        "}} }} }}\nimpl TryFrom<i16> for ApiKey {{ type Error = UnknownApi;"
    );
    emit!(
        out,
        "fn try_from(key: i16) -> Result<ApiKey, UnknownApi> {{ Ok(match key {{"
    );
    for api in &apis {
        emit!(out, "{} => ApiKey::{},", api.key.unwrap_or_default(), short(api));
    }
    emit!(out, "_ => return Err(UnknownApi(key)), }}) }} }}");
    code
}
