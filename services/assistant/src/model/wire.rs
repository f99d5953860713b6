//! OpenAI's chat completions (<https://platform.openai.com/docs/api-reference/chat>), as far as every
//! compatible server speaks them. Ignored on purpose: log probabilities, audio, annotations.

use domain::settings::{MaxTokensField, Model};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Trouble;

pub(super) fn request(model: &Model, messages: &[Value], tools: &[Value], choice: Value) -> Value {
    let limit = match model.max_tokens_field {
        MaxTokensField::MaxTokens => "max_tokens",
        MaxTokensField::MaxCompletionTokens => "max_completion_tokens",
    };
    let mut request = json!({ "model": model.model, "messages": messages });
    request[limit] = model.max_tokens.into();
    // Some servers refuse an empty list.
    if !tools.is_empty() {
        request["tools"] = tools.into();
        request["tool_choice"] = choice;
    }
    request
}

#[derive(Deserialize)]
pub(super) struct Completion {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Said,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    total_tokens: Option<u32>,
}

#[derive(Deserialize, Clone)]
pub(super) struct Said {
    pub(super) content: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize, Clone)]
pub(super) struct ToolCall {
    #[serde(default)]
    id: String,
    pub(super) function: Function,
}

#[derive(Deserialize, Clone)]
pub(super) struct Function {
    pub(super) name: String,
    /// JSON in a string; some servers give the object itself.
    #[serde(default)]
    arguments: Value,
}

impl Completion {
    pub(super) fn said(&self) -> Result<Said, Trouble> {
        let choice = self.choices.first().ok_or(Trouble::Malformed("no choices"))?;
        if choice.finish_reason.as_deref() == Some("content_filter") {
            return Err(Trouble::Malformed("a filtered answer"));
        }
        Ok(choice.message.clone())
    }

    /// As counted by the server, else estimated: four characters a token.
    pub(super) fn tokens(&self, sent: usize) -> u32 {
        let counted = self.usage.as_ref().and_then(|usage| usage.total_tokens);
        counted.unwrap_or_else(|| {
            let answered: usize = self.choices.iter().map(|choice| choice.message.size()).sum();
            u32::try_from((sent + answered) / 4).unwrap_or(u32::MAX)
        })
    }
}

impl Said {
    pub(super) fn calls(&self) -> &[ToolCall] {
        self.tool_calls.as_deref().unwrap_or_default()
    }

    fn size(&self) -> usize {
        let calls = self.calls().iter().map(|call| call.function.arguments.to_string().len());
        self.content.as_deref().unwrap_or_default().len() + calls.sum::<usize>()
    }

    /// Into the next request: the calls that are answered there.
    pub(super) fn echo(&self, calls: &[&ToolCall]) -> Value {
        let calls: Vec<Value> = calls
            .iter()
            .map(|call| {
                json!({ "id": call.id, "type": "function",
                        "function": { "name": call.function.name, "arguments": call.arguments_text() } })
            })
            .collect();
        json!({ "role": "assistant", "content": self.content, "tool_calls": calls })
    }
}

impl ToolCall {
    /// `Null` for what is no JSON.
    pub(super) fn arguments(&self) -> Value {
        match &self.function.arguments {
            Value::String(text) if text.trim().is_empty() => json!({}),
            Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
            Value::Null => json!({}),
            arguments @ (Value::Object(_) | Value::Array(_) | Value::Bool(_) | Value::Number(_)) => {
                arguments.clone()
            }
        }
    }

    fn arguments_text(&self) -> String {
        match &self.function.arguments {
            Value::String(text) => text.clone(),
            arguments @ (Value::Null
            | Value::Object(_)
            | Value::Array(_)
            | Value::Bool(_)
            | Value::Number(_)) => arguments.to_string(),
        }
    }

    pub(super) fn result(&self, content: &str) -> Value {
        json!({ "role": "tool", "tool_call_id": self.id, "content": content })
    }
}
