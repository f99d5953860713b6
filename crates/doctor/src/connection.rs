//! What is tried out when somebody asks: one number; one integration, step by step, up to a
//! conversation that is thrown away.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use domain::{
    ThreadId,
    derive::uuid,
    settings::{Channel, Integration},
};
use salesforce::{Client, Created, EventStream, NewSession, Options};

use crate::{
    Finding, Group, Seen, Verdict, millis, run,
    salesforce_side::{HOST, STREAM, TOKEN, fields, host, nobody, skipped, told},
    whatsapp_side,
};

const CONNECT: Duration = Duration::from_secs(5);
const CALL: Duration = Duration::from_secs(10);

const CONVERSATION: (&str, &str) = ("salesforce.conversation", "A throw-away conversation opens");
const END: (&str, &str) = ("salesforce.end", "The conversation ends again");

/// Everything that a handoff needs of the integration, in its order: its fields, the host, a token, the
/// event stream, a conversation, its end. The conversation is real: it is routed like any other, a rep
/// may see it for a moment, and it is closed at once. Takes 80 s at most, each step 15 s.
pub async fn try_connection(integration: &Integration) -> Vec<Finding> {
    let mut steps = Steps { of: integration.id.as_str().to_owned(), list: Vec::new(), began: Instant::now() };
    let rest = [HOST, TOKEN, STREAM, CONVERSATION, END];
    if !steps.add(fields(integration)) {
        return steps.skip(&rest, "the fields are not in order");
    }
    if !steps.add(host(integration).await) {
        return steps.skip(&rest[1..], "the host cannot be reached");
    }
    let options = Options { connect: CONNECT, total: CALL, ..Options::default() };
    let client = match Client::new(integration, options) {
        Ok(client) => client,
        Err(error) => {
            let fix = "Mend the integration's messaging host and keys.";
            steps.add(Seen::wrong(TOKEN.0, TOKEN.1, Verdict::Broken, error.to_string(), fix));
            return steps.skip(&rest[2..], "there is no token");
        }
    };
    let token = match client.authenticate(&nobody(), runtime::now()).await {
        Ok(token) => token,
        Err(error) => {
            steps.add(told(TOKEN, &error).from("miaw-api.md §2"));
            return steps.skip(&rest[2..], "there is no token");
        }
    };
    steps.add(Seen::ok(TOKEN.0, TOKEN.1, "yes, as a verified user").from("miaw-api.md §2.3"));
    let stream = EventStream::connect(&client, &token, &token.last_event_id).await;
    steps.add(match &stream {
        Ok(_) => Seen::ok(STREAM.0, STREAM.1, "yes").from("miaw-api.md §7"),
        Err(error) => told(STREAM, error).from("miaw-api.md §7"),
    });
    // Each try is another conversation: nobody's, and never one that a customer has.
    let id = ThreadId(uuid(
        "connection test",
        &[integration.id.as_str().as_bytes(), &runtime::now().to_be_bytes()],
    ));
    let session = NewSession { routing_attributes: BTreeMap::new(), language: String::new() };
    match client.create_conversation(&token, id, &session).await {
        Ok(Created::Created | Created::AlreadyExists) => {
            let found = format!("yes, {id}: it was routed like any other");
            steps.add(Seen::ok(CONVERSATION.0, CONVERSATION.1, found).from("miaw-api.md §3.1"));
        }
        Err(error) => {
            steps.add(told(CONVERSATION, &error).from("miaw-api.md §3.1"));
            // It may be there all the same.
            let _ = client.close_conversation(&token, id).await;
            return steps.skip(&rest[4..], "there is no conversation");
        }
    }
    steps.add(match client.close_conversation(&token, id).await {
        Ok(_) => Seen::ok(END.0, END.1, "closed: nothing of it is left open").from("miaw-api.md §3.3"),
        Err(error) => told(END, &error).from("miaw-api.md §3.3"),
    });
    steps.list
}

/// Everything that a number needs at Meta's; changes nothing there.
pub async fn check_channel(channel: &Channel, client: &whatsapp::client::Client) -> Vec<Finding> {
    run(whatsapp_side::job(channel.clone(), client.clone())).await
}

struct Steps {
    of: String,
    list: Vec<Finding>,
    began: Instant,
}

impl Steps {
    /// Whether it is in order; it took the time since the step before.
    fn add(&mut self, seen: Seen) -> bool {
        let fine = seen.verdict == Verdict::Ok;
        let Seen { id, looks_at, verdict, found, cause, fix, reference } = seen;
        self.list.push(Finding {
            id: id.into(),
            of: self.of.clone(),
            group: Group::Salesforce,
            looks_at: looks_at.into(),
            verdict,
            found,
            cause,
            fix,
            reference,
            millis: millis(self.began),
        });
        self.began = Instant::now();
        fine
    }

    fn skip(mut self, steps: &[(&'static str, &'static str)], why: &str) -> Vec<Finding> {
        for step in steps {
            self.add(skipped(*step, why));
        }
        self.list
    }
}
