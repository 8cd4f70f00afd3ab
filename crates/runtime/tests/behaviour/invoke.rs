//! Typed exports as calls over HTTP: what is there, what is not, and how a call ends.

use crate::support::{Answer, HELLO, MIB, TOOLS, ask, code, count, read, runtime, workload};
use capability::{Bytes, Span};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use runtime::{Caller, Component, Door, EngineClass, LoadError, Outcome, Workload};
use serde_json::{Value, json};
use std::sync::Arc;

fn door(trigger: &str, interfaces: &[&str]) -> Door {
    let interfaces = interfaces
        .iter()
        .map(|interface| interface.parse().unwrap());
    Door {
        trigger: trigger.into(),
        interfaces: interfaces.collect(),
        max_request_body: 1 << 10,
    }
}

fn try_load(
    interfaces: &[&str],
    adjust: impl FnOnce(&mut Workload),
) -> Result<Arc<Component>, LoadError> {
    let mut workload = workload("tools");
    adjust(&mut workload);
    let code = code(EngineClass::SMALL, TOOLS);
    runtime().load_functions(&code, workload, &[door("rpc", interfaces)], false)
}

fn tools() -> Arc<Component> {
    try_load(&["acme:math/tools@1"], |_| {}).unwrap()
}

async fn call(component: &Component, function: &str, body: &str) -> Answer {
    let path = format!("/acme:math/tools@1.2.0/{function}");
    ask(component, Method::POST, &path, body).await
}

