//! What a row of the table of metrics says: a name, a type, a text, and where the number comes from.
//!
//! Names have no `rabbitmq_` in front, since the endpoints put different words there. Those that begin with `leveret_` are
//! Leveret's own.

use crate::management::prometheus::exposition::Samples;
use crate::management::prometheus::scrape::Scrape;

/// What the names of Leveret's own metrics begin with.
pub(super) const OWN: &str = "leveret_";

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows.
    Counter,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// Prometheus' word for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// What there is to say about any metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

/// A metric of the node or of all that is on it.
pub(super) struct NodeMetric {
    pub(super) about: About,
    /// The names of its labels.
    pub(super) labels: &'static [&'static str],
    /// Writes all its samples.
    pub(super) write: fn(&Scrape, &mut Samples<'_, '_>),
}

impl NodeMetric {
    /// A number that goes up and down.
    pub(super) const fn gauge(
        name: &'static str,
        help: &'static str,
        write: fn(&Scrape, &mut Samples<'_, '_>),
    ) -> Self {
        Self { about: About { name, kind: Kind::Gauge, help }, labels: &[], write }
    }

    /// A number that only grows.
    pub(super) const fn counter(
        name: &'static str,
        help: &'static str,
        write: fn(&Scrape, &mut Samples<'_, '_>),
    ) -> Self {
        Self { about: About { name, kind: Kind::Counter, help }, labels: &[], write }
    }

    /// Counts by size.
    pub(super) const fn histogram(
        name: &'static str,
        help: &'static str,
        write: fn(&Scrape, &mut Samples<'_, '_>),
    ) -> Self {
        Self { about: About { name, kind: Kind::Histogram, help }, labels: &[], write }
    }

    /// With labels of these names.
    pub(super) const fn labels(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }
}

/// What the aggregated endpoint says of a metric of objects.
#[derive(Clone, Copy)]
pub(super) enum All {
    /// The sum.
    Sum,
    /// Nothing: no sum makes sense.
    Nothing,
    /// What was counted for all objects there ever were, so that it does not shrink when one goes.
    Total(fn(&Scrape) -> u64),
}

/// A metric of each object of one kind.
pub(super) struct ObjectMetric<T> {
    pub(super) about: About,
    /// Its value; not a number if there is none.
    pub(super) value: fn(&T) -> f64,
    pub(super) all: All,
}

impl<T> ObjectMetric<T> {
    /// A number that goes up and down, and is added up over all objects.
    pub(super) const fn gauge(name: &'static str, help: &'static str, value: fn(&T) -> f64) -> Self {
        Self { about: About { name, kind: Kind::Gauge, help }, value, all: All::Sum }
    }

    /// A number that only grows, and the same for all objects there ever were.
    pub(super) const fn counter(
        name: &'static str,
        help: &'static str,
        value: fn(&T) -> f64,
        total: fn(&Scrape) -> u64,
    ) -> Self {
        Self { about: About { name, kind: Kind::Counter, help }, value, all: All::Total(total) }
    }

    /// A number that only grows, of which nothing is known for objects that are gone.
    pub(super) const fn counter_of_each(
        name: &'static str,
        help: &'static str,
        value: fn(&T) -> f64,
    ) -> Self {
        Self { about: About { name, kind: Kind::Counter, help }, value, all: All::Nothing }
    }

    /// Is not added up.
    pub(super) const fn of_each(mut self) -> Self {
        self.all = All::Nothing;
        self
    }
}
