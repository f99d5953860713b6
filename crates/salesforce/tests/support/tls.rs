//! An event router over TLS: HTTP/2 or HTTP/1.1, as it is told. Every stream gets a ping and then
//! whatever comes.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::{
    body::{Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) struct Identity {
    pub(crate) certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self { certificate: made.cert.der().to_vec(), key: made.signing_key.serialize_der() }
    }
}

/// Trusts this certificate and no other.
pub(crate) fn trusting(certificate: &[u8]) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(certificate.to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(builder.unwrap().with_root_certificates(roots).with_no_client_auth())
}

#[derive(Clone)]
pub(crate) struct Router {
    acceptor: TlsAcceptor,
    /// Per connection.
    max_streams: u32,
    /// That are open.
    pub(crate) connections: Arc<AtomicUsize>,
    /// Ends every connection.
    pub(crate) cut: CancellationToken,
    tasks: TaskTracker,
}

impl Router {
    pub(crate) fn new(identity: &Identity, protocol: &str, max_streams: u32) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.clone()));
        let certificates = vec![CertificateDer::from(identity.certificate.clone())];
        let builder =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.unwrap().with_no_client_auth().with_single_cert(certificates, key).unwrap();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            max_streams,
            connections: Arc::default(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    pub(crate) async fn serve(self, listener: TcpListener) {
        while let Ok((tcp, _)) = listener.accept().await {
            let router = self.clone();
            self.tasks.spawn(async move {
                router.connections.fetch_add(1, Ordering::Relaxed);
                router.cut.run_until_cancelled(router.connection(tcp)).await;
                router.connections.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    async fn connection(&self, tcp: TcpStream) {
        let Ok(tls) = self.acceptor.accept(tcp).await else { return };
        let h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(tls);
        let _ = if h2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).max_concurrent_streams(self.max_streams);
            builder.serve_connection(io, service_fn(answer)).await
        } else {
            http1::Builder::new().timer(TokioTimer::new()).serve_connection(io, service_fn(answer)).await
        };
    }
}

type Body = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let well = request.uri().path() == "/eventrouter/v1/sse"
        && request.headers()["x-org-id"] == "00DRT0000004QhW"
        && request.headers()["authorization"].to_str().is_ok_and(|value| value.starts_with("Bearer "));
    let ping = stream::iter([Ok(Frame::data(Bytes::from_static(b"event:ping\ndata:0\n\n")))]);
    let response = Response::builder()
        .status(if well { 200 } else { 400 })
        .header("content-type", "text/event-stream;charset=utf-8");
    Ok(response.body(StreamBody::new(ping.chain(stream::pending()).boxed())).unwrap())
}
