//! People: found, merged, exported and erased, over a real log and a real cache.
#![allow(clippy::allow_attributes, dead_code, reason = "the bench is shared: this uses a part of it")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../sessions/bench.rs"]
mod bench;
#[path = "../shared/mod.rs"]
mod shared;

use std::pin::pin;

use domain::{
    ContactId, ConversationKey, PhoneNumberId, Seq, SessionId, Wamid,
    derive::uuid,
    message::{Content, Customer, InboundMessage, Media, MediaKind, MessageContext},
    session::{Conversation, Decision, Owner},
};
use futures::StreamExt as _;
use proto::{
    StoredDecision,
    subjects::{self, Kind},
    v1::{self, entry::Body, media_fetched},
};
use serde_json::{Value, json};

use bench::{Bench, Wanted, in_thread, read};

fn wanted(n: u32, name: &'static str, owner: Owner) -> Wanted {
    Wanted { n, number: "100", name, owner }
}

fn contact(n: u32) -> ContactId {
    ContactId(uuid("contact", &[&n.to_be_bytes()]))
}

fn customer(n: u32) -> Customer {
    Customer { phone: Some(format!("3460000{n:04}")), bsuid: Some(format!("US.{n}")), ..Customer::default() }
}

impl Bench {
    async fn person(&self, n: u32, name: &'static str, owner: Owner) -> (ConversationKey, SessionId) {
        let (key, session) = self.add(wanted(n, name, owner)).await;
        self.servers.store.restore_contact(&self.servers.keying, contact(n), &customer(n)).await.unwrap();
        self.servers.store.index_session(&key, session, None, Some(contact(n))).await.unwrap();
        let listed = async || self.people().await.contains(&contact(n).to_string());
        self.until("the person is listed", listed).await;
        (key, session)
    }

