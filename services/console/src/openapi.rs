//! The JSON API and its document, from one place: a route is added to [`Api`] together with what it
//! takes and answers, so the document at `/api/v1/openapi.json` knows every route and no other.
//!
//! To add routes, return an `Api` and merge it in `api::router`:
//!
//! ```ignore
//! pub(crate) fn api() -> Api {
//!     Api::new("Settings").put(
//!         "/settings/channels/{id}",
//!         save,
//!         Operation::new("Save a channel", Right::Configure)
//!             .body(schema::<Channel>())
//!             .answers(200, "Saved", schema::<Saved>())
//!             .fails(&[RouteError::MalformedBody]),
//!     )
//! }
//! ```
//!
//! Shapes come from the types (`#[derive(schemars::JsonSchema)]`), statuses and codes from
//! [`RouteError`]. What the guard answers (401, 403, 421, 429, 503) is told of every route.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    handler::Handler,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{self, MethodRouter},
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    Console,
    access::{May, Read, Right},
    error::{RouteError, Told},
};

/// What any route may be answered by those who stand before it.
const COMMON: [RouteError; 9] = [
    RouteError::NotSignedIn,
    RouteError::WrongToken,
    RouteError::NotAllowed(Right::Read),
    RouteError::ForeignPage,
    RouteError::StaleForm,
    RouteError::WrongHost,
    RouteError::TooManyTries { seconds: 0 },
    RouteError::CacheAway,
    RouteError::LogAway,
];

/// Routes below `/api/v1`, with what is told of them.
pub(crate) struct Api {
    tag: &'static str,
    router: Router<Console>,
    operations: Vec<Placed>,
}

struct Placed {
    method: &'static str,
    path: &'static str,
    tag: &'static str,
    operation: Operation,
}

/// What a route takes and answers.
pub(crate) struct Operation {
    summary: &'static str,
    right: Right,
    parameters: Vec<Value>,
    /// Of the parameter in the path.
    id: Value,
    body: Option<Value>,
    answers: Vec<(u16, &'static str, Option<Value>)>,
    fails: Vec<RouteError>,
}

impl Operation {
    /// `right`: what the caller needs.
    pub(crate) fn new(summary: &'static str, right: Right) -> Self {
        Self {
            summary,
            right,
            parameters: Vec::new(),
            id: json!({"type": "string", "format": "uuid"}),
            body: None,
            answers: Vec::new(),
            fails: Vec::new(),
        }
    }

    pub(crate) fn query(self, name: &'static str, says: &'static str, schema: Value) -> Self {
        self.parameter("query", name, says, false, schema)
    }

    pub(crate) fn header(self, name: &'static str, says: &'static str, schema: Value) -> Self {
        self.parameter("header", name, says, true, schema)
    }

    fn parameter(mut self, place: &str, name: &str, says: &str, required: bool, schema: Value) -> Self {
        self.parameters.push(
            json!({"name": name, "in": place, "description": says, "required": required, "schema": schema}),
        );
        self
    }

    /// What stands in the path; a UUID where nothing else is said.
    pub(crate) fn id(mut self, schema: Value) -> Self {
        self.id = schema;
        self
    }

    pub(crate) fn body(mut self, schema: Value) -> Self {
        self.body = Some(schema);
        self
    }

    pub(crate) fn answers(mut self, status: u16, says: &'static str, schema: Value) -> Self {
        self.answers.push((status, says, Some(schema)));
        self
    }

    pub(crate) fn nothing(mut self, status: u16, says: &'static str) -> Self {
        self.answers.push((status, says, None));
        self
    }

    pub(crate) fn fails(mut self, with: &[RouteError]) -> Self {
        self.fails.extend(with);
        self
    }
}

impl Api {
    /// `tag`: what the routes are about.
    pub(crate) fn new(tag: &'static str) -> Self {
        Self { tag, router: Router::new(), operations: Vec::new() }
    }

    pub(crate) fn get<H: Handler<T, Console>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self {
        self.on("get", path, routing::get(handler), operation)
    }

    pub(crate) fn post<H: Handler<T, Console>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self {
        self.on("post", path, routing::post(handler), operation)
    }

