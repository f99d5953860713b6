//! `console hash-password` and `console make-token`: what goes into the file of people.

use std::io::{BufRead as _, Read as _, Write as _};

use anyhow::Context as _;
use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::{
    caller::{Right, hex},
    passwords::{self, LONGEST, SHORTEST},
    people::{name_problem, sha256},
};

/// Prepares entries of the file CONSOLE_USERS.
#[derive(Debug, clap::Parser)]
#[command(name = "console")]
pub enum Tool {
    /// Reads a password from standard input, one line, and prints its hash for the file. A terminal
    /// shows what is typed, unless `stty -echo` went before.
    HashPassword,
    /// Makes a token for programs: prints it, once, and the line for the file.
    MakeToken {
        /// Of what will use it; told in the timeline for what is done with it.
        name: String,
        /// Some of read, operate, configure.
        #[arg(long, value_delimiter = ',', required = true, value_parser = scope)]
        scopes: Vec<String>,
    },
}

impl Tool {
    /// Whether the arguments ask for one of these instead of the service.
    pub fn asked() -> Option<Self> {
        let first = std::env::args().nth(1);
        matches!(first.as_deref(), Some("hash-password" | "make-token")).then(<Self as clap::Parser>::parse)
    }

    /// # Errors
    /// When there is no password, a bad one, or no randomness.
    pub fn run(self) -> anyhow::Result<()> {
        let told = match self {
            Self::HashPassword => {
                let mut line = String::new();
                let limit = (LONGEST + 2) as u64;
                std::io::stdin().lock().take(limit).read_line(&mut line).context("read the password")?;
                hash(line.trim_end_matches(['\r', '\n']))?
            }
            Self::MakeToken { name, scopes } => {
                let mut bytes = [0; 32];
                rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system has no randomness"))?;
                let (token, line) = token(&name, &scopes, bytes)?;
                format!("{token}\n\nIt is not kept anywhere. For the list tokens in CONSOLE_USERS:\n{line}")
            }
        };
        writeln!(std::io::stdout(), "{told}").context("print")
    }
}

fn hash(password: &str) -> anyhow::Result<String> {
    anyhow::ensure!(password.chars().count() >= SHORTEST, "a password has at least {SHORTEST} characters");
    anyhow::ensure!(password.len() <= LONGEST, "a password has at most {LONGEST} bytes");
    passwords::hash(password)
}

fn token(name: &str, scopes: &[String], bytes: [u8; 32]) -> anyhow::Result<(String, String)> {
    if let Some(problem) = name_problem(name) {
        anyhow::bail!("the name {problem}");
    }
    let token = format!("baton_{}", URL_SAFE_NO_PAD.encode(bytes));
    let line = json!({ "name": name, "scopes": scopes, "sha256": hex(&sha256(&token)) });
    Ok((token, line.to_string()))
}

fn scope(text: &str) -> Result<String, String> {
    Right::of_scope(text).map(|_| text.to_owned()).ok_or_else(|| "read, operate or configure".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::access::people::People;

    #[test]
    fn what_is_made_is_accepted_in_the_file() {
        Tool::command().debug_assert();
        let (token, line) = token("ci", &["read".into(), "operate".into()], [7; 32]).unwrap();
        let hash = hash("correct horse battery").unwrap();
        assert!(!line.contains(&token));
        let file = format!(
            "{{\"people\": [{{\"name\": \"ana\", \"role\": \"owner\", \"password\": \"{hash}\"}}], \
             \"tokens\": [{line}]}}"
        );
        assert!(People::parse(&file).unwrap().token(&token).is_some());
        assert!(super::hash("too short").is_err() && super::token("", &[], [0; 32]).is_err());
        let parse = |arguments: &[&str]| Tool::try_parse_from(arguments).is_ok();
        assert!(parse(&["console", "make-token", "ci", "--scopes", "read,configure"]));
        assert!(!parse(&["console", "make-token", "ci", "--scopes", "own"]));
        assert!(!parse(&["console", "make-token", "ci"]));
        assert!(!parse(&["console", "hash-password", "given on the command line"]));
    }
}
