//! Servers, consoles on them, and browsers.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use console::{People, SignIn};
use domain::{SessionId, derive::uuid};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::shared::Servers;

pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Servers, and as many consoles on them as a test wants.
pub(crate) struct Bench {
    _nats: devstack::Nats,
    pub(crate) valkey: devstack::Valkey,
    servers: Servers,
    http: reqwest::Client,
}

/// A console, as one browser sees it.
#[derive(Clone)]
pub(crate) struct Site {
    http: reqwest::Client,
    url: String,
    headers: Vec<(&'static str, String)>,
}

/// Somebody who is signed in there.
pub(crate) struct Visit {
    pub(crate) site: Site,
    /// As the answer set it.
    pub(crate) set_cookie: String,
    pub(crate) csrf: String,
}

pub(crate) fn tool(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_console"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub(crate) fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| printed(&tool(&["hash-password"], &format!("{PASSWORD}\n"))).trim().to_owned())
}

pub(crate) fn person(name: &str, role: &str) -> Value {
    json!({ "name": name, "role": role, "password": hash() })
}

pub(crate) fn three() -> Value {
    json!([person("olga", "owner"), person("adam", "admin"), person("ana", "agent")])
}

pub(crate) fn people(file: &Value) -> SignIn {
    SignIn { people: People::parse(&file.to_string()).unwrap(), ..SignIn::default() }
}

pub(crate) fn unknown() -> SessionId {
    SessionId(uuid("session", &[b"unknown"]))
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let (nats, valkey, servers) = Servers::start().await;
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { _nats: nats, valkey, servers, http }
    }

    pub(crate) async fn console(&self, sign_in: SignIn) -> Site {
        self.site(&self.servers, sign_in).await
    }

    /// `now`: in milliseconds, as this console believes.
    pub(crate) async fn console_at(&self, now: i64, sign_in: SignIn) -> Site {
        let store = self.servers.store.with_clock_at(now);
        self.site(&Servers { store, ..self.servers.clone() }, sign_in).await
    }

    async fn site(&self, servers: &Servers, sign_in: SignIn) -> Site {
        let url = servers.console(sign_in, console::Outside::default()).await;
        Site { http: self.http.clone(), url, headers: Vec::new() }
    }

    pub(crate) async fn stop(self) {
        self.servers.stop().await;
    }
}

impl Site {
    pub(crate) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut site = self.clone();
        site.headers.retain(|(known, _)| *known != name);
        site.headers.push((name, value.to_owned()));
        site
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        more: &[(&str, &str)],
        body: String,
    ) -> Response {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).body(body);
        let own = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in own.chain(more.iter().copied()) {
            request = request.header(name, value);
        }
        request.send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, &[], String::new()).await
    }

    pub(crate) async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status().as_u16()
    }

    pub(crate) async fn form(&self, path: &str, body: String) -> Response {
        self.send(Method::POST, path, &[FORM], body).await
    }

    /// Hand off, by the API.
    pub(crate) async fn act(&self, more: &[(&str, &str)]) -> (u16, String) {
        let path = format!("/api/v1/sessions/{}/actions", unknown());
        let headers = [("content-type", "application/json"), ("idempotency-key", "key-of-a-test")];
        let headers = [&headers[..], more].concat();
        let body = json!({ "action": "hand_off" }).to_string();
        told(self.send(Method::POST, &path, &headers, body).await).await
    }

    pub(crate) async fn try_sign_in(&self, name: &str, password: &str) -> Response {
        self.form("/sign-in", format!("name={name}&password={}&to=/sessions", password.replace(' ', "+")))
            .await
    }

    pub(crate) async fn sign_in(&self, name: &str) -> Visit {
        self.visit(self.try_sign_in(name, PASSWORD).await).await
    }

    pub(crate) async fn visit(&self, answer: Response) -> Visit {
        assert_eq!(answer.status(), 303);
        let set_cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
        let site = self.with("cookie", set_cookie.split(';').next().unwrap());
        let page = site.get("/sessions").await;
        assert_eq!(page.status(), 200);
        let page = page.text().await.unwrap();
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
        let csrf = rest.split('"').next().unwrap().to_owned();
        Visit { site, set_cookie, csrf }
    }
}

/// The status, and the error's code.
pub(crate) async fn told(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert!(
        !body["message"].as_str().unwrap().is_empty() && !body["what_to_do"].as_str().unwrap().is_empty()
    );
    (status, body["error"].as_str().unwrap().to_owned())
}

pub(crate) fn location(answer: &Response) -> &str {
    answer.headers()["location"].to_str().unwrap()
}
