//! Who may sign in and do what, over HTTP, with a real cache.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod bench;
#[path = "../shared/mod.rs"]
mod shared;

use std::time::Duration;

use bench::{
    Bench, PASSWORD, Site, Visit, hash, location, people, person, printed, three, told, tool, unknown,
};
use console::{People, SignIn};
use reqwest::Method;
use serde_json::{Value, json};
use store::SIGN_IN_IDLE;

const WRONG_TOKENS: usize = 20;
const TRIES_OF_A_NAME: usize = 10;
const TRIES_OF_AN_ADDRESS: usize = 60;

#[tokio::test]
async fn each_role_may_do_what_it_may_and_nothing_else() {
    let bench = Bench::start().await;
    let site = bench.console(people(&three())).await;
    let actions = format!("/sessions/{}/actions", unknown());

    for path in ["/", "/sessions?state=waiting", "/nothing"] {
        let answer = site.get(path).await;
        assert_eq!(answer.status(), 303, "{path}");
        assert!(location(&answer).starts_with("/sign-in"), "{path}");
    }
    assert_eq!(
        location(&site.get("/sessions?state=waiting").await),
        "/sign-in?to=%2Fsessions%3Fstate%3Dwaiting"
    );
    assert_eq!(location(&site.form(&actions, "action=hand_off".into()).await), "/sign-in");
    assert_eq!(told(site.get("/api/v1/sessions").await).await, (401, "not_signed_in".into()));
    assert_eq!(site.act(&[]).await, (401, "not_signed_in".into()));
    assert_eq!(
        site.with("sec-fetch-mode", "cors").status("/sessions").await,
        401,
        "a script is not led away"
    );
    let stream = site.with("accept", "text/event-stream").get("/sessions/stream").await;
    assert_eq!(told(stream).await, (401, "not_signed_in".into()));
    for path in ["/sign-in", "/style.css", "/app.js", "/livez"] {
        assert_eq!(site.status(path).await, 200, "{path}");
    }

    for (name, operates) in [("olga", true), ("adam", true), ("ana", false)] {
        let visit = site.sign_in(name).await;
        for path in ["/", "/sessions", "/api/v1/sessions"] {
            assert_eq!(visit.site.status(path).await, 200, "{name} {path}");
        }
        assert_eq!(
            location(&visit.site.get("/sign-in?to=/sessions").await),
            "/sessions",
            "nothing to do there"
        );
        let csrf = [("x-csrf-token", visit.csrf.as_str())];
        let expected = if operates { (404, "unknown_session") } else { (403, "may_not_operate") };
        assert_eq!(visit.site.act(&csrf).await, (expected.0, expected.1.into()), "{name}");
        let form = format!("csrf={}&action=hand_off&nonce=nonce-of-a-test", visit.csrf);
        let answer = visit.site.form(&actions, form).await;
        assert_eq!(answer.status(), expected.0, "{name}");
        let page = answer.text().await.unwrap();
        assert_eq!(page.contains("You may look, and not act."), !operates, "{page}");
        let search = visit.site.form("/search", format!("csrf={}&wanted=zoe", visit.csrf)).await;
        assert_eq!(search.status(), 200, "{name}");
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_token_may_do_what_its_scopes_say() {
    let bench = Bench::start().await;
    let mut made = Vec::new();
    let mut entries = Vec::new();
    for scopes in ["read", "read,operate", "configure"] {
        let output = printed(&tool(&["make-token", scopes, "--scopes", scopes], ""));
        made.push((scopes, output.lines().next().unwrap().to_owned()));
        entries.push(serde_json::from_str::<Value>(output.lines().last().unwrap()).unwrap());
    }
    let site = bench.console(people(&json!({ "people": [], "tokens": entries }))).await;
    for (scopes, token) in made {
        let site = site.with("authorization", &format!("Bearer {token}"));
        assert_eq!(site.status("/api/v1/sessions").await, 200, "{scopes}");
        let expected =
            if scopes == "read,operate" { (404, "unknown_session") } else { (403, "may_not_operate") };
        assert_eq!(site.act(&[]).await, (expected.0, expected.1.into()), "{scopes}");
    }
    let wrong = |n: usize| site.with("authorization", &format!("Bearer baton_{n}"));
    for _ in 0..2 * WRONG_TOKENS {
        assert_eq!(told(wrong(0).get("/api/v1/sessions").await).await, (401, "wrong_token".into()));
    }
    for n in 1..WRONG_TOKENS {
        assert_eq!(wrong(n).status("/api/v1/sessions").await, 401);
    }
    let answer = wrong(0).get("/api/v1/sessions").await;
    assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() <= 61);
    assert_eq!(told(answer).await, (429, "too_many_tries".into()), "guessing");
    assert_eq!(wrong(0).with("x-forwarded-for", "192.0.2.1").status("/api/v1/sessions").await, 401);
    // There is nobody who could sign in with a password.
    assert_eq!(site.try_sign_in("ana", PASSWORD).await.status(), 401);
    bench.stop().await;
}

#[tokio::test]
async fn a_form_of_another_page_or_another_sign_in_does_nothing() {
    let bench = Bench::start().await;
    let site = bench.console(people(&three())).await;
    let (visit, other) = (site.sign_in("adam").await, site.sign_in("adam").await);
    let actions = format!("/sessions/{}/actions", unknown());
    let form = |csrf: &str| format!("{csrf}action=hand_off&nonce=nonce-of-a-test");

    let right = format!("csrf={}&", visit.csrf);
    assert_eq!(visit.site.form(&actions, form(&right)).await.status(), 404, "it got through");
    for csrf in [String::new(), "csrf=&".into(), "csrf=0000&".into(), format!("csrf={}&", other.csrf)] {
        let answer = visit.site.form(&actions, form(&csrf)).await;
        assert_eq!(answer.status(), 403, "{csrf}");
        assert!(answer.text().await.unwrap().contains("not of your present sign-in"));
        let header = csrf.trim_start_matches("csrf=").trim_end_matches('&');
        assert_eq!(visit.site.act(&[("x-csrf-token", header)]).await, (403, "stale_form".into()));
    }
    assert_eq!(visit.site.act(&[]).await, (403, "stale_form".into()));
    // In a body that a page elsewhere can send, but as something else than a form.
    let plain =
        visit.site.send(Method::POST, &actions, &[("content-type", "text/plain")], form(&right)).await;
    assert_eq!(plain.status(), 403);
    // As browsers tell; even with the right token.
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
    ] {
        let answer = visit.site.with(name, value).act(&[("x-csrf-token", &visit.csrf)]).await;
        assert_eq!(answer, (403, "foreign_page".into()), "{name} {value}");
    }
    let signing_in = site.with("sec-fetch-site", "cross-site").try_sign_in("adam", PASSWORD).await;
    assert_eq!(signing_in.status(), 403, "into somebody else's account");

    // Out: not by accident, and for good.
    assert_eq!(visit.site.form("/sign-out", String::new()).await.status(), 403);
    let out = visit.site.form("/sign-out", format!("csrf={}", visit.csrf)).await;
    assert_eq!((out.status().as_u16(), location(&out)), (303, "/sign-in"));
    assert!(out.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(visit.site.status("/sessions").await, 303);
    assert_eq!(other.site.status("/sessions").await, 200);

    // Where nothing is asked for there is no token, and another site's page still does nothing.
    let open = bench.console(SignIn::default()).await;
    assert_eq!(open.act(&[]).await, (404, "unknown_session".into()));
    assert_eq!(open.act(&[("sec-fetch-site", "cross-site")]).await, (403, "foreign_page".into()));
    assert_eq!(location(&open.get("/sign-in").await), "/");
    bench.stop().await;
}

#[tokio::test]
async fn cookies_are_for_this_host_and_nobody_is_led_elsewhere() {
    let bench = Bench::start().await;
    let site = bench.console(people(&three())).await;
    let plain = site.sign_in("ana").await;
    assert!(plain.set_cookie.starts_with("baton="), "{}", plain.set_cookie);
    let tls = site.with("x-forwarded-proto", "https");
    let secure = tls.sign_in("ana").await;
    let always = bench.console(SignIn { secure: true, ..people(&three()) }).await.sign_in("ana").await;
    for visit in [&secure, &always] {
        assert!(visit.set_cookie.starts_with("__Host-baton="), "{}", visit.set_cookie);
        assert!(visit.set_cookie.ends_with("; Secure"), "{}", visit.set_cookie);
    }
    for visit in [&plain, &secure] {
        for flag in ["; Path=/;", "; HttpOnly;", "; SameSite=Lax;", "; Max-Age=43200"] {
            assert!(visit.set_cookie.contains(flag), "{flag} in {}", visit.set_cookie);
        }
        assert!(!visit.set_cookie.contains("Domain"));
    }
    assert_ne!(plain.csrf, secure.csrf);
    // Set by a neighbour, or without TLS: not looked at over TLS.
    let tossed = tls.with("cookie", plain.set_cookie.split(';').next().unwrap());
    assert_eq!(tossed.status("/sessions").await, 303);
    for cookie in
        ["baton=", "baton=x", &format!("baton={}", "A".repeat(43)), &format!("baton={}", "A".repeat(5_000))]
    {
        assert_eq!(site.with("cookie", cookie).status("/sessions").await, 303);
    }
    // The browser's former sign-in ends with a new one.
    let again = plain.site.sign_in("ana").await;
    assert_ne!(again.set_cookie, plain.set_cookie);
    assert_eq!(plain.site.status("/sessions").await, 303);

    for elsewhere in
        ["//evil.example", "https://evil.example", "/%5Cevil.example", "/%09/evil.example", "%0d%0ax:y"]
    {
        let body = format!("name=ana&password={}&to={elsewhere}", PASSWORD.replace(' ', "+"));
        assert_eq!(location(&site.form("/sign-in", body).await), "/", "{elsewhere}");
        let page = site.get(&format!("/sign-in?to={elsewhere}")).await.text().await.unwrap();
        assert!(page.contains("name=\"to\" value=\"/\""), "{elsewhere}");
    }
    assert_eq!(location(&site.try_sign_in("ana", PASSWORD).await), "/sessions");
    bench.stop().await;
}

#[tokio::test]
async fn a_sign_in_ends_when_idle_and_when_its_person_changed() {
    let bench = Bench::start().await;
    let idle = i64::try_from(SIGN_IN_IDLE.as_millis()).unwrap();
    let site = bench.console_at(0, people(&three())).await;
    let (ana, adam) = (site.sign_in("ana").await, site.sign_in("adam").await);
    let there =
        |console: &Site, visit: &Visit| console.with("cookie", visit.set_cookie.split(';').next().unwrap());

    let later = bench.console_at(idle - 1, people(&three())).await;
    assert_eq!(there(&later, &ana).status("/sessions").await, 200);
    let script = there(&later, &adam).with("sec-fetch-mode", "cors");
    assert_eq!(script.status("/sessions").await, 200);
    let latest = bench.console_at(idle + 1, people(&three())).await;
    assert_eq!(there(&latest, &ana).status("/sessions").await, 200, "used meanwhile");
    assert_eq!(there(&latest, &adam).status("/sessions").await, 303, "its page was open, and nobody there");

    // After a restart with another file.
    let same = bench.console_at(0, people(&three())).await;
    let [olga, ana] = [same.sign_in("olga").await, same.sign_in("ana").await];
    let adam = same.sign_in("adam").await;
    let other = printed(&tool(&["hash-password"], "another password of hers\n"));
    let changed = json!([
        { "name": "olga", "role": "owner", "password": other.trim() },
        person("adam", "agent"),
    ]);
    let changed = bench.console_at(1, people(&changed)).await;
    for (visit, why) in [(&ana, "removed"), (&adam, "another role"), (&olga, "another password")] {
        assert_eq!(there(&changed, visit).status("/sessions").await, 303, "{why}");
        assert_eq!(visit.site.status("/sessions").await, 303, "{why}: gone for good");
    }
    bench.stop().await;
}

#[tokio::test]
async fn who_tries_too_often_waits() {
    let bench = Bench::start().await;
    let both = SignIn { token: Some("a token of some length".into()), ..people(&three()) };
    let site = bench.console_at(0, both.clone()).await;
    let mut pages = Vec::new();
    for name in ["ana", "nobody"] {
        for attempt in 0..TRIES_OF_A_NAME {
            let answer = site.try_sign_in(name, "a wrong password").await;
            assert_eq!(answer.status(), 401, "{name} {attempt}");
            if attempt == 0 {
                pages.push(answer.text().await.unwrap().replace(name, "…"));
            }
        }
        let answer = site.try_sign_in(name, PASSWORD).await;
        assert_eq!(answer.status(), 429, "even with the right password");
        let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=901).contains(&wait), "{wait}");
        assert!(answer.text().await.unwrap().contains("Too many tries"));
    }
    assert_eq!(pages[0], pages[1], "nobody learns which names there are");
    site.sign_in("adam").await;
    let later = bench.console_at(15 * 60 * 1000, both.clone()).await;
    later.sign_in("ana").await;

    // From one address, with whatever.
    let from = |console: &Site, address: &str| console.with("x-forwarded-for", address);
    let attempt = async |site: &Site, token: &str| {
        site.form("/sign-in", format!("token={}&to=/", token.replace(' ', "+"))).await
    };
    let one = from(&site, "192.0.2.1");
    for _ in 0..TRIES_OF_AN_ADDRESS {
        assert_eq!(attempt(&one, "a wrong token of some length").await.status(), 401);
    }
    assert_eq!(attempt(&one, "a token of some length").await.status(), 429);
    let other = from(&site, "192.0.2.1, 192.0.2.2");
    let answer = attempt(&other, "a token of some length").await;
    let visit = other.visit(answer).await;
    assert_eq!(visit.site.act(&[("x-csrf-token", &visit.csrf)]).await.0, 404, "an owner");
    bench.stop().await;
}

