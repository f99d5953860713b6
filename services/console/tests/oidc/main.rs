//! Sign-in with an identity provider, over HTTP: with a small one that does wrong things, and with a
//! certified one.
#![allow(clippy::allow_attributes, dead_code, reason = "the bench is shared: this uses a part of it")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../sign_in/bench.rs"]
mod bench;
mod certified;
mod provider;
#[path = "../shared/mod.rs"]
mod shared;

use console::{OidcArgs, SignIn};
use jsonwebtoken::{Algorithm, EncodingKey};
use reqwest::Response;
use serde_json::{Value, json};
use url::Url;

use bench::{Bench, PASSWORD, Site, location, people, three};
use provider::{Acts, Fault, Provider, SLOW, arguments, checked, code, ec_key, public, rsa_key};

fn with(arguments: &OidcArgs) -> SignIn {
    SignIn { oidc: checked(arguments), ..SignIn::default() }
}

/// A browser that was sent to the provider.
struct Sent {
    site: Site,
    address: Url,
    state: String,
}

async fn sent(site: &Site, to: &str) -> Sent {
    let answer = site.get(&format!("/sign-in/oidc?to={to}")).await;
    assert_eq!(answer.status(), 303, "{}", answer.text().await.unwrap());
    let set = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.contains("; HttpOnly; SameSite=Lax; Max-Age=600"), "{set}");
    let address: Url = location(&answer).parse().unwrap();
    let state = address.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    Sent { site: site.with("cookie", set.split(';').next().unwrap()), address, state }
}

impl Sent {
    async fn back(&self, more: &str) -> Response {
        let path = format!("/sign-in/oidc/callback?code={}&state={}{more}", code(&self.address), self.state);
        self.site.get(&path).await
    }
}

async fn whole(site: &Site) -> Response {
    sent(site, "/sessions").await.back("").await
}

/// Refused: with a page that says so, and no sign-in.
async fn refused(answer: Response, status: u16, says: &str, why: &str) {
    assert_eq!(answer.status(), status, "{why}");
    assert!(answer.headers().get("set-cookie").is_none(), "{why}");
    let page = answer.text().await.unwrap();
    assert!(page.contains(says) && page.contains("/sign-in"), "{why}: {page}");
    assert!(!page.contains("s-1") && !page.contains("example.com"), "{why}: nothing of the token");
}

const UNPROVEN: &str = "does not prove who you are";

#[tokio::test]
async fn groups_at_the_provider_are_roles_here() {
    let (bench, provider) = (Bench::start().await, Provider::start().await);
    let site = bench.console(with(&arguments(&provider.issuer))).await;
    assert_eq!(location(&site.get("/sessions").await), "/sign-in?to=%2Fsessions");
    let page = site.get("/sign-in?to=/sessions").await.text().await.unwrap();
    assert!(
        page.contains("Sign in with Example ID") && page.contains("/sign-in/oidc?to=%2Fsessions"),
        "{page}"
    );
    assert!(!page.contains("name=\"password\"") && !page.contains("name=\"token\""), "there are none");

    for (groups, expected) in [
        (json!(["support"]), (403, "may_not_operate")),
        (json!(["else", "CN=Admins,OU=A"]), (404, "unknown_session")),
        (json!(["support", "baton owners"]), (404, "unknown_session")),
    ] {
        provider.set(|acts| acts.claims = json!({ "groups": groups }));
        let going = sent(&site, "/sessions").await;
        let asked =
            |name: &str| going.address.query_pairs().find(|(one, _)| one == name).unwrap().1.into_owned();
        assert_eq!(asked("tenant"), "1", "what the endpoint has of its own stays");
        assert_eq!(asked("scope"), "openid profile email groups");
        let answer = going.back("").await;
        assert_eq!((answer.status().as_u16(), location(&answer)), (303, "/sessions"), "{groups}");
        let set: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
        assert_eq!(set.len(), 2, "the sign-in, and the end of the way there");
        let visit = site.visit(answer).await;
        assert!(visit.set_cookie.contains("; Path=/; HttpOnly; SameSite=Lax; Max-Age=43200"));
        let csrf = [("x-csrf-token", visit.csrf.as_str())];
        assert_eq!(visit.site.act(&csrf).await, (expected.0, expected.1.into()), "{groups}");
        let page = visit.site.get("/sessions").await.text().await.unwrap();
        assert!(page.contains("ana@example.com"), "who is signed in");
        let out = visit.site.form("/sign-out", format!("csrf={}", visit.csrf)).await;
        assert_eq!(location(&out), "/sign-in");
        assert_eq!(visit.site.status("/sessions").await, 303);
    }
    for groups in [json!([]), json!(["strangers"]), Value::Null] {
        provider.set(|acts| acts.claims = json!({ "groups": groups }));
        refused(whole(&site).await, 403, "You have no role here", &groups.to_string()).await;
    }
    assert_eq!(provider.called("configuration"), 1, "kept");
    assert_eq!(provider.called("keys"), 1, "kept");
    bench.stop().await;
}

