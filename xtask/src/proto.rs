//! `cargo xtask proto`: generates chaos-common's wire code from its `.proto` file, without protoc.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use prost::Message as _;

use crate::sh;

/// Relative to the workspace.
const SOURCES: &str = "chaos-common/proto";
const FILE: &str = "chaos/v1/chaos.proto";
const GENERATED: &str = "chaos-common/src/proto";

/// What to do with the generated files.
#[derive(Args)]
pub(crate) struct Options {
    /// Fails if the committed files are not what would be generated; changes nothing.
    #[arg(long)]
    check: bool,
}

/// Generates, or checks.
pub(crate) fn verb(options: &Options) -> Result<()> {
    if options.check { check() } else { write() }
}

/// Fails if a committed file is stale.
pub(crate) fn check() -> Result<()> {
    for (path, fresh) in generate()? {
        if std::fs::read(&path).ok().as_deref() != Some(fresh.as_slice()) {
            bail!(
                "{} is not what {FILE} generates: run `cargo xtask proto` and commit the result",
                path.display()
            );
        }
    }
    Ok(())
}

fn write() -> Result<()> {
    for (path, fresh) in generate()? {
        std::fs::write(&path, fresh).with_context(|| format!("cannot write {}", path.display()))?;
        sh::say(format_args!("wrote {}", path.display()));
    }
    Ok(())
}

/// Path and content of each generated file.
fn generate() -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let sources = sh::workspace().join(SOURCES);
    // The reflection service shows comments, so the descriptions keep them.
    let descriptions = protox::Compiler::new([&sources])
        .and_then(|mut compiler| {
            compiler.include_imports(true).include_source_info(true).open_file(FILE)?;
            Ok(compiler.file_descriptor_set())
        })
        .with_context(|| format!("cannot compile {}", sources.join(FILE).display()))?;
    let encoded = descriptions.encode_to_vec();

    let scratch = tempfile::tempdir()?;
    tonic_prost_build::configure()
        .out_dir(scratch.path())
        .emit_rerun_if_changed(false)
        .compile_fds(descriptions)
        .context("cannot generate Rust code")?;
    let code = std::fs::read(scratch.path().join("chaos.v1.rs"))
        .context("the generator wrote no chaos.v1.rs")?;
    let at = |name: &str| Path::new(&sh::workspace()).join(GENERATED).join(name);
    Ok(vec![(at("chaos.v1.rs"), code), (at("chaos.v1.bin"), encoded)])
}
