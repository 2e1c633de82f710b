//! Settings from the environment, as the container image of Apache Kafka takes them.
//!
//! What a newcomer would get wrong: `_` is a dot, `__` an underscore and `___` a hyphen, and some `KAFKA_`
//! variables are for the JVM's start script and no settings.

/// Variables of that image which are no settings.
const NOT_SETTINGS: &[&str] = &[
    "KAFKA_VERSION",
    "KAFKA_HEAP_OPTS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_OPTS",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_HOME",
];

/// The setting that `variable` names, or none if it is not meant as one.
pub fn setting_name(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("KAFKA_").filter(|rest| !rest.is_empty())?;
    if NOT_SETTINGS.contains(&variable) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
        check("KAFKA_HEAP_OPTS", None);
        check("KAFKA_", None);
        check("CLUSTER_ID", None);
        check("PATH", None);
    }
}
