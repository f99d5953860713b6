//! The levers for all that is more than texts, in a test and over the control API. Bodies are JSON;
//! errors are as in `control.rs`.
//!
//! | call | does |
//! |---|---|
//! | `POST /control/whatsapp/act` [`Did`] or an array of them | customers do something: `{"wamids":[…]}` |
//! | `POST /control/whatsapp/event` [`Happening`] | something else happens: `{"wamid"}` or `{"wamid":null}` |
//! | `POST /control/whatsapp/advance` `{"seconds"}` | the clock moves on: windows, buckets, URLs, files, typing |
//! | `GET /control/whatsapp/setup?number=` | a number's [`Setup`] |
//! | `POST /control/whatsapp/setup` `{"number", …}` | changes members of it |
//! | `GET /control/whatsapp/templates` | all [`Template`]s |
//! | `POST /control/whatsapp/templates` [`Template`] or an array of them | adds or replaces |
//! | `POST /control/whatsapp/media-trouble` [`MediaTrouble`], `DELETE` | what goes wrong with downloads, clear |
//! | `GET /control/whatsapp/media?id=` | a stored file: `{"number","mime_type","filename","bytes","sha256"}`; `sha256` in hex |
//!
//! Customers are set in `say` and `act` ([`Customer`](super::Customer)); in events and in
//! `phone?customer=` any of their ids names them. `config` has the switches of
//! [`WhatsAppConfig`](super::WhatsAppConfig).

use anyhow::{Context as _, Result};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Did, Happening, MediaTrouble, Setup, Template, WhatsApp};
use crate::sim::{patch, server::Call};

#[derive(Debug, Deserialize)]
struct Advance {
    seconds: f64,
}

impl WhatsApp {
    /// Moves the clock ahead, so that no test waits: for the service window, the buckets, URLs and
    /// files, the typing indicator, idle threads. Pauses of statuses and webhooks are real ones.
    pub fn advance(&self, seconds: f64) {
        self.record.control("whatsapp advance", seconds.into());
        self.lock().offset_ms += (seconds * 1_000.0) as i64;
    }

    pub fn setup(&self, number: &str) -> Option<Setup> {
        self.lock().numbers.get(number).map(|line| line.setup.clone())
    }

    /// Changes the given members of a number's setup.
    pub fn set_setup(&self, number: &str, changes: Value) -> Result<Setup> {
        self.record.control("whatsapp setup", json!({ "number": number, "changes": changes }));
        let mut state = self.lock();
        let line = state.numbers.get_mut(number).context("no such number")?;
        line.setup = patch(&line.setup, changes)?;
        Ok(line.setup.clone())
    }

    pub fn templates(&self) -> Vec<Template> {
        self.lock().templates.clone()
    }

    /// Adds a template, or replaces the one of the same account, name and language.
    pub fn set_template(&self, mut template: Template) {
        let mut state = self.lock();
        let all = &mut state.templates;
        let same = |old: &&mut Template| {
            (&old.waba_id, &old.name, &old.language)
                == (&template.waba_id, &template.name, &template.language)
        };
        match all.iter_mut().find(same) {
            Some(old) => {
                if template.id.is_empty() {
                    template.id.clone_from(&old.id);
                }
                *old = template;
            }
            None => {
                if template.id.is_empty() {
                    template.id = (1_689_556_900_000_001 + all.len()).to_string();
                }
                all.push(template);
            }
        }
    }

    /// What goes wrong with the next downloads, after what was ordered before.
    pub fn trouble_media(&self, trouble: MediaTrouble) {
        self.record.control("whatsapp media trouble", json!(trouble));
        self.lock().library.trouble(trouble);
    }

    pub fn clear_media_troubles(&self) {
        self.lock().library.clear_troubles();
    }

    /// What the media id stands for, as long as it lives.
    pub fn media(&self, id: &str) -> Option<Value> {
        let state = self.lock();
        let stored = state.library.live(id, state.now_ms())?;
        Some(json!({
            "number": stored.number, "mime_type": stored.mime_type, "filename": stored.filename,
            "bytes": stored.bytes.len(), "sha256": stored.hex(),
        }))
    }

    /// The control API's calls of the table above; `None` for others.
    pub(in crate::sim) fn lever(&self, call: &Call, what: &str) -> Result<Option<Value>> {
        let query = |name: &str| call.query.get(name).map_or("", String::as_str);
        Ok(Some(match (call.method.as_str(), what) {
            ("POST", "act") => {
                let wamids: Result<Vec<String>> =
                    many::<Did>(call)?.into_iter().map(|did| self.act(did)).collect();
                json!({ "wamids": wamids? })
            }
            ("POST", "event") => json!({ "wamid": self.happen(one::<Happening>(call)?)? }),
            ("POST", "advance") => {
                self.advance(one::<Advance>(call)?.seconds);
                json!({})
            }
            ("GET", "setup") => match self.setup(query("number")) {
                Some(setup) => json!(setup),
                None => return Ok(None),
            },
            ("POST", "setup") => {
                let mut changes: Value = one(call)?;
                let number = changes.as_object_mut().and_then(|changes| changes.remove("number"));
                let number = number.as_ref().and_then(Value::as_str).context("which number")?;
                json!(self.set_setup(number, changes)?)
            }
            ("GET", "templates") => json!(self.templates()),
            ("POST", "templates") => {
                many::<Template>(call)?.into_iter().for_each(|template| self.set_template(template));
                json!({})
            }
            ("POST", "media-trouble") => {
                self.trouble_media(one(call)?);
                json!({})
            }
            ("DELETE", "media-trouble") => {
                self.clear_media_troubles();
                json!({})
            }
            ("GET", "media") => return Ok(self.media(query("id"))),
            _ => return Ok(None),
        }))
    }
}

fn one<T: DeserializeOwned>(call: &Call) -> Result<T> {
    Ok(serde_json::from_slice(&call.body)?)
}

/// One, or an array.
fn many<T: DeserializeOwned>(call: &Call) -> Result<Vec<T>> {
    let value: Value = one(call)?;
    let value = if value.is_array() { value } else { Value::Array(vec![value]) };
    Ok(serde_json::from_value(value)?)
}
