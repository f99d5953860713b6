//! What is watched is what is measured: alerts, dashboards and the readers' own meters use names of
//! `runtime::metrics` only, and every alert has its entry in the runbook.

use std::{collections::BTreeSet, path::PathBuf};

use runtime::metrics::ALL;

fn file(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Words of a text that start so.
fn words<'a>(text: &'a str, start: &str) -> BTreeSet<&'a str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
    words.filter(|word| word.starts_with(start)).map(|word| word.trim_end_matches('.')).collect()
}

#[test]
fn alerts_and_dashboards_ask_for_metrics_that_there_are() {
    // Labels; and what the collector makes of spans.
    let others =
        ["baton_reason", "baton_kind", "baton_reader", "baton_partition", "baton_outcome", "baton_budget"];
    let known = |word: &str| {
        let base =
            ["_bucket", "_count", "_sum"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
        others.contains(&word) || word.starts_with("baton_leg_") || ALL.iter().any(|(_, name)| *name == base)
    };
    for path in ["deploy/observe/alerts.yaml", "deploy/observe/grafana/dashboards/baton.json"] {
        let text = file(path);
        let unknown: Vec<_> = words(&text, "baton_")
            .into_iter()
            .chain(words(&text, "messaging_"))
            .filter(|word| !known(word))
            .collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&file("deploy/observe/grafana/dashboards/baton.json")).unwrap();
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 10));
    // And all that is measured is shown.
    let shown = dashboard.to_string();
    let hidden: Vec<_> = ALL.iter().filter(|(_, name)| !shown.contains(name)).collect();
    assert!(hidden.is_empty(), "on no dashboard: {hidden:?}");
}

#[test]
fn adapters_use_the_same_names() {
    let meters = file("crates/bus/src/meters.rs");
    let names: BTreeSet<&str> = meters
        .split('"')
        .filter(|text| text.starts_with("baton.") || text.starts_with("messaging."))
        .collect();
    let attributes = ["baton.reader", runtime::fields::KIND, runtime::fields::PARTITION];
    let unknown: Vec<_> = names
        .iter()
        .filter(|name| !ALL.iter().any(|(known, _)| known == *name) && !attributes.contains(name))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(names.len() > 8, "{names:?}");
}

/// Sources below a directory.
fn sources(directory: &std::path::Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("the services are there") {
        let path = entry.expect("its entries can be listed").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn services_spell_out_no_names_of_their_own() {
    let mut found = Vec::new();
    for service in ["ingress", "handoff", "assistant", "egress", "campaigns", "console"] {
        sources(
            &PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../services").join(service).join("src"),
            &mut found,
        );
    }
    assert!(found.len() > 50);
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        for made in ["_counter(\"", "_gauge(\"", "_histogram(\""] {
            assert!(!text.contains(made), "{}: {made}", path.display());
        }
    }
}

#[test]
fn every_alert_says_what_to_do() {
    let (alerts, runbook) = (file("deploy/observe/alerts.yaml"), file("docs/runbook.md"));
    let named: BTreeSet<&str> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let entries: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(named, entries);
    for alert in named {
        assert!(
            alerts.contains(&format!("runbook_url: docs/runbook.md#{}\n", alert.to_lowercase())),
            "{alert}"
        );
    }
}
