//! Writes the Rust of one message: a struct that borrows, its default, `decode` and `encode`.
//!
//! What a newcomer would get wrong: the code is kept plain and short because all of it is compiled; what is
//! common lives in `src/wire.rs`, and fields that a version does not have cost one comparison.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::enums::{api_key, record_enum};
use crate::schema::{Field, Message, SchemaError, Struct, Type, Versions};

/// Appends a line of code.
macro_rules! emit {
    ($out:expr, $($text:tt)+) => {
        writeln!($out, $($text)+).expect("a string takes all that is written")
    };
}
pub(crate) use emit;

/// What the build script writes.
pub struct Code {
    /// The messages, taken in by `src/messages.rs`.
    pub messages: String,
    /// `ApiKey`, taken in by `src/api.rs`.
    pub api_key: String,
    /// A macro call that lists all messages, for tests.
    pub table: String,
}

/// The code of all messages, which come in the order they are to stand in.
pub fn generate(messages: &[Message]) -> Result<Code, SchemaError> {
    let mut code = Code {
        messages: String::new(),
        api_key: api_key(messages),
        table: String::new(),
    };
    let mut known = BTreeSet::new();
    for message in messages {
        if !known.insert(&message.name) {
            return Err(fail(message, message.line, format!("a second {}", message.name)));
        }
        let module = snake(&message.name);
        let name = &message.name;
        emit!(&mut code.messages, "/// The parts of [`{name}`].");
        emit!(&mut code.messages, "pub mod {module} {{\nuse super::*;");
        for one in &message.structs {
            Emitter { message, known: one }.emit(&mut code.messages)?;
        }
        emit!(&mut code.messages, "}}\npub use {module}::{name};");
    }
    for (kind, name, topic) in [
        ("metadata", "MetadataRecord", "__cluster_metadata"),
        ("remote", "RemoteLogRecord", "__remote_log_metadata"),
    ] {
        record_enum(&mut code.messages, messages, kind, name, topic);
    }
    let names: Vec<&str> = messages.iter().map(|message| message.name.as_str()).collect();
    emit!(&mut code.table, "messages! {{ {} }}", names.join(", "));
    Ok(code)
}

fn fail(message: &Message, line: usize, what: impl ToString) -> SchemaError {
    SchemaError {
        file: message.file.clone(),
        line,
        what: what.to_string(),
    }
}

