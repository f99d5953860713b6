//! The sample files say what the code reads.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

/// Read by no clap argument: telemetry, and what the sample settings name.
const OTHERS: [&str; 6] = [
    "RUST_LOG",
    "LOG_FORMAT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "ADMIN_ADDR",
    "WHATSAPP_ACCESS_TOKEN",
    "SALESFORCE_JWT_PRIVATE_KEY",
];
/// For control runs of the fault test, on purpose nowhere told.
const HIDDEN: &str = "BATON_UNSAFE_DISABLE";

fn sources(dir: &Path, found: &mut Vec<String>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(path)?);
        }
    }
    Ok(())
}

#[test]
fn the_sample_environment_names_every_variable_that_is_read_and_no_other() {
    let root = devstack::workspace_root();
    let mut texts = Vec::new();
    sources(&root.join("crates"), &mut texts).unwrap();
    sources(&root.join("services"), &mut texts).unwrap();
    let names = texts.iter().flat_map(|text| text.split("env = \"").skip(1));
    let mut read: BTreeSet<&str> = names.filter_map(|rest| rest.split('"').next()).collect();
    read.remove(HIDDEN);
    read.extend(OTHERS);

    let sample = fs::read_to_string(root.join(".env.sample")).unwrap();
    let told: BTreeSet<&str> = sample
        .lines()
        .map(|line| line.strip_prefix('#').unwrap_or(line))
        .filter_map(|line| line.split_once('=').map(|(name, _)| name))
        .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .collect();
    let [missing, surplus] = [&read - &told, &told - &read];
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:?}, surplus {surplus:?}");
}

#[test]
fn the_sample_settings_are_accepted() {
    let root = devstack::workspace_root();
    let text = fs::read_to_string(root.join("deploy/settings.sample.json")).unwrap();
    let mut settings: Value = serde_json::from_str(&text).unwrap();
    // The environment is not ours to change in a test.
    for place in ["/channels/0/access_token", "/integrations/0/jwt_private_key"] {
        let value = settings.pointer_mut(place).unwrap();
        assert!(OTHERS.contains(&value["env"].as_str().unwrap()), "{place}");
        *value = "a secret".into();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("settings.json");
    fs::write(&path, settings.to_string()).unwrap();
    runtime::settings::load(&path).unwrap();
}
