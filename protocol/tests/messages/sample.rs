//! Random bytes of a message, from its description alone.

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use crate::schema::{Field, Message, Struct, Type};

/// A message as Kafka would write it.
pub struct Sample {
    pub bytes: Vec<u8>,
    /// Where counts and lengths stand.
    pub counts: Vec<Count>,
    /// Where the count of the message's own tagged fields stands, which end the message.
    pub last_tags: Option<usize>,
}

/// A count or length within a sample.
#[derive(Copy, Clone)]
pub struct Count {
    pub place: usize,
    /// How many bytes it takes.
    pub width: usize,
    pub is_varint: bool,
}

pub fn sample(message: &Message, version: i16, random: &mut Pcg64Mcg) -> Sample {
    let mut maker = Maker {
        message,
        version,
        random: Some(random),
        bytes: Vec::new(),
        counts: Vec::new(),
        last_tags: 0,
    };
    maker.content(&message.structs[0]);
    let last_tags = message.is_flexible(version).then_some(maker.last_tags);
    Sample {
        bytes: maker.bytes,
        counts: maker.counts,
        last_tags,
    }
}

struct Maker<'m, 'r> {
    message: &'m Message,
    version: i16,
    /// None makes the default of everything.
    random: Option<&'r mut Pcg64Mcg>,
    bytes: Vec<u8>,
    counts: Vec<Count>,
    last_tags: usize,
}

impl Maker<'_, '_> {
    fn is_flexible(&self) -> bool {
        self.message.is_flexible(self.version)
    }

    fn chance(&mut self, of: f64) -> bool {
        self.random.as_mut().is_some_and(|random| random.random_bool(of))
    }

    fn content(&mut self, known: &Struct) {
        let there = |field: &&Field| field.versions.contains(self.version);
        let (mut tagged, plain): (Vec<&Field>, Vec<&Field>) = known
            .fields
            .iter()
            .filter(there)
            .partition(|field| field.tag.is_some());
        for field in plain {
            self.value(field);
        }
        if !self.is_flexible() {
            return;
        }
        tagged.sort_by_key(|field| field.tag);
        let fields: Vec<(u32, Vec<u8>, Vec<Count>)> = tagged
            .into_iter()
            .filter_map(|field| self.tagged(field))
            .collect();
        let place = self.bytes.len();
        self.varint(fields.len());
        for (tag, bytes, counts) in fields {
            self.varint(tag as usize);
            self.count_varint(bytes.len());
            let start = self.bytes.len();
            self.bytes.extend(bytes);
            self.counts.extend(counts.into_iter().map(|count| Count {
                place: start + count.place,
                ..count
            }));
        }
        self.last_tags = place;
    }

    /// A tagged field, unless it turns out to be the default, which is not written.
    fn tagged(&mut self, field: &Field) -> Option<(u32, Vec<u8>, Vec<Count>)> {
        let (message, version) = (self.message, self.version);
        let part = |random| Maker {
            message,
            version,
            random,
            bytes: Vec::new(),
            counts: Vec::new(),
            last_tags: 0,
        };
        let mut default = part(None);
        default.value(field);
        let mut other = part(self.random.as_deref_mut());
        other.value(field);
        (other.bytes != default.bytes).then(|| (field.tag.expect("tagged"), other.bytes, other.counts))
    }

    fn value(&mut self, field: &Field) {
        let can_be_null = field.nullable.is_some_and(|null| null.contains(self.version));
        let is_null = match self.random {
            Some(_) => self.chance(0.3),
            None => field.default.as_deref() == Some("null"),
        };
        let is_struct = matches!(field.kind, Type::Struct(_)) && !field.is_array;
        if can_be_null && is_null {
            match (&field.kind, field.is_array) {
                (Type::Struct(_), false) => self.bytes.push(if field.tag.is_some() { 0 } else { 0xff }),
                (Type::Str, false) if !self.is_flexible() => self.bytes.extend([0xff; 2]),
                _ if self.is_flexible() => self.bytes.push(0),
                _ => self.bytes.extend([0xff; 4]),
            }
            return;
        }
        if can_be_null && is_struct {
            self.bytes.push(1);
        }
        if !field.is_array {
            return self.one(&field.kind, field.default.as_deref());
        }
        let count = self.random.as_mut().map_or(0, |random| random.random_range(0..4));
        self.count(count);
        for _ in 0..count {
            self.one(&field.kind, None);
        }
    }

    fn one(&mut self, kind: &Type, default: Option<&str>) {
        match kind {
            Type::Struct(name) => {
                let known = self.message.named(name).expect("checked by the parser");
                self.content(known);
            }
            Type::Str => {
                let text = self.text();
                if self.is_flexible() {
                    self.count(text.len())
                } else {
                    self.count_i16(text.len())
                }
                self.bytes.extend(text.into_bytes());
            }
            Type::Bytes | Type::Records => {
                let bytes = self.raw();
                self.count(bytes.len());
                self.bytes.extend(bytes);
            }
            Type::Bool => {
                let value = match &mut self.random {
                    Some(random) => random.random(),
                    None => default == Some("true"),
                };
                self.bytes.push(u8::from(value));
            }
            Type::I8 => self.number(1, default),
            Type::I16 | Type::U16 => self.number(2, default),
            Type::I32 | Type::U32 => self.number(4, default),
            Type::I64 | Type::F64 => self.number(8, default),
            Type::Uuid => self.number(16, default),
        }
    }

    fn number(&mut self, width: usize, default: Option<&str>) {
        let value: i128 = match &mut self.random {
            Some(random) => match random.random() {
                // Small numbers too, and those around zero.
                true => i128::from(random.random_range(-2i64..300)),
                false => random.random(),
            },
            None => match default.map(|text| (text, text.strip_prefix("0x"))) {
                None => 0,
                Some((_, Some(hex))) => i128::from_str_radix(hex, 16).expect("checked by the generator"),
                Some((text, None)) => text.parse().expect("checked by the generator"),
            },
        };
        self.bytes.extend(&value.to_be_bytes()[16 - width..]);
    }

    fn text(&mut self) -> String {
        let Some(random) = &mut self.random else {
            return String::new();
        };
        // Now and then longer than one byte of a varint can say.
        let letters = if random.random_bool(0.02) {
            200
        } else {
            random.random_range(0..6)
        };
        (0..letters)
            .map(|_| ['a', 'Z', '7', '-', 'ä', '€', '🦀'][random.random_range(0..7)])
            .collect()
    }

    fn raw(&mut self) -> Vec<u8> {
        let Some(random) = &mut self.random else {
            return Vec::new();
        };
        (0..random.random_range(0..9)).map(|_| random.random()).collect()
    }

    fn count(&mut self, count: usize) {
        if self.is_flexible() {
            return self.count_varint(count + 1);
        }
        self.counts.push(Count {
            place: self.bytes.len(),
            width: 4,
            is_varint: false,
        });
        self.bytes.extend((count as u32).to_be_bytes());
    }

    fn count_i16(&mut self, count: usize) {
        self.counts.push(Count {
            place: self.bytes.len(),
            width: 2,
            is_varint: false,
        });
        self.bytes.extend((count as u16).to_be_bytes());
    }

    fn count_varint(&mut self, value: usize) {
        let place = self.bytes.len();
        self.varint(value);
        self.counts.push(Count {
            place,
            width: self.bytes.len() - place,
            is_varint: true,
        });
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}
