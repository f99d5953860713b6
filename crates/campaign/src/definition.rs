//! What a campaign is, and what may become of it.

use domain::{Millis, PhoneNumberId, outreach::CampaignId};
use serde::{Deserialize, Serialize};

use crate::{
    schedule::Schedule,
    template::{HeaderUse, TemplateUse},
};

/// Longer names are refused.
pub const MAX_NAME_CHARS: usize = 120;
/// So many changes are remembered, the newest ones.
const MAX_HISTORY: usize = 200;
const DAY_SECONDS: u64 = 24 * 3600;

/// A campaign as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    pub id: CampaignId,
    #[serde(flatten)]
    pub plan: Plan,
    pub state: State,
    /// Whom it goes to; none yet: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// Why it cannot start, for people; found when it was looked at last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Who did what, oldest first.
    #[serde(default)]
    pub history: Vec<Change>,
    /// Unix time in milliseconds of its first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Millis>,
    /// … and of its end: finished or cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Millis>,
}

/// What an operator decides about a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// As operators and reps read it.
    pub name: String,
    /// The business number that it is sent from.
    pub number: PhoneNumberId,
    pub template: TemplateUse,
    #[serde(default)]
    pub schedule: Schedule,
    /// At most so many messages a minute; none: as many as the number may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
    #[serde(default)]
    pub reply: Reply,
    /// What the customer writes within so many seconds is a reply.
    #[serde(default = "seven_days")]
    pub answered_within_seconds: u64,
}

const fn seven_days() -> u64 {
    7 * DAY_SECONDS
}

impl Plan {
    /// What is wrong with it by itself, for people. What Meta knows of the template is looked at before
    /// the start ([`TemplateUse::check`]).
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.name.trim().is_empty() || self.name.chars().count() > MAX_NAME_CHARS {
            problems.push(format!("the name must have 1 to {MAX_NAME_CHARS} characters"));
        }
        if self.number.as_str().is_empty() {
            problems.push("no number to send from".into());
        }
        if self.template.name.is_empty() || self.template.language.is_empty() {
            problems.push("no template".into());
        }
        if self.per_minute == Some(0) {
            problems.push("the pace must be at least 1 a minute".into());
        }
        if self.answered_within_seconds == 0 || self.answered_within_seconds > 30 * DAY_SECONDS {
            problems.push("replies are told apart for at least a second and at most 30 days".into());
        }
        if let Reply::Keywords { rules } = &self.reply
            && (rules.len() > 50 || rules.iter().any(|rule| rule.words.is_empty() || rule.words.len() > 50))
        {
            problems.push("keyword rules: at most 50, each with 1 to 50 words".into());
        }
        if self.template.header.as_ref().is_some_and(HeaderUse::is_foreign) {
            problems.push("the header's file was not uploaded as one".into());
        }
        problems.extend(self.schedule.problem());
        problems
    }
}

/// What becomes of a reply ([`domain::outreach::ReplyRule`], as it is kept).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "kebab-case")]
pub enum Reply {
    #[default]
    Rep,
    Assistant,
    Keywords {
        rules: Vec<KeywordRule>,
    },
}

/// The first rule counts whose words occur.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeywordRule {
    pub words: Vec<String>,
    pub to: domain::outreach::Destination,
}

/// Chosen by an operator, but they tell what customers answer.
impl std::fmt::Debug for KeywordRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeywordRule({} words, {:?})", self.words.len(), self.to)
    }
}

impl From<&Reply> for domain::outreach::ReplyRule {
    fn from(reply: &Reply) -> Self {
        let keyword = |KeywordRule { words, to }: &KeywordRule| domain::outreach::Keyword {
            words: words.clone(),
            to: *to,
        };
        match reply {
            Reply::Rep => Self::Rep,
            Reply::Assistant => Self::Assistant,
            Reply::Keywords { rules } => Self::Keywords(rules.iter().map(keyword).collect()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum State {
    Draft,
    /// The runner asks Meta about template and number; then it goes on as `then` says.
    Validating {
        then: Then,
    },
    Ready,
    /// It starts by itself at the schedule's `start_at`.
    Scheduled,
    Running,
    Paused {
        why: Pause,
    },
    Finished,
    Cancelled,
}

impl State {
    /// One word, as it is kept and shown.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Validating { .. } => "validating",
            Self::Ready => "ready",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Paused { .. } => "paused",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
        }
    }

    /// Nothing is sent any more, and never will be.
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Finished | Self::Cancelled)
    }

