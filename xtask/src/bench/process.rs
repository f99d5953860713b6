//! What a process used, as Linux counts it.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// Linux shows CPU time in hundredths of a second, whatever its timer does.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of all threads, ended ones included; user and system together.
pub(super) fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("read /proc/<pid>/stat")?;
    // The second field is the program's name in parentheses, which may hold blanks.
    let after_name = stat.rsplit_once(')').context("no program name in /proc/<pid>/stat")?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || -> Result<u32> { Ok(fields.next().context("short /proc/<pid>/stat")?.parse()?) };
    Ok(TICK * (ticks()? + ticks()?))
}

/// Resident memory in bytes: now, and at its highest.
pub(super) fn resident(pid: u32) -> Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("read /proc/<pid>/status")?;
    let field = |name: &str| -> Result<u64> {
        let line =
            status.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
        let kib: u64 = line.split_whitespace().nth(1).context("no value")?.parse()?;
        Ok(kib * 1024)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}
