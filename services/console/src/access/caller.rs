//! Who asks, and what they may do.
//!
//! A route says what it needs by an argument: `May { caller, .. }: May<Operate>`. Whoever may not is
//! answered 403 before the route runs. For Configure and Own, `caller.require(Right::Configure)?`, or a
//! type beside `Operate` once a second route needs it. A template that extends `base.html` has a field
//! `caller: Caller`; in it, every form that posts has `{% include "csrf.html" %}`, and buttons are
//! left out with `{% if caller.may_operate() %}`. Scripts send `x-csrf-token` instead. Nothing needs
//! to be done in the handler: [`super::guard`] has checked it.

use std::{marker::PhantomData, sync::Arc};

use aws_lc_rs::hmac;
use axum::{extract::FromRequestParts, http::request::Parts, response::Response};

use super::guard::Manner;
use crate::error::RouteError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// See everything but secrets.
    Read,
    /// Do something to a conversation or to what was set aside.
    Operate,
    /// Change settings.
    Configure,
    /// Change people and secrets.
    Own,
}

/// What a person is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Owner,
    Admin,
    Agent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rights {
    read: bool,
    operate: bool,
    configure: bool,
    own: bool,
}

impl Right {
    /// Of a token: its scopes. Nothing but a person may change people.
    pub(crate) fn of_scope(scope: &str) -> Option<Self> {
        match scope {
            "read" => Some(Self::Read),
            "operate" => Some(Self::Operate),
            "configure" => Some(Self::Configure),
            _ => None,
        }
    }
}

impl Right {
    /// A token's; nobody but a person has the last one.
    pub(crate) const fn scope(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Configure => "configure",
            Self::Own => "own",
        }
    }
}

impl Role {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Owner, Self::Admin, Self::Agent].into_iter().find(|role| role.as_str() == text)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Agent => "agent",
        }
    }

    pub(crate) fn rights(self) -> Rights {
        match self {
            Self::Owner => Self::Admin.rights().with(Right::Own),
            Self::Admin => Rights::default().with(Right::Operate).with(Right::Configure),
            Self::Agent => Rights::default().with(Right::Read),
        }
    }
}

impl Rights {
    pub(crate) fn has(self, right: Right) -> bool {
        match right {
            Right::Read => self.read,
            Right::Operate => self.operate,
            Right::Configure => self.configure,
            Right::Own => self.own,
        }
    }

    /// Whoever may do anything may look.
    pub(crate) fn with(mut self, right: Right) -> Self {
        self.read = true;
        match right {
            Right::Read => {}
            Right::Operate => self.operate = true,
            Right::Configure => self.configure = true,
            Right::Own => self.own = true,
        }
        self
    }
}

/// Who asks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Caller(Arc<Known>);

#[derive(Default)]
struct Known {
    name: String,
    rights: Rights,
    by: By,
    csrf: String,
}

/// How it is known.
#[derive(Default, Clone, PartialEq, Eq)]
pub(super) enum By {
    #[default]
    Nothing,
    /// It sits at this machine, and nothing is asked for.
    Place,
    Bearer,
    /// The id that the cookie holds.
    Cookie(String),
}

impl Caller {
    /// For pages that anybody may see.
    pub(crate) fn nobody() -> Self {
        Self(Arc::new(Known::default()))
    }

    pub(super) fn new(name: &str, rights: Rights, by: By) -> Self {
        let csrf = match &by {
            By::Cookie(id) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, id.as_bytes());
                hex(hmac::sign(&key, b"baton console form 1").as_ref())
            }
            By::Nothing | By::Place | By::Bearer => String::new(),
        };
        Self(Arc::new(Known { name: name.to_owned(), rights, by, csrf }))
    }

    pub(super) fn owner(name: &str, by: By) -> Self {
        Self::new(name, Role::Owner.rights(), by)
    }

    pub(super) fn by(&self) -> &By {
        &self.0.by
    }

    /// For the audit: unique among people and tokens.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn may(&self, right: Right) -> bool {
        self.0.rights.has(right)
    }

    /// # Errors
    /// 403, which says what would be needed.
    pub(crate) fn require(&self, right: Right) -> Result<(), RouteError> {
        if self.may(right) { Ok(()) } else { Err(RouteError::NotAllowed(right)) }
    }

    pub(crate) fn may_read(&self) -> bool {
        self.may(Right::Read)
    }

    pub(crate) fn may_operate(&self) -> bool {
        self.may(Right::Operate)
    }

    pub(crate) fn may_configure(&self) -> bool {
        self.may(Right::Configure)
    }

    /// By the page, so that signing out means something.
    pub(crate) fn is_signed_in(&self) -> bool {
        matches!(self.0.by, By::Cookie(_))
    }

    /// What a form of this sign-in carries (`templates/csrf.html`); empty when none is needed.
    pub(crate) fn csrf(&self) -> &str {
        &self.0.csrf
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a route needs, as a type.
pub(crate) trait Needs {
    const RIGHT: Right;
}

pub(crate) struct Read;
pub(crate) struct Operate;
pub(crate) struct Configure;

impl Needs for Read {
    const RIGHT: Right = Right::Read;
}

impl Needs for Operate {
    const RIGHT: Right = Right::Operate;
}

impl Needs for Configure {
    const RIGHT: Right = Right::Configure;
}

/// Somebody who may.
pub(crate) struct May<R> {
    pub(crate) caller: Caller,
    right: PhantomData<R>,
}

impl<S: Sync, R: Needs> FromRequestParts<S> for May<R> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let manner = parts.extensions.get::<Manner>().copied().unwrap_or(Manner::Json);
        // A route that the guard does not stand before lets nobody in.
        let caller = parts.extensions.get::<Caller>().cloned().unwrap_or_else(Caller::nobody);
        match caller.require(R::RIGHT) {
            Ok(()) => Ok(Self { caller, right: PhantomData }),
            Err(error) => Err(manner.answer(&caller, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_scopes_have_their_rights_and_no_others() {
        use Right::{Configure, Operate, Own, Read};
        let all = [Read, Operate, Configure, Own];
        let of = |rights: Rights| all.map(|right| rights.has(right));
        assert_eq!(of(Role::Owner.rights()), [true; 4]);
        assert_eq!(of(Role::Admin.rights()), [true, true, true, false]);
        assert_eq!(of(Role::Agent.rights()), [true, false, false, false]);
        assert_eq!(of(Rights::default()), [false; 4]);
        for (scope, expected) in [("read", Read), ("operate", Operate), ("configure", Configure)] {
            let rights = Rights::default().with(Right::of_scope(scope).unwrap());
            assert_eq!(of(rights), all.map(|right| right == Read || right == expected), "{scope}");
        }
        assert_eq!(Right::of_scope("own"), None);
        for right in all {
            assert_eq!(Caller::nobody().require(right), Err(RouteError::NotAllowed(right)));
        }
    }

    #[test]
    fn a_forms_token_belongs_to_one_sign_in() {
        let of = |id: &str| Caller::owner("a", By::Cookie(id.into()));
        assert_eq!(of("one").csrf(), of("one").csrf());
        assert_ne!(of("one").csrf(), of("two").csrf());
        assert_eq!(of("one").csrf().len(), 64);
        assert_eq!(Caller::owner("a", By::Bearer).csrf(), "");
    }
}
