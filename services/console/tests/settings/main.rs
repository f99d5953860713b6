//! Settings are shown, checked, changed: over a real broker, a real cache and both simulators.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod bench;
mod number;
#[path = "../shared/mod.rs"]
mod shared;

use bench::{Bench, NUMBER, TOKEN, WABA, form, json_of};
use console::Kept;
use salesforce::keys::generate_key_pair;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

#[tokio::test]
async fn from_an_empty_install_to_a_connected_number_and_integration() {
    let bench = Bench::start().await;
    let page = bench.page("/channels/whatsapp").await;
    assert!(page.contains("No number yet"));
    assert!(bench.page("/settings/salesforce").await.contains("No integration yet"));
    assert!(bench.page("/settings/salesforce/new").await.contains("Save with a new key pair"));
    assert!(bench.page("/settings/changes").await.contains("Nothing was changed yet"));

    // The integration, with a key that is made here.
    let sim = bench.sim.addresses().salesforce;
    let fields = [
        ("revision", "0"),
        ("id", "main"),
        ("instance_url", "https://acme.my.salesforce.com"),
        ("es_developer_name", "Phone_Bridge_Client"),
        ("org_id", "00DRT0000004QhW"),
        ("messaging_url", &sim),
        ("max_live_sessions", "11000"),
        ("do", "key"),
    ];
    let answer = bench.post("/settings/salesforce/new", &fields).await;
    assert_eq!(answer.status(), 303, "{}", answer.text().await.unwrap());
    assert_eq!(answer.headers()["location"], "/settings/salesforce/main?done=key");
    let page = bench.page("/settings/salesforce/main").await;
    assert!(page.contains("x5c") && page.contains("/integrations/main/jwks.json"));
    assert!(!page.contains("BEGIN PRIVATE KEY-----\nMII"));
    let jwks = bench.get("/api/v1/settings/integrations/main/jwks", 200).await;
    let key = &jwks["keys"][0];
    assert_eq!(key["kid"], "baton-1");

    // Not registered yet: the test says which step fails, and what to do.
    let test = "/settings/salesforce/main/test";
    let page = bench.post(test, &[]).await.text().await.unwrap();
    assert!(page.contains("Salesforce accepts our identity token") && page.contains("User Verification"));
    let keys = json!([{ "kid": key["kid"], "n": key["n"], "e": key["e"] }]);
    bench.sim.salesforce.configure(json!({ "keys": keys, "issuer": "baton" })).unwrap();
    let steps = bench.send("POST", "/api/v1/settings/integrations/main/test", &json!({}), 200).await;
    let verdicts: Vec<_> =
        steps["steps"].as_array().unwrap().iter().map(|step| step["verdict"].clone()).collect();
    assert_eq!(verdicts, ["ok"; 6], "{steps}");
    // The conversation was real, and is over.
    let [thrown_away] = &bench.sim.salesforce.conversations()[..] else { panic!("one conversation") };
    assert!(steps["steps"][4]["found"].as_str().unwrap().contains(&thrown_away.conversation));

    // The number: checked first, then added.
    let mut fields = vec![
        ("revision", "1"),
        ("phone_number_id", NUMBER),
        ("waba_id", WABA),
        ("access_token", "wrong"),
        ("name", "Support"),
        ("display_phone_number", "+1 555 010 0200"),
        ("integration", "main"),
        ("assistant", "true"),
        ("messages_per_second", "80"),
        ("do", "check"),
    ];
    let page = bench.post("/channels/whatsapp/new", &fields).await.text().await.unwrap();
    assert!(page.contains("What Meta says") && page.contains(">broken<"));
    fields[3].1 = TOKEN;
    let page = bench.post("/channels/whatsapp/new", &fields).await.text().await.unwrap();
    assert!(page.contains("Meta knows the number") && !page.contains(TOKEN));
    fields.pop();
    let answer = bench.post("/channels/whatsapp/new", &fields).await;
    assert_eq!(answer.headers()["location"], format!("/channels/whatsapp/{NUMBER}?done=saved"));

    // As Meta tells of it, and subscribed with one click.
    let page = bench.page("/channels/whatsapp").await;
    assert!(page.contains("Support") && page.contains("connected") && page.contains(">main<"));
    bench.unsubscribe().await;
    bench
        .post(&format!("/channels/whatsapp/{NUMBER}/assistant"), &[("revision", "2"), ("assistant", "off")])
        .await;
    let page = bench.page("/channels/whatsapp?done=off").await;
    assert!(page.contains("Subscribe to webhooks") && page.contains("Turn it on"));
    let answer = bench.post(&format!("/channels/whatsapp/{NUMBER}/subscribe"), &[]).await;
    assert_eq!(answer.headers()["location"], "/channels/whatsapp?done=subscribed");
    assert!(!bench.page("/channels/whatsapp").await.contains("Subscribe to webhooks"));
    let one = bench.page(&format!("/channels/whatsapp/{NUMBER}")).await;
    assert!(one.contains("Quiet time") && one.contains("Templates"));

    // What webhooks are known by.
    let secrets = [("revision", "3"), ("app_secret", "meta-app-secret"), ("verify_token", "word")];
    let answer = bench.post("/channels/whatsapp/webhook", &secrets).await;
    assert_eq!(answer.headers()["location"], "/channels/whatsapp?done=saved");
    assert!(!bench.page("/channels/whatsapp").await.contains("meta-app-secret"));
    let settings = bench.get("/api/v1/settings", 200).await;
    assert_eq!(settings["general"], json!({ "autopilot": true, "app_secrets": 1, "verify_tokens": 1 }));

    // Who did what, never to what.
    let changes = bench.get("/api/v1/settings/changes", 200).await;
    let told: Vec<_> = changes["changes"].as_array().unwrap().iter().map(|one| one["what"].clone()).collect();
    let [switched, number] = [format!("channels[{NUMBER}].assistant"), format!("channels[{NUMBER}] added")];
    assert_eq!(told, ["webhook".to_owned(), switched, number, "integrations[main] added".to_owned()]);
    assert_eq!(changes["changes"][0]["who"], "CONSOLE_TOKEN");
    assert!(bench.page("/settings/changes").await.contains("CONSOLE_TOKEN"));
    bench.stop().await;
}

