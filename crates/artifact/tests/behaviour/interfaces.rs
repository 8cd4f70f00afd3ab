//! Which export is meant by a name and a part of a version.

use artifact::interface::Wanted;

fn found(wanted: &str, exports: &[&str]) -> Option<String> {
    let wanted: Wanted = wanted.parse().unwrap();
    let exports: Vec<String> = exports.iter().map(|&export| export.to_owned()).collect();
    wanted.among(&exports).map(str::to_owned)
}

#[test]
fn a_version_means_every_later_one_that_keeps_its_promises() {
    let exports = ["acme:math/tools@1.0.0", "acme:math/more@1.0.0"];
    for (wanted, fits) in [
        ("acme:math/tools@1", true),
        ("acme:math/tools@1.0", true),
        ("acme:math/tools@1.0.0", true),
        ("acme:math/tools@1.1", false),
        ("acme:math/tools@2", false),
        ("acme:math/tools", false),
        ("acme:math/other@1", false),
    ] {
        let expected = fits.then_some("acme:math/tools@1.0.0".to_owned());
        assert_eq!(found(wanted, &exports), expected, "{wanted}");
    }
    assert_eq!(
        found("a:b/c@0.2", &["a:b/c@0.2.7"]).as_deref(),
        Some("a:b/c@0.2.7")
    );
    assert_eq!(found("a:b/c@0.2", &["a:b/c@0.3.0"]), None);
    assert_eq!(found("a:b/c", &["a:b/c"]).as_deref(), Some("a:b/c"));
}

#[test]
fn of_several_that_fit_the_newest_is_meant() {
    let exports = ["a:b/c@1.9.0", "a:b/c@1.10.0", "a:b/c@2.0.0"];
    assert_eq!(found("a:b/c@1", &exports).as_deref(), Some("a:b/c@1.10.0"));
}

#[test]
fn what_names_no_interface_is_refused() {
    for text in [
        "",
        "tools",
        "math/tools",
        "acme:math",
        "acme:math/",
        ":math/tools",
        "acme:math/tools@",
        "acme:math/tools@x",
        "acme:math/tools@1 ",
        "acme:math/tools@>1",
        "acme:math/tools@1,2",
        "acme:math/to ols@1",
        "acme:math/tools@*",
        "acme:math/tools/more@1",
    ] {
        assert!(text.parse::<Wanted>().is_err(), "{text}");
    }
    let text = "acme:math/tools@1.2";
    assert_eq!(text.parse::<Wanted>().unwrap().to_string(), text);
}