#[tokio::test]
async fn people_of_the_file_stay_beside_it_and_nobody_takes_their_name() {
    let (bench, provider) = (Bench::start().await, Provider::start().await);
    let both = SignIn { oidc: checked(&arguments(&provider.issuer)), ..people(&three()) };
    let site = bench.console(both).await;
    let page = site.get("/sign-in").await.text().await.unwrap();
    assert!(page.contains("Sign in with Example ID") && page.contains("name=\"password\""));
    site.sign_in("adam").await;
    provider.set(|acts| acts.claims = json!({ "email": "adam" }));
    refused(whole(&site).await, 403, "has the same name", "adam").await;
    provider.set(|acts| acts.claims = json!({ "email": "CONSOLE_TOKEN" }));
    refused(whole(&site).await, 403, "does not tell what you are called", "the token").await;
    for nobody in [json!({ "email": null }), json!({ "email_verified": false }), json!({ "email": "a\nb" })] {
        provider.set(|acts| acts.claims = nobody.clone());
        refused(whole(&site).await, 403, "does not tell what you are called", &nobody.to_string()).await;
    }
    // The provider is away: who has a password is not.
    provider.set(|acts| acts.fault = Some(("token", Fault::Broken)));
    refused(whole(&site).await, 503, "does not answer right now", "broken").await;
    assert_eq!(site.try_sign_in("olga", PASSWORD).await.status(), 303);
    // Without a provider there is no such page.
    let plain = bench.console(people(&three())).await;
    for path in ["/sign-in/oidc", "/sign-in/oidc/callback?code=a&state=b"] {
        assert_eq!(plain.status(path).await, 404, "{path}");
    }
    bench.stop().await;
}

type Change = fn(&mut Acts);

