//! Reads the settings: JSON, where any text may stand elsewhere.
//!
//! `{"env": "NAME"}` is the value of an environment variable, `{"file": "path"}` the content of a
//! file (relative to the settings file; one final line break is cut). So secrets need not stand in
//! the settings.
//!
//! They are a file, read once at start, or kept in the broker and followed (crate `configuration`).

use std::{
    convert::Infallible,
    io::Read as _,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{
    Millis, PhoneNumberId,
    derive::Keying,
    settings::{Channel, FaqEntry, Integration, Invalid, Settings},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::watch;

/// Far above any real configuration; bounds what a wrong path can make us read.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Within this all services know of a change; `bus` looks for one every 5 s at least.
const SPREADS_WITHIN: Duration = Duration::from_secs(10);

/// What every service that knows channels and integrations needs.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Args {
    /// The settings file: channels, integrations, policies (deploy/settings.sample.json). Or the word
    /// `broker`: they are kept in the broker, changed in the console, and followed without a restart.
    #[arg(long = "settings", env = "BATON_SETTINGS", value_name = "PATH")]
    pub source: Source,
    #[command(flatten)]
    pub keying: KeyingArgs,
}

/// Where the settings are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In a file that is read at start.
    File(PathBuf),
    /// In the broker: they may change at any time.
    Broker,
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            // A file of this name is `./broker`.
            "broker" => Self::Broker,
            path => Self::File(path.into()),
        })
    }
}

/// The deployment's keying secret alone, for services without settings.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct KeyingArgs {
    /// Keys the digests that stand for people in subjects, logs and cache keys: at least 32
    /// characters, the same for every service, never changed while a log exists.
    #[arg(long, env = "CONVERSATION_KEY_SECRET", hide_env_values = true, value_parser = long_enough)]
    pub conversation_key_secret: SecretString,
}

impl Args {
    pub fn keying(&self) -> Keying {
        self.keying.keying()
    }
}

impl KeyingArgs {
    pub fn keying(&self) -> Keying {
        Keying::new(&self.conversation_key_secret)
    }
}

fn long_enough(text: &str) -> Result<SecretString, String> {
    // Never quotes the value.
    if text.chars().count() < 32 {
        return Err("at least 32 characters are needed".into());
    }
    Ok(SecretString::from(text))
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read settings from {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("parse settings in {path}")]
    Json { path: PathBuf, source: serde_json::Error },
    /// Everything that is wrong at once, each with its field.
    #[error("settings in {path} cannot be used:\n  {}", lines(.found))]
    Invalid { path: PathBuf, found: Vec<Invalid> },
}

fn lines(found: &[Invalid]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}

/// The settings as they are now; whoever feeds it may replace them at any time. Cheap to clone.
///
/// Take [`Live::now`] once per piece of work, so that the work sees one version.
#[derive(Debug, Clone)]
pub struct Live(watch::Receiver<Arc<Settings>>);

impl Live {
    /// The handle, and the end that replaces what it tells.
    pub fn new(settings: Settings) -> (watch::Sender<Arc<Settings>>, Self) {
        let (feed, settings) = watch::channel(Arc::new(settings));
        (feed, Self(settings))
    }

    /// Settings that never change.
    pub fn fixed(settings: Settings) -> Self {
        Self::new(settings).1
    }

    pub fn now(&self) -> Arc<Settings> {
        Arc::clone(&self.0.borrow())
    }

    /// The settings as soon as they have the number's channel.
    ///
    /// Who took the number's fact in may know of a channel that we have not heard of: this waits until
    /// 10 s after `at`, when the fact was stored. Then, and where nobody feeds the settings, they are
    /// told as they are.
    pub async fn knowing(&self, number: &PhoneNumberId, at: Millis) -> Arc<Settings> {
        let now = self.now();
        if now.channel(number).is_some() {
            return now;
        }
        let mut heard = self.0.clone();
        let known = heard.wait_for(|settings| settings.channel(number).is_some());
        let _ = tokio::time::timeout(SPREADS_WITHIN.saturating_sub(crate::age(at)), known).await;
        self.now()
    }

    /// Waits for settings that this handle has not told yet; never returns once nobody feeds it.
    pub async fn changed(&mut self) -> Arc<Settings> {
        match self.0.changed().await {
            Ok(()) => Arc::clone(&self.0.borrow_and_update()),
            Err(_) => std::future::pending().await,
        }
    }
}

/// What is made of the settings, and made anew when they changed.
#[derive(Debug)]
pub struct Derived<T>(Mutex<Option<Made<T>>>);

#[derive(Debug)]
struct Made<T> {
    of: Arc<Settings>,
    what: Arc<T>,
}

impl<T> Default for Derived<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Derived<T> {
    pub fn new(of: Arc<Settings>, what: T) -> Self {
        Self(Mutex::new(Some(Made { of, what: Arc::new(what) })))
    }

