//! The command line.

use std::{
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use chaos_common::invalid::shown;
use clap::{
    CommandFactory, FromArgMatches, Parser, ValueEnum as _,
    builder::{PathBufValueParser, TypedValueParser as _},
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use crate::{
    app::{App, Program},
    error::{Usage, refuse, show},
    outcome::Outcome,
    output::{Format, Out},
    verb::Verb,
};

/// Breaks a container, unit or process of this host for a while
///
/// chaos makes one cgroup of this host see packet loss and other faults, in the kernel and without
/// touching anything else. Every fault ends by itself at its deadline, which the kernel keeps: also
/// when the daemon and this program are dead.
///
/// Start with `chaos doctor` (what works here) and `chaos targets` (what can be aimed at).
///
/// Exit codes: 0 done, 1 failed, 2 done in part, 3 done and a sweep found something, 64 the request itself is
/// wrong and nothing was done.
#[derive(Debug, Parser)]
#[command(name = "chaos", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    verb: Verb,
}

/// Flags of every verb.
#[derive(Debug, clap::Args)]
struct Global {
    /// The daemon's Unix socket [env: CHAOS_SOCKET]
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = DEFAULT_SOCKET,
        overrides_with = "socket",
        value_parser = PathBufValueParser::new().try_map(short_enough),
        help_heading = "Global"
    )]
    socket: PathBuf,

    /// How to write: table, wide, json or yaml
    ///
    /// wide is a table with everything. In json and yaml a fault looks as in a file of `chaos inject
    /// -f`, times are in UTC, and errors and notes are objects on standard error:
    /// {"error": …}, {"note": …}.
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        allow_hyphen_values = true,
        overrides_with = "output",
        help_heading = "Global"
    )]
    output: Format,
}

const DEFAULT_SOCKET: &str = "/run/chaos/chaos.sock";

/// Read here and not by clap, which would take it for a word of the command line, and count it among
/// those when it says how the program is used.
const SOCKET_VARIABLE: &str = "CHAOS_SOCKET";

/// Bytes that `sockaddr_un` has for a path, less the one that ends it.
const LONGEST_SOCKET: usize = 107;

fn short_enough(socket: PathBuf) -> Result<PathBuf, String> {
    let bytes = socket.as_os_str().len();
    if bytes > LONGEST_SOCKET {
        return Err(format!(
            "a socket's path has at most {LONGEST_SOCKET} bytes and this one has {bytes}; give a shorter one, as that of a symbolic link to it"
        ));
    }
    Ok(socket)
}

/// The whole command line as clap sees it, under the name by which it was started.
fn command(program: Program) -> clap::Command {
    let command = Cli::command().mut_args(|arg| match arg.get_id().as_str() {
        "help" => arg.help_heading("Global"),
        _ => arg,
    });
    match program {
        Program::Chaos => command,
        Program::Kubectl => command.name("kubectl-chaos").bin_name(program.to_string()),
    }
}

/// Reads a command line, its first word being the program: what to do, and with what.
///
/// # Errors
/// When it is not understood, or asks for help.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<(Verb, App), clap::Error> {
    let args: Vec<OsString> = args.into_iter().collect();
    let program = program(args.first());
    let mut matches = command(program).try_get_matches_from(args).map_err(tidy)?;
    let is_default = matches.value_source("socket") == Some(ValueSource::DefaultValue);
    let Cli { global: Global { socket, output }, verb } = Cli::from_arg_matches_mut(&mut matches)?;
    let socket = match std::env::var_os(SOCKET_VARIABLE) {
        Some(named) if is_default => short_enough(named.into()).map_err(|problem| {
            refuse(ErrorKind::ValueValidation, format!("{SOCKET_VARIABLE}: {problem}"))
        })?,
        Some(_) | None => socket,
    };
    Ok((verb, App { program, socket, out: Out::new(output), command }))
}

fn program(first: Option<&OsString>) -> Program {
    let name = first.and_then(|path| Path::new(path).file_name());
    match name {
        Some(name) if name == "kubectl-chaos" => Program::Kubectl,
        Some(_) | None => Program::Chaos,
    }
}

/// Keeps what a person typed from flooding or steering the terminal that shows the error.
fn tidy(mut error: clap::Error) -> clap::Error {
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidArg, ContextKind::InvalidSubcommand]
    {
        let Some(ContextValue::String(text)) = error.get(kind) else { continue };
        if text.chars().count() > 100 || text.contains(char::is_control) {
            let short = shown(text).trim_matches('"').to_owned();
            let _ = error.insert(kind, ContextValue::String(short));
            // The tip quotes it once more.
            let _ = error.remove(ContextKind::Suggested);
        }
    }
    if let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) {
        let named = missing.iter().map(|arg| match arg.as_str() {
            "--file <FILE>" => "<FAMILY> <KIND> as in `network loss`, or --file <FILE>".to_owned(),
            arg => arg.to_owned(),
        });
        let named = ContextValue::Strings(named.collect());
        let _ = error.insert(ContextKind::InvalidArg, named);
    }
    error
}

