//! Faults are planted in the simulators; the doctor names each.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use doctor::{Conclusion, Doctor, Finding, Report, SYMPTOMS, Verdict};
use domain::settings::Settings;
use e2e::sim::{Api, Number, Options, PublicKey, Sim};
use salesforce::keys::generate_key_pair;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

const NUMBER: &str = "220011223344001";
const TOKEN: &str = "planted-secret-token";

struct World {
    _nats: devstack::Nats,
    _valkey: devstack::Valkey,
    sim: Sim,
    doctor: Doctor,
    settings: Value,
}

impl World {
    async fn start() -> Self {
        runtime::init_crypto();
        let nats = devstack::Nats::start().await.unwrap();
        let valkey = devstack::Valkey::start().await.unwrap();
        let keys = generate_key_pair(2048).unwrap();
        let mut options = Options::default();
        options.salesforce_config.keys = vec![PublicKey::pem("key-1", &keys.public_pem)];
        options.salesforce_config.issuer = "baton".into();
        let sim = Sim::start(options).await.unwrap();
        sim.whatsapp.set_number(Number {
            phone_number_id: NUMBER.into(),
            waba_id: "104857600000001".into(),
            display_phone_number: "15550100200".into(),
            token: TOKEN.into(),
            app_secret: "s".into(),
            callback_url: "http://127.0.0.1:9/webhook".into(),
            verify_token: "v".into(),
        });
        let settings = json!({
            "channels": [{
                "phone_number_id": NUMBER, "waba_id": "104857600000001", "name": "Support",
                "display_phone_number": "+15550100200", "access_token": TOKEN, "integration": "main",
            }],
            "integrations": [{
                "id": "main", "instance_url": "https://acme.my.salesforce.com",
                "messaging_url": sim.addresses().salesforce, "es_developer_name": "Phone_Bridge_Client",
                "org_id": "00DRT0000004QhW", "auth_key_id": "key-1",
                "jwt_private_key": keys.private_pem.expose_secret(), "jwt_public_key": keys.public_pem,
            }],
        });
        let log = bus::connect(&bus::Config::at(&nats.url())).await.unwrap();
        let store = store::Store::connect(&store::Config {
            redis_url: valkey.url().into(),
            redis_prefix: "t".into(),
            master_key: "a:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned().into(),
        })
        .unwrap();
        let graph = whatsapp::client::Config {
            graph_url: format!("{}/v25.0", sim.addresses().whatsapp).parse().unwrap(),
            graph_timeout: std::time::Duration::from_secs(10),
        };
        let client = whatsapp::client::Client::new(&graph).unwrap();
        let doctor = Doctor::new(log, store, Some(client));
        Self { _nats: nats, _valkey: valkey, sim, doctor, settings }
    }

    async fn run(&self, settings: &Value) -> Report {
        let parsed: Settings = serde_json::from_value(settings.clone()).unwrap();
        let report = self.doctor.run(Some(Arc::new(parsed))).await;
        let told = serde_json::to_string(&report).unwrap();
        let key = settings["integrations"][0]["jwt_private_key"].as_str().unwrap();
        let key_line = key.lines().nth(1).unwrap();
        for secret in [TOKEN, "15550100200", key_line] {
            assert!(!told.contains(secret), "{told}");
        }
        report
    }
}

fn finding<'a>(report: &'a Report, id: &str) -> &'a Finding {
    report.findings.iter().find(|finding| finding.id == id).unwrap()
}

fn broken(report: &Report) -> Vec<&str> {
    let outside = report.findings.iter().filter(|finding| !finding.id.starts_with("baton."));
    outside.filter(|finding| finding.verdict == Verdict::Broken).map(|finding| finding.id.as_str()).collect()
}

#[tokio::test]
async fn each_planted_fault_is_named() {
    let world = World::start().await;
    let none: [&str; 0] = [];
    let report = world.run(&world.settings).await;
    assert_eq!(broken(&report), none, "{report:#?}");
    assert_eq!(finding(&report, "salesforce.stream").verdict, Verdict::Ok);
    assert_eq!(finding(&report, "baton.broker").verdict, Verdict::Ok);
    assert_eq!(finding(&report, "baton.cache").verdict, Verdict::Ok);
    // Nobody runs here: what comes first is told first.
    let Conclusion::FirstWrong { finding: first } = SYMPTOMS[0].conclude(&report) else { panic!() };
    assert_eq!(first.id, "baton.handoff");

    for (fault, mend, id) in [
        (json!({ "token_valid": false }), json!({ "token_valid": true }), "whatsapp.token"),
        (json!({ "subscribed": false }), json!({ "subscribed": true }), "whatsapp.app subscription"),
        (json!({ "status": "RESTRICTED" }), json!({ "status": "CONNECTED" }), "whatsapp.number"),
        (json!({ "health": "BLOCKED" }), json!({ "health": "AVAILABLE" }), "whatsapp.health"),
    ] {
        world.sim.whatsapp.set_setup(NUMBER, fault).unwrap();
        let report = world.run(&world.settings).await;
        assert_eq!(broken(&report), [id]);
        assert!(!finding(&report, id).fix.is_empty());
        world.sim.whatsapp.set_setup(NUMBER, mend).unwrap();
    }

    let mut wanted = world.settings.clone();
    wanted["channels"][0]["policy"] = json!({ "rescue_template": { "name": "nowhere", "language": "en" } });
    assert_eq!(broken(&world.run(&wanted).await), ["whatsapp.templates"]);

    for (field, value, id) in [
        ("issuer", "another", "salesforce.token"),
        ("auth_key_id", "key-2", "salesforce.token"),
        ("es_developer_name", "Another_Deployment", "salesforce.token"),
        ("es_developer_name", "no api name", "salesforce.settings"),
    ] {
        let mut wrong = world.settings.clone();
        wrong["integrations"][0][field] = value.into();
        let report = world.run(&wrong).await;
        assert_eq!(broken(&report), [id], "{field}");
        assert!(finding(&report, id).fix.contains(field) || id == "salesforce.settings");
        assert_eq!(finding(&report, "salesforce.stream").verdict, Verdict::Unchecked);
    }
    world.sim.set_up(Api::Salesforce, false).await;
    assert_eq!(broken(&world.run(&world.settings).await), ["salesforce.host"]);
}

#[tokio::test]
async fn without_settings_the_outer_sides_are_not_applicable() {
    let world = World::start().await;
    let report = world.doctor.run(None).await;
    for id in ["whatsapp", "salesforce"] {
        let finding = finding(&report, id);
        assert_eq!(finding.verdict, Verdict::NotApplicable);
        assert!(finding.fix.contains("BATON_SETTINGS"));
    }
}
