//! Programs as they are: what people use sees what a fault promises, and works again after it.

use std::{cell::Cell, fs, net::SocketAddr, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{
    self, Checksum, CorruptRegion, Direction, RejectAnswer, network_reject::With,
};
use serde_json::Value;

use crate::harness::{
    Client, Family, Loss, Network, Place, Server, Stage, balanced, delay, finish, needs,
    needs_programs, net, own_command, poll, program, start, succeeds, tests,
};

tests![ping, curl, iperf3, redis_benchmark, a_stream_of_grpc];

const LATENCY: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(20);

fn victim(stage: &Stage) -> Result<Place> {
    Place::default().cgroup(&stage.target)?.netns(&stage.net.near)
}

fn bystander(stage: &Stage) -> Result<Place> {
    Place::default().cgroup(&stage.sibling)?.netns(&stage.net.near)
}

/// Starts a server at the far end and waits until it takes connections.
fn serve(stage: &Stage, port: u16, argv: &[&str]) -> Result<Server> {
    let server = Server::start(Place::default().netns(&stage.net.far)?, argv)?;
    await_server(stage, port)?;
    Ok(server)
}

fn await_server(stage: &Stage, port: u16) -> Result<()> {
    let at = SocketAddr::new(net::far(Family::V4), port);
    poll::until_ok("the server to take connections", PATIENCE, || {
        let refusal = stage.bystander.refusal(at, PATIENCE)?;
        ensure!(refusal.is_none(), "port {port}: {refusal:?}");
        Ok(())
    })
}

/// Does something under a fault, which is over then.
fn under<T>(client: &Client, spec: v1::Spec, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let injection = client.inject(spec)?;
    let done = work()?;
    client.recover(&injection.id)?;
    Ok(done)
}

fn ping() -> Result<()> {
    needs_programs()?;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let argv = ["ping", "-n", "-c", "5", "-i", "0.2", "-W", "2", "10.77.0.2"];
    let rtt = |said: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix("rtt min/avg/max/mdev = "));
        let lowest = line.and_then(|line| line.split('/').next()).context("no times")?;
        lowest.parse::<f64>().with_context(|| said.to_owned())
    };
    let ms = LATENCY.as_secs_f64() * 1e3;
    ensure!(rtt(&succeeds(victim(&stage)?, &argv)?)? < ms);
    under(&client, Network::from(delay(LATENCY)).on(&stage.target), || {
        let (theirs, other) =
            (rtt(&succeeds(victim(&stage)?, &argv)?)?, rtt(&succeeds(bystander(&stage)?, &argv)?)?);
        ensure!(theirs >= ms && theirs < ms * 1.5 && other < ms, "{theirs} and {other} ms");
        Ok(())
    })?;
    under(&client, Loss::all().on(&stage.target), || {
        let output = program(victim(&stage)?, &argv)?;
        ensure!(output.code == 1 && output.out.contains("100% packet loss"), "{output:?}");
        succeeds(bystander(&stage)?, &argv).map(drop)
    })?;
    let twice = v1::NetworkDuplicate { percent: 100.0, ..Default::default() };
    under(&client, Network::from(twice).on(&stage.target), || {
        // The last one ends the run, so its copy is not waited for.
        let said = succeeds(victim(&stage)?, &argv)?;
        ensure!(said.contains("(DUP!)") && said.contains("+4 duplicates"), "{said}");
        Ok(())
    })?;
    let said = succeeds(victim(&stage)?, &argv)?;
    ensure!(said.contains(" 0% packet loss") && !said.contains("duplicates"), "{said}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn curl() -> Result<()> {
    const SIZE: usize = 300_000;
    needs_programs()?;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for kind in ["network delay", "network rate", "network corrupt", "network reject"] {
        needs(&client, kind)?;
    }
    let page: String = (0..SIZE / 10).map(|line| format!("{line:09}\n")).collect();
    fs::write("/programs/tmp/page", &page).context("cannot write the page to be served")?;
    let argv = ["busybox", "httpd", "-f", "-p", "10.77.0.2:8080", "-h", "/tmp"];
    let _server = serve(&stage, 8080, &argv)?;
    let url = "http://10.77.0.2:8080/page";
    let times = "\n%{time_connect} %{time_total}";
    let fetch = ["curl", "-sS", "--max-time", "15", "-w", times, url];
    // The page, and how many seconds connecting and all took.
    let fetched = |place: Place| {
        let said = succeeds(place, &fetch)?;
        let (page, times) = said.rsplit_once('\n').context("curl told no times")?;
        let (connect, total) = times.split_once(' ').context("curl told one time")?;
        Ok::<_, anyhow::Error>((page.to_owned(), connect.parse::<f64>()?, total.parse::<f64>()?))
    };
    let (got, ..) = fetched(victim(&stage)?)?;
    ensure!(got == page, "the page is not whole without a fault");

    under(&client, Network::from(delay(LATENCY)).on(&stage.target), || {
        let (got, connect, _) = fetched(victim(&stage)?)?;
        let least = LATENCY.as_secs_f64();
        ensure!(got == page && connect >= least && connect < least * 2.0, "{connect} s");
        let (got, connect, _) = fetched(bystander(&stage)?)?;
        ensure!(got == page && connect < least, "the bystander: {connect} s");
        Ok(())
    })?;

    let rate = Network::from(line(1_000_000)).direction(Direction::In).on(&stage.target);
    under(&client, rate, || {
        let (got, _, total) = fetched(victim(&stage)?)?;
        let ideal = SIZE as f64 * 8.0 / 1e6;
        // Headers and acknowledgements, at the one end; the burst that goes at once, at the other.
        ensure!(got == page && (0.9 * ideal..1.3 * ideal).contains(&total), "{total} s");
        Ok(())
    })?;

    let reject = v1::NetworkReject {
        with: Some(With::Answer(RejectAnswer::Reset.into())),
        ..Default::default()
    };
    under(&client, Network::from(reject).remote_port(8080).on(&stage.target), || {
        let output = program(victim(&stage)?, &fetch)?;
        // CURLE_COULDNT_CONNECT
        ensure!(output.code == 7, "{output:?}");
        fetched(bystander(&stage)?).map(drop)
    })?;

    under(&client, Loss::all().on(&stage.target), || {
        let output = program(victim(&stage)?, &["curl", "-sS", "--max-time", "2", url])?;
        // CURLE_OPERATION_TIMEDOUT
        ensure!(output.code == 28, "{output:?}");
        Ok(())
    })?;

    // Bytes of the page change on the way, and nobody notices but who compares.
    let changed = v1::NetworkCorrupt {
        percent: 100.0,
        checksum: Checksum::Fixed.into(),
        region: CorruptRegion::Payload.into(),
        ..Default::default()
    };
    let changed = Network::from(changed).direction(Direction::In).seed(1);
    let changed = changed.only(|filter| {
        filter.after = Some(v1::Volume { volume: Some(v1::volume::Volume::Packets(2)) });
    });
    under(&client, changed.on(&stage.target), || {
        let output = program(victim(&stage)?, &fetch)?;
        ensure!(output.code != 0 || !output.out.starts_with(&page), "the page is as it was");
        Ok(())
    })?;

    let (got, ..) = fetched(victim(&stage)?)?;
    ensure!(got == page, "the page is not whole after the faults");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn iperf3() -> Result<()> {
    needs_programs()?;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network rate")?;
    needs(&client, "network delay")?;
    // A server of its own for each: it is busy until the last packet that waits has come.
    let ports = Cell::new(5201);
    let received = |seconds: &str, reverse: &[&str]| {
        let port = ports.replace(ports.get() + 1);
        let number = port.to_string();
        let _server = serve(&stage, port, &["iperf3", "-s", "-B", "10.77.0.2", "-p", &number])?;
        let argv = ["iperf3", "-c", "10.77.0.2", "-p", &number, "-t", seconds, "-J"];
        let argv = [&argv[..], reverse].concat();
        let said: Value = serde_json::from_str(&succeeds(victim(&stage)?, &argv)?)?;
        let rate = said.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
        rate.with_context(|| format!("iperf3 told no rate: {said}"))
    };
    let free = received("2", &[])?;
    for (direction, reverse) in [(Direction::Out, &[][..]), (Direction::In, &["-R"])] {
        let rate = v1::NetworkRate { bits_per_second: 10_000_000, ..Default::default() };
        let rate = Network::from(rate).direction(direction).on(&stage.target);
        let got = under(&client, rate, || received("10", reverse))?;
        // Of 10 Mbit/s on the wire, 94 % are payload; the second that waits in the line at the end is not counted.
        ensure!(
            (7.5e6..10.5e6).contains(&got),
            "{direction:?}: {got} bit/s, {free} without a fault"
        );
    }
    let late = Network::from(delay(Duration::from_millis(10))).on(&stage.target);
    let got = under(&client, late, || received("2", &[]))?;
    ensure!(got > 1e7, "{got} bit/s with a delay of 10 ms, {free} without");
    ensure!(received("2", &[])? > free / 3.0, "iperf3 does not recover");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn redis_benchmark() -> Result<()> {
    needs_programs()?;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let server = ["redis-server", "--bind", "10.77.0.2", "--save", "", "--protected-mode", "no"];
    let _server = serve(&stage, 6379, &server)?;
    // The median of a request, in ms: the fifth of `test, rps, avg, min, p50, p95, p99, max`.
    let median = |place: Place| {
        let argv =
            ["redis-benchmark", "-h", "10.77.0.2", "-n", "200", "-c", "4", "-t", "set", "--csv"];
        let said = succeeds(place, &argv)?;
        let line = said.lines().find(|line| line.starts_with("\"SET\"")).context("no result")?;
        let field = line.split(',').nth(4).context("no median")?;
        field.trim_matches('"').parse::<f64>().with_context(|| said.clone())
    };
    let free = median(victim(&stage)?)?;
    under(&client, Network::from(delay(LATENCY / 4)).on(&stage.target), || {
        let (theirs, other) = (median(victim(&stage)?)?, median(bystander(&stage)?)?);
        ensure!((50.0..100.0).contains(&theirs) && other < 50.0, "{theirs} and {other} ms");
        Ok(())
    })?;
    // TCP sends again what is lost, so every request is answered, in the end.
    under(&client, Loss::percent(5.0).seed(3).on(&stage.target), || median(victim(&stage)?))?;
    let after = median(victim(&stage)?)?;
    ensure!(after < free + 50.0, "{after} ms after the faults, {free} before");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// A line on which all waits that these tests send, so that nothing has to be sent again.
fn line(bits_per_second: u64) -> v1::NetworkRate {
    v1::NetworkRate {
        bits_per_second,
        excess: Some(v1::network_rate::Excess::QueueBytes(8 << 20)),
        ..Default::default()
    }
}

/// What a watcher of a stream said: how many messages came, the longest pause in ms, the status of gRPC at its end.
fn watched(said: &str) -> Result<(u32, f64, String)> {
    let mut words = said.split_whitespace();
    let mut word = || words.next().with_context(|| format!("the watcher said {said:?}"));
    Ok((word()?.parse()?, word()?.parse()?, word()?.to_owned()))
}

fn a_stream_of_grpc() -> Result<()> {
    const PORT: u16 = 50051;
    const OUTAGE: Duration = Duration::from_secs(2);
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    needs(&client, "network reject")?;
    let place = Place::default().netns(&stage.net.far)?;
    let _server = Server::own(place, &["grpc", "serve", "10.77.0.2:50051"])?;
    await_server(&stage, PORT)?;
    let watcher = |count: &str| {
        let arguments = ["grpc", "watch", "10.77.0.2:50051", count];
        start(own_command(victim(&stage)?, &arguments)?)
    };
    let end = |watcher| watched(&finish(watcher, "")?.out);
    let flows = |watcher, count| {
        let (came, pause, status) = end(watcher)?;
        ensure!(came == count && status == "Ok", "{came} messages, then {status}");
        Ok::<_, anyhow::Error>(pause)
    };
    flows(watcher("40")?, 40)?;

    // A stream is one way, so it is late, and no slower.
    let late = Network::from(delay(LATENCY)).direction(Direction::Both).on(&stage.target);
    let pause = under(&client, late, || flows(watcher("40")?, 40))?;
    ensure!(pause >= LATENCY.as_secs_f64() * 1e3, "the first message came after {pause} ms");

    // A fault that happens to hardly any packet tells that there are some.
    let opened = |count: &str| {
        let watcher = watcher(count)?;
        let rare = Loss::percent(1e-6).direction(Direction::In).on(&stage.target);
        let seen = client.inject(rare)?;
        poll::until_ok("the stream to flow", PATIENCE, || {
            let counters = balanced(&client.get(&seen.id)?)?;
            ensure!(counters.matched > 10, "{counters:?}");
            Ok(())
        })?;
        client.recover(&seen.id)?;
        Ok::<_, anyhow::Error>(watcher)
    };
    // What is lost is sent again, when the line is there again.
    let outage = opened("100")?;
    under(&client, Loss::all().direction(Direction::Both).on(&stage.target), || {
        thread::sleep(OUTAGE);
        Ok(())
    })?;
    let pause = flows(outage, 100)?;
    ensure!(pause >= OUTAGE.as_secs_f64() * 1e3, "the longest pause was {pause} ms");

    let reject = v1::NetworkReject {
        with: Some(With::Answer(RejectAnswer::Reset.into())),
        ..Default::default()
    };
    // The watcher sends nothing but acknowledgements, and these are answered.
    let torn = opened("10000")?;
    let reject = Network::from(reject).on(&stage.target);
    let (came, _, status) = under(&client, reject, || end(torn))?;
    ensure!(came < 10_000 && status != "Ok", "{came} messages, then {status}");
    flows(watcher("40")?, 40)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
