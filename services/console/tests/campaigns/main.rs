//! Campaigns from the form to the export, over a real broker; the sending is another service's.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod bench;
#[path = "../shared/mod.rs"]
mod shared;

use std::time::Duration;

use bench::{Bench, NUMBER, form};
use campaign::{
    Campaigns, Command,
    progress::{Event, Mark},
};
use console::SignIn;
use reqwest::Method;
use serde_json::{Value, json};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const LIST: &str = "\u{feff}phone;first;off;timezone\r\n+34 600 000 001;Ana;20%;Europe/Madrid\r\n\
                    +34600000001;Ana;20%;\r\n0049 176 12345678;<b>Bo</b>;10%;\r\n12;X;5%;\r\n+34600000003;;5%;\r\n";

fn multipart(fields: &[(&str, &str)], file: &str) -> (String, String) {
    let part = |name: &str, more: &str, value: &str| {
        format!("--line\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{value}\r\n")
    };
    let fields: String = fields.iter().map(|(name, value)| part(name, "", value)).collect();
    let file = part("file", "; filename=\"list.csv\"\r\nContent-Type: text/csv", file);
    ("multipart/form-data; boundary=line".into(), format!("{fields}{file}--line--\r\n"))
}

#[tokio::test]
async fn a_campaign_is_made_by_hand_given_its_list_and_watched() {
    let bench = Bench::start(SignIn::default()).await;
    assert!(bench.page("/campaigns", 200).await.contains("No campaign yet"));
    let offered = bench.page("/campaigns/new", 200).await;
    assert!(
        offered.contains("Hi {{1}}, chairs are {{2}} off.") && offered.contains("template=chairs%7Cen_US")
    );
    let asked = bench.page(&format!("/campaigns/new?number={NUMBER}&template=chairs%7Cen_US"), 200).await;
    assert!(asked.contains("name=\"b0\"") && asked.contains("name=\"b1\"") && !asked.contains("name=\"b2\""));
    assert!(asked.contains("Example Shop") && asked.contains("Yes please"));

    let mut fields = vec![
        ("number", NUMBER),
        ("template", "chairs|en_US"),
        ("name", "Autumn <sale>"),
        ("b0", "first"),
        ("b0_from", "column"),
        ("b1", "off"),
        ("quiet_from", "21:00"),
        ("quiet_to", "08:00"),
        ("reply", "keywords"),
        ("rules", "price = assistant"),
    ];
    let wrong = [fields.as_slice(), &[("per_minute", "many")]].concat();
    let post = |fields: &[(&str, &str)]| {
        bench.request(Method::POST, "/campaigns").header(FORM.0, FORM.1).body(form(fields)).send()
    };
    let told = post(&wrong).await.unwrap();
    assert_eq!(told.status(), 422);
    let told = told.text().await.unwrap();
    assert!(told.contains("whole number a minute") && told.contains("Autumn &#60;sale&#62;"), "{told}");
    fields.push(("per_minute", "600"));
    let made = post(&fields).await.unwrap();
    assert_eq!(made.status(), 303);
    let address = made.headers()["location"].to_str().unwrap().to_owned();
    let page = bench.page(&address, 200).await;
    assert!(page.contains("No audience yet") && page.contains("phone or bsuid, first, off"), "{page}");

    let (kind, body) = multipart(&[("country", "")], LIST);
    let upload = bench.request(Method::POST, &format!("{address}/audience")).header("content-type", kind);
    let uploaded = upload.body(body).send().await.unwrap();
    assert_eq!(uploaded.status(), 303, "{}", uploaded.text().await.unwrap());
    let page = bench.page(&address, 200).await;
    assert!(page.contains("<strong>2</strong> taken, <strong>3</strong> rejected"), "{page}");
    let api = format!("/api/v1{address}");
    let rejected = bench.page(&format!("{api}/rejected.csv"), 200).await;
    assert_eq!(rejected.lines().count(), 4, "{rejected}");
    assert!(rejected.contains("not a phone number") && rejected.contains("the same recipient"), "{rejected}");

    // The runner looks at it and starts; here, by hand.
    let act = async |action: &str, status| {
        let request = bench.request(Method::POST, &format!("{api}/actions"));
        bench.json(request.json(&json!({ "action": action })), status).await
    };
    let told = act("resume", 409).await;
    assert_eq!((&told["error"], told["problems"].as_array().unwrap().len()), (&json!("not_now"), 1));
    act("start", 200).await;
    let campaigns = Campaigns::open(&bench.servers.log).await.unwrap();
    let id = address.rsplit('/').next().unwrap().parse().unwrap();
    campaigns.command(id, &Command::Validated(Vec::new()), "runner", 1).await.unwrap();
    let mut stream = bench.request(Method::GET, &format!("{address}/stream")).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let stored = campaigns.get(id).await.unwrap().unwrap();
    let mut progress = campaign::beginning(stored.definition.audience.as_ref().unwrap(), 1);
    let event = |row, mark, code| Event { row, mark, code };
    progress.apply(2, 60_000, &[event(0, Mark::Accepted, 0), event(1, Mark::Failed, 131_026)]);
    progress.apply(3, 120_000, &[event(0, Mark::Read, 0)]);
    campaigns.save(id, &progress, 0).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(30), stream.chunk()).await.unwrap().unwrap().unwrap();
    assert!(told.starts_with(b"event: rows"), "{told:?}");
    let page = bench.page(&address, 200).await;
    assert!(page.contains("<polyline") && page.contains("131026") && page.contains("Pause"), "{page}");
    let about = bench.json(bench.request(Method::GET, &api), 200).await;
    assert_eq!((&about["progress"]["read"], &about["causes"][0]["code"]), (&json!(1), &json!(131_026)));
    let export = bench.page(&format!("{api}/export.csv"), 200).await;
    assert!(
        export.contains("+34600000001") && export.contains("read") && export.contains("131026"),
        "{export}"
    );

    let body = form(&[("action", "pause")]);
    let pause = bench.request(Method::POST, &format!("{address}/actions")).header(FORM.0, FORM.1).body(body);
    assert_eq!(pause.send().await.unwrap().status(), 303);
    let page = bench.page(&address, 200).await;
    assert!(page.contains("Somebody paused it") && page.contains("Resume"), "{page}");
    assert!(bench.page("/campaigns", 200).await.contains("paused"));
    act("cancel", 200).await;
    act("start", 409).await;
    assert_eq!(bench.request(Method::GET, &format!("{address}/edit")).send().await.unwrap().status(), 409);

    // Another one is changed by hand, and removed.
    let made = post(&fields).await.unwrap();
    let address = made.headers()["location"].to_str().unwrap().to_owned();
    let edited = bench.page(&format!("{address}/edit"), 200).await;
    assert!(edited.contains("Edit campaign") && edited.contains("price = assistant"), "{edited}");
    let revision =
        bench.json(bench.request(Method::GET, &format!("/api/v1{address}")), 200).await["revision"]
            .to_string();
    let send = async |path: &str, fields: &[(&str, &str)]| {
        let request = bench.request(Method::POST, &format!("{address}/{path}"));
        request.header(FORM.0, FORM.1).body(form(fields)).send().await.unwrap().status().as_u16()
    };
    let changed =
        [fields.as_slice(), &[("revision", revision.as_str()), ("answered_within_days", "3")]].concat();
    assert_eq!(send("edit", &changed).await, 303);
    assert_eq!(send("edit", &changed).await, 409, "based on what was");
    let about = bench.json(bench.request(Method::GET, &format!("/api/v1{address}")), 200).await;
    assert_eq!(about["campaign"]["answered_within_seconds"], 3 * 86_400, "{about}");
    assert_eq!(send("delete", &[("revision", "1")]).await, 409);
    let revision = about["revision"].to_string();
    assert_eq!(send("delete", &[("revision", &revision)]).await, 303);
    bench.page(&address, 404).await;
    bench.stop().await;
}

