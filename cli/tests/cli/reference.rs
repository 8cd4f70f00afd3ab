//! The committed pages are what the program says. `make golden` writes them.

use super::program::{Home, repository};

#[test]
fn docs_cli_md_is_what_the_program_prints() {
    assert_current("cli");
}

#[test]
fn docs_reasons_md_is_what_the_program_prints() {
    assert_current("reasons");
}

fn assert_current(page: &str) {
    let printed = Home::new().run(&["reference", page]).success().stdout;
    let file = repository(&format!("docs/{page}.md"));
    if std::env::var_os("LIGHTERMAN_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(&file, &printed).unwrap();
    }
    let committed = std::fs::read_to_string(file).unwrap();
    assert!(
        committed == printed,
        "docs/{page}.md is out of date: run `make golden`"
    );
}

#[test]
fn every_reason_has_a_meaning() {
    let page = Home::new().run(&["reference", "reasons"]).success().stdout;
    let rows: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    assert!(rows.len() > 50, "{page}");
    assert!(rows.iter().all(|row| !row.contains("|  |")), "{page}");
}
