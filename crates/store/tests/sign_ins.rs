//! Against a real server, with a clock that is moved.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use devstack::Valkey;
use store::{SIGN_IN_IDLE, SIGN_IN_LONGEST, SignedIn};
use support::{connect, dump, without_expiry};

#[tokio::test]
async fn a_sign_in_ends_when_idle_when_old_and_when_told() {
    let valkey = Valkey::start().await.unwrap();
    let store = connect(&valkey);
    let who = SignedIn { name: "ana@example.com".into(), fingerprint: "f-1".into(), role: None };
    let at = |now: i64| store.with_clock_at(now);
    let (idle, longest) = (
        i64::try_from(SIGN_IN_IDLE.as_millis()).unwrap(),
        i64::try_from(SIGN_IN_LONGEST.as_millis()).unwrap(),
    );

    at(0).begin_sign_in("an id", &who).await.unwrap();
    assert_eq!(at(1).signed_in("another id", true).await.unwrap(), None);
    let mut now = 0;
    while now + idle - 1 < longest {
        now += idle - 1;
        assert_eq!(at(now).signed_in("an id", true).await.unwrap().as_ref(), Some(&who), "{now}");
    }
    assert_eq!(at(longest).signed_in("an id", true).await.unwrap(), None, "used, and still too old");
    assert_eq!(at(now).signed_in("an id", true).await.unwrap(), None, "gone for good");

    // What a page does by itself keeps nobody signed in.
    at(0).begin_sign_in("b", &who).await.unwrap();
    assert_eq!(at(idle - 1).signed_in("b", false).await.unwrap().as_ref(), Some(&who));
    let kept = dump(&valkey).await;
    assert!(!kept.contains("ana@") && !kept.contains("f-1") && !kept.contains(":b\n"), "{kept}");
    assert_eq!(without_expiry(&valkey).await, [""; 0]);
    assert_eq!(at(idle).signed_in("b", false).await.unwrap(), None);

    at(0).begin_sign_in("c", &who).await.unwrap();
    store.end_sign_in("c").await.unwrap();
    assert_eq!(at(1).signed_in("c", true).await.unwrap(), None);
}
