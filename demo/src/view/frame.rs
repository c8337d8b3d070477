//! The live view as lines. Pure.
//!
//! A column of the diagrams is a piece of time, and holds the requests that *began* in it: what begins under the
//! fault counts there even if it ends later. It is drawn when all its requests have ended; until then it is a dot.

use std::time::Duration;

use super::{
    Scene, Size,
    paint::{Mood, Paint, grouped, share},
};
use crate::{
    chaos::PERCENT,
    clock::Moment,
    phase::Phase,
    stats::{Figures, Latency, Request, TIMEOUT, percent},
};

const LABEL: usize = 13;
const FIGURE: usize = 9;
/// The diagrams cover all phases and the moments between them.
const SECONDS: usize = 23;
/// The summary is as wide.
const COLUMNS: usize = 78;
/// Fewer requests make no figure.
const PER_COLUMN: usize = 20;
/// The figures beside the diagrams are those of so much time.
const RECENT: Duration = Duration::from_secs(2);
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Whether there is room.
pub(super) fn fits(size: Size) -> bool {
    size.columns >= COLUMNS && size.rows >= 24
}

/// All lines.
pub(super) fn frame(scene: &Scene, size: Size, paint: &Paint) -> Vec<String> {
    let room = size.columns.saturating_sub(LABEL + FIGURE + 1) / SECONDS;
    let per_second = room.min(scene.rate as usize / PER_COLUMN).clamp(1, 4);
    let mut lines = title(scene).map(|line| clipped(&line, size.columns)).to_vec();
    if let [name, about, command] = lines.as_mut_slice() {
        *name = paint.bold(name);
        *about = paint.dim(about);
        *command = format!("{}{}", paint.dim("$ "), command.trim_start_matches("$ "));
    }
    lines.push(phases(scene, per_second, paint));
    for (name, requests) in ["A answered", "B answered"].into_iter().zip(&scene.requests) {
        lines.extend(pair(scene, name, requests, per_second, paint));
    }
    lines.push(rule(scene, paint));
    lines.push(deadline(scene, paint));
    lines
}

/// What is shown, and the command that does it.
pub(super) fn title(scene: &Scene) -> [String; 3] {
    let mechanism = scene.mechanism.split(',').next().unwrap_or_default();
    [
        format!("chaos demo: Linux {}, {}", scene.kernel, mechanism),
        format!(
            "Two HTTP pairs, {} requests/s each. A's cgroup loses {PERCENT} % of what it sends.",
            scene.rate
        ),
        format!("$ {}", scene.command),
    ]
}

fn clipped(line: &str, columns: usize) -> String {
    line.chars().take(columns).collect()
}

/// Names of the phases above the diagrams, each from the column in which it begins.
fn phases(scene: &Scene, per_second: usize, paint: &Paint) -> String {
    let began = scene.course.began;
    let column =
        |moment: Moment| (moment.since(began).as_secs_f64() * per_second as f64).ceil() as usize;
    let planned = began.after(Phase::Before.length());
    let injected = scene.course.injected.map_or(planned, |(_, answer)| answer);
    let over = injected.after(Phase::During.length());
    let starts = [0, column(injected), column(over), column(over.after(Phase::After.length()))];
    let current = scene.course.of(scene.now);
    let mut line = " ".repeat(LABEL);
    for (phase, ends) in Phase::ALL.into_iter().zip(starts.windows(2)) {
        let text = format!("├ {} {}", phase.name(), "─".repeat(SECONDS * per_second));
        let text: String = text.chars().take(ends[1].saturating_sub(ends[0])).collect();
        line += &if current == Some(phase) { paint.bold(&text) } else { paint.dim(&text) };
    }
    line
}

