//! The tool that moves settings between a file and the broker.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use devstack::Nats;
use serde_json::{Value, json};

fn run(nats: &Nats, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_settings"))
        .args(args)
        .env("NATS_URL", nats.url())
        .env("MASTER_KEY", "a:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")
        .output()
        .unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_in_and_comes_out_whole() {
    let nats = Nats::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [from, to] = ["settings.json", "out.json"].map(|name| dir.path().join(name));
    let mut settings = json!({ "channels": [{ "phone_number_id": "1", "waba_id": "2", "name": "Support",
        "display_phone_number": "+1", "access_token": { "file": "token" } }] });
    std::fs::write(&from, settings.to_string()).unwrap();
    let said = run(&nats, &["import", text(&from)]);
    let why = String::from_utf8(said.stderr).unwrap();
    assert!(!said.status.success() && why.contains("channels[0].access_token"), "{why}");

    std::fs::write(dir.path().join("token"), "t0ken\n").unwrap();
    assert!(run(&nats, &["import", text(&from), "--who", "ann"]).status.success());
    assert!(run(&nats, &["export", text(&to)]).status.success());
    assert!(!run(&nats, &["export", text(&to)]).status.success(), "no file is overwritten");
    settings["channels"][0]["access_token"] = "t0ken".into();
    let out: Value = serde_json::from_slice(&std::fs::read(&to).unwrap()).unwrap();
    assert_eq!(out, settings);
    assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    let changes = String::from_utf8(run(&nats, &["changes"]).stdout).unwrap();
    assert!(changes.starts_with("1 ") && changes.contains("ann: everything imported"), "{changes}");
}