    /// `make` gets what was made before. Others wait for it: it should not take long.
    pub fn of(&self, settings: &Arc<Settings>, make: impl FnOnce(Option<&T>) -> T) -> Arc<T> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref().filter(|made| Arc::ptr_eq(&made.of, settings)) {
            return Arc::clone(&made.what);
        }
        let what = Arc::new(make(made.as_ref().map(|made| made.what.as_ref())));
        *made = Some(Made { of: Arc::clone(settings), what: Arc::clone(&what) });
        what
    }
}

/// Reads, fills in and checks the settings at `path`.
pub fn load(path: &Path) -> Result<Settings, Error> {
    let invalid = |found| Error::Invalid { path: path.into(), found };
    let settings = parse(filled_in(path)?).map_err(invalid)?;
    // Nothing is added to a file while services run.
    if settings.channels.is_empty() {
        let problem = "at least one WhatsApp number is needed".into();
        return Err(invalid(vec![Invalid { field: "channels".into(), problem }]));
    }
    Ok(settings)
}

/// Fills in and checks settings from anywhere. References to files are relative to `base`.
///
/// # Errors
/// Everything that is wrong at once, each with its field.
pub fn check(mut value: Value, base: &Path) -> Result<Settings, Vec<Invalid>> {
    let mut found = Vec::new();
    fill_in(&mut value, "", base, &mut found);
    if found.is_empty() { parse(value) } else { Err(found) }
}

/// The settings at `path` with everything that stands elsewhere put in its place; not checked.
pub fn filled_in(path: &Path) -> Result<Value, Error> {
    let text = read(path).map_err(|source| Error::Read { path: path.into(), source })?;
    let mut value =
        serde_json::from_str(&text).map_err(|source| Error::Json { path: path.into(), source })?;
    let mut found = Vec::new();
    fill_in(&mut value, "", path.parent().unwrap_or(Path::new(".")), &mut found);
    if found.is_empty() { Ok(value) } else { Err(Error::Invalid { path: path.into(), found }) }
}

fn parse(value: Value) -> Result<Settings, Vec<Invalid>> {
    let mut found = Vec::new();
    // One by one first: serde stops at the first error and does not say in which element.
    each::<Channel>(&value, "channels", &mut found);
    each::<Integration>(&value, "integrations", &mut found);
    each::<FaqEntry>(&value, "faq", &mut found);
    if !found.is_empty() {
        return Err(found);
    }
    let settings = serde_json::from_value::<Settings>(value)
        .map_err(|error| vec![Invalid { field: "settings".into(), problem: error.to_string() }])?;
    let found = settings.check();
    if found.is_empty() { Ok(settings) } else { Err(found) }
}

fn each<T: DeserializeOwned>(value: &Value, list: &str, found: &mut Vec<Invalid>) {
    for (i, element) in value[list].as_array().into_iter().flatten().enumerate() {
        if let Err(error) = serde_json::from_value::<T>(element.clone()) {
            found.push(Invalid { field: format!("{list}[{i}]"), problem: error.to_string() });
        }
    }
}