#[tokio::test]
async fn a_token_that_proves_nothing_lets_nobody_in() {
    let (bench, provider) = (Bench::start().await, Provider::start().await);
    let site = bench.console(with(&arguments(&provider.issuer))).await;
    let claims: [(&str, Value); 15] = [
        ("another nonce", json!({ "nonce": "of another request" })),
        ("no nonce", json!({ "nonce": null })),
        ("another client", json!({ "aud": "another" })),
        ("no audience", json!({ "aud": null })),
        ("several, and not said for whom", json!({ "aud": ["baton", "another"] })),
        ("several, and for another", json!({ "aud": ["baton", "another"], "azp": "another" })),
        ("for another, as it says", json!({ "azp": "another" })),
        ("over", json!({ "exp": 1_000_000_000 })),
        ("no end", json!({ "exp": null })),
        ("not yet", json!({ "nbf": 4_000_000_000_u64 })),
        ("made later", json!({ "iat": 4_000_000_000_u64 })),
        ("made long ago", json!({ "iat": 1_000_000_000 })),
        ("another issuer", json!({ "iss": "https://evil.example" })),
        ("several issuers", json!({ "iss": ["https://evil.example", provider.issuer] })),
        ("nobody", json!({ "sub": null })),
    ];
    for (why, changed) in claims {
        provider.set(|acts| acts.claims = changed);
        refused(whole(&site).await, 401, UNPROVEN, why).await;
    }
    provider.set(|acts| acts.claims = json!({ "aud": ["baton", "another"], "azp": "baton" }));
    assert_eq!(whole(&site).await.status(), 303, "for us, among others");
    provider.set(|acts| acts.claims = json!({}));

    let wrong: [(&str, Change); 5] = [
        ("none", |acts| acts.token = Some("eyJhbGciOiJub25lIn0.{claims}.".into())),
        ("none, with a key's name", |acts| {
            acts.token = Some("eyJhbGciOiJub25lIiwia2lkIjoiay0xIn0.{claims}.AAAA".into());
        }),
        ("no token", |acts| acts.token = Some("nonsense".into())),
        ("damaged", |acts| acts.damaged = true),
        ("a shared secret", |acts| {
            // What everybody can read is no secret: the public key, as the key of an HMAC.
            let public = acts.keys[0]["n"].as_str().unwrap().as_bytes().to_vec();
            acts.signs = (Algorithm::HS256, EncodingKey::from_secret(&public), Some("k-1"));
        }),
    ];
    for (why, change) in wrong {
        provider.set(change);
        refused(whole(&site).await, 401, UNPROVEN, why).await;
        provider.set(|acts| (acts.token, acts.damaged) = (None, false));
    }
    provider.set(|acts| {
        acts.keys.push(json!({ "kty": "oct", "kid": "shared", "k": "c2VjcmV0", "alg": "HS256" }));
        acts.signs = (Algorithm::HS256, EncodingKey::from_secret(b"secret"), Some("shared"));
    });
    refused(whole(&site).await, 401, UNPROVEN, "a symmetric key in the set").await;
    provider.set(|acts| acts.signs = (Algorithm::RS256, rsa_key(), Some("k-1")));
    refused(whole(&site).await, 401, UNPROVEN, "another's key under the same name").await;
    bench.stop().await;
}

#[tokio::test]
async fn new_keys_are_fetched_and_made_up_ones_are_not_fetched_for_ever() {
    let (bench, provider) = (Bench::start().await, Provider::start().await);
    let site = bench.console(with(&arguments(&provider.issuer))).await;
    assert_eq!(whole(&site).await.status(), 303);
    assert_eq!(provider.called("keys"), 1);
    // The provider changed its key, to another kind at that.
    let key = ec_key();
    provider.set(|acts| {
        acts.keys.push(public(&key, Algorithm::ES256, "k-2"));
        acts.signs = (Algorithm::ES256, key, Some("k-2"));
    });
    for _ in 0..2 {
        assert_eq!(whole(&site).await.status(), 303);
    }
    assert_eq!(provider.called("keys"), 2);
    provider.set(|acts| acts.signs = (Algorithm::RS256, rsa_key(), Some("made up")));
    for _ in 0..5 {
        refused(whole(&site).await, 401, UNPROVEN, "unknown").await;
    }
    assert_eq!(provider.called("keys"), 2, "it was a moment ago");
    // Without a name there is a choice now.
    provider.set(|acts| acts.signs.2 = None);
    refused(whole(&site).await, 401, UNPROVEN, "unnamed").await;
    bench.stop().await;
}

