//! What reps and Salesforce are not to see, where the channel says so.

use domain::{
    mask::mask,
    settings::{Channel, Masking},
};
use opentelemetry::{KeyValue, global, metrics::Counter};

use crate::transcript::Turn;

#[derive(Debug)]
pub(crate) struct Masker {
    masked: Counter<u64>,
}

impl Masker {
    pub(crate) fn new() -> Self {
        Self { masked: global::meter("handoff").u64_counter(runtime::metrics::HANDOFF_MASKED).build() }
    }

    /// How much was hidden is counted.
    pub(crate) fn hide(&self, turn: &mut Turn, channel: Option<&Channel>) {
        let Some(masking) = channel.map(|channel| channel.responder.masking).filter(Masking::is_on) else {
            return;
        };
        let masked = mask(&turn.text, &masking);
        for (kind, count) in masked.counts() {
            self.masked.add(count.into(), &[KeyValue::new("kind", kind)]);
        }
        turn.text = masked.text;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn card_numbers_do_not_reach_reps_where_the_channel_says_so() {
        let channel = |cards: bool| -> Channel {
            serde_json::from_value(json!({
                "phone_number_id": "1", "waba_id": "2", "display_phone_number": "+1", "name": "n", "access_token": "t",
                "responder": { "masking": { "cards": cards } }
            }))
            .unwrap()
        };
        let hidden = |channel: Option<&Channel>| {
            let text = "my card is 4111 1111 1111 1111".into();
            let mut turn = Turn { at: 0, who: "Customer", text, wamid: None, about: None, media: None };
            Masker::new().hide(&mut turn, channel);
            turn.text
        };
        assert_eq!(hidden(Some(&channel(true))), "my card is [card number]");
        assert!(hidden(Some(&channel(false))).ends_with("1111") && hidden(None).ends_with("1111"));
    }
}
