//! Somebody wants a person while the team is away.

use super::{Brief, Call, Origin, Owner, decide::Turn};
use crate::settings::{AfterHours, Presence, Texts, in_words, primary};

impl Turn<'_> {
    /// The customer is to have a person: now, or as the channel says while its team is away.
    pub(super) fn want_a_person(&mut self, brief: Brief) {
        let policy = self.context.policy;
        let away = policy.hours.as_ref().map(|hours| hours.at(self.at.time));
        let Some(Presence::Away { now, back }) = away else { return self.hand_off(brief) };
        let language = brief.language.clone().or_else(|| self.state.language.clone());
        self.state.language.clone_from(&language);
        // Without an assistant nobody else would be there.
        let alone = !self.context.assistant_on;
        let what = if alone { AfterHours::KeepWaiting } else { policy.after_hours };
        let spoken = language.as_deref().unwrap_or(&policy.language);
        let when = back.map(|back| in_words(&now, &back, Some(&primary(spoken))));
        let text = said(policy.texts_in(language.as_deref()), what, when.as_deref());
        let brief = Brief { reason: format!("{} (while the team was away)", brief.reason), ..brief };
        match what {
            AfterHours::KeepWaiting => self.open_thread(brief, text, false),
            AfterHours::LeaveNote => self.open_thread(brief, text, true),
            AfterHours::Message => self.send_text(Origin::Notice, text),
        }
    }

    /// The note is in Salesforce: the messaging session ends, the assistant goes on. Without a word: the
    /// customer was told before.
    pub(super) fn note_is_left(&mut self) {
        let Owner::Waiting(thread) = &self.state.owner else { return };
        let thread = thread.id;
        let human_until = self.state.session.as_ref().and_then(|session| session.human_until);
        self.call(Call::EndSession { thread });
        self.assistant_is_back();
        // Nobody was there who could have given it back.
        if let Some(session) = &mut self.state.session {
            session.human_until = human_until;
        }
    }
}

fn said(texts: &Texts, what: AfterHours, back: Option<&str>) -> String {
    let (known, unknown) = match what {
        AfterHours::KeepWaiting => (&texts.after_hours_waiting, &texts.nobody_available),
        AfterHours::Message => (&texts.after_hours, &texts.nobody_goodbye),
        AfterHours::LeaveNote => (&texts.after_hours_note, &texts.nobody_goodbye),
    };
    back.map_or_else(|| unknown.clone(), |back| known.replace("{back}", back))
}