#[tokio::test]
async fn a_function_is_called_by_the_path_of_its_interface() {
    let component = tools();
    for path in [
        "/acme:math/tools@1.2.0/add",
        "/acme:math/tools@1/add",
        "/acme%3Amath/tools%401.2.0/add",
        "/acme:math/tools@1.2.0/add?x=1",
    ] {
        let answer = ask(&component, Method::POST, path, r#"{"b":2,"a":1}"#).await;
        assert_eq!(
            (answer.status, &*answer.text),
            (StatusCode::OK, "3\n"),
            "{path}"
        );
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    let answer = call(&component, "nothing", "").await;
    assert_eq!((answer.status, &*answer.text), (StatusCode::OK, "null\n"));
    assert_eq!(count(&component, Outcome::Completed), 5);
    assert_eq!((component.stats().live, component.stats().memory), (0, 0));
}

#[tokio::test]
async fn what_a_result_says_is_told_by_the_status() {
    let component = tools();
    let answer = call(&component, "divide", r#"{"a":7,"b":2}"#).await;
    assert_eq!((answer.status, &*answer.text), (StatusCode::OK, "3\n"));
    let answer = call(&component, "divide", r#"{"a":7,"b":0}"#).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.text, "{\"err\":\"division by zero\"}\n");
    assert_eq!(count(&component, Outcome::Completed), 2);
    assert_eq!(component.stats().errors, 0);
}

#[tokio::test]
async fn what_is_not_there_is_told_with_what_is() {
    let component = tools();
    for path in [
        "/",
        "/add",
        "/acme:math/tools/add",
        "/acme:math/tools@2/add",
        "/acme:math/tools@1.2.0/Add",
        "/acme:shapes/echo@1.0.0/text",
        "/lone",
        "/acme:math/tools@1.2.0/%61dd%",
    ] {
        let answer = ask(&component, Method::POST, path, "{}").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.reason(), "BadRequest");
        assert!(
            answer.text.contains("POST /acme:math/tools@1.2.0/add,"),
            "{answer:?}"
        );
    }
    let answer = ask(&component, Method::GET, "/acme:math/tools@1/add", "").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers["allow"], "POST");
    let answer = ask(&component, Method::POST, "/openapi.json", "").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(count(&component, Outcome::BadRequest), 10);
}

#[tokio::test]
async fn a_body_that_is_not_said_to_be_json_calls_nothing() {
    let component = tools();
    let caller = Arc::new(Caller {
        trigger: "rpc".into(),
        address: None,
    });
    for said in [
        None,
        Some("text/plain"),
        Some("application/jsonp"),
        Some("application/x-www-form-urlencoded"),
    ] {
        let mut request = Request::post("/acme:math/tools@1/nothing").header("host", "a");
        if let Some(said) = said {
            request = request.header("content-type", said);
        }
        let request = request.body(Full::new("{}".into())).unwrap();
        let answer = read(component.handle_for(Some(&caller), request).await).await;
        assert_eq!(
            answer.status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{said:?}"
        );
        assert!(answer.text.contains("content-type: application/json"));
    }
    assert_eq!(count(&component, Outcome::Completed), 0);
}

#[tokio::test]
async fn a_call_ends_as_any_other_does() {
    let component = try_load(&["acme:math/tools@1", "acme:shapes/echo@1"], |workload| {
        workload.limits.per_call.cpu_time = Span::milliseconds(50);
        workload.limits.per_call.memory = Bytes(8 * MIB);
    })
    .unwrap();
    for (function, body, status, reason) in [
        ("trap", "{}", StatusCode::INTERNAL_SERVER_ERROR, "Trapped"),
        (
            "spin",
            "{}",
            StatusCode::INTERNAL_SERVER_ERROR,
            "CpuExceeded",
        ),
        (
            "hold",
            r#"{"mebibytes":64}"#,
            StatusCode::INTERNAL_SERVER_ERROR,
            "MemoryExceeded",
        ),
    ] {
        let answer = call(&component, function, body).await;
        assert_eq!(answer.status, status, "{function}");
        assert_eq!(answer.reason(), reason, "{function}");
    }
    let large = format!(r#"{{"value":"{}"}}"#, "x".repeat(2_000));
    let answer = ask(&component, Method::POST, "/acme:shapes/echo@1/text", &large).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!((component.stats().live, component.stats().memory), (0, 0));
}

#[tokio::test]
async fn what_a_text_would_take_is_charged_before_it_is_made() {
    let mut offered = door("rpc", &["acme:shapes/echo@1"]);
    offered.max_request_body = 16 * MIB;
    let code = code(EngineClass::SMALL, TOOLS);
    let component = runtime()
        .load_functions(&code, workload("tools"), &[offered], false)
        .unwrap();
    // 4 MiB of bytes are a list of that many values, each of which takes forty.
    let bytes = "AAAA".repeat((MIB as usize * 4) / 3);
    let body = format!(r#"{{"value":"{bytes}"}}"#);
    let answer = ask(&component, Method::POST, "/acme:shapes/echo@1/bytes", &body).await;
    assert_eq!(answer.reason(), "MemoryExceeded");
    assert_eq!((component.stats().live, component.stats().memory), (0, 0));
}

#[tokio::test]
async fn a_call_without_a_slot_is_refused() {
    let component = try_load(&["acme:math/tools@1"], |workload| {
        workload.limits.per_replica.concurrency = 0;
    });
    let answer = call(&component.unwrap(), "nothing", "{}").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.reason(), "ConcurrencyLimit");
}

#[tokio::test]
async fn a_cut_ends_calls_in_progress() {
    let component = tools();
    let calling = {
        let component = Arc::clone(&component);
        tokio::spawn(async move { call(&component, "spin", "{}").await })
    };
    crate::support::eventually("the call has begun", || component.stats().live == 1).await;
    component.cut();
    assert_eq!(
        calling.await.unwrap().status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[test]
fn what_can_not_be_offered_is_refused_by_name() {
    for (interfaces, says) in [
        (
            ["acme:math/tools@2"],
            "exports no acme:math/tools@2; it exports acme:math/tools@1.2.0, acme:shapes/echo@1.0.0",
        ),
        (["acme:store/blobs@1"], "acme:store/blobs@1.0.0#"),
    ] {
        let refused = try_load(&interfaces, |_| {}).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
    let code = code(EngineClass::SMALL, HELLO);
    let doors = [door("rpc", &["acme:math/tools@1"])];
    let refused = runtime().load_functions(&code, workload("hello"), &doors, true);
    assert!(matches!(refused, Err(LoadError::NoInterface { .. })));
}

#[tokio::test]
async fn what_is_offered_describes_itself() {
    let component = try_load(&["acme:math/tools@1.0", "acme:shapes/echo@1"], |_| {}).unwrap();
    let answer = ask(&component, Method::GET, "/openapi.json", "").await;
    assert_eq!(answer.status, StatusCode::OK);
    let document: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "tools");
    let add = &document["paths"]["/acme:math/tools@1.2.0/add"]["post"];
    assert_eq!(
        add["requestBody"]["content"]["application/json"]["schema"],
        json!({
            "type": "object",
            "properties": {
                "a": {"type": "integer", "minimum": 0, "maximum": 4_294_967_295_u64},
                "b": {"type": "integer", "minimum": 0, "maximum": 4_294_967_295_u64},
            },
            "required": ["a", "b"],
            "additionalProperties": false,
        })
    );
    let divide = &document["paths"]["/acme:math/tools@1.2.0/divide"]["post"]["responses"];
    assert_eq!(
        divide["422"]["content"]["application/json"]["schema"]["properties"],
        json!({"err": {"type": "string"}})
    );
    let draw = &document["paths"]["/acme:shapes/echo@1.0.0/draw"]["post"]["requestBody"];
    let drawing = &draw["content"]["application/json"]["schema"]["properties"]["drawing"];
    assert_eq!(
        drawing["properties"]["color"],
        json!({"type": "string", "enum": ["red", "green", "blue"]})
    );
    assert_eq!(
        drawing["properties"]["first"]["required"],
        json!(["x", "y"])
    );
    // Whoever looks at what there is calls nothing.
    assert_eq!(count(&component, Outcome::Completed), 0);
}

#[tokio::test]
async fn whoever_holds_a_component_calls_any_function() {
    let code = code(EngineClass::SMALL, TOOLS);
    let component = runtime().load_to_invoke(&code, workload("tools")).unwrap();
    let function = |name: &str| {
        let mut functions = component.functions().iter();
        functions.find(|function| function.name() == name).unwrap()
    };
    assert_eq!(
        function("add").to_string(),
        "acme:math/tools@1.2.0#add: func(a: u32, b: u32) -> u32"
    );
    let sum = component
        .invoke(function("add"), "add(1, 2)")
        .await
        .unwrap();
    assert_eq!(
        (sum.wave.as_deref(), sum.json.as_deref(), sum.is_error),
        (Some("3"), Some("3"), false)
    );
    let divided = component
        .invoke(function("divide"), "divide(1, 0)")
        .await
        .unwrap();
    assert_eq!(divided.wave.as_deref(), Some(r#"err("division by zero")"#));
    assert!(divided.is_error);
    let lone = component.invoke(function("lone"), "lone(4)").await.unwrap();
    assert_eq!(lone.wave.as_deref(), Some("4"));
    for (name, call, says) in [
        ("add", "add(1)", "the arguments do not fit"),
        ("add", "add(1, -2)", "the arguments do not fit"),
        ("add", "add(1, 2", "is no call"),
        ("open", "open()", "has a resource"),
        ("[constructor]blob", "blob()", "belongs to a resource"),
        ("trap", "trap()", "ended with Trapped"),
    ] {
        let refused = component
            .invoke(function(name), call)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains(says), "{call}: {refused}");
    }
}
