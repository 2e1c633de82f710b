//! What one entry of the list of settings is, and how a value is checked against it.
//!
//! What a newcomer would get wrong: every value stays text, as Kafka keeps it and answers it; [`Kind`] says
//! which texts are allowed. A setting without a default has `None`, which DescribeConfigs answers as null.

/// One setting of the list.
#[derive(Debug)]
pub struct Setting {
    /// Its name as it stands in `server.properties`.
    pub name: &'static str,
    /// Which values it takes.
    pub kind: Kind,
    /// Its value when nobody sets it; none is "not set".
    pub default: Option<&'static str>,
    /// Whether and for whom it can change while the broker runs.
    pub change: Change,
    /// Whether this version acts on it.
    pub role: Role,
    /// One sentence or two for people.
    pub help: &'static str,
}

/// Which values a setting takes. Bounds are inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean,
    /// Any text.
    Text,
    /// Any text but the empty one.
    FilledText,
    /// One of these, spelled so.
    Choice(&'static [&'static str]),
    /// One of these, in any case.
    ChoiceAnyCase(&'static [&'static str]),
    /// A whole number of 32 bits.
    Int {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
        /// A value beyond the bounds that is allowed too.
        or: Option<i64>,
    },
    /// A whole number of 16 bits.
    Short {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
    },
    /// A whole number of 64 bits.
    Long {
        /// The least.
        min: i64,
        /// The most.
        max: i64,
    },
    /// A number with a fraction.
    Double {
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
    /// Values with commas between them.
    List {
        /// The allowed values, each at most once; empty allows any.
        of: &'static [&'static str],
        /// Whether there must be at least one.
        filled: bool,
    },
    /// A list of PARTITION:BROKER, or `*`.
    Throttled,
    /// The name of a Java class.
    Class,
    /// A secret: never shown.
    Password,
}

/// Whether a setting changes while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only when the broker starts.
    Restart,
    /// For the whole cluster or for one broker.
    Cluster,
    /// For one broker only.
    PerBroker,
}

/// What this version does with a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It acts on it.
    Acted,
    /// Kafka knows it, this version keeps it and says in a warning that it does nothing with it.
    Later,
    /// As `Later`, and Kafka does not show it either.
    Hidden,
}

/// The largest `int` of Kafka.
pub(super) const I32: i64 = i32::MAX as i64;
/// The largest `long` of Kafka.
pub(super) const I64: i64 = i64::MAX;

/// An `int` from `min` to `max`.
pub(super) const fn int(min: i64, max: i64) -> Kind {
    Kind::Int { min, max, or: None }
}

/// A `long` from `min` to `max`.
pub(super) const fn long(min: i64, max: i64) -> Kind {
    Kind::Long { min, max }
}

/// An `int` without bounds of its own.
pub(super) const INT: Kind = int(i32::MIN as i64, I32);
/// A `long` without bounds of its own.
pub(super) const LONG: Kind = long(i64::MIN, I64);
/// A `double` without bounds of its own.
pub(super) const DOUBLE: Kind = Kind::Double {
    min: f64::MIN,
    max: f64::MAX,
};
/// A list of anything.
pub(super) const LIST: Kind = Kind::List {
    of: &[],
    filled: false,
};

/// A table of settings: `name, kind, default, change, role, help;`.
macro_rules! settings {
    ($($name:literal, $kind:expr, $default:expr, $change:ident, $role:ident, $help:literal;)*) => {
        &[$($crate::config::setting::Setting {
            name: $name,
            kind: $kind,
            default: $default,
            change: $crate::config::setting::Change::$change,
            role: $crate::config::setting::Role::$role,
            help: $help,
        }),*]
    };
}
pub(super) use settings;

impl Setting {
    /// Whether the value is a secret.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// `value` as it is kept: without spaces around it, unless it is a secret. The error says what is
    /// allowed.
    pub fn check(&self, value: &str) -> Result<String, String> {
        let value = if self.is_sensitive() { value } else { value.trim() };
        self.kind.check(value).map(|()| value.to_owned())
    }
}

