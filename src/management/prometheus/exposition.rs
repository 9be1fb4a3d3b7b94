//! How metrics are written: Prometheus' text format 0.0.4, and OpenMetrics 1.0.

use std::fmt::Write as _;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use crate::management::prometheus::metric::{About, Kind, OWN};

/// Bytes that are gathered before they are handed on.
const CHUNK: usize = 8 << 10;

const OPEN_METRICS: &str = "application/openmetrics-text";

/// A way to write metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// What every version of Prometheus reads.
    Text,
    /// OpenMetrics.
    Open,
}

impl Format {
    /// What the head of a request prefers. Whoever says nothing gets text.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let words = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut open = 0;
        let mut text = 0;
        for range in words.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, thousandths);
            if kind.eq_ignore_ascii_case(OPEN_METRICS) {
                open = open.max(weight);
            } else if ["text/plain", "text/*", "*/*"].contains(&kind) {
                text = text.max(weight);
            }
        }
        if open > 0 && open >= text { Self::Open } else { Self::Text }
    }

    /// The type of the content.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A weight such as "0.5"; what cannot be read is 0.
fn thousandths(weight: &str) -> u32 {
    let weight: f64 = weight.trim().parse().unwrap_or(0.0);
    (weight.clamp(0.0, 1.0) * 1000.0) as u32
}

/// What the names of metrics begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    /// In place of `rabbitmq`.
    pub(super) word: String,
    /// Names of the detailed endpoint say so, that they may be scraped together with those of the others.
    pub(super) detailed: bool,
}

impl Prefix {
    /// The full name of a metric.
    pub(super) fn name(&self, name: &str) -> String {
        let detail = if self.detailed { "detailed_" } else { "" };
        match name.strip_prefix(OWN) {
            Some(rest) => format!("{OWN}{detail}{rest}"),
            None => format!("{}_{detail}{name}", self.word),
        }
    }

    /// The full name of a metric that endpoints share.
    pub(super) fn plain(&self, name: &str) -> String {
        Self { detailed: false, ..self.clone() }.name(name)
    }

    /// The full name of a metric of the whole cluster.
    pub(super) fn cluster(&self, name: &str) -> String {
        format!("{}_cluster_{name}", self.word)
    }
}

/// Where metrics are written to.
pub(super) struct Exposition<'a> {
    format: Format,
    text: String,
    /// Takes what was gathered. Returns whether it takes more.
    send: &'a mut dyn FnMut(&str) -> bool,
    open: bool,
}

impl<'a> Exposition<'a> {
    pub(super) fn new(format: Format, send: &'a mut dyn FnMut(&str) -> bool) -> Self {
        Self { format, text: String::new(), send, open: true }
    }

    /// Whether anybody still reads.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Begins a metric. All its samples have to follow at once.
    pub(super) fn begin<'b>(&'b mut self, name: String, about: About) -> Samples<'b, 'a> {
        let family = match (self.format, about.kind) {
            (Format::Open, Kind::Counter) => name.strip_suffix("_total").unwrap_or(&name),
            _ => &name,
        };
        let help = escaped(about.help, self.format == Format::Open);
        // Into memory: it does not fail.
        let _ = writeln!(self.text, "# HELP {family} {help}\n# TYPE {family} {}", about.kind.name());
        Samples { to: self, name }
    }

    /// Ends the text.
    pub(super) fn end(mut self) {
        if self.format == Format::Open {
            self.text.push_str("# EOF\n");
        }
        self.flush();
    }

    fn flush(&mut self) {
        if self.open && !self.text.is_empty() {
            self.open = (self.send)(&self.text);
        }
        self.text.clear();
    }
}

/// The samples of one metric.
pub(super) struct Samples<'b, 'a> {
    to: &'b mut Exposition<'a>,
    name: String,
}

impl Samples<'_, '_> {
    /// The only sample, without labels.
    pub(super) fn one(&mut self, value: f64) {
        self.row("", "", value);
    }

    /// A whole number as the only sample.
    pub(super) fn count(&mut self, value: u64) {
        self.one(value as f64);
    }

    /// A sample with labels.
    pub(super) fn with(&mut self, labels: &[(&str, &str)], value: f64) {
        self.row("", &labels_of(labels), value);
    }

    /// A sample with labels that are [written](labels_of) already. What is not a number is left out.
    pub(super) fn written(&mut self, labels: &str, value: f64) {
        self.row("", labels, value);
    }

