//! Settings kept in a real broker.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{sync::Arc, time::Duration};

use bus::Log;
use configuration::{Change, Configuration, Error};
use devstack::Nats;
use domain::settings::Settings;
use runtime::settings::{Live, Source};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const KEY: &str = "a:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const OTHER_KEY: &str = "b:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

fn key(text: &str) -> SecretString {
    SecretString::from(text)
}

async fn log(nats: &Nats) -> Log {
    bus::connect(&bus::Config::at(&nats.url())).await.unwrap()
}

async fn open(log: &Log) -> Configuration {
    Configuration::open(log, &key(KEY)).await.unwrap()
}

fn document(numbers: &[&str]) -> Value {
    let channel = |number: &&str| {
        json!({ "phone_number_id": number, "waba_id": "2", "display_phone_number": "+1", "name": "Support",
                "access_token": "a very secret token" })
    };
    json!({ "channels": numbers.iter().map(channel).collect::<Vec<_>>() })
}

fn by(who: &str, what: &str) -> Change {
    Change { who: who.into(), what: what.into() }
}

fn numbers(settings: &Settings) -> Vec<&str> {
    settings.channels.iter().map(|channel| channel.phone_number_id.as_str()).collect()
}

/// Until they are the settings of this revision.
async fn until(live: &mut Live, revision: u64) -> Arc<Settings> {
    let reached = async {
        loop {
            let now = live.now();
            if now.version == revision {
                return now;
            }
            live.changed().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reached).await.expect("the settings are followed")
}

#[tokio::test]
async fn what_is_saved_is_there_for_whoever_has_the_key() {
    let nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    let configuration = open(&log).await;
    let nothing = configuration.current().await.unwrap();
    assert_eq!((nothing.value, nothing.revision), (json!({ "channels": [] }), 0));
    assert_eq!(configuration.changes(10).await.unwrap(), []);

    let first = configuration.save(document(&["1"]), 0, by("ann", "channel 1 added")).await.unwrap();
    let second =
        configuration.save(document(&["1", "2"]), first, by("bob", "channel\n2 added")).await.unwrap();
    let current = open(&log).await.current().await.unwrap();
    assert_eq!((&current.value, current.revision), (&document(&["1", "2"]), second));
    assert!(!format!("{current:?}").contains("secret"));

    let changes = configuration.changes(10).await.unwrap();
    let told: Vec<_> = changes.iter().map(|c| (c.revision, c.who.as_str(), c.what.as_str())).collect();
    assert_eq!(told, [(second, "bob", "channel 2 added"), (first, "ann", "channel 1 added")]);
    assert!(changes[0].at >= changes[1].at && (runtime::now() - changes[1].at).abs() < 60_000);
    assert_eq!(configuration.changes(1).await.unwrap().len(), 1);
    assert_eq!(configuration.changes(0).await.unwrap(), []);

    // Nothing of it can be read in the broker or with another key.
    let kept = log.settings().await.unwrap().last().await.unwrap().unwrap();
    let kept = String::from_utf8(kept.payload.to_vec()).unwrap();
    assert!(kept.starts_with("a.") && !kept.contains("secret") && !kept.contains("bob"));
    let other = Configuration::open(&log, &key(OTHER_KEY)).await.unwrap();
    assert!(matches!(other.current().await, Err(Error::Sealed)));
    assert!(matches!(other.changes(1).await, Err(Error::Sealed)));
    assert!(matches!(other.live(CancellationToken::new()).await, Err(Error::Sealed)));
    assert!(matches!(Configuration::open(&log, &key("x")).await, Err(Error::MasterKey(_))));

    // Both keys: the first seals, all open.
    let both = Configuration::open(&log, &key(&format!("{OTHER_KEY},{KEY}"))).await.unwrap();
    let third =
        both.save(both.current().await.unwrap().value, second, by("ann", "key rotated")).await.unwrap();
    assert_eq!(other.current().await.unwrap().revision, third);
    assert!(matches!(configuration.current().await, Err(Error::Sealed)));
}

#[tokio::test]
async fn of_two_who_change_the_same_the_second_is_told() {
    let nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    let configuration = open(&log).await;
    let first = configuration.save(document(&["1"]), 0, by("ann", "one")).await.unwrap();
    for based_on in [0, first + 7] {
        match configuration.save(document(&["2"]), based_on, by("bob", "two")).await {
            Err(Error::Changed { by_now }) => assert_eq!(by_now, first),
            other => panic!("{other:?}"),
        }
    }
    // All at once: one gets through.
    let tries = (0..8).map(|n| {
        let configuration = configuration.clone();
        async move { configuration.save(document(&[&n.to_string()]), first, by("many", "n")).await }
    });
    let mut stored = 0;
    let mut tasks = tokio::task::JoinSet::new();
    tries.for_each(|one| drop(tasks.spawn(one)));
    while let Some(saved) = tasks.join_next().await {
        match saved.unwrap() {
            Ok(_) => stored += 1,
            Err(error) => assert!(matches!(error, Error::Changed { .. }), "{error}"),
        }
    }
    assert_eq!(stored, 1);
    assert_eq!(configuration.changes(10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_cannot_be_used_is_not_kept_and_everything_wrong_is_said() {
    let nats = Nats::start().await.unwrap();
    let configuration = open(&log(&nats).await).await;
    let mut bad = document(&["1", "1"]);
    bad["channels"][0]["integration"] = "nowhere".into();
    bad["webhook"] = json!({ "app_secrets": [""] });
    let Err(Error::Invalid(found)) = configuration.save(bad, 0, by("ann", "x")).await else { panic!() };
    let fields: Vec<_> = found.iter().map(|invalid| invalid.field.as_str()).collect();
    assert_eq!(fields, ["webhook.app_secrets[0]", "channels[0].integration", "channels[1].phone_number_id"]);
    let mut elsewhere = document(&["1"]);
    elsewhere["channels"][0]["access_token"] = json!({ "env": "NO_SUCH_VARIABLE" });
    let Err(Error::Invalid(found)) = configuration.save(elsewhere, 0, by("ann", "x")).await else { panic!() };
    assert_eq!(found[0].field, "channels[0].access_token");
    let mut large = document(&["1"]);
    large["channels"][0]["name"] = "x".repeat(4 << 20).into();
    assert!(matches!(configuration.save(large, 0, by("ann", "x")).await, Err(Error::TooLarge)));
    assert_eq!(configuration.current().await.unwrap().revision, 0);
}

#[tokio::test]
async fn references_are_kept_as_they_are_and_looked_up_by_each() {
    let nats = Nats::start().await.unwrap();
    let configuration = open(&log(&nats).await).await;
    let mut value = document(&["1"]);
    value["channels"][0]["access_token"] = json!({ "env": "CARGO_PKG_NAME" });
    configuration.save(value.clone(), 0, by("ann", "x")).await.unwrap();
    assert_eq!(configuration.current().await.unwrap().value, value);
    let live = configuration.live(CancellationToken::new()).await.unwrap();
    assert_eq!(live.now().channels[0].access_token.expose_secret(), "configuration");
}

#[tokio::test]
async fn everybody_follows_through_a_restart_of_the_broker() {
    let mut nats = Nats::start().await.unwrap();
    let logs = [log(&nats).await, log(&nats).await];
    let shutdown = CancellationToken::new();
    let mut lives = Vec::new();
    for log in &logs {
        let live = configuration::settings(&Source::Broker, log, Some(&key(KEY)), &shutdown).await.unwrap();
        assert!(live.now().channels.is_empty());
        lives.push(live);
    }
    let configuration = open(&logs[0]).await;
    let mut revision = 0;
    for round in ["1", "2"] {
        revision = configuration.save(document(&[round]), revision, by("ann", round)).await.unwrap();
        for live in &mut lives {
            assert_eq!(numbers(&*until(live, revision).await), [round]);
        }
        nats.restart().await.unwrap();
    }
    // Whether the restart is behind them or not.
    revision = configuration.save(document(&["3"]), revision, by("ann", "3")).await.unwrap();
    for live in &mut lives {
        assert_eq!(numbers(&*until(live, revision).await), ["3"]);
    }

    shutdown.cancel();
    let revision = configuration.save(document(&["4"]), revision, by("ann", "4")).await.unwrap();
    assert_eq!(numbers(&lives[0].now()), ["3"], "after the signal they stay as they are");
    let live = configuration.live(CancellationToken::new()).await.unwrap();
    assert_eq!((live.now().version, numbers(&live.now())), (revision, vec!["4"]));
}

#[tokio::test]
async fn what_is_saved_while_the_broker_is_away_is_kept_once_it_is_back() {
    let mut nats = Nats::start().await.unwrap();
    let configuration = open(&log(&nats).await).await;
    let first = configuration.save(document(&["1"]), 0, by("ann", "1")).await.unwrap();
    nats.kill().await.unwrap();
    let saving = configuration.save(document(&["2"]), first, by("ann", "2"));
    let (saved, restarted) = tokio::join!(saving, nats.restart());
    restarted.unwrap();
    let current = configuration.current().await.unwrap();
    assert_eq!((current.revision, current.value), (saved.unwrap(), document(&["2"])));
}

#[tokio::test]
async fn all_changes_are_listed_newest_first() {
    let nats = Nats::start().await.unwrap();
    let configuration = open(&log(&nats).await).await;
    let mut revision = 0;
    for n in 0..70 {
        revision = configuration.save(document(&["1"]), revision, by("ann", &n.to_string())).await.unwrap();
    }
    let changes = configuration.changes(1000).await.unwrap();
    let told: Vec<_> = changes.iter().map(|change| change.what.clone()).collect();
    assert_eq!(told, (0..70).rev().map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(configuration.changes(20).await.unwrap(), changes[..20]);
}

#[tokio::test]
async fn a_revision_that_cannot_be_used_leaves_the_last_good_one_in_force() {
    let nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    let configuration = open(&log).await;
    let first = configuration.save(document(&["1"]), 0, by("ann", "1")).await.unwrap();
    let mut live = configuration.live(CancellationToken::new()).await.unwrap();
    // Another key; rubbish; deleted. The last word is good again, so all of them were seen or skipped.
    let both = Configuration::open(&log, &key(&format!("{OTHER_KEY},{KEY}"))).await.unwrap();
    let strange = both.save(document(&["2"]), first, by("bob", "2")).await.unwrap();
    let revisions = log.settings().await.unwrap();
    let watched = tokio::time::timeout(Duration::from_millis(400), live.changed()).await;
    assert!(watched.is_err(), "{:?}", numbers(&live.now()));
    assert_eq!(numbers(&live.now()), ["1"]);
    let mut newest = strange;
    for payload in ["rubbish", ""] {
        let bus::Replaced::Stored(seq) = revisions.replace(newest, payload.into()).await.unwrap() else {
            panic!()
        };
        newest = seq;
        let watched = tokio::time::timeout(Duration::from_millis(400), live.changed()).await;
        assert!(watched.is_err(), "{payload}");
    }
    let current = configuration.current().await.unwrap();
    assert_eq!((current.value, current.revision), (json!({ "channels": [] }), newest), "deleted");
    let last = configuration.save(document(&["3"]), newest, by("ann", "3")).await.unwrap();
    assert_eq!(numbers(&*until(&mut live, last).await), ["3"]);
}

#[tokio::test]
async fn the_brokers_settings_need_a_key() {
    let nats = Nats::start().await.unwrap();
    let log = log(&nats).await;
    let shutdown = CancellationToken::new();
    let missing = Source::File("no/such/file".into());
    assert!(configuration::settings(&missing, &log, None, &shutdown).await.is_err());
    let error = configuration::settings(&Source::Broker, &log, None, &shutdown).await.unwrap_err();
    assert!(error.to_string().contains("MASTER_KEY"), "{error}");
}
