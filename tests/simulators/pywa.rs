//! A public client of the real API speaks with the simulator: `tests/pywa/against_simulator.py`.
//!
//! pywa comes from the package index and stays in the target directory. Without an index the test
//! says so and passes, except where `CI` is set: there it must run.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use e2e::sim::{Options, Sim};
use serde_json::Value;
use tokio::process::Command;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pywa");

async fn python(packages: Option<&Path>, arguments: &[&str]) -> Output {
    let mut command = Command::new("python3");
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).env("PYTHONDONTWRITEBYTECODE", "1");
    if let Some(packages) = packages {
        command.env("PYTHONPATH", packages);
    }
    let ended = tokio::time::timeout(Duration::from_secs(300), command.output()).await;
    ended.expect("python3 ends within five minutes").expect("python3 is installed")
}

/// Where the packages are; none if there is no index to get them from.
async fn packages() -> Option<PathBuf> {
    let requirements = std::fs::read_to_string(format!("{DIR}/requirements.txt")).unwrap();
    let version: String = requirements.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join(version);
    if packages.exists() {
        return Some(packages);
    }
    // Complete or not there at all.
    let unfinished = packages.with_extension(format!("{}.part", std::process::id()));
    let (file, to) = (format!("{DIR}/requirements.txt"), unfinished.to_str().unwrap());
    let install =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", to, "-r", &file];
    let output = python(None, &install).await;
    if output.status.success() {
        // Another run may have been quicker.
        let _moved = std::fs::rename(&unfinished, &packages);
        return Some(packages);
    }
    let why = String::from_utf8_lossy(&output.stderr);
    let no_index = ["No matching distribution found", "new connection", "name resolution", "Max retries"];
    assert!(no_index.iter().any(|sign| why.contains(sign)), "pip failed: {why}");
    assert!(std::env::var_os("CI").is_none(), "pip has no index, and this test must run in CI: {why}");
    None
}

#[tokio::test]
async fn a_public_client_sends_and_receives_every_kind() {
    let Some(packages) = packages().await else {
        println!("SKIPPED: pip has no index to install pywa from");
        return;
    };
    let sim = Sim::start(Options::default()).await.unwrap();
    let addresses = sim.addresses();
    let script = format!("{DIR}/against_simulator.py");
    let arguments = [&script, "--whatsapp", &addresses.whatsapp, "--control", &addresses.control];
    let output = python(Some(&packages), &arguments).await;
    let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{why}");
    let result: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert!(result["sent"].as_u64().unwrap() >= 24 && result["received"].as_u64().unwrap() >= 30, "{result}");
}
