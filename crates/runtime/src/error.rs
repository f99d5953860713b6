use std::{error::Error, fmt::Write as _};

/// An error with its causes, outermost first, joined by `: `. For logs, where tracing's JSON
/// formatter would print the outermost message only. A cause that the text before it already
/// contains is left out: async-nats errors carry theirs in their own text.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !text.contains(&message) {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {message}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn chain(texts: &[&'static str]) -> Option<Box<Layer>> {
        let (text, rest) = texts.split_first()?;
        Some(Box::new(Layer { text, source: chain(rest) }))
    }

    #[test]
    fn causes_follow_and_are_not_said_twice() {
        let plain = chain(&["publish", "time out", "connection closed"]).unwrap();
        assert_eq!(error_chain(&*plain), "publish: time out: connection closed");
        let repeated = chain(&["publish: time out", "time out", "connection closed"]).unwrap();
        assert_eq!(error_chain(&*repeated), "publish: time out: connection closed");
    }
}
