use std::{error::Error, fmt::Write as _};

/// An error with all its causes in one line. tracing prints only the outermost message of an
/// error; and some libraries (async-nats) repeat the cause in their own text, which is left out.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !text.ends_with(&message) {
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
    enum Outer {
        #[error("store the entry")]
        Plain(#[source] std::io::Error),
        #[error("store the entry: disk full")]
        Repeating(#[source] std::io::Error),
    }

    #[test]
    fn causes_are_told_once() {
        let cause = || std::io::Error::other("disk full");
        assert_eq!(error_chain(&Outer::Plain(cause())), "store the entry: disk full");
        assert_eq!(error_chain(&Outer::Repeating(cause())), "store the entry: disk full");
    }
}