/// `EndPoints` is end_points, `KRaftVersion` kraft_version, `match` match_.
pub fn snake(name: &str) -> String {
    let letters: Vec<char> = name.replace("KRaft", "Kraft").chars().collect();
    let mut out = String::new();
    for (index, &letter) in letters.iter().enumerate() {
        let after_small = index > 0 && !letters[index - 1].is_ascii_uppercase();
        let before_small = letters.get(index + 1).is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_uppercase() && index > 0 && (after_small || before_small) {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    if matches!(out.as_str(), "match" | "type" | "where" | "ref") {
        out.push('_');
    }
    out
}

/// `v >= 3`, or nothing if `versions` is all of `within`.
fn condition(versions: Versions, within: Versions) -> String {
    match (versions.from > within.from, versions.to < within.to) {
        (false, false) => String::new(),
        (true, false) => format!("v >= {}", versions.from),
        (false, true) => format!("v <= {}", versions.to),
        (true, true) if versions.from == versions.to => format!("v == {}", versions.from),
        (true, true) => format!("({}..={}).contains(&v)", versions.from, versions.to),
    }
}

pub fn range_text(versions: Versions) -> String {
    if versions.from == versions.to {
        format!("version {}", versions.from)
    } else {
        format!("versions {} to {}", versions.from, versions.to)
    }
}

struct Emitter<'m> {
    message: &'m Message,
    known: &'m Struct,
}

impl Emitter<'_> {
    fn is_top(&self) -> bool {
        self.known.name == self.message.name
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.known.fields.iter().filter(|field| field.tag.is_none())
    }

    fn tagged(&self) -> Vec<&Field> {
        let mut tagged: Vec<&Field> = self
            .known
            .fields
            .iter()
            .filter(|field| field.tag.is_some())
            .collect();
        tagged.sort_by_key(|field| field.tag);
        tagged
    }

    fn emit(&self, out: &mut String) -> Result<(), SchemaError> {
        let name = &self.known.name;
        let lifetime = if borrows(self.message, self.known) {
            "<'a>"
        } else {
            ""
        };
        let derived = if self.known.fields.iter().all(is_plain_default) {
            ", Default"
        } else {
            ""
        };
        emit!(out, "/// `{name}`, {}.", range_text(self.known.versions));
        emit!(out, "#[derive(Clone, Debug, PartialEq{derived})]");
        emit!(out, "pub struct {name}{lifetime} {{");
        for field in &self.known.fields {
            let kind = self.rust_type(field);
            emit!(out, "/// `{}`, {}.", field.name, range_text(field.versions));
            emit!(out, "pub {}: {kind},", snake(&field.name));
        }
        emit!(out, "}}");
        if derived.is_empty() {
            emit!(out, "impl{lifetime} Default for {name}{lifetime} {{");
            emit!(out, "fn default() -> Self {{ Self {{");
            for field in &self.known.fields {
                emit!(out, "{}: {},", snake(&field.name), self.default(field)?);
            }
            emit!(out, "}} }} }}");
        }
        emit!(out, "impl{lifetime} {name}{lifetime} {{");
        self.constants(out);
        self.decode(out, if lifetime.is_empty() { "'_" } else { "'a" })?;
        self.encode(out)?;
        emit!(out, "}}");
        Ok(())
    }

    fn constants(&self, out: &mut String) {
        if !self.is_top() {
            return;
        }
        let message = self.message;
        if let Some(key) = message.key {
            emit!(out, "/// The key of the API, or the number of the record's type.");
            emit!(out, "pub const API_KEY: i16 = {key};");
        }
        let Versions { from, to } = message.versions;
        emit!(out, "/// The versions described.");
        emit!(out, "pub const VERSIONS: RangeInclusive<i16> = {from}..={to};");
        emit!(
            out,
            "/// The first flexible version; `i16::MAX` if there is none."
        );
        let flexible = message
            .flexible
            .map_or("i16::MAX".to_string(), |since| since.to_string());
        emit!(out, "pub const FLEXIBLE_SINCE: i16 = {flexible};");
    }

    fn decode(&self, out: &mut String, lifetime: &str) -> Result<(), SchemaError> {
        let version = if self.uses_version() { "v" } else { "_v" };
        emit!(out, "/// Reads one of the given version.");
        emit!(
            out,
            "pub fn decode(r: &mut Reader<{lifetime}>, {version}: i16) -> Result<Self, DecodeError> {{"
        );
        if self.is_top() {
            emit!(out, "r.begin(v, Self::VERSIONS, Self::FLEXIBLE_SINCE)?;");
        }
        let tagged = self.tagged();
        let flexible = self.message.flexible.is_some();
        let (before, after) = match (flexible, tagged.is_empty()) {
            (false, _) => ("Ok(Self {", "})"),
            (true, true) => ("let this = Self {", "}; r.skip_tags()?; Ok(this)"),
            (true, false) => ("let mut this = Self {", "};"),
        };
        emit!(out, "{before}");
        for field in self.fields() {
            emit!(out, "{}: {},", snake(&field.name), self.read_if_there(field)?);
        }
        for field in &tagged {
            emit!(out, "{}: {},", snake(&field.name), self.default(field)?);
        }
        emit!(out, "{after}");
        if !tagged.is_empty() {
            emit!(out, "r.tags(|r, tag| {{ match tag {{");
            for field in &tagged {
                let guard = condition(field.versions, self.known.versions);
                let guard = if guard.is_empty() {
                    guard
                } else {
                    format!(" if {guard}")
                };
                let (tag, name) = (field.tag.unwrap_or_default(), snake(&field.name));
                emit!(out, "{tag}{guard} => this.{name} = {},", self.read(field)?);
            }
            emit!(out, "_ => return Ok(false), }} Ok(true) }})?; Ok(this)");
        }
        emit!(out, "}}");
        Ok(())
    }

    fn encode(&self, out: &mut String) -> Result<(), SchemaError> {
        let version = if self.uses_version() { "v" } else { "_v" };
        let this = if self.known.fields.is_empty() && !self.is_top() {
            "_"
        } else {
            ""
        };
        emit!(
            out,
            "/// Appends it in the given version; fields that version lacks are dropped."
        );
        if self.is_top() {
            emit!(out, "pub fn encode(&self, out: &mut Vec<u8>, v: i16) {{");
            emit!(
                out,
                "let w = &mut Writer::begin(out, v, Self::VERSIONS, Self::FLEXIBLE_SINCE);"
            );
        } else {
            emit!(
                out,
                "pub fn encode(&{this}self, w: &mut Writer<'_>, {version}: i16) {{"
            );
        }
        for field in self.fields() {
            let there = condition(field.versions, self.known.versions);
            let write = self.write(field)?;
            match there.is_empty() {
                true => emit!(out, "{write}"),
                false => emit!(out, "if {there} {{ {write} }}"),
            }
        }
        let tagged = self.tagged();
        for field in &tagged {
            let there = condition(field.versions, self.known.versions);
            let and = if there.is_empty() { "" } else { " && " };
            let tag = field.tag.unwrap_or_default();
            emit!(out, "let tag{tag} = {there}{and}{};", self.differs(field)?);
        }
        if self.message.flexible.is_some() {
            let count: Vec<String> = (0..tagged.len())
                .map(|tag| format!("u32::from(tag{tag})"))
                .collect();
            let count = if count.is_empty() {
                "0".to_string()
            } else {
                count.join(" + ")
            };
            emit!(out, "w.tags({count});");
        }
        for field in &tagged {
            let tag = field.tag.unwrap_or_default();
            emit!(
                out,
                "if tag{tag} {{ w.tag({tag}, |w| {{ {} }}); }}",
                self.write(field)?
            );
        }
        emit!(out, "}}");
        Ok(())
    }

    /// Whether the code of this struct looks at the version at all.
    fn uses_version(&self) -> bool {
        self.is_top()
            || self.known.fields.iter().any(|field| {
                field.is_array
                    || matches!(field.kind, Type::Struct(_))
                    || !condition(field.versions, self.known.versions).is_empty()
                    || field
                        .nullable
                        .is_some_and(|null| !condition(null, field.versions).is_empty())
            })
    }

    fn rust_type(&self, field: &Field) -> String {
        let one = match &field.kind {
            Type::Bool => "bool".to_string(),
            Type::I8 => "i8".to_string(),
            Type::I16 => "i16".to_string(),
            Type::U16 => "u16".to_string(),
            Type::I32 => "i32".to_string(),
            Type::U32 => "u32".to_string(),
            Type::I64 => "i64".to_string(),
            Type::F64 => "f64".to_string(),
            Type::Uuid => "Uuid".to_string(),
            Type::Str => "&'a str".to_string(),
            Type::Bytes | Type::Records => "&'a [u8]".to_string(),
            Type::Struct(name) => match self.message.named(name) {
                Some(known) if borrows(self.message, known) => format!("{name}<'a>"),
                _ => name.clone(),
            },
        };
        let many = if field.is_array {
            format!("Vec<{one}>")
        } else {
            one
        };
        if field.nullable.is_some() {
            format!("Option<{many}>")
        } else {
            many
        }
    }

    fn default(&self, field: &Field) -> Result<String, SchemaError> {
        let given = field.default.as_deref();
        if given == Some("null") {
            return match field.nullable {
                Some(_) => Ok("None".to_string()),
                None => Err(fail(
                    self.message,
                    field.line,
                    "null is the default but not allowed",
                )),
            };
        }
        let value = match (&field.kind, given) {
            _ if field.is_array && given.is_none() => "Vec::new()".to_string(),
            (Type::Bool, None) => "false".to_string(),
            (Type::Bool, Some(value @ ("true" | "false"))) => value.to_string(),
            (Type::F64, None) => "0.0".to_string(),
            (Type::I8 | Type::I16 | Type::U16 | Type::I32 | Type::U32 | Type::I64, None) => "0".to_string(),
            (Type::I8 | Type::I16 | Type::U16 | Type::I32 | Type::U32 | Type::I64, Some(value)) => {
                let digits = value.trim_start_matches('-');
                let number = match digits.strip_prefix("0x") {
                    Some(hex) => u64::from_str_radix(hex, 16).is_ok(),
                    None => digits.parse::<u64>().is_ok(),
                };
                match number && !field.is_array {
                    true => value.to_string(),
                    false => return Err(fail(self.message, field.line, format!("`{value}` is no number"))),
                }
            }
            (Type::Uuid, None) => "Uuid::ZERO".to_string(),
            (Type::Str, None) => "\"\"".to_string(),
            (Type::Bytes | Type::Records, None) => "&[]".to_string(),
            (Type::Struct(name), None) => format!("{name}::default()"),
            (_, Some(value)) => {
                return Err(fail(
                    self.message,
                    field.line,
                    format!("{} cannot be `{value}`", field.name),
                ));
            }
        };
        Ok(if field.nullable.is_some() {
            format!("Some({value})")
        } else {
            value
        })
    }

    fn read_if_there(&self, field: &Field) -> Result<String, SchemaError> {
        let there = condition(field.versions, self.known.versions);
        let read = self.read(field)?;
        Ok(match there.is_empty() {
            true => read,
            false => format!("if {there} {{ {read} }} else {{ {} }}", self.default(field)?),
        })
    }

    fn read(&self, field: &Field) -> Result<String, SchemaError> {
        let Some(nullable) = field.nullable else {
            return self.read_one(field, false);
        };
        let nulls = condition(nullable, field.versions);
        Ok(match nulls.is_empty() {
            true => self.read_one(field, true)?,
            false => format!(
                "if {nulls} {{ {} }} else {{ Some({}) }}",
                self.read_one(field, true)?,
                self.read_one(field, false)?
            ),
        })
    }

    fn read_one(&self, field: &Field, nullable: bool) -> Result<String, SchemaError> {
        let prefix = if nullable { "nullable_" } else { "" };
        if field.is_array {
            let element = match &field.kind {
                Type::Struct(name) => format!("{name}::decode"),
                other => format!("|r, _| r.{}()", method(other)),
            };
            let least = least(self.message, &field.kind, field.versions);
            return Ok(format!("r.{prefix}array({least}, v, {element})?"));
        }
        Ok(match &field.kind {
            Type::Struct(name) if nullable => {
                let present = if field.tag.is_some() {
                    "is_present_in_tag"
                } else {
                    "is_present"
                };
                format!("if r.{present}()? {{ Some({name}::decode(r, v)?) }} else {{ None }}")
            }
            Type::Struct(name) => format!("{name}::decode(r, v)?"),
            other @ (Type::Str | Type::Bytes | Type::Records) => format!("r.{prefix}{}()?", method(other)),
            _ if nullable => return Err(fail(self.message, field.line, "this type is never null")),
            other => format!("r.{}()?", method(other)),
        })
    }

    fn write(&self, field: &Field) -> Result<String, SchemaError> {
        let name = format!("self.{}", snake(&field.name));
        let Some(nullable) = field.nullable else {
            return Ok(self.write_one(field, &name));
        };
        let with_null = self.write_nullable(field, &name);
        let nulls = condition(nullable, field.versions);
        if nulls.is_empty() {
            return Ok(with_null);
        }
        let without = match (&field.kind, field.is_array) {
            (_, true) => self.write_one(field, &format!("{name}.as_deref().unwrap_or_default()")),
            (Type::Struct(_), false) => {
                return Err(fail(
                    self.message,
                    field.line,
                    "a struct is nullable in all versions or in none",
                ));
            }
            _ => self.write_one(field, &format!("{name}.unwrap_or_default()")),
        };
        Ok(format!("if {nulls} {{ {with_null} }} else {{ {without} }}"))
    }

    fn element(&self, field: &Field) -> String {
        match &field.kind {
            Type::Struct(name) => format!("{name}::encode"),
            other @ (Type::Str | Type::Bytes | Type::Records) => {
                format!("|one, w, _| w.{}(one)", method(other))
            }
            other => format!("|one, w, _| w.{}(*one)", method(other)),
        }
    }

    fn write_one(&self, field: &Field, value: &str) -> String {
        if field.is_array {
            let borrow = if value.ends_with(')') { "" } else { "&" };
            return format!("w.array({borrow}{value}, v, {});", self.element(field));
        }
        match &field.kind {
            Type::Struct(_) => format!("{value}.encode(w, v);"),
            other => format!("w.{}({value});", method(other)),
        }
    }

    fn write_nullable(&self, field: &Field, value: &str) -> String {
        if field.is_array {
            return format!(
                "w.nullable_array({value}.as_deref(), v, {});",
                self.element(field)
            );
        }
        match &field.kind {
            Type::Struct(_) => {
                let (there, not) = match field.tag {
                    Some(_) => ("w.uvarint(1)", "w.uvarint(0)"),
                    None => ("w.i8(1)", "w.i8(-1)"),
                };
                format!("match &{value} {{ Some(one) => {{ {there}; one.encode(w, v); }} None => {not}, }}")
            }
            other => format!("w.nullable_{}({value});", method(other)),
        }
    }

    /// Whether a tagged field has another value than its default, and so is written.
    fn differs(&self, field: &Field) -> Result<String, SchemaError> {
        let name = format!("self.{}", snake(&field.name));
        let default = self.default(field)?;
        Ok(match default.as_str() {
            "None" => format!("{name}.is_some()"),
            "false" => name,
            "true" => format!("!{name}"),
            "Vec::new()" | "\"\"" | "&[]" => format!("!{name}.is_empty()"),
            other => format!("{name} != {other}"),
        })
    }
}

