//! The file `CONSOLE_USERS`: people with roles, and tokens with scopes.

use std::{collections::HashSet, fs::File, io::Read as _, path::Path};

use anyhow::Context as _;
use aws_lc_rs::{constant_time, digest};
use serde_json::Value;

use super::{
    TOKEN_NAME,
    caller::{Right, Rights, Role, hex},
    passwords,
};

const MAX_FILE_BYTES: u64 = 1 << 20;
const LONGEST_NAME: usize = 64;
/// Each is compared with every bearer token.
const MOST: usize = 1000;

/// Who may sign in, and which tokens there are.
#[derive(Debug, Clone, Default)]
pub struct People {
    people: Vec<Person>,
    tokens: Vec<ApiToken>,
}

#[derive(Clone)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) password: String,
}

#[derive(Clone)]
pub(super) struct ApiToken {
    pub(super) name: String,
    pub(super) rights: Rights,
    sha256: [u8; 32],
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person").field("role", &self.role).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiToken").field("rights", &self.rights).finish_non_exhaustive()
    }
}

impl Person {
    /// Differs as soon as the password or the role does.
    pub(super) fn fingerprint(&self) -> String {
        fingerprint(&[&self.name, self.role.as_str(), &self.password])
    }
}

pub(super) fn fingerprint(parts: &[&str]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part.as_bytes());
    }
    hex(context.finish().as_ref())
}

impl People {
    /// # Errors
    /// When the file cannot be read, or with everything that is wrong in it; no hash is quoted.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let mut text = String::new();
        let file = File::open(path).with_context(|| format!("open CONSOLE_USERS {}", path.display()))?;
        let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
        let read = read.with_context(|| format!("read CONSOLE_USERS {}", path.display()))?;
        anyhow::ensure!(read as u64 <= MAX_FILE_BYTES, "CONSOLE_USERS {} is over 1 MiB", path.display());
        Self::parse(&text).map_err(|problems| {
            anyhow::anyhow!("CONSOLE_USERS {}:\n- {}", path.display(), problems.join("\n- "))
        })
    }

    /// `{"people": […], "tokens": […]}`, or the array of people alone; blank is nobody (yet).
    ///
    /// # Errors
    /// Everything that is wrong, one by one.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        // Its message tells the line and the column, and quotes nothing.
        let value: Value = serde_json::from_str(text).map_err(|error| vec![error.to_string()])?;
        let mut read = Reader { people: Self::default(), names: HashSet::new(), problems: Vec::new() };
        match &value {
            Value::Array(_) => read.list("people", &value),
            Value::Object(members) => {
                for (name, list) in members {
                    read.list(name, list);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                read.problems.push("is neither an object with people and tokens nor a list of people".into());
            }
        }
        let Reader { people, mut problems, .. } = read;
        let count = people.people.len() + people.tokens.len();
        if problems.is_empty() && count == 0 {
            problems.push("names nobody".into());
        }
        if count > MOST {
            problems.push(format!("has more than {MOST} entries"));
        }
        if problems.is_empty() { Ok(people) } else { Err(problems) }
    }

    pub(super) fn person(&self, name: &str) -> Option<&Person> {
        self.people.iter().find(|person| person.name == name)
    }

    /// A person or a program.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.person(name).is_some() || self.tokens.iter().any(|token| token.name == name)
    }

    pub(super) fn first(&self) -> Option<&Person> {
        self.people.first()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.people.is_empty() && self.tokens.is_empty()
    }

    /// Compared with every one, so that the time tells nothing.
    pub(super) fn token(&self, given: &str) -> Option<&ApiToken> {
        let given = sha256(given);
        let mut found = None;
        for token in &self.tokens {
            if constant_time::verify_slices_are_equal(&given, &token.sha256).is_ok() {
                found = Some(token);
            }
        }
        found
    }
}

pub(super) fn sha256(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, text.trim().as_bytes()).as_ref());
    bytes
}

struct Reader {
    people: People,
    names: HashSet<String>,
    problems: Vec<String>,
}

impl Reader {
    fn list(&mut self, name: &str, list: &Value) {
        let Value::Array(entries) = list else {
            self.problems.push(format!("{name} is no list"));
            return;
        };
        let fields: &[&str] = match name {
            "people" => &["name", "role", "password"],
            "tokens" => &["name", "scopes", "sha256"],
            _ => {
                self.problems.push(format!("{name}: only people and tokens are known"));
                return;
            }
        };
        for (index, entry) in entries.iter().enumerate() {
            let place = format!("{name}[{index}]");
            let Value::Object(members) = entry else {
                self.problems.push(format!("{place} is no object"));
                continue;
            };
            let unknown = members.keys().filter(|field| !fields.contains(&field.as_str()));
            self.problems.extend(unknown.map(|field| format!("{place}.{field} is not known")));
            if name == "people" {
                self.person(&place, entry);
            } else {
                self.token(&place, entry);
            }
        }
    }

