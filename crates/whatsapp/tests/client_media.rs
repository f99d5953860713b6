//! Files: where they are asked for, to whom the token is shown, and what arrives.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use domain::{PhoneNumberId, message::MediaKind};
use secrecy::SecretString;
use serde_json::json;
use tokio::net::TcpListener;
use whatsapp::client::{Client, Config, FetchError, MediaInfo, SendError};

const FILE: &[u8] = b"a file of twenty-six bytes";
/// Of the file, both ways of writing it.
const HEX: &str = "6d1db1fbd66d707d90b61fb657d2e85c31916ec9a72669a5e9844fe1e16087ab";
const BASE64: &str = "bR2x+9ZtcH2Qth+2V9LoXDGRbsmnJmml6YRP4eFgh6s=";

#[derive(Default)]
struct Meta {
    /// Path of every request, with its user agent and token.
    asked: Vec<(String, String, String)>,
    uploads: Vec<(String, Bytes)>,
    /// How many times the file's address is stale.
    stale: usize,
    /// Elsewhere.
    elsewhere: String,
}

type Shared = Arc<Mutex<Meta>>;

async fn answer(
    State(meta): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut meta = meta.lock().unwrap();
    let text = |name| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    meta.asked.push((uri.to_string(), text(header::USER_AGENT), text(header::AUTHORIZATION)));
    let own = format!("http://{}", text(header::HOST));
    match (method.as_str(), uri.path()) {
        ("GET", "/v25.0/900") => {
            let info = json!({"url": format!("{own}/file"), "mime_type": "text/plain", "sha256": HEX,
                "file_size": FILE.len().to_string(), "id": "900", "messaging_product": "whatsapp"});
            info.to_string().into_response()
        }
        ("GET", "/file") if meta.stale > 0 => {
            meta.stale -= 1;
            StatusCode::NOT_FOUND.into_response()
        }
        ("GET", "/file") => FILE.into_response(),
        // No length in advance.
        ("GET", "/chunked") => {
            let chunks = FILE.chunks(7).map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk)));
            Body::from_stream(futures::stream::iter(chunks)).into_response()
        }
        ("GET", "/moved") => (StatusCode::FOUND, [(header::LOCATION, "/file")]).into_response(),
        ("GET", "/round") => (StatusCode::FOUND, [(header::LOCATION, "/round")]).into_response(),
        ("GET", "/away") => (StatusCode::FOUND, [(header::LOCATION, meta.elsewhere.clone())]).into_response(),
        ("GET", "/forbidden") => StatusCode::FORBIDDEN.into_response(),
        ("GET", "/broken") => StatusCode::BAD_GATEWAY.into_response(),
        ("POST", "/v25.0/220/media") => {
            meta.uploads.push((text(header::CONTENT_TYPE), body));
            json!({"id": "77"}).to_string().into_response()
        }
        ("DELETE", "/v25.0/900") => json!({"success": true}).to_string().into_response(),
        _ => {
            let unknown = json!({"error": {"message": "Unsupported get request.", "type": "GraphMethodException",
                "code": 100, "error_subcode": 33}});
            (StatusCode::BAD_REQUEST, unknown.to_string()).into_response()
        }
    }
}

async fn serve() -> (u16, Shared) {
    let meta = Shared::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().fallback(answer).with_state(Arc::clone(&meta));
    #[expect(clippy::disallowed_methods, reason = "a server of the test, gone with its runtime")]
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (port, meta)
}

struct World {
    client: Client,
    meta: Shared,
    port: u16,
    number: PhoneNumberId,
    token: SecretString,
}

async fn world() -> World {
    let (port, meta) = serve().await;
    let graph_url = format!("http://127.0.0.1:{port}/v25.0").parse().unwrap();
    let client = Client::new(&Config { graph_url, graph_timeout: Duration::from_secs(5) }).unwrap();
    World { client, meta, port, number: PhoneNumberId::new("220"), token: "secret".into() }
}

impl World {
    async fn read(&self, path: &str, sha256: Option<&str>, limit: u64) -> Result<Vec<u8>, FetchError> {
        let url = if path.contains(':') {
            path.to_owned()
        } else {
            format!("http://127.0.0.1:{}{path}", self.port)
        };
        let info = MediaInfo { url: url.into(), mime_type: String::new(), sha256: None, file_size: None };
        let mut download = self.client.fetch(&self.token, &info, sha256, limit).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = download.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        assert_eq!(download.sha256(), HEX);
        Ok(bytes)
    }

    fn asked(&self) -> Vec<String> {
        self.meta.lock().unwrap().asked.iter().map(|(path, ..)| path.clone()).collect()
    }
}

#[tokio::test]
async fn a_file_comes_whole_and_is_checked() {
    let world = world().await;
    for path in ["/file", "/chunked"] {
        for sha256 in [Some(HEX), Some(BASE64), None] {
            assert_eq!(world.read(path, sha256, 100).await.unwrap(), FILE);
        }
        let other = "00".repeat(32);
        assert!(matches!(world.read(path, Some(&other), 100).await, Err(FetchError::Damaged)));
        let limited = world.read(path, None, 10).await;
        assert!(matches!(limited, Err(FetchError::TooLarge { limit: 10 })), "{path}: {limited:?}");
    }
    for (_, agent, token) in &world.meta.lock().unwrap().asked {
        assert!(agent.starts_with("baton/"));
        assert_eq!(token, "Bearer secret");
    }
}

