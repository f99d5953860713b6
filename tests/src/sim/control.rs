//! The control API: JSON over HTTP. Errors are `{"message": …}` with status 400 or 404.
//!
//! | call | does |
//! |---|---|
//! | `GET /control` | the addresses' health: `{"ok":true}` |
//! | `GET`, `POST /control/{api}/config` | read, change the configuration |
//! | `POST /control/{api}/clock` `{"offset_ms"}` | move the clock |
//! | `GET`, `POST`, `DELETE /control/{api}/faults` | list, add a [`Rule`], clear |
//! | `POST /control/{api}/up`, `/down` | listen, refuse connections |
//! | `POST /control/whatsapp/numbers` [`Number`] | set a number |
//! | `POST /control/whatsapp/verify` `{"number"}` | the GET handshake |
//! | `POST /control/whatsapp/say` [`Say`] or an array of them | customers write: `{"wamids":[…]}` |
//! | `POST /control/whatsapp/webhook` [`RawWebhook`] | any other webhook |
//! | `GET /control/whatsapp/phone?number=&customer=` | one chat ([`PhoneView`](super::PhoneView)) |
//! | `GET /control/whatsapp/phones` | all of them |
//! | `GET /control/whatsapp/undelivered` | `{"updates":n}` that got no 200 yet |
//! | `/control/whatsapp/{act,event,advance,setup,templates,media-trouble,media}` | files, taps, templates and the rest: `whatsapp/levers.rs` |
//! | `GET /control/salesforce/conversations` | what reps see ([`RepView`](super::RepView)) |
//! | `GET /control/salesforce/conversation?id=` | one of them |
//! | `POST /control/salesforce/rep` `{"conversation", "verb", …}` | a [`Verb`] |
//! | `POST /control/salesforce/auto-rep` [`AutoRep`] or `null` | rep on autopilot |
//! | `GET /control/salesforce/streams` | open event streams |
//! | `GET /control/salesforce/streams/count` | `{"open":n}` |
//! | `GET /control/salesforce/throttled` | answers 429 so far: `{"requests":n}` |
//! | `POST /control/salesforce/streams/{cut,end,stall,resume}` [`Who`](super::Who) | break, end properly, silence, resume |
//! | `POST /control/salesforce/streams/repeat` [`Disturb`] | the last events once more |
//! | `POST /control/salesforce/streams/reorder` [`Disturb`] | the next events come in reverse |
//! | `POST /control/salesforce/expire-tokens` [`Who`](super::Who) | trouble with tokens |
//! | `GET /control/record?from=` | the [`Record`] as JSON lines |
//! | `GET /control/record/extent` | its length and losses |
//! | `POST /control/stop` | end the program |
//! | `GET /control/events?from=` | the record as server-sent events, as it grows |

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, Method},
};
use bytes::Bytes;
use futures::stream;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Api, AutoRep, Disturb, Entry, Number, RawWebhook, Record, Rule, Salesforce, Say, Servers, Verb, WhatsApp,
    server::{Answer, Call, Server, answer, json as json_answer},
};

/// Entries taken out of the record at a time.
const PAGE: usize = 1_000;

#[derive(Clone)]
pub(super) struct Levers {
    pub(super) whatsapp: Arc<WhatsApp>,
    pub(super) salesforce: Arc<Salesforce>,
    pub(super) record: Arc<Record>,
    pub(super) servers: Arc<Servers>,
    pub(super) stop: CancellationToken,
}

#[derive(Debug, Deserialize)]
struct RepCommand {
    conversation: String,
    #[serde(flatten)]
    verb: Verb,
}

#[derive(Debug, Deserialize)]
struct Clock {
    offset_ms: i64,
}

#[derive(Debug, Deserialize)]
struct Verify {
    number: String,
}

