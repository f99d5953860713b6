//! What the log says about a campaign's recipients.

use domain::outreach::CampaignId;
use proto::v1::{self, entry::Body};

use crate::progress::{Event, Mark, cause};

/// Meta's code for a recipient who wants no marketing messages.
const OPTED_OUT: i32 = 131_050;
/// Anything but a template outside the customer service window.
const WINDOW_CLOSED: i32 = 131_047;

/// In the send ledger in place of Meta's code (`services/egress`): WhatsApp takes no such file …
const UNFIT_FILE: i32 = -1;
/// … or its time had passed.
const TOO_LATE: i32 = -2;

/// Subjects of everything that [`of`] understands.
pub const SUBJECTS: [&str; 5] = [
    "conv.*.*.dec",
    "conv.*.*.st.>",
    "conv.*.*.snd.>",
    "conv.*.*.und.*",
    "account.*.message_template_status_update.*",
];

/// What an entry says, by campaign. Most entries say nothing.
pub fn of(body: &Body) -> Vec<(CampaignId, Event)> {
    match body {
        Body::Decision(decision) => decision.outputs.iter().filter_map(output).flatten().collect(),
        Body::SendOutcome(outcome) => outcome_of(outcome),
        Body::Undelivered(undelivered) => {
            let code = match &undelivered.reason {
                Some(v1::undelivered::Reason::Refused(refused)) => refused.code,
                Some(v1::undelivered::Reason::WindowClosed(_)) => WINDOW_CLOSED,
                Some(v1::undelivered::Reason::File(_)) => cause::FILE,
                Some(v1::undelivered::Reason::Unknown(_)) | None => cause::UNKNOWN,
            };
            failed(undelivered.mark.as_ref(), code)
        }
        Body::WhatsappStatus(status) => status_of(status),
        Body::WhatsappMessage(_)
        | Body::AssistantAnswer(_)
        | Body::ThreadFollowed(_)
        | Body::CallResult(_)
        | Body::SalesforceEvent(_)
        | Body::TimerFired(_)
        | Body::OperatorCommand(_)
        | Body::SendIntent(_)
        | Body::AccountEvent(_)
        | Body::MediaFetched(_)
        | Body::Adopted(_)
        | Body::Outreach(_)
        | Body::Consent(_) => Vec::new(),
    }
}

fn event(mark: Option<&v1::CampaignMark>, kind: Mark, code: i32) -> Option<(CampaignId, Event)> {
    let mark = mark?;
    Some((mark.campaign.parse().ok()?, Event { row: mark.row, mark: kind, code }))
}

fn failed(mark: Option<&v1::CampaignMark>, code: i32) -> Vec<(CampaignId, Event)> {
    let opted_out = (code == OPTED_OUT).then(|| event(mark, Mark::OptedOut, 0)).flatten();
    event(mark, Mark::Failed, code).into_iter().chain(opted_out).collect()
}

fn output(output: &v1::Output) -> Option<Vec<(CampaignId, Event)>> {
    match output.output.as_ref()? {
        v1::output::Output::Withheld(withheld) => {
            let mark = withheld.mark.as_ref();
            let (code, opted_out) = match withheld.why() {
                v1::withheld::Why::OptedOut => (cause::OPTED_OUT, event(mark, Mark::OptedOut, 0)),
                v1::withheld::Why::TooLate => (cause::TOO_LATE, None),
                v1::withheld::Why::Unspecified => (cause::UNKNOWN, None),
            };
            Some(event(mark, Mark::Withheld, code).into_iter().chain(opted_out).collect())
        }
        v1::output::Output::Replied(replied) => {
            let mark = replied.mark.as_ref();
            let opted_out = replied.opted_out.then(|| event(mark, Mark::OptedOut, 0)).flatten();
            Some(event(mark, Mark::Replied, 0).into_iter().chain(opted_out).collect())
        }
        v1::output::Output::Send(_)
        | v1::output::Output::Ask(_)
        | v1::output::Output::Follow(_)
        | v1::output::Output::Unfollow(_)
        | v1::output::Output::Call(_)
        | v1::output::Output::Timer(_)
        | v1::output::Output::Seen(_)
        | v1::output::Output::Control(_)
        | v1::output::Output::Move(_)
        | v1::output::Output::WantsMarketing(_) => None,
    }
}

