//! Finds the name that a misspelt one was probably meant to be.

/// Returns the name most similar to `text`, ignoring case and whether words are joined by `-` or
/// `_`. At most a third of its characters may differ, a swap of two counting once, so that short
/// names are not suggested for everything.
pub fn similar_name<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let text = normalized(text);
    let candidates = names.into_iter().filter_map(|name| {
        let plain = normalized(name);
        let edits = strsim::osa_distance(&text, &plain);
        let length = text.chars().count().max(plain.chars().count());
        (edits * 3 <= length).then_some((edits, name))
    });
    candidates.min().map(|(_, name)| name)
}

fn normalized(name: &str) -> String {
    name.trim().to_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_similar_names_are_suggested() {
        let names = [
            "concurrency",
            "per-host",
            "retries",
            "dns",
            "tls",
            "too_large",
            "user",
            "color",
        ];
        for (text, meant) in [
            ("concurency", Some("concurrency")),
            ("per_host", Some("per-host")),
            ("PERHOST", Some("per-host")),
            ("retry", None),
            ("dsn", Some("dns")),
            ("tsl", Some("tls")),
            ("too-large", Some("too_large")),
            (" usr ", Some("user")),
            ("colour", Some("color")),
            ("foo", None),
            ("ds", Some("dns")),
            ("d", None),
            ("", None),
        ] {
            assert_eq!(similar_name(text, names), meant, "{text}");
        }
    }

    #[test]
    fn nothing_is_suggested_without_names() {
        assert_eq!(similar_name("dns", []), None);
    }
}