    fn person(&mut self, place: &str, entry: &Value) {
        let name = self.name(place, entry);
        let role = entry["role"].as_str().and_then(Role::parse);
        if role.is_none() {
            self.problems.push(format!("{place}.role is owner, admin or agent"));
        }
        let password = entry["password"].as_str().unwrap_or_default();
        if let Some(problem) = passwords::problem(password) {
            self.problems.push(format!("{place}.password {problem}"));
        }
        if let (Some(name), Some(role)) = (name, role) {
            self.people.people.push(Person { name, role, password: password.to_owned() });
        }
    }

    fn token(&mut self, place: &str, entry: &Value) {
        let name = self.name(place, entry);
        let mut rights = Rights::default();
        let mut known = entry["scopes"].as_array().is_some_and(|scopes| !scopes.is_empty());
        for scope in entry["scopes"].as_array().into_iter().flatten() {
            match scope.as_str().and_then(Right::of_scope) {
                Some(right) => rights = rights.with(right),
                None => known = false,
            }
        }
        if !known {
            self.problems.push(format!("{place}.scopes lists some of read, operate, configure"));
        }
        let sha256 = entry["sha256"].as_str().and_then(bytes);
        if sha256.is_none() {
            let told = "is no SHA-256 in 64 hexadecimal digits (make a token with `console make-token`)";
            self.problems.push(format!("{place}.sha256 {told}"));
        }
        if let (Some(name), Some(sha256)) = (name, sha256) {
            self.people.tokens.push(ApiToken { name, rights, sha256 });
        }
    }

    fn name(&mut self, place: &str, entry: &Value) -> Option<String> {
        let name = entry["name"].as_str().unwrap_or_default();
        if let Some(problem) = name_problem(name) {
            self.problems.push(format!("{place}.name {problem}"));
            return None;
        }
        if !self.names.insert(name.to_owned()) {
            self.problems.push(format!("{place}.name stands there twice"));
        }
        Some(name.to_owned())
    }
}

/// What is wrong with the name of a person or a token.
pub(super) fn name_problem(name: &str) -> Option<&'static str> {
    let fits = !name.is_empty() && name.len() <= LONGEST_NAME;
    if !fits || name.trim() != name || name.chars().any(char::is_control) {
        return Some("has 1 to 64 bytes, no blanks around it and no control characters");
    }
    (name == TOKEN_NAME).then_some("is taken by the token of that name")
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo";

    #[test]
    fn people_and_tokens_are_read() {
        let people = json!([{ "name": "ana", "role": "owner", "password": HASH }]);
        assert!(People::parse(&people.to_string()).unwrap().person("ana").is_some());
        let token = json!({ "name": "ci", "scopes": ["operate"], "sha256": hex(&sha256("a token")) });
        let both = json!({ "people": people, "tokens": [token] }).to_string();
        let both = People::parse(&both).unwrap();
        assert!(both.token("a token").unwrap().rights.has(Right::Operate));
        assert!(both.token("another").is_none() && both.person("bo").is_none());
        let (ana, other) =
            (both.person("ana").unwrap(), Person { role: Role::Agent, ..both.people[0].clone() });
        assert_ne!(ana.fingerprint(), other.fingerprint());
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_and_no_hash() {
        let text = json!({
            "people": [
                { "name": "ana", "role": "owner", "password": "in the clear" },
                { "name": "ana", "role": "boss", "password": HASH },
                { "name": TOKEN_NAME, "role": "agent", "password": HASH, "pasword": 1 },
            ],
            "tokens": [{ "name": " ci", "scopes": ["own"], "sha256": "00" }],
            "others": [],
        });
        let told = People::parse(&text.to_string()).unwrap_err();
        let of = |place: &str| told.iter().any(|problem| problem.starts_with(place));
        for place in [
            "people[0].password",
            "people[1].name",
            "people[1].role",
            "people[2].name",
            "people[2].pasword",
            "tokens[0].name",
            "tokens[0].scopes",
            "tokens[0].sha256",
            "others",
        ] {
            assert!(of(place), "{place} in {told:?}");
        }
        assert_eq!(told.len(), 9, "{told:?}");
        let told = told.join("\n");
        assert!(!told.contains("in the clear") && !told.contains("c2Fsd"), "{told}");
        assert!(People::parse(" \n").unwrap().is_empty());
        for nothing in ["[]", "{}", "1", "[1]", "{\"people\": {}}"] {
            assert!(People::parse(nothing).is_err(), "{nothing}");
        }
        let cut = format!("[{{\"password\": \"{HASH}");
        assert!(!People::parse(&cut).unwrap_err().join("").contains("c2Fsd"));
    }
}