#[tokio::test]
async fn every_field_has_its_own_error_and_nothing_is_saved() {
    let bench = Bench::start().await;
    let good = bench.integration();
    for (field, wrong) in [
        ("instance_url", "http://acme.my.salesforce.com"),
        ("es_developer_name", "Phone Bridge"),
        ("org_id", "001"),
        ("auth_key_id", " "),
        ("jwt_private_key", "-----BEGIN PRIVATE KEY-----\nMIIB"),
        ("jwt_public_key", "-----BEGIN PUBLIC KEY-----\nMIIB"),
        ("messaging_url", "http://example.com"),
    ] {
        let mut change = good.clone();
        change[field] = wrong.into();
        let body = json!({ "revision": 0, "change": change });
        let told = bench.send("PUT", "/api/v1/settings/integrations/main", &body, 422).await;
        assert_eq!(told["error"], "settings_invalid");
        let fields = told["fields"].as_array().unwrap();
        assert!(fields.iter().any(|one| one["field"] == field), "{field}: {told}");

        let mut fields: Vec<(&str, &str)> =
            vec![("revision", "0"), ("id", "main"), ("max_live_sessions", "1")];
        let change = change.as_object().unwrap();
        fields.extend(change.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))));
        let answer = bench.post("/settings/salesforce/new", &fields).await;
        assert_eq!(answer.status(), 422, "{field}");
        let page = answer.text().await.unwrap();
        assert!(page.contains("aria-invalid") && page.contains("wrong-why"), "{field}");
    }
    for (field, change) in [
        ("waba_id", json!({ "waba_id": "x" })),
        ("access_token", json!({ "access_token": "" })),
        ("integration", json!({ "integration": "nowhere" })),
        ("quiet_seconds", json!({ "policy": { "quiet_seconds": 99 } })),
        ("nobody_available", json!({ "policy": { "nobody_available": "x" } })),
    ] {
        let mut whole = bench.channel();
        whole.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let body = json!({ "revision": 0, "change": whole });
        let told = bench.send("PUT", &format!("/api/v1/settings/channels/{NUMBER}"), &body, 422).await;
        assert!(
            told["fields"].as_array().unwrap().iter().any(|one| one["field"] == field),
            "{field}: {told}"
        );
    }
    assert_eq!(bench.get("/api/v1/settings", 200).await["revision"], 0);
    bench.stop().await;
}

