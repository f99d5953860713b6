//! Feeds the parser of the event stream with the recorded stream and its entries, mutilated. A
//! fixed number of cases runs with the tests (`FUZZ_CASES`, default 20,000); by hand,
//! `FUZZ_SECONDS=600 FUZZ_SEED=7 cargo test -p salesforce --release --test fuzz` goes on for as
//! long as it is told.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::{Duration, Instant};

use fastrand::Rng;

const TRANSCRIPT: &[u8] = include_bytes!("../testdata/sse-wire-transcript.txt");

/// One to three frames of the transcript, so that a case is short and its frames mostly whole.
fn seeds() -> Vec<&'static [u8]> {
    let text = std::str::from_utf8(TRANSCRIPT).unwrap();
    text.split_inclusive("\n\n").map(str::as_bytes).collect()
}

fn mutilated(rng: &mut Rng, seeds: &[&[u8]]) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        (0..rng.usize(1..4)).flat_map(|_| seeds[rng.usize(..seeds.len())]).copied().collect();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..=bytes.len());
        let end = (at + rng.usize(..40)).min(bytes.len());
        match rng.u8(..6) {
            0 if at < bytes.len() => bytes[at] = rng.u8(..),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.truncate(at),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let odd: [&[u8]; 14] = [
                    b"\r",
                    b"\n",
                    b"\r\n\r\n",
                    b"\xef\xbb\xbf",
                    b"\0",
                    b":",
                    b"null",
                    b"[]",
                    b"{}",
                    b"-1",
                    b"\\\"",
                    b"data:",
                    b"id:",
                    b"\xf0\x9f\x92",
                ];
                bytes.splice(at..at, odd[rng.usize(..odd.len())].iter().copied());
            }
        }
    }
    bytes
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn no_bytes_break_the_parser_of_the_event_stream() {
    assert!(salesforce::fuzz::sse(TRANSCRIPT).len() > 5);
    let seeds = seeds();
    let until = number("FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let cases = number("FUZZ_CASES").unwrap_or(20_000);
    let seed = number("FUZZ_SEED").unwrap_or(1);
    let mut rng = Rng::with_seed(seed);
    let mut case = 0;
    while until.map_or(case < cases, |until| Instant::now() < until) {
        salesforce::fuzz::sse(&mutilated(&mut rng, &seeds));
        case += 1;
    }
    println!("{case} cases from seed {seed}");
}
