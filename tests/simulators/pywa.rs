//! A public client of the real API speaks with the simulator: `tests/pywa/against_simulator.py`.
//!
//! pywa comes from the package index and stays in the target directory. Without an index the test
//! says so and passes, except where `CI` is set: there it must run.

use std::path::Path;

use devstack::python;
use e2e::sim::{Options, Sim};
use serde_json::Value;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pywa");

#[tokio::test]
async fn a_public_client_sends_and_receives_every_kind() {
    let requirements = format!("{DIR}/requirements.txt");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let Some(packages) = python::packages(Path::new(&requirements), home).await.unwrap() else {
        println!("SKIPPED: pip has no index to install pywa from");
        return;
    };
    let sim = Sim::start(Options::default()).await.unwrap();
    let addresses = sim.addresses();
    let script = format!("{DIR}/against_simulator.py");
    let arguments = [&script, "--whatsapp", &addresses.whatsapp, "--control", &addresses.control];
    let output = python::run(Some(&packages), &arguments).await.unwrap();
    let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{why}");
    let result: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert!(result["sent"].as_u64().unwrap() >= 24 && result["received"].as_u64().unwrap() >= 30, "{result}");
}
