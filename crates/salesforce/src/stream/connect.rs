//! From a token to an answer that streams: TCP, TLS, the request, the answer's head.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header, uri::PathAndQuery};
use http_body_util::Empty;
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret as _;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    ENDPOINT,
    body::{self, Framing},
    multiplex::{self, Multiplexed},
};
use crate::{
    AccessToken, Client, Error,
    client::USER_AGENT,
    error::{TimedOut, refusal},
};

/// What is read of an answer that is no stream.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
/// Read at once, on the stack of whoever reads: nothing is kept between reads.
const READ_BYTES: usize = 8 * 1024;
/// A peer that is gone shows within about a minute, before `idle_max` has passed.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_PROBES: u32 = 3;

/// A connection.
pub(super) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Io {
    /// What both sides agreed on while they shook hands.
    fn speaks_h2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

/// An answer's body, with the connection that brings it: whoever reads it drives the connection, or
/// shares it with other streams.
pub(super) enum Answer {
    Alone(Alone),
    Shared(Multiplexed),
}

/// HTTP/1.1: a connection of its own.
pub(super) struct Alone {
    io: Io,
    body: Framing,
    /// What came with the head.
    early: Vec<u8>,
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

impl Answer {
    /// Gives what came next to `sink`; false at the end. Loses nothing when it is dropped while it
    /// waits.
    pub(super) async fn read(&mut self, mut sink: impl FnMut(&[u8])) -> Result<bool, Broken> {
        match self {
            Self::Alone(alone) => {
                std::future::poll_fn(|cx| alone.poll_read(cx, &mut sink)).await.map_err(Into::into)
            }
            Self::Shared(shared) => shared.read(sink).await.map_err(Into::into),
        }
    }
}

impl Alone {
    fn poll_read(&mut self, cx: &mut Context<'_>, sink: &mut impl FnMut(&[u8])) -> Poll<io::Result<bool>> {
        let mut any = false;
        let mut told = |bytes: &[u8]| {
            any = true;
            sink(bytes);
        };
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            self.body.feed(&early, &mut told)?;
        }
        let mut room = [0; READ_BYTES];
        while !any && !self.body.is_done() {
            let mut told = |bytes: &[u8]| {
                any = true;
                sink(bytes);
            };
            let mut buffer = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                let end =
                    if self.body.may_end() { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
                return Poll::Ready(end);
            }
            self.body.feed(buffer.filled(), &mut told)?;
        }
        Poll::Ready(Ok(any))
    }
}

/// Opens the stream; bounded by the client's `connect` and `total`.
pub(super) async fn connect(
    client: &Client,
    token: &AccessToken,
    last_event_id: &str,
) -> Result<Answer, Error> {
    let request = request(client, token, last_event_id).map_err(|e| Error::transport(ENDPOINT, e))?;
    let options = client.inner.options;
    let late = |limit| move |_| Error::transport(ENDPOINT, TimedOut(limit));
    let way = multiplex::way(client).await?;
    let total = options.total;
    let (connection, first) = match way {
        multiplex::Way::Shared(connection) => (connection, None),
        multiplex::Way::First(connection, pool) => (connection, Some(pool)),
        multiplex::Way::Alone(io) => {
            let head = async {
                let (status, headers, alone) =
                    exchange(*io, &request).await.map_err(|error| Error::transport(ENDPOINT, error))?;
                check(status, &headers, Answer::Alone(alone)).await
            };
            return timeout(total, head).await.map_err(late(total))?;
        }
    };
    let head = async {
        let (head, shared) = connection.get(request).await?;
        drop(first);
        check(head.status, &head.headers, Answer::Shared(shared)).await
    };
    timeout(total, head).await.map_err(late(total))?
}

/// A new connection; true: for HTTP/2.
pub(super) async fn dial(client: &Client) -> Result<(Io, bool), Error> {
    let limit = client.inner.options.connect;
    let io =
        timeout(limit, open(client)).await.map_err(|_| Error::transport(ENDPOINT, TimedOut(limit)))??;
    let h2 = io.speaks_h2();
    Ok((io, h2))
}

async fn open(client: &Client) -> Result<Io, Error> {
    let base = &client.inner.base;
    let broken = |error: io::Error| Error::transport(ENDPOINT, error);
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = base.port_or_known_default().unwrap_or(443);
    let tcp = TcpStream::connect((host, port)).await.map_err(broken)?;
    // The request is one small write, and it should not wait.
    tcp.set_nodelay(true).map_err(broken)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(KEEPALIVE_PROBES);
    SockRef::from(&tcp).set_tcp_keepalive(&keepalive).map_err(broken)?;
    if base.scheme() == "http" {
        return Ok(Io::Plain(tcp)); // loopback: `Client::new` saw to it
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|e| Error::transport(ENDPOINT, e))?;
    let tls = client.inner.stream_tls.clone();
    let tls = TlsConnector::from(tls).connect(name, tcp).await.map_err(broken)?;
    Ok(Io::Tls(Box::new(tls)))
}

async fn exchange(mut io: Io, request: &Request<Empty<Bytes>>) -> io::Result<(StatusCode, HeaderMap, Alone)> {
    io.write_all(&wire(request)).await?;
    io.flush().await?;
    let mut bytes = Vec::new();
    let (head, length) = loop {
        let more = tokio::io::AsyncReadExt::read_buf(&mut io, &mut bytes).await?;
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(found) = body::head(&bytes)? {
            break found;
        }
    };
    let early = bytes[length..].to_vec();
    Ok((head.status, head.headers, Alone { io, body: head.body, early }))
}

/// The request's head for HTTP/1.1. Names and values were checked when they were made.
fn wire(request: &Request<Empty<Bytes>>) -> Vec<u8> {
    let uri = request.uri();
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let host = uri.authority().map_or("", http::uri::Authority::as_str);
    let mut head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n").into_bytes();
    for (name, value) in request.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// §7.1.
fn request(
    client: &Client,
    token: &AccessToken,
    last_event_id: &str,
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let base = &client.inner.base;
    let bearer = format!("Bearer {}", token.token.expose_secret());
    let mut bearer = http::HeaderValue::try_from(bearer)?;
    bearer.set_sensitive(true);
    // An id that is no header value cannot have come from Salesforce.
    let cursor = http::HeaderValue::from_str(last_event_id)
        .ok()
        .filter(|id| !id.is_empty())
        .unwrap_or(http::HeaderValue::from_static("0"));
    Request::get(format!("{}eventrouter/v1/sse", base.as_str()))
        .header(header::ACCEPT, "text/event-stream")
        .header(header::AUTHORIZATION, bearer)
        .header("x-org-id", client.inner.org.as_str())
        .header("last-event-id", cursor)
        .header(header::CACHE_CONTROL, "no-cache")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::USER_AGENT, USER_AGENT)
        .body(Empty::new())
}

async fn check(status: StatusCode, headers: &HeaderMap, mut answer: Answer) -> Result<Answer, Error> {
    if !status.is_success() {
        let mut body = Vec::new();
        let mut keep = |bytes: &[u8]| {
            let room = MAX_REFUSAL_BYTES - body.len();
            body.extend_from_slice(&bytes[..bytes.len().min(room)]);
            body.len() < MAX_REFUSAL_BYTES
        };
        let mut room = true;
        while room && answer.read(|bytes| room = keep(bytes)).await.is_ok_and(|more| more) {}
        return Err(refusal(ENDPOINT, status, headers, &body));
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    let coding = text(header::CONTENT_ENCODING);
    let plain = coding.is_empty() || coding.eq_ignore_ascii_case("identity");
    if !plain || !text(header::CONTENT_TYPE).to_ascii_lowercase().starts_with("text/event-stream") {
        return Err(Error::Unreadable { endpoint: ENDPOINT, status });
    }
    Ok(answer)
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
