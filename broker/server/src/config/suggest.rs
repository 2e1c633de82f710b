//! Which known name an unknown one was probably meant to be.

/// The name of `names` that lies nearest to `name`, if two slips of a finger lead from one to the other.
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .filter(|known| known.len().abs_diff(name.len()) <= 2)
        .map(|known| (distance(name.as_bytes(), known.as_bytes()), known))
        .filter(|(distance, _)| (1..=2).contains(distance))
        .min()
        .map(|(_, known)| known)
}

/// How many letters must be put in, taken out or exchanged (Levenshtein).
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.iter().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(at + 1);
        for (pair, wanted) in row.windows(2).zip(other) {
            let [corner, above] = *pair else { continue };
            let left = next.last().copied().unwrap_or_default();
            next.push(
                (corner + usize::from(letter != wanted))
                    .min(above + 1)
                    .min(left + 1),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Option<&str>) {
        assert_eq!(
            nearest(name, ["min.insync.replicas", "log.dir", "log.dirs"].into_iter()),
            expected,
            "{name}"
        );
    }

    #[test]
    fn slips_are_understood() {
        check("min.isync.replicas", Some("min.insync.replicas"));
        check("min.insync.replica", Some("min.insync.replicas"));
        check("logdirs", Some("log.dirs"));
        check("log.dirs", Some("log.dir"));
        check("plugin.colour", None);
    }
}