#[tokio::test]
async fn an_answer_is_good_once_and_for_the_browser_that_asked() {
    let (bench, provider) = (Bench::start().await, Provider::start().await);
    let site = bench.console(with(&arguments(&provider.issuer))).await;
    const STALE: &str = "begun elsewhere, too long ago, or is finished";
    let going = sent(&site, "/sessions").await;
    assert_eq!(going.back("").await.status(), 303);
    refused(going.back("").await, 400, STALE, "again").await;

    let victim = sent(&site, "/sessions").await;
    let attacker = sent(&site, "/sessions").await;
    let path =
        |sent: &Sent| format!("/sign-in/oidc/callback?code={}&state={}", code(&sent.address), sent.state);
    refused(site.get(&path(&attacker)).await, 400, STALE, "without a cookie").await;
    refused(victim.site.get(&path(&attacker)).await, 400, STALE, "in somebody else's browser").await;
    // The code of another request: the challenge is not the verifier's.
    let mixed = format!("/sign-in/oidc/callback?code={}&state={}", code(&attacker.address), victim.state);
    refused(victim.site.get(&mixed).await, 400, STALE, "another's code").await;
    for query in ["", "?code=a", "?state=a&code=b", "?code=a&code=b&state=c", "?state=%ff"] {
        let answer = attacker.site.get(&format!("/sign-in/oidc/callback{query}")).await;
        refused(answer, 400, STALE, query).await;
    }
    // Two tabs of one browser.
    let first = sent(&site, "/sessions").await;
    let second = sent(&first.site, "/contacts").await;
    assert_eq!(location(&first.back("").await), "/sessions");
    assert_eq!(location(&second.back("").await), "/contacts");

    for elsewhere in ["//evil.example", "https://evil.example", "/%5Cevil.example", "%0d%0ax:y"] {
        assert_eq!(location(&sent(&site, elsewhere).await.back("").await), "/", "{elsewhere}");
    }
    for (error, status, says) in [
        ("access_denied", 403, "did not let you in"),
        ("login_required", 403, "did not let you in"),
        ("invalid_scope", 502, "do not fit together"),
        ("temporarily_unavailable", 503, "does not answer right now"),
    ] {
        let going = sent(&site, "/").await;
        let path = format!("/sign-in/oidc/callback?error={error}&error_description=x&state={}", going.state);
        refused(going.site.get(&path).await, status, says, error).await;
        refused(going.back("").await, 400, STALE, "after a refusal").await;
    }
    // Over TLS the cookie is for TLS, and the other name is not looked at.
    let tls = site.with("x-forwarded-proto", "https");
    let answer = tls.get("/sign-in/oidc").await;
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(set.starts_with("__Host-baton-back=") && set.ends_with("; Secure"), "{set}");
    let going = sent(&tls, "/").await;
    let (_, value) = set.split_once('=').unwrap();
    let tossed = going.site.with("cookie", &format!("baton-back={}", value.split(';').next().unwrap()));
    refused(tossed.get(&path(&going)).await, 400, STALE, "a neighbour's cookie").await;
    bench.stop().await;
}

#[tokio::test]
async fn another_providers_answer_is_not_taken_for_ours() {
    let (bench, provider) = (Bench::start().await, Provider::start().await);
    provider.set(|acts| acts.metadata["authorization_response_iss_parameter_supported"] = true.into());
    let site = bench.console(with(&arguments(&provider.issuer))).await;
    let told = |issuer: &str| format!("&iss={}", issuer.replace(':', "%3A").replace('/', "%2F"));
    let answer = sent(&site, "/").await.back(&told(&provider.issuer)).await;
    assert_eq!(answer.status(), 303);
    let answer = sent(&site, "/").await.back(&told("https://evil.example")).await;
    refused(answer, 401, UNPROVEN, "another says so").await;
    refused(sent(&site, "/").await.back("").await, 401, UNPROVEN, "nobody says so").await;
    bench.stop().await;
}

#[tokio::test]
async fn a_provider_that_does_not_fit_is_not_gone_to() {
    let bench = Bench::start().await;
    type Spoils = fn(&mut Value);
    let faults: [(&str, Spoils); 5] = [
        ("issuer", |told| told["issuer"] = "https://evil.example".into()),
        ("plain", |told| told["token_endpoint"] = "http://evil.example/token".into()),
        ("no PKCE", |told| told["code_challenge_methods_supported"] = json!(["plain"])),
        ("no way to prove ourselves", |told| {
            told["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt"]);
        }),
        ("nothing", |told| *told = json!({})),
    ];
    for (why, fault) in faults {
        let provider = Provider::start().await;
        provider.set(|acts| fault(&mut acts.metadata));
        let site = bench.console(with(&arguments(&provider.issuer))).await;
        refused(site.get("/sign-in/oidc").await, 502, "do not fit together", why).await;
        // Those who come at once after a failure do not ask again.
        refused(site.get("/sign-in/oidc").await, 503, "does not answer right now", why).await;
        assert_eq!(provider.called("configuration"), 1, "{why}");
    }
    // Nobody there at all.
    let nobody = format!("http://127.0.0.1:{}", devstack::free_port().unwrap());
    let site = bench.console(with(&arguments(&nobody))).await;
    refused(site.get("/sign-in/oidc").await, 503, "does not answer right now", "away").await;
    bench.stop().await;
}

