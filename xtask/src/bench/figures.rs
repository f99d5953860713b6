//! What every bench does with its figures.

pub(super) fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Of each round, the middle one: what else the machine does in a round it does to both.
pub(super) fn ratio<M>(ours: &[M], least: &[M], figure: impl Fn(&M) -> f64) -> f64 {
    middle(ours.iter().zip(least).map(|(ours, least)| figure(ours) / figure(least)))
}

#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub(super) fn count(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "no process has 2^52 bytes")]
pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// For people only: `json` is for programs.
#[expect(clippy::print_stderr, reason = "a command that takes a minute tells how far it is")]
pub(super) fn progress(json: bool, text: &str) {
    if !json {
        eprintln!("{text}");
    }
}
