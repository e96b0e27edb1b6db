//! One number of the report.

use std::fmt;

use serde::Serialize;

use crate::tally::Tally;

/// What a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_reached_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
            Self::AtMost(bound) => write!(f, "<= {bound}"),
        }
    }
}

/// A number with its spread, and whether it is what it has to be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// What was measured: `drain/clickhouse/1 relay/10000`.
    pub(crate) figure: String,
    pub(crate) value: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) unit: &'static str,
    /// `>= 1.7`
    pub(crate) target: Option<String>,
    pub(crate) reached: Option<bool>,
}

impl Figure {
    pub(crate) fn new(figure: impl Into<String>, tally: &Tally, unit: &'static str) -> Self {
        let (value, min, max) = (tally.median(), tally.min(), tally.max());
        Self { figure: figure.into(), value, min, max, unit, target: None, reached: None }
    }

    /// The target counts for the median.
    pub(crate) fn target(self, target: Target) -> Self {
        let reached = target.is_reached_by(self.value);
        Self { target: Some(target.to_string()), reached: Some(reached), ..self }
    }
}
