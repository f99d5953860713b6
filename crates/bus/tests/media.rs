//! Files, in a real object store.

use tokio::io::AsyncReadExt as _;

#[tokio::test]
async fn a_file_is_kept_whole_replaced_and_forgotten() {
    let nats = devstack::Nats::start().await.unwrap();
    let log = bus::connect(&bus::Config::at(&nats.url())).await.unwrap();
    let media = log.media().await.unwrap();
    assert!(media.get("a").await.unwrap().is_none());
    assert_eq!(media.info("a").await.unwrap(), None);

    let large: Vec<u8> = (0..3_000_000u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let kept = media.put("a", &mut large.as_slice()).await.unwrap();
    assert_eq!(kept.bytes, 3_000_000);
    let mut read = Vec::new();
    media.get("a").await.unwrap().unwrap().read_to_end(&mut read).await.unwrap();
    assert!(read == large);
    assert!(media.read("a", 100).await.is_err(), "more than the reader wants");

    media.put("a", &mut b"other".as_slice()).await.unwrap();
    assert_eq!(media.read("a", 100).await.unwrap().unwrap(), b"other");
    media.delete("a").await.unwrap();
    media.delete("a").await.unwrap();
    assert!(media.get("a").await.unwrap().is_none());
}
