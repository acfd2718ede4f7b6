//! Scores by how much of something is used: straight lines between the points of an argument.

use serde::Deserialize;

use crate::framework::MAX_NODE_SCORE;

/// Scores in arguments go up to ten.
const MAX_SHAPE_SCORE: i64 = 10;
/// Everything is used, in percent.
const ALL: i64 = 100;

/// A point of a shape, as arguments have it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ShapePoint {
    /// The part that is used, in percent.
    pub(super) utilization: i64,
    /// What that scores, up to [`MAX_SHAPE_SCORE`].
    pub(super) score: i64,
}

/// What each utilization scores.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/resource-bin-packing/#tuning-the-score-function>
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// Utilization in percent and its score, in the scale of [`MAX_NODE_SCORE`], ascending.
    points: Vec<(i64, i64)>,
}

impl Shape {
    /// Reads the points of the argument at `field`.
    ///
    /// # Errors
    /// What is wrong with them, in upstream's words.
    pub(super) fn new(field: &str, points: &[ShapePoint]) -> Result<Self, String> {
        if points.is_empty() {
            return Err(format!("{field}: Required value: at least one point must be specified"));
        }
        let mut pairs = points.windows(2).zip(1..);
        let unsorted = pairs.find(|(pair, _)| pair[0].utilization >= pair[1].utilization);
        if let Some((pair, at)) = unsorted {
            return Err(format!(
                "{field}[{at}].utilization: Invalid value: {}: utilization values must be sorted \
                 in increasing order",
                pair[1].utilization
            ));
        }
        for (at, point) in points.iter().enumerate() {
            let bounded =
                [("utilization", point.utilization, ALL), ("score", point.score, MAX_SHAPE_SCORE)];
            for (name, value, most) in bounded {
                if !(0..=most).contains(&value) {
                    return Err(format!(
                        "{field}[{at}].{name}: Invalid value: {value}: not in valid range \
                         [0, {most}]"
                    ));
                }
            }
        }
        let scaled = |point: &ShapePoint| {
            (point.utilization, point.score * MAX_NODE_SCORE / MAX_SHAPE_SCORE)
        };
        Ok(Self { points: points.iter().map(scaled).collect() })
    }

    /// The score where `requested` of `capacity` is used. Where there is nothing, or too little,
    /// all of it is.
    pub(super) fn rate(&self, requested: i64, capacity: i64) -> i64 {
        if capacity <= 0 || requested > capacity {
            return self.at(ALL);
        }
        let part = i128::from(requested) * i128::from(ALL) / i128::from(capacity);
        self.at(i64::try_from(part).unwrap_or(ALL))
    }

    /// The score at a utilization in percent: that of the nearest point beyond the ends.
    fn at(&self, used: i64) -> i64 {
        let Some(next) = self.points.iter().position(|(at, _)| used <= *at) else {
            return self.points.last().map_or(0, |(_, score)| *score);
        };
        if next == 0 {
            return self.points[0].1;
        }
        let ((x0, y0), (x1, y1)) = (self.points[next - 1], self.points[next]);
        y0 + (y1 - y0) * (used - x0) / (x1 - x0)
    }
}

/// The mean of so many scores that add up to this, rounded half up.
pub(super) fn rounded_mean(sum: i64, count: i64) -> i64 {
    if count == 0 { 0 } else { (sum + count / 2) / count }
}

#[cfg(test)]
mod tests {
    use super::{Shape, ShapePoint, rounded_mean};

    fn shape(points: &[(i64, i64)]) -> Result<Shape, String> {
        let point = |(utilization, score): &(i64, i64)| ShapePoint {
            utilization: *utilization,
            score: *score,
        };
        Shape::new("shape", &points.iter().map(point).collect::<Vec<_>>())
    }

    #[test]
    fn lines_run_between_the_points_and_are_flat_beyond_them() {
        let rising = shape(&[(20, 2), (60, 10)]).unwrap();
        let cases = [(0, 20), (20, 20), (21, 22), (40, 60), (60, 100), (61, 100), (100, 100)];
        for (used, expected) in cases {
            assert_eq!(rising.rate(used, 100), expected, "{used}");
        }
        // As upstream does it, what falls is cut towards zero, too.
        let falling = shape(&[(0, 10), (100, 0)]).unwrap();
        let cases = [(0, 100), (1, 99), (33, 67), (99, 1), (100, 0)];
        for (used, expected) in cases {
            assert_eq!(falling.rate(used, 100), expected, "{used}");
        }
    }

    #[test]
    fn what_does_not_fit_is_used_wholly() {
        let rising = shape(&[(0, 0), (100, 10)]).unwrap();
        for (requested, capacity) in [(5, 0), (0, 0), (11, 10), (1, -1)] {
            assert_eq!(rising.rate(requested, capacity), 100, "{requested} of {capacity}");
        }
        // The product is beyond what 64 bits hold.
        assert_eq!(rising.rate(1 << 61, 1 << 62), 50);
    }

    #[test]
    fn shapes_are_refused_in_the_words_of_upstream() {
        for (points, expected) in [
            (&[][..], "shape: Required value: at least one point must be specified"),
            (
                &[(50, 1), (50, 2)],
                "shape[1].utilization: Invalid value: 50: utilization values must be sorted in \
                 increasing order",
            ),
            (
                &[(0, 0), (101, 1)],
                "shape[1].utilization: Invalid value: 101: not in valid range [0, 100]",
            ),
            (&[(-1, 0)], "shape[0].utilization: Invalid value: -1: not in valid range [0, 100]"),
            (&[(0, 11)], "shape[0].score: Invalid value: 11: not in valid range [0, 10]"),
            (&[(0, -1)], "shape[0].score: Invalid value: -1: not in valid range [0, 10]"),
        ] {
            assert_eq!(shape(points).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_mean_is_rounded_half_up() {
        for (sum, count, expected) in [(0, 0, 0), (1, 2, 1), (1, 3, 0), (5, 3, 2), (100, 1, 100)] {
            assert_eq!(rounded_mean(sum, count), expected, "{sum} / {count}");
        }
    }
}
