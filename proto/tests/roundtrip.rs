//! What a decision says survives the log.

use domain::{
    Cause, ConversationKey, PhoneNumberId, ThreadId, Wamid,
    derive::uuid,
    message::{Content, Customer, InboundMessage},
    session::{
        Ask, Call, Conversation, Decision, Fact, Held, Opening, Origin, Output, Owner, Send, Session, Stage,
        Thread,
    },
};
use proptest::prelude::*;
use proto::{StoredDecision, v1};

fn cause() -> impl Strategy<Value = Cause> {
    (1u64.., any::<u32>()).prop_map(|(answers, index)| Cause { answers, index })
}

fn thread_id() -> ThreadId {
    ThreadId(uuid("thread", &[]))
}

fn thread() -> impl Strategy<Value = Thread> {
    (cause(), any::<i64>(), any::<bool>()).prop_map(|(follow, status_at, told_nobody)| Thread {
        id: thread_id(),
        follow,
        status_at,
        told_nobody,
    })
}

fn owner() -> impl Strategy<Value = Owner> {
    let stage = prop_oneof![
        Just(Stage::Following),
        cause().prop_map(|call| Stage::Creating { call }),
        cause().prop_map(|timer| Stage::Resting { timer }),
    ];
    let held = prop::option::of((1u64.., any::<u64>()).prop_map(|(from, through)| Held { from, through }));
    let opening = (cause(), ".*", stage, any::<u32>(), any::<u64>(), held, cause(), any::<[bool; 3]>())
        .prop_map(
            |(
                follow,
                reason,
                stage,
                failures,
                transcript_through,
                held,
                patience,
                [told, rep_present, ended],
            )| {
                Owner::Opening(Opening {
                    thread: thread_id(),
                    follow,
                    reason,
                    stage,
                    failures,
                    transcript_through,
                    held,
                    told,
                    patience,
                    rep_present,
                    ended,
                })
            },
        );
    prop_oneof![
        Just(Owner::Assistant),
        opening,
        thread().prop_map(Owner::Waiting),
        thread().prop_map(Owner::Live),
        thread().prop_map(Owner::Inactive),
    ]
}

fn output() -> impl Strategy<Value = Output> {
    let origin = prop::sample::select(vec![Origin::Assistant, Origin::Rep, Origin::Bot, Origin::Notice]);
    prop_oneof![
        (".*", origin).prop_map(|(text, origin)| Output::Send(Send {
            id: domain::SendId(uuid("send", &[])),
            text,
            origin
        })),
        (any::<u32>(), ".*", any::<bool>(), any::<Option<i64>>()).prop_map(
            |(epoch, text, helping, human_until)| { Output::Ask(Ask { epoch, text, helping, human_until }) }
        ),
        Just(Output::Follow { thread: thread_id() }),
        Just(Output::Unfollow { thread: thread_id() }),
        any::<i64>().prop_map(|at| Output::Timer { at }),
        (any::<[u64; 2]>(), any::<bool>(), ".*").prop_map(|([from, through], again, reason)| Output::Call(
            Call::Open {
                thread: thread_id(),
                session: domain::SessionId(uuid("s", &[])),
                reason,
                from,
                through,
                again
            }
        )),
        any::<[u64; 2]>().prop_map(|[from, through]| Output::Call(Call::Forward {
            thread: thread_id(),
            from,
            through
        })),
        ".*".prop_map(|text| Output::Call(Call::Note { thread: thread_id(), text })),
        Just(Output::Call(Call::EndSession { thread: thread_id() })),
    ]
}

prop_compose! {
    fn state()(owner in owner(), names in any::<[Option<String>; 4]>(), epoch: u32, wrote: i64,
               session in prop::option::of(any::<(i64, u64, u32, Option<i64>, u64)>()), created: bool) -> Conversation {
        let [phone, bsuid, name, ended_session] = names;
        Conversation {
            customer: Customer { phone, bsuid, name, ..Customer::default() },
            contact: session.map(|_| domain::ContactId(uuid("c", &[]))),
            session: session.map(|(opened_at, first, handoffs, human_until, shown_through)| Session {
                id: domain::SessionId(uuid("session", &[])), opened_at, first, handoffs, human_until, shown_through,
            }),
            epoch,
            customer_wrote_at: wrote,
            thread_created: created,
            ended_session,
            owner,
            ..Conversation::new(PhoneNumberId::new("1"))
        }
    }
}

proptest! {
    #[test]
    fn decisions(state in state(), outputs in prop::collection::vec(output(), 0..8), answers: u64, policy_version: u64) {
        let stored = StoredDecision { answers, policy_version, decision: Decision { state, outputs } };
        prop_assert_eq!(StoredDecision::decode(stored.encode()).unwrap(), stored);
    }

    #[test]
    fn messages(text in ".*", kind in ".*", words in any::<Option<String>>(), which in 0..3) {
        let content = match which {
            0 => Content::Text(text),
            1 => Content::Other { kind, text: words },
            _ => Content::Notice { kind },
        };
        let message = InboundMessage {
            number: PhoneNumberId::new("1"), wamid: Wamid::new("w"), sent_at: 1, customer: Customer::default(), content,
        };
        let entry = v1::WhatsAppMessage::new(&message, &domain::WabaId::new("2"), "{}");
        let payload = proto::encode(v1::entry::Body::WhatsappMessage(entry));
        prop_assert_eq!(proto::convert::fact(proto::decode(payload).unwrap()).unwrap(), Some(Fact::Inbound(message)));
    }

    /// Whatever bytes stand in the log, reading them is an error at worst.
    #[test]
    fn garbage(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(body) = proto::decode(bytes.into()) {
            let _ = proto::convert::fact(body);
        }
    }
}

#[test]
fn a_key_reads_as_it_is_written() {
    let key = ConversationKey::from_bytes([9; 16]);
    assert_eq!(key.to_string().parse::<ConversationKey>().unwrap(), key);
}