fn method(kind: &Type) -> &'static str {
    match kind {
        Type::Bool => "bool",
        Type::I8 => "i8",
        Type::I16 => "i16",
        Type::U16 => "u16",
        Type::I32 => "i32",
        Type::U32 => "u32",
        Type::I64 => "i64",
        Type::F64 => "f64",
        Type::Uuid => "uuid",
        Type::Str => "str",
        Type::Bytes | Type::Records => "bytes",
        Type::Struct(_) => unreachable!("structs read and write themselves"),
    }
}

/// Whether the default that Rust derives is that of the description.
fn is_plain_default(field: &Field) -> bool {
    let default = field.default.as_deref();
    match field.nullable {
        Some(_) => default == Some("null"),
        None => matches!(default, None | Some("0" | "false")),
    }
}

pub fn borrows(message: &Message, known: &Struct) -> bool {
    known.fields.iter().any(|field| match &field.kind {
        Type::Str | Type::Bytes | Type::Records => true,
        Type::Struct(name) => message.named(name).is_some_and(|inner| borrows(message, inner)),
        _ => false,
    })
}

/// The least bytes that an element can take in any of the versions.
fn least(message: &Message, kind: &Type, versions: Versions) -> usize {
    (versions.from..=versions.to)
        .map(|version| least_in(message, kind, version))
        .min()
        .unwrap_or(1)
        .max(1)
}

fn least_in(message: &Message, kind: &Type, version: i16) -> usize {
    let flexible = message.is_flexible(version);
    match kind {
        Type::Bool | Type::I8 => 1,
        Type::I16 | Type::U16 => 2,
        Type::I32 | Type::U32 => 4,
        Type::I64 | Type::F64 => 8,
        Type::Uuid => 16,
        Type::Str => {
            if flexible {
                1
            } else {
                2
            }
        }
        Type::Bytes | Type::Records => {
            if flexible {
                1
            } else {
                4
            }
        }
        Type::Struct(name) => {
            let fields = message.named(name).map_or(&[] as &[Field], |known| &known.fields);
            let plain = fields
                .iter()
                .filter(|field| field.tag.is_none() && field.versions.contains(version));
            let size = plain.map(|field| match (&field.kind, field.is_array, field.nullable) {
                (_, true, _) => {
                    if flexible {
                        1
                    } else {
                        4
                    }
                }
                (Type::Struct(_), false, Some(_)) => 1,
                (kind, false, _) => least_in(message, kind, version),
            });
            size.sum::<usize>() + usize::from(flexible)
        }
    }
}
