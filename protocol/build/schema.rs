//! Reads the descriptions in `schema/`: one message or log record per block, one field per line.
//!
//! ```text
//! request 3 MetadataRequest v0-13 flex 9+ [b] {      kind, API key or record type, name, versions,
//!     Topics:[]MetadataRequestTopic?1+ {              flexible versions, listeners (b broker, c controller)
//!         TopicId:uuid@10+                            from version 10; without `@` in all of the parent's
//!         Name:str?10+                                nullable from version 10; `?` alone in all
//!     }
//!     Acls:[]Acl~tag0*                                tagged field 0; `*` is a key in its array
//!     TimeoutMs:i32=60000                             default; without it 0, "", empty, false
//!     where Acl {                                     a struct that several fields share
//! ```
//!
//! What a newcomer would get wrong: the default of a nullable field without `=null` is not null but empty,
//! as in Kafka's own generator.

use std::collections::BTreeMap;
use std::fmt;

/// What went wrong in a description, and where.
pub struct SchemaError {
    pub file: String,
    pub line: usize,
    pub what: String,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// A closed range of versions; `to` of an open one is `i16::MAX`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Versions {
    pub from: i16,
    pub to: i16,
}

impl Versions {
    /// The versions that are in both; `None` when there are none.
    pub fn and(self, other: Versions) -> Option<Versions> {
        let both = Versions {
            from: self.from.max(other.from),
            to: self.to.min(other.to),
        };
        (both.from <= both.to).then_some(both)
    }

    pub fn contains(self, version: i16) -> bool {
        self.from <= version && version <= self.to
    }
}

/// The type of a field, or of the elements of its array.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Type {
    Bool,
    I8,
    I16,
    U16,
    I32,
    U32,
    I64,
    F64,
    Uuid,
    Str,
    Bytes,
    Records,
    Struct(String),
}

/// One field of a message or struct.
#[derive(Clone, Debug)]
pub struct Field {
    /// As Kafka spells it.
    pub name: String,
    pub kind: Type,
    pub is_array: bool,
    /// In which versions it exists; always within those of its parent.
    pub versions: Versions,
    /// In which versions it may be null.
    pub nullable: Option<Versions>,
    pub default: Option<String>,
    pub tag: Option<u32>,
    pub is_map_key: bool,
    pub line: usize,
}

/// A struct within a message; its name is unique there, not between messages.
#[derive(Clone, Debug)]
pub struct Struct {
    pub name: String,
    pub versions: Versions,
    pub fields: Vec<Field>,
    pub line: usize,
}

/// A message on the wire or a record of a log.
#[derive(Clone, Debug)]
pub struct Message {
    pub file: String,
    pub line: usize,
    /// `request`, `response`, `metadata`, `group-key`, ... , or `data` for what has no number.
    pub kind: String,
    /// The API key, or the number of the record's type.
    pub key: Option<i16>,
    pub name: String,
    pub versions: Versions,
    /// The first flexible version.
    pub flexible: Option<i16>,
    /// `b`, `c` or both; only requests have it.
    pub listeners: String,
    /// The message itself first, then the structs it is made of.
    pub structs: Vec<Struct>,
}

impl Message {
    pub fn is_flexible(&self, version: i16) -> bool {
        self.flexible.is_some_and(|since| version >= since)
    }

    pub fn named(&self, name: &str) -> Option<&Struct> {
        self.structs.iter().find(|known| known.name == name)
    }
}

/// Reads one file of descriptions.
pub fn parse(file: &str, text: &str) -> Result<Vec<Message>, SchemaError> {
    let mut parser = Parser {
        file,
        lines: text.lines().enumerate(),
        line: 0,
    };
    let mut messages = Vec::new();
    while let Some(text) = parser.next_line() {
        messages.push(parser.message(text)?);
    }
    Ok(messages)
}

struct Parser<'t> {
    file: &'t str,
    lines: std::iter::Enumerate<std::str::Lines<'t>>,
    line: usize,
}

