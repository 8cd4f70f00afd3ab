//! Functions that a component exports, as calls over the network.
//!
//! Which interfaces are open is always said, and so is who may call: there is no default that
//! opens a port to everybody.

use capability::Bytes;
use kube::{KubeSchema, core::Rule};
use serde::{Deserialize, Serialize};

use crate::{bound, schema};

/// `acme:math/tools`, with a version, or a part of one, behind an `@`.
const INTERFACE: &str = "^[a-zA-Z0-9-]+:[a-zA-Z0-9-]+/[a-zA-Z0-9-]+(@[0-9]+([.][0-9]+([.][0-9]+([-+][0-9A-Za-z.+-]+)?)?)?)?$";
const INTERFACE_MEND: &str = "must name interfaces as the component exports them, with a version or a part of one; write for example acme:math/tools@1";

/// Calls of functions that the component exports: `POST /<interface>/<function>` with the
/// arguments as a JSON object, answered with what the function gives.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvokeTrigger {
    /// Port of the Service.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The interfaces whose functions can be called, such as `acme:math/tools@1`, which is any
    /// 1.x. Nothing else of the component can.
    #[schemars(length(min = 1, max = bound::INTERFACES), inner(length(min = 1, max = bound::INTERFACE)))]
    #[x_kube(validation = Rule::new(format!("self.all(i, i.matches('{INTERFACE}'))")).message(INTERFACE_MEND))]
    pub interfaces: Vec<String>,
    /// The largest request body, at most 4Mi, since it is read as a whole; larger ones are
    /// answered with 413.
    #[serde(default = "default_max_request_body")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = schema::quantity_between(Bytes(0), bound::INVOKE_BODY_MAX))]
    pub max_request_body: Bytes,
    /// How callers show who they are, such as `{none: {}}`: whoever reaches the port may call.
    pub auth: InvokeAuth,
}

/// How callers show who they are.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.none)").message("needs exactly one member; write auth: {none: {}} to let in whoever reaches the port, and from to say who does"))]
pub struct InvokeAuth {
    /// They do not: whoever reaches the port may call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<NoAuth>,
}

/// Nothing more is to be said.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoAuth {}

/// That what asks the handler of an http trigger is not said without one.
pub(super) fn needs_handler(field: &str, unsaid: &str) -> Rule {
    Rule::new(format!(
        "!has(self.triggers) || !self.triggers.exists(t, has(t.invoke)) || self.triggers.exists(t, has(t.http)) || ({unsaid})"
    ))
    .message(
        format!("{field}: it is about an http trigger, and there is none; remove it, or add one")
            .as_str(),
    )
}

/// Whether it names an interface, with a version or a part of one.
pub(super) fn is_interface(text: &str) -> bool {
    let word = |part: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !part.is_empty() && part.bytes().all(legal)
    };
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let version = |text: &str| {
        let mut parts = text.splitn(3, '.');
        let (major, minor, patch) = (parts.next(), parts.next(), parts.next());
        let patch = patch.is_none_or(|patch| match patch.split_once(['-', '+']) {
            None => number(patch),
            Some((patch, label)) => {
                let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".+-".contains(&byte);
                number(patch) && !label.is_empty() && label.bytes().all(legal)
            }
        });
        major.is_some_and(number) && minor.is_none_or(number) && patch
    };
    let (name, versioned) = match text.split_once('@') {
        Some((name, text)) => (name, version(text)),
        None => (text, true),
    };
    let Some((namespace, rest)) = name.split_once(':') else {
        return false;
    };
    let Some((package, interface)) = rest.split_once('/') else {
        return false;
    };
    versioned && [namespace, package, interface].into_iter().all(word)
}

fn default_port() -> i32 {
    80
}

fn default_max_request_body() -> Bytes {
    Bytes::mib(1)
}

impl Default for InvokeTrigger {
    /// Without an interface and without a word on who may call: what is left is the API
    /// server's to fill in.
    fn default() -> Self {
        Self {
            port: default_port(),
            interfaces: Vec::new(),
            max_request_body: default_max_request_body(),
            auth: InvokeAuth::default(),
        }
    }
}
