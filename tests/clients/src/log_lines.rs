//! Which lines of a broker's log nobody expected.

/// The lines at WARN, ERROR or FATAL, and those of a panic or a stack trace's head, that none of `allowed`
/// (plain substrings) explains.
pub fn unexpected<'a>(log: &'a str, allowed: &[String]) -> Vec<&'a str> {
    log.lines()
        .filter(|line| is_alarming(line) && !allowed.iter().any(|text| line.contains(text)))
        .collect()
}

fn is_alarming(line: &str) -> bool {
    // Only the head of a line tells its level; a message may speak of an "ERROR" without being one.
    let words = line.split(|c: char| c.is_whitespace() || c == '\u{1b}' || c == 'm' || c == '[' || c == ']');
    let mut head = words.filter(|word| !word.is_empty()).take(6);
    head.any(|word| matches!(word, "WARN" | "ERROR" | "FATAL"))
        || line.contains("panicked at")
        || line.starts_with("Exception in thread")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: bool) {
        assert_eq!(is_alarming(line), expected, "{line}");
    }

    #[test]
    fn levels_are_told_from_words() {
        check("2026-11-24 13:50:05,123 WARN something odd (kafka.server)", true);
        check(
            "2026-11-24 13:50:05,123 INFO Kafka version: 4.4.0 (kafka.utils)",
            false,
        );
        check("2026-11-24T13:50:05.123Z ERROR node=1 shard=0 disk: gone", true);
        check(
            "2026-11-24T13:50:05.123Z \u{1b}[33m WARN\u{1b}[0m broker: odd",
            true,
        );
        check(
            "2026-11-24T13:50:05.123Z INFO the client said in its own words: ERROR",
            false,
        );
        check("thread 'shard-0' panicked at src/lib.rs:1:1:", true);
        check("Exception in thread \"main\" java.lang.Error", true);
    }

    #[test]
    fn allowed_lines_are_passed_over() {
        let log = "t WARN one\nt INFO two\nt ERROR three\n";
        assert_eq!(unexpected(log, &[]), ["t WARN one", "t ERROR three"]);
        assert_eq!(unexpected(log, &["one".into()]), ["t ERROR three"]);
    }
}
