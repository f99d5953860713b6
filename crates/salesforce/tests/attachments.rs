//! Reps' files, from a server that is not told who we are.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use axum::body::Body;
use salesforce::{Attachments, Cause, FetchError};
use support::Server;

const LINK: &str = "/sfc/dist/version/download/?oid=00D&ids=068secret";

async fn ready() -> (Server, Attachments, String) {
    let server = Server::start().await;
    let attachments = Attachments::new(&[server.url.parse().unwrap()]).unwrap();
    let link = format!("{}{LINK}", server.url);
    (server, attachments, link)
}

#[tokio::test]
async fn a_file_is_fetched_without_our_token_and_through_redirects() {
    let (server, attachments, link) = ready().await;
    for _ in 0..3 {
        server.prepare(302, &[("location", "/elsewhere")], "");
    }
    server.prepare(200, &[("content-type", "image/jpeg")], "bytes");
    let mut download = attachments.open(&link, 5).await.unwrap();
    assert_eq!((download.mime(), download.length()), (Some("image/jpeg"), Some(5)));
    assert_eq!(download.chunk().await.unwrap().as_deref(), Some(&b"bytes"[..]));
    assert_eq!(download.chunk().await.unwrap(), None);
    let seen = server.seen();
    assert_eq!((seen[0].target.as_str(), seen[3].target.as_str()), (LINK, "/elsewhere"));
    assert!(seen.iter().all(|seen| !seen.headers.contains_key("authorization")));
    assert!(seen.iter().all(|seen| !seen.headers.contains_key("referer")));

    for _ in 0..4 {
        server.prepare(302, &[("location", "/elsewhere")], "");
    }
    assert!(matches!(attachments.fetch(&link, 5).await, Err(FetchError::ForeignHost)));
}

#[tokio::test]
async fn nobody_is_led_elsewhere() {
    let (server, attachments, link) = ready().await;
    for place in
        ["https://evil.example.com/", "http://10.0.0.1/", "https://[::ffff:10.0.0.1]/", "file:///etc/passwd"]
    {
        server.prepare(302, &[("location", place)], "");
        assert!(matches!(attachments.fetch(&link, 5).await, Err(FetchError::ForeignHost)), "{place}");
    }
    // Salesforce's name, but an address behind it that is ours.
    let inside = attachments.allowing(["localdomain".into(), "localhost.localdomain".into()]);
    let error = inside.fetch("https://localhost.localdomain/x?ids=068secret", 5).await.unwrap_err();
    assert!(matches!(error, FetchError::Retry(Cause::Transport(_))), "{error:?}");
    assert!(!format!("{error:?}").contains("068secret"));
}

#[tokio::test]
async fn sizes_are_limited_told_or_not() {
    let (server, attachments, link) = ready().await;
    server.prepare(200, &[], "123456");
    assert!(matches!(attachments.fetch(&link, 5).await, Err(FetchError::TooLarge { limit: 5 })));
    let pieces = ["123", "456"].map(|piece| Ok::<_, std::io::Error>(bytes::Bytes::from(piece)));
    server.prepare(200, &[], Body::from_stream(futures::stream::iter(pieces)));
    assert!(matches!(attachments.fetch(&link, 5).await, Err(FetchError::TooLarge { limit: 5 })));
    server.prepare(200, &[], "12345");
    assert_eq!(attachments.fetch(&link, 5).await.unwrap().as_ref(), b"12345");
}

#[tokio::test]
async fn a_file_that_is_not_ready_is_waited_for() {
    let (server, attachments, link) = ready().await;
    server.prepare(404, &[], "");
    server.prepare(200, &[], "12345");
    assert_eq!(attachments.open_when_ready(&link, 5).await.unwrap().length(), Some(5));

    let hasty = attachments.with_patience(Duration::ZERO);
    server.prepare(503, &[], "");
    let error = hasty.open_when_ready(&link, 5).await.unwrap_err();
    assert!(matches!(error, FetchError::Refused { status } if status == 503), "{error}");
    assert!(!format!("{error} {error:?}").contains("068secret"));
    server.prepare(410, &[], "");
    assert!(matches!(hasty.open_when_ready(&link, 5).await, Err(FetchError::Gone)));
    server.prepare(403, &[], "");
    assert!(matches!(hasty.fetch(&link, 5).await, Err(FetchError::Refused { .. })));
}
