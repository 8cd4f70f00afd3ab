//! Text of a stranger for one line of a terminal.
//!
//! Messages quote registries, manifests and guests. Knows nothing of what is printed.

/// `text` with nothing in it that moves the cursor, ends the line or turns the direction of
/// reading.
pub(crate) fn line(text: &str) -> String {
    text.chars()
        .map(|c| if is_hidden(c) { ' ' } else { c })
        .collect()
}

/// The same for a text of several lines, whose ends stay.
pub(crate) fn lines(text: &str) -> Vec<String> {
    text.lines().map(line).collect()
}

fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_sequence_stays_text() {
        assert_eq!(line("a\u{1b}[2Jb\nc\u{202e}d"), "a [2Jb c d");
        assert_eq!(lines("a\nb\u{7}"), ["a", "b "]);
    }
}