#[tokio::test]
async fn campaigns_over_the_api_are_refused_with_their_reasons() {
    let bench = Bench::start(SignIn::default()).await;
    let plan = json!({
        "name": "Autumn", "number": NUMBER,
        "template": {
            "name": "chairs", "language": "en_US", "category": "MARKETING", "text": "Hi {{1}}, chairs are {{2}} off.",
            "body": [{ "column": "first" }, { "fixed": "20%" }],
        },
    });
    let post = |path: &str| bench.request(Method::POST, path);
    let made = bench.json(post("/api/v1/campaigns").json(&plan), 201).await;
    let path = format!("/api/v1/campaigns/{}", made["campaign"]["id"].as_str().unwrap());
    for (request, status, error) in [
        (post("/api/v1/campaigns").json(&json!({ "name": "x" })), 400, "malformed_campaign"),
        (post("/api/v1/campaigns").json(&with(&plan, "per_minute", json!(0))), 409, "not_now"),
        (bench.request(Method::GET, "/api/v1/campaigns/x"), 404, "unknown_campaign"),
        (post(&format!("{path}/audience")).body("first\nAna\n"), 422, "audience_unusable"),
        (post(&format!("{path}/audience?country=XX")).body(LIST), 400, "unknown_country"),
        (post(&format!("{path}/actions")).json(&json!({ "action": "start" })), 409, "not_now"),
        (post(&format!("{path}/actions")).json(&json!({ "action": "fly" })), 400, "malformed_campaign"),
        (bench.request(Method::PUT, &format!("{path}?revision=99")).json(&plan), 409, "campaign_changed"),
    ] {
        assert_eq!(bench.json(request, status).await["error"], error);
    }
    let taken =
        bench.json(post(&format!("{path}/audience?country=DE")).body(LIST.replace("0049 ", "0")), 200).await;
    assert_eq!((&taken["accepted"], &taken["rejected"]), (&json!(2), &json!(3)), "{taken}");
    let changed = with(&plan, "per_minute", json!(60));
    let revision = bench.json(bench.request(Method::GET, &path), 200).await["revision"].clone();
    let put = bench.request(Method::PUT, &format!("{path}?revision={revision}")).json(&changed);
    let about = bench.json(put, 200).await;
    assert_eq!(about["campaign"]["per_minute"], 60, "{about}");
    let delete = bench.request(Method::DELETE, &format!("{path}?revision={}", about["revision"]));
    bench.json(delete, 204).await;
    assert_eq!(bench.json(bench.request(Method::GET, "/api/v1/campaigns"), 200).await, json!([]));
    bench.stop().await;
}

