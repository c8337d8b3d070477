//! Draws the rows that have a place in a plot, as an SVG for light and dark pages. Both axes are logarithmic.

use std::fmt::Write as _;

use crate::row::{Point, Row};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 400.0;
/// Of a panel's field, within it: left, right, top, bottom.
const MARGIN: [f64; 4] = [64.0, 24.0, 92.0, 56.0];

const STYLE: &str = "
    .card { fill: #ffffff; stroke: #c3cad5; }
    .grid { stroke: #d9dee6; }
    .axis { stroke: #6b7789; }
    .t { fill: #1b2430; }
    .s { fill: #4b5768; font-size: 12px; }
    .h { fill: #1b2430; font-weight: 600; }
    .line { fill: none; stroke-width: 2.4; }
    .c0 { stroke: #2f62c9; } .f0 { fill: #2f62c9; }
    .c1 { stroke: #c0392b; stroke-dasharray: 7 4; } .f1 { fill: #c0392b; }
    @media (prefers-color-scheme: dark) {
      .card { fill: #12171f; stroke: #3b4657; }
      .grid { stroke: #2b3441; }
      .axis { stroke: #7f8da1; }
      .t, .h { fill: #edf1f7; }
      .s { fill: #b5c0cf; }
      .c0 { stroke: #7ea6f7; } .f0 { fill: #7ea6f7; }
      .c1 { stroke: #ea8a7f; } .f1 { fill: #ea8a7f; }
    }
  ";

/// The picture; empty if no row has a place in it.
pub(crate) fn draw(rows: &[Row]) -> String {
    let points: Vec<(&Point, f64)> =
        rows.iter().filter_map(|row| Some((row.point.as_ref()?, row.value?))).collect();
    let panels = names(&points, |point| &point.panel);
    let curves = names(&points, |point| &point.curve);
    if panels.is_empty() {
        return String::new();
    }
    let mut svg = String::new();
    head(&mut svg, &describe(&points));
    legend(&mut svg, &curves);
    let width = WIDTH / panels.len() as f64;
    for (at, panel) in panels.iter().enumerate() {
        let of_panel: Vec<_> =
            points.iter().filter(|(point, _)| point.panel == *panel).copied().collect();
        Field::around(at as f64 * width, width, &of_panel)
            .draw(&mut svg, panel, &curves, &of_panel);
    }
    svg += "</svg>\n";
    svg
}

/// Each once, in the order of appearance.
fn names<'a>(points: &[(&'a Point, f64)], name: impl Fn(&'a Point) -> &'a String) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for (point, _) in points {
        let name = name(point).as_str();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// For those who do not see it.
fn describe(points: &[(&Point, f64)]) -> String {
    let words = |(point, value): &(&Point, f64)| {
        let at = thousands(point.at as usize);
        format!("{} with {at} of {}: {value} times", point.panel, point.curve)
    };
    points.iter().map(words).collect::<Vec<_>>().join("; ")
}

// What goes into a `String` cannot fail to.

fn head(svg: &mut String, description: &str) {
    let font = "ui-sans-serif, system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
    let _ = write!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-labelledby="title desc" font-family="{font}" font-size="14">
  <title id="title">What a neighbour on the same interface pays</title>
  <desc id="desc">{description}.</desc>
  <style>{STYLE}</style>
  <rect class="card" x="1" y="1" width="{}" height="{}" rx="12"/>
"#,
        WIDTH - 2.0,
        HEIGHT - 2.0
    );
}

fn legend(svg: &mut String, curves: &[&str]) {
    for (at, curve) in curves.iter().enumerate() {
        let x = MARGIN[0] + at as f64 * 180.0;
        let _ = writeln!(
            svg,
            r#"  <path class="line c{at}" d="M{x} 30h36"/><circle class="f{at}" cx="{}" cy="30" r="4"/><text class="t" x="{}" y="35">{curve}</text>"#,
            x + 18.0,
            x + 46.0
        );
    }
}

/// Where a panel's curves are drawn, and what its edges stand for.
struct Field {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: [f64; 2],
    y: [f64; 2],
}

impl Field {
    fn around(offset: f64, width: f64, points: &[(&Point, f64)]) -> Self {
        let extent = |values: &mut dyn Iterator<Item = f64>| {
            values.fold([f64::MAX, f64::MIN_POSITIVE], |[low, high], value| {
                [low.min(value), high.max(value)]
            })
        };
        let y = extent(&mut points.iter().map(|(_, value)| *value).chain([1.0]));
        Self {
            left: offset + MARGIN[0],
            right: offset + width - MARGIN[1],
            top: MARGIN[2],
            bottom: HEIGHT - MARGIN[3],
            x: extent(&mut points.iter().map(|(point, _)| point.at)),
            // So that no curve lies on an edge.
            y: [y[0] / 1.15, y[1] * 1.15],
        }
    }

    fn draw(&self, svg: &mut String, title: &str, curves: &[&str], points: &[(&Point, f64)]) {
        let Self { left, right, top, bottom, .. } = *self;
        let _ = writeln!(svg, r#"  <text class="h" x="{left}" y="{}">{title}</text>"#, top - 28.0);
        let _ = writeln!(
            svg,
            r#"  <text class="s" x="{left}" y="{}">times that without a fault</text>"#,
            top - 10.0
        );
        for tick in ticks(self.y, &[1.0, 2.0, 5.0]) {
            let y = self.height(tick);
            let _ = writeln!(
                svg,
                r#"  <path class="grid" d="M{left} {y:.1}H{right}"/><text class="s" x="{}" y="{:.1}" text-anchor="end">{tick}</text>"#,
                left - 8.0,
                y + 4.0
            );
        }
        for tick in ticks(self.x, &[1.0]) {
            let x = self.place(tick);
            let _ = writeln!(
                svg,
                r#"  <path class="axis" d="M{x:.1} {bottom}v5"/><text class="s" x="{x:.1}" y="{}" text-anchor="middle">{}</text>"#,
                bottom + 20.0,
                thousands(tick as usize)
            );
        }
        let _ = writeln!(
            svg,
            r#"  <path class="axis" fill="none" d="M{left} {top}V{bottom}H{right}"/>"#
        );
        let _ = writeln!(
            svg,
            r#"  <text class="s" x="{}" y="{}" text-anchor="middle">rules or filters</text>"#,
            (left + right) / 2.0,
            bottom + 42.0
        );
        for (at, curve) in curves.iter().enumerate() {
            self.curve(svg, at, points.iter().filter(|(point, _)| point.curve == *curve));
        }
    }

    fn curve<'a>(
        &self,
        svg: &mut String,
        number: usize,
        points: impl Iterator<Item = &'a (&'a Point, f64)>,
    ) {
        let places: Vec<String> = points
            .map(|(point, value)| format!("{:.1} {:.1}", self.place(point.at), self.height(*value)))
            .collect();
        let _ = writeln!(svg, r#"  <path class="line c{number}" d="M{}"/>"#, places.join("L"));
        for place in &places {
            if let Some((x, y)) = place.split_once(' ') {
                let _ = writeln!(svg, r#"  <circle class="f{number}" cx="{x}" cy="{y}" r="4"/>"#);
            }
        }
    }

    fn place(&self, x: f64) -> f64 {
        self.left + share(self.x, x) * (self.right - self.left)
    }

    fn height(&self, y: f64) -> f64 {
        self.bottom - share(self.y, y) * (self.bottom - self.top)
    }
}

/// How far along a logarithmic axis.
fn share([low, high]: [f64; 2], value: f64) -> f64 {
    if high > low { (value / low).ln() / (high / low).ln() } else { 0.5 }
}

/// The round values within an axis.
fn ticks([low, high]: [f64; 2], digits: &[f64]) -> Vec<f64> {
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all = decades.flat_map(|decade| {
        // A positive power is exact, a negative one is not.
        digits.iter().map(move |digit| match decade {
            0.. => digit * 10f64.powi(decade),
            ..0 => digit / 10f64.powi(-decade),
        })
    });
    all.filter(|tick| (low..=high).contains(tick)).collect()
}

/// `10,000`
pub(crate) fn thousands(value: usize) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
