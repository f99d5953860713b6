//! Files that people send one another, kept in the broker's object store for as long as configured.

use std::time::Duration;

use async_nats::jetstream::{
    Context,
    object_store::{self, GetErrorKind, InfoErrorKind, ObjectMetadata, ObjectStore},
    stream::StorageType,
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::Error;

const BUCKET: &str = "BATON_MEDIA";

/// The object store. Cheap to clone.
#[derive(Clone)]
pub struct MediaStore {
    store: ObjectStore,
}

/// What is kept of a file beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    pub bytes: u64,
}

impl std::fmt::Debug for MediaStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MediaStore")
    }
}

pub(crate) async fn open(context: &Context, keep: Duration, replicas: usize) -> Result<MediaStore, Error> {
    open_bucket(context, BUCKET, "Files of conversations, by a keyed digest", keep, replicas).await
}

pub(crate) async fn open_bucket(
    context: &Context,
    bucket: &str,
    what: &str,
    keep: Duration,
    replicas: usize,
) -> Result<MediaStore, Error> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Broker {
        doing: "open the object store",
        source,
    };
    let store = match context.get_object_store(bucket).await {
        Ok(store) => store,
        Err(_) => {
            let wanted = object_store::Config {
                bucket: bucket.into(),
                description: Some(what.into()),
                max_age: keep,
                storage: StorageType::File,
                num_replicas: replicas,
                ..object_store::Config::default()
            };
            match context.create_object_store(wanted).await {
                Ok(store) => store,
                // Another service was quicker.
                Err(_) => context.get_object_store(bucket).await.map_err(|e| failed(e.into()))?,
            }
        }
    };
    Ok(MediaStore { store })
}

impl MediaStore {
    /// Keeps a file; the same name again replaces it. Nothing is there until all of it is.
    pub async fn put(
        &self,
        name: &str,
        bytes: &mut (impl AsyncRead + Unpin + Send),
    ) -> Result<StoredObject, Error> {
        let metadata = ObjectMetadata { name: name.into(), ..ObjectMetadata::default() };
        let info = self
            .store
            .put(metadata, bytes)
            .await
            .map_err(|e| Error::Broker { doing: "keep a file", source: e.into() })?;
        Ok(StoredObject { bytes: u64::try_from(info.size).unwrap_or(u64::MAX) })
    }

    /// The bytes, as a stream; their digest is checked at the end. `None`: never kept, or too old.
    pub async fn get(&self, name: &str) -> Result<Option<impl AsyncRead + Unpin + Send + use<>>, Error> {
        match self.store.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(e) if e.kind() == GetErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::Broker { doing: "read a file", source: e.into() }),
        }
    }

    /// All of it, when it has at most `limit` bytes.
    pub async fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(object) = self.get(name).await? else { return Ok(None) };
        let mut bytes = Vec::new();
        object
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .await
            .map_err(|e| Error::Broker { doing: "read a file", source: e.into() })?;
        if bytes.len() as u64 > limit {
            return Err(Error::Config(format!("a kept file is larger than {limit} bytes")));
        }
        Ok(Some(bytes))
    }

    pub async fn info(&self, name: &str) -> Result<Option<StoredObject>, Error> {
        match self.store.info(name).await {
            Ok(info) => Ok(Some(StoredObject { bytes: u64::try_from(info.size).unwrap_or(u64::MAX) })),
            Err(e) if e.kind() == InfoErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::Broker { doing: "look for a file", source: e.into() }),
        }
    }

    /// Forgets a file, for instance because its owner is to be erased.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        match self.store.delete(name).await {
            Ok(()) => Ok(()),
            Err(e) => match self.info(name).await {
                Ok(None) => Ok(()),
                Ok(Some(_)) | Err(_) => Err(Error::Broker { doing: "delete a file", source: e.into() }),
            },
        }
    }
}

/// Files may be of no use for longer than this.
pub(crate) const DEFAULT_KEEP: Duration = Duration::from_secs(30 * 24 * 3600);
