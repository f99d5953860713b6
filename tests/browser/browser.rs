//! A browser that is used as a person uses it: by what pages call their parts.

use std::{
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use devstack::browser::{Chromedriver, axe};
use fantoccini::{
    Client, ClientBuilder,
    elements::{Element, ElementRef},
    error::CmdError,
    wd::WebDriverCompatibleCommand,
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// What Meta says of a number is kept for a minute.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const FIND: &str = include_str!("find.js");
const FOCUS: &str = include_str!("focus.js");
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// More than any page has.
const MOST_TABS: usize = 200;

/// How a page is looked at: its name in file names, its width and height, dark.
const LOOKS: [(&str, u32, u32, bool); 4] = [
    ("desktop-light", 1280, 900, false),
    ("desktop-dark", 1280, 900, true),
    ("phone-light", 390, 844, false),
    ("phone-dark", 390, 844, true),
];

pub(crate) struct Browser {
    client: Client,
    /// Browsers end with it.
    _driver: Chromedriver,
    axe: String,
    /// Where pictures go.
    pictures: PathBuf,
    taken: AtomicUsize,
    /// What pages do wrong: all of it is told at the end.
    wrong: Mutex<Vec<String>>,
}

/// Chromium's own commands and WebDriver's log, which fantoccini has no words for.
#[derive(Debug)]
struct Order {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Order {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

impl Browser {
    /// `pictures`: the directory's name below `target/screenshots`.
    pub(crate) async fn start(pictures: &str) -> Self {
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("..");
        let pictures = target.join("screenshots").join(pictures);
        // Of a run before.
        let _ = std::fs::remove_dir_all(&pictures);
        std::fs::create_dir_all(&pictures).unwrap();
        let driver = Chromedriver::start(&pictures.join("chromedriver.log")).await.unwrap();
        let options = json!({ "args": [
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars",
            "--force-color-profile=srgb", "--no-first-run", "--no-proxy-server", "--disable-extensions",
            "--disable-background-networking", "--window-size=1280,900",
        ] });
        let capabilities = json!({
            "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" },
            "unhandledPromptBehavior": "accept",
        });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(serde_json::from_value(capabilities).unwrap());
        let client = builder.connect(&driver.url()).await.unwrap();
        let axe = axe().await.unwrap();
        let browser = Self {
            client,
            _driver: driver,
            axe,
            pictures,
            taken: AtomicUsize::new(0),
            wrong: Mutex::default(),
        };
        browser.look(LOOKS[0]).await;
        browser
    }

    /// # Panics
    /// With everything that was wrong with the pages.
    pub(crate) async fn end(self) {
        self.check_log(&[]).await;
        self.client.close().await.unwrap();
        let wrong = self.wrong.into_inner().unwrap();
        assert!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    pub(crate) fn is_wrong(&self, what: String) {
        let mut wrong = self.wrong.lock().unwrap();
        if !wrong.contains(&what) {
            wrong.push(what);
        }
    }

    // ---- finding ----

    /// Parts of the page with this role (button, link, field, tick, heading, row) and name (its
    /// beginning, if it ends in `…`), within the part called `inside`, if that is not empty.
    async fn all(&self, role: &str, name: &str, inside: &str) -> Result<Vec<Element>, CmdError> {
        let found = self.client.execute(FIND, vec![role.into(), name.into(), inside.into()]).await?;
        let ids = found.as_array().into_iter().flatten().filter_map(|one| one[ELEMENT].as_str());
        Ok(ids
            .map(|id| Element::from_element_id(self.client.clone(), ElementRef::from(id.to_owned())))
            .collect())
    }

    pub(crate) async fn has(&self, role: &str, name: &str) -> bool {
        self.all(role, name, "").await.is_ok_and(|found| !found.is_empty())
    }

    pub(crate) async fn has_not(&self, role: &str, name: &str) {
        self.until(&format!("no {role} “{name}”"), async || !self.has(role, name).await).await;
    }

    pub(crate) async fn see(&self, role: &str, name: &str) {
        self.until(&format!("a {role} “{name}”"), async || self.has(role, name).await).await;
    }

    /// Does it to the first such part, once it is there; a page that changes meanwhile is looked at again.
    async fn with(
        &self,
        (role, name, inside): (&str, &str, &str),
        act: impl AsyncFn(Element) -> Result<(), CmdError>,
    ) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tried = match self.all(role, name, inside).await {
                Ok(found) => match found.into_iter().next() {
                    Some(element) => act(element).await.map_err(|error| error.to_string()),
                    None => Err("there is none".to_owned()),
                },
                Err(error) => Err(error.to_string()),
            };
            let Err(error) = tried else { return };
            if Instant::now() >= deadline {
                self.give_up(&format!("{role} “{name}” in “{inside}”: {error}")).await;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    pub(crate) async fn press(&self, name: &str) {
        self.press_in(name, "").await;
    }

    pub(crate) async fn press_in(&self, name: &str, inside: &str) {
        self.with(("button", name, inside), async |element| element.click().await).await;
    }

    pub(crate) async fn follow(&self, name: &str) {
        self.follow_in(name, "").await;
    }

    pub(crate) async fn follow_in(&self, name: &str, inside: &str) {
        self.with(("link", name, inside), async |element| element.click().await).await;
    }

    pub(crate) async fn tick(&self, name: &str) {
        self.with(("tick", name, ""), async |element| element.click().await).await;
    }

    /// In the place of what was there.
    pub(crate) async fn fill(&self, name: &str, text: &str) {
        self.fill_in(name, "", text).await;
    }

    pub(crate) async fn fill_in(&self, name: &str, inside: &str, text: &str) {
        self.with(("field", name, inside), async |element| {
            element.clear().await?;
            element.send_keys(text).await
        })
        .await;
    }

    /// A file, or the words of a list's entry.
    pub(crate) async fn give(&self, name: &str, path: &std::path::Path) {
        let path = path.to_str().unwrap();
        self.with(("field", name, ""), async |element| element.send_keys(path).await).await;
    }

    pub(crate) async fn choose(&self, name: &str, entry: &str) {
        self.with(("field", name, ""), async |element| element.select_by_label(entry).await).await;
    }

    /// What a field holds.
    pub(crate) async fn value(&self, name: &str) -> String {
        let found = self.all("field", name, "").await.unwrap();
        let field = found.first().unwrap_or_else(|| panic!("no field “{name}”"));
        field.prop("value").await.unwrap().unwrap_or_default()
    }

    // ---- words ----

    /// Everything that can be read, in one line.
    pub(crate) async fn text(&self) -> String {
        let script = "return document.body?.innerText.replace(/\\s+/g, ' ') ?? ''";
        let text = self.client.execute(script, Vec::new()).await;
        text.ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
    }

    pub(crate) async fn says(&self, words: &str) {
        self.until(&format!("the words “{words}”"), async || self.text().await.contains(words)).await;
    }

    pub(crate) async fn says_in(&self, words: &str, inside: &str) {
        self.until(&format!("the words “{words}” in “{inside}”"), async || {
            self.text_of(inside).await.contains(words)
        })
        .await;
    }

    /// Something is refused, in these words.
    pub(crate) async fn refuses(&self, words: &str) {
        let script = "return [...document.querySelectorAll('[role=alert]')].map((one) => one.textContent.replace(/\\s+/g, ' ').trim()).join(' | ')";
        self.until(&format!("a refusal “{words}”"), async || {
            let told = self.client.execute(script, Vec::new()).await.unwrap_or_default();
            told.as_str().is_some_and(|told| !told.is_empty() && told.contains(words))
        })
        .await;
    }

    pub(crate) async fn html(&self) -> String {
        self.client.source().await.unwrap()
    }

    pub(crate) async fn says_no_more(&self, words: &str) {
        self.until(&format!("not “{words}”"), async || !self.text().await.contains(words)).await;
    }

    /// Of what is labelled so.
    pub(crate) async fn text_of(&self, label: &str) -> String {
        let script = "return document.querySelector(`[aria-label=\"${arguments[0]}\"]`)?.innerText.replace(/\\s+/g, ' ') ?? ''";
        let text = self.client.execute(script, vec![label.into()]).await;
        text.ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            if Instant::now() >= deadline {
                self.give_up(&format!("waited for {what}")).await;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn give_up(&self, why: &str) -> ! {
        let turn = self.taken.fetch_add(1, Ordering::Relaxed);
        self.picture(&format!("{turn:02}-gave-up")).await;
        let (at, said) = (self.path().await, self.text().await);
        panic!("{why}\nat {at}; the page says: {said}");
    }

    // ---- going ----

    pub(crate) async fn go(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    pub(crate) async fn path(&self) -> String {
        self.client.current_url().await.map(|url| url.path().to_owned()).unwrap_or_default()
    }

    pub(crate) async fn at(&self, path: &str) {
        self.until(&format!("the page {path}"), async || self.path().await == path).await;
    }

    /// Another tab, that is looked at from now on.
    pub(crate) async fn tab(&self, url: &str) -> fantoccini::wd::WindowHandle {
        let before = self.client.window().await.unwrap();
        let new = self.client.new_window(true).await.unwrap();
        self.client.switch_to_window(new.handle).await.unwrap();
        self.look(LOOKS[0]).await;
        self.go(url).await;
        before
    }

    pub(crate) async fn close_tab(&self, back_to: fantoccini::wd::WindowHandle) {
        self.client.close_window().await.unwrap();
        self.client.switch_to_window(back_to).await.unwrap();
    }

    pub(crate) async fn scripts(&self, on: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": !on })).await;
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.client.issue_cmd(Order { path: "goog/cdp/execute", body }).await.unwrap()
    }

    async fn look(&self, (_, width, height, dark): (&str, u32, u32, bool)) {
        let scheme = if dark { "dark" } else { "light" };
        let scheme = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme }, { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.devtools("Emulation.setEmulatedMedia", scheme).await;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    // ---- judging ----

    /// Errors in the browser's console, refusals of the content security policy among them. `but`:
    /// parts of messages that are as they should be, like a form's that was refused.
    pub(crate) async fn check_log(&self, but: &[&str]) {
        let log = self.client.issue_cmd(Order { path: "se/log", body: json!({ "type": "browser" }) }).await;
        for entry in log.unwrap_or_default().as_array().into_iter().flatten() {
            let message = entry["message"].as_str().unwrap_or_default();
            let bad = ["SEVERE", "WARNING"].contains(&entry["level"].as_str().unwrap_or_default());
            if bad && !but.iter().any(|part| message.contains(part)) {
                self.is_wrong(format!("{}: the browser's console: {message}", self.path().await));
            }
        }
    }

    /// The page as it stands, in all looks: pictures, what axe finds, whether it fits; and by keyboard.
    pub(crate) async fn judge(&self, name: &str) {
        self.judge_but(name, &[]).await;
    }

    /// `but`: what the browser's console may say, as in [`Browser::check_log`].
    pub(crate) async fn judge_but(&self, name: &str, but: &[&str]) {
        let turn = self.taken.fetch_add(1, Ordering::Relaxed);
        self.check_log(but).await;
        self.client.execute(&self.axe, Vec::new()).await.unwrap();
        for look in LOOKS {
            self.look(look).await;
            self.picture(&format!("{turn:02}-{name}-{}", look.0)).await;
            self.ask_axe(&format!("{name}, {}", look.0)).await;
            let wide = self.run("return document.documentElement.scrollWidth - innerWidth").await;
            if wide.as_i64().unwrap_or_default() > 1 {
                self.is_wrong(format!("{name}, {}: {wide} pixels too wide", look.0));
            }
        }
        self.look(LOOKS[0]).await;
        self.walk_by_keyboard(name).await;
    }

    async fn picture(&self, name: &str) {
        let script = "return [Math.max(document.documentElement.scrollWidth, innerWidth), Math.max(document.documentElement.scrollHeight, innerHeight)]";
        let size = self.client.execute(script, Vec::new()).await.unwrap_or_default();
        let height = size[1].as_u64().unwrap_or(900).min(4_000);
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": height, "scale": 1 });
        let taken = self
            .devtools("Page.captureScreenshot", json!({ "captureBeyondViewport": true, "clip": clip }))
            .await;
        let bytes = STANDARD.decode(taken["data"].as_str().unwrap_or_default()).unwrap();
        std::fs::write(self.pictures.join(format!("{name}.png")), bytes).unwrap();
    }

    async fn ask_axe(&self, place: &str) {
        let script = "const done = arguments[arguments.length - 1];
            axe.run(document, { resultTypes: ['violations'] }).then((all) => done(all.violations
                .filter((one) => ['serious', 'critical'].includes(one.impact))
                .map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => `${node.target.join(' ')} (${(node.any[0] ?? node.all[0] ?? node.none[0])?.message ?? ''})`).join('; ')}`)),
                (error) => done([String(error)]))";
        let found = self.client.execute_async(script, Vec::new()).await.unwrap();
        for violation in found.as_array().unwrap() {
            self.is_wrong(format!("{place}: {}", violation.as_str().unwrap_or_default()));
        }
    }

    /// Tab reaches everything, and what has the focus shows it.
    async fn walk_by_keyboard(&self, name: &str) {
        let step = async |what: &str| self.client.execute(FOCUS, vec![what.into()]).await.unwrap();
        step("start").await;
        // A field for a date takes several.
        for _ in 0..MOST_TABS {
            for kind in ["rawKeyDown", "keyUp"] {
                let tab = json!({ "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 });
                self.devtools("Input.dispatchKeyEvent", tab).await;
            }
            let seen = step("step").await;
            if let Some(wrong) = seen[0].as_str() {
                self.is_wrong(format!("{name}: {wrong}"));
            }
            if seen[1] == false {
                break;
            }
        }
        for wrong in step("end").await.as_array().into_iter().flatten() {
            self.is_wrong(format!("{name}: {}", wrong.as_str().unwrap_or_default()));
        }
    }
}
