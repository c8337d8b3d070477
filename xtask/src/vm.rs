//! `cargo xtask vm`: runs one command under a kernel of the matrix. Also what other verbs boot VMs with.

mod apt_root;
mod console;
mod cpio;
pub(crate) mod debian;
pub(crate) mod host_program;
mod image;
pub(crate) mod matrix;
mod mirror;
mod modules;
pub(crate) mod programs;
mod qemu;
mod release;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

pub(crate) use console::Echo;
pub(crate) use image::GuestFile;
pub(crate) use matrix::Prepared;
pub(crate) use qemu::{Clock, Outcome};

use crate::artifacts::{self, Profile};
use crate::setup::{self, Need};
use crate::sh;

/// The program that becomes the first process of a VM.
const INIT: &str = "init";
/// It quotes the kernel's complaints after this.
const KERNEL_LINE: &str = "chaos-init: kernel: ";
/// Its last line: this and the command's exit code.
const EXIT_LINE: &str = "chaos-init: exit ";

/// What to run in which VM.
#[derive(Args)]
pub(crate) struct Options {
    /// The kernel, by the beginning of its name.
    #[arg(long, default_value = "6.12")]
    kernel: String,
    /// Puts a static program of this machine into the VM: HOST=GUEST.
    #[arg(long, value_name = "HOST=GUEST")]
    file: Vec<String>,
    /// Kills the VM after this many seconds.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    /// How many CPUs the VM has; they take turns. With more than one, 6.1 and older kernels do not boot in the emulator.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    cpus: u32,
    /// How the VM's time passes.
    #[arg(long, value_enum, default_value = "skipping")]
    clock: Clock,
    /// Lists the kernels instead.
    #[arg(long)]
    list: bool,
    /// The command and its arguments; default: all VM tests.
    #[arg(trailing_var_arg = true)]
    argv: Vec<String>,
}

/// What a VM shall run.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    /// The command, with an absolute path or a name in `/bin`.
    pub(crate) argv: Vec<String>,
    /// Its environment beyond `PATH`, `HOME` and `TERM`.
    pub(crate) env: Vec<(String, String)>,
    /// Static programs beside those of the project.
    pub(crate) files: Vec<GuestFile>,
    /// An image that it mounts on `/programs`, read-only.
    pub(crate) disk: Option<PathBuf>,
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u32,
    pub(crate) clock: Clock,
    pub(crate) timeout: Duration,
    pub(crate) echo: Echo,
}

impl Guest {
    /// A guest with one CPU, the usual memory and time limit. Waiting takes its time if a person watches every byte.
    pub(crate) fn new(argv: &[&str], echo: Echo) -> Self {
        let clock = match echo {
            Echo::Lines(_) | Echo::LinesUntil(..) => Clock::Skipping,
            Echo::Raw => Clock::Waiting,
        };
        Self {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            env: Vec::new(),
            files: Vec::new(),
            disk: None,
            memory_mib: 1024,
            cpus: 1,
            clock,
            timeout: Duration::from_secs(45 * 60),
            echo,
        }
    }
}

/// What a VM did.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) outcome: Outcome,
    /// All console output.
    pub(crate) lines: Vec<String>,
    /// Warnings and oopses that the kernel logged.
    pub(crate) complaints: Vec<String>,
    pub(crate) elapsed: Duration,
    /// The console output as a file.
    pub(crate) log: PathBuf,
}

