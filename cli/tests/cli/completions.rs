//! Completion scripts for the usual shells.

use super::program::Home;

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Home::new().run(&["completions", shell]).success().stdout;
        assert!(script.contains("quickstart"), "{shell}");
    }
}