#[tokio::test]
async fn the_console_proves_itself_as_the_provider_wants() {
    let (bench, provider) = (Bench::start().await, Provider::start().await);
    let ways =
        |ways: Value| move |acts: &mut Acts| acts.metadata["token_endpoint_auth_methods_supported"] = ways;
    provider.set(ways(json!(["private_key_jwt", "client_secret_post"])));
    let site = bench.console(with(&arguments(&provider.issuer))).await;
    assert_eq!(whole(&site).await.status(), 303);
    provider.set(ways(json!(["none"])));
    let public = OidcArgs { console_oidc_client_secret: None, ..arguments(&provider.issuer) };
    assert_eq!(whole(&bench.console(with(&public)).await).await.status(), 303);
    provider.set(ways(json!(["client_secret_basic"])));
    let wrong = OidcArgs { console_oidc_client_secret: Some("wrong".into()), ..arguments(&provider.issuer) };
    refused(whole(&bench.console(with(&wrong)).await).await, 502, "do not fit together", "secret").await;
    bench.stop().await;
}

#[tokio::test]
async fn what_the_token_leaves_out_the_user_information_tells() {
    let (bench, provider) = (Bench::start().await, Provider::start().await);
    let site = bench.console(with(&arguments(&provider.issuer))).await;
    provider.set(|acts| {
        acts.claims = json!({ "groups": null });
        acts.information =
            Some(json!({ "sub": "s-1", "email": "eve@example.com", "groups": ["baton owners"] }));
    });
    let visit = site.visit(whole(&site).await).await;
    let page = visit.site.get("/sessions").await.text().await.unwrap();
    assert!(page.contains("ana@example.com"), "the token is believed first");
    provider.set(|acts| acts.information = Some(json!({ "sub": "s-2", "groups": ["baton owners"] })));
    refused(whole(&site).await, 401, UNPROVEN, "somebody else's").await;
    bench.stop().await;
}

#[tokio::test]
async fn slow_and_endless_answers_end() {
    let bench = Bench::start().await;
    let one = async |what: &'static str, fault: Fault, status: u16, says: &'static str| {
        let provider = Provider::start().await;
        provider.set(|acts| {
            acts.claims = json!({ "groups": null });
            acts.fault = Some((what, fault));
        });
        let site = bench.console(with(&arguments(&provider.issuer))).await;
        let answer = tokio::time::timeout(SLOW, async {
            if what == "configuration" { site.get("/sign-in/oidc").await } else { whole(&site).await }
        });
        refused(answer.await.expect("in time"), status, says, what).await;
    };
    let (away, unfit) = ("does not answer right now", "do not fit together");
    tokio::join!(
        one("configuration", Fault::Silent, 503, away),
        one("keys", Fault::Silent, 503, away),
        one("token", Fault::Silent, 503, away),
        one("information", Fault::Silent, 503, away),
        one("configuration", Fault::Endless, 502, unfit),
        one("keys", Fault::Endless, 502, unfit),
        one("token", Fault::Endless, 502, unfit),
        one("information", Fault::Endless, 502, unfit),
    );
    bench.stop().await;
}

#[tokio::test]
async fn a_sign_in_ends_when_what_it_stands_on_changes() {
    let (bench, provider) = (Bench::start().await, Provider::start().await);
    let given = arguments(&provider.issuer);
    let site = bench.console(with(&given)).await;
    let visit = site.visit(whole(&site).await).await;
    let there = |console: &Site| console.with("cookie", visit.set_cookie.split(';').next().unwrap());
    let label = OidcArgs { console_oidc_label: "Another name".into(), ..given.clone() };
    assert_eq!(there(&bench.console(with(&label)).await).status("/sessions").await, 200);
    let roles = OidcArgs { console_oidc_agents: "others".into(), ..given };
    assert_eq!(there(&bench.console(with(&roles)).await).status("/sessions").await, 303);
    assert_eq!(visit.site.status("/sessions").await, 303, "gone for good");
    bench.stop().await;
}