/// Boots a kernel with the project's binaries in its initramfs and runs the guest's command in it.
pub(crate) fn run(
    kernel: &Prepared,
    binaries: &artifacts::Binaries,
    guest: &Guest,
) -> Result<Finished> {
    let started = Instant::now();
    let folder = binaries.target.join("vm").join(&kernel.name);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let scratch = tempfile::Builder::new().prefix("boot-").tempdir_in(&folder)?;
    let initrd = scratch.path().join("initramfs.cpio");

    let modules = kernel.modules.as_deref().map(modules::collect).transpose()?.unwrap_or_default();
    let own = binaries.all().filter(|(name, _)| *name != INIT);
    let own =
        own.map(|(name, from)| GuestFile { at: format!("/bin/{name}"), from: from.to_owned() });
    let files: Vec<GuestFile> = own.chain(guest.files.iter().cloned()).collect();
    let contents = image::Contents {
        init: binaries.program(INIT)?,
        files: &files,
        modules: &modules,
        argv: &guest.argv,
        env: &guest.env,
    };
    image::write(&initrd, &contents)?;

    let log = folder.join("console.log");
    let file =
        std::fs::File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
    let mut console = console::Console::new(guest.echo.clone(), file);
    let machine = qemu::Machine {
        kernel: &kernel.image,
        initrd: &initrd,
        disk: guest.disk.as_deref(),
        memory_mib: guest.memory_mib,
        cpus: guest.cpus,
        clock: guest.clock,
        timeout: guest.timeout,
    };
    let mut outcome = qemu::boot(&machine, |bytes| console.feed(bytes))?;
    let lines = console.finish();
    // The exit port has room for small codes only.
    if let (Outcome::Exited(code), Some(exact)) = (&mut outcome, exact_code(&lines)) {
        *code = exact;
    }
    Ok(Finished { complaints: complaints(&lines), outcome, lines, elapsed: started.elapsed(), log })
}

fn exact_code(lines: &[String]) -> Option<i32> {
    lines.iter().rev().find_map(|line| line.strip_prefix(EXIT_LINE))?.parse().ok()
}

/// What the init program reports of the kernel's log, and what a dying kernel prints itself.
fn complaints(lines: &[String]) -> Vec<String> {
    let of = |line: &String| {
        let dying = ["Kernel panic - not syncing", "] BUG: ", "] Oops: "]
            .iter()
            .any(|sign| line.contains(sign));
        line.strip_prefix(KERNEL_LINE).map(str::to_owned).or_else(|| dying.then(|| line.clone()))
    };
    let mut found: Vec<String> = lines.iter().filter_map(of).collect();
    found.dedup();
    found
}

/// The verb.
pub(crate) fn verb(options: &Options) -> Result<()> {
    setup::ensure(&[Need::Packages])?;
    if options.list {
        let matrix = matrix::select(&[])?;
        let others = matrix::others(&matrix);
        for (title, kernels) in [("tests run under", &matrix), ("also to be had", &others)] {
            println!("{title}:");
            for kernel in kernels {
                println!("  {:<14} {}", kernel.name, kernel.describe());
            }
        }
        return Ok(());
    }
    setup::ensure(&[Need::Vm])?;
    let kernels = matrix::select(std::slice::from_ref(&options.kernel))?;
    let kernel = kernels.first().context("no kernel selected")?.prepare()?;
    let binaries = artifacts::build(Profile::Test)?;
    let mut guest = Guest::new(&["/bin/vm-tests"], Echo::Raw);
    if !options.argv.is_empty() {
        guest.argv.clone_from(&options.argv);
    }
    guest.disk = Some(programs::disk()?);
    guest.cpus = options.cpus;
    guest.clock = options.clock;
    guest.timeout = Duration::from_secs(options.timeout);
    for file in &options.file {
        let (from, at) =
            file.split_once('=').with_context(|| format!("`--file {file}` is not HOST=GUEST"))?;
        guest.files.push(GuestFile { at: at.to_owned(), from: PathBuf::from(from) });
    }
    let finished = run(&kernel, &binaries, &guest)?;
    for complaint in &finished.complaints {
        sh::say(format_args!("the kernel complained: {complaint}"));
    }
    ensure!(
        finished.outcome == Outcome::Exited(0),
        "kernel {} ({}): {}",
        kernel.name,
        kernel.release,
        finished.outcome
    );
    ensure!(
        finished.complaints.is_empty(),
        "kernel {} ({}) complained about itself, see above",
        kernel.name,
        kernel.release
    );
    Ok(())
}