#[tokio::test]
async fn without_the_cache_nobody_is_let_in_but_tokens() {
    let mut bench = Bench::start().await;
    let both = SignIn { token: Some("a token of some length".into()), ..people(&three()) };
    let site = bench.console(both).await;
    let visit = site.sign_in("ana").await;
    bench.valkey.kill().await.unwrap();
    assert_eq!(told(visit.site.get("/api/v1/sessions").await).await, (503, "cache_away".into()));
    let page = visit.site.get("/sessions").await;
    assert_eq!((page.status().as_u16(), &page.headers()["retry-after"]), (503, &"5".parse().unwrap()));
    assert!(page.text().await.unwrap().contains("look at the cache"));
    for password in [PASSWORD, "a wrong password"] {
        assert_eq!(site.try_sign_in("ana", password).await.status(), 503, "nothing is told about it");
    }
    let token = site.with("authorization", "Bearer a token of some length");
    assert_eq!(token.status("/api/v1/sessions").await, 200);
    bench.stop().await;
}

#[tokio::test]
async fn the_page_asks_for_what_there_is() {
    let bench = Bench::start().await;
    let token = || Some("a token of some length".into());
    let page = async |sign_in: SignIn, path: &str| {
        let answer = bench.console(sign_in).await.get(path).await;
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    };
    let asks =
        |page: &str| ["name=\"password\"", "name=\"token\"", "instead"].map(|part| page.contains(part));
    let only_token = SignIn { token: token(), ..SignIn::default() };
    assert_eq!(asks(&page(only_token, "/sign-in").await), [false, true, false]);
    let blank = SignIn { token: token(), people: People::parse("").unwrap(), ..SignIn::default() };
    assert_eq!(asks(&page(blank, "/sign-in").await), [false, true, false]);
    let both = SignIn { token: token(), ..people(&three()) };
    let by_name = page(both.clone(), "/sign-in?to=/sessions").await;
    assert_eq!(asks(&by_name), [true, false, true]);
    assert!(by_name.contains("autofocus") && by_name.contains("autocomplete=\"current-password\""));
    assert!(!by_name.contains("Sign out") && !by_name.contains("action=\"/search\""));
    assert_eq!(asks(&page(both, "/sign-in?with=token").await), [false, true, true]);
    assert_eq!(asks(&page(people(&three()), "/sign-in?with=token").await), [true, false, false]);
    bench.stop().await;
}

