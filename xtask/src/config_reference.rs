//! `cargo xtask config-reference`: every variable of every service, from the code that reads it.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{Arg, Command, CommandFactory as _};

const HEAD: &str = "# Configuration

Every variable that a service reads, written by `cargo xtask config-reference` from the code: change it
there. Each can also be given as an argument (`--help`). In containers `NAME_FILE` names a file that
holds `NAME`. Channels, integrations and policies are in the settings file
(`deploy/settings.sample.json`).
";

/// Where it is kept.
pub fn path() -> PathBuf {
    devstack::workspace_root().join("docs/configuration.md")
}

pub fn write() -> Result<()> {
    std::fs::write(path(), reference()).context("write docs/configuration.md")
}

/// What it is to say.
pub fn reference() -> String {
    let services: [(&str, Command); 6] = [
        ("ingress", ingress::Config::command()),
        ("handoff", handoff::Config::command()),
        ("assistant", assistant::Config::command()),
        ("egress", egress::Config::command()),
        ("campaigns", campaigns::Config::command()),
        ("console", console::Config::command()),
    ];
    // The same variable may have another default, or be needed, in one service only.
    let mut readers: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut order = Vec::new();
    for (service, command) in &services {
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let Some(row) = row(argument) else { continue };
            let known = readers.entry(row.clone()).or_default();
            if known.is_empty() {
                order.push(row);
            }
            known.push(service);
        }
    }
    let mut text = HEAD.to_owned();
    let mut table = |title: &str, pick: &dyn Fn(&[&str]) -> bool, with_readers: bool| {
        let column = if with_readers { " read by |" } else { "" };
        let line = if with_readers { "---|" } else { "" };
        // Writing to a String cannot fail.
        let _ =
            write!(text, "\n## {title}\n\n| variable | default | meaning |{column}\n|---|---|---|{line}\n");
        for row in order.iter().filter(|row| pick(&readers[*row])) {
            let by = if with_readers { format!(" {} |", readers[row].join(", ")) } else { String::new() };
            let _ = writeln!(text, "{row}{by}");
        }
    };
    table("More than one service", &|by| by.len() > 1, true);
    for (service, _) in &services {
        table(service, &|by| by == [*service], false);
    }
    text.push_str("\n## Telemetry of every service\n\n| variable | default | meaning |\n|---|---|---|\n");
    for (name, default, meaning) in runtime::telemetry::VARIABLES {
        let _ = writeln!(text, "| `{name}` | {default} | {meaning} |");
    }
    text
}

fn row(argument: &Arg) -> Option<String> {
    let name = argument.get_env()?.to_str()?;
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    let defaults: Vec<_> = argument.get_default_values().iter().filter_map(|value| value.to_str()).collect();
    let default = match defaults[..] {
        [] if argument.is_required_set() => "**needed**".to_owned(),
        [] => "none".to_owned(),
        _ => format!("`{}`", defaults.join(",")),
    };
    let secret = if argument.is_hide_env_values_set() { " A secret." } else { "" };
    Some(format!("| `{name}` | {default} | {help}{secret} |"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reference_is_current() {
        let kept = std::fs::read_to_string(super::path()).unwrap_or_default();
        assert!(kept == super::reference(), "run `cargo xtask config-reference`");
    }
}
