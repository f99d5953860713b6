//! A million recipients in one file; takes minutes in a debug build: `cargo test -p campaign -- --ignored`.
#![expect(clippy::unwrap_used, reason = "tells what it measured")]

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use campaign::{Campaigns, Category, ParameterUse, Plan, Reading, Reply, Schedule, TemplateUse, Value};
use domain::PhoneNumberId;
use tokio::io::{AsyncRead, ReadBuf};

const ROWS: u32 = 1_000_000;

/// A file that is written while it is read.
struct Rows {
    next: u32,
    line: Vec<u8>,
}

impl AsyncRead for Rows {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        while buf.remaining() > 0 {
            if self.line.is_empty() {
                if self.next > ROWS {
                    break;
                }
                let row = self.next;
                self.line = match row {
                    0 => b"phone,first,order\n".to_vec(),
                    // Three countries, one of them with many areas.
                    _ if row.is_multiple_of(3) => {
                        format!("+4917{:08},Ana Ferreira,{row}\n", 60_000_000 + row).into_bytes()
                    }
                    _ if row % 3 == 1 => format!("+55119{:08},Bob,{row}\n", 80_000_000 + row).into_bytes(),
                    _ => format!("+447{:09},Carol,{row}\n", 400_000_000 + row).into_bytes(),
                };
                self.next += 1;
            }
            let count = self.line.len().min(buf.remaining());
            buf.put_slice(&self.line[..count]);
            self.line.drain(..count);
        }
        Poll::Ready(Ok(()))
    }
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test]
#[ignore = "a million rows"]
async fn a_million_rows_need_little_memory() {
    let nats = devstack::Nats::start().await.unwrap();
    let log = bus::connect(&bus::Config::at(&nats.url())).await.unwrap();
    let campaigns = Campaigns::open(&log).await.unwrap();
    let column = |name: &str| ParameterUse { name: None, value: Value::Column(name.into()) };
    let plan = Plan {
        name: "Spring".into(),
        number: PhoneNumberId::new("1"),
        template: TemplateUse {
            name: "sale".into(),
            language: "en_US".into(),
            category: Category::Marketing,
            header: None,
            body: vec![column("first"), column("order")],
            buttons: vec![],
            text: "Hi {{1}}, about {{2}}".into(),
        },
        schedule: Schedule::default(),
        per_minute: None,
        reply: Reply::Rep,
        answered_within_seconds: 3_600,
    };
    let id = campaigns.create(plan, "ana", 1).await.unwrap().definition.id;
    let before = peak_mib();
    let started = Instant::now();
    let report =
        campaigns.upload(id, Rows { next: 0, line: Vec::new() }, Reading::default(), "ana", 2).await.unwrap();
    let took = started.elapsed();
    let peak = peak_mib();
    eprintln!("{took:?}, {before} MiB before, {peak} MiB at most, {report:?}");
    assert_eq!(report.accepted + report.rejected, ROWS);
    assert!(peak - before < 96, "{before} MiB before, {peak} MiB at most");
}