    /// Whether plan and audience may still be changed.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Draft | Self::Ready)
    }
}

/// After it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    Rest,
    Start,
    Schedule,
}

/// Why a campaign stands still. Only `Operator` is a person's doing; all end by a person's resuming.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pause {
    Operator,
    /// Paused, disabled or rejected by Meta, or changed so that parameters are missing.
    Template,
    /// Meta takes no more from the number because of complaints (131048).
    Spam,
    /// 131042.
    Payment,
    /// The number may not send: blocked, not registered, no permission, or no longer in the settings.
    Number,
}

impl Pause {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Template => "template",
            Self::Spam => "spam",
            Self::Payment => "payment",
            Self::Number => "number",
        }
    }

    /// What stops a whole campaign, among what Meta says about one message (`whatsapp-cloud-api.md`
    /// §9.2). All other codes concern the recipient.
    pub const fn by_code(code: i32) -> Option<Self> {
        match code {
            132_001 | 132_007 | 132_015 | 132_016 | 131_063 | 131_064 | 141_002 => Some(Self::Template),
            131_048 => Some(Self::Spam),
            131_042 => Some(Self::Payment),
            0 | 3 | 10 | 33 | 190 | 200..=299 | 368 | 131_005 | 131_031 | 131_037 | 131_045 | 133_010 => {
                Some(Self::Number)
            }
            _ => None,
        }
    }
}

/// Whom it goes to, as it was uploaded. The rows themselves lie in the object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audience {
    /// Of the objects: `<campaign>/<upload>/…`.
    pub upload: String,
    /// Whose values each row has, in their order.
    pub columns: Vec<String>,
    pub rows: u32,
    pub groups: Vec<Group>,
    pub report: crate::report::Report,
}

/// Recipients whose local time is one of the same zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// IANA names, sorted.
    pub zones: Vec<String>,
    pub rows: u32,
    /// Objects that hold them, numbered from 0.
    pub chunks: u32,
}

/// Something that was done, for the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub at: Millis,
    pub who: String,
    /// In words; nothing personal of recipients.
    pub what: String,
}

/// What may be done to a campaign. People do the first six; the runner does the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Look at it, without starting.
    Validate,
    /// Start now.
    Start,
    /// Start at the schedule's time.
    Schedule,
    Pause,
    Resume,
    /// What was not appended yet is never sent.
    Cancel,
    /// The runner looked at it; no problems: fine.
    Validated(Vec<String>),
    /// Its time has come.
    Due,
    Stop(Pause),
    Finish,
}

/// It cannot be done in this state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotNow(pub String);

impl Definition {
    pub fn new(id: CampaignId, plan: Plan, who: &str, at: Millis) -> Self {
        let mut definition = Self {
            id,
            plan,
            state: State::Draft,
            audience: None,
            problems: Vec::new(),
            history: Vec::new(),
            started_at: None,
            ended_at: None,
        };
        definition.record(who, "created", at);
        definition
    }

    /// Remembers who did what.
    pub fn record(&mut self, who: &str, what: impl Into<String>, at: Millis) {
        self.history.push(Change { at, who: who.to_owned(), what: what.into() });
        let over = self.history.len().saturating_sub(MAX_HISTORY);
        self.history.drain(..over);
    }

    /// Whose values the template needs, in a fixed order.
    pub fn columns(&self) -> Vec<String> {
        self.plan.template.columns()
    }

    /// Does it, or says why not. Doing again what is done already changes nothing.
    pub fn command(&mut self, command: &Command, who: &str, at: Millis) -> Result<(), NotNow> {
        let before = self.state.clone();
        let next = self.after(command)?;
        if next == before && !matches!(command, Command::Validated(_)) {
            return Ok(());
        }
        if let Command::Validated(problems) = command {
            self.problems.clone_from(problems);
        }
        if next == State::Running {
            self.started_at.get_or_insert(at);
        }
        if next.is_over() {
            self.ended_at.get_or_insert(at);
        }
        let what = match command {
            Command::Stop(why) => format!("stopped: {}", why.as_str()),
            Command::Validated(problems) if !problems.is_empty() => {
                format!("{} problems found", problems.len())
            }
            Command::Validate
            | Command::Start
            | Command::Schedule
            | Command::Pause
            | Command::Resume
            | Command::Cancel
            | Command::Validated(_)
            | Command::Due
            | Command::Finish => next.as_str().to_owned(),
        };
        self.state = next;
        self.record(who, what, at);
        Ok(())
    }

