//! The values of typed exports as JSON: exact, and told where they are wrong.

use crate::support::{Answer, TOOLS, ask, code, runtime, workload};
use http::{Method, StatusCode};
use runtime::{Component, Door, EngineClass};
use serde_json::{Value, json};
use std::sync::Arc;

fn echo() -> Arc<Component> {
    let door = Door {
        trigger: "rpc".into(),
        interfaces: vec!["acme:shapes/echo@1".parse().unwrap()],
        max_request_body: 1 << 20,
    };
    let code = code(EngineClass::SMALL, TOOLS);
    let loaded = runtime().load_functions(&code, workload("tools"), &[door], false);
    loaded.unwrap()
}

async fn call(component: &Component, function: &str, body: &str) -> Answer {
    let path = format!("/acme:shapes/echo@1/{function}");
    ask(component, Method::POST, &path, body).await
}

/// What comes back of a value, as text.
async fn back(component: &Component, function: &str, value: &str) -> String {
    let answer = call(component, function, &format!(r#"{{"value":{value}}}"#)).await;
    assert_eq!(
        answer.status,
        StatusCode::OK,
        "{function} {value}: {answer:?}"
    );
    answer.text.trim_end().to_owned()
}

/// Where a value is refused, and why.
async fn refused(component: &Component, function: &str, body: &str) -> (String, String) {
    let answer = call(component, function, body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {answer:?}");
    assert_eq!(answer.reason(), "BadRequest");
    let told: Value = serde_json::from_str(&answer.text).unwrap();
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    (text("path"), text("message"))
}

fn drawing() -> Value {
    json!({
        "name": "été \u{1f600} \"x\"\n",
        "shape": {"circle": 0.1},
        "color": "green",
        "rights": ["read", "run"],
        "points": [{"x": 1, "y": -1, "label": null}, {"x": 2, "y": 0, "label": "b"}],
        "first": {"x": -2_147_483_648_i64, "y": 2_147_483_647, "label": ""},
        "last": {"x": 0, "y": 0, "label": null},
    })
}

#[tokio::test]
async fn every_value_comes_back_as_it_was_sent() {
    let component = echo();
    for shape in [
        json!({"circle": -0.0}),
        json!({"dot": null}),
        json!({"corners": []}),
        json!({"corners": [{"x": 1, "y": 2, "label": "c"}]}),
    ] {
        let mut drawing = drawing();
        drawing["shape"] = shape;
        let body = json!({"drawing": drawing}).to_string();
        let answer = call(&component, "draw", &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let came: Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(came, drawing);
    }
    let all = |nested: &str, one: &str, two: &str| {
        format!(
            r#"[255,65535,4294967295,18446744073709551615,-128,-32768,-2147483648,-9223372036854775808,0.1,0.1,true,"ß","text",[1,2],"AAEC/w==",7,{nested},{one},{two}]"#
        )
    };
    for (nested, one, two) in [
        ("null", r#"{"ok":1}"#, r#"{"ok":null}"#),
        (r#"{"some":null}"#, r#"{"err":"no"}"#, r#"{"err":null}"#),
        (r#"{"some":"x"}"#, r#"{"ok":0}"#, r#"{"ok":null}"#),
    ] {
        let value = all(nested, one, two);
        assert_eq!(back(&component, "everything", &value).await, value);
    }
}

#[tokio::test]
async fn numbers_are_exact_or_refused() {
    let component = echo();
    for number in ["0", "9007199254740993", "18446744073709551615"] {
        assert_eq!(back(&component, "unsigned", number).await, number);
    }
    for number in [
        "-9223372036854775808",
        "-9007199254740993",
        "9223372036854775807",
    ] {
        assert_eq!(back(&component, "signed", number).await, number);
    }
    for number in [
        "1e-7",
        "5e-324",
        "1.7976931348623157e308",
        "0.30000000000000004",
    ] {
        let came = back(&component, "double", number).await;
        let (came, sent): (f64, f64) = (came.parse().unwrap(), number.parse().unwrap());
        assert_eq!(came.to_bits(), sent.to_bits(), "{number}");
    }
    assert_eq!(
        back(&component, "double", "9007199254740992").await,
        "9007199254740992.0"
    );
    assert_eq!(back(&component, "single", "0.1").await, "0.1");
    for special in [r#""NaN""#, r#""Infinity""#, r#""-Infinity""#] {
        assert_eq!(back(&component, "double", special).await, special);
        assert_eq!(back(&component, "single", special).await, special);
    }
    for (function, number, says) in [
        (
            "unsigned",
            "18446744073709551616",
            "an integer from 0 to 18446744073709551615",
        ),
        ("unsigned", "-1", "is -1"),
        ("unsigned", "1.5", "is 1.5"),
        ("unsigned", "1.0", "is 1, which is no integer of its own"),
        ("unsigned", r#""1""#, "is a string"),
        ("signed", "9223372036854775808", "is 9223372036854775808"),
        ("double", "9007199254740993", "can not hold exactly"),
        ("single", "16777217", "can not hold exactly"),
        ("single", "1e39", "larger than any"),
        ("double", "1e999", "no JSON any more: number out of range"),
        ("double", r#""inf""#, "is a string"),
        ("double", "null", "is null"),
    ] {
        let (path, message) =
            refused(&component, function, &format!(r#"{{"value":{number}}}"#)).await;
        assert_eq!(path, "$.value", "{number}: {message}");
        assert!(message.contains(says), "{number}: {message}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_place() {
    let component = echo();
    let with = |pointer: &str, value: Value| {
        let mut drawing = drawing();
        *drawing.pointer_mut(pointer).unwrap() = value;
        json!({"drawing": drawing}).to_string()
    };
    let added = |pointer: &str, name: &str| {
        let mut drawing = drawing();
        drawing.pointer_mut(pointer).unwrap()[name] = json!(1);
        json!({"drawing": drawing}).to_string()
    };
    let without = |pointer: &str, name: &str| {
        let mut drawing = drawing();
        let object = drawing
            .pointer_mut(pointer)
            .unwrap()
            .as_object_mut()
            .unwrap();
        object.remove(name).unwrap();
        json!({"drawing": drawing}).to_string()
    };
    for (body, path, says) in [
        (
            with("/points/1/x", json!("2")),
            "$.drawing.points[1].x",
            "it has to be an integer from -2147483648 to 2147483647, and is a string",
        ),
        (
            with("/points/1/x", json!(2_147_483_648_u64)),
            "$.drawing.points[1].x",
            "is 2147483648",
        ),
        (
            with("/points", json!({})),
            "$.drawing.points",
            "has to be a list, and is an object",
        ),
        (
            with("/shape", json!({"square": 1})),
            "$.drawing.shape",
            r#"there is no case "square"; write dot, circle, corners"#,
        ),
        (
            with("/shape", json!({"circle": "1"})),
            "$.drawing.shape.circle",
            "a number",
        ),
        (
            with("/shape", json!({"dot": 1})),
            "$.drawing.shape.dot",
            "has to be null",
        ),
        (
            with("/shape", json!({"dot": null, "circle": 1})),
            "$.drawing.shape",
            "several members",
        ),
        (
            with("/shape", json!({})),
            "$.drawing.shape",
            "without members",
        ),
        (
            with("/shape", json!("dot")),
            "$.drawing.shape",
            "an object of one member: dot or circle or corners",
        ),
        (
            with("/color", json!("pink")),
            "$.drawing.color",
            r#"there is no case "pink"; write red, green, blue"#,
        ),
        (
            with("/rights", json!(["read", "fly"])),
            "$.drawing.rights[1]",
            r#"there is no flag "fly""#,
        ),
        (
            with("/rights", json!(["run", "run"])),
            "$.drawing.rights[1]",
            "there already",
        ),
        (with("/rights/0", json!(1)), "$.drawing.rights[0]", "a name"),
        (
            with("/first/label", json!(1)),
            "$.drawing.first.label",
            "a string",
        ),
        (
            added("/first", "z"),
            "$.drawing.first",
            r#"there is no member "z"; write x, y, label"#,
        ),
        (
            without("/first", "x"),
            "$.drawing.first",
            "the member x is missing",
        ),
        (
            r#"{"drawing":{"name":"a","name":"b"}}"#.to_owned(),
            "$.drawing.name",
            "there twice",
        ),
        ("{}".to_owned(), "$", "the member drawing is missing"),
        (String::new(), "$", "the member drawing is missing"),
        (
            "[]".to_owned(),
            "$",
            "has to be an object with the members drawing, and is a list",
        ),
        ("7".to_owned(), "$", "is a number"),
        (
            r#"{"drawing": {"name": "a"#.to_owned(),
            "$.drawing.name",
            "no JSON any more",
        ),
        (r#"{"drawing":1} x"#.to_owned(), "$.drawing", "a number"),
    ] {
        let (found, message) = refused(&component, "draw", &body).await;
        assert_eq!(found, path, "{message}");
        assert!(message.starts_with(&format!("{path}: ")), "{message}");
        assert!(message.contains(says), "{path}: {message}");
    }
    let (path, message) = refused(&component, "text", r#"{"value":"a"} {}"#).await;
    assert!(
        path == "$" && message.contains("no JSON any more"),
        "{message}"
    );
    for (value, says) in [
        (r#""A""#, "base64"),
        ("[1,2]", "is a list"),
        (r#""AA=A""#, "base64"),
    ] {
        let (path, message) =
            refused(&component, "bytes", &format!(r#"{{"value":{value}}}"#)).await;
        assert!(path == "$.value" && message.contains(says), "{message}");
    }
}

#[tokio::test]
async fn an_option_may_be_left_out() {
    let component = echo();
    let mut sent = drawing();
    sent["first"].as_object_mut().unwrap().remove("label");
    let answer = call(&component, "draw", &json!({"drawing": sent}).to_string()).await;
    let came: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(
        came["first"],
        json!({"x": -2_147_483_648_i64, "y": 2_147_483_647, "label": null})
    );
}

#[tokio::test]
async fn a_strangers_text_is_quoted_in_part_only() {
    let component = echo();
    let body = format!(r#"{{"{}":1}}"#, "\\u001b[31m".repeat(100));
    let (_, message) = refused(&component, "text", &body).await;
    assert!(
        message.len() < 300 && !message.contains('\u{1b}'),
        "{message}"
    );
}

#[tokio::test]
async fn deep_nesting_is_refused_before_it_is_read() {
    let component = echo();
    let body = format!(
        r#"{{"value":{}1{}}}"#,
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    let (path, _) = refused(&component, "text", &body).await;
    assert_eq!(path, "$.value");
    let unknown = format!(
        r#"{{"drawing":{{"shape":{{"dot":{}}}}}}}"#,
        "[".repeat(50_000)
    );
    let (path, _) = refused(&component, "draw", &unknown).await;
    assert_eq!(path, "$.drawing.shape.dot");
}