/// Replaces every reference in `value`; `at` is where it stands.
fn fill_in(value: &mut Value, at: &str, base: &Path, found: &mut Vec<Invalid>) {
    match value {
        Value::Object(map) => {
            if let Some(reference) = Reference::of(map) {
                match reference.resolve(base) {
                    Ok(text) => *value = Value::String(text.expose_secret().to_owned()),
                    Err(problem) => found.push(Invalid { field: at.to_owned(), problem }),
                }
                return;
            }
            for (name, inner) in map {
                let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                fill_in(inner, &at, base, found);
            }
        }
        Value::Array(elements) => {
            for (i, inner) in elements.iter_mut().enumerate() {
                fill_in(inner, &format!("{at}[{i}]"), base, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

enum Reference {
    Env(String),
    File(String),
}

impl Reference {
    fn of(map: &Map<String, Value>) -> Option<Self> {
        let mut members = map.iter();
        let (Some((name, Value::String(text))), None) = (members.next(), members.next()) else { return None };
        match name.as_str() {
            "env" => Some(Self::Env(text.clone())),
            "file" => Some(Self::File(text.clone())),
            _ => None,
        }
    }

    fn resolve(&self, base: &Path) -> Result<SecretString, String> {
        let text = match self {
            Self::Env(name) => std::env::var(name)
                .map_err(|_| format!("the environment variable {name} is not set or not UTF-8"))?,
            Self::File(path) => read(&base.join(path)).map_err(|e| format!("cannot read {path}: {e}"))?,
        };
        let text = text.strip_suffix('\n').unwrap_or(&text);
        if text.is_empty() {
            return Err("is empty where it is kept".into());
        }
        Ok(SecretString::from(text))
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::other("larger than 4 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};
    use serde_json::json;

    use super::*;

    fn sample() -> Value {
        json!({
            "channels": [{ "phone_number_id": "1", "waba_id": "2", "display_phone_number": "+1 555 0100",
                           "name": "Support", "access_token": { "file": "token" }, "integration": "main" }],
            "integrations": [{ "id": "main", "instance_url": "https://acme.my.salesforce.com",
                "es_developer_name": "Phone_Bridge", "org_id": "00DRT0000004QhW", "auth_key_id": "k1",
                "jwt_private_key": { "file": "key.pem" }, "jwt_public_key": { "env": "CARGO_PKG_NAME" } }]
        })
    }

    fn load_value(value: &Value, files: &[(&str, &str)]) -> Result<Settings, Error> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let path = dir.path().join("settings.json");
        std::fs::write(&path, value.to_string()).unwrap();
        load(&path)
    }

    fn found(value: &Value, files: &[(&str, &str)]) -> Vec<String> {
        match load_value(value, files) {
            Err(Error::Invalid { found, .. }) => found.into_iter().map(|invalid| invalid.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    const FILES: [(&str, &str); 2] = [("token", "t0ken\n"), ("key.pem", "a key")];

    #[test]
    fn values_come_from_files_and_the_environment() {
        let settings = load_value(&sample(), &FILES).unwrap();
        assert_eq!(settings.channels[0].access_token.expose_secret(), "t0ken");
        assert_eq!(settings.integrations[0].jwt_private_key.expose_secret(), "a key");
        assert_eq!(settings.integrations[0].jwt_public_key, "runtime");
    }

    #[test]
    fn everything_wrong_is_said_at_once_with_its_place() {
        assert_eq!(found(&sample(), &[]), ["channels[0].access_token", "integrations[0].jwt_private_key"]);
        let mut value = sample();
        value["channels"][0]["waba_id"] = Value::Null;
        value["integrations"][0]["org_id"] = "001".into();
        assert_eq!(found(&value, &FILES), ["channels[0]", "integrations[0]"]);
        let mut value = sample();
        value["channels"][0]["integration"] = "other".into();
        value["integrations"][0]["instance_url"] = "http://acme.my.salesforce.com".into();
        assert_eq!(found(&value, &FILES), ["channels[0].integration", "integrations[0].instance_url"]);
        let mut value = sample();
        value["chanels"] = json!([]);
        assert_eq!(found(&value, &FILES), ["settings"]);
        let mut value = sample();
        value["webhook"] = json!({ "app_secrets": ["a", " "], "verify_tokens": [""] });
        assert_eq!(found(&value, &FILES), ["webhook.app_secrets[1]", "webhook.verify_tokens[0]"]);
        assert_eq!(found(&json!({ "channels": [] }), &[]), ["channels"]);
    }

    #[test]
    fn settings_that_come_from_elsewhere_may_begin_empty() {
        assert!(check(json!({ "channels": [] }), Path::new(".")).unwrap().channels.is_empty());
        assert_eq!("broker".parse(), Ok(Source::Broker));
        assert_eq!("./broker".parse(), Ok(Source::File("./broker".into())));
    }

    #[test]
    fn what_is_made_of_settings_is_made_once_for_each() {
        let settings = || Arc::new(load_value(&sample(), &FILES).unwrap());
        let (one, two, derived) = (settings(), settings(), Derived::default());
        assert_eq!(*derived.of(&one, |before| before.map_or(1, |before| before + 1)), 1);
        assert_eq!(*derived.of(&one, |_| unreachable!()), 1);
        assert_eq!(*derived.of(&two, |before| before.map_or(1, |before| before + 1)), 2);
    }

    #[tokio::test]
    async fn a_channel_that_others_know_already_is_waited_for() {
        let number = PhoneNumberId::new("1");
        let settings = load_value(&sample(), &FILES).unwrap();
        let none = || Settings { channels: Vec::new(), ..settings.clone() };
        let (feed, live) = Live::new(none());
        let (found, ()) = tokio::join!(live.knowing(&number, crate::now()), async {
            tokio::task::yield_now().await;
            feed.send_replace(Arc::new(settings.clone()));
        });
        assert!(found.channel(&number).is_some());
        // Not for old facts, and not where nothing can change.
        feed.send_replace(Arc::new(none()));
        assert!(live.knowing(&number, crate::now() - 10_000).await.channels.is_empty());
        assert!(Live::fixed(none()).knowing(&number, crate::now()).await.channels.is_empty());
    }

    #[test]
    fn arguments_are_well_formed_and_a_short_secret_is_refused_unseen() {
        let command = Args::augment_args(Command::new("x"));
        command.clone().debug_assert();
        let error = command
            .try_get_matches_from(["x", "--settings", "s", "--conversation-key-secret", "short"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("at least 32"), "{error}");
    }
}
