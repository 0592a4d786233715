//! A module, compiled once and linked once; each VM is then an instantiation.

use std::sync::{Arc, OnceLock};

use wasmtime::{Config, Engine, ExternType, InstancePre, Linker, OptLevel};

use super::abi::AbiVersion;
use super::capabilities;
use super::state::State;

/// A proxy-wasm module, ready to be instantiated. Clones share the compiled code.
#[derive(Clone)]
pub struct Module(Arc<Inner>);

struct Inner {
    module: wasmtime::Module,
    pre: InstancePre<State>,
    abi: AbiVersion,
}

/// Why something is no module for this host.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not WebAssembly, or using features that the host does not have.
    #[error("not a WebAssembly module that this host can compile: {0}")]
    Compile(String),
    /// No export tells for which version of the ABI it was made.
    #[error("no export named proxy_abi_version_0_1_0, _0_2_0 or _0_2_1: not a proxy-wasm module")]
    NoAbiVersion,
    /// It imports functions that no proxy-wasm host of these versions has.
    #[error("imports that no proxy-wasm host has: {}", .0.join(", "))]
    UnknownImports(Vec<String>),
    /// It imports functions of the ABI with other types than the ABI's.
    #[error("imports that do not have the ABI's type: {0}")]
    ImportType(String),
    /// It lacks what every hosted module needs.
    #[error("the module exports no {0}")]
    MissingExport(&'static str),
}

impl Module {
    /// Compiles and links a module, from its binary or text form.
    pub fn new(wasm: &[u8]) -> Result<Self, Error> {
        let module = wasmtime::Module::new(engine()?, wasm)
            .map_err(|error| Error::Compile(format!("{error:#}")))?;
        let abi = abi_version(&module).ok_or(Error::NoAbiVersion)?;
        if module
            .get_export("malloc")
            .or_else(|| module.get_export("proxy_on_memory_allocate"))
            .is_none()
        {
            return Err(Error::MissingExport("malloc or proxy_on_memory_allocate"));
        }
        if !matches!(module.get_export("memory"), Some(ExternType::Memory(_))) {
            return Err(Error::MissingExport("memory"));
        }
        let unknown: Vec<_> = module
            .imports()
            .filter(|import| !capabilities::offers(abi, import.module(), import.name()))
            .map(|import| format!("{}.{}", import.module(), import.name()))
            .collect();
        if !unknown.is_empty() {
            return Err(Error::UnknownImports(unknown));
        }
        let linker = linker(module.engine())?;
        let pre = linker
            .instantiate_pre(&module)
            .map_err(|error| Error::ImportType(format!("{error:#}")))?;
        Ok(Self(Arc::new(Inner { module, pre, abi })))
    }

    /// What it imports: module and name of each.
    pub fn imports(&self) -> Vec<(String, String)> {
        self.0
            .module
            .imports()
            .map(|import| (import.module().to_owned(), import.name().to_owned()))
            .collect()
    }

    /// What it exports, by name.
    pub fn exports(&self) -> Vec<String> {
        self.0
            .module
            .exports()
            .map(|export| export.name().to_owned())
            .collect()
    }

    /// Which version of the ABI it was made for.
    pub fn abi_version(&self) -> AbiVersion {
        self.0.abi
    }

    pub(super) fn pre(&self) -> &InstancePre<State> {
        &self.0.pre
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module")
            .field("abi", &self.0.abi)
            .finish_non_exhaustive()
    }
}

/// Lists what any WebAssembly module imports, also one that this host would refuse.
pub fn imports_of(wasm: &[u8]) -> Result<Vec<(String, String)>, Error> {
    let module = wasmtime::Module::new(engine()?, wasm)
        .map_err(|error| Error::Compile(format!("{error:#}")))?;
    Ok(module
        .imports()
        .map(|import| (import.module().to_owned(), import.name().to_owned()))
        .collect())
}

/// One engine for the process: fuel is metered always, as it is what makes a cost exact.
fn engine() -> Result<&'static Engine, Error> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config
            .consume_fuel(true)
            .cranelift_opt_level(OptLevel::Speed)
            .wasm_simd(true)
            .wasm_bulk_memory(true);
        Engine::new(&config).map_err(|error| format!("{error:#}"))
    });
    engine
        .as_ref()
        .map_err(|error| Error::Compile(error.clone()))
}

fn linker(engine: &Engine) -> Result<Linker<State>, Error> {
    let mut linker = Linker::new(engine);
    capabilities::link(&mut linker).map_err(|error| Error::ImportType(format!("{error:#}")))?;
    Ok(linker)
}

fn abi_version(module: &wasmtime::Module) -> Option<AbiVersion> {
    let has = |name| module.get_export(name).is_some();
    if has("proxy_abi_version_0_2_1") {
        Some(AbiVersion::V0_2_1)
    } else if has("proxy_abi_version_0_2_0") {
        Some(AbiVersion::V0_2_0)
    } else if has("proxy_abi_version_0_1_0") {
        Some(AbiVersion::V0_1_0)
    } else {
        None
    }
}
