//! Help, for every verb and every kind of fault.

use chaos_common::fault::FaultKind;

use crate::chaos::{PROGRAM, Said as _, chaos, snapshot};

/// The verbs that `chaos --help` lists.
fn verbs() -> Vec<String> {
    let help = chaos("--help").assert().code(0).stdout();
    let lines = help.lines().skip_while(|line| *line != "Verbs:").skip(1);
    let verbs = lines.take_while(|line| !line.is_empty());
    verbs.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn the_program() {
    chaos("--help").assert().code(0).stdout_eq(snapshot("help/chaos.txt")).stderr_eq("");
    let version = format!("chaos {}\n", env!("CARGO_PKG_VERSION"));
    chaos("--version").assert().code(0).stdout_eq(version).stderr_eq("");
}

#[test]
fn each_verb() {
    let verbs = verbs();
    assert!(verbs.len() >= 10, "{verbs:?}");
    for verb in verbs {
        let help = snapshot(&format!("help/{verb}.txt"));
        chaos(&format!("{verb} --help")).assert().code(0).stdout_eq(help).stderr_eq("");
    }
}

#[test]
fn each_kind_of_fault() {
    for verb in ["inject", "exec"] {
        for kind in FaultKind::ALL {
            let help = snapshot(&format!("help/{verb}_{}.txt", kind.file_stem()));
            chaos(&format!("{verb} {kind} --help")).assert().code(0).stdout_eq(help).stderr_eq("");
        }
    }
}

#[test]
fn the_plugin_says_its_own_name() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = dir.path().join("kubectl-chaos");
    std::os::unix::fs::symlink(PROGRAM, &plugin).unwrap();
    let said =
        snapbox::cmd::Command::new(&plugin).args(["get", "--help"]).assert().code(0).stdout();
    assert!(said.contains("Usage: kubectl chaos get"), "{said}");
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = chaos(&format!("completions {shell}")).assert().code(0).stdout();
        // The script for fish knows two levels of subcommands, and flags only below those.
        let words: &[&str] = match shell {
            "fish" => &["recover", "network"],
            _ => &["recover", "network", "percent"],
        };
        for word in words {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    chaos("completions tcsh").assert().code(64);
}

/// How `chaos exec` starts its command is nobody's business.
#[test]
fn no_verb_is_hidden() {
    let script = chaos("completions bash").assert().code(0).stdout();
    for words in [script, chaos("").assert().code(64).stderr(), chaos("--help").assert().stdout()] {
        assert!(!words.contains("hold"), "{words}");
    }
    let said = chaos("hold 3 -- true").assert().code(64).stderr();
    assert!(said.contains("unrecognized subcommand 'hold'"), "{said}");
}