impl Levers {
    pub(super) async fn listen(self, addr: SocketAddr, tracker: &TaskTracker) -> std::io::Result<Server> {
        let stop = self.stop.clone();
        let handler = Arc::new(move |call| -> futures::future::BoxFuture<'static, _> {
            let levers = self.clone();
            Box::pin(async move { Ok(levers.serve(call).await) })
        });
        Server::start(addr, handler, tracker, stop).await
    }

    async fn serve(&self, call: Call) -> Answer {
        let mut response = match (&call.method, call.path.as_str()) {
            // The playground's page comes from another port.
            (&Method::OPTIONS, _) => answer(204, "text/plain", ""),
            (&Method::GET, "/control/record") => self.record_lines(&call),
            (&Method::GET, "/control/events") => self.events(&call),
            _ => match self.dispatch(&call).await {
                Ok(Some(body)) => json_answer(200, &body),
                Ok(None) => json_answer(404, &json!({ "message": "no such thing" })),
                Err(error) => json_answer(400, &json!({ "message": format!("{error:#}") })),
            },
        };
        let headers = response.headers_mut();
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-headers", "content-type"),
            ("access-control-allow-methods", "GET, POST, DELETE"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    async fn dispatch(&self, call: &Call) -> anyhow::Result<Option<Value>> {
        let segments = call.segments();
        let done = || Ok(Some(json!({})));
        match (call.method.as_str(), segments.as_slice()) {
            ("GET", ["control"]) => Ok(Some(json!({ "ok": true }))),
            ("GET", ["control", "record", "extent"]) => Ok(Some(json!(self.record.extent()))),
            ("GET", ["control", "salesforce", "throttled"]) => {
                Ok(Some(json!({ "requests": self.salesforce.throttled() })))
            }
            (_, ["control", "whatsapp", what]) => self.whatsapp(call, what).await,
            (_, ["control", "salesforce", what]) => self.salesforce(call, what).await,
            ("GET", ["control", "salesforce", "streams", "count"]) => {
                Ok(Some(json!({ "open": self.salesforce.open_streams() })))
            }
            ("POST", ["control", "salesforce", "streams", what]) => {
                let sim = &self.salesforce;
                let users = match *what {
                    "cut" => sim.cut_streams(&read(call)?),
                    "end" => sim.end_streams(&read(call)?),
                    "stall" => sim.stall_streams(&read(call)?),
                    "resume" => sim.resume_streams(&read(call)?),
                    "repeat" => sim.repeat_events(&read::<Disturb>(call)?),
                    "reorder" => sim.reorder_events(&read::<Disturb>(call)?),
                    _ => return Ok(None),
                };
                Ok(Some(json!({ "users": users })))
            }
            ("POST", ["control", "stop"]) => {
                self.stop.cancel();
                done()
            }
            _ => Ok(None),
        }
    }

    async fn power(&self, api: Api, up: bool) -> anyhow::Result<Option<Value>> {
        self.record.control(if up { "up" } else { "down" }, json!(api));
        self.servers.set_up(api, up).await;
        Ok(Some(json!({})))
    }

    async fn whatsapp(&self, call: &Call, what: &str) -> anyhow::Result<Option<Value>> {
        let sim = &self.whatsapp;
        let mut answer = json!({});
        match (call.method.as_str(), what) {
            ("GET", "config") => answer = json!(sim.config()),
            ("POST", "config") => answer = json!(sim.configure(read(call)?)?),
            ("POST", "clock") => sim.set_clock_offset_ms(read::<Clock>(call)?.offset_ms),
            ("GET", "faults") => answer = json!(sim.faults()),
            ("POST", "faults") => sim.add_fault(read::<Rule>(call)?),
            ("DELETE", "faults") => sim.clear_faults(),
            ("POST", "up") => return self.power(Api::WhatsApp, true).await,
            ("POST", "down") => return self.power(Api::WhatsApp, false).await,
            ("POST", "numbers") => sim.set_number(read::<Number>(call)?),
            ("POST", "verify") => sim.verify(&read::<Verify>(call)?.number).await?,
            ("POST", "say") => {
                let said = read::<Value>(call)?;
                let said = if said.is_array() { said } else { Value::Array(vec![said]) };
                let says: Vec<Say> = serde_json::from_value(said)?;
                let wamids = says.into_iter().map(|say| sim.say(say)).collect::<anyhow::Result<Vec<_>>>()?;
                answer = json!({ "wamids": wamids });
            }
            ("POST", "webhook") => sim.post_webhook(read::<RawWebhook>(call)?)?,
            ("GET", "phone") => {
                return Ok(sim.phone(query(call, "number"), query(call, "customer")).map(|p| json!(p)));
            }
            ("GET", "phones") => answer = json!(sim.phones()),
            ("GET", "undelivered") => answer = json!({ "updates": sim.undelivered() }),
            _ => return sim.lever(call, what),
        }
        Ok(Some(answer))
    }

    async fn salesforce(&self, call: &Call, what: &str) -> anyhow::Result<Option<Value>> {
        let sim = &self.salesforce;
        let mut answer = json!({});
        match (call.method.as_str(), what) {
            ("GET", "config") => answer = json!(sim.config()),
            ("POST", "config") => answer = json!(sim.configure(read(call)?)?),
            ("POST", "clock") => sim.set_clock_offset_ms(read::<Clock>(call)?.offset_ms),
            ("GET", "faults") => answer = json!(sim.faults()),
            ("POST", "faults") => sim.add_fault(read::<Rule>(call)?)?,
            ("DELETE", "faults") => sim.clear_faults(),
            ("POST", "up") => return self.power(Api::Salesforce, true).await,
            ("POST", "down") => return self.power(Api::Salesforce, false).await,
            ("GET", "conversations") => answer = json!(sim.conversations()),
            ("GET", "conversation") => {
                return Ok(sim.conversation(query(call, "id")).map(|view| json!(view)));
            }
            ("POST", "rep") => {
                let RepCommand { conversation, verb } = read(call)?;
                sim.rep(&conversation, verb)?;
            }
            ("POST", "auto-rep") => sim.set_auto_rep(read::<Option<AutoRep>>(call)?),
            ("GET", "streams") => answer = json!(sim.streams()),
            ("POST", "expire-tokens") => answer = json!({ "tokens": sim.expire_tokens(&read(call)?) }),
            _ => return Ok(None),
        }
        Ok(Some(answer))
    }

    /// Everything there is at the moment, page by page, so that no copy of the whole is made.
    fn record_lines(&self, call: &Call) -> Answer {
        let from = query(call, "from").parse().unwrap_or(1);
        let (record, last) = (self.record.clone(), self.record.extent().last);
        let pages = stream::unfold(from, move |from| {
            let mut entries = record.from(from, PAGE);
            entries.retain(|entry| entry.seq <= last);
            let next = entries.last().map(|entry| entry.seq + 1);
            let lines: String = entries.iter().map(|entry| line(entry) + "\n").collect();
            async move { Some((Ok::<_, Infallible>(Bytes::from(lines)), next?)) }
        });
        answer(200, "application/x-ndjson", Body::from_stream(pages))
    }

    fn events(&self, call: &Call) -> Answer {
        let after = call.header("last-event-id").and_then(|id| id.parse::<u64>().ok()).map(|id| id + 1);
        let from = after.or_else(|| query(call, "from").parse().ok()).unwrap_or(1);
        let (record, watch, stop) = (self.record.clone(), self.record.watch(), self.stop.clone());
        let events = stream::unfold((from, watch), move |(from, mut watch)| {
            let (record, stop) = (record.clone(), stop.clone());
            async move {
                loop {
                    watch.borrow_and_update();
                    let entries = record.from(from, PAGE);
                    if let Some(last) = entries.last() {
                        let next = last.seq + 1;
                        let frame = |entry: &Entry| format!("id:{}\ndata:{}\n\n", entry.seq, line(entry));
                        let frames: String = entries.iter().map(frame).collect();
                        return Some((Ok::<_, Infallible>(Bytes::from(frames)), (next, watch)));
                    }
                    tokio::select! {
                        () = stop.cancelled() => return None,
                        changed = watch.changed() => changed.ok()?,
                    }
                }
            }
        });
        let mut response = answer(200, "text/event-stream", Body::from_stream(events));
        response.headers_mut().insert("cache-control", HeaderValue::from_static("no-cache"));
        response
    }
}

fn line(entry: &Entry) -> String {
    serde_json::to_string(entry).unwrap_or_default()
}

fn read<T: DeserializeOwned>(call: &Call) -> anyhow::Result<T> {
    let body: &[u8] = if call.body.is_empty() { b"{}" } else { &call.body };
    Ok(serde_json::from_slice(body)?)
}

fn query<'a>(call: &'a Call, name: &str) -> &'a str {
    call.query.get(name).map_or("", String::as_str)
}
