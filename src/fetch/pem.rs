//! What a PEM file lacks.

/// Returns what a PEM file lacks that was cut off: the line that ends one of its sections.
pub(super) fn missing_end(pem: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(pem);
    text.split("-----BEGIN ").skip(1).find_map(|section| {
        let (label, rest) = section.split_once("-----")?;
        let end = format!("-----END {label}-----");
        // Anything else in its place may be part of a key, which no message repeats.
        let is_label = label
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b' ');
        (is_label && !rest.contains(&end)).then(|| format!("cut off: no line \"{end}\""))
    })
}
