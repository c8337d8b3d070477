//! Requests and machines that make no sense: one clear sentence, the right code, and nothing left.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{self, network_loss::Model};
use tonic::Code;

use crate::harness::{
    Client, Daemon, Loss, Network, Output, Place, Probe as _, Settings, Stage, chaos, chaos_to,
    field, refused, run_command, tests,
};

tests![
    numbers_that_are_no_share,
    durations_that_are_none,
    filters_that_contradict_themselves,
    ids_that_are_no_names,
    hostile_text_is_shown_short,
    an_empty_request_names_what_is_missing,
    the_command_line_refuses_with_64,
    a_file_with_a_mistake_names_it,
    no_daemon_is_said_so,
    a_daemon_without_root_refuses,
    a_daemon_without_bpffs_refuses,
    a_daemon_without_cgroup2_refuses,
    a_daemon_with_a_broken_policy_refuses,
    a_daemon_with_wrong_flags_refuses,
];

/// A request that must be refused for this field.
fn wrong(client: &Client, spec: v1::Spec, at: &str) -> Result<()> {
    let shown = format!("{spec:.200?}");
    for answer in [client.inject(spec.clone()).map(|_| ()), client.plan(spec.clone()).map(|_| ())] {
        let status = refused(answer, "INVALID_SPEC").with_context(|| shown.clone())?;
        ensure!(status.code() == Code::InvalidArgument, "{status:?}");
        let named = field(&status).unwrap_or_default();
        ensure!(
            named == format!("spec.{at}"),
            "{shown}: names the field {named}, not spec.{at}: {status:?}"
        );
        one_sentence(status.message())?;
    }
    Ok(())
}

/// What people are shown: short, and on one line.
fn one_sentence(text: &str) -> Result<()> {
    let printable = text.chars().all(|c| !c.is_control());
    ensure!(!text.is_empty() && text.len() < 1000 && printable, "not one sentence: {text:?}");
    Ok(())
}

/// Runs checks with a daemon, which in the end must have nothing of them.
fn with_daemon(check: impl FnOnce(&Stage, &Client) -> Result<()>) -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    check(&stage, &client)?;
    ensure!(client.list_ended_too()?.is_empty(), "a refused request is remembered");
    stage.victim_udp()?.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn numbers_that_are_no_share() -> Result<()> {
    with_daemon(|stage, client| {
        for percent in [0.0, -0.0, -1.0, 100.1, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            wrong(client, Loss::percent(percent).on(&stage.target), "fault.networkLoss.percent")?;
        }
        let good = v1::Burst { enter: 1.0, leave: 2.0, inside: Some(3.0), outside: Some(4.0) };
        for (burst, at) in [
            (v1::Burst { enter: 0.0, ..good }, "enter"),
            (v1::Burst { enter: f64::NAN, ..good }, "enter"),
            (v1::Burst { leave: 0.0, ..good }, "leave"),
            (v1::Burst { leave: 101.0, ..good }, "leave"),
            (v1::Burst { inside: Some(0.0), ..good }, "inside"),
            (v1::Burst { inside: Some(-3.0), ..good }, "inside"),
            (v1::Burst { outside: Some(100.5), ..good }, "outside"),
        ] {
            let spec = Loss::model(Model::Burst(burst)).on(&stage.target);
            wrong(client, spec, &format!("fault.networkLoss.burst.{at}"))?;
        }
        wrong(client, Loss::all().times(0).on(&stage.target), "times")?;
        wrong(client, Loss::all().times(u64::MAX).on(&stage.target), "times")
    })
}

fn durations_that_are_none() -> Result<()> {
    with_daemon(|stage, client| {
        let year = 365 * 24 * 3600;
        for (seconds, nanos) in [
            (0, 0),
            (0, 1),
            (0, 999_999),
            (-1, 0),
            (0, -5),
            (-5, 5),
            (i64::MIN, 0),
            (i64::MAX, 999_999_999),
            (1000 * year, 0),
            (30 * 24 * 3600, 1),
        ] {
            let mut spec = Loss::all().on(&stage.target);
            spec.duration = Some(prost_types::Duration { seconds, nanos });
            wrong(client, spec, "duration").with_context(|| format!("{seconds} s {nanos} ns"))?;
        }
        Ok(())
    })
}

