//! Never twice: egress is stopped at every point around the POST, for real, and what the customer
//! saw is counted. Between egress and the broker stands a relay that stops everything at a named
//! publish, so that egress stands exactly there when it is killed; around the POST itself the
//! simulator does the same.

use std::sync::{Arc, Mutex};

use e2e::sim::{Fault, Rule, What};
use proto::subjects::{self, SendPhase, SendRef};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::world::{PHONE, World, until};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// The intent never reaches the broker.
    BeforeTheIntent,
    /// It is stored, and egress does not learn it.
    AfterTheIntent,
    /// WhatsApp has the request and has not processed it: it never will.
    BeforeWhatsAppTakesIt,
    /// Processed, the answer is on its way.
    InFlight,
    /// The answer is there, its record never reaches the broker.
    BeforeTheRecord,
    /// The record is stored, and egress does not learn it.
    AfterTheRecord,
}

const POINTS: [Point; 6] = [
    Point::BeforeTheIntent,
    Point::AfterTheIntent,
    Point::BeforeWhatsAppTakesIt,
    Point::InFlight,
    Point::BeforeTheRecord,
    Point::AfterTheRecord,
];

/// Where the relay stops: at a publish on a subject, before it is passed on or after.
#[derive(Debug, Clone)]
struct Stop {
    subject: String,
    pass_it_on: bool,
}

/// A broker's address that passes everything on until it is told to stop, and then nothing.
struct Relay {
    url: String,
    stop: Arc<Mutex<Option<Stop>>>,
    stopped: watch::Receiver<bool>,
    _tasks: JoinSet<()>,
}

impl Relay {
    async fn start(broker: &str) -> Self {
        let broker = broker.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let stop = Arc::<Mutex<Option<Stop>>>::default();
        let (tell, stopped) = watch::channel(false);
        let (mut tasks, shared) = (JoinSet::new(), Arc::clone(&stop));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&broker).await.unwrap();
                connections.spawn(relay(client, server, Arc::clone(&shared), tell.clone()));
            }
        });
        Self { url, stop, stopped, _tasks: tasks }
    }

    fn stop_at(&self, subject: String, pass_it_on: bool) {
        *self.stop.lock().unwrap() = Some(Stop { subject, pass_it_on });
    }

    async fn until_stopped(&mut self) {
        let stopped = self.stopped.wait_for(|stopped| *stopped);
        tokio::time::timeout(std::time::Duration::from_secs(30), stopped).await.unwrap().unwrap();
    }
}