fn outcome_of(outcome: &v1::SendOutcome) -> Vec<(CampaignId, Event)> {
    let mark = outcome.mark.as_ref();
    match &outcome.outcome {
        Some(v1::send_outcome::Outcome::Accepted(_)) => event(mark, Mark::Accepted, 0).into_iter().collect(),
        Some(v1::send_outcome::Outcome::Refused(refused)) => match refused.code {
            UNFIT_FILE => failed(mark, cause::FILE),
            TOO_LATE => event(mark, Mark::Withheld, cause::TOO_LATE).into_iter().collect(),
            code => failed(mark, code),
        },
        // Another attempt follows.
        Some(v1::send_outcome::Outcome::InDoubt(_) | v1::send_outcome::Outcome::NotSent(_)) | None => {
            Vec::new()
        }
    }
}

fn status_of(status: &v1::WhatsAppStatus) -> Vec<(CampaignId, Event)> {
    let mark = status.mark.as_ref();
    let kind = match status.status.as_str() {
        "sent" => Mark::Sent,
        "delivered" => Mark::Delivered,
        "read" | "played" => Mark::Read,
        "failed" => {
            let code = status.problems.first().map_or(cause::UNKNOWN, |problem| problem.code);
            return failed(mark, code);
        }
        // Meta invents words; none of them counts before it is understood.
        _ => return Vec::new(),
    };
    event(mark, kind, 0).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Option<v1::CampaignMark> {
        Some(v1::CampaignMark { campaign: "0b8f3c1e-2d4a-4f6b-8c7d-9e0f1a2b3c4d".into(), row: 7 })
    }

    fn marks(body: &Body) -> Vec<(Mark, i32)> {
        of(body).into_iter().map(|(_, event)| (event.mark, event.code)).collect()
    }

    #[test]
    fn each_kind_of_entry_counts_as_what_it_says() {
        let status = |word: &str, code| {
            let problems = vec![v1::whats_app_status::Problem { code, title: String::new() }];
            Body::WhatsappStatus(v1::WhatsAppStatus {
                status: word.into(),
                mark: mark(),
                problems,
                ..v1::WhatsAppStatus::default()
            })
        };
        assert_eq!(marks(&status("delivered", 0)), [(Mark::Delivered, 0)]);
        assert_eq!(marks(&status("failed", 131_049)), [(Mark::Failed, 131_049)]);
        assert_eq!(marks(&status("failed", OPTED_OUT)), [(Mark::Failed, OPTED_OUT), (Mark::OptedOut, 0)]);
        assert_eq!(marks(&status("novel", 0)), []);
        let withheld = |why: v1::withheld::Why| v1::Output {
            output: Some(v1::output::Output::Withheld(v1::Withheld { mark: mark(), why: why.into() })),
        };
        let replied = v1::Replied { mark: mark(), opted_out: true, ..v1::Replied::default() };
        let decision = Body::Decision(v1::Decision {
            outputs: vec![
                withheld(v1::withheld::Why::OptedOut),
                withheld(v1::withheld::Why::TooLate),
                v1::Output { output: Some(v1::output::Output::Replied(replied)) },
            ],
            ..v1::Decision::default()
        });
        let expected = [
            (Mark::Withheld, cause::OPTED_OUT),
            (Mark::OptedOut, 0),
            (Mark::Withheld, cause::TOO_LATE),
            (Mark::Replied, 0),
            (Mark::OptedOut, 0),
        ];
        assert_eq!(marks(&decision), expected);
        let outcome = |outcome| {
            Body::SendOutcome(v1::SendOutcome {
                outcome: Some(outcome),
                mark: mark(),
                ..v1::SendOutcome::default()
            })
        };
        let accepted = v1::send_outcome::Accepted { wamid: "w".into(), answered: true };
        assert_eq!(marks(&outcome(v1::send_outcome::Outcome::Accepted(accepted))), [(Mark::Accepted, 0)]);
        let doubt = v1::send_outcome::Outcome::InDoubt(v1::send_outcome::InDoubt {});
        assert_eq!(marks(&outcome(doubt)), []);
        let refused = |code| v1::send_outcome::Outcome::Refused(v1::send_outcome::Refused { code });
        assert_eq!(marks(&outcome(refused(TOO_LATE))), [(Mark::Withheld, cause::TOO_LATE)]);
        assert_eq!(marks(&outcome(refused(UNFIT_FILE))), [(Mark::Failed, cause::FILE)]);
        let foreign = Body::WhatsappStatus(v1::WhatsAppStatus {
            status: "read".into(),
            ..v1::WhatsAppStatus::default()
        });
        assert_eq!(marks(&foreign), []);
    }
}
