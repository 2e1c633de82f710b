//! The syntax of `server.properties`: that of `java.util.Properties`.
//!
//! What a newcomer would get wrong: `=`, `:` and spaces all end a key, a backslash at the end of a line
//! joins the next one, and a later line for a key replaces an earlier one. The bytes are ISO-8859-1 whatever they look
//! like, as `Properties.load(InputStream)` reads them: other characters are written `\uXXXX`.

/// The keys and values in the bytes of a file, in order, with the line (from 1) each begins on.
pub fn parse(bytes: &[u8]) -> Vec<(String, String, usize)> {
    let text: String = bytes.iter().copied().map(char::from).collect();
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
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
                // A pair of them stands for a character beyond the first 65,536.
                let first = unit(chars.as_str());
                let second = first.and_then(|_| unit(chars.as_str().get(4..)?.strip_prefix("\\u")?));
                let mut named = char::decode_utf16(first.into_iter().chain(second));
                match named.next() {
                    Some(Ok(one)) => {
                        out.push(one);
                        chars.nth(if one.len_utf16() == 2 { 9 } else { 3 });
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

/// The four hexadecimal digits that `text` begins with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.get(..4)?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: impl AsRef<[u8]>, expected: &[(&str, &str, usize)]) {
        let text = text.as_ref();
        let found = parse(text);
        let found: Vec<_> = found
            .iter()
            .map(|(key, value, line)| (key.as_str(), value.as_str(), *line))
            .collect();
        assert_eq!(found, expected, "{}", text.escape_ascii());
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
        check("a=1,\\\r\n 2\rb=3", &[("a", "1,2", 1), ("b", "3", 3)]);
        check("a=b\\", &[("a", "b", 1)]);
    }

    #[test]
    fn each_byte_is_a_character() {
        check(b"a=\xe9\xff", &[("a", "\u{e9}\u{ff}", 1)]);
        check("a=\u{e9}", &[("a", "\u{c3}\u{a9}", 1)]);
        check("a=\\ud83d\\ude00!", &[("a", "\u{1f600}!", 1)]);
        check("a=\\ud83d\\u0041", &[("a", "ud83dA", 1)]);
        check("a=\\u00e9\\u0041", &[("a", "\u{e9}A", 1)]);
        check("a=\\u+0e9", &[("a", "u+0e9", 1)]);
        check(b"a=\\u\xe9\xe9\xe9\xe9", &[("a", "u\u{e9}\u{e9}\u{e9}\u{e9}", 1)]);
    }
}
