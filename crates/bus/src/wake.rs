//! Telling whoever follows a Salesforce conversation that it has something new. Nothing of it is
//! stored: what is missed is found by the follower itself, only later.

use std::time::Duration;

use async_nats::{Client, Request, RequestErrorKind, Subject, Subscriber};
use domain::ThreadId;
use futures::StreamExt as _;

use crate::{Error, Log};

const SUBJECTS: &str = "wake.*";

/// What became of telling it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Its follower looks at once.
    Taken,
    /// No process follows it now.
    NotFollowed,
    /// There is no process that follows anything.
    NobodyThere,
}

impl Log {
    /// Tells whoever follows `thread`; asks for so long who does.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn wake(&self, thread: ThreadId, patience: Duration) -> Result<Woken, Error> {
        let request = Request::new().timeout(Some(patience));
        match self.client.send_request(subject(thread), request).await {
            Ok(_) => Ok(Woken::Taken),
            Err(error) => match error.kind() {
                RequestErrorKind::TimedOut => Ok(Woken::NotFollowed),
                RequestErrorKind::NoResponders => Ok(Woken::NobodyThere),
                RequestErrorKind::Other
                | RequestErrorKind::InvalidSubject
                | RequestErrorKind::MaxPayloadExceeded => {
                    Err(Error::Broker { doing: "tell a follower", source: error.into() })
                }
            },
        }
    }

    /// What followers are told from now on, in every process.
    pub async fn wakes(&self) -> Result<Wakes, Error> {
        let told = self.subscribe(SUBJECTS).await?;
        Ok(Wakes { client: self.client.clone(), told })
    }
}

pub struct Wakes {
    client: Client,
    told: Subscriber,
}

/// A thread that has something new.
#[derive(Debug)]
pub struct Wake {
    pub thread: ThreadId,
    reply: Option<Subject>,
}

impl Wakes {
    /// The next one; `None`: the connection is closed.
    pub async fn next(&mut self) -> Option<Wake> {
        loop {
            let message = self.told.next().await?;
            let thread = message.subject.rsplit('.').next().and_then(|id| id.parse().ok());
            if let Some(thread) = thread {
                return Some(Wake { thread, reply: message.reply });
            }
        }
    }

    /// It is ours to look.
    pub async fn taken(&self, wake: Wake) {
        if let Some(reply) = wake.reply {
            // Whoever asked hears nothing, and says that nobody follows: no harm.
            let _ = self.client.publish(reply, "".into()).await;
        }
    }
}

fn subject(thread: ThreadId) -> String {
    format!("wake.{thread}")
}