fn filters_that_contradict_themselves() -> Result<()> {
    with_daemon(|stage, client| {
        let at = |rest: &str| format!("fault.networkLoss.filter.{rest}");
        let on = |loss: Network| loss.on(&stage.target);
        wrong(client, on(Loss::all().remote(&["10.0.0.0/8", "10.0.0.0/33"])), &at("remote[1]"))?;
        wrong(client, on(Loss::all().remote(&[""])), &at("remote[0]"))?;
        wrong(client, on(Loss::all().remote(&["example.org"])), &at("remote[0]"))?;
        wrong(client, on(Loss::all().except(&["::1", "::1%lo"])), &at("except[1]"))?;
        wrong(
            client,
            on(Loss::all().remote(&["10.0.0.0/8"]).except(&["10.1.2.3/8"])),
            &at("except"),
        )?;
        wrong(client, on(Loss::all().remote_ports(2, 1)), &at("remotePorts[0]"))?;
        let nine = (0..9).fold(Loss::all(), |loss, port| loss.local_ports(port, port));
        wrong(client, on(nine), &at("localPorts"))?;
        let many: Vec<String> =
            (0..1025).map(|n| format!("10.1.{}.{}", n / 256, n % 256)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        wrong(client, on(Loss::all().remote(&many)), &at("remote"))?;

        let change = |change: &dyn Fn(&mut v1::NetworkFilter)| {
            let mut spec = Loss::all().on(&stage.target);
            if let Some(v1::fault::Fault::NetworkLoss(loss)) =
                spec.fault.as_mut().and_then(|fault| fault.fault.as_mut())
            {
                change(loss.filter.get_or_insert_default());
            }
            spec
        };
        wrong(client, change(&|filter| filter.direction = 99), &at("direction"))?;
        wrong(client, change(&|filter| filter.protocols = vec![1, 77]), &at("protocols[1]"))?;
        wrong(client, change(&|filter| filter.protocols = vec![0]), &at("protocols[0]"))?;
        let port = v1::PortRange { first: 65536, last: None };
        wrong(client, change(&|filter| filter.remote_ports = vec![port]), &at("remotePorts[0]"))
    })
}

fn ids_that_are_no_names() -> Result<()> {
    with_daemon(|stage, client| {
        let long = "a".repeat(64);
        for id in [
            "A",
            "-a",
            "a-",
            "a b",
            "../../etc/passwd",
            "a/b",
            "a\0b",
            "é",
            &long,
            "a.json",
            "\u{202e}",
        ] {
            let answers = [
                client.inject_as(id, Loss::all().on(&stage.target)).map(|_| ()),
                client.get(id).map(|_| ()),
                client.recover(id).map(|_| ()),
                client.renew(id, None).map(|_| ()),
                client.watch(id).map(|_| ()),
            ];
            for answer in answers {
                let status = refused(answer, "INVALID_SPEC").with_context(|| format!("{id:?}"))?;
                ensure!(field(&status).as_deref() == Some("id"), "{status:?}");
                one_sentence(status.message())?;
            }
        }
        Ok(())
    })
}

fn hostile_text_is_shown_short() -> Result<()> {
    use v1::target::Target;
    with_daemon(|_, client| {
        for text in [
            "x".repeat(1 << 20),
            "\0".into(),
            "\u{1b}[2J\r\n".into(),
            "\u{202e}evil".into(),
            "💥".repeat(500),
        ] {
            let slash = format!("/{text}/\0");
            for (target, at) in [
                (Target::Unit(text.clone()), "target.unit"),
                (Target::Container(text.clone()), "target.container"),
                (Target::Pod(text.clone()), "target.pod"),
                (Target::Cgroup(slash), "target.cgroup"),
            ] {
                wrong(client, Loss::all().at(target), at)?;
            }
            let here = Target::Pid(std::process::id());
            wrong(
                client,
                Loss::all().remote(&[&text]).at(here),
                "fault.networkLoss.filter.remote[0]",
            )?;
        }
        Ok(())
    })
}

fn an_empty_request_names_what_is_missing() -> Result<()> {
    with_daemon(|stage, client| {
        let whole = Loss::all().on(&stage.target);
        wrong(client, v1::Spec::default(), "target")?;
        wrong(client, v1::Spec { target: Some(v1::Target::default()), ..whole.clone() }, "target")?;
        wrong(client, v1::Spec { fault: None, ..whole.clone() }, "fault")?;
        wrong(client, v1::Spec { fault: Some(v1::Fault::default()), ..whole.clone() }, "fault")?;
        let nothing =
            v1::Fault { fault: Some(v1::fault::Fault::NetworkLoss(v1::NetworkLoss::default())) };
        wrong(client, v1::Spec { fault: Some(nothing), ..whole }, "fault.networkLoss")
    })
}

/// A command that must be refused as wrong, with one sentence that names something.
fn usage(output: &Output, named: &str) -> Result<()> {
    ensure!(output.code == 64, "{output:?}");
    ensure!(
        output.out.is_empty() && output.err.contains(named),
        "{named} is not named: {output:?}"
    );
    ensure!(output.err.len() < 3000, "{} bytes of error", output.err.len());
    Ok(())
}

fn the_command_line_refuses_with_64() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let cgroup = ["--cgroup", stage.target.path()];
    for (words, named) in [
        (&["--percent", "0"][..], "0"),
        (&["--percent", "-1"], "-1"),
        (&["--percent", "NaN"], "NaN"),
        (&["--percent", "100.1"], "100.1"),
        (&["--percent", "30", "--duration", "0s"], "duration"),
        (&["--percent", "30", "--duration", "1000years"], "duration"),
        (&["--percent", "30", "--duration", "soon"], "soon"),
        (&["--percent", "30", "--times", "0"], "0"),
        (&["--percent", "30", "--to", "10.0.0.0/99"], "10.0.0.0/99"),
        (&["--percent", "30", "--port", "99999"], "99999"),
        (&["--percent", "30", "--direction", "sideways"], "sideways"),
        (&["--percent", "30", "--no-such-flag"], "--no-such-flag"),
        (&["--percent", "30", "--pid", "1"], "--pid"),
    ] {
        let words = ["inject", "network", "loss"].iter().chain(&cgroup).chain(words);
        usage(&run_command(chaos_to(daemon.socket(), words)?, "")?, named)?;
    }
    for words in [
        &["inject", "network", "loss", "--percent", "3"][..],
        &["inject", "network", "lose"],
        &["injekt"],
        &[],
    ] {
        let output = run_command(chaos_to(daemon.socket(), words)?, "")?;
        ensure!(output.code == 64 && !output.err.is_empty(), "{words:?}: {output:?}");
    }
    ensure!(daemon.client()?.list_ended_too()?.is_empty());
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_file_with_a_mistake_names_it() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let good = format!(
        "target: {{cgroup: {}}}\nduration: 30s\nfault:\n  networkLoss:\n    percent: 100\n",
        stage.target.path()
    );
    let inject = |text: &str| run_command(chaos_to(daemon.socket(), ["inject", "-f", "-"])?, text);
    for (text, named) in [
        (good.replace("percent: 100", "procent: 100"), "procent"),
        (good.replace("percent: 100", "percent: 101"), "101"),
        (good.replace("percent: 100", "percent: .nan"), "percentage"),
        (good.replace("networkLoss", "networkLoose"), "networkLoose"),
        (good.replace("30s", "0s"), "duration"),
        (good.replace("target:", "targets:"), "targets"),
        (good.replace("cgroup:", "cgroups:"), "cgroups"),
        ("[1, 2".into(), ""),
        (String::new(), ""),
        ("\0".into(), ""),
        (format!("{good}---\n{}", good.replace("100", "-5")), "-5"),
        ("a".repeat(2 << 20), "bytes"),
    ] {
        usage(&inject(&text)?, named).with_context(|| format!("{text:.120}"))?;
    }
    ensure!(
        daemon.client()?.list_ended_too()?.is_empty(),
        "the good half of a bad file was injected"
    );
    // And without the mistake it works.
    let output = inject(&good)?;
    ensure!(output.code == 0, "{output:?}");
    stage.victim_udp()?.none_arrive()?;
    daemon.client()?.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn no_daemon_is_said_so() -> Result<()> {
    let stage = Stage::new()?;
    let nowhere = stage.scratch.join("nowhere.sock");
    let nowhere_shown = nowhere.to_string_lossy().into_owned();
    for words in [&["ls"][..], &["doctor"], &["targets"], &["recover", "a"], &["get", "a"]] {
        let output = run_command(chaos_to(&nowhere, words)?, "")?;
        ensure!(output.code == 1 && output.err.contains(&nowhere_shown), "{words:?}: {output:?}");
    }
    // Somebody who is not allowed is told so, not that there is no daemon.
    let daemon = stage.daemon()?;
    let mut command = chaos(Place::default().user(65534, 65534), ["ls"])?;
    command.env("CHAOS_SOCKET", daemon.socket());
    let output = run_command(command, "")?;
    let socket = daemon.socket().to_string_lossy().into_owned();
    ensure!(output.code == 1 && output.err.contains(&socket), "{output:?}");
    stage.finish(daemon)
}

/// A daemon that must not start, and says why in words that name something.
fn refuses(stage: &Stage, settings: Settings, named: &str) -> Result<()> {
    let (status, said) = Daemon::launch(&stage.scratch, settings)?.wait_refused()?;
    ensure!(!status.success() && status.code().is_some(), "it ended with {status}: {said}");
    ensure!(said.contains(named), "it does not name {named}: {said}");
    ensure!(!said.contains("panicked"), "{said}");
    stage.clean()
}

fn a_daemon_without_root_refuses() -> Result<()> {
    let stage = Stage::new()?;
    refuses(
        &stage,
        Settings { place: Place::default().user(65534, 65534), ..Settings::default() },
        "root",
    )
}

fn a_daemon_without_bpffs_refuses() -> Result<()> {
    let stage = Stage::new()?;
    let dir = stage.scratch.join("no-bpffs");
    fs::create_dir(&dir)?;
    for bpffs in [dir.clone(), stage.scratch.join("missing")] {
        let named = bpffs.to_string_lossy().into_owned();
        refuses(&stage, Settings { bpffs: Some(bpffs), ..Settings::default() }, &named)?;
    }
    ensure!(fs::read_dir(dir)?.next().is_none(), "something was made where no bpffs is");
    Ok(())
}

fn a_daemon_without_cgroup2_refuses() -> Result<()> {
    let stage = Stage::new()?;
    refuses(
        &stage,
        Settings { place: Place::default().without_cgroup2()?, ..Settings::default() },
        "cgroup",
    )
}

fn a_daemon_with_a_broken_policy_refuses() -> Result<()> {
    let stage = Stage::new()?;
    for (text, named) in [
        ("maxDuration: soon\n", "soon"),
        ("maxDurations: 5m\n", "maxDurations"),
        ("maxInjections: -1\n", "maxInjections"),
        ("protected: [relative]\n", "relative"),
        ("[", "policy.yaml"),
        ("maxDuration: 1m\n---\nmaxDuration: 2m\n", "document"),
    ] {
        refuses(&stage, Settings { policy: Some(text.into()), ..Settings::default() }, named)?;
    }
    Ok(())
}

fn a_daemon_with_wrong_flags_refuses() -> Result<()> {
    let stage = Stage::new()?;
    let settings = Settings { lease: Some(Duration::ZERO), ..Settings::default() };
    refuses(&stage, settings, "--lease")?;
    let settings = Settings { metrics: Some(([0, 0, 0, 0], 0).into()), ..Settings::default() };
    refuses(&stage, settings, "--metrics")
}
