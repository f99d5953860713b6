//! What a number's pages change, and the API with them.

use serde_json::{Value, json};

use crate::bench::{Bench, NUMBER};

/// A number that is there, at revision 1.
async fn with_number() -> (Bench, String) {
    let bench = Bench::start().await;
    let path = format!("/api/v1/settings/channels/{NUMBER}");
    bench.send("PUT", &path, &json!({ "revision": 0, "change": bench.channel() }), 200).await;
    (bench, path)
}

fn policy(settings: &Value) -> &Value {
    &settings["channels"][0]["policy"]
}

/// The fields of a form, as the page shows them.
fn fields_of(page: &str, action: &str) -> Vec<(String, String)> {
    let (_, form) = page.split_once(&format!("action=\"{action}\"")).unwrap();
    let (form, _) = form.split_once("</form>").unwrap();
    let attribute = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let plain = |text: &str| {
        let text = text.replace("&#39;", "'").replace("&#34;", "\"").replace("&quot;", "\"");
        text.replace("&#60;", "<")
            .replace("&#62;", ">")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&")
            .replace("&#38;", "&")
    };
    let mut fields = Vec::new();
    for part in form.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap_or((part, ""));
        let Some(name) = attribute(tag, "name") else {
            // The chosen one of the select before.
            if tag.starts_with("option") && (tag.ends_with(" selected")) {
                let value = attribute(tag, "value").unwrap();
                if let Some((_, chosen)) = fields.last_mut() {
                    *chosen = value;
                }
            }
            continue;
        };
        if name == "csrf"
            || tag.starts_with("button")
            || (tag.contains("checkbox") && !tag.contains(" checked"))
        {
            continue;
        }
        let value = if tag.starts_with("textarea") {
            text.to_owned()
        } else {
            attribute(tag, "value").unwrap_or_default()
        };
        fields.push((name, plain(&value)));
    }
    fields
}

fn set(fields: &mut [(String, String)], name: &str, value: &str) {
    let place = fields.iter_mut().find(|(known, _)| known == name);
    place.unwrap_or_else(|| panic!("no field {name}")).1 = value.to_owned();
}

async fn send(bench: &Bench, path: &str, fields: &[(String, String)]) -> reqwest::Response {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    bench.post(path, &fields).await
}

#[tokio::test]
async fn opening_hours_are_set_on_the_page_and_by_the_api() {
    let (bench, api) = with_number().await;
    let path = format!("/channels/whatsapp/{NUMBER}");
    let page = bench.page(&path).await;
    assert!(page.contains("Opening hours of the team") && page.contains("Time zone of the team"));
    let mut form = fields_of(&page, &path);
    let mut names: Vec<_> = form.iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    assert!(names.is_sorted_by(|a, b| a < b), "each field has a name of its own: {names:?}");
    for (name, value) in [
        ("hours.time_zone", "Europe/Madrid"),
        ("hours.week.mon", "09:00-14:00, 16:00-18:30"),
        ("hours.week.fri", "22:00-24:00"),
        ("hours.closed_on", "2026-12-25\n2027-01-01\n"),
        ("hours.after", "leave-note"),
    ] {
        set(&mut form, name, value);
    }
    let answer = send(&bench, &path, &form).await;
    assert_eq!(answer.status(), 303, "{}", answer.text().await.unwrap());
    let settings = bench.get("/api/v1/settings", 200).await;
    let expected = json!({ "time_zone": "Europe/Madrid",
        "week": { "mon": ["09:00-14:00", "16:00-18:30"], "fri": ["22:00-24:00"] },
        "closed_on": ["2026-12-25", "2027-01-01"] });
    assert_eq!(policy(&settings)["hours"], expected);
    assert_eq!(policy(&settings)["after_hours"], "leave-note");
    assert_eq!(policy(&settings)["texts"], json!({}), "what is said stays as it was");
    let page = bench.page(&path).await;
    assert!(page.contains("09:00-14:00, 16:00-18:30"));

    // Each field says what is wrong with it, and keeps what was typed.
    let good = fields_of(&page, &path);
    for (name, wrong, says) in [
        ("hours.time_zone", "Madrid", "is no time zone"),
        ("hours.time_zone", "", "by whose clock"),
        ("hours.week.tue", "9-14", "is written like 09:00-14:00"),
        ("hours.week.mon", "09:00-14:00, 13:00-15:00", "overlap"),
        ("hours.closed_on", "25.12.", "are dates like"),
    ] {
        let mut form = good.clone();
        set(&mut form, name, wrong);
        let answer = send(&bench, &path, &form).await;
        assert_eq!(answer.status(), 422, "{name}");
        let page = answer.text().await.unwrap();
        let (_, after) = page.split_once(&format!("id=\"f-{name}\"")).unwrap();
        let (field, _) = after.split_once("class=\"input").unwrap_or((after, ""));
        assert!(field.contains(says) && field.contains("aria-invalid"), "{name}: {field}");
        assert!(page.contains("<details open><summary>Opening hours"), "{name}: it can be seen");
        assert_eq!(fields_of(&page, &path).iter().find(|(known, _)| known == name).unwrap().1, wrong);
    }
    let change = json!({ "policy": { "hours": { "time_zone": "Mars/Olympus", "week": { "mon": [] } } } });
    let told = bench.send("PUT", &api, &json!({ "revision": 2, "change": change }), 422).await;
    let fields: Vec<_> = told["fields"].as_array().unwrap().iter().map(|one| one["field"].clone()).collect();
    assert_eq!(fields, ["hours.time_zone", "hours.week"]);
    let change = json!({ "policy": { "hours": { "time_zone": "" }, "after_hours": "message" } });
    bench.send("PUT", &api, &json!({ "revision": 2, "change": change }), 200).await;
    let settings = bench.get("/api/v1/settings", 200).await;
    assert_eq!(
        (&policy(&settings)["hours"], &policy(&settings)["after_hours"]),
        (&Value::Null, &json!("message"))
    );
    let changes = bench.get("/api/v1/settings/changes", 200).await;
    let what = changes["changes"][0]["what"].as_str().unwrap();
    assert!(what.contains("policy.hours") && !what.contains("Madrid"), "{what}");
    bench.stop().await;
}

