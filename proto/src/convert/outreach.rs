//! What a business sends on its own.

use domain::{
    PhoneNumberId,
    message::Outgoing,
    outreach::{Destination, Keyword, Mark, Outreach, ReplyRule, Sent},
    session::Campaign,
};

use super::Malformed;
use crate::v1::{self, outgoing, outreach, outreach_sent};

impl From<Mark> for v1::CampaignMark {
    fn from(Mark { campaign, row }: Mark) -> Self {
        Self { campaign: campaign.to_string(), row }
    }
}

impl TryFrom<v1::CampaignMark> for Mark {
    type Error = Malformed;
    fn try_from(mark: v1::CampaignMark) -> Result<Self, Malformed> {
        Ok(Self { campaign: mark.campaign.parse().map_err(|_| Malformed("mark.campaign"))?, row: mark.row })
    }
}

pub(super) fn stored_campaign(Campaign { name, text }: &Campaign) -> v1::Campaign {
    v1::Campaign { name: name.clone(), text: text.clone() }
}

pub(super) fn campaign(v1::Campaign { name, text }: v1::Campaign) -> Campaign {
    Campaign { name, text }
}

impl From<&Outreach> for v1::Outreach {
    fn from(outreach: &Outreach) -> Self {
        let Outreach { number, customer, template, marketing, not_after, mark, name, reply, answered_within } =
            outreach;
        let template = match v1::Outgoing::from(&Outgoing::Template(template.clone())).body {
            Some(outgoing::Body::Template(template)) => Some(template),
            Some(
                outgoing::Body::Text(_)
                | outgoing::Body::Attachment(_)
                | outgoing::Body::Location(_)
                | outgoing::Body::Contacts(_)
                | outgoing::Body::Buttons(_)
                | outgoing::Body::List(_)
                | outgoing::Body::Link(_)
                | outgoing::Body::Reaction(_),
            )
            | None => None,
        };
        Self {
            phone_number_id: number.as_str().to_owned(),
            customer: Some(customer.into()),
            template,
            marketing: *marketing,
            not_after: *not_after,
            mark: mark.map(Into::into),
            name: name.clone(),
            reply: match reply {
                ReplyRule::Rep => None,
                ReplyRule::Assistant => Some(outreach::Reply::Assistant(outreach::ToAssistant {})),
                ReplyRule::Keywords(rules) => Some(outreach::Reply::Keywords(stored_keywords(rules))),
            },
            answered_within: *answered_within,
        }
    }
}

impl TryFrom<v1::Outreach> for Outreach {
    type Error = Malformed;
    fn try_from(outreach: v1::Outreach) -> Result<Self, Malformed> {
        let template = outreach.template.ok_or(Malformed("outreach.template"))?;
        let body = v1::Outgoing { body: Some(outgoing::Body::Template(template)) };
        let Outgoing::Template(template) = body.try_into()? else {
            return Err(Malformed("outreach.template"));
        };
        Ok(Self {
            number: PhoneNumberId::new(outreach.phone_number_id),
            customer: outreach.customer.ok_or(Malformed("outreach.customer"))?.into(),
            template,
            marketing: outreach.marketing,
            not_after: outreach.not_after,
            mark: outreach.mark.map(Mark::try_from).transpose()?,
            name: outreach.name,
            reply: match outreach.reply {
                None => ReplyRule::Rep,
                Some(outreach::Reply::Assistant(_)) => ReplyRule::Assistant,
                Some(outreach::Reply::Keywords(rules)) => ReplyRule::Keywords(keywords(rules)?),
            },
            answered_within: outreach.answered_within,
        })
    }
}

impl From<&Sent> for v1::OutreachSent {
    fn from(Sent { send, at, until, mark, name, text, reply }: &Sent) -> Self {
        Self {
            send: send.to_string(),
            at: *at,
            until: *until,
            mark: mark.map(Into::into),
            name: name.clone(),
            text: text.clone(),
            reply: match reply {
                ReplyRule::Rep => None,
                ReplyRule::Assistant => Some(outreach_sent::Reply::Assistant(outreach::ToAssistant {})),
                ReplyRule::Keywords(rules) => Some(outreach_sent::Reply::Keywords(stored_keywords(rules))),
            },
        }
    }
}

impl TryFrom<v1::OutreachSent> for Sent {
    type Error = Malformed;
    fn try_from(sent: v1::OutreachSent) -> Result<Self, Malformed> {
        Ok(Self {
            send: sent.send.parse().map_err(|_| Malformed("outreaches.send"))?,
            at: sent.at,
            until: sent.until,
            mark: sent.mark.map(Mark::try_from).transpose()?,
            name: sent.name,
            text: sent.text,
            reply: match sent.reply {
                None => ReplyRule::Rep,
                Some(outreach_sent::Reply::Assistant(_)) => ReplyRule::Assistant,
                Some(outreach_sent::Reply::Keywords(rules)) => ReplyRule::Keywords(keywords(rules)?),
            },
        })
    }
}

fn stored_keywords(rules: &[Keyword]) -> outreach::Keywords {
    let rule = |Keyword { words, to }: &Keyword| outreach::Keyword {
        words: words.clone(),
        to: match to {
            Destination::Rep => outreach::Destination::Rep,
            Destination::Assistant => outreach::Destination::Assistant,
            Destination::OptOut => outreach::Destination::OptOut,
        }
        .into(),
    };
    outreach::Keywords { rules: rules.iter().map(rule).collect() }
}

fn keywords(rules: outreach::Keywords) -> Result<Vec<Keyword>, Malformed> {
    let rule = |rule: outreach::Keyword| {
        Ok(Keyword {
            to: match rule.to() {
                outreach::Destination::Unspecified => return Err(Malformed("keywords.to")),
                outreach::Destination::Rep => Destination::Rep,
                outreach::Destination::Assistant => Destination::Assistant,
                outreach::Destination::OptOut => Destination::OptOut,
            },
            words: rule.words,
        })
    };
    rules.rules.into_iter().map(rule).collect()
}
