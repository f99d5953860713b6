//! Feeds the webhook parser with the recorded payloads, mutilated: bytes flipped, cut, spliced
//! and repeated, and JSON values exchanged for odd ones. A fixed number of cases runs with the
//! tests (`FUZZ_CASES`, default 20,000); by hand, `FUZZ_SECONDS=600 FUZZ_SEED=7 cargo test -p
//! whatsapp --release --test fuzz` goes on for as long as it is told.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fastrand::Rng;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use whatsapp::{
    Signatures,
    webhook::{self, ParseError},
};

/// What must hold for every body whatsoever.
fn webhook(body: Bytes) {
    let _ = Signatures::new([&"secret".into()]).verify(Some(&body), &body);
    match webhook::parse(&body, 1) {
        Ok(events) => {
            assert!(events.len() <= webhook::MAX_EVENTS);
            for event in events {
                serde_json::from_slice::<IgnoredAny>(event.raw()).expect("what is kept is JSON");
                let _ = format!("{event:?}");
            }
        }
        Err(ParseError::NotJson { .. }) => {
            let text = std::str::from_utf8(&body);
            assert!(!text.is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok()));
        }
        Err(ParseError::NotOurs | ParseError::TooMany) => {}
    }
}

/// What must hold, besides, for a body that is JSON: nothing in it is lost.
fn nothing_lost(document: &Value) {
    let body: Bytes = document.to_string().into();
    webhook(body.clone());
    if document["object"] != "whatsapp_business_account" {
        return;
    }
    let least: usize = elements(&document["entry"])
        .flat_map(|entry| elements(&entry["changes"]))
        .map(|change| {
            let value = &change["value"];
            let count = |key: &str| value[key].as_array().map_or(0, Vec::len);
            match change["field"].as_str() {
                Some("messages") => {
                    (count("messages") + count("statuses")).max(usize::from(!value.is_null()))
                }
                _ => usize::from(!value.is_null()),
            }
        })
        .sum();
    let events = webhook::parse(&body, 1).unwrap();
    assert!(events.len() >= least, "{} of {least} kept: {document}", events.len());
}

fn elements(array: &Value) -> impl Iterator<Item = &Value> {
    array.as_array().into_iter().flatten()
}

fn mutilated(rng: &mut Rng, seeds: &[Vec<u8>]) -> Bytes {
    let mut bytes = seeds[rng.usize(..seeds.len())].clone();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..=bytes.len());
        let end = (at + rng.usize(..40)).min(bytes.len());
        match rng.u8(..6) {
            0 if at < bytes.len() => bytes[at] = rng.u8(..),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.truncate(at),
            3 => {
                let other = &seeds[rng.usize(..seeds.len())];
                let from = rng.usize(..=other.len());
                bytes.splice(at..end, other[from..].iter().copied().take(200));
            }
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let odd: [&[u8]; 9] =
                    [b"null", b"\"", b"[", b"{", b"\\ud83d", b"\\u0000", b"1e999", b"-", b"\xc3\x28"];
                bytes.splice(at..at, odd[rng.usize(..odd.len())].iter().copied());
            }
        }
    }
    bytes.into()
}

/// Exchanges one value somewhere in the tree, and loses or doubles one now and then.
fn oddify(rng: &mut Rng, value: &mut Value) {
    let stop = rng.u8(..6) == 0;
    match value {
        Value::Array(items) if !stop && !items.is_empty() => {
            let at = rng.usize(..items.len());
            match rng.u8(..8) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => oddify(rng, &mut items[at]),
            }
        }
        Value::Object(map) if !stop && !map.is_empty() => {
            let key = map.keys().nth(rng.usize(..map.len())).unwrap().clone();
            match rng.u8(..8) {
                0 => drop(map.remove(&key)),
                _ => oddify(rng, &mut map[&key]),
            }
        }
        Value::Array(_)
        | Value::Object(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => {
            let odd = [
                json!(null),
                json!(true),
                json!(-1),
                json!(1e300),
                json!(u64::MAX),
                json!(""),
                json!("\u{0}\u{202e}+(-)"),
                json!([]),
                json!({}),
                json!([[{}]]),
                json!({"id": {"id": []}}),
            ];
            *value = odd[rng.usize(..odd.len())].clone();
        }
    }
}

fn seeds(dir: &Path, into: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => seeds(&path, into),
            false => into.push(std::fs::read(path).unwrap()),
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn no_body_breaks_the_parser_and_no_part_of_one_is_lost() {
    let mut files = Vec::new();
    seeds(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata")), &mut files);
    files.sort();
    let documents: Vec<Value> = files.iter().filter_map(|file| serde_json::from_slice(file).ok()).collect();
    documents.iter().for_each(nothing_lost);

    let until = number("FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let cases = number("FUZZ_CASES").unwrap_or(20_000);
    let seed = number("FUZZ_SEED").unwrap_or(1);
    let mut rng = Rng::with_seed(seed);
    let mut case = 0;
    while until.map_or(case < cases, |until| Instant::now() < until) {
        webhook(mutilated(&mut rng, &files));
        let mut document = documents[rng.usize(..documents.len())].clone();
        for _ in 0..rng.usize(1..4) {
            oddify(&mut rng, &mut document);
        }
        nothing_lost(&document);
        case += 2;
    }
    println!("{case} cases from seed {seed}");
}
