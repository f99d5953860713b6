//! One connection for one stream: TCP, TLS, the request's head.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, header, uri::PathAndQuery};
use http_body_util::Empty;
use hyper::{
    body::{Body as _, Frame, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::ENDPOINT;
use crate::{
    AccessToken, Client, Error,
    client::USER_AGENT,
    error::{TimedOut, refusal},
};

/// What is read of an answer that is no stream.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
/// hyper reads into 8 KiB and grows up to this when that fills; the answer's head has to fit.
const MAX_BUFFER_BYTES: usize = 32 * 1024;

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

type Connection = http1::Connection<TokioIo<Box<dyn Io>>, Empty<Bytes>>;

/// The answer's body together with the connection that feeds it: whoever waits for the body drives
/// the connection, so no task is needed that somebody would have to end.
pub(super) struct Answer {
    body: Incoming,
    connection: Option<Pin<Box<Connection>>>,
}

impl Answer {
    /// The next bytes; `None` when the server ended the stream.
    pub(super) async fn bytes(&mut self) -> Option<hyper::Result<Bytes>> {
        loop {
            match std::future::poll_fn(|cx| self.poll_frame(cx)).await? {
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(Ok(bytes));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        drive(&mut self.connection, cx);
        Pin::new(&mut self.body).poll_frame(cx)
    }
}

/// The connection's own error is dropped: the body tells the same.
fn drive(connection: &mut Option<Pin<Box<Connection>>>, cx: &mut Context<'_>) {
    if connection.as_mut().is_some_and(|connection| connection.as_mut().poll(cx).is_ready()) {
        *connection = None;
    }
}

/// Opens the stream; bounded by the client's `connect` and `total`.
pub(super) async fn connect(
    client: &Client,
    token: &AccessToken,
    last_event_id: &str,
) -> Result<Answer, Error> {
    let options = client.inner.options;
    let io = timeout(options.connect, open(client))
        .await
        .map_err(|_| Error::transport(ENDPOINT, TimedOut(options.connect)))??;
    let head = async {
        let (response, connection) = exchange(client, token, last_event_id, io).await?;
        check(response, connection).await
    };
    timeout(options.total, head).await.map_err(|_| Error::transport(ENDPOINT, TimedOut(options.total)))?
}

async fn open(client: &Client) -> Result<Box<dyn Io>, Error> {
    let base = &client.inner.base;
    let broken = |error: std::io::Error| Error::transport(ENDPOINT, error);
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = base.port_or_known_default().unwrap_or(443);
    let tcp = TcpStream::connect((host, port)).await.map_err(broken)?;
    // The request is one small write, and it should not wait.
    tcp.set_nodelay(true).map_err(broken)?;
    if base.scheme() == "http" {
        return Ok(Box::new(tcp)); // loopback: `Client::new` saw to it
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|e| Error::transport(ENDPOINT, e))?;
    let tls = TlsConnector::from(client.inner.tls.clone()).connect(name, tcp).await.map_err(broken)?;
    Ok(Box::new(tls))
}

async fn exchange(
    client: &Client,
    token: &AccessToken,
    last_event_id: &str,
    io: Box<dyn Io>,
) -> Result<(Response<Incoming>, Option<Pin<Box<Connection>>>), Error> {
    let broken = |error: hyper::Error| Error::transport(ENDPOINT, error);
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_BUFFER_BYTES)
        .handshake(TokioIo::new(io))
        .await
        .map_err(broken)?;
    let request = request(client, token, last_event_id).map_err(|e| Error::transport(ENDPOINT, e))?;
    let mut connection = Some(Box::pin(connection));
    let mut response = std::pin::pin!(sender.send_request(request));
    let response = std::future::poll_fn(|cx| {
        drive(&mut connection, cx);
        response.as_mut().poll(cx)
    })
    .await
    .map_err(broken)?;
    Ok((response, connection))
}

/// §7.1.
fn request(
    client: &Client,
    token: &AccessToken,
    last_event_id: &str,
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let base = &client.inner.base;
    let host = match base.port() {
        Some(port) => format!("{}:{port}", base.host_str().unwrap_or_default()),
        None => base.host_str().unwrap_or_default().to_owned(),
    };
    let bearer = format!("Bearer {}", token.token.expose_secret());
    let mut bearer = http::HeaderValue::try_from(bearer)?;
    bearer.set_sensitive(true);
    // An id that is no header value cannot have come from Salesforce.
    let cursor = http::HeaderValue::from_str(last_event_id)
        .ok()
        .filter(|id| !id.is_empty())
        .unwrap_or(http::HeaderValue::from_static("0"));
    Request::get(PathAndQuery::from_static("/eventrouter/v1/sse"))
        .header(header::HOST, host)
        .header(header::ACCEPT, "text/event-stream")
        .header(header::AUTHORIZATION, bearer)
        .header("X-Org-Id", client.inner.org.as_str())
        .header("Last-Event-Id", cursor)
        .header(header::CACHE_CONTROL, "no-cache")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::USER_AGENT, USER_AGENT)
        .body(Empty::new())
}

async fn check(
    response: Response<Incoming>,
    connection: Option<Pin<Box<Connection>>>,
) -> Result<Answer, Error> {
    let (head, body) = response.into_parts();
    let mut answer = Answer { body, connection };
    if !head.status.is_success() {
        let mut body = Vec::new();
        while let Some(Ok(bytes)) = answer.bytes().await {
            let room = MAX_REFUSAL_BYTES - body.len();
            body.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if body.len() == MAX_REFUSAL_BYTES {
                break;
            }
        }
        return Err(refusal(ENDPOINT, head.status, &head.headers, &body));
    }
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream") {
        return Err(Error::Unreadable { endpoint: ENDPOINT, status: head.status });
    }
    Ok(answer)
}
