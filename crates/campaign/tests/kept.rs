//! Campaigns on a real broker.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use campaign::{
    Campaigns, Category, Command, Cursor, Error, ParameterUse, Plan, Progress, Reading, Reason, Reply,
    Schedule, State, TemplateUse, Then, Value,
    progress::{Event, Mark},
};
use domain::{ConversationKey, PhoneNumberId, message::Customer};
use futures::TryStreamExt as _;

fn plan() -> Plan {
    Plan {
        name: "Spring".into(),
        number: PhoneNumberId::new("1"),
        template: TemplateUse {
            name: "sale".into(),
            language: "en_US".into(),
            category: Category::Marketing,
            header: None,
            body: vec![ParameterUse { name: None, value: Value::Column("First".into()) }],
            buttons: vec![],
            text: "Hi {{1}}!".into(),
        },
        schedule: Schedule::default(),
        per_minute: None,
        reply: Reply::Rep,
        answered_within_seconds: 3_600,
    }
}

async fn text(stream: impl futures::Stream<Item = Result<bytes::Bytes, Error>>) -> String {
    let parts: Vec<bytes::Bytes> = stream.try_collect().await.unwrap();
    String::from_utf8(parts.concat()).unwrap()
}

#[tokio::test]
async fn a_campaign_from_draft_to_its_export() {
    let nats = devstack::Nats::start().await.unwrap();
    let log = bus::connect(&bus::Config::at(&nats.url())).await.unwrap();
    let campaigns = Campaigns::open(&log).await.unwrap();
    assert_eq!(campaigns.list().await.unwrap(), []);
    assert!(matches!(
        campaigns.create(Plan { name: String::new(), ..plan() }, "ana", 1).await,
        Err(Error::NotNow(_))
    ));
    let mut watch = campaigns.watch().await.unwrap();
    let draft = campaigns.create(plan(), "ana", 1_000).await.unwrap();
    watch.definitions().await;
    let id = draft.definition.id;
    // Nothing to send to yet.
    assert!(matches!(campaigns.command(id, &Command::Start, "ana", 2).await, Err(Error::NotNow(_))));

    let file = "Phone;first;Timezone\n\
                +49 176 12345678;Ana;\n\
                0049 176 12345678;Ana again;\n\
                +1 212 555 2671;Bob;America/New_York\n\
                +1 800 555 2671;Carol;\n\
                12;Dan;\n\
                +44 7911 123456;;\n\
                +44 7911 123456;Eve;Europe/Nowhere\n\
                +44 7911 123456;Eve\n";
    let report = campaigns.upload(id, file.as_bytes(), Reading::default(), "ana", 3_000).await.unwrap();
    assert_eq!((report.accepted, report.rejected, report.unsure_zones), (3, 5, 1));
    for reason in [
        Reason::Duplicate,
        Reason::NotANumber,
        Reason::MissingParameter,
        Reason::UnknownTimezone,
        Reason::FieldCount,
    ] {
        assert_eq!(report.reasons[&reason], 1, "{reason:?}");
    }
    let rejected = text(campaigns.rejected(id).await.unwrap()).await;
    assert_eq!(rejected.lines().count(), 6);
    assert!(rejected.contains("6,not a phone number,12,Dan,"), "{rejected}");

    let started = campaigns.command(id, &Command::Start, "ana", 4_000).await.unwrap();
    assert_eq!(started.definition.state, State::Validating { then: Then::Start });
    assert!(matches!(
        campaigns.upload(id, file.as_bytes(), Reading::default(), "ana", 5).await,
        Err(Error::NotNow(_))
    ));
    let running = campaigns.command(id, &Command::Validated(vec![]), "runner", 5_000).await.unwrap();
    assert_eq!(
        (running.definition.state.clone(), running.definition.started_at),
        (State::Running, Some(5_000))
    );
    let stale = campaigns.edit(id, draft.revision, plan(), "ana", 6_000).await;
    assert!(matches!(stale, Err(Error::Changed)));

    let audience = running.definition.audience.clone().unwrap();
    let mut progress = campaign::beginning(&audience, 7);
    let mut phones = Vec::new();
    for (group, known) in audience.groups.iter().enumerate() {
        let rows = campaigns.recipients(id, &audience, group, 0).await.unwrap().unwrap();
        assert_eq!(rows.len() as u32, known.rows);
        phones.extend(rows.iter().map(|recipient| recipient.phone.clone().unwrap()));
        progress.advance(group, campaign::end(known));
    }
    phones.sort();
    assert_eq!(phones, ["12125552671", "18005552671", "4917612345678"]);
    progress.apply(8, 9_000, &[Event { row: 0, mark: Mark::Read, code: 0 }]);
    let first = campaigns.save(id, &progress, 0).await.unwrap();
    progress.apply(9, 9_000, &[Event { row: 1, mark: Mark::Failed, code: 131_026 }]);
    let second = campaigns.save(id, &progress, first).await.unwrap();
    assert!(matches!(campaigns.save(id, &progress, first).await, Err(Error::Changed)));
    let (restored, revision): (Progress, _) = campaigns.snapshot(id).await.unwrap().unwrap();
    assert_eq!((restored, revision), (progress, second));
    let summary = campaigns.progress(id).await.unwrap().unwrap();
    assert_eq!((summary.queued, summary.read, summary.failed), (3, 1, 1));
    let export = text(campaigns.export(id, 9_000).await.unwrap()).await;
    assert!(export.contains("0,+4917612345678,,read,,\r\n"), "{export}");
    assert!(export.contains("1,+12125552671,,failed,131026,\r\n"), "{export}");

    assert!(matches!(campaigns.delete(id, running.revision).await, Err(Error::NotNow(_))));
    let over = campaigns.command(id, &Command::Cancel, "ana", 9_000).await.unwrap();
    let who: Vec<_> =
        over.definition.history.iter().map(|change| (change.who.as_str(), change.what.as_str())).collect();
    assert_eq!(who[0], ("ana", "created"));
    assert_eq!(who.last(), Some(&("ana", "cancelled")));
    campaigns.delete(id, over.revision).await.unwrap();
    assert_eq!(campaigns.list().await.unwrap(), []);
    assert_eq!(campaigns.recipients(id, &audience, 0, 0).await.unwrap(), None);
    assert_eq!(Cursor::default().done, 0);
}

