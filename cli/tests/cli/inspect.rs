//! `inspect` tells what a component is without running it.

use super::program::{Home, hello};

#[test]
fn a_file_is_described_with_its_wit() {
    let home = Home::new();
    let found = home
        .run(&["inspect", &hello(), "-o", "json"])
        .success()
        .json();
    assert_eq!(found["kind"], "component");
    assert_eq!(found["world"], "wasi:http 0.2");
    assert_eq!(found["size"], std::fs::metadata(hello()).unwrap().len());
    assert!(
        found["exports"][0]
            .as_str()
            .unwrap()
            .starts_with("wasi:http/incoming-handler@0.2")
    );
    assert!(
        found["wit"]
            .as_str()
            .unwrap()
            .contains("export wasi:http/incoming-handler")
    );
}

#[test]
fn a_reference_is_described_with_its_digest_and_signatures() {
    let home = Home::new();
    let (_registry, address) = home.registry(&[]);
    home.keygen("registry.example/**");
    let image = format!("{address}/hello:1");
    let pushed = home
        .run(&[
            "push",
            &image,
            &hello(),
            "--sign",
            "cosign.key",
            "-o",
            "json",
        ])
        .success()
        .json();
    let found = home
        .run(&["inspect", &image, "-o", "json"])
        .success()
        .json();
    assert_eq!(found["digest"], pushed["digest"]);
    assert_eq!(found["signatures"][0]["subject"], pushed["digest"]);
    assert_eq!(
        found["signatures"][0]["predicateType"],
        "https://sigstore.dev/cosign/sign/v1"
    );
}

#[test]
fn what_is_no_component_is_told_with_the_mend() {
    let home = Home::new();
    let module = home.write("module.wasm", b"\0asm\x01\0\0\0");
    let found = home
        .run(&["inspect", &module, "-o", "json"])
        .success()
        .json();
    assert_eq!(found["kind"], "CoreModule");
    assert!(found["refusal"].as_str().unwrap().contains("wasm32-wasip2"));
}

#[test]
fn a_name_cannot_write_to_the_terminal() {
    // A component with the name "a", escape, "b".
    let name = b"a\x1bb";
    let mut wasm = b"\0asm\x0d\0\x01\0".to_vec();
    let subsection = [&[0, 4, 3], name.as_slice()].concat();
    let section = [&[14], b"component-name".as_slice(), &subsection].concat();
    wasm.extend([0, u8::try_from(section.len()).unwrap()]);
    wasm.extend(section);
    let home = Home::new();
    let file = home.write("named.wasm", wasm);
    let shown = home.run(&["inspect", &file]).success().stdout;
    assert!(shown.contains("control characters"), "{shown:?}");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}
