//! The name of every metric, in the style of OpenTelemetry's semantic conventions: the thing, then
//! what about it; seconds, never milliseconds; attributes are words of fixed sets and numbers of
//! partitions, never a person, a conversation or a channel's customer.
//!
//! Prometheus sees `baton.send.duration` as `baton_send_duration_seconds` and adds `_total` to
//! counters. Alerts (`deploy/observe/alerts.yaml`) and dashboards use no others: a test looks.

use opentelemetry_sdk::metrics::{Aggregation, Instrument, InstrumentKind, Stream};

/// Webhooks, by what they were answered.
pub const WEBHOOKS: &str = "baton.ingress.webhooks";
/// From the head of a webhook to its answer.
pub const WEBHOOK_DURATION: &str = "baton.ingress.duration";
/// Log entries made of webhooks, by kind and whether they were new.
pub const ENTRIES: &str = "baton.ingress.entries";
/// Events of business numbers that are not configured: not stored.
pub const FOREIGN: &str = "baton.ingress.foreign";

/// Salesforce's hooks, by what they were answered.
pub const HOOKS: &str = "baton.ingress.hooks";
/// Requests for kept files, by what they were answered.
pub const FILES: &str = "baton.ingress.files";

/// Decisions, by the kind of the fact.
pub const DECISIONS: &str = "baton.decisions";
/// From a fact being stored to its decision being stored.
pub const DECISION_LATENESS: &str = "baton.decision.lateness";
/// Conversations handed over to people.
pub const HANDOFFS: &str = "baton.handoffs";
/// What was hidden from Salesforce, by kind: card numbers, e-mail addresses, national ids.
pub const HANDOFF_MASKED: &str = "baton.handoff.masked";

/// Answers of the assistant, by what they were and who gave them.
pub const ANSWERS: &str = "baton.assistant.answers";
/// Answers in the making that a newer message or another owner made void.
pub const ANSWERS_CANCELLED: &str = "baton.assistant.cancelled";
/// Times a model failed and its channel's fallback answered, by reason.
pub const FALLBACKS: &str = "baton.assistant.fallbacks";
/// Tokens that models counted, or that we estimated where they do not count.
pub const TOKENS: &str = "baton.assistant.tokens";
/// What was hidden from models, by kind. Each question counts its transcript anew.
pub const ASSISTANT_MASKED: &str = "baton.assistant.masked";
/// From a question to its answer, by who gave it.
pub const THINKING: &str = "baton.assistant.thinking";

/// POSTs to WhatsApp and settled doubts, by what became of them: the states of the send ledger.
pub const SENDS: &str = "baton.sends";
/// How long a POST to WhatsApp took.
pub const SEND_DURATION: &str = "baton.send.duration";
/// Waits for a turn, by whose budget was used up: the pair's or the number's.
pub const SENDS_PACED: &str = "baton.sends.paced";
/// Sends repeated without knowing whether the first one arrived.
pub const SENDS_BLIND: &str = "baton.sends.blind_resends";
/// Sends that a customer may have seen twice.
pub const SENDS_DOUBLED: &str = "baton.sends.visible_duplicates";
/// Event streams of Salesforce that are up.
pub const STREAMS: &str = "baton.streams";
/// Event streams that ended, by reason: each but `unfollowed` is a reconnect.
pub const STREAM_ENDS: &str = "baton.streams.ended";
/// Entries that no stream had brought and `/entries` had.
pub const GAP_FILLED: &str = "baton.streams.gap_filled";
/// Entries of followed threads, by what was done with them.
pub const THREAD_ENTRIES: &str = "baton.streams.entries";

/// Partitions that the process works on, by reader.
pub const PARTITIONS: &str = "baton.reader.partitions";
/// Entries received and not finished, by reader.
pub const HELD: &str = "baton.reader.entries";
/// Entries behind the one that was read last, by reader and partition.
pub const LAG: &str = "baton.reader.lag";
/// Tries that have to be repeated, by reader.
pub const RETRIES: &str = "baton.reader.retries";
/// Entries that wait in the log because what they need is away, by reader.
pub const PARKED: &str = "baton.parked";
/// Parked entries that the log forgot before they could be handled.
pub const PARKED_EXPIRED: &str = "baton.parked.expired";
/// Entries that cannot be handled, by reader: people have to look.
pub const DEAD_LETTERS: &str = "baton.dead_letters";
/// How long one try of one entry took, by reader and kind (OpenTelemetry's name).
pub const PROCESS_DURATION: &str = "messaging.process.duration";

