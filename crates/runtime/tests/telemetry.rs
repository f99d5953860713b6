//! Telemetry is process-wide, so the program under test is this binary, run again.

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, http::Uri};

const CHILD: &str = "BATON_TELEMETRY_CHILD";

#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    // Inside a single-threaded runtime: the hardest place to flush from.
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let _telemetry = runtime::telemetry::init("child").unwrap();
        let _span = tracing::info_span!("work", { runtime::fields::PARTITION } = 7).entered();
        opentelemetry::global::meter("child").u64_counter("things").build().add(1, &[]);
        tracing::info!("something happened");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_and_metrics_reach_the_collector_before_the_process_ends() {
    type Seen = Arc<Mutex<Vec<(String, Bytes)>>>;
    let seen = Seen::default();
    let collect = |State(seen): State<Seen>, uri: Uri, body: Bytes| async move {
        seen.lock().unwrap().push((uri.path().to_owned(), body));
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let receiver = Router::new().fallback(collect).with_state(seen.clone());
    let served = tokio_util::task::AbortOnDropHandle::new(
        tokio_util::task::TaskTracker::new().spawn(async { axum::serve(listener, receiver).await }),
    );
    let output = tokio::task::spawn_blocking(move || {
        Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .envs([(CHILD, "1"), ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("LOG_FORMAT", "json")])
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{log}");
    assert!(log.lines().any(|line| line.contains(r#""message":"something happened""#)), "{log}");
    let seen = seen.lock().unwrap();
    for (path, word) in [("/v1/traces", "baton.partition"), ("/v1/metrics", "things")] {
        let holds = |body: &Bytes| body.windows(word.len()).any(|part| part == word.as_bytes());
        assert!(seen.iter().any(|(at, body)| at == path && holds(body)), "{path} lacks {word}");
    }
    drop(served);
}
