//! Dates in header fields.

use std::time::SystemTime;

/// Parses an HTTP date. Other names for GMT, numeric offsets and years before 1970 are accepted as
/// well.
#[must_use]
pub(crate) fn parse_http_date(text: &str) -> Option<SystemTime> {
    let (time, zone) = text.rsplit_once(' ')?;
    let is_gmt = ["GMT", "UTC", "UT", "Z", "+0000", "-0000", "+00:00"]
        .iter()
        .any(|name| zone.eq_ignore_ascii_case(name));
    let date = if is_gmt {
        httpdate::parse_http_date(&format!("{time} GMT")).ok()
    } else {
        httpdate::parse_http_date(text).ok()
    };
    date.or_else(|| {
        let is_offset = zone.starts_with(['+', '-']);
        // Reject unknown zone names: the parser would read them as GMT.
        (is_gmt || is_offset).then_some(())?;
        let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
        let zone = if is_gmt { "+0000" } else { zone };
        let date = parser.parse_timestamp(format!("{time} {zone}")).ok()?;
        Some(SystemTime::from(date))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_before_1970_and_other_names_for_gmt_are_read() {
        let date = |text: &str| {
            parse_http_date(text)
                .map(|date| format!("{:.0}", jiff::Timestamp::try_from(date).unwrap()))
        };
        let expected = Some("1960-11-06T08:49:37Z".to_owned());
        for zone in ["GMT", "UTC", "+0000"] {
            assert_eq!(date(&format!("Sun, 06 Nov 1960 08:49:37 {zone}")), expected);
        }
        assert_eq!(date("yesterday"), None);
    }
}