impl Kind {
    /// Its code in DescribeConfigs (`ConfigDef.Type`).
    pub fn code(&self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::Text | Kind::FilledText | Kind::Choice(_) | Kind::ChoiceAnyCase(_) => 2,
            Kind::Int { .. } => 3,
            Kind::Short { .. } => 4,
            Kind::Long { .. } => 5,
            Kind::Double { .. } => 6,
            Kind::List { .. } | Kind::Throttled => 7,
            Kind::Class => 8,
            Kind::Password => 9,
        }
    }

    /// Its name as Kafka's documentation calls it.
    pub fn name(&self) -> &'static str {
        match self.code() {
            1 => "boolean",
            2 => "string",
            3 => "int",
            4 => "short",
            5 => "long",
            6 => "double",
            7 => "list",
            8 => "class",
            _ => "password",
        }
    }

    /// What is allowed, in words that follow "must be".
    pub fn allowed(&self) -> String {
        match *self {
            Kind::Boolean => "true or false".to_owned(),
            Kind::Text | Kind::Password => "a text".to_owned(),
            Kind::Class => "the name of a class".to_owned(),
            Kind::FilledText => "a text that is not empty".to_owned(),
            Kind::Choice(of) | Kind::ChoiceAnyCase(of) => format!("one of {}", of.join(", ")),
            Kind::Int { min, max, or } => {
                let bounds = whole(min, max, i32::MIN as i64, I32, "32");
                or.map_or(bounds.clone(), |or| format!("{bounds}, or {or}"))
            }
            Kind::Short { min, max } => whole(min, max, i16::MIN as i64, i16::MAX as i64, "16"),
            Kind::Long { min, max } => whole(min, max, i64::MIN, I64, "64"),
            Kind::Double { min, max } if min == f64::MIN && max == f64::MAX => "a number".to_owned(),
            Kind::Double { min, max } => format!("a number from {min} to {max}"),
            Kind::List {
                of: [],
                filled: false,
            } => "a list with commas".to_owned(),
            Kind::List { of: [], filled: true } => "a list with commas that is not empty".to_owned(),
            Kind::List { of, .. } => format!("a list without repetitions of {}", of.join(", ")),
            Kind::Throttled => "* or a list of PARTITION:BROKER".to_owned(),
        }
    }

    fn check(&self, value: &str) -> Result<(), String> {
        let fits = match *self {
            Kind::Boolean => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            Kind::Text | Kind::Class | Kind::Password => true,
            Kind::FilledText => !value.is_empty(),
            Kind::Choice(of) => of.contains(&value),
            Kind::ChoiceAnyCase(of) => of.iter().any(|one| one.eq_ignore_ascii_case(value)),
            Kind::Int { min, max, or } => value
                .parse::<i32>()
                .is_ok_and(|n| (min..=max).contains(&n.into()) || or == Some(n.into())),
            Kind::Short { min, max } => value
                .parse::<i16>()
                .is_ok_and(|n| (min..=max).contains(&n.into())),
            Kind::Long { min, max } => value.parse::<i64>().is_ok_and(|n| (min..=max).contains(&n)),
            Kind::Double { min, max } => value.parse::<f64>().is_ok_and(|n| (min..=max).contains(&n)),
            Kind::List { of, filled } => list_fits(value, of, filled),
            Kind::Throttled => value == "*" || list(value).all(is_pair),
        };
        if fits { Ok(()) } else { Err(self.allowed()) }
    }
}

/// The parts of a list: separated by commas, without the spaces around them. The empty text is an empty list.
pub fn list(value: &str) -> impl Iterator<Item = &str> {
    let parts = (!value.trim().is_empty()).then(|| value.split(',').map(str::trim));
    parts.into_iter().flatten()
}

fn list_fits(value: &str, of: &[&str], filled: bool) -> bool {
    let parts: Vec<&str> = list(value).collect();
    let known = of.is_empty() || parts.iter().all(|part| of.contains(part));
    let repeated = parts
        .iter()
        .enumerate()
        .any(|(at, part)| parts.iter().skip(at + 1).any(|other| other == part));
    known && (of.is_empty() || !repeated) && !(filled && parts.is_empty()) && !parts.contains(&"")
}

fn is_pair(pair: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    pair.split_once(':')
        .is_some_and(|(partition, broker)| number(partition) && number(broker))
}

fn whole(min: i64, max: i64, least: i64, most: i64, bits: &str) -> String {
    match (min == least, max == most) {
        (true, true) => format!("a whole number of {bits} bits"),
        (false, true) => format!("a whole number, {min} or more"),
        (true, false) => format!("a whole number, {max} or less"),
        (false, false) => format!("a whole number from {min} to {max}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, value: &str, expected: Result<(), &str>) {
        assert_eq!(
            kind.check(value),
            expected.map_err(str::to_owned),
            "{kind:?} {value:?}"
        );
    }

    #[test]
    fn values_are_checked_by_kind() {
        let level = Kind::Int {
            min: 1,
            max: 9,
            or: Some(-1),
        };
        let policy = Kind::List {
            of: &["compact", "delete"],
            filled: false,
        };
        check(Kind::Boolean, "TRUE", Ok(()));
        check(Kind::Boolean, "yes", Err("true or false"));
        check(int(1, I32), "1", Ok(()));
        check(int(1, I32), "0", Err("a whole number, 1 or more"));
        check(int(1, I32), "2147483648", Err("a whole number, 1 or more"));
        check(INT, "x", Err("a whole number of 32 bits"));
        check(level, "-1", Ok(()));
        check(level, "0", Err("a whole number from 1 to 9, or -1"));
        check(long(-1, I64), "9223372036854775807", Ok(()));
        check(Kind::Double { min: 0.0, max: 1.0 }, "0.5", Ok(()));
        check(
            Kind::Double { min: 0.0, max: 1.0 },
            "NaN",
            Err("a number from 0 to 1"),
        );
        check(policy, "", Ok(()));
        check(policy, "delete, compact", Ok(()));
        check(
            policy,
            "delete,delete",
            Err("a list without repetitions of compact, delete"),
        );
        check(
            policy,
            "foo",
            Err("a list without repetitions of compact, delete"),
        );
        check(Kind::Choice(&["a", "b"]), "A", Err("one of a, b"));
        check(Kind::ChoiceAnyCase(&["A"]), "a", Ok(()));
        check(Kind::Throttled, "0:1,2:3", Ok(()));
        check(Kind::Throttled, "x", Err("* or a list of PARTITION:BROKER"));
        check(Kind::FilledText, "", Err("a text that is not empty"));
        check(
            Kind::List {
                of: &[],
                filled: true,
            },
            " ",
            Err("a list with commas that is not empty"),
        );
    }
}