    async fn people(&self) -> Vec<String> {
        let list = read(self.get("/api/v1/contacts").await, 200).await;
        list["contacts"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect()
    }

    async fn post(&self, path: &str, body: &Value, status: u16) -> Value {
        let sent = self.http.post(format!("{}/api/v1{path}", self.url)).json(body).send().await.unwrap();
        read(sent, status).await
    }

    async fn find(&self, wanted: &str) -> Vec<String> {
        let found = self.post("/contacts/search", &json!({ "wanted": wanted }), 200).await;
        found["contacts"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect()
    }

    async fn one(&self, contact: ContactId) -> Value {
        read(self.get(&format!("/api/v1/contacts/{contact}")).await, 200).await
    }

    async fn entries(&self, key: &ConversationKey) -> usize {
        self.servers.log.read(vec![subjects::conversation(key)], 1, Seq::MAX, 10_000).await.unwrap().len()
    }

    async fn in_history(&self, key: &ConversationKey) -> usize {
        self.servers.log.history(key, 0, 10_000).await.unwrap().len()
    }
}

#[tokio::test]
async fn people_are_listed_found_and_shown() {
    let bench = Bench::start(async |_, _| {}).await;
    let (_, session) = bench.person(1, "Ana Pérez <b>", Owner::Assistant).await;
    // The directory does not know this one: the cache was lost.
    bench.add(wanted(2, "Bo", Owner::Live(in_thread(2)))).await;
    bench.until("both are listed", async || bench.people().await.len() == 2).await;
    let [ana, bo] = [1, 2].map(|n| contact(n).to_string());

    for (text, expected) in [
        ("ana", vec![&ana]),
        ("pér", vec![&ana]),
        ("+34 600 000 001", vec![&ana]),
        ("34600000002", vec![&bo]),
        ("US.1", vec![&ana]),
        ("US.2", vec![&bo]),
        ("US.3", vec![]),
        (ana.as_str(), vec![&ana]),
        (&session.to_string(), vec![&ana]),
        ("nobody@example.com", vec![]),
    ] {
        assert_eq!(bench.find(text).await.iter().collect::<Vec<_>>(), expected, "{text}");
    }
    let mut both = bench.find("34600").await;
    both.sort();
    let mut expected = vec![ana.clone(), bo.clone()];
    expected.sort();
    assert_eq!(both, expected, "the beginning of a phone number");
    for (text, status) in [("", 400), ("x", 400), ("12", 400), (&uuid("nobody", &[]).to_string(), 404)] {
        bench.post("/contacts/search", &json!({ "wanted": text }), status).await;
    }

    let told = bench.one(contact(1)).await;
    assert_eq!(told["name"], "Ana Pérez <b>");
    assert_eq!(told["marketing"], "yes");
    assert_eq!(told["aliases"][0], json!({ "kind": "phone", "value": "34600000001" }));
    assert_eq!(told["aliases"][1], json!({ "kind": "bsuid", "value": "US.1" }));
    assert_eq!(told["conversations"][0]["sessions"][0]["id"], session.to_string());
    let page = bench.page(&format!("/contacts/{ana}")).await;
    for shown in
        ["+34600000001", "Ana Pérez &#60;b&#62;", &format!("/sessions/{session}"), "Erase this contact"]
    {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(bench.page(&format!("/sessions/{session}")).await.contains(&format!("/contacts/{ana}#erase")));
    let list = bench.page("/contacts").await;
    assert!(list.contains(&ana) && list.contains(&bo));

    // What was searched for stands in no address.
    let found = bench.form("/contacts/search", "wanted=%2B34600000001".into()).await;
    assert_eq!(found.status(), 303);
    assert_eq!(found.headers()["location"], format!("/contacts/{ana}"));
    assert_eq!(bench.form("/contacts/search", "wanted=x".into()).await.status(), 400);
    assert_eq!(bench.get(&format!("/contacts/{}", uuid("nobody", &[]))).await.status(), 404);
    assert_eq!(bench.get("/contacts/x").await.status(), 400);
    bench.stop().await;
}

#[tokio::test]
async fn addresses_are_linked_and_two_contacts_become_one() {
    let bench = Bench::start(async |_, _| {}).await;
    let (first, _) = bench.person(1, "Ana", Owner::Assistant).await;
    let (second, _) = bench.person(2, "Ana again", Owner::Assistant).await;
    let [keep, other] = [contact(1), contact(2)];
    let link = async |id: ContactId, email: &str, status| {
        bench.post(&format!("/contacts/{id}/emails"), &json!({ "email": email }), status).await
    };
    assert_eq!(link(keep, "ana", 400).await["error"], "malformed_email");
    link(keep, "ana@example.com", 200).await;
    link(other, "work@example.com", 200).await;
    assert_eq!(bench.find("ANA@example.com").await, [keep.to_string()]);

    let merge = async |id: ContactId, other: ContactId, status| {
        bench.post(&format!("/contacts/{id}/merge"), &json!({ "other": other.to_string() }), status).await
    };
    assert_eq!(merge(keep, keep, 409).await["error"], "same_contact");
    assert_eq!(merge(keep, ContactId(uuid("nobody", &[])), 404).await["error"], "unknown_contact");
    // On the page both are shown first.
    let compared = bench.form(&format!("/contacts/{keep}/merge"), "other=work%40example.com".into()).await;
    assert_eq!(compared.status(), 200);
    let compared = compared.text().await.unwrap();
    assert!(compared.contains("Ana again") && compared.contains(&other.to_string()));
    let form = format!("other={other}&confirmed=true");
    let merged = bench.form(&format!("/contacts/{keep}/merge"), form).await;
    assert_eq!(merged.headers()["location"], format!("/contacts/{keep}?done=merged"));

    let told = bench.one(other).await;
    assert_eq!(told["id"], keep.to_string(), "the merged id goes on meaning the person");
    let moved = bench.get(&format!("/contacts/{other}")).await;
    assert_eq!(moved.headers()["location"], format!("/contacts/{keep}"));
    let mut keys: Vec<&str> = told["conversations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| of["conversation"].as_str().unwrap())
        .collect();
    keys.sort_unstable();
    let mut expected = [first.to_string(), second.to_string()];
    expected.sort();
    assert_eq!(keys, expected);
    let emails: Vec<&Value> = told["aliases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|alias| alias["kind"] == "email")
        .map(|alias| &alias["value"])
        .collect();
    assert_eq!(emails, ["ana@example.com", "work@example.com"], "none is lost");
    assert_eq!(bench.people().await, [keep.to_string()], "listed once");
    for wanted in ["US.2", "work@example.com", "34600000002"] {
        assert_eq!(bench.find(wanted).await, [keep.to_string()], "{wanted}");
    }
    assert_eq!(merge(keep, other, 409).await["error"], "same_contact");
    bench.stop().await;
}

#[tokio::test]
async fn an_export_holds_everything_however_much_it_is() {
    let bench = Bench::start(async |_, _| {}).await;
    let (key, _) = bench.person(1, "Ana", Owner::Assistant).await;
    bench.person(2, "Bo", Owner::Assistant).await;
    let many = 1_100;
    for n in 0..many {
        say(&bench, &key, &format!("more{n}"), Content::Text(format!("word number {n}."))).await;
    }
    let exported = bench.get(&format!("/api/v1/contacts/{}/export", contact(1))).await;
    assert_eq!(exported.headers()["content-type"], "application/json");
    let exported = read(exported, 200).await;
    assert_eq!(exported["contact"]["id"], contact(1).to_string());
    let conversations = exported["conversations"].as_array().unwrap();
    assert_eq!(conversations.len(), 1);
    let entries = conversations[0]["entries"].as_array().unwrap();
    assert_eq!(entries.len(), many + 2, "one message and one decision were there before");
    let texts: Vec<&str> = entries.iter().filter_map(|entry| entry["text"].as_str()).collect();
    assert!(texts.contains(&"word number 0.") && texts.contains(&"word number 1099."));
    let seqs: Vec<u64> = entries.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "each once, in order");
    assert_eq!(bench.get(&format!("/contacts/{}/export", contact(1))).await.status(), 200);
    let nobody = uuid("nobody", &[]);
    read(bench.get(&format!("/api/v1/contacts/{nobody}/export")).await, 404).await;

    // What the log has forgotten, the history still tells.
    bench.until("the history has all", async || bench.in_history(&key).await == many + 2).await;
    bench.servers.log.erase_conversation(&key, Some(seqs[many / 2])).await.unwrap();
    let exported = read(bench.get(&format!("/api/v1/contacts/{}/export", contact(1))).await, 200).await;
    let entries = exported["conversations"][0]["entries"].as_array().unwrap();
    let again: Vec<u64> = entries.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert_eq!(again, seqs);
    bench.stop().await;
}

async fn say(bench: &Bench, key: &ConversationKey, id: &str, content: Content) -> Seq {
    let message = InboundMessage {
        number: PhoneNumberId::new("100"),
        wamid: Wamid::new(id.to_owned()),
        sent_at: 1,
        customer: customer(1),
        content,
        context: MessageContext::default(),
    };
    let body = v1::WhatsAppMessage::new(&message, &domain::WabaId::new("1"), bytes::Bytes::new());
    let subject = subjects::fact(key, Kind::WhatsApp, id);
    let body = proto::encode(Body::WhatsappMessage(body));
    bench.servers.log.append_fact(&subject, body, None).await.unwrap().seq
}

fn decided(answers: Seq) -> bytes::Bytes {
    let mut state = Conversation::new(PhoneNumberId::new("100"));
    state.customer = customer(1);
    state.contact = Some(contact(1));
    let decision = Decision { state, outputs: Vec::new() };
    StoredDecision { answers, policy_version: 1, decision }.encode()
}

#[tokio::test]
async fn an_erased_person_is_gone_from_everywhere_and_may_come_back_as_somebody_new() {
    let bench = Bench::start(async |_, _| {}).await;
    let (key, session) = bench.person(1, "Ana", Owner::Assistant).await;
    let (others, _) = bench.person(2, "Bo", Owner::Assistant).await;
    let erase = format!("/contacts/{}/erase", contact(1));
    bench
        .post(&format!("/contacts/{}/emails", contact(1)), &json!({ "email": "ana@example.com" }), 200)
        .await;
    // A file: fetched, and told of in the log.
    let media = bench.servers.log.media().await.unwrap();
    for file in ["f1", "f2"] {
        media.put(file, &mut &b"a picture"[..]).await.unwrap();
    }
    let picture = Media {
        id: "1".into(),
        kind: MediaKind::Image,
        mime: "image/jpeg".into(),
        sha256: None,
        file_name: None,
        caption: None,
    };
    say(&bench, &key, "f1", Content::Media(picture)).await;
    let stored = media_fetched::Stored { object: "f1".into(), ..media_fetched::Stored::default() };
    let fetched = v1::MediaFetched { result: Some(media_fetched::Result::Stored(stored)) };
    let subject = subjects::fact(&key, Kind::Media, "f1");
    bench.servers.log.append_fact(&subject, proto::encode(Body::MediaFetched(fetched)), None).await.unwrap();
    let head = bench.servers.log.head(&key).await.unwrap().unwrap();
    bench.servers.store.cache_state(&key, head.seq, &head.payload).await.unwrap();
    bench.until("the history has it", async || bench.in_history(&key).await >= 4).await;
    let others_entries = bench.entries(&others).await;
    // She wrote last in a group, which is not hers.
    let group = ConversationKey::from_bytes([9; 16]);
    let mut state = Conversation::new(PhoneNumberId::new("100"));
    (state.group, state.customer, state.contact) = (Some("g".into()), customer(1), Some(contact(9)));
    let decision = Decision { state, outputs: Vec::new() };
    let stored = StoredDecision { answers: 1, policy_version: 1, decision };
    bench.servers.log.append_decision(&group, 0, stored.encode()).await.unwrap();

    // A box is to be ticked on the page.
    assert_eq!(bench.form(&erase, String::new()).await.status(), 400);
    assert!(bench.entries(&key).await > 0);

    // Workers that were in the middle of something: what they append is forgotten, too.
    let (log, answers) = (bench.servers.log.clone(), head.seq);
    bench.servers.tasks.spawn(async move {
        let fact = subjects::fact(&key, Kind::Assistant, "late");
        while log.head(&key).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(log.append_decision(&key, answers, decided(answers)).await.unwrap(), bus::Chained::Moved);
        log.append_fact(&fact, "late".into(), None).await.unwrap();
        log.append_decision(&key, 0, decided(answers)).await.unwrap();
    });
    let mut told = pin!(bench.servers.log.erasures().await.unwrap());
    let erased = bench.post(&erase, &json!({}), 200).await;
    assert_eq!((&erased["conversations"], &erased["files"]), (&json!(1), &json!(1)), "{erased}");
    assert!(erased["entries"].as_u64().unwrap() >= 6, "{erased}");
    assert_eq!(told.next().await, Some(key), "other consoles hear of it");

    assert_eq!((bench.entries(&key).await, bench.in_history(&key).await), (0, 0));
    assert!(media.read("f1", 100).await.unwrap().is_none() && media.read("f2", 100).await.unwrap().is_some());
    assert!(bench.servers.store.load_state(&key).await.unwrap().is_none());
    assert!(bench.servers.store.conversation_of_session(session).await.unwrap().is_none());
    for (kind, value) in [("phone", "34600000001"), ("bsuid", "US.1"), ("email", "ana@example.com")] {
        assert_eq!(
            bench.servers.store.contact_of_alias(&bench.servers.keying, kind, value).await.unwrap(),
            None,
            "{kind}"
        );
    }
    assert_eq!(bench.people().await, [contact(2).to_string()]);
    assert_eq!(bench.post(&erase, &json!({}), 404).await["error"], "unknown_contact");
    assert_eq!(bench.get(&format!("/sessions/{session}")).await.status(), 404);
    assert!(bench.find("Ana").await.is_empty());
    assert_eq!(bench.entries(&others).await, others_entries, "nobody else's");
    assert_eq!(bench.entries(&group).await, 1, "the group's stays");
    assert_eq!(bench.one(contact(2)).await["name"], "Bo");

    // A new message begins a new chain.
    bench.add(wanted(1, "Ana", Owner::Assistant)).await;
    bench.until("she is back", async || bench.people().await.len() == 2).await;
    let told = bench.one(contact(1)).await;
    assert!(told["aliases"].as_array().unwrap().iter().all(|alias| alias["kind"] != "email"), "{told}");
    bench.stop().await;
}

#[tokio::test]
async fn an_opt_out_outlives_who_said_it() {
    let bench = Bench::start(async |_, _| {}).await;
    let (key, _) = bench.person(1, "Ana", Owner::Assistant).await;
    let head = bench.servers.log.head(&key).await.unwrap().unwrap();
    let mut stored = StoredDecision::decode(head.payload).unwrap();
    (stored.answers, stored.decision.state.no_marketing) = (head.seq, true);
    bench.servers.log.append_decision(&key, head.seq, stored.encode()).await.unwrap();
    let erased = bench.post(&format!("/contacts/{}/erase", contact(1)), &json!({}), 200).await;
    assert_eq!(erased["conversations"], 1, "{erased}");
    let left = bench.servers.log.read(vec![subjects::conversation(&key)], 1, Seq::MAX, 10).await.unwrap();
    let [wish] = left.as_slice() else { panic!("{left:?}") };
    let Body::Consent(consent) = proto::decode(wish.payload.clone()).unwrap() else { panic!("{wish:?}") };
    assert_eq!((consent.phone_number_id.as_str(), consent.wanted), ("100", false));
    let campaigns = campaign::Campaigns::open(&bench.servers.log).await.unwrap();
    assert!(campaigns.is_suppressed(&key).await.unwrap());
    bench.stop().await;
}

#[tokio::test]
async fn what_a_crash_left_is_erased_by_doing_it_again() {
    let bench = Bench::start(async |_, _| {}).await;
    let (key, _) = bench.person(1, "Ana", Owner::Assistant).await;
    bench.until("the history has it", async || bench.in_history(&key).await == 2).await;
    // The log was purged already, the history and the directory were not.
    bench.servers.log.erase_conversation(&key, None).await.unwrap();
    bench.post(&format!("/contacts/{}/erase", contact(1)), &json!({}), 200).await;
    assert_eq!(bench.in_history(&key).await, 0);
    let known = bench.servers.store.contact_of_alias(&bench.servers.keying, "bsuid", "US.1").await.unwrap();
    assert_eq!(known, None);
    bench.stop().await;
}

#[tokio::test]
async fn whom_a_rep_has_is_not_erased_unless_the_chat_may_end() {
    let bench = Bench::start(async |_, _| {}).await;
    let (key, _) = bench.person(1, "Ana", Owner::Live(in_thread(1))).await;
    let erase = format!("/contacts/{}/erase", contact(1));
    assert_eq!(bench.post(&erase, &json!({}), 409).await["error"], "with_people");
    assert!(bench.page(&format!("/contacts/{}", contact(1))).await.contains("name=\"force\""));
    assert_eq!(bench.entries(&key).await, 2, "nothing was touched");
    bench.handoff();
    let mut commands = pin!(bench.servers.log.tail(vec!["conv.*.*.op.*".into()], 1));
    let forced = json!({ "force": true });
    let (erased, asked) = tokio::join!(bench.post(&erase, &forced, 200), commands.next());
    assert!(asked.is_some(), "Salesforce is asked to end the chat first");
    assert_eq!(erased["conversations"], 1);
    assert_eq!(bench.entries(&key).await, 0);
    bench.stop().await;
}
