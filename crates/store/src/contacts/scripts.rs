//! The directory's scripts: each is what they have in common, then its own.

use std::sync::LazyLock;

use redis::{Script, ScriptInvocation};

use crate::{KEPT, Store};

/// Of one person; the newest stay in the index, older ones are found until they expire.
const ALIASES: u32 = 64;
const EMAILS: u32 = 32;
/// More numbers than a business has.
const CONVERSATIONS: u32 = 100;

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("people.lua"), include_str!($file))))
    };
}

pub(super) static FIND: LazyLock<Script> = script!("find.lua");
pub(super) static FILE: LazyLock<Script> = script!("file.lua");
pub(super) static EMAIL: LazyLock<Script> = script!("email.lua");
pub(super) static MOVE: LazyLock<Script> = script!("move.lua");
pub(super) static MERGE: LazyLock<Script> = script!("merge.lua");
pub(super) static LOOK_UP: LazyLock<Script> = script!("look_up.lua");
pub(super) static PERSON: LazyLock<Script> = script!("person.lua");
pub(super) static ERASE: LazyLock<Script> = script!("erase.lua");
pub(super) static RESOLVE: LazyLock<Script> = script!("resolve.lua");
pub(super) static INDEX: LazyLock<Script> = script!("index.lua");
pub(super) static CONVERSATIONS_OF: LazyLock<Script> = script!("conversations.lua");

pub(super) trait PeopleScript {
    /// With the arguments that all have in common.
    fn begin(&self, store: &Store) -> ScriptInvocation<'_>;
}

impl PeopleScript for Script {
    fn begin(&self, store: &Store) -> ScriptInvocation<'_> {
        let mut call = self.prepare_invoke();
        call.arg(&store.prefix).arg(KEPT.as_secs()).arg(store.clock_arg());
        call.arg(ALIASES).arg(EMAILS).arg(CONVERSATIONS);
        call
    }
}
