//! A console whose settings are in the broker, both simulators, and somebody signed in.

use std::time::Duration;

use aws_lc_rs::digest;
use configuration::Configuration;
use console::{Kept, Outside, People, SignIn};
use e2e::sim::{Number, Options, Sim};
use reqwest::{Method, Response};
use salesforce::keys::{KeyPair, generate_key_pair};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use whatsapp::Client;

use crate::shared::{MASTER_KEY, Servers};

pub(crate) const NUMBER: &str = "220011223344001";
pub(crate) const WABA: &str = "104857600000001";
pub(crate) const TOKEN: &str = "a-secret-token-of-meta";
const CONSOLE_TOKEN: &str = "the token of the console";
const READER: &str = "a token that may look";

pub(crate) struct Bench {
    _nats: devstack::Nats,
    _valkey: devstack::Valkey,
    servers: Servers,
    pub(crate) sim: Sim,
    pub(crate) configuration: Configuration,
    pub(crate) key: KeyPair,
    client: Client,
    http: reqwest::Client,
    url: String,
    cookie: String,
    csrf: String,
}

pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    form.finish()
}

pub(crate) async fn json_of(answer: Response, status: u16) -> Value {
    let found = answer.status().as_u16();
    let body = answer.text().await.unwrap();
    assert_eq!(found, status, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn sign_in() -> SignIn {
    let sha256 = digest::digest(&digest::SHA256, READER.as_bytes());
    let sha256: String = sha256.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let people = json!({ "tokens": [{ "name": "reader", "scopes": ["read"], "sha256": sha256 }] });
    let people = People::parse(&people.to_string()).unwrap();
    SignIn { token: Some(CONSOLE_TOKEN.into()), people, ..SignIn::default() }
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let (nats, valkey, servers) = Servers::start().await;
        let sim = Sim::start(Options::default()).await.unwrap();
        sim.whatsapp.set_number(Number {
            phone_number_id: NUMBER.into(),
            waba_id: WABA.into(),
            display_phone_number: "15550100200".into(),
            token: TOKEN.into(),
            app_secret: "s".into(),
            callback_url: "http://127.0.0.1:9/webhook".into(),
            verify_token: "v".into(),
        });
        let graph = whatsapp::client::Config {
            graph_url: format!("{}/v25.0", sim.addresses().whatsapp).parse().unwrap(),
            graph_timeout: Duration::from_secs(10),
        };
        let client = Client::new(&graph).unwrap();
        let configuration = Configuration::open(&servers.log, &MASTER_KEY.into()).await.unwrap();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let kept = Kept::Broker(Box::new(configuration.clone()));
        let outside = Outside { kept, whatsapp: Some(client.clone()), settings: None };
        let url = servers.console(sign_in(), outside).await;
        let body = form(&[("token", CONSOLE_TOKEN), ("to", "/sessions")]);
        let request = http.post(format!("{url}/sign-in")).body(body);
        let answer =
            request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let key = generate_key_pair(2048).unwrap();
        let csrf = String::new();
        let mut bench = Self {
            _nats: nats,
            _valkey: valkey,
            servers,
            sim,
            configuration,
            key,
            client,
            http,
            url,
            cookie,
            csrf,
        };
        let page = bench.page("/sessions").await;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
        bench.csrf = rest.split('"').next().unwrap().to_owned();
        bench
    }

    /// An integration that is complete.
    pub(crate) fn integration(&self) -> Value {
        json!({
            "instance_url": "https://acme.my.salesforce.com", "es_developer_name": "Phone_Bridge_Client",
            "org_id": "00DRT0000004QhWAAU", "auth_key_id": "key-1",
            "jwt_private_key": self.key.private_pem.expose_secret(), "jwt_public_key": self.key.public_pem,
            "messaging_url": self.sim.addresses().salesforce,
        })
    }

    pub(crate) fn channel(&self) -> Value {
        json!({ "waba_id": WABA, "name": "Support", "display_phone_number": "+1 555 010 0200",
                "access_token": TOKEN })
    }

    /// By the page's cookie.
    pub(crate) async fn page(&self, path: &str) -> String {
        let request = self.http.get(format!("{}{path}", self.url)).header("cookie", &self.cookie);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert_eq!(status, 200, "{path}: {text}");
        text
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let fields = [fields, &[("csrf", self.csrf.as_str())]].concat();
        self.post_without_csrf(path, &form(&fields)).await
    }

    pub(crate) async fn post_without_csrf(&self, path: &str, body: &str) -> Response {
        let request = self.http.post(format!("{}{path}", self.url)).header("cookie", &self.cookie);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(body.to_owned()).send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str, status: u16) -> Value {
        self.send("GET", path, &Value::Null, status).await
    }

    /// By the API.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        json_of(ask(&self.http, &self.url, CONSOLE_TOKEN, method, path, body).await, status).await
    }

    pub(crate) fn as_reader(&self) -> impl AsyncFn(&str, &str, String) -> Response + use<> {
        let (http, url) = (self.http.clone(), self.url.clone());
        async move |method: &str, path: &str, body| ask(&http, &url, READER, method, path, body).await
    }

    /// Another console, with settings from elsewhere.
    pub(crate) async fn another(&self, kept: Kept) -> impl AsyncFn(&str, &str, String) -> Response + use<> {
        let outside = Outside { kept, ..Outside::default() };
        let (http, url) = (self.http.clone(), self.servers.console(sign_in(), outside).await);
        async move |method: &str, path: &str, body| ask(&http, &url, CONSOLE_TOKEN, method, path, body).await
    }

    pub(crate) async fn unsubscribe(&self) {
        self.client.unsubscribe_app(&domain::WabaId::new(WABA), &TOKEN.into()).await.unwrap();
    }

    pub(crate) async fn stop(self) {
        self.servers.stop().await;
    }
}

async fn ask(
    http: &reqwest::Client,
    url: &str,
    token: &str,
    method: &str,
    path: &str,
    body: String,
) -> Response {
    let method: Method = method.parse().unwrap();
    let request = http.request(method, format!("{url}{path}")).bearer_auth(token).body(body);
    request.header("content-type", "application/json").send().await.unwrap()
}