/// The format that a command line asks for, also one that is not understood otherwise.
pub(crate) fn format_of(words: &[OsString]) -> Format {
    let mut words = words
        .iter()
        .skip(1)
        .map(|word| word.to_str().unwrap_or_default())
        .take_while(|word| *word != "--");
    let mut format = Format::default();
    while let Some(word) = words.next() {
        let value = match word {
            "-o" | "--output" => words.next(),
            _ => word
                .strip_prefix("--output=")
                .or_else(|| word.strip_prefix("-o").map(|value| value.trim_start_matches('='))),
        };
        if let Some(Ok(named)) = value.map(|value| Format::from_str(value, false)) {
            format = named;
        }
    }
    format
}

/// Shows what [`parse`] gave instead of an invocation: help on standard output, or an error.
pub(crate) fn report(error: &clap::Error, format: Format) -> ExitCode {
    if !error.use_stderr() {
        // Whoever closed the pipe has seen enough of the help.
        let _ = error.print();
        let _ = std::io::stdout().flush();
        return Outcome::Done.into();
    }
    match format {
        Format::Table | Format::Wide => {
            let _ = error.print();
        }
        Format::Json | Format::Yaml => show(&Usage::of(sentence(error)).into(), format),
    }
    Outcome::Usage.into()
}

/// What clap says in several lines, without how the program is used.
fn sentence(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "something is missing on the command line; --help says what belongs there"
            .to_owned();
    }
    let text = error.render().to_string();
    let text = text.trim().trim_start_matches("error: ");
    let parts = text
        .split("\n\n")
        .take_while(|part| !part.starts_with("Usage:") && !part.starts_with("For more"));
    let words = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
    parts.map(words).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Verb, App), clap::Error> {
        parse(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_definition_is_sound() {
        for program in [Program::Chaos, Program::Kubectl] {
            command(program).debug_assert();
        }
    }

    #[test]
    fn every_flag_is_explained_in_one_line() {
        fn check(command: &clap::Command) {
            for arg in command.get_arguments() {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let name = format!("{} {}", command.get_name(), arg.get_id());
                assert!(!help.is_empty(), "{name} has no help");
                assert!(help.len() <= 80 && !help.ends_with('.'), "{name}: {help}");
            }
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&command(Program::Chaos));
    }

    /// Otherwise `--duration -5m` is told that there is no flag -5, instead of what a duration is. Any path
    /// is one, and a flag in its place was forgotten.
    #[test]
    fn every_value_but_a_path_may_begin_with_a_hyphen() {
        fn check(command: &clap::Command) {
            for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
                let is_path = arg.get_value_parser().type_id() == std::any::TypeId::of::<PathBuf>();
                let takes = arg.get_action().takes_values() && !is_path;
                let name = format!("{} --{}", command.get_name(), arg.get_id());
                assert_eq!(arg.is_allow_hyphen_values_set(), takes, "{name}");
            }
            command.get_subcommands().for_each(check);
        }
        check(&command(Program::Chaos));
    }

    #[test]
    fn the_plugin_knows_its_name() {
        let error = read("/usr/local/bin/kubectl-chaos get --help").err().unwrap();
        assert!(error.to_string().contains("Usage: kubectl chaos get"), "{error}");
        let error = read("chaos get --help").err().unwrap();
        assert!(error.to_string().contains("Usage: chaos get"), "{error}");
    }

    #[test]
    fn global_flags_go_anywhere_and_the_last_one_wins() {
        let (_, app) = read("chaos -o json ls -o yaml --socket /a").ok().unwrap();
        assert_eq!(app.out.format(), Format::Yaml);
        assert_eq!(app.socket, Path::new("/a"));
    }

    #[test]
    fn the_format_is_found_in_what_is_not_understood() {
        for (line, format) in [
            ("chaos lss -o json", Format::Json),
            ("chaos -oyaml lss", Format::Yaml),
            ("chaos -o=json lss", Format::Json),
            ("chaos --output=yaml --nonsense", Format::Yaml),
            ("chaos --output json -o wide", Format::Wide),
            ("chaos -o xml", Format::Table),
            ("chaos ls -o", Format::Table),
            ("chaos exec -- ls -o json", Format::Table),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(format_of(&words), format, "{line}");
        }
    }

    #[test]
    fn hostile_words_are_shown_short_and_escaped() {
        for word in ["x".repeat(100_000), "\u{1b}[2Jx".into()] {
            for line in [
                format!("chaos {word}"),
                format!("chaos ls --{word}"),
                format!("chaos get {word}"),
                format!("chaos get --{word}"),
                format!("chaos exec --{word} -- true"),
                format!("chaos -o {word}"),
                format!("chaos inject network loss --percent {word} --pid 1"),
                format!("chaos inject network loss --percent 1 --unit {word}"),
            ] {
                let text = read(&line).err().unwrap().to_string();
                assert!(text.len() < 2000, "{} bytes: {text:.200}", text.len());
                assert!(!text.contains('\u{1b}'), "{text}");
            }
        }
    }
}
