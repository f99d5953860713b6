//! With a certified provider: npm's `oidc-provider`, as strict as it is out of the box.
//!
//! It comes from the package registry and stays in the target directory. Without Node or a registry
//! the test says so and passes.

use std::{collections::BTreeMap, path::Path, process::Stdio, time::Duration};

use reqwest::{Response, header};
use tokio::process::{Child, Command};
use url::Url;

use super::{
    OidcArgs, arguments,
    bench::{Bench, Site},
    refused, sent, with,
};

const PATIENCE: Duration = Duration::from_secs(60);
const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oidc");

/// Where its packages are.
async fn packages() -> Option<std::path::PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc-provider-9.13.3");
    if home.join("node_modules/oidc-provider").exists() {
        return Some(home);
    }
    let version = Command::new("node").arg("--version").output().await.ok()?;
    let major = String::from_utf8_lossy(&version.stdout).trim_start_matches('v').split('.').next()?.parse();
    if major.unwrap_or(0) < 20 {
        return None;
    }
    // Complete or not there at all.
    let part = home.with_extension(format!("{}.part", std::process::id()));
    std::fs::create_dir_all(&part).unwrap();
    std::fs::copy(format!("{DIR}/package.json"), part.join("package.json")).unwrap();
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--silent"]).current_dir(&part).stdin(Stdio::null());
    let done = tokio::time::timeout(3 * PATIENCE, npm.output()).await.ok()?.ok()?;
    if !done.status.success() {
        return None;
    }
    let _moved = std::fs::rename(&part, &home);
    Some(home)
}

async fn start(packages: &Path, port: u16, algorithm: &str) -> Child {
    let script = format!("{DIR}/provider.mjs");
    let back = "http://localhost:8081/sign-in/oidc/callback";
    let child = Command::new("node")
        .args([&script, &port.to_string(), back, algorithm])
        .current_dir(packages)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let up = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, up).await.expect("the provider starts");
    child
}

/// Does at the provider what a person does: follows it, fills its forms in; `None` where they refuse.
async fn through(address: &Url, name: &str, agrees: bool) -> Url {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut cookies: BTreeMap<String, String> = BTreeMap::new();
    let mut at = address.clone();
    let mut form: Option<String> = None;
    for _ in 0..20 {
        let pairs = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let request = match form.take() {
            Some(form) => http
                .post(at.clone())
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form),
            None => http.get(at.clone()),
        };
        let answer: Response = request.header(header::COOKIE, pairs.join("; ")).send().await.unwrap();
        for set in answer.headers().get_all(header::SET_COOKIE) {
            let (name, value) = set.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            cookies.insert(name.to_owned(), value.to_owned());
        }
        if let Some(to) = answer.headers().get(header::LOCATION) {
            at = at.join(to.to_str().unwrap()).unwrap();
            if at.path() == "/sign-in/oidc/callback" {
                return at;
            }
            continue;
        }
        let (status, page) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{page}");
        if !agrees {
            at = at.join(&format!("{}/abort", at.path())).unwrap();
        } else if page.contains("value=\"login\"") {
            form = Some(format!("prompt=login&login={name}&password=any"));
        } else {
            assert!(page.contains("value=\"consent\""), "{page}");
            form = Some("prompt=consent".into());
        }
    }
    panic!("the provider leads around in circles");
}

async fn back(site: &Site, to: &Url) -> Response {
    site.get(&format!("{}?{}", to.path(), to.query().unwrap())).await
}

#[tokio::test]
async fn a_certified_provider_lets_people_in() {
    let Some(packages) = packages().await else {
        println!("SKIPPED: there is no Node (20 or newer), or no registry to install oidc-provider from");
        return;
    };
    let bench = Bench::start().await;
    for algorithm in ["RS256", "ES256"] {
        let port = devstack::free_port().unwrap();
        let _provider = start(&packages, port, algorithm).await;
        let given = OidcArgs {
            console_oidc_scopes: "openid email groups".into(),
            ..arguments(&format!("http://localhost:{port}"))
        };
        let site = bench.console(with(&given)).await;
        let going = sent(&site, "/sessions").await;
        let answered = through(&going.address, "olga", true).await;
        assert!(answered.query().unwrap().contains("iss="), "it says who it is: {answered}");
        let answer = back(&going.site, &answered).await;
        assert_eq!(answer.status(), 303, "{algorithm}: {}", answer.text().await.unwrap());
        let visit = site.visit(answer).await;
        let page = visit.site.get("/sessions").await.text().await.unwrap();
        assert!(page.contains("olga@example.com"), "{algorithm}");
        let csrf = [("x-csrf-token", visit.csrf.as_str())];
        assert_eq!(visit.site.act(&csrf).await.0, 404, "{algorithm}: an owner");

        let stranger = sent(&site, "/sessions").await;
        let answered = through(&stranger.address, "zoe", true).await;
        refused(back(&stranger.site, &answered).await, 403, "You have no role here", "zoe").await;
        let unwilling = sent(&site, "/sessions").await;
        let answered = through(&unwilling.address, "olga", false).await;
        refused(back(&unwilling.site, &answered).await, 403, "did not let you in", "unwilling").await;
    }
    bench.stop().await;
}