    /// A histogram: the upper bounds, how many fall into each bucket and not into lower ones, with one bucket for all
    /// beyond, and their sum.
    pub(super) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        bounds: impl Iterator<Item = String>,
        counts: &[u64],
        sum: f64,
    ) {
        let mut below = 0;
        let limits = bounds.chain(["+Inf".to_owned()]);
        for (limit, count) in limits.zip(counts) {
            below += count;
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", limit.as_str())]).collect();
            self.row("_bucket", &labels_of(&labels), below as f64);
        }
        let labels = labels_of(labels);
        self.row("_sum", &labels, sum);
        self.row("_count", &labels, below as f64);
    }

    fn row(&mut self, suffix: &str, labels: &str, value: f64) {
        if value.is_nan() {
            return;
        }
        let value = if value == f64::INFINITY { "+Inf".to_owned() } else { value.to_string() };
        let (name, text) = (&self.name, &mut self.to.text);
        let _ = if labels.is_empty() {
            writeln!(text, "{name}{suffix} {value}")
        } else {
            writeln!(text, "{name}{suffix}{{{labels}}} {value}")
        };
        if text.len() >= CHUNK {
            self.to.flush();
        }
    }
}

/// Labels as they stand between the braces.
pub(super) fn labels_of(labels: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{name}=\"{}\"", escaped(value, true));
    }
    text
}

fn escaped(text: &str, quotes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quotes => escaped.push_str("\\\""),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const COUNTER: About = About { name: "a_total", kind: Kind::Counter, help: "Says \"a\\b\"" };
    const SIZES: About = About { name: "sizes", kind: Kind::Histogram, help: "Sizes" };

    fn written(format: Format, write: impl FnOnce(&mut Exposition<'_>)) -> String {
        let mut all = String::new();
        let mut send = |text: &str| {
            all.push_str(text);
            true
        };
        let mut exposition = Exposition::new(format, &mut send);
        write(&mut exposition);
        exposition.end();
        all
    }

    #[test]
    fn both_formats_name_counters_in_their_way() {
        let write = |to: &mut Exposition<'_>| {
            let mut samples = to.begin("x_a_total".to_owned(), COUNTER);
            samples.with(&[("q", "a\"b\\c\nd"), ("v", "/")], 1.5);
            samples.written("q=\"gone\"", f64::NAN);
            samples.count(1 << 50);
            samples.one(f64::INFINITY);
        };
        let rows =
            "x_a_total{q=\"a\\\"b\\\\c\\nd\",v=\"/\"} 1.5\nx_a_total 1125899906842624\nx_a_total +Inf\n";
        let head = "# HELP x_a_total Says \"a\\\\b\"\n# TYPE x_a_total counter\n";
        assert_eq!(written(Format::Text, write), format!("{head}{rows}"));
        let head = "# HELP x_a Says \\\"a\\\\b\\\"\n# TYPE x_a counter\n";
        assert_eq!(written(Format::Open, write), format!("{head}{rows}# EOF\n"));
    }

    #[test]
    fn buckets_of_histograms_add_up() {
        let bounds = || ["1.0", "1e+06"].map(str::to_owned).into_iter();
        let text = written(Format::Text, |to| {
            to.begin("s".to_owned(), SIZES).histogram(&[("p", "a")], bounds(), &[2, 0, 3], 7.0);
        });
        let expected = [
            "# HELP s Sizes",
            "# TYPE s histogram",
            "s_bucket{p=\"a\",le=\"1.0\"} 2",
            "s_bucket{p=\"a\",le=\"1e+06\"} 2",
            "s_bucket{p=\"a\",le=\"+Inf\"} 5",
            "s_sum{p=\"a\"} 7",
            "s_count{p=\"a\"} 5",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn nothing_is_written_for_readers_that_have_gone() {
        let mut times = 0;
        let mut send = |_: &str| {
            times += 1;
            false
        };
        let mut to = Exposition::new(Format::Text, &mut send);
        let mut samples = to.begin("x".to_owned(), SIZES);
        for _ in 0..10 * CHUNK {
            samples.one(1.0);
        }
        assert!(!to.is_open());
        to.end();
        assert_eq!(times, 1);
    }

    #[test]
    fn open_metrics_are_for_those_who_prefer_them() {
        let format = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            Format::of(&headers)
        };
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(
            (format(prometheus), format("application/openmetrics-text")),
            (Format::Open, Format::Open)
        );
        let text = [
            "*/*",
            "text/plain",
            "application/openmetrics-text;q=0.1, text/plain;q=0.5",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=x",
            "",
        ];
        assert_eq!(text.map(format), [Format::Text; 6]);
        assert_eq!(Format::of(&HeaderMap::new()), Format::Text);
    }

    #[test]
    fn names_begin_as_the_endpoint_wants() {
        let plain = Prefix { word: "rabbitmq".to_owned(), detailed: false };
        let detailed = Prefix { word: "x".to_owned(), detailed: true };
        assert_eq!(
            (plain.name("queues"), plain.name("leveret_a")),
            ("rabbitmq_queues".into(), "leveret_a".into())
        );
        assert_eq!(detailed.name("queues"), "x_detailed_queues");
        assert_eq!(detailed.name("leveret_a"), "leveret_detailed_a");
        assert_eq!((detailed.plain("a"), detailed.cluster("a")), ("x_a".into(), "x_cluster_a".into()));
    }
}
