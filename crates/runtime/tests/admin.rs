//! What operators reach at run time. Telemetry is process-wide, so the program under test is this
//! binary, run again.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

const CHILD: &str = "BATON_ADMIN_CHILD";

/// Counts, then says what it is told to on its standard input, at `debug`.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let _telemetry = runtime::telemetry::init("child").unwrap();
    let meter = opentelemetry::global::meter("child");
    meter.u64_counter(runtime::metrics::HANDOFFS).build().add(2, &[]);
    let duration = meter.f64_histogram(runtime::metrics::SEND_DURATION).with_unit("s").build();
    duration.record(0.02, &[]);
    for line in std::io::stdin().lines() {
        tracing::debug!(line = line.unwrap(), "said");
        tracing::info!("heard");
    }
}

#[tokio::test]
async fn metrics_are_scraped_and_the_filter_of_logs_changes_at_run_time() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .envs([(CHILD, "1"), ("RUST_LOG", "info"), ("LOG_FORMAT", "json")])
        .env("ADMIN_ADDR", address.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = |word: &str| {
        let line = lines.find_map(|line| Some(line.unwrap()).filter(|line| line.contains(word)));
        line.expect(word)
    };
    until("starting");

    let http = runtime::http_client(runtime::HttpTimeouts::default()).unwrap();
    let at = |path: &str| format!("http://{address}{path}");
    // The child counts right after it said that it starts.
    let text = loop {
        let text = http.get(at("/metrics")).send().await.unwrap().text().await.unwrap();
        if text.contains("baton_send_duration") {
            break text;
        }
        tokio::task::yield_now().await;
    };
    let line =
        |start: &str, end: &str| text.lines().any(|line| line.starts_with(start) && line.ends_with(end));
    assert!(line("baton_handoffs_total{", " 2"), "{text}");
    assert!(text.contains(r#"le="0.025""#) && text.contains(r#"service_name="child""#), "{text}");

    use std::io::Write as _;
    writeln!(input, "not yet").unwrap();
    assert!(until("").contains("heard"), "nothing is said at debug");
    let put = async |filter: &'static str| {
        http.put(at("/log-filter")).body(filter).send().await.unwrap().status().as_u16()
    };
    assert_eq!(put("what=is=this").await, 400);
    assert_eq!(put("debug").await, 200);
    assert_eq!(http.get(at("/log-filter")).send().await.unwrap().text().await.unwrap(), "debug\n");
    writeln!(input, "now").unwrap();
    assert!(until("said").contains("now"));
    drop(input);
    assert!(child.wait().unwrap().success());
}
