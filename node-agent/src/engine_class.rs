//! Engine classes by name: how a class crosses a process border or enters a file name.
//! Called by whoever writes or reads a message; the classes themselves are the runtime's.

use std::sync::OnceLock;

use runtime::{EngineClass, Runtime};

/// Every class, in the order of their cost.
pub(crate) const ALL: [EngineClass; 3] = [EngineClass::Small, EngineClass::Large, EngineClass::P3];

/// The class of this name.
pub(crate) fn named(name: &str) -> Option<EngineClass> {
    ALL.into_iter().find(|class| class.name() == name)
}

/// The hash of what machine code of this class depends on. Kept, because the runtime makes an
/// engine to work it out, and it stays the same as long as this process lives.
pub(crate) fn hash(class: EngineClass) -> &'static str {
    static SMALL: OnceLock<String> = OnceLock::new();
    static LARGE: OnceLock<String> = OnceLock::new();
    static P3: OnceLock<String> = OnceLock::new();
    let kept = match class {
        EngineClass::Small => &SMALL,
        EngineClass::Large => &LARGE,
        EngineClass::P3 => &P3,
    };
    kept.get_or_init(|| Runtime::engine_hash(class))
}