/// Recipients of campaigns, by what became of them; `asked`: their fact is in the log.
pub const CAMPAIGN_RECIPIENTS: &str = "baton.campaign.recipients";
/// Campaigns that run, by what they wait for; `nothing`: they send.
pub const CAMPAIGNS_RUNNING: &str = "baton.campaigns.running";
/// Campaigns that were stopped by what Meta said, by why.
pub const CAMPAIGNS_STOPPED: &str = "baton.campaigns.stopped";

/// Conversations on the console's board.
pub const BOARD_CONVERSATIONS: &str = "baton.console.conversations";
/// Open pages that the console's board is pushed to.
pub const BOARD_LISTENERS: &str = "baton.console.listeners";
/// Checks of the doctor that found something broken, in its newest run.
pub const DOCTOR_BROKEN: &str = "baton.doctor.broken";

/// All of them, with how Prometheus calls them.
pub const ALL: [(&str, &str); 39] = [
    (WEBHOOKS, "baton_ingress_webhooks_total"),
    (WEBHOOK_DURATION, "baton_ingress_duration_seconds"),
    (ENTRIES, "baton_ingress_entries_total"),
    (FOREIGN, "baton_ingress_foreign_total"),
    (HOOKS, "baton_ingress_hooks_total"),
    (FILES, "baton_ingress_files_total"),
    (DECISIONS, "baton_decisions_total"),
    (DECISION_LATENESS, "baton_decision_lateness_seconds"),
    (HANDOFFS, "baton_handoffs_total"),
    (HANDOFF_MASKED, "baton_handoff_masked_total"),
    (ANSWERS, "baton_assistant_answers_total"),
    (ANSWERS_CANCELLED, "baton_assistant_cancelled_total"),
    (FALLBACKS, "baton_assistant_fallbacks_total"),
    (TOKENS, "baton_assistant_tokens_total"),
    (ASSISTANT_MASKED, "baton_assistant_masked_total"),
    (THINKING, "baton_assistant_thinking_seconds"),
    (SENDS, "baton_sends_total"),
    (SEND_DURATION, "baton_send_duration_seconds"),
    (SENDS_PACED, "baton_sends_paced_total"),
    (SENDS_BLIND, "baton_sends_blind_resends_total"),
    (SENDS_DOUBLED, "baton_sends_visible_duplicates_total"),
    (STREAMS, "baton_streams"),
    (STREAM_ENDS, "baton_streams_ended_total"),
    (GAP_FILLED, "baton_streams_gap_filled_total"),
    (THREAD_ENTRIES, "baton_streams_entries_total"),
    (PARTITIONS, "baton_reader_partitions"),
    (HELD, "baton_reader_entries"),
    (LAG, "baton_reader_lag"),
    (RETRIES, "baton_reader_retries_total"),
    (PARKED, "baton_parked_total"),
    (PARKED_EXPIRED, "baton_parked_expired_total"),
    (DEAD_LETTERS, "baton_dead_letters_total"),
    (CAMPAIGN_RECIPIENTS, "baton_campaign_recipients_total"),
    (CAMPAIGNS_RUNNING, "baton_campaigns_running"),
    (CAMPAIGNS_STOPPED, "baton_campaigns_stopped_total"),
    (BOARD_CONVERSATIONS, "baton_console_conversations"),
    (BOARD_LISTENERS, "baton_console_listeners"),
    (DOCTOR_BROKEN, "baton_doctor_broken"),
    (PROCESS_DURATION, "messaging_process_duration_seconds"),
];

/// Attributes.
pub mod attribute {
    /// What became of it: one word of a fixed set.
    pub const OUTCOME: &str = "baton.outcome";
    /// Whose budget was used up: `pair` or `number`.
    pub const BUDGET: &str = "baton.budget";
}

/// Of durations, in seconds: from a cache's answer to a person's patience.
const SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Histograms of seconds with bounds for seconds: the SDK's own are for milliseconds.
pub(crate) fn in_seconds(instrument: &Instrument) -> Option<Stream> {
    if instrument.kind() != InstrumentKind::Histogram || instrument.unit() != "s" {
        return None;
    }
    let bounds = Aggregation::ExplicitBucketHistogram { boundaries: SECONDS.into(), record_min_max: false };
    Stream::builder().with_aggregation(bounds).build().ok()
}
