//! `src/gen/` is checked in, so that nobody needs a protobuf compiler to build. This test makes it
//! anew and fails on a difference; run it with `BLESS=1` to take the new code over.

use std::{fs, path::Path};

#[test]
fn generated_code_is_what_the_schema_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = tempfile::tempdir().unwrap();
    let schema = protox::compile(["baton/v1/log.proto"], [root]).unwrap();
    prost_build::Config::new().out_dir(made.path()).bytes([".baton.v1"]).compile_fds(schema).unwrap();
    let made = fs::read_to_string(made.path().join("baton.v1.rs")).unwrap();
    let kept = root.join("src/gen/baton.v1.rs");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&kept, &made).unwrap();
    }
    let kept = fs::read_to_string(&kept).unwrap_or_default();
    assert!(kept == made, "src/gen/baton.v1.rs is not what baton/v1/log.proto says: run with BLESS=1");
}
