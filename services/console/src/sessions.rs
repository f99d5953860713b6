//! Pages of sessions: the live list, searched for, and one whole with what can be done to it.

use askama::Template;
use axum::{
    Form, Router,
    extract::{
        Path, Query, State,
        rejection::{FormRejection, QueryRejection},
    },
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use domain::{PhoneNumberId, Seq, ThreadId};
use serde::Deserialize;

use crate::{
    Console,
    access::{Caller, May, Operate, Read},
    actions::{self, Action, Commanded, Outcome},
    api::{phone, session_id},
    board::{Counts, Group, Interest, RowView, Wanted, now, subscribe},
    error::{RouteError, Told},
    lookup::Meant,
    pages::{Search, failed, page, wanted},
    timeline::{Summary, Timeline},
};

/// Rows of one page.
const MOST_ROWS: usize = 100;
/// Sessions that a search by name shows.
const MOST_FOUND: usize = 50;

pub(crate) fn router(console: Console) -> Router {
    Router::new()
        .route("/search", post(search))
        .route("/sessions", get(sessions))
        .route("/sessions/stream", get(stream))
        .route("/sessions/{id}", get(session))
        .route("/sessions/{id}/actions", post(act))
        .with_state(console)
}

/// The filter, as it stands in a URL: nothing of it is personal.
#[derive(Deserialize, Default)]
pub(crate) struct Filter {
    #[serde(default)]
    state: String,
    #[serde(default)]
    number: String,
    #[serde(default)]
    after: String,
}

impl Filter {
    pub(crate) fn wanted(&self) -> Result<Wanted, RouteError> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let malformed = |()| RouteError::MalformedQuery;
        let number = given(&self.number);
        if number.as_ref().is_some_and(|n| n.len() > 32 || !n.chars().all(|c| c.is_ascii_alphanumeric())) {
            return Err(RouteError::MalformedQuery);
        }
        Ok(Wanted {
            group: given(&self.state).map(|text| text.parse()).transpose().map_err(malformed)?,
            number: number.map(PhoneNumberId::new),
            after: given(&self.after).map(|text| text.parse()).transpose().map_err(malformed)?,
        })
    }
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct Sessions {
    caller: Caller,
    rows: Vec<RowView>,
    tabs: Vec<Tab>,
    numbers: Vec<PhoneNumberId>,
    /// The number that is filtered by; empty for all.
    number: String,
    /// The state that is filtered by; empty for all.
    state: &'static str,
    /// The address of the next page.
    next: Option<String>,
    /// Where the first page is, when this is another.
    first: Option<String>,
    stream: String,
    ready: bool,
    /// How many the board holds, when it holds no more.
    full: Option<usize>,
}

struct Tab {
    label: &'static str,
    /// For the script.
    name: &'static str,
    address: String,
    count: usize,
    here: bool,
}

async fn sessions(
    State(console): State<Console>,
    May { caller, .. }: May<Read>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Response {
    let wanted = filter.map_err(|_| RouteError::MalformedQuery).and_then(|Query(filter)| filter.wanted());
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return failed(&caller, error),
    };
    page(StatusCode::OK, &list(&console, caller, &wanted))
}

fn list(console: &Console, caller: Caller, wanted: &Wanted) -> Sessions {
    let now = now();
    console.board.read(|rows| {
        let list = rows.list(wanted, MOST_ROWS);
        let number = wanted.number.as_ref().map(|number| number.as_str().to_owned()).unwrap_or_default();
        let filter = address_of(wanted.group, &number);
        let stream = ["/sessions/stream", filter.as_str()].concat();
        let joint = if filter.is_empty() { '?' } else { '&' };
        Sessions {
            caller,
            rows: list.rows.iter().filter_map(|row| RowView::of(row, now)).collect(),
            tabs: tabs(wanted, &number, rows.counts()),
            numbers: rows.numbers(),
            state: wanted.group.map_or("", Group::as_str),
            next: list.next.map(|next| format!("/sessions{filter}{joint}after={next}")),
            first: wanted.after.map(|_| format!("/sessions{filter}")),
            stream: format!("{stream}{joint}since={}", console.board.mark(rows.version)),
            ready: rows.ready,
            full: rows.full.then(|| rows.most()),
            number,
        }
    })
}

fn tabs(wanted: &Wanted, number: &str, counts: Counts) -> Vec<Tab> {
    let tab = |label, name, group: Option<Group>, count| Tab {
        label,
        name,
        address: format!("/sessions{}", address_of(group, number)),
        count,
        here: wanted.group == group,
    };
    let all = tab("All", "all", None, counts.all());
    let groups = Group::ALL.map(|group| tab(group.label(), group.as_str(), Some(group), counts.of(group)));
    std::iter::once(all).chain(groups).collect()
}

fn address_of(group: Option<Group>, number: &str) -> String {
    let parts = [group.map(|group| ("state", group.as_str())), Some(("number", number))];
    let parts: Vec<_> = parts
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

#[derive(Deserialize)]
struct Subscription {
    #[serde(default)]
    state: String,
    #[serde(default)]
    number: String,
    #[serde(default)]
    session: String,
    #[serde(default)]
    since: String,
}

async fn stream(
    State(console): State<Console>,
    _: May<Read>,
    headers: HeaderMap,
    asked: Result<Query<Subscription>, QueryRejection>,
) -> Result<Response, RouteError> {
    let Query(asked) = asked.map_err(|_| RouteError::MalformedQuery)?;
    let filter = Filter { state: asked.state, number: asked.number, after: String::new() };
    let session = if asked.session.is_empty() { None } else { Some(session_id(&asked.session)?) };
    // A connection that broke goes on from the last event that the browser saw.
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let mark = seen.or(Some(asked.since.as_str())).filter(|mark| !mark.is_empty());
    Ok(subscribe(&console.board, mark, Interest { wanted: filter.wanted()?, session }))
}

#[derive(Template)]
#[template(path = "sessions_found.html")]
struct FoundPage {
    caller: Caller,
    /// What was searched for makes no sense.
    problem: Option<Told>,
    found: Vec<Found>,
    by_name: bool,
}

struct Found {
    id: String,
    name: Option<String>,
    opened_at: String,
    /// As it is styled, and as it is said.
    owner: &'static str,
    label: &'static str,
    number: String,
    handoffs: u32,
}

impl From<Summary> for Found {
    fn from(session: Summary) -> Self {
        Self {
            id: session.id.to_string(),
            name: None,
            opened_at: session.opened_at,
            owner: session.owner,
            label: if session.current { session.owner } else { "over" },
            number: session.phone_number_id,
            handoffs: session.handoffs,
        }
    }
}

impl From<RowView> for Found {
    fn from(row: RowView) -> Self {
        Self {
            id: row.id,
            name: row.name,
            opened_at: row.opened_at,
            owner: row.owner,
            label: row.label,
            number: row.phone_number_id,
            handoffs: row.handoffs,
        }
    }
}

async fn search(
    State(console): State<Console>,
    May { caller, .. }: May<Read>,
    form: Result<Form<Search>, FormRejection>,
) -> Response {
    let found = async { find(&console, wanted(form)?.trim()).await };
    match found.await {
        Ok(Hits::Session(id)) => Redirect::to(&format!("/sessions/{id}")).into_response(),
        Ok(Hits::Several { found, by_name }) => {
            page(StatusCode::OK, &FoundPage { caller, problem: None, found, by_name })
        }
        Err(RouteError::MalformedPhone) => {
            let told = Told {
                error: "malformed_search",
                message: "That is no id, no phone number and no name.",
                what_to_do: "An id is a UUID; a phone number has 7 to 15 digits with its country code; of a \
                             name, the first two letters are enough.",
            };
            let found = FoundPage { caller, problem: Some(told), found: Vec::new(), by_name: false };
            page(StatusCode::BAD_REQUEST, &found)
        }
        Err(error) => failed(&caller, error),
    }
}

enum Hits {
    Session(String),
    Several { found: Vec<Found>, by_name: bool },
}

/// `wanted`: a session's id, a Salesforce conversation's, a phone number, or the beginning of a name.
async fn find(console: &Console, wanted: &str) -> Result<Hits, RouteError> {
    if let Ok(id) = session_id(wanted) {
        if console.board.read(|rows| rows.session(id).is_some()) {
            return Ok(Hits::Session(id.to_string()));
        }
        let followed = console.board.read(|rows| rows.thread(ThreadId(id.0)).map(|row| row.key));
        return Ok(match console.lookup.by_id(id, followed).await? {
            Meant::Session => Hits::Session(id.to_string()),
            Meant::Thread(sessions) => match sessions.as_slice() {
                [only] => Hits::Session(only.id.to_string()),
                _ => Hits::Several { found: sessions.into_iter().map(Found::from).collect(), by_name: false },
            },
        });
    }
    let number = phone(wanted);
    if number.is_err() && wanted.chars().filter(|c| c.is_alphabetic()).count() >= 2 {
        let now = now();
        let rows = console.board.read(|rows| rows.named(wanted, MOST_FOUND));
        let found = rows.iter().filter_map(|row| RowView::of(row, now)).map(Found::from).collect();
        return Ok(Hits::Several { found, by_name: true });
    }
    let sessions = console.lookup.by_phone(&number?).await?;
    Ok(Hits::Several { found: sessions.into_iter().map(Found::from).collect(), by_name: false })
}

#[derive(Template)]
#[template(path = "session.html")]
struct Session<'a> {
    caller: Caller,
    timeline: &'a Timeline,
    /// Those that are possible now.
    actions: Vec<Button>,
    nonce: String,
    /// What became of the command that was given.
    told: Option<Answer>,
    stream: String,
}

struct Button {
    /// As the form sends it.
    name: &'static str,
    label: &'static str,
}

struct Answer {
    class: &'static str,
    message: &'static str,
    what_to_do: &'static str,
}

impl Answer {
    fn of(commanded: &Commanded) -> Self {
        let (_, message, what_to_do) = commanded.told();
        let class = match commanded.outcome {
            Outcome::Accepted => "done",
            Outcome::Refused(_) => "problem",
            Outcome::Pending => "pending",
        };
        Self { class, message, what_to_do }
    }
}

#[derive(Deserialize)]
struct Asked {
    /// Where the command stands that was just given.
    asked: Option<Seq>,
}

async fn session(
    State(console): State<Console>,
    Path(id): Path<String>,
    May { caller, .. }: May<Read>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let session = session_id(&id);
    let since = console.board.mark(console.board.read(|rows| rows.version));
    let told = async {
        let session = session?;
        let asked = asked.ok().and_then(|Query(Asked { asked })| asked);
        let commanded = match asked {
            Some(seq) => actions::became(&console.lookup, session, seq).await?,
            None => None,
        };
        let timeline = console.lookup.timeline(session).await?;
        Ok((timeline, commanded, actions::nonce()?))
    };
    match told.await {
        Ok((timeline, commanded, nonce)) => {
            let page_of = Session {
                actions: if caller.may_operate() { possible(&timeline.session) } else { Vec::new() },
                caller,
                stream: format!("/sessions/stream?session={}&since={since}", timeline.session.id),
                timeline: &timeline,
                nonce,
                told: commanded.as_ref().map(Answer::of),
            };
            page(StatusCode::OK, &page_of)
        }
        Err(error) => failed(&caller, error),
    }
}

/// What the state allows; the decision has the last word.
fn possible(session: &Summary) -> Vec<Button> {
    let action = match session.owner {
        _ if !session.current => return Vec::new(),
        "assistant" => (Action::HandOff, "hand_off"),
        "waiting" | "live" | "inactive" => (Action::GiveBack, "give_back"),
        _ => return Vec::new(),
    };
    vec![Button { name: action.1, label: action.0.label() }]
}

#[derive(Deserialize)]
struct Command {
    action: Action,
    nonce: String,
}

async fn act(
    State(console): State<Console>,
    Path(id): Path<String>,
    May { caller, .. }: May<Operate>,
    form: Result<Form<Command>, FormRejection>,
) -> Response {
    let commanded = async {
        let session = session_id(&id)?;
        let Form(Command { action, nonce }) = form.map_err(|_| RouteError::MalformedAction)?;
        let commanded = actions::act(&console.lookup, session, action, &nonce, caller.name()).await?;
        Ok(format!("/sessions/{session}?asked={}", commanded.seq))
    };
    match commanded.await {
        Ok(address) => Redirect::to(&address).into_response(),
        Err(error) => failed(&caller, error),
    }
}
