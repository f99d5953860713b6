//! The certificate that a simulator shows.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

/// From a PEM file with certificate and key.
pub(super) fn acceptor(pem: &Path) -> Result<TlsAcceptor> {
    let certificates = CertificateDer::pem_file_iter(pem)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("read the certificate in {}", pem.display()))?;
    let key =
        PrivateKeyDer::from_pem_file(pem).with_context(|| format!("read the key in {}", pem.display()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .context("the certificate")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
