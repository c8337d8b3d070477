//! Compiles the eBPF engines for the bpf target and hands them to `src/kernel/object.rs`.
//!
//! The same stable toolchain does it: `RUSTC_BOOTSTRAP` admits `-Z build-std` for the one crate that
//! needs it. `target-cpu=v3` (Linux 5.1) brings atomic instructions that return a value.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest as _, Sha256};

const ENGINES: [&str; 2] = ["net", "call"];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    let workspace = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    for input in ["chaos-ebpf", "chaos-common/src/abi", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }

    let flags = [
        &format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        "-Ctarget-cpu=v3",
    ];
    let mut digest = Sha256::new();
    for engine in ENGINES {
        compile(engine, &workspace, &out, &flags.join("\x1f"))?;
        let object = fs::read(out.join("ebpf/bpfel-unknown-none/release").join(engine))?;
        digest.update(&object);
        fs::write(out.join(engine), &object)?;
    }
    let digest: String = digest.finalize()[..8].iter().map(|b| format!("{b:02x}")).collect();
    println!("cargo::rustc-env=CHAOS_OBJECTS_DIGEST={digest}");
    Ok(())
}

/// Each by itself, since what one engine alone needs must not be linked into another.
fn compile(engine: &str, workspace: &Path, out: &Path, flags: &str) -> Result<(), Box<dyn Error>> {
    let status = Command::new(env::var("CARGO")?)
        .current_dir(workspace)
        .args(["build", "--package", "chaos-ebpf", "--bin", engine, "--features", engine])
        .args(["--release", "--quiet", "--target", "bpfel-unknown-none", "-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(out.join("ebpf"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        // Set by the outer cargo for its own target and rustc; they would leak into the inner one.
        .env_remove("RUSTC")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("CARGO_BUILD_TARGET")
        .status()?;
    if !status.success() {
        return Err(format!(
            "the eBPF object {engine} did not build ({status}); `cargo xtask setup` installs rust-src and bpf-linker"
        )
        .into());
    }
    Ok(())
}
