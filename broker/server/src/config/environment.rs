//! Settings from the environment, as the container image of Apache Kafka takes them.
//!
//! What a newcomer would get wrong: `_` is a dot, `__` an underscore and `___` a hyphen, and some `KAFKA_`
//! variables are for the JVM's start script and no settings.

use tracing::level_filters::LevelFilter;

use super::Problem;

/// Variables of that image and of Kafka's scripts which are no settings, beside those that end in `_OPTS`.
const NOT_SETTINGS: &[&str] = &[
    "KAFKA_VERSION",
    "KAFKA_DEBUG",
    "KAFKA_HOME",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_PORT",
    ROOT_LEVEL,
    LOGGERS,
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
];
/// The level of what no logger is named for.
const ROOT_LEVEL: &str = "KAFKA_LOG4J_ROOT_LOGLEVEL";
/// Levels of loggers, as `kafka=INFO,org.apache.kafka=WARN`.
const LOGGERS: &str = "KAFKA_LOG4J_LOGGERS";

/// The setting that `variable` names, or none if it is not meant as one.
pub fn setting_name(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("KAFKA_").filter(|rest| !rest.is_empty())?;
    if NOT_SETTINGS.contains(&variable) || variable.ends_with("_OPTS") {
        return None;
    }
    // The marks cannot occur in a variable, so the three replacements do not disturb each other.
    let marked = rest
        .replace("___", "\u{1}")
        .replace("__", "\u{2}")
        .replace('_', ".");
    Some(
        marked
            .replace('\u{1}', "-")
            .replace('\u{2}', "_")
            .to_ascii_lowercase(),
    )
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLevels {
    /// By everything.
    pub root: LevelFilter,
    /// By Klamm's own code, where a logger of Kafka's own code was named: `kafka` and `org.apache.kafka` are both all
    /// of it, and the more talkative one counts.
    pub own: Option<LevelFilter>,
}

/// The levels that the variables for Log4j ask for, and the loggers that have no like here.
///
/// # Errors
/// A variable is none of levels.
pub(super) fn log_levels(environment: &[(String, String)]) -> Result<(LogLevels, Vec<String>), Problem> {
    let mut levels = LogLevels {
        root: LevelFilter::INFO,
        own: None,
    };
    let mut unknown = Vec::new();
    for (name, value) in environment {
        if name == ROOT_LEVEL && !value.trim().is_empty() {
            let must = format!("must be one of {LEVELS}");
            levels.root = level(value).ok_or_else(|| Problem::value(ROOT_LEVEL, value, &must))?;
        } else if name == LOGGERS {
            for one in value.split(',').filter(|one| !one.trim().is_empty()) {
                let must = format!("must be LOGGER=LEVEL with commas between, a level one of {LEVELS}");
                let (logger, level) = one
                    .split_once('=')
                    .and_then(|(logger, text)| Some((logger.trim(), level(text)?)))
                    .ok_or_else(|| Problem::value(LOGGERS, value, &must))?;
                match logger {
                    "kafka" | "org.apache.kafka" => levels.own = levels.own.max(Some(level)),
                    _ => unknown.push(logger.to_owned()),
                }
            }
        }
    }
    Ok((levels, unknown))
}

const LEVELS: &str = "OFF, FATAL, ERROR, WARN, INFO, DEBUG, TRACE, ALL";

/// A level of Log4j, in any case.
fn level(text: &str) -> Option<LevelFilter> {
    Some(match text.trim().to_ascii_uppercase().as_str() {
        "OFF" => LevelFilter::OFF,
        "FATAL" | "ERROR" => LevelFilter::ERROR,
        "WARN" => LevelFilter::WARN,
        "INFO" => LevelFilter::INFO,
        "DEBUG" => LevelFilter::DEBUG,
        "TRACE" | "ALL" => LevelFilter::TRACE,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_for_log4j_are_levels() {
        let check = |variables: &[(&str, &str)],
                     expected: Result<(LevelFilter, Option<LevelFilter>, &str), &str>| {
            let owned = |(name, value): &(&str, &str)| (String::from(*name), String::from(*value));
            let variables: Vec<_> = variables.iter().map(owned).collect();
            let found = log_levels(&variables);
            let found = found.map(|(levels, unknown)| (levels.root, levels.own, unknown.join(" ")));
            let expected = expected.map(|(root, own, unknown)| (root, own, unknown.to_owned()));
            assert_eq!(
                found.map_err(|wrong| wrong.to_string()),
                expected.map_err(str::to_owned)
            );
        };
        let (warn, info, debug) = (LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG);
        check(&[], Ok((info, None, "")));
        check(&[(ROOT_LEVEL, "warn"), (LOGGERS, "")], Ok((warn, None, "")));
        check(&[(ROOT_LEVEL, "")], Ok((info, None, "")));
        check(
            &[(
                LOGGERS,
                "kafka=DEBUG, org.apache.kafka=WARN,kafka.controller=TRACE",
            )],
            Ok((info, Some(debug), "kafka.controller")),
        );
        check(
            &[(ROOT_LEVEL, "loud")],
            Err(
                "KAFKA_LOG4J_ROOT_LOGLEVEL=loud: must be one of OFF, FATAL, ERROR, WARN, INFO, DEBUG, TRACE, ALL",
            ),
        );
        check(
            &[(LOGGERS, "kafka")],
            Err(
                "KAFKA_LOG4J_LOGGERS=kafka: must be LOGGER=LEVEL with commas between, a level one of OFF, FATAL, ERROR, WARN, INFO, DEBUG, TRACE, ALL",
            ),
        );
    }

    fn check(variable: &str, expected: Option<&str>) {
        assert_eq!(setting_name(variable).as_deref(), expected, "{variable}");
    }

    #[test]
    fn variables_name_settings() {
        check("KAFKA_LOG_DIRS", Some("log.dirs"));
        check("KAFKA_NODE_ID", Some("node.id"));
        check("KAFKA_KLAMM_MEMORY_BYTES", Some("klamm.memory.bytes"));
        check("KAFKA_A__B", Some("a_b"));
        check("KAFKA_A___B", Some("a-b"));
        for variable in [
            "KAFKA_HEAP_OPTS",
            "KAFKA_LOG4J_CMD_OPTS",
            "KAFKA_OPTS",
            "KAFKA_DEBUG",
        ] {
            check(variable, None);
        }
        check("KAFKA_", None);
        check("CLUSTER_ID", None);
        check("PATH", None);
    }
}