    fn after(&self, command: &Command) -> Result<State, NotNow> {
        let state = &self.state;
        let wrong = || Err(NotNow(format!("a campaign that is {} cannot do that", state.as_str())));
        let looked_at = |then| {
            let mut problems = self.plan.problems();
            match &self.audience {
                None => problems.push("it has no audience yet".into()),
                Some(audience) if audience.rows == 0 => problems.push("its audience is empty".into()),
                Some(audience) if !self.columns().iter().all(|column| audience.columns.contains(column)) => {
                    problems
                        .push("the template asks for columns that the audience was uploaded without".into());
                }
                Some(_) => {}
            }
            if self.plan.template.header.as_ref().is_some_and(HeaderUse::lacks_file) {
                problems.push("the header's file is not uploaded yet".into());
            }
            if then == Then::Schedule && self.plan.schedule.start_at.is_none() {
                problems.push("the schedule has no time to start at".into());
            }
            if problems.is_empty() {
                Ok(State::Validating { then })
            } else {
                Err(NotNow(problems.join("; ")))
            }
        };
        match command {
            Command::Validate | Command::Start | Command::Schedule => match state {
                State::Draft | State::Ready => looked_at(match command {
                    Command::Start => Then::Start,
                    Command::Schedule => Then::Schedule,
                    Command::Validate
                    | Command::Pause
                    | Command::Resume
                    | Command::Cancel
                    | Command::Validated(_)
                    | Command::Due
                    | Command::Stop(_)
                    | Command::Finish => Then::Rest,
                }),
                State::Scheduled if *command == Command::Start => Ok(State::Running),
                State::Running if *command == Command::Start => Ok(State::Running),
                State::Validating { .. }
                | State::Scheduled
                | State::Running
                | State::Paused { .. }
                | State::Finished
                | State::Cancelled => wrong(),
            },
            Command::Pause | Command::Stop(_) => match state {
                State::Running | State::Scheduled => Ok(State::Paused {
                    why: if let Command::Stop(why) = command { *why } else { Pause::Operator },
                }),
                State::Paused { .. } => Ok(state.clone()),
                State::Draft
                | State::Validating { .. }
                | State::Ready
                | State::Finished
                | State::Cancelled => wrong(),
            },
            Command::Resume => match state {
                // Never started: it still waits for its time.
                State::Paused { .. } if self.started_at.is_none() => Ok(State::Scheduled),
                State::Paused { .. } | State::Running => Ok(State::Running),
                State::Draft
                | State::Validating { .. }
                | State::Ready
                | State::Scheduled
                | State::Finished
                | State::Cancelled => wrong(),
            },
            Command::Cancel => match state {
                State::Finished => wrong(),
                State::Draft
                | State::Validating { .. }
                | State::Ready
                | State::Scheduled
                | State::Running
                | State::Paused { .. }
                | State::Cancelled => Ok(State::Cancelled),
            },
            Command::Validated(problems) => match state {
                State::Validating { .. } if !problems.is_empty() => Ok(State::Draft),
                State::Validating { then: Then::Rest } => Ok(State::Ready),
                State::Validating { then: Then::Start } => Ok(State::Running),
                State::Validating { then: Then::Schedule } => Ok(State::Scheduled),
                State::Draft
                | State::Ready
                | State::Scheduled
                | State::Running
                | State::Paused { .. }
                | State::Finished
                | State::Cancelled => wrong(),
            },
            Command::Due => match state {
                State::Scheduled | State::Running => Ok(State::Running),
                State::Draft
                | State::Validating { .. }
                | State::Ready
                | State::Paused { .. }
                | State::Finished
                | State::Cancelled => wrong(),
            },
            Command::Finish => match state {
                State::Running | State::Finished => Ok(State::Finished),
                State::Draft
                | State::Validating { .. }
                | State::Ready
                | State::Scheduled
                | State::Paused { .. }
                | State::Cancelled => wrong(),
            },
        }
    }
}