    /// For any other method.
    pub(crate) fn on(
        mut self,
        method: &'static str,
        path: &'static str,
        route: MethodRouter<Console>,
        operation: Operation,
    ) -> Self {
        self.router = self.router.route(path, route);
        self.operations.push(Placed { method, path, tag: self.tag, operation });
        self
    }

    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.operations.extend(other.operations);
        self
    }

    /// The routes, and the document itself as one more.
    pub(crate) fn finish(self) -> Router<Console> {
        let about = Operation::new("This document", Right::Read).answers(
            200,
            "An OpenAPI 3.1 document",
            json!({"type": "object", "required": ["openapi", "paths"]}),
        );
        let (method, path, tag) = ("get", "/openapi.json", "API");
        let mut operations = self.operations;
        operations.push(Placed { method, path, tag, operation: about });
        let document: Arc<str> = document(&operations).to_string().into();
        let serve = move |_: May<Read>| {
            let document = Arc::clone(&document);
            async move { ([(header::CONTENT_TYPE, "application/json")], document.to_string()) }
        };
        self.router.route(path, routing::get(serve)).layer(axum::middleware::map_response(in_our_words))
    }
}

/// The framework's own refusals (a path that is no UTF-8) are told like ours.
async fn in_our_words(response: Response) -> Response {
    let json = HeaderValue::from_static("application/json");
    let is_ours = response.headers().get(header::CONTENT_TYPE) == Some(&json);
    if response.status() != StatusCode::BAD_REQUEST || is_ours {
        return response;
    }
    RouteError::MalformedId.into_response()
}

/// Of what is answered with.
pub(crate) fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    generated::<T>(settings.for_serialize())
}

/// Of what is taken.
pub(crate) fn taken<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    generated::<T>(settings.for_deserialize())
}

fn generated<T: JsonSchema>(settings: SchemaSettings) -> Value {
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("$schema");
    schema.to_value()
}

fn document(operations: &[Placed]) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for placed in operations {
        let item = paths.entry(format!("/api/v1{}", placed.path)).or_default();
        item.insert(placed.method.to_owned(), described(placed));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Baton",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Everything that the console's pages do. Sign in with a token: \
                            Authorization: Bearer …. Every refusal says what is wrong, as a code and in \
                            words, and what to do.",
        },
        "security": [{"token": []}],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Problem": schema::<Told>()},
        },
        "paths": paths,
    })
}

fn described(placed: &Placed) -> Value {
    let Placed { method, path, tag, operation } = placed;
    let mut parameters = operation.parameters.clone();
    for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        parameters.push(json!({"name": name, "in": "path", "required": true, "schema": operation.id}));
    }
    let mut responses: BTreeMap<String, Value> = BTreeMap::new();
    for (status, says, schema) in &operation.answers {
        let mut answer = json!({ "description": says });
        if let Some(schema) = schema {
            answer["content"] = json!({"application/json": { "schema": schema }});
        }
        responses.insert(status.to_string(), answer);
    }
    let mut codes: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    let needs = RouteError::NotAllowed(operation.right);
    for error in operation.fails.iter().chain(&COMMON).chain(std::iter::once(&needs)) {
        let of = codes.entry(error.status().as_u16()).or_default();
        let code = error.told().error;
        if !of.contains(&code) {
            of.push(code);
        }
    }
    for (status, codes) in codes {
        let answer = json!({
            "description": codes.join(", "),
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        });
        responses.insert(status.to_string(), answer);
    }
    let mut described = json!({
        "operationId": operation_id(method, path),
        "tags": [tag],
        "summary": operation.summary,
        "description": format!("Needs: {}.", operation.right.scope()),
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(schema) = &operation.body {
        described["requestBody"] =
            json!({"required": true, "content": {"application/json": { "schema": schema }}});
    }
    described
}

fn operation_id(method: &str, path: &str) -> String {
    let parts = path.split(['/', '-', '.']).filter(|part| !part.is_empty());
    let parts = parts.map(|part| part.trim_matches(['{', '}']));
    std::iter::once(method).chain(parts).collect::<Vec<_>>().join("_")
}