fn with(plan: &Value, name: &str, value: Value) -> Value {
    let mut plan = plan.clone();
    plan[name] = value;
    plan
}

/// A form with a file proves by its first field that somebody meant it.
#[tokio::test]
async fn an_upload_of_another_sites_making_is_refused() {
    let token = "0123456789abcdef";
    let bench = Bench::start(SignIn { token: Some(token.into()), ..SignIn::default() }).await;
    let api = bench.request(Method::POST, "/api/v1/campaigns").bearer_auth(token);
    let plan = json!({
        "name": "Hello", "number": NUMBER,
        "template": { "name": "hello", "language": "en_US", "category": "UTILITY", "text": "Hello" },
    });
    let made = bench.json(api.json(&plan), 201).await;
    let path = format!("/campaigns/{}", made["campaign"]["id"].as_str().unwrap());
    let sign_in = bench.request(Method::POST, "/sign-in").header(FORM.0, FORM.1);
    let signed = sign_in.body(form(&[("token", token), ("to", "/")])).send().await.unwrap();
    let cookie = signed.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let get = bench.request(Method::GET, &path).header("cookie", &cookie);
    let page = get.send().await.unwrap().text().await.unwrap();
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
    let csrf = rest.split('"').next().unwrap();
    for (fields, status) in [
        (vec![("country", ""), ("csrf", csrf)], 403),
        (vec![("country", "")], 403),
        (vec![("csrf", "wrong"), ("country", "")], 403),
        (vec![("csrf", csrf), ("country", "DE")], 303),
    ] {
        let (kind, body) = multipart(&fields, "phone\n0176 12345678\n");
        let upload = bench.request(Method::POST, &format!("{path}/audience")).header("cookie", &cookie);
        let answer = upload.header("content-type", kind).body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{fields:?}");
    }
    let about = bench.request(Method::GET, &format!("/api/v1{path}")).bearer_auth(token);
    assert_eq!(bench.json(about, 200).await["campaign"]["audience"]["rows"], 1);
    bench.stop().await;
}
