//! HTTP/1.1, or over TLS also HTTP/2, with the bad manners that a real network has: a connection can be dropped instead of
//! answered, and the whole listener can go away and come back on the same port.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, Method, Request, Response, StatusCode, header},
};
use bytes::Bytes;
use futures::future::BoxFuture;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// More than any test opens: tens of thousands of event streams, and what is around them.
const MAX_CONNECTIONS: usize = 65_536;
/// An upload of 100 MB with what is around it.
const MAX_BODY_BYTES: usize = 104 << 20;

pub(super) type Answer = Response<Body>;

/// The connection ends instead of an answer.
#[derive(Debug)]
pub(super) struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("dropped on purpose")
    }
}

impl std::error::Error for Dropped {}

pub(super) type Handler = Arc<dyn Fn(Call) -> BoxFuture<'static, Result<Answer, Dropped>> + Send + Sync>;

/// A request with its body read.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: HashMap<String, String>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    pub(super) fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|segment| !segment.is_empty()).collect()
    }

    pub(super) fn has_json_content(&self) -> bool {
        self.header("content-type")
            .is_some_and(|value| value.split(';').next().unwrap_or_default().trim() == "application/json")
    }
}

pub(super) fn answer(status: u16, content_type: &str, body: impl Into<Body>) -> Answer {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = content_type.parse() {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

pub(super) fn json(status: u16, body: &Value) -> Answer {
    answer(status, "application/json", body.to_string())
}

/// A pause that ends early when the simulator stops.
pub(super) async fn pause(stop: &CancellationToken, length: Duration) {
    let _ended = tokio::time::timeout(length, stop.cancelled()).await;
}

/// What is not simulated says so.
pub(super) fn not_simulated(api: &str, call: &Call) -> Answer {
    let what = format!("{} {} is not simulated", call.method, call.path);
    json(501, &serde_json::json!({ "simulator": api, "message": what }))
}

/// The gateway's page, as both APIs show it when the service behind is away.
pub(super) fn gateway_page() -> Answer {
    let page = "<html><body>upstream connect error or disconnect/reset before headers</body></html>";
    answer(503, "text/html", page)
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    wanted: watch::Sender<bool>,
    actual: watch::Receiver<bool>,
}

impl Server {
    pub(super) async fn start(
        addr: SocketAddr,
        handler: Handler,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        Self::start_over(None, addr, handler, tracker, stop).await
    }

    /// HTTP/2 for those who ask for it (ALPN).
    pub(super) async fn start_over(
        tls: Option<TlsAcceptor>,
        addr: SocketAddr,
        handler: Handler,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let (wanted, wanted_changes) = watch::channel(true);
        let (actual_changes, actual) = watch::channel(true);
        let listening = Listening { tls, addr, handler, tracker: tracker.clone(), stop };
        tracker.spawn(listening.run(listener, wanted_changes, actual_changes));
        Ok(Self { addr, wanted, actual })
    }

    /// Down: connections are refused and the open ones cut. Returns when it is so.
    pub(super) async fn set_up(&self, up: bool) {
        self.wanted.send_replace(up);
        let mut actual = self.actual.clone();
        let _stopped = actual.wait_for(|actual| *actual == up).await;
    }
}

struct Listening {
    tls: Option<TlsAcceptor>,
    addr: SocketAddr,
    handler: Handler,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Listening {
    async fn run(
        self,
        mut listener: TcpListener,
        mut wanted: watch::Receiver<bool>,
        actual: watch::Sender<bool>,
    ) {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let life = self.stop.child_token();
            loop {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    served = until(&mut wanted, false) => {
                        if !served {
                            return;
                        }
                        break;
                    }
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => self.serve(stream, life.clone(), &permits),
                        // Out of file descriptors: give the others a moment to end.
                        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    },
                }
            }
            life.cancel();
            drop(listener);
            actual.send_replace(false);
            tokio::select! {
                () = self.stop.cancelled() => return,
                served = until(&mut wanted, true) => if !served { return },
            }
            listener = loop {
                match TcpListener::bind(self.addr).await {
                    Ok(listener) => break listener,
                    Err(_) if self.stop.is_cancelled() => return,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            actual.send_replace(true);
        }
    }

    fn serve(&self, stream: TcpStream, life: CancellationToken, permits: &Arc<Semaphore>) {
        let Ok(permit) = permits.clone().try_acquire_owned() else { return };
        let (tls, handler, tracker) = (self.tls.clone(), self.handler.clone(), self.tracker.clone());
        self.tracker.spawn(life.run_until_cancelled_owned(async move {
            let _permit = permit;
            let _ = stream.set_nodelay(true);
            let Some(tls) = tls else { return speak(stream, false, handler, tracker).await };
            let Ok(stream) = tls.accept(stream).await else { return };
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            speak(stream, h2, handler, tracker).await;
        }));
    }
}

/// Until either side ends the connection.
async fn speak<S>(stream: S, h2: bool, handler: Handler, tracker: TaskTracker)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service =
        service_fn(move |request: Request<Incoming>| respond(handler.clone(), tracker.clone(), request));
    let stream = TokioIo::new(stream);
    let _ended = if h2 {
        let mut server = http2::Builder::new(TokioExecutor::new());
        server.timer(TokioTimer::new()).serve_connection(stream, service).await
    } else {
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(stream, service).await
    };
}

/// Waits for the order; false when nobody can give it any more.
async fn until(wanted: &mut watch::Receiver<bool>, up: bool) -> bool {
    wanted.wait_for(|wanted| *wanted == up).await.is_ok()
}

async fn respond(
    handler: Handler,
    tracker: TaskTracker,
    request: Request<Incoming>,
) -> Result<Answer, Dropped> {
    let (parts, body) = request.into_parts();
    let body = match axum::body::to_bytes(Body::new(body), MAX_BODY_BYTES).await {
        Ok(body) => body,
        Err(_) => return Ok(json(413, &serde_json::json!({ "message": "body too large" }))),
    };
    let query = parts.uri.query().unwrap_or_default();
    let query = axum::extract::Query::<HashMap<String, String>>::try_from_uri(&parts.uri)
        .map(|found| found.0)
        .unwrap_or_else(|_| HashMap::from([("malformed".to_owned(), query.to_owned())]));
    let path = parts.uri.path().to_owned();
    let call = Call { method: parts.method, path, query, headers: parts.headers, body };
    // In a task of its own: a caller that gives up does not undo what it asked for, as in life.
    tracker.spawn(handler(call)).await.unwrap_or(Err(Dropped))
}
