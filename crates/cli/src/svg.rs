//! What every picture of the program has in common.
//!
//! Always: a picture is well-formed XML, whatever the words in it; it needs no font, script or style
//! from elsewhere.

/// Returns an SVG document of this size around `body`, on white. `font` are attributes of the root:
/// the font of all words.
pub fn document(width: u64, height: u64, font: &str, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" {font}>\n<rect width=\"{width}\" \
         height=\"{height}\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

/// Returns `words` as XML holds them, with U+FFFD for each character that would move a cursor or
/// that XML has no place for.
pub fn escaped(words: &str) -> String {
    let mut out = String::new();
    for char in words.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            char if char.is_control() => out.push('\u{fffd}'),
            char => out.push(char),
        }
    }
    out
}

/// Returns a number of hundredths as a decimal number.
pub fn decimal(hundredths: u64) -> String {
    let (whole, part) = (hundredths / 100, hundredths % 100);
    match part {
        0 => whole.to_string(),
        _ if part % 10 == 0 => format!("{whole}.{}", part / 10),
        _ => format!("{whole}.{part:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_as_short_as_they_can_be() {
        let decimals = [0, 7, 50, 100, 205, 210, 1999].map(decimal);
        assert_eq!(decimals, ["0", "0.07", "0.5", "1", "2.05", "2.1", "19.99"]);
    }

    #[test]
    fn every_character_leaves_the_picture_well_formed_and_is_read_back() {
        let words: String = (0..=0x2_ffff).filter_map(char::from_u32).collect();
        let shown = |char: char| match char {
            '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
            char if char.is_control() => '\u{fffd}',
            char => char,
        };
        let body = format!("<text name=\"{0}\">{0}</text>", escaped(&words));
        let picture = document(1, 1, "font-family=\"monospace\"", &body);
        let document = roxmltree::Document::parse(&picture).unwrap();
        let element = document.descendants().find(|node| node.has_tag_name("text")).unwrap();
        let expected: String = words.chars().map(shown).collect();
        assert!(element.text() == Some(&expected) && element.attribute("name") == Some(&expected));
    }
}
