//! What every main needs: telemetry, health, shutdown, settings, the HTTP client.
//!
//! ```no_run
//! # async fn main_() -> anyhow::Result<()> {
//! runtime::init_crypto();
//! let _telemetry = runtime::telemetry::init("ingress")?; // flushes when dropped
//! let shutdown = runtime::shutdown_on_signal()?;
//! let health = runtime::health::Health::new();
//! let broker = health.condition("broker"); // not ready until told so
//! broker.set(true);
//! # let _ = shutdown; Ok(())
//! # }
//! ```

mod error;
pub mod fields;
pub mod health;
mod http;
pub mod metrics;
pub mod settings;
mod shutdown;
pub mod telemetry;

pub use error::error_chain;
pub use health::serve_health;
pub use http::{HttpTimeouts, http_client};
pub use shutdown::shutdown_on_signal;

/// Of the whole workspace: crates share one version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// This machine's clock. Cores do not read it: time reaches them inside facts.
pub fn now() -> domain::Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    domain::Millis::try_from(since.as_millis()).unwrap_or(domain::Millis::MAX)
}

/// How long ago something was; nothing for what another clock puts into the future.
pub fn age(at: domain::Millis) -> std::time::Duration {
    std::time::Duration::from_millis(u64::try_from(now().saturating_sub(at)).unwrap_or_default())
}

/// Makes aws-lc-rs the process's TLS provider. Call it first in `main`; calling it again is
/// harmless. Everything that speaks TLS here is built without a provider of its own.
pub fn init_crypto() {
    // Err means that a provider is there already: in a test binary, another test's.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
