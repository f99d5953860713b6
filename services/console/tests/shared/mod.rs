//! Real servers, and consoles on them: what every test of the console begins with.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use console::{Outside, SignIn};
use domain::derive::Keying;
use store::Store;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What seals what the store and the broker keep.
pub(crate) const MASTER_KEY: &str = "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// What consoles of a test share.
#[derive(Clone)]
pub(crate) struct Servers {
    pub(crate) log: bus::Log,
    pub(crate) store: Store,
    pub(crate) keying: Keying,
    /// What runs beside the consoles.
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

impl Servers {
    /// The broker and the cache live as long as they are held.
    pub(crate) async fn start() -> (devstack::Nats, devstack::Valkey, Self) {
        runtime::init_crypto();
        let nats = devstack::Nats::start().await.unwrap();
        let valkey = devstack::Valkey::start().await.unwrap();
        let log = bus::connect(&bus::Config::at(&nats.url())).await.unwrap();
        let store = Store::connect(&store::Config {
            redis_url: valkey.url().into(),
            redis_prefix: "test".into(),
            master_key: MASTER_KEY.into(),
        })
        .unwrap();
        let keying = Keying::new(&"0123456789abcdef0123456789abcdef".into());
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        (nats, valkey, Self { log, store, keying, tasks, shutdown })
    }

    /// Where the console answers.
    pub(crate) async fn console(&self, sign_in: SignIn, outside: Outside) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (log, store, keying) = (self.log.clone(), self.store.clone(), self.keying.clone());
        let shutdown = self.shutdown.clone();
        let run = console::run(listener, log, store, keying, sign_in, outside, shutdown);
        self.tasks.spawn(async move { run.await.unwrap() });
        url
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(15), self.tasks.wait()).await.expect("the consoles leave");
    }
}
