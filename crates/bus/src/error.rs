use std::time::Duration;

use domain::Seq;

/// What went wrong between us and the broker. Everything but `Refused`, `Unsafe` and `Config` can
/// go away by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}")]
    Broker {
        doing: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The deadline passed before the log stored the entry. It may be stored all the same: append
    /// it again under the same subject.
    #[error("the log did not store the entry in time")]
    Deadline,
    /// The broker will not take this entry, however often it is tried.
    #[error("the log refused the entry: {0}")]
    Refused(String),
    #[error("stream {stream} is not usable: {problem}")]
    Unsafe { stream: String, problem: String },
    #[error("{0}")]
    Config(String),
    #[error("the log has no entry at {0}")]
    NoEntry(Seq),
}

impl Error {
    pub(crate) fn broker(
        doing: &'static str,
    ) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> Self {
        move |source| Self::Broker { doing, source }
    }
}

/// Whether trying again can help. One place acts on it: the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// With the lane's own backoff, 50 ms doubling to 5 s.
    Soon,
    /// Not before this long; the other side said so.
    After(Duration),
    /// The entry itself is the trouble: three strikes, then the dead letters.
    Never,
}

/// A handler could not finish an entry.
#[derive(Debug)]
pub struct Failure {
    pub retry: Retry,
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl Failure {
    pub fn soon(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { retry: Retry::Soon, source: source.into() }
    }

    pub fn after(pause: Duration, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { retry: Retry::After(pause), source: source.into() }
    }

    pub fn never(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { retry: Retry::Never, source: source.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.source)?;
        let mut source = self.source.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Broker { .. } | Error::Deadline => Self::soon(error),
            Error::Refused(_) | Error::Unsafe { .. } | Error::Config(_) | Error::NoEntry(_) => {
                Self::never(error)
            }
        }
    }
}