fn pair(
    scene: &Scene,
    name: &str,
    requests: &[Request],
    per_second: usize,
    paint: &Paint,
) -> [String; 3] {
    let columns = columns(scene, requests, per_second);
    let recent = recent(requests, scene.now, RECENT);
    let line = |label: &str,
                draw: &dyn Fn(&Figures) -> (usize, Mood),
                now: &dyn Fn(&Figures) -> (String, Mood)| {
        let diagram: String =
            columns.iter().map(|column| draw_column(column, draw, paint)).collect();
        let now = recent.as_ref().map_or_else(|| ("–".to_owned(), Mood::Bad), now);
        let label = format!("{label:<LABEL$}");
        let label = if label.starts_with(' ') { paint.dim(&label) } else { paint.bold(&label) };
        format!("{label}{diagram}{}", paint.mood(now.1, &format!("{:>FIGURE$}", now.0)))
    };
    let latency = |of: fn(&Figures) -> Latency| {
        move |figures: &Figures| {
            let latency = of(figures);
            (latency.to_string(), Mood::of_latency(latency))
        }
    };
    let level = |of: fn(&Figures) -> Latency| {
        move |figures: &Figures| (latency_level(of(figures)), Mood::of_latency(of(figures)))
    };
    [
        line(
            name,
            &|figures| {
                let percent = figures.answered_percent();
                ((percent / 100.0 * 7.0).round() as usize, Mood::of_answered(percent))
            },
            &|figures| {
                (share(figures.answered_percent()), Mood::of_answered(figures.answered_percent()))
            },
        ),
        line("  p50", &level(|figures| figures.p50), &latency(|figures| figures.p50)),
        line("  p99", &level(|figures| figures.p99), &latency(|figures| figures.p99)),
    ]
}

/// A column of a diagram.
enum Column {
    /// Not all of its requests have ended.
    Open,
    /// Its time has not come.
    Future,
    Full(Option<Figures>),
}

fn columns(scene: &Scene, requests: &[Request], per_second: usize) -> Vec<Column> {
    let began = scene.course.began;
    let length = Duration::from_secs(1) / per_second as u32;
    let mut buckets: Vec<Vec<Request>> = vec![Vec::new(); SECONDS * per_second];
    for request in requests.iter().filter(|request| request.began >= began) {
        let at = (request.began.since(began).as_secs_f64() * per_second as f64) as usize;
        if let Some(bucket) = buckets.get_mut(at) {
            bucket.push(*request);
        }
    }
    let expected = (scene.rate as usize / per_second).saturating_sub(2);
    let column = |(at, bucket): (usize, &Vec<Request>)| {
        let begins = began.after(length * at as u32);
        let ends = begins.after(length);
        if scene.now < begins
            || scene.course.injected.is_some() && scene.course.of(begins).is_none()
        {
            Column::Future
        } else if scene.now < ends || (bucket.len() < expected && scene.now < ends.after(TIMEOUT)) {
            Column::Open
        } else {
            Column::Full(Figures::of(bucket))
        }
    };
    buckets.iter().enumerate().map(column).collect()
}

fn draw_column(column: &Column, draw: &dyn Fn(&Figures) -> (usize, Mood), paint: &Paint) -> String {
    match column {
        Column::Future => " ".to_owned(),
        Column::Open => paint.dim("·"),
        Column::Full(None) => paint.mood(Mood::Bad, "·"),
        Column::Full(Some(figures)) => {
            let (level, mood) = draw(figures);
            paint.mood(mood, &LEVELS[level.min(7)].to_string())
        }
    }
}

/// From 0.1 ms to the end of patience, by factors of the same size.
fn latency_level(latency: Latency) -> usize {
    match latency {
        Latency::Unanswered => 7,
        Latency::Answered(time) => {
            let decades = (time.as_secs_f64() / 1e-4).max(1.0).log10();
            (decades / (TIMEOUT.as_secs_f64() / 1e-4).log10() * 7.0).round() as usize
        }
    }
}

/// Figures of the requests that ended lately.
pub(super) fn recent(requests: &[Request], now: Moment, time: Duration) -> Option<Figures> {
    let is_recent =
        |request: &&Request| request.ended() <= now && now.since(request.ended()) < time;
    Figures::of(requests.iter().filter(is_recent))
}

