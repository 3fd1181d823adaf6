//! Line charts as SVG, for light and dark pages.

use std::fmt::{self, Write as _};

use crate::support::numbers::Spread;

/// Sizes in SVG units.
const PANEL_WIDTH: f64 = 460.0;
const PLOT_WIDTH: f64 = 270.0;
const PLOT_HEIGHT: f64 = 240.0;
const LEFT: f64 = 50.0;
const TOP: f64 = 70.0;
const HEIGHT: f64 = 390.0;
/// Least distance between the names beside two lines.
const NAME_HEIGHT: f64 = 16.0;
/// Number of intervals between the marks of the vertical axis.
const INTERVALS: u32 = 4;

/// One class for each line, told apart by colour and by dashes.
const STYLE: &str = "\
text { font: 13px system-ui, sans-serif; fill: #24292f }
.page { fill: #ffffff }
.title { font-weight: 600 }
.small { font-size: 11px; fill: #57606a }
.grid { stroke: #d8dee4 }
.line { fill: none; stroke-width: 2 }
.band { opacity: 0.15 }
.line0 { stroke: #0550ae; stroke-width: 3 } .fill0 { fill: #0550ae }
.line1 { stroke: #57606a; stroke-dasharray: 6 3 } .fill1 { fill: #57606a }
.line2 { stroke: #bc4c00; stroke-dasharray: 2 3 } .fill2 { fill: #bc4c00 }
.line3 { stroke: #116329; stroke-dasharray: 9 3 2 3 } .fill3 { fill: #116329 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.page { fill: #0d1117 }
.small { fill: #9198a1 }
.grid { stroke: #30363d }
.band { opacity: 0.25 }
.line0 { stroke: #79c0ff } .fill0 { fill: #79c0ff }
.line1 { stroke: #9198a1 } .fill1 { fill: #9198a1 }
.line2 { stroke: #ffa657 } .fill2 { fill: #ffa657 }
.line3 { stroke: #7ee787 } .fill3 { fill: #7ee787 }
}
";

/// Charts side by side, with the same horizontal axis.
pub struct Charts {
    pub title: String,
    /// What the horizontal axis counts.
    pub across: &'static str,
    /// Where and when this was measured.
    pub note: String,
    pub panels: Vec<Panel>,
}

/// A chart.
pub struct Panel {
    /// What the vertical axis measures.
    pub what: &'static str,
    pub lines: Vec<Line>,
}

/// The values of one program.
pub struct Line {
    pub name: String,
    /// In the order of the horizontal axis, which is logarithmic.
    pub points: Vec<(u32, Spread)>,
}

impl fmt::Display for Charts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = PANEL_WIDTH * self.panels.len() as f64;
        let title = escaped(&self.title);
        writeln!(
            f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" \
             role=\"img\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
             <rect class=\"page\" width=\"{width}\" height=\"{HEIGHT}\"/>\n\
             <text class=\"title\" x=\"16\" y=\"26\">{title}</text>"
        )?;
        for (number, panel) in self.panels.iter().enumerate() {
            let left = PANEL_WIDTH * number as f64 + LEFT;
            writeln!(f, "<g transform=\"translate({left} {TOP})\">")?;
            panel.draw(f, self.across)?;
            writeln!(f, "</g>")?;
        }
        let (note, below) = (escaped(&self.note), HEIGHT - 14.0);
        writeln!(
            f,
            "<text class=\"small\" x=\"16\" y=\"{below}\">{note}</text>\n</svg>"
        )
    }
}

impl Panel {
    fn draw(&self, f: &mut fmt::Formatter<'_>, across: &str) -> fmt::Result {
        let scale = Scale::of(&self.lines);
        writeln!(f, "<text y=\"-12\">{}</text>", escaped(self.what))?;
        scale.draw(f, across)?;
        for (number, line) in self.lines.iter().enumerate() {
            let (band, path) = (scale.band(line), scale.path(line));
            writeln!(f, "<path class=\"band fill{number}\" d=\"{band}\"/>")?;
            writeln!(f, "<path class=\"line line{number}\" d=\"{path}\"/>")?;
        }
        for (number, y) in scale.name_places(&self.lines) {
            let name = self.lines.get(number).map_or("", |line| line.name.as_str());
            let x = PLOT_WIDTH + 8.0;
            writeln!(
                f,
                "<text class=\"fill{number}\" x=\"{x}\" y=\"{:.1}\">{}</text>",
                y + 4.0,
                escaped(name)
            )?;
        }
        Ok(())
    }
}

/// Where values are in the plot.
struct Scale {
    /// The positions of the horizontal axis that have values.
    marks: Vec<u32>,
    highest: f64,
}

impl Scale {
    fn of(lines: &[Line]) -> Self {
        let points = || lines.iter().flat_map(|line| &line.points);
        let mut marks: Vec<_> = points().map(|(at, _)| *at).collect();
        marks.sort_unstable();
        marks.dedup();
        let most = points().map(|(_, value)| value.most).fold(0.0, f64::max);
        Self {
            marks,
            highest: round_up(most),
        }
    }

    fn x(&self, at: u32) -> f64 {
        let log = |at: Option<&u32>| at.map_or(0.0, |at| f64::from(*at).log2());
        let (first, last) = (log(self.marks.first()), log(self.marks.last()));
        let width = (last - first).max(f64::MIN_POSITIVE);
        (log(Some(&at)) - first) / width * PLOT_WIDTH
    }

    fn y(&self, value: f64) -> f64 {
        PLOT_HEIGHT * (1.0 - value / self.highest)
    }

    /// Draws the axes.
    fn draw(&self, f: &mut fmt::Formatter<'_>, across: &str) -> fmt::Result {
        for step in 0..=INTERVALS {
            let value = self.highest * f64::from(step) / f64::from(INTERVALS);
            let y = self.y(value);
            writeln!(
                f,
                "<line class=\"grid\" x2=\"{PLOT_WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"small\" x=\"-8\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
                y + 4.0
            )?;
        }
        for at in &self.marks {
            let (x, y) = (self.x(*at), PLOT_HEIGHT + 18.0);
            writeln!(
                f,
                "<text class=\"small\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{at}</text>"
            )?;
        }
        let (x, y) = (PLOT_WIDTH / 2.0, PLOT_HEIGHT + 38.0);
        let across = escaped(across);
        writeln!(
            f,
            "<text class=\"small\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{across}</text>"
        )
    }

    /// Returns the line through the medians.
    fn path(&self, line: &Line) -> String {
        let medians = line.points.iter().map(|(at, value)| (*at, value.median));
        self.polyline(medians)
    }

    /// Returns the area between the least and the greatest values.
    fn band(&self, line: &Line) -> String {
        let above = line.points.iter().map(|(at, value)| (*at, value.most));
        let below = line.points.iter().rev();
        self.polyline(above.chain(below.map(|(at, value)| (*at, value.least)))) + "Z"
    }

    fn polyline(&self, points: impl Iterator<Item = (u32, f64)>) -> String {
        points.fold(String::new(), |mut path, (at, value)| {
            let command = if path.is_empty() { 'M' } else { 'L' };
            let (x, y) = (self.x(at), self.y(value));
            write!(path, "{command}{x:.1} {y:.1}").expect("a string takes everything");
            path
        })
    }

    /// Returns the number of each line with the height of its name, which is that of its end,
    /// or lower if another name is there.
    fn name_places(&self, lines: &[Line]) -> Vec<(usize, f64)> {
        let end = |line: &Line| Some(self.y(line.points.last()?.1.median));
        let ends = lines.iter().map(end).enumerate();
        let mut places: Vec<_> = ends.filter_map(|(number, y)| Some((number, y?))).collect();
        places.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        let mut free_from = f64::MIN;
        for (_, y) in &mut places {
            *y = y.max(free_from);
            free_from = *y + NAME_HEIGHT;
        }
        places
    }
}

/// Returns the next number of one digit and zeros that [`INTERVALS`] divide into readable steps.
fn round_up(value: f64) -> f64 {
    let unit = 10f64.powf(value.max(1.0).log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 4.0, 6.0, 8.0, 10.0];
    let fits = steps.iter().map(|step| step * unit).find(|it| *it >= value);
    fits.unwrap_or(value)
}

/// Escapes text for SVG.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