#[tokio::test]
async fn secrets_stay_and_are_never_told_and_who_comes_second_is_told() {
    let bench = Bench::start().await;
    let (integration, number) =
        ("/api/v1/settings/integrations/main", format!("/api/v1/settings/channels/{NUMBER}"));
    let body = json!({ "revision": 0, "change": bench.integration() });
    let saved = bench.send("PUT", integration, &body, 200).await;
    let body = json!({ "revision": saved["revision"], "change": bench.channel() });
    let saved = bench.send("PUT", &number, &body, 200).await;
    let revision = saved["revision"].as_u64().unwrap();

    // Left out, or left empty on the page, they stay.
    let body = json!({ "revision": revision, "change": { "name": "Sales" } });
    let after = bench.send("PUT", &number, &body, 200).await["revision"].as_u64().unwrap();
    let kept = bench.configuration.current().await.unwrap().value;
    assert_eq!(
        (&kept["channels"][0]["access_token"], &kept["channels"][0]["name"]),
        (&json!(TOKEN), &json!("Sales"))
    );
    let key = kept["integrations"][0]["jwt_private_key"].as_str().unwrap();
    assert_eq!(key.trim(), bench.key.private_pem.expose_secret().trim());
    assert_eq!(
        bench.send("PUT", &number, &json!({ "revision": after, "change": { "name": "Sales" } }), 200).await["revision"],
        after,
        "nothing changed"
    );

    // Somebody was faster: what they changed is told, and stays.
    let late = json!({ "revision": revision, "change": { "name": "Late" } });
    let told = bench.send("PUT", &number, &late, 409).await;
    assert_eq!(told["error"], "settings_changed");
    assert_eq!(told["changes"][0]["what"], format!("channels[{NUMBER}].name"));
    let revision = revision.to_string();
    let answer = bench
        .post(
            &format!("/channels/whatsapp/{NUMBER}/assistant"),
            &[("revision", &revision), ("assistant", "off")],
        )
        .await;
    assert_eq!(answer.status(), 409);
    assert!(answer.text().await.unwrap().contains("Somebody else changed the settings"));

    // References are not taken: neither for a secret nor for anything else.
    for change in [json!({ "access_token": { "env": "HOME" } }), json!({ "name": { "file": "/etc/passwd" } })]
    {
        let body = json!({ "revision": after, "change": change });
        assert_eq!(bench.send("PUT", &number, &body, 400).await["error"], "reference_refused");
    }
    assert_eq!(
        bench.send("PUT", &number, &json!({ "revision": after, "change": { "x": 1 } }), 400).await["error"],
        "malformed_body"
    );
    assert_eq!(bench.get("/api/v1/settings/channels/1/status", 404).await["error"], "unknown_channel");
    assert_eq!(bench.get("/api/v1/settings/integrations/x/jwks", 404).await["error"], "unknown_integration");

    // A second key beside the first: registered, signing, alone.
    let keys = format!("{integration}/keys");
    let body = json!({ "revision": after, "change": { "auth_key_id": "k2" } });
    let at = bench.send("POST", &keys, &body, 200).await["revision"].clone();
    let act = async |at: &Value, id: &str, act: &str, status| {
        let body = json!({ "revision": at, "change": { "auth_key_id": id, "act": act } });
        bench.send("POST", &format!("{keys}/act"), &body, status).await
    };
    assert_eq!(act(&at, "key-1", "remove", 422).await["error"], "settings_invalid");
    let at = act(&at, "k2", "sign", 200).await["revision"].clone();
    let jwks = bench.get(&format!("{integration}/jwks"), 200).await;
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2);
    act(&at, "key-1", "remove", 200).await;
    let settings = bench.get("/api/v1/settings", 200).await;
    assert_eq!(settings["integrations"][0]["auth_key_id"], "k2");

    // Nowhere.
    let line = bench.key.private_pem.expose_secret().lines().nth(1).unwrap().to_owned();
    for path in
        ["/settings/salesforce", "/settings/salesforce/main", "/settings/changes", "/channels/whatsapp"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("/channels/whatsapp/{NUMBER}")])
            .chain(["/api/v1/settings", "/api/v1/settings/changes"].map(str::to_owned))
            .chain([format!("{integration}/jwks"), format!("{number}/status"), format!("{number}/templates")])
    {
        let text = bench.page(&path).await;
        assert!(!text.contains(TOKEN) && !text.contains(&line), "{path}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn who_may_not_is_refused_and_a_file_is_shown_only() {
    let bench = Bench::start().await;
    let body = json!({ "revision": 0, "change": bench.channel() });
    let path = format!("/api/v1/settings/channels/{NUMBER}");
    // A token that may look.
    let reader = bench.as_reader();
    let told = json_of(reader("PUT", &path, body.to_string()).await, 403).await;
    assert_eq!(told["error"], "may_not_configure");
    json_of(reader("GET", "/api/v1/settings", String::new()).await, 200).await;
    assert_eq!(reader("GET", "/settings/salesforce/new", String::new()).await.status(), 403);
    assert_eq!(reader("GET", "/settings/salesforce", String::new()).await.status(), 200);
    // Signed in, and the form is another page's.
    let answer = bench.post_without_csrf("/settings/salesforce/new", &form(&[("revision", "0")])).await;
    assert_eq!(answer.status(), 403);

    let value = json!({ "channels": [{ "phone_number_id": NUMBER, "waba_id": WABA, "name": "Support",
        "display_phone_number": "+1", "access_token": TOKEN }] });
    let file = Kept::File(configuration::Document { value, revision: 0 });
    let fixed = bench.another(file).await;
    let told = json_of(fixed("PUT", &path, body.to_string()).await, 409).await;
    assert_eq!(told["error"], "settings_read_only");
    let page = fixed("GET", "/channels/whatsapp", String::new()).await.text().await.unwrap();
    assert!(page.contains("BATON_SETTINGS=broker") && !page.contains("Turn it") && !page.contains(TOKEN));
    bench.stop().await;
}

#[tokio::test]
async fn routing_attributes_are_mapped_and_keys_as_long_as_they_come() {
    let bench = Bench::start().await;
    let body = json!({ "revision": 0, "change": bench.integration() });
    let revision =
        bench.send("PUT", "/api/v1/settings/integrations/main", &body, 200).await["revision"].to_string();
    let rows = |first: &'static str| {
        vec![
            ("key", first),
            ("source", "session-id"),
            ("max_length", "255"),
            ("key", "Who"),
            ("source", "customer-name"),
            ("max_length", "3"),
            ("key", ""),
            ("source", "phone"),
            ("max_length", "255"),
        ]
    };
    let path = "/settings/salesforce/main/attributes";
    let mut fields = rows("8 bad");
    fields.push(("revision", &revision));
    let answer = bench.post(path, &fields).await;
    assert_eq!(answer.status(), 422);
    assert!(answer.text().await.unwrap().contains("letters, digits and underscores only"));
    let mut fields = rows("OpencxSessionId");
    fields.push(("revision", &revision));
    assert_eq!(bench.post(path, &fields).await.status(), 303);
    let page = bench.page("/settings/salesforce/main").await;
    assert!(page.contains("<td class=\"example\">Ana</td>"), "cut to three");
    let settings = bench.get("/api/v1/settings", 200).await;
    assert_eq!(settings["integrations"][0]["attributes"].as_array().unwrap().len(), 2);

    let key = generate_key_pair(4096).unwrap();
    let revision = settings["revision"].as_u64().unwrap();
    let change =
        json!({ "jwt_private_key": key.private_pem.expose_secret(), "issuer": "https://bridge.example.com" });
    let body = json!({ "revision": revision, "change": change });
    bench.send("PUT", "/api/v1/settings/integrations/main", &body, 200).await;
    let jwks = bench.get("/api/v1/settings/integrations/main/jwks", 200).await;
    assert!(jwks["keys"][0]["x5c"][0].as_str().unwrap().len() > 1_000, "its public half is made from it");
    bench.stop().await;
}
