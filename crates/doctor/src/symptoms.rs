//! The two complaints that people come with, each as an order in which to look.

use serde::Serialize;

use crate::{Finding, Report, Verdict};

/// What people see, and which checks tell why, the likeliest and most basic first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symptom {
    pub id: &'static str,
    pub name: &'static str,
    checks: &'static [&'static str],
}

/// The two that the product's documentation names (`product-behaviour.md`).
pub const SYMPTOMS: [Symptom; 2] = [
    Symptom {
        id: "conversations-not-appearing",
        name: "Conversations do not appear in Salesforce",
        checks: &[
            "baton.broker",
            "baton.handoff",
            "baton.egress",
            "baton.assistant",
            "salesforce.settings",
            "salesforce.host",
            "salesforce.token",
            "salesforce.stream",
            "whatsapp.token",
            "whatsapp.permissions",
            "whatsapp.number",
            "whatsapp.account",
            "whatsapp.app subscription",
            "whatsapp.webhook fields",
            "whatsapp.webhook address",
            "baton.dead_letters",
            "baton.parked",
            "baton.cache",
        ],
    },
    Symptom {
        id: "replies-not-reaching-whatsapp",
        name: "Replies do not reach WhatsApp",
        checks: &[
            "baton.broker",
            "baton.egress",
            "baton.handoff",
            "salesforce.settings",
            "salesforce.host",
            "salesforce.token",
            "salesforce.stream",
            "whatsapp.token",
            "whatsapp.permissions",
            "whatsapp.number",
            "whatsapp.health",
            "whatsapp.quality and limits",
            "whatsapp.templates",
            "baton.dead_letters",
            "baton.parked",
            "baton.cache",
        ],
    },
];

/// What a symptom comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "conclusion", rename_all = "snake_case")]
pub enum Conclusion<'a> {
    /// The first thing that is wrong.
    FirstWrong {
        finding: &'a Finding,
    },
    /// Nothing is wrong as far as could be seen; some things could not be looked at.
    NotAllSeen {
        finding: &'a Finding,
    },
    AllFine,
}

impl Symptom {
    /// Its checks, in their order.
    pub fn steps<'a>(&self, report: &'a Report) -> Vec<&'a Finding> {
        let mut steps: Vec<&Finding> = Vec::new();
        for id in self.checks {
            steps.extend(report.findings.iter().filter(|finding| finding.id == *id));
        }
        // A side that could not be looked at stands for all of its checks.
        steps.extend(report.findings.iter().filter(|finding| !finding.id.contains('.')));
        steps
    }

    /// What is broken first, before what is only suspicious, before what could not be seen.
    pub fn conclude<'a>(&self, report: &'a Report) -> Conclusion<'a> {
        let steps = self.steps(report);
        let first = |verdict: Verdict| steps.iter().copied().find(|step| step.verdict == verdict);
        if let Some(finding) = first(Verdict::Broken).or_else(|| first(Verdict::Warning)) {
            return Conclusion::FirstWrong { finding };
        }
        let unseen = first(Verdict::Unchecked)
            .or_else(|| steps.iter().copied().find(|step| step.id == "whatsapp" || step.id == "salesforce"));
        unseen.map_or(Conclusion::AllFine, |finding| Conclusion::NotAllSeen { finding })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Group;

    fn report(findings: &[(&str, Verdict)]) -> Report {
        let finding = |(id, verdict): &(&str, Verdict)| Finding {
            id: (*id).into(),
            of: String::new(),
            group: Group::Baton,
            looks_at: String::new(),
            verdict: *verdict,
            found: String::new(),
            cause: String::new(),
            fix: String::new(),
            reference: "",
            millis: 0,
        };
        Report { at: 0, millis: 0, findings: findings.iter().map(finding).collect() }
    }

    fn concluded(findings: &[(&str, Verdict)]) -> String {
        match SYMPTOMS[1].conclude(&report(findings)) {
            Conclusion::FirstWrong { finding } => format!("wrong {}", finding.id),
            Conclusion::NotAllSeen { finding } => format!("unseen {}", finding.id),
            Conclusion::AllFine => "fine".into(),
        }
    }

    #[test]
    fn one_cause_is_named_the_most_basic_broken_one() {
        use Verdict::{Broken, NotApplicable, Ok, Unchecked, Warning};
        assert_eq!(concluded(&[("whatsapp.token", Broken), ("baton.egress", Broken)]), "wrong baton.egress");
        assert_eq!(
            concluded(&[("baton.egress", Warning), ("whatsapp.token", Broken)]),
            "wrong whatsapp.token"
        );
        assert_eq!(
            concluded(&[("baton.egress", Ok), ("whatsapp.token", Unchecked)]),
            "unseen whatsapp.token"
        );
        assert_eq!(concluded(&[("baton.egress", Ok), ("whatsapp", NotApplicable)]), "unseen whatsapp");
        assert_eq!(concluded(&[("baton.egress", Ok)]), "fine");
        // Not of this symptom.
        assert_eq!(concluded(&[("whatsapp.webhook fields", Broken)]), "fine");
    }
}
