//! The API's document tells what the API does: by asking, and by a public checker that tries what
//! nobody thought of.
//!
//! schemathesis comes from the package index and stays in the target directory. Without an index its
//! test says so and passes, except where `CI` is set: there it must run.
#![allow(clippy::allow_attributes, dead_code, reason = "the bench is shared: this uses a part of it")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../sessions/bench.rs"]
mod bench;
#[path = "../shared/mod.rs"]
mod shared;

use std::{path::Path, time::Duration};

use console::{Outside, SignIn};
use devstack::python;
use domain::{derive::uuid, session::Owner, settings::Settings};
use e2e::sim::{Number, Options, Sim};
use runtime::settings::Live;
use serde_json::{Value, json};

use bench::{Wanted, add, in_thread, read};
use shared::Servers;

/// A minute where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(300);
const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi");

/// A console that knows a channel at the simulator, so that what it sends has somewhere to go; its
/// settings cannot be changed: nothing that is made up here is ever called.
struct Bench {
    _nats: devstack::Nats,
    _valkey: devstack::Valkey,
    _sim: Sim,
    servers: Servers,
    http: reqwest::Client,
    url: String,
}

async fn console() -> Bench {
    let (nats, valkey, servers) = Servers::start().await;
    let sim = Sim::start(Options::default()).await.unwrap();
    sim.whatsapp.set_number(Number {
        phone_number_id: "100".into(),
        waba_id: "200".into(),
        display_phone_number: "15550100200".into(),
        token: "test-token".into(),
        app_secret: "s".into(),
        callback_url: "http://127.0.0.1:9/webhook".into(),
        verify_token: "v".into(),
    });
    let settings: Settings = serde_json::from_value(json!({
        "version": 1,
        "channels": [{
            "phone_number_id": "100", "waba_id": "200", "display_phone_number": "+1 555 010 0200",
            "name": "Support", "access_token": "test-token",
        }],
        "integrations": [],
    }))
    .unwrap();
    let graph = whatsapp::client::Config {
        graph_url: format!("{}/v25.0", sim.addresses().whatsapp).parse().unwrap(),
        graph_timeout: Duration::from_secs(10),
    };
    let whatsapp = Some(whatsapp::Client::new(&graph).unwrap());
    let outside = Outside { settings: Some(Live::fixed(settings)), whatsapp, ..Outside::default() };
    let url = servers.console(SignIn::default(), outside).await;
    for (n, owner) in [(1, Owner::Assistant), (2, Owner::Waiting(in_thread(2)))] {
        let wanted = Wanted { n, number: "100", name: "Ana", owner };
        add(&servers.log, &servers.keying, wanted, 0).await;
    }
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    Bench { _nats: nats, _valkey: valkey, _sim: sim, servers, http, url }
}

#[tokio::test]
async fn the_document_knows_every_route_and_no_other() {
    let bench = console().await;
    let document =
        read(bench.http.get(format!("{}/api/v1/openapi.json", bench.url)).send().await.unwrap(), 200).await;
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    for path in ["/sessions", "/sessions/{id}/actions", "/contacts/{id}/erase", "/doctor", "/openapi.json"] {
        assert!(paths.contains_key(&format!("/api/v1{path}")), "{path}");
    }
    let mut ids = Vec::new();
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
            let responses = operation["responses"].as_object().unwrap();
            for status in ["401", "403", "503"] {
                assert!(responses.contains_key(status), "{method} {path}: {status}");
            }
            assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
            // It is there: what answers is not the fallback, which knows no route.
            let asked = path.replace("{id}", &uuid("nobody", &[]).to_string());
            let method: reqwest::Method = method.to_uppercase().parse().unwrap();
            let request = bench.http.request(method.clone(), format!("{}{asked}", bench.url));
            let answer = request.header("content-type", "application/json").body("{").send().await.unwrap();
            let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
            assert!(responses.contains_key(&status.to_string()), "{method} {path} answers {status}");
            let told: Value = serde_json::from_str(&body).unwrap_or_default();
            let missing = told["error"] == "not_found" && !responses["404"]["description"].is_string();
            assert!(!missing, "{method} {path} is no route");
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "operation ids are unique");
    // The other way round: routes of the API are made with what is told of them, and nowhere else.
    for (file, text) in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
        let nests = text.matches("nest(\"/api/v1\"").count();
        assert_eq!(nests, usize::from(file.ends_with("api.rs") && nests == 1), "{file}");
        assert!(!text.contains("route(\"/api/"), "{file}: a route beside the document");
    }
    bench.servers.stop().await;
}

fn sources(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

#[tokio::test]
async fn a_public_checker_finds_no_500_and_no_undocumented_answer() {
    let requirements = format!("{DIR}/requirements.txt");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let Some(packages) = python::packages(Path::new(&requirements), home).await.unwrap() else {
        println!("SKIPPED: pip has no index to install schemathesis from");
        return;
    };
    let bench = console().await;
    let address = format!("{}/api/v1/openapi.json", bench.url);
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
                  response_headers_conformance,response_schema_conformance";
    let arguments = ["-m", "schemathesis.cli", "run", &address, "--checks", checks, "--no-color"];
    // The same tries each time; no database of earlier ones. One worker: its parts race with several.
    let bounds = ["--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "1"];
    let quiet = ["--generation-database", "none", "--warnings", "off", "--request-timeout", "30"];
    let mut command = python::command(Some(&packages));
    // It keeps notes where it runs.
    let notes = home.join("schemathesis-notes");
    std::fs::create_dir_all(&notes).unwrap();
    command.current_dir(&notes).args(arguments).args(bounds).args(quiet);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("in time").unwrap();
    let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let end = |text: &str| {
        text.chars().rev().take(20_000).collect::<Vec<_>>().into_iter().rev().collect::<String>()
    };
    assert!(output.status.success(), "{}\n{}", end(&said), end(&why));
    assert!(said.contains("passed"), "{}", end(&said));
    bench.servers.stop().await;
}