#[tokio::test]
async fn how_the_assistant_answers_is_set_on_a_page_and_secrets_stay_in() {
    let (bench, api) = with_number().await;
    let path = format!("/channels/whatsapp/{NUMBER}/responder");
    let page = bench.page(&path).await;
    for shown in ["When it hands over", "Voice messages", "New action", "of Support answers"] {
        assert!(page.contains(shown), "{shown}");
    }
    let mut form = fields_of(&page, &path);
    for (name, value) in [
        ("handoff.level", "balanced"),
        ("handoff.frustration", "no"),
        ("handoff.topics", "legal threats\nlost parcels\n"),
        ("model.base_url", "https://api.example.com/v1"),
        ("model.model", "small"),
        ("model.api_key", "the-key-of-the-model"),
        ("model.instructions", "You work for a shop.\nBe brief."),
        ("action_hosts", "shop.example.com"),
        ("transcriber.base_url", "https://api.example.com/v1"),
        ("transcriber.model", "ear"),
        ("transcriber.api_key", "the-key-of-the-ear"),
        ("actions[0].name", "order_status"),
        ("actions[0].description", "Where an order is"),
        ("actions[0].url", "https://api.shop.example.com/orders"),
        ("actions[0].parameters", r#"{"type":"object","properties":{"order":{"type":"string"}}}"#),
        ("actions[0].headers", "authorization: Bearer the-key-of-the-shop"),
    ] {
        set(&mut form, name, value);
    }
    form.push(("masking.cards".into(), "true".into()));
    let answer = send(&bench, &path, &form).await;
    assert_eq!(answer.status(), 303, "{}", answer.text().await.unwrap());
    assert_eq!(answer.headers()["location"], format!("{path}?done=saved"));

    let kept = bench.configuration.current().await.unwrap().value;
    let kept = &kept["channels"][0]["responder"];
    assert_eq!(kept["model"]["api_key"], "the-key-of-the-model");
    assert_eq!(kept["actions"][0]["headers"]["authorization"], "Bearer the-key-of-the-shop");
    let told = bench.get("/api/v1/settings", 200).await;
    let view = &told["channels"][0]["responder"];
    assert_eq!((&view["level"], &view["frustration"]), (&json!("balanced"), &json!("no")));
    assert_eq!(view["topics"], json!(["legal threats", "lost parcels"]));
    assert_eq!(view["model"]["has_api_key"], true);
    assert_eq!(view["actions"][0]["headers"], json!(["authorization"]));
    assert_eq!(view["masking"], json!({ "cards": true, "emails": false, "national_ids": false }));
    let page = bench.page(&path).await;
    assert!(page.contains("Action order_status") && page.contains("You work for a shop.\nBe brief."));
    for told in [told.to_string(), page.clone(), bench.page("/settings/changes").await] {
        assert!(!told.contains("the-key-of-the"), "a secret came out");
    }

    // Saved again as it is shown: secrets stay. The revision does, too.
    let form = fields_of(&page, &path);
    assert_eq!(send(&bench, &path, &form).await.status(), 303);
    let again = bench.configuration.current().await.unwrap();
    assert_eq!(&again.value["channels"][0]["responder"], kept);
    assert_eq!(again.revision, 2);

    // Each field says what is wrong with it.
    for (name, wrong, says) in [
        ("model.base_url", "api.example.com", "is no address"),
        ("model.base_url", "http://api.example.com/v1", "must start with https"),
        ("model.base_url", "", "where is the model"),
        ("model.model", "", "is empty"),
        ("model.timeout_seconds", "600", "is 1 to 120 seconds"),
        ("model.attempts", "many", "is a whole number"),
        ("model.attempts", "9", "is 1 to 5"),
        ("model.tool_rounds", "0", "is 1 to 10"),
        ("handoff.topics", &"long".repeat(100), "is one line of 1 to 200"),
        ("link_hosts", "https://shop.example.com/", "is a host name"),
        ("transcriber.base_url", "", "where is it"),
        ("actions[0].url", "https://evil.example/", "on a host in action_hosts"),
        ("actions[0].url", "orders", "is no address"),
        ("actions[0].description", "", "is empty"),
        ("actions[0].parameters", "{", "is no JSON"),
        ("actions[0].headers", "nonsense", "are written like"),
        ("actions[0].name", "send_link", "is one that Baton itself uses"),
    ] {
        let mut form = form.clone();
        set(&mut form, name, wrong);
        let answer = send(&bench, &path, &form).await;
        assert_eq!(answer.status(), 422, "{name}");
        let page = answer.text().await.unwrap();
        let (_, after) = page.split_once(&format!("id=\"f-{name}\"")).unwrap();
        let (field, _) = after.split_once("class=\"input").unwrap_or((after, ""));
        assert!(field.contains(says), "{name}: {field}");
        assert!(!page.contains("the-key-of-the"), "{name}");
    }
    // An action whose name is cleared is gone, and so is a model without address and name.
    let mut form = form;
    for name in
        ["actions[0].name", "model.base_url", "model.model", "transcriber.base_url", "transcriber.model"]
    {
        set(&mut form, name, "");
    }
    assert_eq!(send(&bench, &path, &form).await.status(), 303);
    let kept = bench.configuration.current().await.unwrap().value;
    let kept = &kept["channels"][0]["responder"];
    assert_eq!(
        (&kept["actions"], &kept["model"], &kept["transcriber"]),
        (&json!([]), &Value::Null, &Value::Null)
    );

    // By the API, and never with a reference.
    let change = json!({ "responder": { "level": "ai-only", "topics": [] } });
    bench.send("PUT", &api, &json!({ "revision": 3, "change": change }), 200).await;
    let change = json!({ "responder": { "model": { "base_url": "https://a.example/v1", "model": "m", "api_key": { "env": "HOME" } } } });
    let refused = bench.send("PUT", &api, &json!({ "revision": 4, "change": change }), 400).await;
    assert_eq!(refused["error"], "reference_refused");
    // Whoever comes second is told, and whoever may only look sees no button.
    let mut stale = fields_of(&bench.page(&path).await, &path);
    set(&mut stale, "revision", "1");
    let answer = send(&bench, &path, &stale).await;
    assert_eq!(answer.status(), 409);
    assert!(answer.text().await.unwrap().contains("responder"));
    let reader = bench.as_reader();
    let looked = reader("GET", &path, String::new()).await.text().await.unwrap();
    assert!(!looked.contains("type=\"submit\">Save"));
    assert_eq!(reader("POST", &path, String::new()).await.status(), 403);
    assert_eq!(reader("GET", "/channels/whatsapp/999/responder", String::new()).await.status(), 404);
    bench.stop().await;
}

#[tokio::test]
async fn answers_are_written_on_a_page() {
    let (bench, _) = with_number().await;
    let path = "/settings/answers";
    let page = bench.page(path).await;
    assert!(page.contains("New answer"));
    let mut form = fields_of(&page, path);
    // The first row is left empty.
    set(&mut form, "faq[1].phrases", "opening hours\nwhen open");
    set(&mut form, "faq[1].answer", "From 9 to 18.");
    assert_eq!(send(&bench, path, &form).await.status(), 303);
    let told = bench.get("/api/v1/settings", 200).await;
    assert_eq!(
        told["answers"],
        json!([{ "phrases": ["opening hours", "when open"], "answer": "From 9 to 18." }])
    );
    let page = bench.page(path).await;
    assert!(page.contains("<h2>opening hours</h2>"));

    let mut form = fields_of(&page, path);
    set(&mut form, "faq[2].phrases", "returns");
    let answer = send(&bench, path, &form).await;
    assert_eq!(answer.status(), 422);
    let page = answer.text().await.unwrap();
    let (_, after) = page.split_once("id=\"f-faq[2].answer\"").unwrap();
    assert!(
        after.split_once("class=\"input").unwrap_or((after, "")).0.contains("Answer is empty"),
        "{after}"
    );
    assert!(page.contains(">returns</textarea>"), "what was typed is there");
    let wrong = json!({ "entries": [{ "phrases": [" "], "answer": "x".repeat(5_000) }] });
    let told =
        bench.send("PUT", "/api/v1/settings/answers", &json!({ "revision": 2, "change": wrong }), 422).await;
    let fields: Vec<_> = told["fields"].as_array().unwrap().iter().map(|one| one["field"].clone()).collect();
    assert_eq!(fields, ["faq[0].phrases", "faq[0].answer"]);
    // Cleared, it is gone.
    let mut form = fields_of(&bench.page(path).await, path);
    set(&mut form, "faq[0].phrases", "");
    set(&mut form, "faq[0].answer", " ");
    assert_eq!(send(&bench, path, &form).await.status(), 303);
    assert_eq!(bench.get("/api/v1/settings", 200).await["answers"], json!([]));
    let changes = bench.get("/api/v1/settings/changes", 200).await;
    assert_eq!(changes["changes"][0]["what"], "faq");
    bench.stop().await;
}

#[tokio::test]
async fn texts_are_written_language_by_language_and_words_are_the_operators() {
    let (bench, api) = with_number().await;
    let path = format!("/channels/whatsapp/{NUMBER}/texts");
    let german = format!("{path}?language=de");
    let page = bench.page(&german).await;
    assert!(
        page.contains("what Baton says in German") && page.contains("Ich verbinde Sie mit unserem Team.")
    );
    let mut form = fields_of(&page, &german);
    set(&mut form, "texts.connecting", "Moment, bitte.");
    set(&mut form, "texts.no_team", "Es tut mir leid, von hier aus erreiche ich niemanden.");
    assert_eq!(send(&bench, &german, &form).await.headers()["location"], format!("{german}&done=saved"));
    let told = bench.get("/api/v1/settings", 200).await;
    assert_eq!(
        policy(&told)["translations"],
        json!({ "de": { "connecting": "Moment, bitte." } }),
        "only what differs"
    );
    // A language that does not come along: English is what is said otherwise.
    let dutch = format!("{path}?language=nl");
    let page = bench.page(&format!("{path}?language=nl_NL")).await;
    assert!(page.contains("what Baton says in nl") && page.contains("English is said"));
    let mut form = fields_of(&page, &dutch);
    set(&mut form, "texts.connecting", "Een ogenblik.");
    set(&mut form, "texts.chat_ended", &"x".repeat(2_000));
    let answer = send(&bench, &dutch, &form).await;
    assert_eq!(answer.status(), 422);
    assert!(answer.text().await.unwrap().contains("has 1024 characters at most"));
    set(&mut form, "texts.chat_ended", "");
    assert_eq!(send(&bench, &dutch, &form).await.status(), 303);
    let kept = bench.configuration.current().await.unwrap();
    let settings: domain::settings::Settings = serde_json::from_value(kept.value).unwrap();
    let policy_of = &settings.channels[0].policy;
    assert_eq!(policy_of.texts_in(Some("nl")).connecting, "Een ogenblik.");
    assert!(policy_of.texts_in(Some("de_AT")).chat_ended.starts_with("Der Chat"));
    assert!(bench.page(&path).await.contains("language=nl"), "it is among the languages now");
    // Taken back.
    let change = json!({ "policy": { "translations": { "nl": { "connecting": "" }, "de_DE": { "connecting": "" } } } });
    bench.send("PUT", &api, &json!({ "revision": 3, "change": change }), 200).await;
    assert_eq!(policy(&bench.get("/api/v1/settings", 200).await)["translations"], json!({}));

    // Words, on the number's own page.
    let path = format!("/channels/whatsapp/{NUMBER}");
    let mut form = fields_of(&bench.page(&path).await, &path);
    set(&mut form, "opt_out_words", "stop\ngeen reclame");
    set(&mut form, "echo_quiet_seconds", "60");
    assert_eq!(send(&bench, &path, &form).await.status(), 303);
    let told = bench.get("/api/v1/settings", 200).await;
    assert_eq!(policy(&told)["opt_out_words"], json!(["stop", "geen reclame"]));
    assert_eq!(policy(&told)["opt_in_words"], json!(["start", "unstop", "subscribe"]));
    assert_eq!(policy(&told)["echo_quiet_seconds"], 60);
    set(&mut form, "opt_out_words", &"w".repeat(61));
    set(&mut form, "revision", "5");
    let answer = send(&bench, &path, &form).await;
    assert_eq!(answer.status(), 422);
    assert!(answer.text().await.unwrap().contains("has up to 100 lines"));
    bench.stop().await;
}

#[tokio::test]
async fn a_key_of_the_hook_is_shown_once() {
    let bench = Bench::start().await;
    let api = "/api/v1/settings/integrations/main";
    bench.send("PUT", api, &json!({ "revision": 0, "change": bench.integration() }), 200).await;
    let path = "/settings/salesforce/main";
    assert!(bench.page(path).await.contains("the hook is closed"));
    let hook = format!("{path}/hook");
    let page = bench.post(&hook, &[("revision", "1"), ("do", "make")]).await;
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    let (_, rest) = page.split_once("<code id=\"hook-made\">").unwrap();
    let made = rest.split('<').next().unwrap();
    assert_eq!(made.len(), 43);
    let kept = bench.configuration.current().await.unwrap().value;
    assert_eq!(kept["integrations"][0]["hook_keys"], json!([made]));
    assert!(!bench.page(path).await.contains(made), "never again");
    let told = bench.get("/api/v1/settings", 200).await;
    assert!(!told.to_string().contains(made));
    let id = told["integrations"][0]["hook_keys"][0]["id"].as_str().unwrap().to_owned();

    for (wrong, says) in
        [("short", "is too short"), (made, "is there already"), (&"ä".repeat(40), "visible ASCII")]
    {
        let answer = bench.post(&hook, &[("revision", "2"), ("do", "make"), ("hook_key", wrong)]).await;
        assert_eq!(answer.status(), 422, "{says}");
        let page = answer.text().await.unwrap();
        assert!(page.contains(says) && !page.contains(made), "{says}");
    }
    let own = "a-key-of-ones-own-with-32-characters";
    let answer = bench.post(&hook, &[("revision", "2"), ("do", "make"), ("hook_key", own)]).await;
    assert_eq!(answer.headers()["location"], format!("{path}?done=saved#hook"), "nothing to show");
    let answer = bench.post(&hook, &[("revision", "3"), ("do", "remove"), ("id", &id)]).await;
    assert_eq!(answer.status(), 303);
    let by_api =
        bench.send("POST", &format!("{api}/hook-keys"), &json!({ "revision": 4, "change": {} }), 200).await;
    let key = by_api["key"].as_str().unwrap();
    let kept = bench.configuration.current().await.unwrap().value;
    assert_eq!(kept["integrations"][0]["hook_keys"], json!([own, key]));
    let gone = json!({ "revision": 5, "change": { "id": id } });
    let refused = bench.send("POST", &format!("{api}/hook-keys/remove"), &gone, 422).await;
    assert_eq!(refused["fields"][0]["field"], "hook_key");
    bench.stop().await;
}