#[tokio::test]
async fn a_stale_address_is_asked_for_once_more() {
    let world = world().await;
    world.meta.lock().unwrap().stale = 1;
    let fetched = world.client.fetch_media(&world.number, &world.token, "900", None, 100).await;
    let (info, mut download) = fetched.unwrap();
    assert_eq!(download.chunk().await.unwrap().unwrap(), FILE);
    assert_eq!((download.chunk().await.unwrap(), info.file_size), (None, Some(26)));
    let info = "/v25.0/900?phone_number_id=220";
    assert_eq!(world.asked(), [info, "/file", info, "/file"]);

    world.meta.lock().unwrap().stale = 2;
    let fetched = world.client.fetch_media(&world.number, &world.token, "900", None, 100).await;
    assert!(matches!(fetched, Err(FetchError::Gone)));
    let fetched = world.client.fetch_media(&world.number, &world.token, "901", None, 100).await;
    assert!(matches!(fetched, Err(FetchError::Gone)), "the Graph API does not know the id");
}

#[tokio::test]
async fn the_token_never_goes_elsewhere() {
    let world = world().await;
    let (elsewhere, other) = serve().await;
    for url in [
        format!("http://127.0.0.1:{elsewhere}/file"),
        format!("http://localhost:{elsewhere}/file"),
        "http://169.254.169.254/latest".to_owned(),
        "https://evil.example/file".to_owned(),
        "not an address".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        assert!(matches!(world.read(&url, None, 100).await, Err(FetchError::ForeignHost)), "{url}");
    }
    assert!(world.asked().is_empty(), "nothing was asked");

    assert_eq!(world.read("/moved", None, 100).await.unwrap(), FILE, "within the same host");
    assert!(matches!(world.read("/round", None, 100).await, Err(FetchError::ForeignHost)));
    world.meta.lock().unwrap().elsewhere = format!("http://127.0.0.1:{elsewhere}/file");
    assert!(matches!(world.read("/away", None, 100).await, Err(FetchError::ForeignHost)));
    assert!(other.lock().unwrap().asked.is_empty(), "nobody else was asked");
}

#[tokio::test]
async fn failures_say_what_kind_they_are() {
    let world = world().await;
    assert!(matches!(world.read("/forbidden", None, 100).await, Err(FetchError::Refused { .. })));
    let error = world.read("/broken", None, 100).await.unwrap_err();
    assert!(matches!(error, FetchError::Retry(_)), "{error:?}");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let graph_url = format!("http://127.0.0.1:{closed}/v25.0").parse().unwrap();
    let client = Client::new(&Config { graph_url, graph_timeout: Duration::from_secs(5) }).unwrap();
    let error = client.media_info(&world.number, &world.token, "900").await.unwrap_err();
    assert!(matches!(error, FetchError::Retry(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("900"), "no address, no id: {error:?}");
}

#[tokio::test]
async fn a_file_is_uploaded_with_its_name_and_type_and_can_be_deleted() {
    let world = world().await;
    let World { client, number, token, .. } = &world;
    for (mime, declared) in [("image/jpeg", "image/jpeg"), ("no type at all", "application/octet-stream")] {
        let bytes = Bytes::from_static(FILE);
        let uploaded = client.upload(number, token, "photo \"1\".jpg", mime, bytes).await.unwrap();
        assert_eq!(uploaded.id, "77");
        let (kind, body) = world.meta.lock().unwrap().uploads.pop().unwrap();
        assert!(kind.starts_with("multipart/form-data"));
        let body = String::from_utf8(body.to_vec()).unwrap();
        for part in ["name=\"messaging_product\"\r\n\r\nwhatsapp", "filename=", "a file of twenty-six bytes"]
        {
            assert!(body.contains(part), "{part}: {body}");
        }
        assert!(body.contains(&format!("name=\"type\"\r\n\r\n{declared}")), "{body}");
        assert!(body.to_lowercase().contains(&format!("content-type: {declared}")), "{body}");
    }
    let chunks = FILE.chunks(5).map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk)));
    let stream = whatsapp::client::Body::wrap_stream(futures::stream::iter(chunks));
    client.upload_stream(number, token, "a.txt", "text/plain", stream, FILE.len() as u64).await.unwrap();
    let (_, body) = world.meta.lock().unwrap().uploads.pop().unwrap();
    assert!(String::from_utf8(body.to_vec()).unwrap().contains("a file of twenty-six bytes"));
    client.delete_media(number, token, "900").await.unwrap();
    assert_eq!(world.asked().last().unwrap(), "/v25.0/900?phone_number_id=220");
    let unknown =
        client.upload(&PhoneNumberId::new("1"), token, "a", "text/plain", Bytes::from_static(FILE)).await;
    assert!(matches!(unknown, Err(SendError::Refused(_))), "{unknown:?}");
}

#[test]
fn what_customers_may_send_is_limited() {
    assert!(whatsapp::client::inbound_limit(MediaKind::Document) == 100 * 1024 * 1024);
}
