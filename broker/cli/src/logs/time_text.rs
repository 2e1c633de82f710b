//! Times as people write them.

/// Milliseconds since 1970 as `2026-11-24T15:04:05.678Z`; -1, which is Kafka's "none", and what no calendar has, as a
/// number.
pub fn time_text(ms: i64) -> String {
    if !(0..253_402_300_800_000).contains(&ms) {
        return ms.to_string();
    }
    let (seconds, millis) = (ms / 1_000, ms % 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The day of the Gregorian calendar, counted in years that begin in March, so that leap days come last.
fn date(days_since_1970: i64) -> (i64, i64, i64) {
    // From 0000-03-01.
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let check = |ms: i64, expected: &str| assert_eq!(time_text(ms), expected);
        check(-1, "-1");
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(1_700_000_000_123, "2023-11-14T22:13:20.123Z");
        check(4_107_542_399_999, "2100-02-28T23:59:59.999Z");
        check(253_402_300_799_999, "9999-12-31T23:59:59.999Z");
        check(i64::MAX, "9223372036854775807");
    }
}
