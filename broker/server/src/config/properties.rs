//! The syntax of `server.properties`: that of `java.util.Properties`.
//!
//! What a newcomer would get wrong: `=`, `:` and spaces all end a key, a backslash at the end of a line
//! joins the next one, and a later line for a key replaces an earlier one.

/// The keys and values of `text`, in order, with the line (from 1) each begins on.
pub fn parse(text: &str) -> Vec<(String, String, usize)> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let line = line.trim_start_matches(is_blank);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while ends_open(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start_matches(is_blank)),
                None => break,
            }
        }
        let (key, value) = split(&logical);
        found.push((unescape(key), unescape(value), at + 1));
    }
    found
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn ends_open(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c| {
        let ends = !escaped && (is_blank(c) || c == '=' || c == ':');
        escaped = c == '\\' && !escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start_matches(is_blank))
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits: String = chars.clone().take(4).collect();
                match u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32) {
                    Some(named) if digits.len() == 4 => {
                        out.push(named);
                        chars.nth(3);
                    }
                    _ => out.push('u'),
                }
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str, usize)]) {
        let found = parse(text);
        let found: Vec<_> = found
            .iter()
            .map(|(key, value, line)| (key.as_str(), value.as_str(), *line))
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn java_syntax() {
        check("a=b", &[("a", "b", 1)]);
        check("# no\n! no\n\n  a : b c ", &[("a", "b c ", 4)]);
        check("a b", &[("a", "b", 1)]);
        check("a", &[("a", "", 1)]);
        check("a==b", &[("a", "=b", 1)]);
        check("a\\=b=c", &[("a=b", "c", 1)]);
        check("a=1,\\\n   2\nb=3", &[("a", "1,2", 1), ("b", "3", 3)]);
        check("a=b\\\\\nc=d", &[("a", "b\\", 1), ("c", "d", 2)]);
        check("a=\\u00e9\\t\\q\\u12", &[("a", "é\tqu12", 1)]);
        check("a=1\r\na=2\r\n", &[("a", "1", 1), ("a", "2", 2)]);
        check("a=b\\", &[("a", "b", 1)]);
    }
}
