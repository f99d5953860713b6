//! A customer and a rep who talk to one another, by the simulators' levers.

use e2e::sim::{Act, ControlClient, Customer, Did, PhoneMessage, RepView, Say, Verb};
use xtask::stack::NUMBER;

use crate::until;

/// A customer and the rep who talks to them.
pub(crate) struct Chat<'a> {
    pub(crate) control: &'a ControlClient,
    pub(crate) customer: Customer,
    pub(crate) conversation: String,
}

impl<'a> Chat<'a> {
    /// Asks for a person, and gets one.
    pub(crate) async fn live(control: &'a ControlClient, customer: Customer) -> Self {
        control.say(&Say::text(NUMBER, &customer, "I want to speak to a human")).await.unwrap();
        Self::accepted(control, customer).await
    }

    pub(crate) async fn accepted(control: &'a ControlClient, customer: Customer) -> Self {
        let view = until("a waiting session", async || {
            let views = control.conversations().await.unwrap();
            views.into_iter().find(|view| view.session().is_some_and(|session| session.status == "Waiting"))
        })
        .await;
        let conversation = view.conversation;
        control.rep(&conversation, &Verb::Accept { rep: None }).await.unwrap();
        Self { control, customer, conversation }
    }

    pub(crate) async fn acts(&self, act: Act) -> String {
        self.control.act(&Did::new(NUMBER, &self.customer, act)).await.unwrap()
    }

    pub(crate) async fn rep(&self, verb: Verb) {
        self.control.rep(&self.conversation, &verb).await.unwrap();
    }

    pub(crate) async fn rep_says(&self, text: &str) {
        self.rep(Verb::Say { text: text.into() }).await;
    }

    pub(crate) async fn view(&self) -> RepView {
        self.control.conversation(&self.conversation).await.unwrap().unwrap()
    }

    /// Until the rep sees it.
    pub(crate) async fn rep_sees<T>(&self, what: &str, find: impl Fn(&RepView) -> Option<T>) -> T {
        until(what, async || find(&self.view().await)).await
    }

    pub(crate) async fn rep_reads(&self, part: &str) {
        let sees =
            |view: &RepView| view.texts("EndUser").iter().any(|text| text.contains(part)).then_some(());
        self.rep_sees(part, sees).await;
    }

    /// What the customer has got from us.
    pub(crate) async fn phone(&self) -> Vec<PhoneMessage> {
        let phone = self.control.phone(NUMBER, &self.customer.key()).await.unwrap();
        let messages = phone.map(|phone| phone.messages).unwrap_or_default();
        messages.into_iter().filter(|message| !message.from_customer && message.visible).collect()
    }

    pub(crate) async fn gets(&self, what: &str, is_it: impl Fn(&PhoneMessage) -> bool) -> PhoneMessage {
        until(what, async || self.phone().await.into_iter().find(|message| is_it(message))).await
    }
}

pub(crate) fn ana() -> Customer {
    Customer::phone("15550100199", "Ana")
}
