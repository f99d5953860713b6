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
                fields.last_mut().map(|(_, chosen): &mut (String, String)| *chosen = value);
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
    for (name, value) in [
        ("hours.time_zone", "Europe/Madrid"),
        ("hours.week.mon", "09:00-14:00, 16:00-18:30"),
        ("hours.week.fri", "22:00-24:00"),
        ("hours.closed_on", "2026-12-25\n2027-01-01\n"),
        ("after_hours", "leave-note"),
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