fn rule(scene: &Scene, paint: &Paint) -> String {
    let label = paint.bold(&format!("{:<LABEL$}", "rule"));
    if scene.course.injected.is_none() {
        return format!("{label}{}", paint.dim("none yet"));
    }
    let (matched, fired) = (scene.injection.matched, scene.injection.fired);
    let share = percent(fired as usize, matched as usize);
    format!(
        "{label}{} packets matched, {} vanished: {share:.1} %",
        grouped(matched),
        grouped(fired)
    )
}

fn deadline(scene: &Scene, paint: &Paint) -> String {
    let label = paint.bold(&format!("{:<LABEL$}", "deadline"));
    let Some(deadline) = scene.course.deadline() else {
        let starts = scene.course.began.after(Phase::Before.length()).since(scene.now);
        return format!(
            "{label}{}",
            paint.dim(&format!("the fault begins in {:.0} s", starts.as_secs_f64().ceil()))
        );
    };
    let left = deadline.since(scene.now);
    if left.is_zero() {
        return format!("{label}passed: the kernel ended the fault by itself, nobody recovered it");
    }
    let cells = 2 * Phase::During.length().as_secs() as usize;
    let full =
        (left.as_secs_f64() / Phase::During.length().as_secs_f64() * cells as f64).ceil() as usize;
    let bar = paint.mood(Mood::Fair, &"━".repeat(full.min(cells)));
    let gone = paint.dim(&"─".repeat(cells.saturating_sub(full)));
    format!("{label}{bar}{gone} {:.1} s left, kept by the kernel", left.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::{super::paint::width, *};
    use crate::{chaos::Injection, phase::Course};

    fn scene(now: f64) -> Scene {
        let at = |seconds: f64| Moment(Duration::from_secs_f64(100.0 + seconds));
        let request = |n: u32| Request {
            began: at(f64::from(n) / 100.0),
            took: Duration::from_micros(150),
            answered: true,
        };
        let seen = || (0..(now * 100.0) as u32).map(request).collect();
        Scene {
            kernel: "6.12.57+deb13-cloud-amd64".into(),
            mechanism: "tcx link on each interface, packets redirected to nowhere".into(),
            command:
                "chaos inject network loss --cgroup /chaos-demo-12345/a --percent 30 --duration 12s"
                    .into(),
            rate: 100,
            course: Course { began: at(0.0), injected: (now > 5.0).then(|| (at(5.0), at(5.01))) },
            now: at(now),
            requests: [seen(), seen()],
            injection: Injection { matched: 1_234_567, fired: 370_370, end: None },
        }
    }

    #[test]
    fn it_fits() {
        for (columns, rows) in [(80, 24), (100, 30), (120, 40), (200, 60)] {
            let size = Size { columns, rows };
            assert!(fits(size));
            for now in [0.1, 3.0, 5.5, 12.0, 17.2, 23.1] {
                let lines = frame(&scene(now), size, &Paint::new(true));
                for line in &lines {
                    assert!(width(line) <= columns, "{} columns: {line}", width(line));
                }
                assert_eq!(lines.len(), 12);
            }
        }
        assert!(!fits(Size { columns: 60, rows: 24 }));
    }

    #[test]
    fn columns_fill_as_time_goes_by() {
        let scene = scene(3.0);
        let columns = columns(&scene, &scene.requests[0], 2);
        let full = columns.iter().filter(|column| matches!(column, Column::Full(Some(_)))).count();
        assert_eq!((columns.len(), full), (46, 6));
    }

    #[test]
    fn levels_are_logarithmic() {
        let level = |micros| latency_level(Latency::Answered(Duration::from_micros(micros)));
        assert_eq!([50, 100, 1000, 200_000, 999_000].map(level), [0, 0, 2, 6, 7]);
        assert_eq!(latency_level(Latency::Unanswered), 7);
    }
}
