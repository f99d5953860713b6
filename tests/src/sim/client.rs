//! The control API from another process. Methods mirror those of [`super::WhatsApp`] and
//! [`super::Salesforce`].

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    Api, AutoRep, Did, Disturb, Entry, Extent, Happening, MediaTrouble, Number, PhoneView, RawWebhook,
    RepView, Rule, SalesforceConfig, Say, Setup, StreamView, Template, Verb, WhatsAppConfig, Who,
};

/// Drives simulators that run elsewhere.
#[derive(Debug, Clone)]
pub struct ControlClient {
    base: String,
    http: reqwest::Client,
}

fn path(api: Api) -> &'static str {
    match api {
        Api::WhatsApp => "whatsapp",
        Api::Salesforce => "salesforce",
    }
}

impl ControlClient {
    /// `base`: [`super::Addresses::control`].
    pub fn new(base: &str) -> Result<Self> {
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .tls_certs_only([])
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .context("build the control client")?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), http })
    }

    async fn send<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<Option<T>> {
        let response = request.send().await.context("call the control API")?;
        let status = response.status();
        if status == 404 {
            return Ok(None);
        }
        if !status.is_success() {
            let body: Value = response.json().await.unwrap_or_default();
            bail!("the simulator refused: {}", body["message"].as_str().unwrap_or("no reason given"));
        }
        Ok(Some(response.json().await.context("read the control API's answer")?))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<Option<T>> {
        self.send(self.http.get(format!("{}/control/{path}", self.base)).query(query)).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let request = self.http.post(format!("{}/control/{path}", self.base)).json(body);
        self.send(request).await?.context("the control API has no such call")
    }

    async fn order(&self, path: &str, body: &impl Serialize) -> Result<()> {
        self.post::<Value>(path, body).await.map(drop)
    }

    pub async fn configure_whatsapp(&self, changes: Value) -> Result<WhatsAppConfig> {
        self.post("whatsapp/config", &changes).await
    }

    pub async fn configure_salesforce(&self, changes: Value) -> Result<SalesforceConfig> {
        self.post("salesforce/config", &changes).await
    }

    pub async fn set_number(&self, number: &Number) -> Result<()> {
        self.order("whatsapp/numbers", number).await
    }

    pub async fn verify(&self, number: &str) -> Result<()> {
        self.order("whatsapp/verify", &json!({ "number": number })).await
    }

    /// Gives the wamid.
    pub async fn say(&self, say: &Say) -> Result<String> {
        let mut wamids = self.say_all(std::slice::from_ref(say)).await?;
        wamids.pop().context("no wamid came back")
    }

    pub async fn say_all(&self, says: &[Say]) -> Result<Vec<String>> {
        let answer: Value = self.post("whatsapp/say", &says).await?;
        Ok(serde_json::from_value(answer["wamids"].clone())?)
    }

    /// Gives the wamid.
    pub async fn act(&self, did: &Did) -> Result<String> {
        let answer: Value = self.post("whatsapp/act", did).await?;
        answer["wamids"][0].as_str().map(str::to_owned).context("no wamid came back")
    }

    /// Gives the wamid where a message comes of it.
    pub async fn happen(&self, happening: &Happening) -> Result<Option<String>> {
        let answer: Value = self.post("whatsapp/event", happening).await?;
        Ok(answer["wamid"].as_str().map(str::to_owned))
    }

    pub async fn advance(&self, seconds: f64) -> Result<()> {
        self.order("whatsapp/advance", &json!({ "seconds": seconds })).await
    }

    /// Changes the given members of a number's setup.
    pub async fn set_setup(&self, number: &str, mut changes: Value) -> Result<Setup> {
        changes["number"] = number.into();
        self.post("whatsapp/setup", &changes).await
    }

    pub async fn set_template(&self, template: &Template) -> Result<()> {
        self.order("whatsapp/templates", template).await
    }

    pub async fn trouble_media(&self, trouble: &MediaTrouble) -> Result<()> {
        self.order("whatsapp/media-trouble", trouble).await
    }

    pub async fn post_webhook(&self, raw: &RawWebhook) -> Result<()> {
        self.order("whatsapp/webhook", raw).await
    }

    pub async fn phone(&self, number: &str, customer: &str) -> Result<Option<PhoneView>> {
        self.get("whatsapp/phone", &[("number", number), ("customer", customer)]).await
    }

    pub async fn phones(&self) -> Result<Vec<PhoneView>> {
        Ok(self.get("whatsapp/phones", &[]).await?.unwrap_or_default())
    }

    pub async fn undelivered(&self) -> Result<u64> {
        let answer: Value = self.get("whatsapp/undelivered", &[]).await?.unwrap_or_default();
        answer["updates"].as_u64().context("no count came back")
    }

    pub async fn conversations(&self) -> Result<Vec<RepView>> {
        Ok(self.get("salesforce/conversations", &[]).await?.unwrap_or_default())
    }

    pub async fn conversation(&self, id: &str) -> Result<Option<RepView>> {
        self.get("salesforce/conversation", &[("id", id)]).await
    }

    pub async fn rep(&self, conversation: &str, verb: &Verb) -> Result<()> {
        let mut command = serde_json::to_value(verb)?;
        command["conversation"] = conversation.into();
        self.order("salesforce/rep", &command).await
    }

    pub async fn set_auto_rep(&self, auto: Option<&AutoRep>) -> Result<()> {
        self.order("salesforce/auto-rep", &auto).await
    }

    pub async fn streams(&self) -> Result<Vec<StreamView>> {
        Ok(self.get("salesforce/streams", &[]).await?.unwrap_or_default())
    }

    pub async fn cut_streams(&self, who: &Who) -> Result<()> {
        self.order("salesforce/streams/cut", who).await
    }

    /// How many are open.
    pub async fn open_streams(&self) -> Result<u64> {
        let answer: Value = self.get("salesforce/streams/count", &[]).await?.unwrap_or_default();
        answer["open"].as_u64().context("no count came back")
    }

    /// How many of Salesforce's answers were 429.
    pub async fn throttled(&self) -> Result<u64> {
        let answer: Value = self.get("salesforce/throttled", &[]).await?.unwrap_or_default();
        answer["requests"].as_u64().context("no count came back")
    }

    pub async fn end_streams(&self, who: &Who) -> Result<()> {
        self.order("salesforce/streams/end", who).await
    }

    pub async fn repeat_events(&self, disturb: &Disturb) -> Result<()> {
        self.order("salesforce/streams/repeat", disturb).await
    }

    pub async fn reorder_events(&self, disturb: &Disturb) -> Result<()> {
        self.order("salesforce/streams/reorder", disturb).await
    }

    pub async fn stall_streams(&self, who: &Who) -> Result<()> {
        self.order("salesforce/streams/stall", who).await
    }

    pub async fn resume_streams(&self, who: &Who) -> Result<()> {
        self.order("salesforce/streams/resume", who).await
    }

    pub async fn expire_tokens(&self, who: &Who) -> Result<()> {
        self.order("salesforce/expire-tokens", who).await
    }

    pub async fn set_clock_offset_ms(&self, api: Api, offset_ms: i64) -> Result<()> {
        self.order(&format!("{}/clock", path(api)), &json!({ "offset_ms": offset_ms })).await
    }

    pub async fn add_fault(&self, api: Api, rule: &Rule) -> Result<()> {
        self.order(&format!("{}/faults", path(api)), rule).await
    }

    pub async fn clear_faults(&self, api: Api) -> Result<()> {
        let request = self.http.delete(format!("{}/control/{}/faults", self.base, path(api)));
        self.send::<Value>(request).await.map(drop)
    }

    pub async fn set_up(&self, api: Api, up: bool) -> Result<()> {
        let what = if up { "up" } else { "down" };
        self.order(&format!("{}/{what}", path(api)), &json!({})).await
    }

    /// Ends the program.
    pub async fn stop(&self) -> Result<()> {
        self.order("stop", &json!({})).await
    }

    /// The record from a sequence on.
    pub async fn record(&self, from: u64) -> Result<Vec<Entry>> {
        let request = self.http.get(format!("{}/control/record", self.base)).query(&[("from", from)]);
        let text = request.send().await?.error_for_status()?.text().await?;
        text.lines().map(|line| serde_json::from_str(line).context("read a line of the record")).collect()
    }

    pub async fn extent(&self) -> Result<Extent> {
        self.get("record/extent", &[]).await?.context("no extent came back")
    }
}