#[tokio::test]
async fn whoever_is_taken_out_of_the_file_is_out() {
    let bench = Bench::start().await;
    let file = std::env::temp_dir().join(format!("baton-console-followed-{}.json", std::process::id()));
    std::fs::write(&file, three().to_string()).unwrap();
    let site = bench.console(SignIn { file: Some(file.clone()), ..people(&three()) }).await;
    let visit = site.sign_in("ana").await;
    // What cannot be read changes nothing, what can be does.
    std::fs::write(&file, "[").unwrap();
    assert_eq!(visit.site.status("/sessions").await, 200);
    std::fs::write(&file, json!([person("adam", "admin")]).to_string()).unwrap();
    let out = async {
        while visit.site.status("/sessions").await == 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), out).await.expect("she is out");
    site.sign_in("adam").await;
    std::fs::remove_file(&file).unwrap();
    bench.stop().await;
}

#[test]
fn a_bad_file_stops_the_start_and_tells_everything_but_hashes() {
    let file = std::env::temp_dir().join(format!("baton-console-users-{}.json", std::process::id()));
    let weak = hash().replace("m=19456", "m=1024");
    let bad = json!([{ "name": "", "role": "boss", "password": weak }, person("ana", "chief")]);
    std::fs::write(&file, bad.to_string()).unwrap();
    let key = "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let secret = "0123456789abcdef0123456789abcdef";
    let path = file.to_str().unwrap();
    let arguments = ["--console-users", path, "--master-key", key, "--conversation-key-secret", secret];
    let output = tool(&arguments, "");
    std::fs::remove_file(&file).unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    for place in ["people[0].name", "people[0].role", "people[0].password is weaker", "people[1].role"] {
        assert!(text.contains(place), "{place} in {text}");
    }
    assert!(!text.contains("argon2id$"), "{text}");
    assert!(!tool(&["hash-password"], "short\n").status.success());
}
