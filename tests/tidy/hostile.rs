//! The list of attempts (`tests/hostile.md`) is as long as promised, and every test that it
//! names exists. The runtime's tests play the rows that are orders.

use std::collections::BTreeSet;
use std::path::Path;

use crate::files::{sources, text};

/// Distinct attempts that the list has at the least.
const LEAST: usize = 40;

#[test]
fn the_list_of_attempts_is_long_and_every_test_that_it_names_exists() {
    let list = text(Path::new("tests/hostile.md"));
    let rows: Vec<Vec<&str>> = list
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").collect())
        .collect();
    let attempts: BTreeSet<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(
        attempts.len() + 2,
        rows.len(),
        "two rows have one name (all three heads are `attempt`)"
    );
    assert!(attempts.len() > LEAST, "only {}", attempts.len());

    let code: String = sources().iter().map(|file| text(file)).collect();
    let missing: Vec<&str> = rows
        .iter()
        .filter(|row| row.len() == 2)
        .map(|row| row[1].trim_matches('`'))
        .filter(|name| *name != "test" && !code.contains(&format!("fn {name}(")))
        .collect();
    assert!(missing.is_empty(), "no test has these names: {missing:#?}");
}
