//! Collects the facts of a component that has been validated. Names and
//! versions are taken from the outermost component only: a part that was
//! composed into it must not speak for the whole. Called by [`super::inspect`].

use wasmparser::{
    BinaryReaderError, ComponentExternalKind, ComponentName, ComponentNameSectionReader,
    CustomSectionReader, KnownCustom, Parser, Payload,
};

use capability::Request;

use super::{Facts, World};
use crate::limits::{INTERFACES_MAX, NAME_MAX};
use crate::{Refusal, manifest_section};

/// Bytes of a WebAssembly page.
const PAGE: u64 = 64 * 1024;

/// The facts of a valid component.
pub(super) fn facts(wasm: &[u8]) -> Result<Facts, Refusal> {
    let mut scan = Scan::default();
    for payload in Parser::new(0).parse_all(wasm) {
        scan.payload(payload.map_err(unreadable)?)?;
    }
    scan.finish()
}

#[derive(Default)]
struct Scan {
    /// 1 within the outermost component.
    depth: usize,
    name: Option<String>,
    version: Option<String>,
    imports: Vec<String>,
    exports: Vec<String>,
    /// Whether anything but a type is exported.
    runs: bool,
    initial_memory: u64,
    data_bytes: u64,
    memories: u32,
    core_modules: u32,
    request: Option<Request>,
}

impl Scan {
    fn payload(&mut self, payload: Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::Version { .. } => self.depth += 1,
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::ModuleSection { .. } => {
                self.core_modules = self.core_modules.saturating_add(1)
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let pages = memory.map_err(unreadable)?.initial;
                    self.memories = self.memories.saturating_add(1);
                    self.initial_memory = self
                        .initial_memory
                        .saturating_add(pages.saturating_mul(PAGE));
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    let length = segment.map_err(unreadable)?.data.len() as u64;
                    self.data_bytes = self.data_bytes.saturating_add(length);
                }
            }
            Payload::ComponentImportSection(imports) if self.depth == 1 => {
                for import in imports {
                    self.imports
                        .push(import.map_err(unreadable)?.name.name.to_owned());
                    self.check_interfaces()?;
                }
            }
            Payload::ComponentExportSection(exports) if self.depth == 1 => {
                for export in exports {
                    let export = export.map_err(unreadable)?;
                    self.runs |= export.kind != ComponentExternalKind::Type;
                    self.exports.push(export.name.name.to_owned());
                    self.check_interfaces()?;
                }
            }
            Payload::CustomSection(section) if self.depth == 1 => self.custom_section(&section)?,
            _ => {}
        }
        Ok(())
    }

    fn custom_section(&mut self, section: &CustomSectionReader<'_>) -> Result<(), Refusal> {
        match (section.name(), section.as_known()) {
            ("version", _) => {
                let text = std::str::from_utf8(section.data()).map_err(|_| {
                    Refusal::invalid("its version section is not UTF-8; embed the version again")
                })?;
                set_once(&mut self.version, "version", text)
            }
            (manifest_section::NAME, _) => {
                // Two manifests would be read differently by two readers.
                if self.request.is_some() {
                    return Err(Refusal::ManifestInvalid {
                        problem: format!(
                            "it has more than one {} section; embed it once, with `lighterman push --manifest`",
                            manifest_section::NAME
                        ),
                    });
                }
                self.request = Some(manifest_section::read(section.data())?);
                Ok(())
            }
            (_, KnownCustom::ComponentName(names)) => self.component_name(names),
            _ => Ok(()),
        }
    }

    /// A name section is advice: what cannot be read of it is passed over, as
    /// every other tool does, but two different names are refused.
    fn component_name(&mut self, names: ComponentNameSectionReader<'_>) -> Result<(), Refusal> {
        for part in names {
            match part {
                Ok(ComponentName::Component { name, .. }) => {
                    set_once(&mut self.name, "component-name", name)?
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn check_interfaces(&self) -> Result<(), Refusal> {
        let count = self.imports.len().saturating_add(self.exports.len());
        if count <= INTERFACES_MAX {
            return Ok(());
        }
        Err(Refusal::TooLarge {
            part: "list of imports and exports",
            actual: format!("more than {INTERFACES_MAX} entries"),
            limit: format!("{INTERFACES_MAX} entries"),
            mend: "split the component",
        })
    }

    fn finish(self) -> Result<Facts, Refusal> {
        // WIT packages travel as components that export types and have no code.
        if self.core_modules == 0 && !self.exports.is_empty() && !self.runs {
            return Err(Refusal::unsupported(
                "a WIT package",
                "build a component for one of its worlds and push that",
            ));
        }
        self.check_request()?;
        Ok(Facts {
            world: world(&self.exports),
            name: self.name,
            version: self.version,
            imports: self.imports,
            exports: self.exports,
            initial_memory: self.initial_memory,
            data_bytes: self.data_bytes,
            memories: self.memories,
            core_modules: self.core_modules,
            request: self.request,
        })
    }

    /// Whether the manifest is of this component.
    fn check_request(&self) -> Result<(), Refusal> {
        let Some(request) = &self.request else {
            return Ok(());
        };
        if let Some(most) = request.limits.memory
            && most.0 < self.initial_memory
        {
            return Err(Refusal::ManifestInvalid {
                problem: format!(
                    "`resources.memory.max_memory_bytes` is {}, and the component has {} bytes of memory before it does anything; write at least that",
                    most.0, self.initial_memory
                ),
            });
        }
        // A component that goes by two names, or two versions, could pass under each with
        // whoever reads that one.
        let component = &request.component;
        for (key, section, written, own) in [
            ("name", "component-name", &component.name, &self.name),
            ("version", "version", &component.version, &self.version),
        ] {
            if let Some(own) = own.as_ref().filter(|own| *own != written) {
                return Err(Refusal::ManifestInvalid {
                    problem: format!(
                        "`component.{key}` is {written:?}, and the component's {section} section says {own:?}; write the same in both"
                    ),
                });
            }
        }
        Ok(())
    }
}

/// Two sections of one name let two readers see two different components.
fn set_once(slot: &mut Option<String>, section: &str, text: &str) -> Result<(), Refusal> {
    if slot.is_some() {
        return Err(Refusal::invalid(format!(
            "it has more than one {section} section, so that readers may disagree; build it again and embed it once"
        )));
    }
    let text = text.trim();
    if text.len() > NAME_MAX || text.chars().any(char::is_control) {
        return Err(Refusal::invalid(format!(
            "its {section} section is longer than {NAME_MAX} bytes or has control characters; embed a plain one"
        )));
    }
    *slot = Some(text.to_owned()).filter(|text| !text.is_empty());
    Ok(())
}

/// WASI 0.2 comes first for a component that offers both, because its engine
/// is the cheaper one.
fn world(exports: &[String]) -> World {
    let exported = |prefix: &str| exports.iter().any(|name| name.starts_with(prefix));
    if exported("wasi:http/incoming-handler@0.2.") {
        World::HttpP2
    } else if exported("wasi:http/handler@0.3.") {
        World::HttpP3
    } else if exported("wasi:cli/run@") || exported("lighterman:core/lifecycle@") {
        World::Command
    } else {
        World::Other
    }
}

fn unreadable(error: BinaryReaderError) -> Refusal {
    Refusal::invalid(format!("{error}; push the .wasm file that the build wrote"))
}