async fn relay(
    client: TcpStream,
    server: TcpStream,
    stop: Arc<Mutex<Option<Stop>>>,
    tell: watch::Sender<bool>,
) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let mut stopped = tell.subscribe();
    let down = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = tokio::select! {
                biased;
                () = async { drop(stopped.wait_for(|stopped| *stopped).await) } => None,
                read = from_server.read(&mut buffer) => Some(read),
            };
            let Some(read) = read else { return std::future::pending().await };
            let Ok(read @ 1..) = read else { return };
            if to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    let up = async {
        let mut buffer = vec![0; 64 * 1024];
        // The end of what was passed on: a subject may be cut in two.
        let mut tail = Vec::new();
        loop {
            let Ok(read @ 1..) = from_client.read(&mut buffer).await else { return };
            let bytes = &buffer[..read];
            let found = stop.lock().unwrap().clone().filter(|stop| {
                let seen = [&tail[..], bytes].concat();
                // Only a publish has the subject with the header's size behind its reply.
                let publish = format!("HPUB {} ", stop.subject);
                seen.windows(publish.len()).any(|window| window == publish.as_bytes())
            });
            match found {
                Some(Stop { pass_it_on: false, .. }) => {
                    tell.send_replace(true);
                    return std::future::pending().await;
                }
                Some(Stop { pass_it_on: true, .. }) => {
                    // First nothing comes back any more.
                    tell.send_replace(true);
                    to_server.write_all(bytes).await.unwrap();
                    // All of the message.
                    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                        to_server.write_all(&buffer[..read]).await.unwrap();
                    }
                    return std::future::pending().await;
                }
                None => {
                    tail = bytes[bytes.len().saturating_sub(256)..].to_vec();
                    if to_server.write_all(bytes).await.is_err() {
                        return;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = down => {}
        () = up => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_every_point_around_the_post_a_customer_sees_it_once() {
    futures::future::join_all(POINTS.map(once)).await;
}

async fn once(point: Point) {
    let world = World::start().await;
    let mut chat = world.chat(PHONE);
    let (answers, send) = world.next_send(&chat).await;
    let subject = |phase| subjects::send(&chat.key, SendRef { send, attempt: 1 }, phase);
    let outcome = subject(SendPhase::Outcome);
    let mut relay = Relay::start(&world.nats.url()).await;
    let faults = |fault| world.sim.whatsapp.add_fault(Rule::new("messages", fault).times(1));
    match point {
        Point::BeforeTheIntent => relay.stop_at(subject(SendPhase::Intent), false),
        Point::AfterTheIntent => relay.stop_at(subject(SendPhase::Intent), true),
        Point::BeforeWhatsAppTakesIt => faults(Fault::Timeout),
        Point::InFlight => faults(Fault::SlowAnswer { ms: 60_000 }),
        Point::BeforeTheRecord => relay.stop_at(subject(SendPhase::Outcome), false),
        Point::AfterTheRecord => relay.stop_at(subject(SendPhase::Outcome), true),
    }
    let egress = world.egress_without_lease_at(&relay.url).await;
    world.send_as(&mut chat, (answers, send), "once").await;
    match point {
        Point::BeforeWhatsAppTakesIt => {
            until("the request", async || (posts(&world) == 1).then_some(())).await;
        }
        Point::InFlight => world.until_received(PHONE, &["once"]).await,
        Point::BeforeTheIntent | Point::AfterTheIntent | Point::BeforeTheRecord | Point::AfterTheRecord => {
            relay.until_stopped().await
        }
    }
    match point {
        Point::AfterTheIntent => {
            until("the intent", async || (world.records(&chat).await == ["1 intent"]).then_some(())).await;
        }
        Point::AfterTheRecord => {
            until("the record", async || world.log.last(&outcome).await.unwrap()).await;
        }
        Point::BeforeTheIntent | Point::BeforeWhatsAppTakesIt | Point::InFlight | Point::BeforeTheRecord => {}
    }
    egress.kill();
    let sent = usize::from(matches!(point, Point::InFlight | Point::BeforeTheRecord | Point::AfterTheRecord));
    let records: &[&str] = match point {
        Point::BeforeTheIntent => &[],
        Point::AfterTheIntent | Point::BeforeWhatsAppTakesIt | Point::InFlight | Point::BeforeTheRecord => {
            &["1 intent"]
        }
        Point::AfterTheRecord => &["1 intent", "1 accepted"],
    };
    assert_eq!(world.records(&chat).await, records, "{point:?}");
    assert_eq!(world.received(PHONE).len(), sent, "{point:?}");

    // Whoever comes next reads everything from the beginning.
    let egress = world.egress_without_lease().await;
    let records: &[&str] = match point {
        Point::BeforeTheIntent | Point::AfterTheRecord => &["1 intent", "1 accepted"],
        Point::AfterTheIntent | Point::BeforeWhatsAppTakesIt => {
            &["1 intent", "1 in doubt", "2 intent", "2 accepted"]
        }
        Point::InFlight | Point::BeforeTheRecord => &["1 intent", "1 accepted by status"],
    };
    until("it is settled", async || (world.records(&chat).await == records).then_some(())).await;
    world.send(&mut chat, &["next"]).await;
    world.until_received(PHONE, &["once", "next"]).await;
    assert!(world.undelivered(&chat).await.is_empty(), "{point:?}");
    egress.stop().await;
    world.stop().await;
}

fn posts(world: &World) -> usize {
    let record = world.sim.record.from(1, usize::MAX);
    record.iter().filter(|entry| matches!(&entry.what, What::WaRequest { .. })).count()
}