#[tokio::test]
async fn files_that_are_none() {
    let nats = devstack::Nats::start().await.unwrap();
    let log = bus::connect(&bus::Config::at(&nats.url())).await.unwrap();
    let campaigns = Campaigns::open(&log).await.unwrap();
    let id = campaigns.create(plan(), "ana", 1).await.unwrap().definition.id;
    for (file, why) in [
        (&b""[..], "headings"),
        (b"\xff\xfep\0h\0", "headings"),
        (b"phone,phone,first\n", "twice"),
        (b"number,first\n", "neither"),
        (b"phone\n+4917612345678\n", "lacks"),
    ] {
        let error = campaigns.upload(id, file, Reading::default(), "ana", 2).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(campaigns.get(id).await.unwrap().unwrap().definition.audience, None);
}

#[tokio::test]
async fn an_erased_persons_rows_are_emptied_and_that_they_want_nothing_is_kept() {
    let nats = devstack::Nats::start().await.unwrap();
    let log = bus::connect(&bus::Config::at(&nats.url())).await.unwrap();
    let campaigns = Campaigns::open(&log).await.unwrap();
    let id = campaigns.create(plan(), "ana", 1).await.unwrap().definition.id;
    let file =
        "phone,first\n+4917612345678,Ana\n+4917612345679,Bo\n0176 12345678,Ana\n+4917612345679,Bo;too\n";
    let reading = Reading { country: Some("DE".parse().unwrap()), opted_out: None };
    let report = campaigns.upload(id, file.as_bytes(), reading, "ana", 2).await.unwrap();
    assert_eq!((report.accepted, report.rejected), (2, 2));
    let ana = Customer { phone: Some("4917612345678".into()), ..Customer::default() };
    assert_eq!(campaigns.erase(std::slice::from_ref(&ana)).await.unwrap(), 2);
    assert_eq!(campaigns.erase(&[ana]).await.unwrap(), 0);
    let audience = campaigns.get(id).await.unwrap().unwrap().definition.audience.unwrap();
    let rows = campaigns.recipients(id, &audience, 0, 0).await.unwrap().unwrap();
    assert_eq!(rows.iter().map(|row| (row.row, row.is_empty())).collect::<Vec<_>>(), [(0, true), (1, false)]);
    assert!(rows[0].values.is_empty());
    let rejected = text(campaigns.rejected(id).await.unwrap()).await;
    assert!(!rejected.contains("Ana") && rejected.contains("Bo;too"), "{rejected}");

    let key = ConversationKey::from_bytes([7; 16]);
    assert!(!campaigns.is_suppressed(&key).await.unwrap());
    campaigns.suppress(&key).await.unwrap();
    campaigns.suppress(&key).await.unwrap();
    assert!(campaigns.is_suppressed(&key).await.unwrap());
}
