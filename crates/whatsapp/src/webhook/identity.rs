//! Who an event is about (§4). A phone number may be hidden, a BSUID missing from older traffic;
//! the profile stands apart, in `contacts`.

use domain::message::{Customer, IdentityChange};

use super::{node::Node, wire};

/// The contacts of one value.
#[derive(Default)]
pub(super) struct Contacts<'a> {
    list: Vec<(Node<'a>, Customer)>,
    /// One contact and one update: they belong together although no id says so (§2.1).
    pair: bool,
}

impl<'a> Contacts<'a> {
    pub(super) fn new(contacts: &[Node<'a>], updates: usize) -> Self {
        let list: Vec<_> = contacts
            .iter()
            .filter_map(|&node| {
                let wire = node.object::<wire::Contact<'_>>()?;
                let profile = wire.profile.object::<wire::Profile<'_>>().unwrap_or_default();
                let mut customer = customer(wire.wa_id, wire.user_id, wire.parent_user_id);
                customer.name = profile.name.filled().map(|name| cut(&name));
                // Written with and without the sign (§4.1).
                let username = profile.username.filled();
                customer.username = username.map(|name| cut(name.trim_start_matches('@')));
                Some((node, customer))
            })
            .collect();
        let pair = updates == 1 && list.len() == 1;
        Self { list, pair }
    }

    /// Whether the value is about one person.
    pub(super) fn one(&self) -> bool {
        self.list.len() == 1
    }

    /// The contact that an array element belongs to.
    pub(super) fn of_element(&self, element: Node<'a>) -> Option<Node<'a>> {
        let ids = element.object::<wire::Ids<'_>>()?;
        let first = |nodes: [Node<'a>; 4]| nodes.into_iter().find(|node| !node.is_null()).unwrap_or_default();
        let phone = first([ids.from, ids.to, ids.recipient_id, ids.wa_id]);
        let user = first([ids.from_user_id, ids.to_user_id, ids.recipient_user_id, ids.user_id]);
        self.find(&customer(phone, user, Node::default())).map(|(node, _)| *node)
    }

    fn find(&self, who: &Customer) -> Option<&(Node<'a>, Customer)> {
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        let differ = |a: &Option<String>, b: &Option<String>| a.is_some() && b.is_some() && a != b;
        let by_user = || self.list.iter().find(|(_, contact)| same(&contact.bsuid, &who.bsuid));
        let by_phone = || {
            let fits =
                |contact: &Customer| same(&contact.phone, &who.phone) && !differ(&contact.bsuid, &who.bsuid);
            self.list.iter().find(|(_, contact)| fits(contact))
        };
        let by_pair = || {
            let fits = |c: &Customer| !differ(&c.bsuid, &who.bsuid) && !differ(&c.phone, &who.phone);
            self.list.first().filter(|(_, contact)| self.pair && fits(contact))
        };
        by_user().or_else(by_phone).or_else(by_pair)
    }

    /// Adds what the contact knows and the event itself does not say.
    fn complete(&self, who: Customer) -> Customer {
        let Some((_, contact)) = self.find(&who) else { return who };
        Customer { name: contact.name.clone(), username: contact.username.clone(), ..filled_up(who, contact) }
    }
}

/// Who wrote a message. A system message about a changed identity belongs to the old one.
pub(super) fn sender(
    wire: &wire::Message<'_>,
    system: Option<&wire::System<'_>>,
    contacts: &Contacts<'_>,
) -> Customer {
    let mut who = customer(wire.from, wire.from_user_id, wire.from_parent_user_id);
    if let Some(system) = system {
        let old = customer(system.customer, system.previous_user_id, system.previous_parent_user_id);
        who = filled_up(who, &old);
        if who.id().is_none() {
            who = customer(system.wa_id, system.user_id, Node::default());
        }
    }
    contacts.complete(who)
}

/// From whom to whom an identity changed; `before` is [`sender`]'s answer. Ids that stay are in both.
pub(super) fn changed(system: &wire::System<'_>, before: &Customer) -> Option<IdentityChange> {
    let number =
        [system.wa_id, system.new_wa_id].into_iter().find(|node| !node.is_null()).unwrap_or_default();
    let mut after = customer(number, system.user_id, system.parent_user_id);
    after.id()?;
    // Only the number is told to have changed: the user id is the same.
    if system.user_id.is_null() {
        after.bsuid.clone_from(&before.bsuid);
        after.parent_bsuid.clone_from(&before.parent_bsuid);
    }
    after.username.clone_from(&before.username);
    Some(IdentityChange { before: before.clone(), after })
}

/// Who an echo went to.
pub(super) fn addressee(wire: &wire::Echo<'_>, sent: &wire::Echoed<'_>, contacts: &Contacts<'_>) -> Customer {
    let who = customer(wire.to, wire.to_user_id, Node::default());
    let asked = customer(sent.to, sent.recipient, Node::default());
    contacts.complete(filled_up(who, &asked))
}

/// Whom a status is about.
pub(super) fn recipient(wire: &wire::Status<'_>, contacts: &Contacts<'_>) -> Customer {
    let parents = [wire.recipient_parent_user_id, wire.parent_recipient_user_id];
    let parent = parents.into_iter().find(|parent| !parent.is_null()).unwrap_or_default();
    contacts.complete(customer(wire.recipient_id, wire.recipient_user_id, parent))
}

/// Whose conversation was handed over.
pub(super) fn hander(wire: &wire::HandoverSender<'_>) -> Customer {
    let who = customer(wire.phone_number, wire.user_id, Node::default());
    filled_up(who, &customer(wire.wa_id, Node::default(), Node::default()))
}

/// Whose preference or id changed: the id it had before.
pub(super) fn updated(wire: &wire::Update<'_>, contacts: &Contacts<'_>) -> Customer {
    let rotated = wire.user_id.object::<wire::Rotation<'_>>().map(|rotation| rotation.previous);
    contacts.complete(customer(wire.wa_id, rotated.unwrap_or(wire.user_id), wire.parent_user_id))
}

fn filled_up(who: Customer, from: &Customer) -> Customer {
    Customer {
        phone: who.phone.or_else(|| from.phone.clone()),
        bsuid: who.bsuid.or_else(|| from.bsuid.clone()),
        parent_bsuid: who.parent_bsuid.or_else(|| from.parent_bsuid.clone()),
        ..who
    }
}

/// `phone` may turn out to hold a BSUID (seen in `from` and `wa_id`): never taken for a number.
fn customer(phone: Node<'_>, user: Node<'_>, parent: Node<'_>) -> Customer {
    let mut who = Customer {
        bsuid: user.text().and_then(|text| trimmed(&text).map(str::to_owned)),
        parent_bsuid: parent.text().and_then(|text| trimmed(&text).map(str::to_owned)),
        ..Customer::default()
    };
    let text = phone.text();
    if let Some(text) = text.as_deref().and_then(trimmed) {
        match digits(text) {
            Some(digits) => who.phone = Some(digits),
            None => who.bsuid = who.bsuid.or_else(|| Some(text.to_owned())),
        }
    }
    who
}

fn cut(name: &str) -> String {
    match name.char_indices().nth(super::MAX_NAME_CHARS) {
        Some((end, _)) => name[..end].to_owned(),
        None => name.to_owned(),
    }
}

fn trimmed(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

/// A phone number's digits: a plus sign and formatting are left out.
fn digits(text: &str) -> Option<String> {
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if all_digits(text) {
        return Some(text.to_owned());
    }
    let plain = text.replace(['+', ' ', '-', '(', ')'], "");
    all_digits(&plain).then_some(plain)
}