impl<'t> Parser<'t> {
    /// The next line that says something, without comment and margin.
    fn next_line(&mut self) -> Option<&'t str> {
        for (index, text) in self.lines.by_ref() {
            let text = text.split_once('#').map_or(text, |(before, _)| before).trim();
            if !text.is_empty() {
                self.line = index + 1;
                return Some(text);
            }
        }
        None
    }

    fn fail<T>(&self, what: impl fmt::Display) -> Result<T, SchemaError> {
        self.fail_at(self.line, what)
    }

    fn fail_at<T>(&self, line: usize, what: impl fmt::Display) -> Result<T, SchemaError> {
        Err(SchemaError {
            file: self.file.to_string(),
            line,
            what: what.to_string(),
        })
    }

    fn message(&mut self, text: &'t str) -> Result<Message, SchemaError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (kind, key, rest) = match words.as_slice() {
            ["data", rest @ ..] => ("data", None, rest),
            [kind, key, rest @ ..] => match key.parse() {
                Ok(key) => (*kind, Some(key), rest),
                Err(_) => return self.fail(format!("`{key}` is not the number of an API or a record")),
            },
            _ => return self.fail("`KIND NUMBER NAME vN-M flex N+ {` is wanted"),
        };
        let (name, versions, flexible, listeners) = match rest {
            [name, versions, "flex", flexible, "{"] => (*name, *versions, *flexible, ""),
            [name, versions, "flex", flexible, listeners, "{"] => (*name, *versions, *flexible, *listeners),
            _ => return self.fail("`NAME vN-M flex N+ [bc] {` is wanted after the number"),
        };
        let versions = match versions.strip_prefix('v') {
            Some(versions) => self.versions(versions)?,
            None => return self.fail(format!("`{versions}` does not begin with v")),
        };
        let flexible = match flexible {
            "none" => None,
            since => Some(self.versions(since)?.from),
        };
        let line = self.line;
        let mut message = Message {
            file: self.file.to_string(),
            line,
            kind: kind.to_string(),
            key,
            name: name.to_string(),
            versions,
            flexible,
            listeners: listeners.trim_matches(['[', ']']).to_string(),
            structs: Vec::new(),
        };
        self.body(&mut message, name.to_string(), versions)?;
        self.check(&message)?;
        Ok(message)
    }

    /// The fields up to the closing brace. The struct stands before those it contains.
    fn body(&mut self, message: &mut Message, name: String, versions: Versions) -> Result<(), SchemaError> {
        if message.named(&name).is_some() {
            return self.fail(format!("a second struct {name} in {}", message.name));
        }
        let place = message.structs.len();
        message.structs.push(Struct {
            name,
            versions,
            fields: Vec::new(),
            line: self.line,
        });
        loop {
            let Some(text) = self.next_line() else {
                return self.fail("the closing } is missing");
            };
            if text == "}" {
                return Ok(());
            }
            let (text, opens) = match text.strip_suffix('{') {
                Some(text) => (text.trim_end(), true),
                None => (text, false),
            };
            if let Some(name) = text.strip_prefix("where ") {
                if !opens {
                    return self.fail("a `where` struct has a body");
                }
                let (name, within) = match name.split_once('@') {
                    Some((name, range)) => (name, self.within(range, message.versions)?),
                    None => (name, message.versions),
                };
                self.body(message, name.to_string(), within)?;
                continue;
            }
            let field = self.field(text, versions)?;
            if opens {
                let Type::Struct(name) = &field.kind else {
                    return self.fail(format!("{} has a body, so its type must be a name", field.name));
                };
                self.body(message, name.clone(), field.versions)?;
            }
            message.structs[place].fields.push(field);
        }
    }

    /// `Name:[]type@versions?nullable=default~tagN*`
    fn field(&self, text: &str, parent: Versions) -> Result<Field, SchemaError> {
        let Some((name, rest)) = text.split_once(':') else {
            return self.fail(format!("`{text}` is not a field: `Name:type` is wanted"));
        };
        let end = |text: &str| text.find(['@', '?', '=', '~', '*']).unwrap_or(text.len());
        let (kind, mut rest) = rest.split_at(end(rest));
        let (is_array, kind) = match kind.strip_prefix("[]") {
            Some(element) => (true, element),
            None => (false, kind),
        };
        let mut field = Field {
            name: name.to_string(),
            kind: self.kind(kind)?,
            is_array,
            versions: parent,
            nullable: None,
            default: None,
            tag: None,
            is_map_key: false,
            line: self.line,
        };
        while let Some(mark) = rest.chars().next() {
            let (value, after) = rest[1..].split_at(end(&rest[1..]));
            rest = after;
            match mark {
                '@' => field.versions = self.within(value, parent)?,
                '?' if value.is_empty() => field.nullable = Some(field.versions),
                '?' => field.nullable = Some(self.within(value, field.versions)?),
                '=' => field.default = Some(value.to_string()),
                '~' => match value.strip_prefix("tag").and_then(|number| number.parse().ok()) {
                    Some(number) => field.tag = Some(number),
                    None => return self.fail(format!("`~{value}` is not `~tagN`")),
                },
                '*' if value.is_empty() => field.is_map_key = true,
                _ => return self.fail(format!("`{mark}{value}` says nothing about a field")),
            }
        }
        Ok(field)
    }

    fn kind(&self, text: &str) -> Result<Type, SchemaError> {
        Ok(match text {
            "bool" => Type::Bool,
            "i8" => Type::I8,
            "i16" => Type::I16,
            "u16" => Type::U16,
            "i32" => Type::I32,
            "u32" => Type::U32,
            "i64" => Type::I64,
            "f64" => Type::F64,
            "uuid" => Type::Uuid,
            "str" => Type::Str,
            "bytes" => Type::Bytes,
            "records" => Type::Records,
            name if name.starts_with(|first: char| first.is_ascii_uppercase()) => {
                Type::Struct(name.to_string())
            }
            _ => return self.fail(format!("`{text}` is neither a type nor the name of a struct")),
        })
    }

    fn versions(&self, text: &str) -> Result<Versions, SchemaError> {
        let number = |text: &str| match text.parse::<i16>() {
            Ok(number) if number >= 0 => Ok(number),
            _ => self.fail(format!("`{text}` is not a version")),
        };
        let versions = if let Some(from) = text.strip_suffix('+') {
            Versions {
                from: number(from)?,
                to: i16::MAX,
            }
        } else if let Some((from, to)) = text.split_once('-') {
            Versions {
                from: number(from)?,
                to: number(to)?,
            }
        } else {
            Versions {
                from: number(text)?,
                to: number(text)?,
            }
        };
        if versions.from > versions.to {
            return self.fail(format!("`{text}` is empty"));
        }
        Ok(versions)
    }

    fn within(&self, text: &str, parent: Versions) -> Result<Versions, SchemaError> {
        match self.versions(text)?.and(parent) {
            Some(versions) => Ok(versions),
            None => self.fail(format!("`{text}` shares no version with what it stands in")),
        }
    }

    /// What only the whole message shows: known structs, no struct within itself, tags from 0 without a gap.
    fn check(&self, message: &Message) -> Result<(), SchemaError> {
        for known in &message.structs {
            let mut tags = BTreeMap::new();
            for field in &known.fields {
                if let Type::Struct(name) = &field.kind {
                    if message.named(name).is_none() {
                        return self.fail_at(field.line, format!("nobody says what {name} is"));
                    }
                    if reaches(message, name, &known.name, 0) {
                        return self.fail_at(field.line, format!("{} contains itself", known.name));
                    }
                }
                if let Some(tag) = field.tag {
                    if !message.is_flexible(field.versions.from) {
                        return self.fail_at(field.line, "tagged in a version that is not flexible");
                    }
                    if tags.insert(tag, field.line).is_some() {
                        return self.fail_at(field.line, format!("tag {tag} is taken"));
                    }
                }
            }
            if tags.keys().copied().ne(0..tags.len() as u32) {
                return self.fail_at(known.line, format!("the tags of {} have a gap", known.name));
            }
        }
        Ok(())
    }
}

/// Whether `from` is `target` or contains it. Deeper than there are structs lies a loop that `target` is not
/// part of; it is found when its own struct is checked.
fn reaches(message: &Message, from: &str, target: &str, depth: usize) -> bool {
    let inside = |field: &Field| match &field.kind {
        Type::Struct(name) => reaches(message, name, target, depth + 1),
        _ => false,
    };
    let known = message.named(from).filter(|_| depth < message.structs.len());
    from == target || known.is_some_and(|known| known.fields.iter().any(inside))
}
