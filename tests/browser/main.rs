//! People in a real browser: the console and the playground, on whole stacks as `cargo xtask demo`
//! starts them. Pictures of every page, in light and dark, at a desk and on a phone, are left in
//! `target/screenshots`. At every page: no error in the browser's console, nothing that breaks the
//! content security policy, nothing serious found by axe, nothing too wide, everything reached by Tab.
//!
//! Chromium is installed where that can be done (`devstack::browser`); where not, the tests say what to
//! install and pass, except where `CI` is set.
#![expect(clippy::unwrap_used, reason = "tests")]

mod browser;
mod campaigns;
mod channels;
mod contacts;
mod newcomer;
mod playground;
mod reading;
mod salesforce;
mod sessions;
mod trouble;

use std::{
    net::{Ipv4Addr, SocketAddr},
    panic::AssertUnwindSafe,
};

use browser::Browser;
use e2e::sim::{Customer, Say};
use futures::FutureExt as _;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use xtask::{
    demo::{page, playground::serve},
    stack::{Kept, NUMBER, Options, Stack},
};

const NAME: &str = "ana";
const PASSWORD: &str = "correct horse battery";
/// As `console hash-password` makes it.
const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$nBSSKI4pp1NPxw5bN48PSQ$AaumRqxmERvcn53awkWBQwdxl1rqUJmqpr9j/d89jsM";

/// Everything that a walk goes through.
struct World {
    stack: Stack,
    browser: Browser,
    console: String,
    playground: String,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    dir: tempfile::TempDir,
}

impl World {
    /// None where there is no browser, and need not be one.
    async fn start(pictures: &str, kept: Kept) -> Option<Self> {
        if let Err(error) = devstack::browser::chromedriver().await {
            assert!(std::env::var_os("CI").is_none(), "this must run in CI: {error:#}");
            #[expect(clippy::print_stderr, reason = "says why nothing was tested")]
            {
                eprintln!("skipped: {error:#}");
            }
            return None;
        }
        runtime::init_crypto();
        let dir = tempfile::tempdir().unwrap();
        let users = dir.path().join("users.json");
        let people = serde_json::json!({ "people": [{ "name": NAME, "role": "owner", "password": HASH }] });
        std::fs::write(&users, people.to_string()).unwrap();
        let env = vec![("CONSOLE_USERS".to_owned(), users.display().to_string())];
        let stack = Stack::start(Options { kept, env, ..Options::default() }).await.unwrap();
        let page = page(&stack);
        let console = page.console.clone().unwrap();
        let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (address, serving) = serve(any, page, shutdown.clone()).await.unwrap();
        tasks.spawn(async move { serving.await.unwrap() });
        let playground = format!("http://{address}/");
        let browser = Browser::start(pictures).await;
        Some(Self { stack, browser, console, playground, tasks, shutdown, dir })
    }

    async fn stop(self) {
        self.browser.end().await;
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.stack.stop().await.unwrap();
    }

    /// One that ends early is wrong, and the others are walked all the same.
    async fn walk(&self, walk: impl Future<Output = ()>) {
        if let Err(panic) = AssertUnwindSafe(walk).catch_unwind().await {
            let why = panic.downcast_ref::<String>().map_or("it panicked", String::as_str);
            self.browser.is_wrong(format!("a walk ended early: {why}"));
        }
    }

    async fn open(&self, path: &str) {
        self.browser.go(&format!("{}{path}", self.console)).await;
    }

    async fn sign_in(&self) {
        let browser = &self.browser;
        self.open("/sign-in").await;
        browser.fill("Name", NAME).await;
        browser.fill("Password", PASSWORD).await;
        browser.press("Sign in").await;
        browser.see("heading", "Overview").await;
    }

    async fn says(&self, customer: &Customer, words: &str) {
        self.stack.control.say(&Say::text(NUMBER, customer, words)).await.unwrap();
    }
}

#[tokio::test]
async fn every_page_and_action() {
    let Some(world) = World::start("walks", Kept::Broker).await else { return };
    // The playground first: it is what people see first, and it fills the console's pages.
    world.walk(playground::walk(&world)).await;
    world.walk(sessions::signs_in(&world)).await;
    world.walk(sessions::walk(&world)).await;
    world.walk(contacts::walk(&world)).await;
    world.walk(campaigns::walk(&world)).await;
    world.walk(channels::walk(&world)).await;
    world.walk(salesforce::walk(&world)).await;
    world.walk(trouble::walk(&world)).await;
    world.walk(reading::walk(&world)).await;
    world.walk(sessions::signs_out(&world)).await;
    world.stop().await;
}

#[tokio::test]
async fn a_newcomer_connects_a_number_and_an_integration() {
    let Some(world) = World::start("newcomer", Kept::Nowhere).await else { return };
    newcomer::walk(&world).await;
    world.stop().await;
}
