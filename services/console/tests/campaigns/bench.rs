//! A console over a real log, with the simulated Meta as its channel's.

use console::{Outside, SignIn};
use domain::settings::Settings;
use e2e::sim::{Number, Options, Sim, Template};
use reqwest::Method;
use runtime::settings::Live;
use serde_json::{Value, json};

use crate::shared::Servers;

pub(crate) const NUMBER: &str = "220011223344001";
const WABA: &str = "104857600000001";

pub(crate) struct Bench {
    _nats: devstack::Nats,
    _valkey: devstack::Valkey,
    pub(crate) sim: Sim,
    pub(crate) servers: Servers,
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
}

impl Bench {
    pub(crate) async fn start(sign_in: SignIn) -> Self {
        let (nats, valkey, servers) = Servers::start().await;
        let sim = Sim::start(Options::default()).await.unwrap();
        let number = Number {
            phone_number_id: NUMBER.into(),
            waba_id: WABA.into(),
            display_phone_number: "15550100200".into(),
            token: "test-token".into(),
            app_secret: "secret".into(),
            callback_url: "http://127.0.0.1:9/".into(),
            verify_token: "verify".into(),
        };
        sim.whatsapp.set_number(number);
        let buttons = json!([{ "type": "QUICK_REPLY", "text": "Yes please" }]);
        let sale = Template {
            category: "MARKETING".into(),
            components: vec![
                json!({ "type": "HEADER", "format": "TEXT", "text": "Autumn" }),
                json!({ "type": "BODY", "text": "Hi {{1}}, chairs are {{2}} off." }),
                json!({ "type": "FOOTER", "text": "Example Shop" }),
                json!({ "type": "BUTTONS", "buttons": buttons }),
            ],
            ..Template::text(WABA, "chairs", "en_US", "")
        };
        sim.whatsapp.set_template(sale);
        sim.whatsapp.set_template(Template::text(WABA, "hello", "en_US", "Hello"));
        let settings: Settings = serde_json::from_value(json!({
            "version": 1,
            "channels": [{
                "phone_number_id": NUMBER, "waba_id": WABA, "display_phone_number": "+1 555 010 0200",
                "name": "Support", "access_token": "test-token",
            }],
            "integrations": [],
        }))
        .unwrap();
        let graph = whatsapp::client::Config {
            graph_url: format!("{}/v25.0", sim.addresses().whatsapp).parse().unwrap(),
            graph_timeout: std::time::Duration::from_secs(10),
        };
        let client = whatsapp::Client::new(&graph).unwrap();
        let outside =
            Outside { settings: Some(Live::fixed(settings)), whatsapp: Some(client), ..Outside::default() };
        let url = servers.console(sign_in, outside).await;
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { _nats: nats, _valkey: valkey, sim, servers, http, url }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// The answer's JSON, if it has this status.
    pub(crate) async fn json(&self, request: reqwest::RequestBuilder, status: u16) -> Value {
        let answer = request.send().await.unwrap();
        let (found, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(found, status, "{text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    pub(crate) async fn page(&self, path: &str, status: u16) -> String {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        let (found, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(found, status, "{text}");
        text
    }

    pub(crate) async fn stop(self) {
        self.servers.stop().await;
        self.sim.shutdown().await;
    }
}

/// What people send with a form.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    form.finish()
}
