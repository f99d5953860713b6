//! The state of a conversation.

use domain::{
    PhoneNumberId, Wamid,
    session::{Brief, Conversation, Held, Opening, Owner, Parked, Session, Stage, Thread, Unanswered},
};

use super::{
    Malformed, cause,
    outreach::{campaign, stored_campaign},
    thread,
};
use crate::v1::{self, opening, state};

impl From<&Conversation> for v1::State {
    fn from(conversation: &Conversation) -> Self {
        Self {
            phone_number_id: conversation.number.as_str().to_owned(),
            customer: Some((&conversation.customer).into()),
            contact: conversation.contact.map(|contact| contact.to_string()),
            session: conversation.session.as_ref().map(|session| v1::Session {
                id: session.id.to_string(),
                opened_at: session.opened_at,
                first: session.first,
                handoffs: session.handoffs,
                human_until: session.human_until,
                shown_through: session.shown_through,
            }),
            epoch: conversation.epoch,
            customer_wrote_at: conversation.customer_wrote_at,
            thread_created: conversation.thread_created,
            ended_session: conversation.ended_session.clone(),
            last_wamid: conversation.last_wamid.as_ref().map(|wamid| wamid.as_str().to_owned()),
            group: conversation.group.clone(),
            thread: conversation.thread.map(|thread| thread.to_string()),
            parked: conversation.parked.as_ref().map(Into::into),
            quiet_until: conversation.quiet_until,
            elsewhere: conversation.elsewhere,
            no_marketing: conversation.no_marketing,
            outreaches: conversation.outreaches.iter().map(Into::into).collect(),
            outreach_answered: conversation.outreach_answered,
            unanswered: conversation.unanswered.as_ref().map(Into::into),
            language: conversation.language.clone(),
            owner: Some(match &conversation.owner {
                Owner::Assistant => state::Owner::Assistant(state::Assistant {}),
                Owner::Opening(opening) => state::Owner::Opening(opening.into()),
                Owner::Waiting(thread) => state::Owner::Waiting(thread.into()),
                Owner::Live(thread) => state::Owner::Live(thread.into()),
                Owner::Inactive(thread) => state::Owner::Inactive(thread.into()),
            }),
        }
    }
}

impl TryFrom<v1::State> for Conversation {
    type Error = Malformed;
    fn try_from(state: v1::State) -> Result<Self, Malformed> {
        Ok(Self {
            number: PhoneNumberId::new(state.phone_number_id),
            customer: state.customer.unwrap_or_default().into(),
            contact: state.contact.map(|id| id.parse()).transpose().map_err(|_| Malformed("contact"))?,
            session: match state.session {
                None => None,
                Some(session) => Some(Session {
                    id: session.id.parse().map_err(|_| Malformed("session.id"))?,
                    opened_at: session.opened_at,
                    first: session.first,
                    handoffs: session.handoffs,
                    human_until: session.human_until,
                    shown_through: session.shown_through,
                }),
            },
            epoch: state.epoch,
            customer_wrote_at: state.customer_wrote_at,
            thread_created: state.thread_created,
            ended_session: state.ended_session,
            last_wamid: state.last_wamid.map(Wamid::new),
            group: state.group,
            thread: state.thread.as_deref().map(thread).transpose()?,
            parked: state.parked.map(TryInto::try_into).transpose()?,
            quiet_until: state.quiet_until,
            elsewhere: state.elsewhere,
            no_marketing: state.no_marketing,
            outreaches: state.outreaches.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            outreach_answered: state.outreach_answered,
            unanswered: state.unanswered.map(TryInto::try_into).transpose()?,
            language: state.language,
            owner: match state.owner.ok_or(Malformed("owner"))? {
                state::Owner::Assistant(_) => Owner::Assistant,
                state::Owner::Opening(opening) => Owner::Opening(opening.try_into()?),
                state::Owner::Waiting(thread) => Owner::Waiting(thread.try_into()?),
                state::Owner::Live(thread) => Owner::Live(thread.try_into()?),
                state::Owner::Inactive(thread) => Owner::Inactive(thread.try_into()?),
            },
        })
    }
}

