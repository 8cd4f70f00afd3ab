//! Text from outside made fit for a status, a log or a terminal. Traps, compilers and other
//! processes may quote a guest, and a guest may write escape sequences.

/// The longest message, in characters.
const MESSAGE_MAX: usize = 512;

/// The text with everything but plain printable ASCII escaped, and cut.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::new();
    for character in text.trim().chars() {
        if out.len() >= MESSAGE_MAX {
            out.push_str("...");
            break;
        }
        match character {
            '\n' | '\t' => out.push(' '),
            ' '..='~' => out.push(character),
            other => out.extend(other.escape_unicode()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn escape_sequences_do_not_reach_a_terminal() {
        assert_eq!(printable("a\u{1b}[31mred\nb"), "a\\u{1b}[31mred b");
    }

    #[test]
    fn a_long_message_is_cut() {
        assert!(printable(&"x".repeat(10_000)).len() < 600);
    }
}
