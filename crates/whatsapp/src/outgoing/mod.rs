//! From what is to be said to what WhatsApp takes (`whatsapp-cloud-api.md` §5.3, §6.3). Pure.

mod fit;
mod kinds;
mod wire;

pub use fit::fit;
pub use kinds::{Unfit, ending_for, essence, kind_for, max_bytes};
pub(crate) use wire::{Message, request};
