//! What a decision says survives the log.

use domain::{
    Cause, ConversationKey, PhoneNumberId, ThreadId, Wamid,
    derive::uuid,
    message::{
        Attachment, Buttons, Choice, ChoiceKind, ContactCard, Content, Customer, File, Form, Forwarded,
        Header, IdentityChange, InboundMessage, LinkButton, List, Location, Media, MediaKind, MessageContext,
        Order, OrderItem, Outgoing, Parameter, Referral, Section, Tap, Template, TemplateButton,
    },
    outreach::{CampaignId, Destination, Keyword, Mark, Outreach, ReplyRule, Sent},
    session::{
        Ask, Brief, Call, Campaign, ControlAction, Conversation, Decision, Fact, Held, Opening, Origin,
        Output, Owner, Parked, ParkedMessage, Replied, Send, Session, Stage, Thread, Unanswered, Withholding,
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
    let held = prop::option::of((1u64.., any::<u64>()).prop_map(|(from, through)| Held { from, through }));
    (cause(), any::<[i64; 3]>(), any::<bool>(), held, prop::option::of(cause())).prop_map(
        |(follow, [status_at, told_place_at, paid_until], told_nobody, held, flush)| Thread {
            id: thread_id(),
            follow,
            status_at,
            told_nobody,
            told_place_at,
            paid_until,
            held,
            flush,
        },
    )
}

fn owner() -> impl Strategy<Value = Owner> {
    let stage = prop_oneof![
        Just(Stage::Following),
        cause().prop_map(|call| Stage::Creating { call }),
        cause().prop_map(|timer| Stage::Resting { timer }),
    ];
    let held = prop::option::of((1u64.., any::<u64>()).prop_map(|(from, through)| Held { from, through }));
    let opening = (cause(), brief(), stage, any::<u32>(), any::<u64>(), held, cause(), any::<[bool; 4]>())
        .prop_map(
            |(
                follow,
                brief,
                stage,
                failures,
                transcript_through,
                held,
                patience,
                [told, rep_present, ended, note_only],
            )| {
                Owner::Opening(Opening {
                    thread: thread_id(),
                    follow,
                    brief,
                    stage,
                    failures,
                    transcript_through,
                    held,
                    told,
                    patience,
                    rep_present,
                    ended,
                    note_only,
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

fn brief() -> impl Strategy<Value = Brief> {
    (".*", any::<[Option<String>; 4]>(), any::<Option<[String; 2]>>()).prop_map(
        |(reason, [summary, language, priority, sentiment], campaign)| {
            let campaign = campaign.map(|[name, text]| Campaign { name, text });
            Brief { reason, summary, language, priority, sentiment, campaign }
        },
    )
}

fn mark() -> impl Strategy<Value = Option<Mark>> {
    any::<Option<u32>>()
        .prop_map(|row| row.map(|row| Mark { campaign: CampaignId(uuid("campaign", &[])), row }))
}

fn reply_rule() -> impl Strategy<Value = ReplyRule> {
    let to = prop::sample::select(vec![Destination::Rep, Destination::Assistant, Destination::OptOut]);
    let keyword = (any::<Vec<String>>(), to).prop_map(|(words, to)| Keyword { words, to });
    prop_oneof![
        Just(ReplyRule::Rep),
        Just(ReplyRule::Assistant),
        prop::collection::vec(keyword, 0..4).prop_map(ReplyRule::Keywords),
    ]
}

prop_compose! {
    fn sent()(at: i64, until: i64, mark in mark(), [name, text] in any::<[String; 2]>(), reply in reply_rule()) -> Sent {
        Sent { send: domain::SendId(uuid("send", &[])), at, until, mark, name, text, reply }
    }
}

proptest! {
    #[test]
    fn an_outreach_survives_the_log(
        mark in mark(), reply in reply_rule(), [name, phone, preview] in any::<[String; 3]>(), marketing: bool,
        [not_after, answered_within] in any::<[i64; 2]>(),
    ) {
        let outreach = Outreach {
            number: PhoneNumberId::new("1"),
            customer: Customer { phone: Some(phone), ..Customer::default() },
            template: Template { name: "offer".into(), language: "de".into(), preview: Some(preview), ..Template::default() },
            marketing, not_after, mark, name, reply, answered_within,
        };
        let body = v1::entry::Body::Outreach((&outreach).into());
        let read = proto::convert::fact(proto::decode(proto::encode(body)).unwrap()).unwrap();
        prop_assert_eq!(read, Some(Fact::Outreach(Box::new(outreach))));
    }
}

fn attachment() -> impl Strategy<Value = Attachment> {
    let file = prop_oneof![
        ".*".prop_map(|object| File::Stored { object }),
        ".*".prop_map(|url| File::Salesforce { url }),
    ];
    let kind = prop::option::of(kind());
    (file, kind, any::<[String; 2]>(), any::<Option<String>>())
        .prop_map(|(file, kind, [name, mime], caption)| Attachment { file, kind, name, mime, caption })
}

fn kind() -> impl Strategy<Value = MediaKind> {
    use MediaKind::{Audio, Document, Image, Sticker, Video, Voice};
    prop::sample::select(vec![Image, Video, Audio, Voice, Document, Sticker])
}

fn location() -> impl Strategy<Value = Location> {
    any::<([String; 2], [Option<String>; 2])>()
        .prop_map(|([latitude, longitude], [name, address])| Location { latitude, longitude, name, address })
}

fn card() -> impl Strategy<Value = ContactCard> {
    any::<(String, [Vec<String>; 2], Option<String>, bool)>().prop_map(
        |(name, [phones, emails], organization, own)| ContactCard { name, phones, emails, organization, own },
    )
}

fn tap() -> impl Strategy<Value = Tap> {
    any::<([String; 2], Option<String>)>().prop_map(|([id, title], description)| Tap {
        id,
        title,
        description,
    })
}

fn header() -> impl Strategy<Value = Header> {
    prop_oneof![".*".prop_map(Header::Text), attachment().prop_map(Header::Attachment)]
}

fn outgoing() -> impl Strategy<Value = Outgoing> {
    let taps = || prop::collection::vec(tap(), 0..3);
    let sections = prop::collection::vec(
        (any::<Option<String>>(), taps()).prop_map(|(title, rows)| Section { title, rows }),
        0..3,
    );
    let parameters = prop::collection::vec(
        any::<(Option<String>, String)>().prop_map(|(name, text)| Parameter { name, text }),
        0..3,
    );
    let buttons = prop::collection::vec(
        prop_oneof![
            any::<(u32, String)>().prop_map(|(index, payload)| TemplateButton::QuickReply { index, payload }),
            any::<(u32, String)>().prop_map(|(index, text)| TemplateButton::Url { index, text }),
        ],
        0..3,
    );
    prop_oneof![
        ".*".prop_map(Outgoing::Text),
        attachment().prop_map(Outgoing::Attachment),
        location().prop_map(Outgoing::Location),
        prop::collection::vec(card(), 0..3).prop_map(Outgoing::Contacts),
        (prop::option::of(header()), ".*", any::<Option<String>>(), taps()).prop_map(
            |(header, body, footer, options)| Outgoing::Buttons(Buttons { header, body, footer, options })
        ),
        (any::<[Option<String>; 2]>(), any::<[String; 2]>(), sections).prop_map(
            |([header, footer], [body, button], sections)| Outgoing::List(List {
                header,
                body,
                footer,
                button,
                sections
            })
        ),
        any::<[String; 3]>().prop_map(|[body, label, url]| Outgoing::Link(LinkButton { body, label, url })),
        any::<[String; 2]>().prop_map(|[to, emoji]| Outgoing::Reaction { to: Wamid::new(to), emoji }),
        (any::<[String; 2]>(), prop::option::of(header()), parameters, buttons, any::<Option<String>>())
            .prop_map(|([name, language], header, body, buttons, preview)| Outgoing::Template(Template {
                name,
                language,
                header,
                body,
                buttons,
                preview
            })),
    ]
}

fn origin() -> impl Strategy<Value = Origin> {
    prop::sample::select(vec![Origin::Assistant, Origin::Rep, Origin::Bot, Origin::Notice, Origin::Campaign])
}

fn parked_message() -> impl Strategy<Value = ParkedMessage> {
    (outgoing(), any::<Option<String>>(), origin()).prop_map(|(body, quotes, origin)| ParkedMessage {
        body,
        quotes: quotes.map(Wamid::new),
        origin,
    })
}

fn parked() -> impl Strategy<Value = Parked> {
    (prop::collection::vec(parked_message(), 1..3), cause(), any::<bool>()).prop_map(
        |(messages, expiry, rescue)| Parked {
            messages,
            expiry,
            rescue: rescue.then(|| domain::SendId(uuid("rescue", &[]))),
        },
    )
}

fn media() -> impl Strategy<Value = Media> {
    (kind(), any::<[String; 2]>(), any::<[Option<String>; 3]>()).prop_map(
        |(kind, [id, mime], [sha256, file_name, caption])| Media {
            kind,
            id,
            mime,
            sha256,
            file_name,
            caption,
        },
    )
}

fn customer() -> impl Strategy<Value = Customer> {
    any::<[Option<String>; 5]>().prop_map(|[phone, bsuid, parent_bsuid, name, username]| Customer {
        phone,
        bsuid,
        parent_bsuid,
        name,
        username,
    })
}

fn content() -> impl Strategy<Value = Content> {
    use ChoiceKind::{Button, Row, Template};
    let choice = (prop::sample::select(vec![Button, Row, Template]), any::<[String; 2]>())
        .prop_map(|(kind, [id, title])| Choice { kind, id, title });
    let item = any::<[String; 4]>().prop_map(|[product, quantity, price, currency]| OrderItem {
        product,
        quantity,
        price,
        currency,
    });
    let order = (any::<(String, Option<String>)>(), prop::collection::vec(item, 0..3))
        .prop_map(|((catalog, text), items)| Order { catalog, text, items });
    let plain = prop_oneof![
        ".*".prop_map(Content::Text),
        media().prop_map(Content::Media),
        location().prop_map(Content::Location),
        prop::collection::vec(card(), 0..3).prop_map(Content::Contacts),
        choice.prop_map(Content::Choice),
        any::<(String, Option<String>, String)>().prop_map(|(name, body, answers)| Content::Form(Form {
            name,
            body,
            answers
        })),
        order.prop_map(Content::Order),
        any::<(String, Option<String>)>()
            .prop_map(|(to, emoji)| Content::Reaction { to: Wamid::new(to), emoji }),
        any::<[String; 2]>()
            .prop_map(|[message, text]| Content::Edited { message: Wamid::new(message), text }),
        ".*".prop_map(|message| Content::Revoked { message: Wamid::new(message) }),
        any::<(Option<String>, i32)>().prop_map(|(kind, code)| Content::Unsupported { kind, code }),
        any::<(String, Option<String>)>().prop_map(|(kind, text)| Content::Other { kind, text }),
        (customer(), customer())
            .prop_map(|(before, after)| Content::Identity(IdentityChange { before, after })),
        any::<[Option<String>; 2]>().prop_map(|[reason, summary]| Content::ControlPassed { reason, summary }),
        Just(Content::ControlTaken),
        any::<bool>().prop_map(|wanted| Content::MarketingConsent { wanted }),
        ".*".prop_map(|kind| Content::Notice { kind }),
    ];
    (plain, 0..8).prop_map(|(content, wrap)| match wrap {
        0 => Content::Echo(Box::new(content)),
        1 => Content::Standby(Box::new(content)),
        2 => Content::OtherResponder(Box::new(content)),
        _ => content,
    })
}

prop_compose! {
    fn context()(texts in any::<[Option<String>; 8]>(),
                 forwarded in prop::sample::select(vec![Forwarded::No, Forwarded::Yes, Forwarded::Often])) -> MessageContext {
        let [quotes, product, group, headline, body, source_url, source_id, click] = texts;
        let referral = click.is_some().then_some(Referral { headline, body, source_url, source_id, click });
        MessageContext { quotes: quotes.map(Wamid::new), forwarded, referral, product, group }
    }
}

fn output() -> impl Strategy<Value = Output> {
    prop_oneof![
        (outgoing(), origin(), any::<Option<String>>(), mark(), any::<i64>()).prop_map(
            |(body, origin, quotes, mark, not_after)| {
                let (id, quotes) = (domain::SendId(uuid("send", &[])), quotes.map(Wamid::new));
                Output::Send(Send { id, body, quotes, origin, mark, not_after })
            }
        ),
        (mark(), prop::sample::select(vec![Withholding::OptedOut, Withholding::TooLate]))
            .prop_map(|(mark, why)| Output::Withheld { mark, why }),
        (mark(), any::<[String; 2]>(), any::<bool>()).prop_map(|(mark, [name, text], opted_out)| {
            Output::Replied(Replied { mark, name, text, opted_out })
        }),
        any::<bool>().prop_map(|wanted| Output::Consent { wanted }),
        any::<(String, bool)>().prop_map(|(wamid, typing)| Output::Seen { wamid: Wamid::new(wamid), typing }),
        prop::sample::select(vec![ControlAction::Take, ControlAction::Release]).prop_map(Output::Control),
        state().prop_map(|state| Output::Move(Box::new(state))),
        (any::<u32>(), ".*", any::<bool>(), any::<Option<i64>>()).prop_map(
            |(epoch, text, helping, human_until)| { Output::Ask(Ask { epoch, text, helping, human_until }) }
        ),
        Just(Output::Follow { thread: thread_id() }),
        Just(Output::Unfollow { thread: thread_id() }),
        any::<i64>().prop_map(|at| Output::Timer { at }),
        (any::<[u64; 2]>(), any::<bool>(), brief()).prop_map(|([from, through], again, brief)| Output::Call(
            Call::Open {
                thread: thread_id(),
                session: domain::SessionId(uuid("s", &[])),
                brief,
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
    fn unanswered()(text: String, since: i64, epoch: u32, timer in prop::option::of(cause())) -> Unanswered {
        Unanswered { text, since, timer, epoch }
    }
}

prop_compose! {
    fn state()(owner in owner(), outreaches in prop::collection::vec(sent(), 0..4), names in any::<[Option<String>; 4]>(), epoch: u32, [wrote, quiet_until] in any::<[i64; 2]>(),
               texts in any::<[Option<String>; 3]>(), unanswered in prop::option::of(unanswered()), parked in prop::option::of(parked()), flags in any::<[bool; 3]>(),
               session in prop::option::of(any::<(i64, u64, u32, Option<i64>, u64)>()), created: bool) -> Conversation {
        let [phone, bsuid, name, ended_session] = names;
        let [last_wamid, group, language] = texts;
        let [elsewhere, no_marketing, asked] = flags;
        Conversation {
            customer: Customer { phone, bsuid, name, ..Customer::default() },
            contact: session.map(|_| domain::ContactId(uuid("c", &[]))),
            session: session.map(|(opened_at, first, handoffs, human_until, shown_through)| Session {
                id: domain::SessionId(uuid("session", &[])), opened_at, first, handoffs, human_until, shown_through,
            }),
            epoch,
            customer_wrote_at: wrote,
            last_wamid: last_wamid.map(Wamid::new),
            group,
            thread: asked.then(thread_id),
            parked,
            quiet_until,
            elsewhere,
            no_marketing,
            outreach_answered: quiet_until / 2,
            outreaches,
            unanswered,
            language,
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
    fn messages(content in content(), context in context(), customer in customer()) {
        let message = InboundMessage {
            number: PhoneNumberId::new("1"), wamid: Wamid::new("w"), sent_at: 1, customer, content, context,
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
