//! `lighterman reference`: the pages under `docs/` that must not drift from the program.
//!
//! Hidden: the Makefile and a test call it. The flags come from `args.rs`, the reasons
//! from the comments of the contract's own enum.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};
use crds::Reason;
use crds::reason::Retry;

use crate::args::{Arguments, Page, Reference};

/// Where the reasons, their meaning and their groups are written.
const REASONS: &str = include_str!("../../../crds/src/reason.rs");

/// Prints one page.
pub(crate) fn run(args: &Reference) {
    let page = match args.page {
        Page::Cli => commands(),
        Page::Reasons => reasons(),
    };
    print!("{page}");
}

fn commands() -> String {
    let mut root = Arguments::command();
    root.build();
    let mut page =
        String::from("# lighterman\n\n<!-- Printed by `lighterman reference cli`. -->\n");
    paragraphs(&mut page, &root);
    page.push_str("\n## With every command\n\n");
    options(
        &mut page,
        root.get_arguments()
            .filter(|argument| argument.get_id() == "output"),
    );
    for command in shown(&root) {
        if command.has_subcommands() {
            for below in shown(command) {
                let name = format!("{} {}", command.get_name(), below.get_name());
                section(&mut page, &name, below);
            }
        } else {
            section(&mut page, command.get_name(), command);
        }
    }
    page
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

fn section(page: &mut String, name: &str, command: &Command) {
    let _ = write!(page, "\n## {name}\n");
    paragraphs(page, command);
    let usage = command.clone().render_usage().to_string();
    let _ = write!(page, "\n    {}\n\n", usage.trim_start_matches("Usage: "));
    options(
        page,
        command
            .get_arguments()
            .filter(|argument| !argument.is_global_set()),
    );
}

fn paragraphs(page: &mut String, command: &Command) {
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        let _ = write!(page, "\n{about}\n");
    }
}

fn options<'a>(page: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    for argument in
        arguments.filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()))
    {
        let values: Vec<_> = argument
            .get_possible_values()
            .iter()
            .map(|value| value.get_name().to_owned())
            .collect();
        let defaults: Vec<_> = argument
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy())
            .collect();
        let _ = write!(
            page,
            "- `{argument}`: {}",
            argument
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default()
        );
        if !values.is_empty() {
            let _ = write!(page, ". One of {}", values.join(", "));
        }
        if !defaults.is_empty() {
            let _ = write!(page, ". Default: {}", defaults.join(" "));
        }
        page.push('\n');
    }
}

fn reasons() -> String {
    let mut page = String::from(
        "# Reasons\n\n<!-- Printed by `lighterman reference reasons`. -->\n
Every condition of every kind, every refusal and every metric label uses one of these words. The message beside it names the thing at
fault and what mends it. The last column says what happens next without anybody's doing.\n",
    );
    let body = REASONS
        .split_once("pub enum Reason {")
        .and_then(|(_, rest)| rest.split_once("\n}"))
        .map(|(body, _)| body);
    let mut meaning = String::new();
    for line in body.unwrap_or_default().lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            if !meaning.is_empty() {
                meaning.push(' ');
            }
            meaning.push_str(text.trim());
        } else if let Some(group) = line.strip_prefix("// ") {
            let _ = write!(
                page,
                "\n## {group}\n\n| reason | meaning | then |\n|---|---|---|\n"
            );
        } else if let Ok(reason) = line.trim_end_matches(',').parse::<Reason>() {
            let _ = writeln!(
                page,
                "| `{reason}` | {} | {} |",
                meaning.replace('|', "\\|"),
                then(reason.retry())
            );
            meaning.clear();
        }
    }
    page
}

fn then(retry: Retry) -> &'static str {
    match retry {
        Retry::Settled => "nothing: this is how it should be",
        Retry::Soon => "it is on its way",
        Retry::WithBackoff => "tried again, ever more seldom",
        Retry::OnChange => "tried again when object, image or policy change",
    }
}
