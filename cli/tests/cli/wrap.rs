//! A wasm32-wasip1 module becomes a component on its way to the registry.

use super::program::Home;

#[test]
fn a_preview_1_command_is_wrapped_with_the_adapter() {
    let home = Home::new();
    let module = wat::parse_str(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "_start")))"#,
    )
    .unwrap();
    let file = home.write("command.wasm", module);
    let pushed = home
        .run(&["push", "oci:out", &file, "-o", "json"])
        .success()
        .json();
    assert_eq!(pushed["wrapped"], true);
    let found = home
        .run(&["inspect", "oci:out", "-o", "json"])
        .success()
        .json();
    assert_eq!(found["kind"], "component");
    assert_eq!(found["world"], "wasi:cli command");
}

#[test]
fn a_module_for_another_host_is_refused_with_the_target_to_build_for() {
    let home = Home::new();
    let module =
        wat::parse_str(r#"(module (import "env" "log" (func)) (func (export "main")))"#).unwrap();
    let file = home.write("other.wasm", module);
    home.run(&["push", "oci:out", &file])
        .fails(1, &["cannot be wrapped", "wasm32-wasip2"]);
}