impl From<&Opening> for v1::Opening {
    fn from(opening: &Opening) -> Self {
        Self {
            thread: opening.thread.to_string(),
            follow: opening.follow.to_string(),
            reason: opening.brief.reason.clone(),
            summary: opening.brief.summary.clone(),
            language: opening.brief.language.clone(),
            priority: opening.brief.priority.clone(),
            sentiment: opening.brief.sentiment.clone(),
            campaign: opening.brief.campaign.as_ref().map(stored_campaign),
            stage: Some(match opening.stage {
                Stage::Following => opening::Stage::Following(opening::Following {}),
                Stage::Creating { call } => opening::Stage::Creating(call.to_string()),
                Stage::Resting { timer } => opening::Stage::Resting(timer.to_string()),
            }),
            failures: opening.failures,
            transcript_through: opening.transcript_through,
            held_from: opening.held.map_or(0, |held| held.from),
            held_through: opening.held.map_or(0, |held| held.through),
            told: opening.told,
            patience: opening.patience.to_string(),
            rep_present: opening.rep_present,
            ended: opening.ended,
            note_only: opening.note_only,
        }
    }
}

impl TryFrom<v1::Opening> for Opening {
    type Error = Malformed;
    fn try_from(opening: v1::Opening) -> Result<Self, Malformed> {
        Ok(Self {
            thread: thread(&opening.thread)?,
            follow: cause(&opening.follow, "opening.follow")?,
            brief: Brief {
                reason: opening.reason,
                summary: opening.summary,
                language: opening.language,
                priority: opening.priority,
                sentiment: opening.sentiment,
                campaign: opening.campaign.map(campaign),
            },
            stage: match opening.stage.ok_or(Malformed("opening.stage"))? {
                opening::Stage::Following(_) => Stage::Following,
                opening::Stage::Creating(call) => Stage::Creating { call: cause(&call, "opening.creating")? },
                opening::Stage::Resting(timer) => Stage::Resting { timer: cause(&timer, "opening.resting")? },
            },
            failures: opening.failures,
            transcript_through: opening.transcript_through,
            // Log positions start at 1.
            held: (opening.held_from > 0)
                .then_some(Held { from: opening.held_from, through: opening.held_through }),
            told: opening.told,
            patience: cause(&opening.patience, "opening.patience")?,
            rep_present: opening.rep_present,
            ended: opening.ended,
            note_only: opening.note_only,
        })
    }
}

impl From<&Thread> for v1::Thread {
    fn from(thread: &Thread) -> Self {
        Self {
            id: thread.id.to_string(),
            follow: thread.follow.to_string(),
            status_at: thread.status_at,
            told_nobody: thread.told_nobody,
            told_place_at: thread.told_place_at,
            paid_until: thread.paid_until,
            held_from: thread.held.map_or(0, |held| held.from),
            held_through: thread.held.map_or(0, |held| held.through),
            flush: thread.flush.map(|timer| timer.to_string()),
        }
    }
}

impl TryFrom<v1::Thread> for Thread {
    type Error = Malformed;
    fn try_from(state: v1::Thread) -> Result<Self, Malformed> {
        Ok(Self {
            id: thread(&state.id)?,
            follow: cause(&state.follow, "thread.follow")?,
            status_at: state.status_at,
            told_nobody: state.told_nobody,
            told_place_at: state.told_place_at,
            paid_until: state.paid_until,
            held: (state.held_from > 0)
                .then_some(Held { from: state.held_from, through: state.held_through }),
            flush: state.flush.map(|timer| cause(&timer, "thread.flush")).transpose()?,
        })
    }
}

impl From<&Parked> for v1::Parked {
    fn from(Parked { messages, expiry, rescue }: &Parked) -> Self {
        Self {
            messages: messages.iter().map(Into::into).collect(),
            expiry: expiry.to_string(),
            rescue: rescue.map(|send| send.to_string()),
        }
    }
}

impl TryFrom<v1::Parked> for Parked {
    type Error = Malformed;
    fn try_from(parked: v1::Parked) -> Result<Self, Malformed> {
        Ok(Self {
            messages: parked.messages.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            expiry: cause(&parked.expiry, "parked.expiry")?,
            rescue: parked
                .rescue
                .map(|send| send.parse())
                .transpose()
                .map_err(|_| Malformed("parked.rescue"))?,
        })
    }
}

impl From<&Unanswered> for v1::Unanswered {
    fn from(Unanswered { text, since, timer, epoch }: &Unanswered) -> Self {
        Self { text: text.clone(), since: *since, timer: timer.map(|timer| timer.to_string()), epoch: *epoch }
    }
}

impl TryFrom<v1::Unanswered> for Unanswered {
    type Error = Malformed;
    fn try_from(waiting: v1::Unanswered) -> Result<Self, Malformed> {
        Ok(Self {
            text: waiting.text,
            since: waiting.since,
            timer: waiting.timer.map(|timer| cause(&timer, "unanswered.timer")).transpose()?,
            epoch: waiting.epoch,
        })
    }
}
